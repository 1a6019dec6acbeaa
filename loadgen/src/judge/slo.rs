//! Whether a result meets its service level objectives. Pure.
//!
//! The response time covers every request that was due: a failed one is slower than every other. An SLO is missed if its
//! percentile falls among the failed requests, or has too few samples behind it.

use common::human::{count, failed_ns};
use hdrhistogram::Histogram;

use crate::{
    judge::verdict,
    load::slo::{Metric, Slo},
    result::{
        Report, SloOutcome,
        summary::{self, Quantile, Unanswered},
    },
};

/// Checks a report against its SLOs.
pub(crate) fn judge(objectives: &[Slo], report: &Report) -> Vec<SloOutcome> {
    let histogram = || summary::deserialise(&report.latency_ns.response.hdr);
    // All percentiles share one histogram.
    let wants_histogram = objectives.iter().any(|slo| matches!(slo.metric, Metric::Percentile(_)));
    let histogram = wants_histogram.then(histogram).flatten();
    objectives.iter().map(|slo| outcome(slo, report, histogram.as_ref())).collect()
}

/// The measured value of a metric.
#[derive(Clone, Copy, Debug)]
enum Measured {
    /// In the unit of the metric.
    Value(f64),
    /// The metric falls among the failed requests. They took longer than this time, in nanoseconds.
    Failed(u64),
    /// There are too few samples, or the window is too short.
    Withheld,
}

fn outcome(slo: &Slo, report: &Report, histogram: Option<&Histogram<u64>>) -> SloOutcome {
    let response = &report.latency_ns.response;
    let longer_than_ns = response.failed_tail.as_ref().map(|tail| tail.longer_than_ns);
    let time = |time_ns: Option<u64>| time_ns.map(|time_ns| time_ns as f64);
    // A failed request has no known time, so there is no mean and no maximum.
    let unless_failed = |value: Option<f64>| match (longer_than_ns, value) {
        (Some(longer_than_ns), None) => Measured::Failed(longer_than_ns),
        (_, value) => value.map_or(Measured::Withheld, Measured::Value),
    };
    let known = |value: Option<f64>| value.map_or(Measured::Withheld, Measured::Value);
    let measured = match slo.metric {
        Metric::Percentile(per_million) => {
            let unanswered = Unanswered::of_report(report);
            match histogram.map(|times| summary::quantile_of(times, unanswered, per_million)) {
                Some(Quantile::Time(time_ns)) => Measured::Value(time_ns as f64),
                Some(Quantile::Unanswered) => Measured::Failed(longer_than_ns.unwrap_or(0)),
                Some(Quantile::Withheld) | None => Measured::Withheld,
            }
        }
        Metric::Mean => unless_failed(response.mean),
        Metric::Max => unless_failed(time(response.max)),
        Metric::Errors => Measured::Value(report.requests.error_rate()),
        Metric::Rate => known((!verdict::is_too_short(report)).then_some(report.rate.achieved_per_s)),
        Metric::Jain => known(report.fairness.jain),
    };
    let actual = match measured {
        Measured::Value(actual) => Some(actual),
        Measured::Failed(_) | Measured::Withheld => None,
    };
    let met = actual.is_some_and(|actual| slo.holds(actual));
    let failed = matches!(measured, Measured::Failed(_));
    let shown = match measured {
        Measured::Value(actual) => slo.metric.show(actual),
        Measured::Failed(longer_than_ns) => failed_ns(longer_than_ns),
        Measured::Withheld => withheld(slo),
    };
    SloOutcome { slo: slo.to_string(), met, actual, failed, message: format!("{slo}: {shown}") }
}

/// Why the metric has no value.
fn withheld(slo: &Slo) -> String {
    match slo.metric {
        Metric::Percentile(per_million) => {
            let needed = summary::samples_needed(per_million);
            format!("too few replies ({} are needed)", count(needed))
        }
        Metric::Rate => "the window is too short for a rate".to_owned(),
        _ => "no reply".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_value_on_the_bound_holds_only_with_an_inclusive_comparison() {
        // 2,000 requests, at 1,000/s.
        let mut report = example();
        report.rate.achieved_per_s = 1_000.0;
        report.latency_ns.response.mean = Some(2e6);
        report.fairness.jain = Some(0.9);
        report.requests.failed = 20;
        report.requests.completed = 1_980;
        for (text, met) in [
            ("rate>=1k", true),
            ("rate>1k", false),
            ("mean<=2ms", true),
            ("mean<2ms", false),
            ("mean<2.1ms", true),
            ("jain>=0.9", true),
            ("jain>0.9", false),
            ("errors<=1%", true),
            ("errors<1%", false),
            ("errors<1.01%", true),
        ] {
            let outcomes = judge(&[slo(text)], &report);
            assert_eq!((outcomes.len(), outcomes[0].met), (1, met), "{text}: {outcomes:?}");
        }
    }

    #[test]
    fn any_percentile_of_the_response_time_is_compared_with_its_bound() {
        // The longest response time is a little over 4 ms. Service times are far shorter.
        let report = example();
        for (text, met) in [
            ("p99<3.5ms", false),
            ("p99<4ms", true),
            ("p95<3ms", false),
            ("p95<4ms", true),
            ("p33.3<1ms", true),
            ("max<4.1ms", true),
            ("max<4ms", false),
            // Only 2 of 2,000 samples lie beyond it.
            ("p99.9<1h", false),
        ] {
            assert_eq!(judge(&[slo(text)], &report)[0].met, met, "{text}");
        }
        let outcomes = judge(&[slo("p99.9<1h"), slo("p99<5ms")], &report);
        assert_eq!(outcomes[0].actual, None);
        assert_eq!(outcomes[0].message, "p99.9<1h: too few replies (10,000 are needed)");
        assert_eq!(outcomes[1].message, "p99<5ms: 3.96 ms");
        assert!((outcomes[1].actual.unwrap() - 3.96e6).abs() < 1e4);
    }

    #[test]
    fn no_objective_holds_without_a_reply() {
        let mut report = example();
        report.latency_ns.response =
            crate::result::summary::latency(&crate::engine::latency::Latency::default());
        report.fairness.jain = None;
        for text in ["p50<1h", "mean<1h", "max<1h", "jain>0"] {
            let outcome = &judge(&[slo(text)], &report)[0];
            assert_eq!((outcome.met, outcome.actual), (false, None), "{text}");
        }
        assert_eq!(judge(&[slo("mean<1h")], &report)[0].message, "mean<1h: no reply");
    }

    #[test]
    fn a_short_window_has_no_rate() {
        let mut report = example();
        report.elapsed_s = 1e-4;
        let outcome = &judge(&[slo("rate>1")], &report)[0];
        assert_eq!((outcome.met, outcome.actual), (false, None));
        assert_eq!(outcome.message, "rate>1: the window is too short for a rate");
    }
}
