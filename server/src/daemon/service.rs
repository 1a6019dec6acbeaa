//! The state that all modes share, and the end of the drain.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};

use crate::{
    admission::{
        accept_error::AcceptErrors,
        connection_limit::ConnectionLimit,
        gate::Gate,
        log_limit::LogLimit,
        refusal::{Refusal, Refusals},
    },
    daemon::{config::Config, shutdown::Shutdown, watchdog::Watchdog, workers::Workers},
    kernel::poll,
};

/// The state that all modes share: configuration, shutdown, open connections and counters.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) shutdown: Shutdown,
    pub(crate) connections: ConnectionLimit,
    /// The check of clients' addresses, if there is any.
    pub(crate) gate: Option<Gate>,
    pub(crate) refusals: Refusals,
    pub(crate) accept_errors: AcceptErrors,
    pub(crate) counters: Counters,
    pub(crate) workers: Arc<Workers>,
    pub(crate) log_write_timeout: LogLimit,
}

/// Counters over all connections. Threads share them, so none of them is on the path of an echo: bytes are counted by
/// [`Workers`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that were admitted.
    pub(crate) accepted: AtomicU64,
    pub(crate) ended: Ended,
}

/// How many connections ended in each way.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) closed: AtomicU64,
    pub(crate) drained: AtomicU64,
    pub(crate) idle_timeout: AtomicU64,
    pub(crate) write_timeout: AtomicU64,
    pub(crate) reset: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Those that were open at the end of the drain timeout.
    pub(crate) cut_off: AtomicU64,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Connections that were still open at the end of the drain timeout.
    pub cut_off: u64,
}

impl Summary {
    /// Whether every connection has finished.
    pub fn is_clean(&self) -> bool {
        self.cut_off == 0
    }
}

impl Service {
    pub(crate) fn new(config: Config, shutdown: Shutdown) -> io::Result<Self> {
        let connections = ConnectionLimit::new(config.max_connections)?;
        Ok(Self {
            gate: Gate::new(&config.clients),
            refusals: Refusals::new(),
            accept_errors: AcceptErrors::default(),
            config,
            shutdown,
            connections,
            counters: Counters::default(),
            workers: Arc::new(Workers::new(Watchdog::of_this_process()?)),
            log_write_timeout: LogLimit::new(10),
        })
    }

    /// The end of the drain timeout, once the shutdown has begun.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        Some(self.shutdown.begun()? + self.config.drain_timeout)
    }

    /// The end of the grace period, once the shutdown has begun. At least half of the drain timeout is left for the clients to
    /// close.
    pub(crate) fn grace_end(&self) -> Option<Instant> {
        Some(self.shutdown.begun()? + self.config.drain_grace.min(self.config.drain_timeout / 2))
    }

    /// Blocks until the grace period of the drain is over, or the last connection has ended.
    pub(crate) fn wait_for_grace_end(&self) {
        self.wait_for_connections(self.grace_end().expect("the shutdown has begun"));
    }

    /// Blocks until the shutdown has begun, and then until the last connection has ended or the drain timeout is over.
    /// Threads that are busy then keep running: the process is about to end.
    pub(crate) fn wait_until_drained(&self) {
        while self.shutdown.begun().is_none() {
            match poll(&mut [PollFd::new(&self.shutdown, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => unreachable!("poll takes a valid descriptor: {error}"),
            }
        }
        self.wait_for_connections(self.drain_deadline().expect("the shutdown has begun"));
    }

    /// Blocks until the last connection has ended, or until the deadline.
    fn wait_for_connections(&self, deadline: Instant) {
        loop {
            let until = self.watchdog_due().map_or(deadline, |due| due.min(deadline));
            if self.connections.wait_until_drained(until) || Instant::now() >= deadline {
                return;
            }
            self.workers.note_wait();
        }
    }

    /// When an idle worker has to wake up and report to the watchdog.
    pub(crate) fn watchdog_due(&self) -> Option<Instant> {
        self.workers.watchdog.as_ref().map(Watchdog::due)
    }

    /// Writes the last log line, with all counters.
    pub(crate) fn finish(&self) -> Summary {
        let summary = Summary { cut_off: self.connections.open() as u64 };
        let Ended { drained, idle_timeout, write_timeout, reset, failed, cut_off, .. } = &self.counters.ended;
        cut_off.store(summary.cut_off, Ordering::Relaxed);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let workers = self.workers.total();
        // A reason that did not occur is left out of the line.
        let refused = |refusal| Some(self.refusals.count(refusal)).filter(|count| *count > 0);
        tracing::info!(
            connections = count(&self.counters.accepted),
            bytes_received = workers.bytes_received,
            bytes_sent = workers.bytes_sent,
            turned_away = self.refusals.total(),
            turned_away_full = refused(Refusal::Full),
            turned_away_no_thread = refused(Refusal::NoThread),
            turned_away_denied = refused(Refusal::Denied),
            turned_away_per_ip = refused(Refusal::PerIp),
            turned_away_proxy_header = refused(Refusal::ProxyHeader),
            idle_timeouts = count(idle_timeout),
            write_timeouts = count(write_timeout),
            failed = count(reset) + count(failed),
            drained = count(drained),
            cut_off = summary.cut_off,
            "stopped"
        );
        summary
    }
}
