//! The concurrency models. Each has one file and one row of [`MODES`]. `--mode`, `--help`, the tests and the demo use that
//! table.

use std::{fmt, sync::Arc};

use crate::{admission::listener::Listener, daemon::service::Service};

mod event_loop;
pub(crate) mod io_uring;
mod thread_per_connection;
mod thread_pool;
mod tokio_task;

/// All modes, in the order of the help.
pub static MODES: &[Mode] =
    &[thread_per_connection::MODE, thread_pool::MODE, tokio_task::MODE, event_loop::MODE, io_uring::MODE];

/// The default mode.
pub const DEFAULT: &str = "tokio-task";

/// A concurrency model: how the server waits for its connections.
pub struct Mode {
    /// Its name in `--mode`.
    pub name: &'static str,
    /// How it waits, in a few words for the help.
    pub summary: &'static str,
    /// How it uses threads.
    pub threads: Threads,
    /// Whether a connection stays with the worker that it is assigned to.
    pub(crate) connections_stay: bool,
    start: Start,
}

/// How a mode uses threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// `--threads` workers serve all connections.
    Workers,
    /// Each connection has a thread, so the limits on threads bound the number of connections.
    PerConnection,
}

/// Makes the mode's threads, event queues, runtimes or rings, and starts to serve. The mode owns the listeners, and closes
/// them when the drain begins.
type Start = fn(Vec<Listener>, &Arc<Service>) -> anyhow::Result<Serving>;

/// The part of the mode that runs on the calling thread. It returns when the drain is over.
pub(crate) type Serving = Box<dyn FnOnce()>;

impl Mode {
    /// Starts to serve in this mode.
    ///
    /// # Errors
    /// When the mode's threads, event queues, runtimes or rings cannot be made.
    pub(crate) fn start(&self, listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
        (self.start)(listeners, service)
    }

    /// The mode with this name.
    ///
    /// ```
    /// use server::mode::{DEFAULT, Mode};
    ///
    /// assert_eq!(Mode::by_name(DEFAULT).map(|mode| mode.name), Some("tokio-task"));
    /// assert!(Mode::by_name("fibers").is_none());
    /// ```
    pub fn by_name(name: &str) -> Option<&'static Mode> {
        MODES.iter().find(|mode| mode.name == name)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_in_the_table_and_names_are_unique() {
        assert!(Mode::by_name(DEFAULT).is_some());
        for mode in MODES {
            assert_eq!(MODES.iter().filter(|other| other.name == mode.name).count(), 1, "{}", mode.name);
        }
    }
}
