//! The echo server as a daemon.

use std::process::ExitCode;

use clap::FromArgMatches;
use common::{generate, usage};
use server::args::{Args, MANUALS, command};

fn main() -> ExitCode {
    let args = match Args::from_arg_matches(&command().get_matches()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match args.generate {
        Some(output) => match generate::run(output, args.generate_to.as_deref(), &command(), MANUALS) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                usage::print_failure(error);
                ExitCode::FAILURE
            }
        },
        None => server::main(args),
    }
}
