//! The levels of a sweep: their syntax, and the ladder that they form. Pure.

use std::{f64::consts::SQRT_2, str::FromStr};

use common::units::parse_positive_count;

/// The maximum number of levels of a ladder.
pub(crate) const LEVELS_MAX: usize = 64;
/// The default factor between two levels: two steps double the load.
pub(crate) const FACTOR_DEFAULT: f64 = SQRT_2;
/// A smaller step than this is smaller than the noise of a measurement.
pub(crate) const FACTOR_MIN: f64 = 1.01;
/// A larger step than this misses the knee and the limit.
pub(crate) const FACTOR_MAX: f64 = 100.0;

/// Levels as the user requests them: `1k..64k`, `1k..` or `1,2,5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Levels {
    /// Geometric steps between two levels, both included, or up to the limit of the server.
    Range {
        /// The lowest level, at least 1.
        from: u64,
        /// The highest level, above the lowest. None: up to the limit of the server.
        to: Option<u64>,
    },
    /// These levels, in ascending order.
    List(Vec<u64>),
}

impl Levels {
    /// The levels in ascending order: at most [`LEVELS_MAX`], and none above `max`. A step has three significant digits.
    ///
    /// # Errors
    /// When the requested levels are too many or too high.
    pub(crate) fn ladder(&self, factor: f64, max: u64) -> Result<Vec<u64>, String> {
        let ladder = match self {
            Levels::List(levels) => levels.clone(),
            // Without TO, the maximum number of levels and of their values end the ladder.
            Levels::Range { from, to: None } if *from <= max => {
                return Ok(steps(*from, factor).take_while(|level| *level <= max).take(LEVELS_MAX).collect());
            }
            Levels::Range { from, to: None } => vec![*from],
            Levels::Range { from, to: Some(to) } => {
                let below = steps(*from, factor).take_while(|level| level < to).take(LEVELS_MAX);
                below.chain([*to]).collect()
            }
        };
        match ladder.last() {
            _ if ladder.len() > LEVELS_MAX => {
                Err(format!("these are more than {LEVELS_MAX} levels, which is the maximum"))
            }
            Some(last) if *last > max => Err(format!("{last} is too large: the maximum is {max}")),
            _ => Ok(ladder),
        }
    }
}

/// Geometric steps from `from`, strictly ascending after rounding.
fn steps(from: u64, factor: f64) -> impl Iterator<Item = u64> {
    let mut last = from;
    let step = move |number: i32| rounded(from as f64 * factor.powi(number));
    let above = (1..).map(step).filter(move |level| {
        let is_higher = *level > last;
        last = last.max(*level);
        is_higher
    });
    std::iter::once(from).chain(above)
}

/// Rounds to three significant digits, at least 1.
pub(crate) fn rounded(level: f64) -> u64 {
    let unit = 10_f64.powf((level.max(1.0).log10().floor() - 2.0).max(0.0));
    ((level / unit).round() * unit).max(1.0) as u64
}

impl FromStr for Levels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((from, to)) = text.split_once("..") else {
            let levels = text.split(',').map(|level| parse_positive_count(level.trim()));
            let mut levels = levels.collect::<Result<Vec<_>, _>>()?;
            levels.sort_unstable();
            levels.dedup();
            return Ok(Self::List(levels));
        };
        let from = parse_positive_count(from.trim())?;
        let to = match to.trim() {
            "" => None,
            to => Some(parse_positive_count(to)?),
        };
        match to {
            Some(to) if to <= from => {
                Err(format!("its end {to} is not above its start {from}: write FROM..TO"))
            }
            to => Ok(Self::Range { from, to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Levels {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_and_lists_are_parsed() {
        assert_eq!(levels("1k..64k"), Levels::Range { from: 1_000, to: Some(64_000) });
        assert_eq!(levels("10.."), Levels::Range { from: 10, to: None });
        assert_eq!(levels("5k"), Levels::List(vec![5_000]));
        assert_eq!(levels("5k, 1k,1k,2k"), Levels::List(vec![1_000, 2_000, 5_000]));
        for text in ["", "..", "..5", "0..5", "5..5", "9..5", "1,0", "1,,2", "a..b", "1...5"] {
            assert!(text.parse::<Levels>().is_err(), "{text}");
        }
    }

    #[test]
    fn steps_are_geometric_with_the_end_included() {
        assert_eq!(levels("1k..8k").ladder(2.0, 9_000), Ok(vec![1_000, 2_000, 4_000, 8_000]));
        assert_eq!(
            levels("1k..9k").ladder(FACTOR_DEFAULT, 9_000),
            Ok(vec![1_000, 1_410, 2_000, 2_830, 4_000, 5_660, 8_000, 9_000])
        );
        // Steps that round to the same level are dropped.
        assert_eq!(levels("1..8").ladder(FACTOR_DEFAULT, 100), Ok(vec![1, 2, 3, 4, 6, 8]));
        assert_eq!(levels("3,7").ladder(2.0, 9), Ok(vec![3, 7]));
    }

    #[test]
    fn a_ladder_has_an_end() {
        let open = levels("1k..").ladder(FACTOR_DEFAULT, 1_000_000_000).unwrap();
        assert_eq!((open.len(), open[0]), (40, 1_000));
        assert!(*open.last().unwrap() > 700_000_000);
        assert_eq!(levels("1k..").ladder(FACTOR_MIN, 1_000_000).unwrap().len(), LEVELS_MAX);
        assert!(levels("1k..1m").ladder(FACTOR_MIN, 1_000_000).unwrap_err().contains("more than 64 levels"));
        assert!(levels("1..10").ladder(2.0, 9).unwrap_err().contains("10 is too large"));
        assert!(levels("10..").ladder(2.0, 9).unwrap_err().contains("10 is too large"));
        assert_eq!(levels("9..").ladder(2.0, 9), Ok(vec![9]));
        let list = |count: usize| Levels::List((1..=count as u64).collect()).ladder(2.0, 1_000);
        assert!(list(LEVELS_MAX).is_ok() && list(LEVELS_MAX + 1).is_err());
    }
}
