//! The echo server as a daemon.

use std::process::ExitCode;

use clap::{Args as _, Command, FromArgMatches};
use common::generate;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let args = match server::Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match args.generate {
        Some(what) => match generate::write(what, command(), &mut std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                common::log::say(format_args!("error: cannot write to stdout: {error}"));
                ExitCode::FAILURE
            }
        },
        None => server::main(args),
    }
}

fn command() -> Command {
    server::Args::augment_args(Command::new("server").version(env!("CARGO_PKG_VERSION")))
        .about(
            "A TCP server that echoes every byte in ASCII upper case, in a concurrency model of your choice",
        )
        .long_about(None)
        .after_help(server::args::AFTER_HELP)
}
