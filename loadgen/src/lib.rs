//! A load generator for request/reply servers that checks its own measurement.
//!
//! The folders are the steps from the command line down to the load. Each folder imports only from itself and
//! from those below it in this table; `tests/tests/rooms.rs` checks this. ARCHITECTURE.md explains the parts.
//!
//! | folder | content |
//! |---|---|
//! | [`args`] | the syntax of the command line |
//! | `command` | the commands: run, compare, sweep, merge, show, talk |
//! | `live` | progress and metrics during a run |
//! | `format` | the output formats |
//! | `judge` | the verdict and the SLOs |
//! | `result` | results as plain data, and the code that computes them from recordings |
//! | `subject` | the server under test |
//! | `engine` | sending requests and recording replies |
//! | `load` | the plan of a run, its messages, and the schedule of its requests |

pub mod args;
mod command;
mod engine;
mod format;
mod judge;
mod live;
mod load;
mod protocol;
mod result;
mod subject;

use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind::MissingSubcommand;
use common::{generate, signal};

pub use self::command::{error::exit_code, exit::BAD_USAGE};
use self::{
    args::{Args, Command, MANUALS},
    command::{compare, merge, run, show, sweep, talk},
    subject::server_process::guard,
};

/// Carries out a command line, and returns the exit code of the process.
///
/// # Errors
/// When there is no result, or the report cannot be written as requested. [`exit_code`] maps the error to an exit code.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    signal::survive_file_size_limit().context("signals cannot be handled")?;
    if let Some(what) = args.generate {
        generate::run(what, args.generate_to.as_deref(), &args::command(), MANUALS)?;
        return Ok(ExitCode::SUCCESS);
    }
    match args.command {
        Some(Command::Run(args)) => {
            run::execute(args.request()?, args.metrics.as_ref(), args.log(), args.delivery(), args.fail_on)
        }
        Some(Command::Compare(args)) => compare::execute(args.request()?, args.delivery(), args.fail_on),
        Some(Command::Sweep(args)) => sweep::execute(args.request()?, args.delivery()),
        Some(Command::Merge(args)) => merge::execute(args.request(), args.output.delivery(), args.fail_on),
        Some(Command::Show(args)) => show::execute(&args.files, args.delivery()),
        Some(Command::Talk(args)) => talk::execute(&args.target, args.save.as_deref(), args.timeout),
        Some(Command::Server(args)) => Ok(server::main(*args)),
        Some(Command::Guard) => {
            guard::watch();
            Ok(ExitCode::SUCCESS)
        }
        None => Err(args::command().error(MissingSubcommand, "no command given").into()),
    }
}
