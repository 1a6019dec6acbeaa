//! What is compared: the numbers of a report that make one server better or worse than another.

use crate::{
    human,
    report::{Loop, Report, comparison::Spread},
};

/// One of them.
#[derive(Debug)]
pub struct Metric {
    /// For machines.
    pub name: &'static str,
    /// For people.
    pub label: &'static str,
    /// Whether it is compared with the baseline's, or only shown.
    pub is_compared: fn(Loop) -> bool,
    /// What a report says of it.
    pub of: fn(&Report) -> Option<f64>,
    /// As a person reads it.
    pub show: fn(f64) -> String,
}

/// All of them, in the order in which they are compared.
pub static METRICS: &[Metric] = &[
    Metric {
        name: "replies_per_s",
        label: "replies per s",
        // The rate of an open loop is what was asked for.
        is_compared: |kind| kind == Loop::Closed,
        of: |report| Some(report.rate.achieved_per_s),
        show: human::rate,
    },
    Metric {
        name: "response_p50_ns",
        label: "response p50",
        is_compared: always,
        of: |report| number(report.latency_ns.response.p50),
        show: time,
    },
    Metric {
        name: "response_p99_ns",
        label: "response p99",
        is_compared: always,
        of: |report| number(report.latency_ns.response.p99),
        show: time,
    },
    Metric {
        name: "service_p50_ns",
        label: "service p50",
        is_compared: never,
        of: |report| number(report.latency_ns.service.p50),
        show: time,
    },
    Metric {
        name: "service_p99_ns",
        label: "service p99",
        is_compared: never,
        of: |report| number(report.latency_ns.service.p99),
        show: time,
    },
    Metric {
        name: "server_cpu_ns_per_request",
        label: "CPU/request",
        is_compared: always,
        of: |report| report.server.as_ref()?.cpu_ns_per_request,
        show: time,
    },
    Metric {
        name: "context_switches_per_request",
        label: "switches/request",
        is_compared: always,
        of: |report| report.server.as_ref()?.context_switches_per_request,
        show: |switches| format!("{switches:.3}"),
    },
    Metric {
        name: "memory_bytes",
        label: "memory",
        is_compared: always,
        // What others share is divided among them, where the kernel tells.
        of: |report| {
            let server = report.server.as_ref()?;
            number(server.pss_bytes.or(Some(server.rss_bytes)))
        },
        show: |bytes| human::bytes(bytes.round() as u64),
    },
    Metric {
        name: "jain",
        label: "Jain's index",
        is_compared: never,
        of: |report| report.fairness.jain,
        show: |jain| format!("{jain:.3}"),
    },
    Metric {
        name: "clients_served",
        label: "clients served",
        is_compared: never,
        of: |report| Some(report.fairness.served as f64),
        show: whole,
    },
    Metric {
        name: "errors",
        label: "errors",
        is_compared: never,
        of: |report| Some(report.errors.values().sum::<u64>() as f64),
        show: whole,
    },
];

/// The metric of that name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// The middle one and both ends of what the rounds say; None where one of them does not say it.
pub fn spread<'a>(metric: &Metric, rounds: impl Iterator<Item = &'a Report>) -> Option<Spread> {
    let mut values = rounds.map(metric.of).collect::<Option<Vec<_>>>()?;
    if values.is_empty() {
        return None;
    }
    let median = median(&mut values);
    // Sorted by now.
    Some(Spread { median, min: values[0], max: values[values.len() - 1] })
}

/// The middle value, or the mean of the two in the middle. It sorts the values, of which there is at least one.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

fn always(_: Loop) -> bool {
    true
}

fn never(_: Loop) -> bool {
    false
}

fn number(number: Option<u64>) -> Option<f64> {
    number.map(|number| number as f64)
}

fn time(time_ns: f64) -> String {
    human::duration_ns(time_ns.round() as u64)
}

fn whole(number: f64) -> String {
    human::count(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn the_median_is_in_the_middle() {
        for (mut values, middle) in [(vec![3.0], 3.0), (vec![2.0, 1.0], 1.5), (vec![9.0, 1.0, 2.0], 2.0)] {
            assert_eq!(median(&mut values), middle);
        }
    }

    #[test]
    fn a_spread_needs_every_round() {
        let (mut one, mut other) = (example(), example());
        one.rate.achieved_per_s = 10.0;
        other.rate.achieved_per_s = 20.0;
        let rate = metric("replies_per_s").unwrap();
        let expected = Spread { median: 15.0, min: 10.0, max: 20.0 };
        assert_eq!(spread(rate, [&one, &other].into_iter()), Some(expected));
        assert_eq!(spread(rate, std::iter::empty()), None);
        other.server = None;
        let cpu = metric("server_cpu_ns_per_request").unwrap();
        assert_eq!(spread(cpu, [&one, &other].into_iter()), None);
        assert!(spread(cpu, [&one].into_iter()).is_some());
    }
}
