//! The metrics that an objective can name.

use std::{fmt, str::FromStr};

use common::{
    human::{duration_ns, percent, rate},
    units::parse_positive_duration,
};

use super::SloError;
use crate::load::rate::Rate;

/// A metric of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// A percentile of the response time, in millionths.
    Percentile(u64),
    /// The mean response time.
    Mean,
    /// The longest response time.
    Max,
    /// The error rate: failed requests as a share of the due requests.
    Errors,
    /// Replies per second.
    Rate,
    /// Jain's fairness index.
    Jain,
}

impl Metric {
    /// Whether low values are good.
    pub(crate) fn is_good_when_low(self) -> bool {
        !matches!(self, Metric::Rate | Metric::Jain)
    }

    pub(super) fn comparison(self, includes_bound: bool) -> &'static str {
        match (self.is_good_when_low(), includes_bound) {
            (true, false) => "<",
            (true, true) => "<=",
            (false, false) => ">",
            (false, true) => ">=",
        }
    }

    /// Parses a bound, and converts it to the unit of the metric in a result.
    pub(in crate::load) fn bound(self, written: &str) -> Result<f64, String> {
        match self {
            Metric::Percentile(_) | Metric::Mean | Metric::Max => {
                parse_positive_duration(written).map(|bound| bound.as_nanos() as f64)
            }
            Metric::Errors => {
                let hint = || "write a share of all requests from 0% to 100%, as in 0.1%".to_owned();
                let share = written
                    .strip_suffix('%')
                    .and_then(|number| decimal(number.trim_end()))
                    .ok_or_else(hint)?;
                if share <= 100.0 { Ok(share / 100.0) } else { Err(hint()) }
            }
            Metric::Rate => written.parse::<Rate>().map(Rate::per_s).map_err(|error| error.to_string()),
            Metric::Jain => decimal(written)
                .filter(|jain| *jain <= 1.0)
                .ok_or_else(|| "write a number from 0 to 1, as in 0.9".to_owned()),
        }
    }

    pub(crate) fn show(self, actual: f64) -> String {
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
            // A float is printed without trailing zeros.
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

/// Parses a percentile between 0 and 100, with at most four decimals, in millionths.
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

/// Parses a number without a sign and without an exponent.
fn decimal(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}
