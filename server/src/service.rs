//! What every mode shares while it runs, and the end that all modes have in common.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use crate::{config::Config, places::Places, shutdown::Shutdown, throttle::Throttle};

/// What every mode shares: the configuration, the places, the shutdown and the counters.
#[derive(Debug)]
pub struct Service {
    /// What was configured.
    pub config: Config,
    /// Begun by a signal.
    pub shutdown: Shutdown,
    pub(crate) places: Places,
    pub(crate) counters: Counters,
    pub(crate) log_cut_off: Throttle,
}

/// What was counted over all connections. Each connection adds its bytes when it ends, so that no echo touches a
/// cache line that threads share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) served: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) idle_timeouts: AtomicU64,
    pub(crate) write_timeouts: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) drained: AtomicU64,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Connections that were still open when the drain's time was over.
    pub cut_off: u64,
}

impl Summary {
    /// Whether every connection could finish.
    pub fn is_clean(&self) -> bool {
        self.cut_off == 0
    }
}

impl Service {
    pub(crate) fn new(config: Config, shutdown: Shutdown) -> io::Result<Self> {
        let places = Places::new(config.max_connections)?;
        Ok(Self { config, shutdown, places, counters: Counters::default(), log_cut_off: Throttle::new(10) })
    }

    /// When the drain's time is over, once the shutdown has begun.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        Some(self.shutdown.begun()? + self.config.drain_timeout)
    }

    /// Blocks until the shutdown has begun and then until the last connection is gone, at most for the drain's
    /// time. Threads that are still busy then are left behind: the process is about to end.
    pub(crate) fn wait_until_drained(&self) {
        while self.shutdown.begun().is_none() {
            match poll(&mut [PollFd::new(&self.shutdown, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => unreachable!("poll takes a valid descriptor: {error}"),
            }
        }
        self.places.wait_until_empty(self.drain_deadline().expect("the shutdown has begun"));
    }

    /// The last log line: what was served, and what the drain left behind.
    pub(crate) fn finish(&self) -> Summary {
        let summary = Summary { cut_off: self.places.taken() as u64 };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        tracing::info!(
            connections = count(&self.counters.served),
            bytes_received = count(&self.counters.bytes_received),
            bytes_sent = count(&self.counters.bytes_sent),
            turned_away = count(&self.counters.turned_away),
            idle_timeouts = count(&self.counters.idle_timeouts),
            write_timeouts = count(&self.counters.write_timeouts),
            failed = count(&self.counters.failed),
            drained = count(&self.counters.drained),
            cut_off = summary.cut_off,
            "stopped"
        );
        summary
    }
}
