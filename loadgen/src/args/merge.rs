//! The arguments of `loadgen merge`.

use std::path::PathBuf;

use super::OutputArgs;

const EXAMPLES: &str = "\
Examples:
  loadgen merge a.json b.json c.json
  loadgen merge host-*.json --format json -o all.json

Each generator wrote its file with 'loadgen run --format json -o FILE', best with the same --start-at and a --seed of
its own. Histograms are added, never averaged, and intervals are aligned by wall clock. What is no part of one load is
refused.";

/// The arguments of `loadgen merge`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct MergeArgs {
    /// Results of 'loadgen run --format json', one of each generator, or sums of such
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where and how the report is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}
