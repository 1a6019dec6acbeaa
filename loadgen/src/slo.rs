//! What is asked of a run's result, such as `p99<5ms`: read from the command line, and held against a report. Pure.
//!
//! Times are response times, from the moment when a request was due: what a user would have felt. A percentile that too
//! few samples stand behind does not hold.

use std::{fmt, str::FromStr};

use common::units::{parse_positive_count, parse_positive_duration};
use hdrhistogram::Histogram;

use crate::{
    human::{count, duration_ns, percent, rate},
    report::{Report, SloOutcome},
    summary,
};

/// One service level objective.
///
/// ```
/// use loadgen::slo::Slo;
///
/// let slo: Slo = "p99.9 <= 20ms".parse()?;
/// assert_eq!(slo.to_string(), "p99.9<=20ms");
/// assert!("p99>5ms".parse::<Slo>().is_err());
/// # Ok::<(), loadgen::slo::SloError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    metric: Metric,
    /// Whether the bound itself is still good.
    includes_bound: bool,
    /// Nanoseconds, a share from 0 to 1, or a rate a second.
    bound: f64,
    /// The bound as it was written.
    written: String,
}

/// What is held against a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    /// Of the response time, in millionths.
    Percentile(u64),
    Mean,
    Max,
    /// Failures as a part of all requests.
    Errors,
    /// Replies a second.
    Rate,
    /// Jain's index of fairness.
    Jain,
}

/// Why a text is not a [`Slo`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SloError {
    /// There is no comparison in it.
    #[error("it compares nothing: write a metric, one of <, <=, > and >=, and a bound, as in 'p99<5ms'")]
    NoComparison,
    /// Nothing of that name is measured.
    #[error(
        "'{0}' is not measured: there are pN (as in p99 or p99.9, of the response time), mean, max, errors, rate and \
         jain"
    )]
    UnknownMetric(String),
    /// Such a percentile is none, or finer than is told apart.
    #[error(
        "'{0}' is no percentile between p0 and p100 with at most four decimals; the longest time of all is 'max'"
    )]
    BadPercentile(String),
    /// It would ask for a bad result.
    #[error("'{metric}' is good when it is {good}: write {metric}{instead}{bound}")]
    WrongDirection {
        /// The metric.
        metric: String,
        /// In a word.
        good: &'static str,
        /// The comparison that makes sense.
        instead: &'static str,
        /// As it was written.
        bound: String,
    },
    /// The bound is no value of the metric.
    #[error("'{bound}' is no bound for {metric}: {reason}")]
    BadBound {
        /// The metric.
        metric: String,
        /// As it was written.
        bound: String,
        /// What is wrong with it, or what it should look like.
        reason: String,
    },
}

/// Holds a report against what is asked of it.
pub fn judge(asked: &[Slo], report: &Report) -> Vec<SloOutcome> {
    let histogram = || summary::deserialise(&report.latency_ns.response.hdr);
    // Read once for all percentiles, and not at all where there are none.
    let wants_histogram = asked.iter().any(|slo| matches!(slo.metric, Metric::Percentile(_)));
    let histogram = wants_histogram.then(histogram).flatten();
    asked.iter().map(|slo| slo.outcome(report, histogram.as_ref())).collect()
}

/// Failures as a part of all requests of the window, from 0 up; failed connections count as well.
fn error_share(report: &Report) -> f64 {
    let errors = report.errors.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let errors = errors.max(report.requests.failed);
    let requests = report.requests.completed.saturating_add(report.requests.failed);
    errors as f64 / requests.max(1) as f64
}

impl Slo {
    fn outcome(&self, report: &Report, histogram: Option<&Histogram<u64>>) -> SloOutcome {
        let actual = match self.metric {
            Metric::Percentile(per_million) => histogram
                .and_then(|histogram| summary::quantile(histogram, per_million))
                .map(|time_ns| time_ns as f64),
            Metric::Mean => report.latency_ns.response.mean,
            Metric::Max => report.latency_ns.response.max.map(|time_ns| time_ns as f64),
            Metric::Errors => Some(error_share(report)),
            Metric::Rate => Some(report.rate.achieved_per_s),
            Metric::Jain => report.fairness.jain,
        };
        let met = actual.is_some_and(|actual| self.holds(actual));
        let seen = actual.map_or_else(|| self.withheld(), |actual| self.metric.show(actual));
        SloOutcome { slo: self.to_string(), met, actual, message: format!("{self}: {seen}") }
    }

    fn holds(&self, actual: f64) -> bool {
        let is_inside =
            if self.metric.is_good_when_low() { actual < self.bound } else { actual > self.bound };
        is_inside || (self.includes_bound && actual == self.bound)
    }

    /// Why there is nothing to hold against the bound.
    fn withheld(&self) -> String {
        match self.metric {
            Metric::Percentile(per_million) => {
                let needed = summary::samples_needed(per_million);
                format!("too few replies to say (it takes {})", count(needed))
            }
            _ => "no reply to say it of".to_owned(),
        }
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = self.metric.comparison(self.includes_bound);
        write!(f, "{}{comparison}{}", self.metric, self.written)
    }
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.find(['<', '>']).ok_or(SloError::NoComparison)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (wants_low, rest) = (rest.starts_with('<'), &rest[1..]);
        let (includes_bound, rest) = match rest.strip_prefix('=') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (metric, written) = (name.parse::<Metric>()?, rest.trim().to_owned());
        if wants_low != metric.is_good_when_low() {
            return Err(SloError::WrongDirection {
                metric: metric.to_string(),
                good: if metric.is_good_when_low() { "low" } else { "high" },
                instead: metric.comparison(includes_bound),
                bound: written,
            });
        }
        let bound = metric.bound(&written).map_err(|reason| SloError::BadBound {
            metric: metric.to_string(),
            bound: written.clone(),
            reason,
        })?;
        Ok(Self { metric, includes_bound, bound, written })
    }
}

impl Metric {
    fn is_good_when_low(self) -> bool {
        !matches!(self, Metric::Rate | Metric::Jain)
    }

    fn comparison(self, includes_bound: bool) -> &'static str {
        match (self.is_good_when_low(), includes_bound) {
            (true, false) => "<",
            (true, true) => "<=",
            (false, false) => ">",
            (false, true) => ">=",
        }
    }

    /// Reads a bound, in the unit that the metric has in a report.
    fn bound(self, written: &str) -> Result<f64, String> {
        match self {
            Metric::Percentile(_) | Metric::Mean | Metric::Max => {
                parse_positive_duration(written).map(|bound| bound.as_nanos() as f64)
            }
            Metric::Errors => {
                let hint = || "write a part of all requests from 0% to 100%, as in 0.1%".to_owned();
                let share = written
                    .strip_suffix('%')
                    .and_then(|number| decimal(number.trim_end()))
                    .ok_or_else(hint)?;
                if share <= 100.0 { Ok(share / 100.0) } else { Err(hint()) }
            }
            Metric::Rate => parse_positive_count(written).map(|rate| rate as f64),
            Metric::Jain => decimal(written)
                .filter(|jain| *jain <= 1.0)
                .ok_or_else(|| "write a number from 0 to 1, as in 0.9".to_owned()),
        }
    }

    fn show(self, actual: f64) -> String {
        match self {
            Metric::Percentile(_) | Metric::Mean | Metric::Max => duration_ns(actual.round() as u64),
            Metric::Errors => percent(actual),
            Metric::Rate => format!("{}/s", rate(actual)),
            Metric::Jain => format!("{actual:.3}"),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Ten thousand millionths are one in a hundred, and what follows the point ends with its last digit.
            Metric::Percentile(per_million) => write!(f, "p{}", *per_million as f64 / 10_000.0),
            Metric::Mean => f.write_str("mean"),
            Metric::Max => f.write_str("max"),
            Metric::Errors => f.write_str("errors"),
            Metric::Rate => f.write_str("rate"),
            Metric::Jain => f.write_str("jain"),
        }
    }
}

impl FromStr for Metric {
    type Err = SloError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "mean" => Ok(Metric::Mean),
            "max" => Ok(Metric::Max),
            "errors" => Ok(Metric::Errors),
            "rate" => Ok(Metric::Rate),
            "jain" => Ok(Metric::Jain),
            _ => {
                match name.strip_prefix('p').filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))
                {
                    Some(digits) => per_million(digits)
                        .map(Metric::Percentile)
                        .ok_or_else(|| SloError::BadPercentile(name.to_owned())),
                    None => Err(SloError::UnknownMetric(name.to_owned())),
                }
            }
        }
    }
}

/// A percentile in millionths: between 0 and 100 with at most four decimals.
fn per_million(digits: &str) -> Option<u64> {
    const DECIMALS: usize = 4;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() > 2 || fraction.len() > DECIMALS || digits.ends_with('.') {
        return None;
    }
    let shifted = format!("{whole}{fraction:0<DECIMALS$}");
    let are_digits = shifted.bytes().all(|byte| byte.is_ascii_digit());
    shifted.parse().ok().filter(|per_million| are_digits && *per_million > 0)
}

/// A number that is not negative, without an exponent.
fn decimal(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_asked_is_read_and_written_again() {
        for (text, again) in [
            ("p99<5ms", "p99<5ms"),
            ("p99.9 < 20ms", "p99.9<20ms"),
            (" p50 <= 1ms ", "p50<=1ms"),
            ("p95<250us", "p95<250us"),
            ("p99.95<1.5s", "p99.95<1.5s"),
            ("p99.9990<1s", "p99.999<1s"),
            ("p0.5<1s", "p0.5<1s"),
            ("mean<2ms", "mean<2ms"),
            ("max<1s", "max<1s"),
            ("errors<0.1%", "errors<0.1%"),
            ("errors<=0%", "errors<=0%"),
            ("rate>=20k", "rate>=20k"),
            ("jain>0.9", "jain>0.9"),
        ] {
            assert_eq!(slo(text).to_string(), again);
            assert_eq!(slo(again), slo(text));
        }
    }

    #[test]
    fn each_mistake_is_named_with_what_to_write_instead() {
        for (text, part) in [
            ("", "compares nothing"),
            ("p99", "compares nothing"),
            ("p99=5ms", "compares nothing"),
            ("<5ms", "'' is not measured"),
            ("q99<5ms", "'q99' is not measured: there are pN"),
            ("p<5ms", "'p' is not measured"),
            ("P99<5ms", "'P99' is not measured"),
            ("latency<5ms", "mean, max, errors, rate and jain"),
            ("p0<5ms", "'p0' is no percentile"),
            ("p100<5ms", "'max'"),
            ("p999<5ms", "'p999' is no percentile"),
            ("p99.99999<5ms", "four decimals"),
            ("p9.9.9<5ms", "'p9.9.9' is no percentile"),
            ("p99.<5ms", "'p99.' is no percentile"),
            ("p99>5ms", "'p99' is good when it is low: write p99<5ms"),
            ("errors>=1%", "write errors<=1%"),
            ("rate<20k", "'rate' is good when it is high: write rate>20k"),
            ("jain<=0.9", "write jain>=0.9"),
            ("p99<5", "'5' is no bound for p99"),
            ("p99<", "'' is no bound for p99"),
            ("p99<0ms", "longer than zero"),
            ("p99<<5ms", "'<5ms' is no bound"),
            ("mean<-1ms", "'-1ms' is no bound for mean"),
            ("errors<0.1", "as in 0.1%"),
            ("errors<101%", "from 0% to 100%"),
            ("errors<-1%", "from 0% to 100%"),
            ("errors<NaN%", "from 0% to 100%"),
            ("rate>0", "at least 1"),
            ("rate>20q", "as in 500, 20k or 1.5m"),
            ("jain>1.1", "from 0 to 1"),
            ("jain>inf", "from 0 to 1"),
        ] {
            let error = text.parse::<Slo>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_bound_is_part_of_what_is_good_only_where_that_is_asked() {
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
    fn any_percentile_of_the_response_time_is_held_against_its_bound() {
        // Response times are 40 µs and more than 4 ms at most; service times are far shorter.
        let report = example();
        for (text, met) in [
            ("p99<3.5ms", false),
            ("p99<4ms", true),
            ("p95<3ms", false),
            ("p95<4ms", true),
            ("p33.3<1ms", true),
            ("max<4.1ms", true),
            ("max<4ms", false),
            // Of 2,000 samples, two lie beyond it.
            ("p99.9<1h", false),
        ] {
            assert_eq!(judge(&[slo(text)], &report)[0].met, met, "{text}");
        }
        let outcomes = judge(&[slo("p99.9<1h"), slo("p99<5ms")], &report);
        assert_eq!(outcomes[0].actual, None);
        assert_eq!(outcomes[0].message, "p99.9<1h: too few replies to say (it takes 10,000)");
        assert_eq!(outcomes[1].message, "p99<5ms: 3.96 ms");
        assert!((outcomes[1].actual.unwrap() - 3.96e6).abs() < 1e4);
    }

    #[test]
    fn nothing_holds_of_no_reply() {
        let mut report = example();
        report.latency_ns.response = crate::summary::latency(&crate::recording::Latency::default());
        report.fairness.jain = None;
        for text in ["p50<1h", "mean<1h", "max<1h", "jain>0"] {
            let outcome = &judge(&[slo(text)], &report)[0];
            assert_eq!((outcome.met, outcome.actual), (false, None), "{text}");
        }
    }
}
