//! `--part`: the part of one load that this generator has. Pure.

use std::{fmt, str::FromStr};

use common::units::refuse_flag;
use serde::{Deserialize, Serialize};

/// The maximum number of parts of a load.
pub(crate) const PARTS_MAX: u32 = 100_000;

/// The variable that gives the flag.
pub(crate) const VARIABLE: &str = "LOADGEN_PART";
/// The variables of the engines that start generators. Only the forms with `auto` read them.
pub(crate) const ENGINE_VARIABLES: [&str; 3] = ["JOB_COMPLETION_INDEX", "SLURM_PROCID", "SLURM_NTASKS"];

/// The variables from which `auto/N` reads the number of the part, in the order in which they are tried.
const NUMBERS: [&str; 2] = ["JOB_COMPLETION_INDEX", "SLURM_PROCID"];
/// The variables from which `auto` reads the number of the part and the number of parts.
const TASK: [&str; 2] = ["SLURM_PROCID", "SLURM_NTASKS"];

/// The part of one load that a generator has: each `of`-th client, from client `number` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The number of the part, from 0 to `of - 1`.
    pub number: u32,
    /// The number of parts, from 1 to [`PARTS_MAX`].
    pub of: u32,
}

/// Why a text is not a [`Part`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParsePartError {
    /// Another flag.
    #[error("{0}")]
    Flag(String),
    /// Not a form of a part.
    #[error(
        "'{0}' is not a part: write K/N, as in 0/4 (the first of 4 parts), auto/N (K is JOB_COMPLETION_INDEX or \
         SLURM_PROCID) or auto (K is SLURM_PROCID, N is SLURM_NTASKS)"
    )]
    NotAPart(String),
    /// The number of the part is not below the number of parts.
    #[error("part {number} of {of} does not exist: the numbers of {of} parts are 0 to {last}", last = of - 1)]
    Beyond {
        /// The number of the part.
        number: u32,
        /// The number of parts.
        of: u32,
    },
    /// Too few or too many parts.
    #[error("the number of parts must be from 1 to {PARTS_MAX}, not {0}")]
    Parts(u64),
    /// `auto/N`, and no variable that has the number.
    #[error(
        "auto/{of} needs the number of the part, and neither JOB_COMPLETION_INDEX (an Indexed Job of Kubernetes) nor \
         SLURM_PROCID (a task of srun) is set: write K/{of} with K from 0"
    )]
    NoNumber {
        /// The number of parts.
        of: u32,
    },
    /// `auto`, and a variable is missing.
    #[error(
        "auto needs SLURM_PROCID and SLURM_NTASKS, which srun sets for each task, and {missing} is not set: write auto/N or \
         K/N"
    )]
    NoTask {
        /// The missing variable.
        missing: &'static str,
    },
    /// A variable is not a number.
    #[error("{name} is '{value}', which is not the number of a part: set it to a whole number from 0")]
    Variable {
        /// The name of the variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl Part {
    /// Parses `K/N`, `auto/N` or `auto`. `variable` looks up an environment variable; only the forms with `auto` call it.
    ///
    /// # Errors
    /// When the text has another form, the part does not exist, or a variable is missing or not a number.
    pub(crate) fn parse(
        text: &str,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ParsePartError> {
        refuse_flag(text).map_err(ParsePartError::Flag)?;
        let unknown = || ParsePartError::NotAPart(text.to_owned());
        let number_of = |name: &'static str| match variable(name) {
            Some(value) => {
                value.trim().parse::<u64>().map(Some).map_err(|_| ParsePartError::Variable { name, value })
            }
            None => Ok(None),
        };
        let text = text.trim();
        if text == "auto" {
            let needed = |name| number_of(name)?.ok_or(ParsePartError::NoTask { missing: name });
            let [number, of] = TASK;
            return Self::new(needed(number)?, needed(of)?);
        }
        let (number, of) = text.split_once('/').ok_or_else(unknown)?;
        let of = of.trim().parse::<u64>().map_err(|_| unknown())?;
        if number.trim() != "auto" {
            return Self::new(number.trim().parse().map_err(|_| unknown())?, of);
        }
        let parts = parts(of)?;
        for name in NUMBERS {
            if let Some(number) = number_of(name)? {
                return Self::new(number, of);
            }
        }
        Err(ParsePartError::NoNumber { of: parts })
    }

    fn new(number: u64, of: u64) -> Result<Self, ParsePartError> {
        let of = parts(of)?;
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if number < of { Ok(Self { number, of }) } else { Err(ParsePartError::Beyond { number, of }) }
    }

    /// The share of this part of a number that the parts divide as evenly as possible: the first parts get one more.
    pub(crate) fn share(self, whole: u64) -> u64 {
        share(whole, self.number.into(), self.of.into())
    }
}

/// The share with this number, from 0, if `of` of them divide `whole` as evenly as possible.
pub(crate) fn share(whole: u64, number: u64, of: u64) -> u64 {
    whole / of + u64::from(number < whole % of)
}

fn parts(of: u64) -> Result<u32, ParsePartError> {
    u32::try_from(of).ok().filter(|of| (1..=PARTS_MAX).contains(of)).ok_or(ParsePartError::Parts(of))
}

/// `K/N` alone.
impl FromStr for Part {
    type Err = ParsePartError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, |_| None)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of a text, in an environment.
    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Part, ParsePartError> {
        let value = |(_, value): &(&str, &str)| (*value).to_owned();
        Part::parse(text, |name| environment.iter().find(|(known, _)| *known == name).map(value))
    }

    #[test]
    fn each_form_gives_its_part() {
        let kubernetes = [("JOB_COMPLETION_INDEX", "2")];
        let slurm = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "4")];
        let both = [kubernetes[0], slurm[0]];
        for (text, environment, number, of) in [
            ("0/1", &[][..], 0, 1),
            ("3/4", &[], 3, 4),
            (" 0 / 4 ", &[], 0, 4),
            ("99999/100000", &[], 99_999, 100_000),
            ("auto/4", &kubernetes, 2, 4),
            ("auto/4", &slurm, 1, 4),
            ("auto/4", &both, 2, 4),
            ("auto", &slurm, 1, 4),
            // A plain part does not depend on the environment.
            ("0/4", &both, 0, 4),
        ] {
            assert_eq!(parse(text, environment), Ok(Part { number, of }), "{text} {environment:?}");
        }
        assert_eq!(Part { number: 3, of: 4 }.to_string().parse(), Ok(Part { number: 3, of: 4 }));
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        use ParsePartError::*;
        let not = |text: &str| NotAPart(text.to_owned());
        let wrong = |name, value: &str| Variable { name, value: value.to_owned() };
        for (text, environment, error) in [
            ("", &[][..], not("")),
            ("4", &[], not("4")),
            ("1/4/2", &[], not("1/4/2")),
            ("1/4k", &[], not("1/4k")),
            ("-1/4", &[], not("-1/4")),
            ("auto/", &[], not("auto/")),
            ("Auto/4", &[], not("Auto/4")),
            ("4/4", &[], Beyond { number: 4, of: 4 }),
            ("0/0", &[], Parts(0)),
            ("0/100001", &[], Parts(100_001)),
            ("auto/4", &[], NoNumber { of: 4 }),
            ("auto/4", &[("JOB_COMPLETION_INDEX", "4")], Beyond { number: 4, of: 4 }),
            ("auto/4", &[("JOB_COMPLETION_INDEX", "")], wrong("JOB_COMPLETION_INDEX", "")),
            ("auto", &[], NoTask { missing: "SLURM_PROCID" }),
            ("auto", &[("SLURM_PROCID", "0")], NoTask { missing: "SLURM_NTASKS" }),
            ("auto", &[("SLURM_PROCID", "x"), ("SLURM_NTASKS", "2")], wrong("SLURM_PROCID", "x")),
            ("auto", &[("JOB_COMPLETION_INDEX", "0")], NoTask { missing: "SLURM_PROCID" }),
        ] {
            assert_eq!(parse(text, environment).unwrap_err(), error, "{text} {environment:?}");
        }
        let error = parse("auto/4", &[]).unwrap_err().to_string();
        assert!(error.contains("JOB_COMPLETION_INDEX") && error.contains("SLURM_PROCID"), "{error}");
        assert!(matches!(parse("--rate", &[]), Err(Flag(_))));
    }

    #[test]
    fn the_shares_of_the_parts_add_up() {
        for (whole, of, expected) in [(11, 3, vec![4, 4, 3]), (1, 2, vec![1, 0]), (8, 4, vec![2; 4])] {
            let shares: Vec<_> = (0..of).map(|number| Part { number, of }.share(whole)).collect();
            assert_eq!(shares, expected);
        }
    }
}
