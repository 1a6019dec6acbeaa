//! The metrics: the numbers of a report in which servers are compared.

use common::human;

use crate::result::{
    Loop, Report,
    comparison::{FailedRounds, Spread},
    total,
};

/// A number of a report in which servers are compared.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The name for programs.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// Whether it is compared with the baseline's value, or only shown.
    pub is_compared: fn(Loop) -> bool,
    /// What it measures, for the words and the judgement of a change.
    pub nature: Nature,
    /// The value in a report.
    pub of: fn(&Report) -> Option<f64>,
    /// For a percentile of the response time, its name in [`Latency`](crate::result::Latency). It may fall among the failed
    /// requests.
    pub percentile: Option<&'static str>,
    /// The value as text.
    pub show: fn(f64) -> String,
}

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Work per time: a lower value is slower.
    Throughput,
    /// Time of a request: a higher value is slower.
    Time,
    /// A cost of the server alone: a higher value is worse.
    Cost,
    /// Something that depends on other processes too, or is neither good nor bad.
    Other,
}

impl Metric {
    /// A lower bound of the value, in nanoseconds, if it falls among the failed requests.
    pub(crate) fn failed_ns(&self, report: &Report) -> Option<f64> {
        let tail = report.latency_ns.response.failed_tail.as_ref()?;
        tail.holds(self.percentile?).then_some(tail.longer_than_ns as f64)
    }

    /// The median of the rounds as text.
    pub(crate) fn show_median(&self, spread: &Spread) -> String {
        match (spread.median, spread.failed) {
            (Some(median), _) => (self.show)(median),
            (None, Some(failed)) => human::failed_ns(failed.longer_than_ns.round() as u64),
            (None, None) => "-".to_owned(),
        }
    }
}

/// All metrics, in the order of the report.
pub(crate) static METRICS: &[Metric] = &[
    Metric {
        name: "replies_per_s",
        label: "replies per s",
        // The rate of an open loop follows from the plan.
        is_compared: |kind| kind == Loop::Closed,
        nature: Nature::Throughput,
        of: |report| Some(report.rate.achieved_per_s),
        percentile: None,
        show: human::rate,
    },
    Metric {
        name: "response_p50_ns",
        label: "response p50",
        is_compared: always,
        nature: Nature::Time,
        of: |report| number(report.latency_ns.response.p50),
        percentile: Some("p50"),
        show: time,
    },
    Metric {
        name: "response_p99_ns",
        label: "response p99",
        is_compared: always,
        nature: Nature::Time,
        of: |report| number(report.latency_ns.response.p99),
        percentile: Some("p99"),
        show: time,
    },
    Metric {
        name: "service_p50_ns",
        label: "service p50",
        is_compared: never,
        nature: Nature::Time,
        of: |report| number(report.latency_ns.service.p50),
        percentile: None,
        show: time,
    },
    Metric {
        name: "service_p99_ns",
        label: "service p99",
        is_compared: never,
        nature: Nature::Time,
        of: |report| number(report.latency_ns.service.p99),
        percentile: None,
        show: time,
    },
    Metric {
        name: "server_cpu_ns_per_request",
        label: "CPU/request",
        is_compared: always,
        nature: Nature::Cost,
        of: |report| report.server.as_ref()?.cpu_ns_per_request,
        percentile: None,
        show: time,
    },
    Metric {
        name: "context_switches_per_request",
        label: "switches/request",
        is_compared: always,
        // The smallest counts change by large factors.
        nature: Nature::Other,
        of: |report| report.server.as_ref()?.context_switches_per_request,
        percentile: None,
        show: |switches| format!("{switches:.3}"),
    },
    Metric {
        name: "memory_bytes",
        label: "memory",
        is_compared: always,
        // Other processes share its pages.
        nature: Nature::Other,
        // Prefers the value in which shared pages are divided among their users.
        of: |report| {
            let server = report.server.as_ref()?;
            number(server.pss_bytes.or(Some(server.rss_bytes)))
        },
        percentile: None,
        show: |bytes| human::bytes(bytes.round() as u64),
    },
    Metric {
        name: "jain",
        label: "Jain's index",
        is_compared: never,
        nature: Nature::Other,
        of: |report| report.fairness.jain,
        percentile: None,
        show: |jain| format!("{jain:.3}"),
    },
    Metric {
        name: "clients_served",
        label: "clients served",
        is_compared: never,
        nature: Nature::Other,
        of: |report| Some(report.fairness.served as f64),
        percentile: None,
        show: whole,
    },
    Metric {
        name: "errors",
        label: "errors",
        is_compared: never,
        nature: Nature::Other,
        of: |report| Some(total(&report.errors) as f64),
        percentile: None,
        show: whole,
    },
];

/// The metric with this name.
pub(crate) fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// The median and both ends of a metric over several rounds. None without a round, or if a round lacks the metric. A
/// percentile among the failed requests is higher than every other one.
pub(crate) fn spread<'a>(metric: &Metric, rounds: impl Iterator<Item = &'a Report>) -> Option<Spread> {
    let mut failed: Option<FailedRounds> = None;
    let mut value = |report: &Report| {
        let Some(longer_than_ns) = metric.failed_ns(report) else { return (metric.of)(report) };
        let known = failed.get_or_insert(FailedRounds { rounds: 0, longer_than_ns });
        known.rounds += 1;
        known.longer_than_ns = known.longer_than_ns.min(longer_than_ns);
        Some(f64::INFINITY)
    };
    let mut values = rounds.map(&mut value).collect::<Option<Vec<_>>>()?;
    if values.is_empty() {
        return None;
    }
    let median = median(&mut values);
    // `median` has sorted the values.
    let [median, min, max] = [median, values[0], values[values.len() - 1]]
        .map(|value| Some(value).filter(|value| value.is_finite()));
    Some(Spread { median, min, max, failed })
}

/// The median of at least one value. Sorts the values.
pub(crate) fn median(values: &mut [f64]) -> f64 {
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
    use crate::result::tests::{example, with_failures};

    #[test]
    fn the_median_is_in_the_middle() {
        for (mut values, middle) in [(vec![3.0], 3.0), (vec![2.0, 1.0], 1.5), (vec![9.0, 1.0, 2.0], 2.0)] {
            assert_eq!(median(&mut values), middle);
        }
    }

    #[test]
    fn a_percentile_among_the_failed_requests_is_higher_than_every_other() {
        let (good, bad) = (example(), with_failures());
        let p99 = metric("response_p99_ns").unwrap();
        let of = |rounds: &[&Report]| spread(p99, rounds.iter().copied()).unwrap();
        let few = of(&[&good, &bad, &good]);
        assert_eq!(
            (few.median, few.min, few.max),
            (good.latency_ns.response.p99.map(|p99| p99 as f64), few.median, None)
        );
        assert_eq!(few.failed, Some(FailedRounds { rounds: 1, longer_than_ns: 500e6 }));
        let most = of(&[&bad, &good, &bad]);
        assert_eq!((most.median, most.min, most.max), (None, few.min, None));
        assert_eq!(p99.show_median(&most), "> 500 ms (failed)");
        assert_eq!(of(&[&good, &bad]).median, None);
        // The median of all requests is known.
        let p50 = metric("response_p50_ns").unwrap();
        assert_eq!(spread(p50, [&bad].into_iter()).unwrap().failed, None);
        let text = serde_json::to_value(most).unwrap();
        assert!(text["median"].is_null() && text["failed"]["rounds"] == 2, "{text}");
    }

    #[test]
    fn a_spread_needs_every_round() {
        let (mut one, mut other) = (example(), example());
        one.rate.achieved_per_s = 10.0;
        other.rate.achieved_per_s = 20.0;
        let rate = metric("replies_per_s").unwrap();
        let expected = Spread { median: Some(15.0), min: Some(10.0), max: Some(20.0), failed: None };
        assert_eq!(spread(rate, [&one, &other].into_iter()), Some(expected));
        assert_eq!(spread(rate, std::iter::empty()), None);
        other.server = None;
        let cpu = metric("server_cpu_ns_per_request").unwrap();
        assert_eq!(spread(cpu, [&one, &other].into_iter()), None);
        assert!(spread(cpu, [&one].into_iter()).is_some());
    }
}
