//! `--until`: how precisely a percentile must be known before the load ends, such as `p99±2%`. Pure.

use std::{fmt, str::FromStr};

use crate::load::slo::Metric;

/// The precision that ends a load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Until {
    /// The percentile of the response time, in millionths.
    pub per_million: u64,
    /// Half of the width of its confidence interval, as a share of the percentile.
    pub half_width: f64,
}

/// Why a text is not an [`Until`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UntilError {
    /// No plus-minus sign.
    #[error("it has no ±: write a percentile, ± or +-, and a share of it, as in 'p99±2%'")]
    NoSign,
    /// Not a percentile.
    #[error("'{0}' is not a percentile of the response time: write pN, as in p99 or p99.9")]
    NotPercentile(String),
    /// Not a share.
    #[error("'{0}' is not a share: write a number from 0.1% to 50%, as in 2%")]
    NotShare(String),
}

/// Half of the width, as a share. A histogram's own error is 0.1%. An interval wider than the percentile says nothing.
const SHARES: std::ops::RangeInclusive<f64> = 0.001..=0.5;

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded, as a float's product may have digits that nobody wrote. It is printed without trailing zeros.
        let percent = (self.half_width * 1e6).round() / 1e4;
        write!(f, "{}±{percent}%", Metric::Percentile(self.per_million))
    }
}

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, share) =
            text.split_once('±').or_else(|| text.split_once("+-")).ok_or(UntilError::NoSign)?;
        let (name, share) = (name.trim(), share.trim());
        let Ok(Metric::Percentile(per_million)) = name.parse::<Metric>() else {
            return Err(UntilError::NotPercentile(name.to_owned()));
        };
        let not_share = || UntilError::NotShare(share.to_owned());
        // A share of errors has the same syntax.
        let half_width = Metric::Errors.bound(share).map_err(|_| not_share())?;
        if !SHARES.contains(&half_width) {
            return Err(not_share());
        }
        Ok(Self { per_million, half_width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_is_parsed_and_printed() {
        for (text, per_million, half_width, again) in [
            ("p99±2%", 990_000, 0.02, "p99±2%"),
            ("p99.9+-5%", 999_000, 0.05, "p99.9±5%"),
            (" p50 ± 0.5 % ", 500_000, 0.005, "p50±0.5%"),
            ("p99±0.1%", 990_000, 0.001, "p99±0.1%"),
            ("p99±50%", 990_000, 0.5, "p99±50%"),
            ("p99±2.25%", 990_000, 0.0225, "p99±2.25%"),
        ] {
            let until: Until = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((until.per_million, until.half_width), (per_million, half_width), "{text}");
            assert_eq!(until.to_string(), again);
            assert_eq!(again.parse(), Ok(until));
        }
    }

    #[test]
    fn each_invalid_precision_has_an_error_with_advice() {
        for (text, part) in [
            ("", "no ±"),
            ("p99<2%", "no ±"),
            ("±2%", "'' is not a percentile"),
            ("mean±2%", "'mean' is not a percentile"),
            ("max±2%", "'max' is not a percentile"),
            ("p101±2%", "'p101' is not a percentile"),
            ("p99±", "'' is not a share"),
            ("p99±2", "'2' is not a share"),
            ("p99±2ms", "'2ms' is not a share"),
            ("p99±0%", "from 0.1% to 50%"),
            ("p99±0.09%", "from 0.1% to 50%"),
            ("p99±51%", "from 0.1% to 50%"),
            ("p99±-2%", "'-2%' is not a share"),
            ("p99±NaN%", "'NaN%' is not a share"),
        ] {
            let error = text.parse::<Until>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
