//! The command: it parses, runs, prints an error in one line, and returns an exit code.

use std::process::ExitCode;

use clap::FromArgMatches;
use common::usage;
use loadgen::args::{self, Args};

fn main() -> ExitCode {
    match Args::from_arg_matches(&args::command().get_matches()) {
        Ok(args) => loadgen::run(args).unwrap_or_else(|error| end_with(&error)),
        Err(error) => error.exit(),
    }
}

/// Prints the error in one line, and returns its exit code.
fn end_with(error: &anyhow::Error) -> ExitCode {
    let code = loadgen::exit_code(error);
    match error.downcast_ref::<clap::Error>() {
        Some(error) => error.exit(),
        None if code == loadgen::BAD_USAGE => usage::print_misuse(format_args!("{error:#}")),
        None => usage::print_failure(format_args!("{error:#}")),
    }
    ExitCode::from(code)
}
