//! `--abort-on`: conditions that end a load early, such as `p99>50ms/5s`. Pure.

use std::{fmt, str::FromStr, time::Duration};

use common::units::{format_duration, parse_positive_duration};

use crate::load::slo::{Metric, SloError};

/// A condition that ends the load when it has held for a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AbortOn {
    /// A percentile, the longest response time, the errors or the rate.
    pub metric: Metric,
    /// The time for which the condition must hold.
    pub over: Duration,
    includes_bound: bool,
    /// In the unit of the metric: nanoseconds, a share from 0 to 1, or per second of this generator.
    bound: f64,
    /// The share of the rate of the whole load that this generator has. None: `bound` is as the user wrote it.
    share: Option<f64>,
    /// The bound as the user wrote it.
    written: String,
}

/// Why a text is not an [`AbortOn`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AbortError {
    /// No comparison.
    #[error(
        "it has no comparison: write a metric, one of >, >=, < and <=, a bound, and a time, as in 'p99>50ms/5s'"
    )]
    NoComparison,
    /// No slash.
    #[error("it has no time: write how long the condition must hold, as in 'p99>50ms/5s'")]
    NoTime,
    /// The text after the last slash is not a duration.
    #[error("it must end in a slash and the time for which it must hold, as in 'p99>50ms/5s': {0}")]
    BadTime(String),
    /// Not a metric of a running load.
    #[error(
        "'{0}' is not a metric that can end a load: these are pN (percentiles of the response time, as in p99 or p99.9), \
         max, errors and rate"
    )]
    UnknownMetric(String),
    /// Not a percentile, or not a bound.
    #[error(transparent)]
    Slo(SloError),
    /// A comparison that good values meet.
    #[error("{bad} values of '{metric}' are bad: write {metric}{instead}{rest}")]
    WrongDirection {
        /// The metric.
        metric: String,
        /// Which values are bad: `high` or `low`.
        bad: &'static str,
        /// The right comparison.
        instead: &'static str,
        /// The bound and the time as the user wrote them.
        rest: String,
    },
}

impl AbortOn {
    /// The condition is for a generator that has this share of the load. Its bound of a rate is that share of the written one;
    /// the other metrics do not depend on the number of clients.
    pub(crate) fn divide(&mut self, share: f64) {
        if self.metric == Metric::Rate && self.share.is_none() {
            self.bound *= share;
            self.share = Some(share);
        }
    }

    /// The bound, if it is only a share of the written one.
    pub(crate) fn own_bound(&self) -> Option<String> {
        self.share.map(|_| self.metric.show(self.bound))
    }

    /// Whether a value meets the condition. The unit is that of the metric: nanoseconds, a share, or a rate per second.
    pub(crate) fn is_met_by(&self, value: f64) -> bool {
        let is_beyond = if self.metric.is_good_when_low() { value > self.bound } else { value < self.bound };
        is_beyond || (self.includes_bound && value == self.bound)
    }
}

/// The comparison with bad values.
fn comparison(metric: Metric, includes_bound: bool) -> &'static str {
    match (metric.is_good_when_low(), includes_bound) {
        (true, false) => ">",
        (true, true) => ">=",
        (false, false) => "<",
        (false, true) => "<=",
    }
}

impl fmt::Display for AbortOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = comparison(self.metric, self.includes_bound);
        let over = format_duration(self.over).replace(' ', "");
        write!(f, "{}{comparison}{}/{over}", self.metric, self.written)
    }
}

impl FromStr for AbortOn {
    type Err = AbortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.find(['<', '>']).ok_or(AbortError::NoComparison)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (is_below, rest) = (rest.starts_with('<'), &rest[1..]);
        let (includes_bound, rest) = match rest.strip_prefix('=') {
            Some(rest) => (true, rest.trim()),
            None => (false, rest.trim()),
        };
        let metric = match name.parse::<Metric>() {
            Ok(Metric::Mean | Metric::Jain) | Err(SloError::UnknownMetric(_)) => {
                return Err(AbortError::UnknownMetric(name.to_owned()));
            }
            Ok(metric) => metric,
            Err(error) => return Err(AbortError::Slo(error)),
        };
        // A rate may contain a slash, a duration does not.
        let (bound, over) = rest.rsplit_once('/').ok_or(AbortError::NoTime)?;
        let over = parse_positive_duration(over.trim()).map_err(AbortError::BadTime)?;
        if is_below == metric.is_good_when_low() {
            return Err(AbortError::WrongDirection {
                metric: metric.to_string(),
                bad: if is_below { "high" } else { "low" },
                instead: comparison(metric, includes_bound),
                rest: rest.to_owned(),
            });
        }
        let written = bound.trim().to_owned();
        let bound = metric.bound(&written).map_err(|reason| {
            AbortError::Slo(SloError::BadBound { metric: metric.to_string(), bound: written.clone(), reason })
        })?;
        Ok(Self { metric, over, includes_bound, bound, share: None, written })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_slash_separates_the_time() {
        for (text, shown, over_ms, value, is_met) in [
            ("p99>50ms/5s", "p99>50ms/5s", 5_000, 50e6, false),
            ("p99>50ms/5s", "p99>50ms/5s", 5_000, 50.1e6, true),
            ("p99 >= 50ms / 5s", "p99>=50ms/5s", 5_000, 50e6, true),
            ("max>1s/1m30s", "max>1s/1m30s", 90_000, 2e9, true),
            ("errors>1%/500ms", "errors>1%/500ms", 500, 0.011, true),
            ("errors>1%/500ms", "errors>1%/500ms", 500, 0.01, false),
            ("rate<30/min/10s", "rate<30/min/10s", 10_000, 0.4, true),
            ("rate<5k/10s", "rate<5k/10s", 10_000, 5_000.0, false),
            ("rate<=5k/10s", "rate<=5k/10s", 10_000, 5_000.0, true),
        ] {
            let seen: AbortOn = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((seen.to_string().as_str(), seen.over), (shown, Duration::from_millis(over_ms)));
            assert_eq!(seen.is_met_by(value), is_met, "{text} {value}");
            assert_eq!(seen.to_string().parse(), Ok(seen));
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        for (text, said) in [
            ("p99", "as in 'p99>50ms/5s'"),
            ("p99>50ms", "it has no time"),
            ("p99>50ms/", "must end in a slash and the time"),
            ("p99>50ms/5", "without a unit"),
            ("p99>50ms/0s", "longer than zero"),
            ("rate<30/min", "must end in a slash and the time"),
            ("p99<50ms/5s", "high values of 'p99' are bad: write p99>50ms/5s"),
            ("rate>=5k/5s", "low values of 'rate' are bad: write rate<=5k/5s"),
            ("mean>5ms/5s", "'mean' is not a metric that can end a load"),
            ("jain<1/5s", "'jain' is not a metric that can end a load"),
            ("speed<1/5s", "'speed' is not a metric that can end a load"),
            ("p100>5ms/5s", "'p100' is not a percentile"),
            ("p99>5/5s", "'5' is not a bound for p99"),
            ("errors>1/5s", "as in 0.1%"),
        ] {
            let error = text.parse::<AbortOn>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
    #[test]
    fn only_the_bound_of_a_rate_is_divided_among_the_parts_of_a_load() {
        let divided = |text: &str| {
            let mut condition: AbortOn = text.parse().unwrap();
            condition.divide(0.25);
            condition
        };
        let rate = divided("rate<800/1s");
        assert_eq!((rate.is_met_by(199.0), rate.is_met_by(200.0)), (true, false));
        // It is shown as it was written.
        assert_eq!((rate.to_string().as_str(), rate.own_bound().as_deref()), ("rate<800/1s", Some("200/s")));
        for (text, bound) in [("p99>50ms/1s", 50e6), ("max>1s/1s", 1e9), ("errors>1%/1s", 0.01)] {
            let same = divided(text);
            assert_eq!((same.is_met_by(bound), same.is_met_by(bound * 1.1)), (false, true), "{text}");
            assert_eq!(same.own_bound(), None);
        }
    }
}
