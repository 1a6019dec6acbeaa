//! Service level objectives such as `p99<5ms`. Pure.
//!
//! Times are response times: from the moment when a request is due to its complete reply.

mod metric;

use std::{fmt, str::FromStr};

pub(crate) use self::metric::Metric;

/// A service level objective.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slo {
    pub(crate) metric: Metric,
    /// Whether the bound itself meets the objective.
    includes_bound: bool,
    /// In nanoseconds, as a share from 0 to 1, or per second.
    bound: f64,
    /// The bound as the user wrote it.
    written: String,
}

/// Why a text is not a [`Slo`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SloError {
    /// No comparison.
    #[error("it has no comparison: write a metric, one of <, <=, > and >=, and a bound, as in 'p99<5ms'")]
    NoComparison,
    /// Not a metric.
    #[error(
        "'{0}' is not a metric: the metrics are pN (percentiles of the response time, as in p99 or p99.9), mean, max, \
         errors, rate and jain"
    )]
    UnknownMetric(String),
    /// Not a percentile, or more precise than a histogram.
    #[error(
        "'{0}' is not a percentile: write a number between 0 and 100 with at most four decimals, as in p99.9, or 'max' \
         for the longest time"
    )]
    BadPercentile(String),
    /// A comparison that accepts bad values.
    #[error("{good} values of '{metric}' are good: write {metric}{instead}{bound}")]
    WrongDirection {
        /// The metric.
        metric: String,
        /// Which values are good: `low` or `high`.
        good: &'static str,
        /// The right comparison.
        instead: &'static str,
        /// The bound as the user wrote it.
        bound: String,
    },
    /// The bound is not a value of the metric.
    #[error("'{bound}' is not a bound for {metric}: {reason}")]
    BadBound {
        /// The metric.
        metric: String,
        /// The bound as the user wrote it.
        bound: String,
        /// The mistake, or the expected form.
        reason: String,
    },
}

impl Slo {
    /// Whether a value meets the objective. The unit is that of the metric: nanoseconds, a share, or a rate per second.
    pub(crate) fn holds(&self, actual: f64) -> bool {
        let is_inside =
            if self.metric.is_good_when_low() { actual < self.bound } else { actual > self.bound };
        is_inside || (self.includes_bound && actual == self.bound)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_objective_is_parsed_and_printed() {
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
    fn each_invalid_objective_has_an_error_with_advice() {
        for (text, part) in [
            ("", "no comparison"),
            ("p99", "no comparison"),
            ("p99=5ms", "no comparison"),
            ("<5ms", "'' is not a metric"),
            ("q99<5ms", "'q99' is not a metric: the metrics are pN"),
            ("p<5ms", "'p' is not a metric"),
            ("P99<5ms", "'P99' is not a metric"),
            ("latency<5ms", "mean, max, errors, rate and jain"),
            ("p0<5ms", "'p0' is not a percentile"),
            ("p100<5ms", "'max'"),
            ("p999<5ms", "'p999' is not a percentile"),
            ("p99.99999<5ms", "four decimals"),
            ("p9.9.9<5ms", "'p9.9.9' is not a percentile"),
            ("p99.<5ms", "'p99.' is not a percentile"),
            ("p99>5ms", "low values of 'p99' are good: write p99<5ms"),
            ("errors>=1%", "write errors<=1%"),
            ("rate<20k", "high values of 'rate' are good: write rate>20k"),
            ("jain<=0.9", "write jain>=0.9"),
            ("p99<5", "'5' is not a bound for p99"),
            ("p99<", "'' is not a bound for p99"),
            ("p99<0ms", "longer than zero"),
            ("p99<<5ms", "'<5ms' is not a bound"),
            ("mean<-1ms", "'-1ms' is not a bound for mean"),
            ("errors<0.1", "as in 0.1%"),
            ("errors<101%", "from 0% to 100%"),
            ("errors<-1%", "from 0% to 100%"),
            ("errors<NaN%", "from 0% to 100%"),
            ("rate>0", "more than zero"),
            ("rate>20q", "as in 20k or 0.5"),
            ("jain>1.1", "from 0 to 1"),
            ("jain>inf", "from 0 to 1"),
        ] {
            let error = text.parse::<Slo>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
