//! `--stages`: the rate of an open loop over time. Pure.

use std::{fmt, str::FromStr, time::Duration};

use common::units::{parse_positive_duration, refuse_flag};

use crate::load::rate::{ParseRateError, Rate};

/// The maximum number of stages: each load thread keeps a histogram for each of them.
pub(crate) const STAGES_MAX: usize = 100;
/// The longest load: the longest duration that a flag accepts.
const LENGTH_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A rate that may be zero.
pub(crate) type RateOrZero = Option<Rate>;

/// A part of the load, in which the rate is constant or changes linearly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// The rate at its start. None: zero.
    pub from: RateOrZero,
    /// The rate at its end. None: zero.
    pub to: RateOrZero,
    /// Its length, more than zero.
    pub length: Duration,
    /// The stage as the user wrote it.
    written: String,
}

/// The stages of a load: from 1 to [`STAGES_MAX`], at least one of them with a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stages(Vec<Stage>);

/// Why a text is not [`Stages`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseStagesError {
    /// Another flag.
    #[error("{0}")]
    Flag(String),
    /// No text between two commas.
    #[error("stage {0} is empty: write RATE/DURATION or FROM..TO/DURATION, as in 20k/1m or 0..20k/30s")]
    Empty(usize),
    /// No slash.
    #[error(
        "stage '{0}' has no duration: write RATE/DURATION or FROM..TO/DURATION, as in 20k/1m or 0..20k/30s"
    )]
    NoDuration(String),
    /// The text after the last slash is not a duration.
    #[error("stage '{stage}' must end in a slash and its duration, as in 20k/1m or 30/min/1m: {reason}")]
    Duration {
        /// The stage.
        stage: String,
        /// The mistake in the duration.
        reason: String,
    },
    /// The text before the last slash is not a rate.
    #[error("stage '{stage}': {reason}")]
    Rate {
        /// The stage.
        stage: String,
        /// The mistake in the rate.
        reason: String,
    },
    /// A rate out of range.
    #[error("stage '{stage}': the rate {rate} is out of range: it must be 0, or from {min} to {max}", min = Rate::MIN, max = Rate::MAX)]
    RateRange {
        /// The stage.
        stage: String,
        /// The rate.
        rate: Rate,
    },
    /// Every rate is zero.
    #[error("no request would ever be due: at least one stage needs a rate above 0")]
    NoRate,
    /// Too many stages.
    #[error("{0} stages are too many: the maximum is {STAGES_MAX}")]
    TooMany(usize),
    /// Together longer than [`LENGTH_MAX`].
    #[error("the stages are longer than 366 days together")]
    TooLong,
}

/// As the user wrote it.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Stage {
    type Err = ParseStagesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stage = || text.to_owned();
        // A rate may contain a slash, a duration does not.
        let (rates, length) = text.rsplit_once('/').ok_or_else(|| ParseStagesError::NoDuration(stage()))?;
        let length = parse_positive_duration(length.trim())
            .map_err(|reason| ParseStagesError::Duration { stage: stage(), reason })?;
        let rate = |written: &str| match rate_or_zero(written.trim()) {
            Ok(Some(rate)) if !(Rate::MIN..=Rate::MAX).contains(&rate) => {
                Err(ParseStagesError::RateRange { stage: stage(), rate })
            }
            Ok(rate) => Ok(rate),
            Err(error) => Err(ParseStagesError::Rate { stage: stage(), reason: error.to_string() }),
        };
        let (from, to) = match rates.split_once("..") {
            Some((from, to)) => (rate(from)?, rate(to)?),
            None => (rate(rates)?, rate(rates)?),
        };
        Ok(Self { from, to, length, written: stage() })
    }
}

/// Like the text of a [`Rate`]. In a stage, the rate may be zero.
fn rate_or_zero(text: &str) -> Result<RateOrZero, ParseRateError> {
    match text.parse() {
        Ok(rate) => Ok(Some(rate)),
        // A negative rate has the same error as zero.
        Err(ParseRateError::Zero) if !text.starts_with('-') => Ok(None),
        Err(error) => Err(error),
    }
}

impl Stages {
    /// The stages, in order.
    pub(crate) fn all(&self) -> &[Stage] {
        &self.0
    }

    /// The sum of their lengths.
    pub(crate) fn length(&self) -> Duration {
        self.0.iter().map(|stage| stage.length).sum()
    }
}

/// As the user wrote them.
impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.0.iter().enumerate() {
            write!(f, "{}{stage}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Stages {
    type Err = ParseStagesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        refuse_flag(text).map_err(ParseStagesError::Flag)?;
        let stage = |(index, written): (usize, &str)| match written.trim() {
            "" => Err(ParseStagesError::Empty(index + 1)),
            written => written.parse::<Stage>(),
        };
        let stages = text.split(',').enumerate().map(stage).collect::<Result<Vec<_>, _>>()?;
        if stages.len() > STAGES_MAX {
            return Err(ParseStagesError::TooMany(stages.len()));
        }
        if stages.iter().all(|stage| stage.from.is_none() && stage.to.is_none()) {
            return Err(ParseStagesError::NoRate);
        }
        let stages = Self(stages);
        if stages.length() > LENGTH_MAX { Err(ParseStagesError::TooLong) } else { Ok(stages) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(text: &str) -> Stage {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_last_slash_separates_the_duration() {
        for (text, from, to, length_ms) in [
            ("20k/1m", "20k", "20k", 60_000),
            ("30/min/10s", "30/min", "30/min", 10_000),
            ("30/1min", "30", "30", 60_000),
            ("30/1m", "30", "30", 60_000),
            ("10/s/5s", "10", "10", 5_000),
            ("0..20k/30s", "0", "20k", 30_000),
            ("20k..2k/10s", "20k", "2k", 10_000),
            ("0.5..1.5/1.5s", "0.5", "1.5", 1_500),
            ("30/min..10/s/1m30s", "30/min", "10", 90_000),
            ("10..30/min/1h", "10", "30/min", 3_600_000),
            (" 1k .. 2k / 250ms ", "1k", "2k", 250),
            ("0/5s", "0", "0", 5_000),
            ("5..0/5s", "5", "0", 5_000),
        ] {
            let rate = |text: &str| if text == "0" { None } else { Some(text.parse().unwrap()) };
            let seen = stage(text.trim());
            assert_eq!((seen.from, seen.to), (rate(from), rate(to)), "{text}");
            assert_eq!(seen.length, Duration::from_millis(length_ms), "{text}");
            assert_eq!(seen.to_string(), text.trim());
        }
    }

    #[test]
    fn stages_are_separated_by_commas_and_keep_their_text() {
        let stages: Stages = "0..20k/30s, 20k/1m,20k..2k/10s".parse().unwrap();
        assert_eq!((stages.all().len(), stages.length()), (3, Duration::from_secs(100)));
        assert_eq!(stages.to_string(), "0..20k/30s,20k/1m,20k..2k/10s");
        assert_eq!(stages.to_string().parse::<Stages>().unwrap(), stages);
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        for (text, said) in [
            ("", "stage 1 is empty: write RATE/DURATION"),
            ("20k/1m,", "stage 2 is empty"),
            ("20k", "stage '20k' has no duration"),
            ("30/min", "stage '30/min' must end in a slash and its duration"),
            ("20k/0s", "it must be longer than zero"),
            ("20k/1", "a number without a unit"),
            ("many/1s", "stage 'many/1s': 'many' is not a rate"),
            ("1..2..3/1s", "stage '1..2..3/1s': '2..3' is not a rate"),
            ("../1s", "'' is not a rate"),
            ("1/x/1s", "'/x' is not a unit of a rate"),
            ("-1..5/1s", "it must be more than zero"),
            ("0..2000m/1s", "is out of range: it must be 0, or from 1/h to 1,000,000,000/s"),
            ("0.5/h/1s", "the rate 0.5/h is out of range"),
            ("0/5s,0..0/1s", "at least one stage needs a rate above 0"),
            ("1/300d,1/300d", "longer than 366 days together"),
            ("--rate", "'--rate' is a flag"),
            (&["1/1s"; 101].join(","), "101 stages are too many: the maximum is 100"),
        ] {
            let error = text.parse::<Stages>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
