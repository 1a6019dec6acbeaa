//! A TCP server that echoes every byte in ASCII upper case. A flag selects its concurrency model.
//!
//! `args -> setup -> listeners -> mode`: `run` is the table of contents. Each concurrency model is one file in `mode/`, and
//! differs from the others only in how it waits. They share `admission/` (accepting), `connection/` (the echo) and `daemon/`
//! (the process).

use std::{fmt, process::ExitCode, sync::Arc};

use anyhow::Context;
use common::{Address, usage};

mod admission;
pub mod args;
mod connection;
mod daemon;
mod kernel;
pub mod mode;
mod sync;

#[cfg(all(test, shuttle))]
mod schedules;

use crate::{
    admission::listener::Purpose,
    args::Args,
    daemon::{
        activation::Activation,
        metrics::Metrics,
        notify::{self, Notifier},
        service::Service,
        takeover::Takeover,
    },
    mode::{Mode, Serving},
};
pub use crate::{
    admission::{access::ClientRules, listener::Listener},
    connection::work::Work,
    daemon::{
        config::{Config, Listen, WhenFull},
        limits::Limits,
        service::Summary,
        setup::{Setup, SetupError},
        shutdown::Shutdown,
    },
};

/// The exit code if the server fails, or if connections are still open when the drain timeout ends.
const FAILED: u8 = 1;
/// The exit code for invalid arguments.
const BAD_USAGE: u8 = 2;

/// Runs the server until its shutdown, and returns the exit code: 0 after a clean drain, 1 if the server fails or the drain
/// timeout ends first, 2 for invalid arguments.
pub fn main(args: Args) -> ExitCode {
    if let Err(error) = common::log::start(args.log_format) {
        usage::print_misuse(error);
        return ExitCode::from(BAD_USAGE);
    }
    match run(args) {
        Ok(summary) if summary.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) if error.is::<SetupError>() => {
            usage::print_misuse(error);
            ExitCode::from(BAD_USAGE)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(args: Args) -> anyhow::Result<Summary> {
    let stop_at_stdin_end = args.stop_at_stdin_end;
    let activation = Activation::of_this_process()?;
    let open_files = common::limits::raise_open_files().context("cannot raise the open-files limit")?;
    let setup = Setup::new(args, Limits::of_this_process(open_files), activation.names())?;
    let shutdown = Shutdown::new().context("cannot make the shutdown event")?;
    stop_on_signals(&shutdown).context("cannot install the signal handlers")?;
    if stop_at_stdin_end {
        shutdown.begin_at_stdin_end().context("cannot watch stdin")?;
    }
    let mut inherited = activation.take(&setup.config)?;
    let takeover = match &setup.config.takeover {
        Some(path) => Some(Takeover::begin(path, &shutdown, &mut inherited)?),
        None => None,
    };
    let listeners = Listener::open_all(&setup.config, &mut inherited)?;
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address().clone()).collect();
    let for_metrics = match &setup.config.metrics {
        Some(address) => Listener::open_metrics(address, &setup.config, &mut inherited)?,
        None => Vec::new(),
    };
    let offers = (listeners.iter().map(|listener| listener.offer(Purpose::Echo)))
        .chain(for_metrics.iter().map(|listener| listener.offer(Purpose::Metrics)))
        .collect();
    let server = Server::start(setup.mode, setup.config.clone(), listeners, shutdown)?;
    let mut metrics = match for_metrics.is_empty() {
        true => None,
        false => Some(Metrics::serve(for_metrics, &setup, &server.service)?),
    };
    let take = |takeover: Takeover| takeover.finish(offers, metrics.take(), &server.service);
    let successors = match takeover.map(take).transpose() {
        Ok(successors) => successors,
        Err(error) => return Err(server.stop("failed takeover", error)),
    };
    drop(inherited);
    setup.log("started", &addresses);
    let mode = setup.mode.name;
    log_on_hangup(setup, addresses.clone(), &server.service).context("cannot install the signal handlers")?;
    let notifier = Notifier::start(mode, &server.service).context("cannot start a thread")?;
    admission::listener::announce(&addresses).context("cannot print the addresses")?;
    let summary = server.wait();
    notifier.finish();
    if let Some(successors) = successors {
        successors.join().expect("the thread does not panic");
    }
    Ok(summary)
}

/// A running server.
pub struct Server {
    service: Arc<Service>,
    serving: Serving,
}

impl Server {
    /// Starts to serve in this mode.
    ///
    /// # Errors
    /// When the mode cannot start: its threads, event queues, runtimes or rings cannot be made.
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

    /// Serves until the drain is over.
    pub fn wait(self) -> Summary {
        (self.serving)();
        self.service.finish()
    }

    /// Finishes what has been accepted, and returns the reason for that.
    fn stop(self, what: &str, reason: anyhow::Error) -> anyhow::Error {
        self.service.shutdown.begin(what);
        self.wait();
        reason
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

/// Each SIGHUP logs the configuration that is in effect. There is no file to read it from again.
fn log_on_hangup(setup: Setup, addresses: Vec<Address>, service: &Arc<Service>) -> std::io::Result<()> {
    let shutdown = service.shutdown.clone();
    common::signal::on_hangup(move || {
        let log = || setup.log("configuration", &addresses);
        match shutdown.begun() {
            None => notify::around_reload(log),
            Some(_) => log(),
        }
    })
}
