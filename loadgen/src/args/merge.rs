//! The arguments of `loadgen merge`.

use std::path::PathBuf;

use common::{
    manual::{Example, Manual},
    units::parse_positive_count,
};

use super::OutputArgs;
use crate::{
    command::{exit::FailOn, merge::MergeRequest},
    load::slo::Slo,
};

pub(super) const MANUAL: Manual = Manual {
    notes: &[
        "Each generator prints its result on one line with 'loadgen run --format jsonl', or stores it with -o FILE. Merge \
         reads the results from files and from logs: it skips all other lines, and counts them. Logs must be printed \
         without a prefix in their lines ('docker service logs --raw', 'kubectl logs --prefix=false').",
        "Use the same --start-at for all generators. Divide one load with --part, or give each generator a different \
         --seed. Histograms are added, never averaged. Intervals are aligned by wall clock. All results must be parts of \
         one load. A merged result can be merged again: it names its runs, and each run counts once.",
        "The merged result is held against the SLOs of its parts and those of merge. If parts are missing, the verdict \
         is invalid. Merge knows the number of parts from --part or --expect-parts.",
    ],
    exit_status: &[
        ("0", "success"),
        (
            "1",
            "failure, no result, a broken result, parts missing of --expect-parts, or the report could not be written",
        ),
        ("2", "bad usage, or results that are not parts of one load"),
        ("3", "the merged result misses an SLO"),
        ("4", "a verdict that --fail-on names (takes precedence over 3)"),
    ],
    examples: &[
        Example { what: "Print three results as one", command: "loadgen merge a.json b.json c.json" },
        Example {
            what: "Merge the results in the logs of four pods",
            command: "kubectl logs -l job-name=load --prefix=false --tail=-1 | loadgen merge --expect-parts 4",
        },
        Example {
            what: "Store the merged result",
            command: "loadgen merge host-*.json --format json -o all.json",
        },
    ],
};

/// The arguments of `loadgen merge`.
#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    /// Files with results, one or several in each; - is standard input, which is read if no file is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Number of generators of the load. If results are missing, the report of the others is marked as partial, and the exit code
    /// is 1. A result that is cut off, or a file without a result, counts as missing
    #[arg(long, help_heading = "Load", value_name = "N", value_parser = parse_parts)]
    pub expect_parts: Option<u32>,
    /// Objective for the merged result, as in 'p99<5ms'; may be repeated. The objectives of the results are checked as well.
    /// 'loadgen run --help' lists the metrics
    #[arg(long, help_heading = "Objectives", value_name = "SLO")]
    pub slo: Vec<Slo>,
    /// Verdicts that cause exit code 4
    #[arg(long, help_heading = "Output", value_enum, value_name = "VERDICT", default_value = "invalid")]
    pub fail_on: FailOn,
    /// The output of the report.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl MergeArgs {
    /// What to merge.
    pub(crate) fn request(&self) -> MergeRequest<'_> {
        MergeRequest { files: &self.files, expected: self.expect_parts, slo: &self.slo }
    }
}

/// A number of parts.
fn parse_parts(text: &str) -> Result<u32, String> {
    u32::try_from(parse_positive_count(text)?)
        .map_err(|_| format!("it is too large: the maximum is {}", u32::MAX))
}
