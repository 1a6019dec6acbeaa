//! A TCP server that echoes every byte in ASCII upper case, and whose concurrency model can be switched.
//!
//! `arguments -> setup -> listeners -> mode`: [`main`] reads top-down as the table of contents. A [`mode`] is
//! one file; what all modes share lies beside them: who may come in (`admission`), the echo over a non-blocking
//! socket (`echo`), the simulated work ([`work`]), the drain ([`shutdown`], [`service`]) and what is counted
//! (`session`). What differs between two modes is only how waiting is done.

use std::{fmt, process::ExitCode, sync::Arc};

use anyhow::Context;

mod admission;
pub mod args;
pub mod config;
mod deadlines;
mod echo;
pub mod limits;
pub mod listen;
pub mod mode;
mod places;
mod readiness;
pub mod service;
mod session;
pub mod setup;
pub mod shutdown;
mod throttle;
pub mod work;

pub use crate::args::Args;
use crate::{
    config::Config,
    limits::Limits,
    listen::Listener,
    mode::{Mode, Serving},
    service::{Service, Summary},
    setup::{Setup, SetupError},
    shutdown::Shutdown,
};

/// The exit code after connections were cut off, or when the server could not run.
const FAILED: u8 = 1;
/// The exit code for arguments that cannot be used.
const BAD_USAGE: u8 = 2;

/// Runs the server until it is told to stop, and says how that went: 0 after a clean drain, 1 on failure
/// (including a drain that had to cut connections off), 2 on bad usage.
pub fn main(args: Args) -> ExitCode {
    if let Err(error) = common::log::start(args.log_format) {
        common::log::say(format_args!("error: {error}"));
        return ExitCode::from(BAD_USAGE);
    }
    match run(args) {
        Ok(summary) if summary.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(if error.is::<SetupError>() { BAD_USAGE } else { FAILED })
        }
    }
}

fn run(args: Args) -> anyhow::Result<Summary> {
    let stop_at_stdin_end = args.stop_at_stdin_end;
    let open_files = common::limits::raise_open_files().context("cannot raise the open-files limit")?;
    let setup = Setup::new(args, Limits::of_this_process(open_files))?;
    let shutdown = Shutdown::new().context("cannot make the shutdown event")?;
    stop_on_signals(&shutdown).context("cannot install the signal handlers")?;
    if stop_at_stdin_end {
        shutdown.begin_at_stdin_end().context("cannot watch stdin")?;
    }
    let listeners = listen::bind_all(&setup.config)?;
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address().clone()).collect();
    let server = Server::start(setup.mode, setup.config.clone(), listeners, shutdown)?;
    setup.log(&addresses);
    listen::announce(&addresses).context("cannot print the addresses")?;
    Ok(server.wait())
}

/// A server that serves.
pub struct Server {
    service: Arc<Service>,
    serving: Serving,
}

impl Server {
    /// Begins to serve what the listeners accept, in that mode.
    ///
    /// # Errors
    /// When the mode cannot start: its threads, its event queue or its runtime could not be made.
    pub fn start(
        mode: &Mode,
        config: Config,
        listeners: Vec<Listener>,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let service = Arc::new(Service::new(config, shutdown).context("cannot make the server's events")?);
        let serving =
            mode.start(listeners, &service).with_context(|| format!("mode {} cannot start", mode.name))?;
        Ok(Self { service, serving })
    }

    /// Serves until the shutdown and its drain are over.
    pub fn wait(self) -> Summary {
        (self.serving)();
        self.service.finish()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("service", &self.service).finish_non_exhaustive()
    }
}

/// The first SIGINT or SIGTERM begins the drain; the second ends the process at once.
fn stop_on_signals(shutdown: &Shutdown) -> std::io::Result<()> {
    let shutdown = shutdown.clone();
    common::signal::on_termination(move |signal| shutdown.begin(signal.name()), |_| FAILED)
}
