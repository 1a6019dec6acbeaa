//! Why results cannot be added up.

/// Why results cannot be added up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A sum of nothing.
    #[error("there is no result to add up")]
    Nothing,
    /// A comparison, or another table of several runs.
    #[error("{0} is a table of several runs: only results of 'loadgen run' can be added up")]
    NotARun(String),
    /// It was written before results held what a sum needs.
    #[error(
        "{name} is of an older loadgen: it has no {what}, without which it cannot be added up; run it again with \
         this one"
    )]
    Older {
        /// The file.
        name: String,
        /// The field that is missing.
        what: &'static str,
    },
    /// It holds something that loadgen has not written.
    #[error("{name} cannot be added up: its {what} is no histogram of loadgen's")]
    Unusable {
        /// The file.
        name: String,
        /// The field.
        what: &'static str,
    },
    /// Two loads that are not one.
    #[error(
        "these are not parts of one load: {first} has {one}, {second} has {other}; generators of one load differ in \
         nothing but their targets, --connections, --threads, --rate, --requests, --connect-rate and --seed"
    )]
    PlansDiffer {
        /// The file that the others are compared with.
        first: String,
        /// What its plan has.
        one: String,
        /// The file that differs.
        second: String,
        /// What its plan has instead.
        other: String,
    },
    /// A result that would be counted double.
    #[error("{first} and {second} are the same run, which would be counted twice: name each result once")]
    Twice {
        /// A file.
        first: String,
        /// Another one, or the same again.
        second: String,
    },
    /// It was interrupted in the warm-up.
    #[error("{0} measured nothing: it ended before its window began; leave it out")]
    NothingMeasured(String),
    /// Two windows of which one was over before the other began.
    #[error(
        "the windows of {first} and {second} do not overlap: the latter began {gap} after the former had ended, so \
         they were no load together; --start-at lets generators start at the same moment"
    )]
    Apart {
        /// The one that ended first.
        first: String,
        /// The one that began last.
        second: String,
        /// Between them, for people.
        gap: String,
    },
    /// What was asked of a result is nothing that this program knows.
    #[error("the SLO '{slo}' is none that this program reads: {reason}")]
    Objective {
        /// As it was asked.
        slo: String,
        /// What is wrong with it.
        reason: String,
    },
}
