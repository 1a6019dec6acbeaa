//! The concurrency models. Each is one sibling file and one row of [`MODES`]; `--mode`, `--help`, the tests and
//! the demo read that table.

use std::{fmt, sync::Arc};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::{listen::Listener, service::Service};

mod event_loop;
mod io_uring;
mod thread_per_connection;
mod thread_pool;
mod tokio_task;

/// Every mode, in the order in which they are shown.
pub static MODES: &[Mode] =
    &[thread_per_connection::MODE, thread_pool::MODE, tokio_task::MODE, event_loop::MODE, io_uring::MODE];

/// The name of the mode that runs where none is named.
pub const DEFAULT: &str = "tokio-task";

/// A concurrency model: how the server waits for its connections.
pub struct Mode {
    /// What `--mode` calls it.
    pub name: &'static str,
    /// How it waits, in half a line.
    pub summary: &'static str,
    /// What its threads are there for.
    pub threads: Threads,
    start: Start,
}

/// What a mode's threads are there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// `--threads` of them, for all connections.
    Workers,
    /// One for each connection; the limits on threads bound the connections.
    PerConnection,
}

/// Makes what the mode waits with (threads, event queues, a runtime, rings), and begins to serve. The mode owns its
/// runtime and the listeners, which it closes when the drain begins.
type Start = fn(Vec<Listener>, &Arc<Service>) -> anyhow::Result<Serving>;

/// What the calling thread has left to do in a mode that serves: it blocks until the shutdown has begun and its drain
/// is over.
pub type Serving = Box<dyn FnOnce()>;

impl Mode {
    /// Begins to serve in this mode. What it returns serves until the drain is over.
    ///
    /// # Errors
    /// When what the mode waits with (threads, event queue, runtime) cannot be made.
    pub fn start(&self, listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
        (self.start)(listeners, service)
    }

    /// The mode of that name.
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

/// Reads `--mode` from the table.
pub fn value_parser() -> impl TypedValueParser<Value = &'static Mode> {
    let values = MODES.iter().map(|mode| PossibleValue::new(mode.name).help(mode.summary));
    PossibleValuesParser::new(values)
        .map(|name| Mode::by_name(&name).expect("the parser lets only the table's names through"))
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
