//! The arguments of `loadgen merge`.

use std::path::PathBuf;

use common::manual::{Example, Manual};

use super::OutputArgs;
use crate::command::exit::FailOn;

pub(super) const MANUAL: Manual = Manual {
    notes: &[
        "Each generator stores its result with 'loadgen run --format json -o FILE'. Use the same --start-at for all \
         generators, and a different --seed for each. Histograms are added, never averaged. Intervals are aligned by \
         wall clock. All results must be parts of one load. A merged result can be merged again: it names its runs, and \
         each run counts once.",
    ],
    exit_status: &[
        ("0", "success"),
        ("1", "failure, or the report could not be written"),
        ("2", "bad usage, or results that are not parts of one load"),
        ("3", "the merged result misses an SLO"),
        ("4", "a verdict that --fail-on names (takes precedence over 3)"),
    ],
    examples: &[
        Example { what: "Print three results as one", command: "loadgen merge a.json b.json c.json" },
        Example {
            what: "Store the merged result",
            command: "loadgen merge host-*.json --format json -o all.json",
        },
    ],
};

/// The arguments of `loadgen merge`.
#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    /// Results of 'loadgen run --format json', one from each generator, or merged results
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Verdicts that cause exit code 4
    #[arg(long, help_heading = "Output", value_enum, value_name = "VERDICT", default_value = "invalid")]
    pub fail_on: FailOn,
    /// The output of the report.
    #[command(flatten)]
    pub output: OutputArgs,
}
