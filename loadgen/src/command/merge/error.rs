//! Why results cannot be merged.

use common::human::plural;

/// Why results cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MergeError {
    /// No results.
    #[error("there is no result to merge")]
    Nothing,
    /// A comparison or a sweep.
    #[error("{0} is a comparison or a sweep: only results of 'loadgen run' can be merged")]
    NotARun(String),
    /// A result of a version that did not store a necessary value.
    #[error(
        "{name} is from an older version of loadgen and has no {what}, which a merge needs: repeat the run with this \
         version"
    )]
    Older {
        /// The file.
        name: String,
        /// The missing field.
        what: &'static str,
    },
    /// A histogram that loadgen did not write.
    #[error("{name} cannot be merged: its {what} is not a histogram of loadgen")]
    Unusable {
        /// The file.
        name: String,
        /// The field.
        what: &'static str,
    },
    /// Plans of different loads.
    #[error(
        "these are not parts of one load: {first} has {one}, {second} has {other}; generators of one load may \
         differ only in their targets, --connections, --threads, --rate, --requests, --connect-rate, --source, --seed and \
         the number of their --part"
    )]
    PlansDiffer {
        /// The first file.
        first: String,
        /// The property of its plan.
        one: String,
        /// The file that differs.
        second: String,
        /// The property of its plan.
        other: String,
    },
    /// A run that would count twice.
    #[error("some runs would count twice: {what}; {advice}")]
    Twice {
        /// The files that hold the same runs.
        what: String,
        /// The files to give instead.
        advice: &'static str,
    },
    /// The parts belong to another number of parts than the user expects.
    #[error(
        "--expect-parts {expected} does not fit these results: they are parts of {of}; give --expect-parts {of}"
    )]
    OtherNumber {
        /// The number that the user expects.
        expected: u32,
        /// The number in the results.
        of: u32,
    },
    /// More results than parts.
    #[error(
        "there are {generators} results, but the load has {parts}: leave out the results that do not belong to it",
        parts = plural(u64::from(*.expected), "part")
    )]
    TooMany {
        /// The number of results.
        generators: usize,
        /// The number of parts.
        expected: u32,
    },
    /// A merged result that does not name its runs.
    #[error(
        "{0} is a merged result of an older version of loadgen and does not name its runs, which could count twice: \
         merge the runs themselves"
    )]
    UnknownRuns(String),
    /// A run that ended in the warm-up.
    #[error("{0} measured nothing, because it ended before its window began: leave it out")]
    NothingMeasured(String),
    /// Windows that do not overlap.
    #[error(
        "the windows of {first} and {second} do not overlap, so they are not parts of one load: the second began {gap} \
         after the end of the first; use --start-at to start generators at the same time"
    )]
    Apart {
        /// The file whose window ended first.
        first: String,
        /// The file whose window began last.
        second: String,
        /// The time between them.
        gap: String,
    },
    /// An objective that this version cannot parse.
    #[error("this version of loadgen cannot read the SLO '{slo}': {reason}")]
    Objective {
        /// The text of the objective.
        slo: String,
        /// The mistake.
        reason: String,
    },
}
