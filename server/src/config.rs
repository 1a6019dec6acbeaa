//! What the server runs on: no syntax, nothing left open.

use std::time::Duration;

use common::Address;

use crate::work::Work;

/// A configuration that can be run. Every field has its value; nothing is left to be defaulted later.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, at least one address.
    pub listen: Vec<Address>,
    /// Worker threads, from 1 to [`Config::THREADS_MAX`]; without meaning in a mode that has none.
    pub threads: usize,
    /// Connections at once, at least 1.
    pub max_connections: usize,
    /// What happens to those who come when it is full.
    pub when_full: WhenFull,
    /// How long a connection from which nothing is received is kept; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a connection is kept whose client takes nothing of what waits for it.
    pub write_timeout: Duration,
    /// How long clients get to finish once the shutdown has begun.
    pub drain_timeout: Duration,
    /// The simulated work for each read.
    pub work: Work,
    /// Connections that the kernel keeps for a listener before they are accepted.
    pub backlog: i32,
    /// Whether other processes may listen on the same port.
    pub reuse_port: bool,
}

impl Config {
    /// The most worker threads: far more than any machine has CPUs, and enough to hide blocking work behind.
    pub const THREADS_MAX: u64 = 4096;
}

/// What happens to those who come when the server is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WhenFull {
    /// Leave them in the listener's backlog until there is room
    Wait,
    /// Accept and close them at once
    Reject,
}

impl WhenFull {
    /// What `--when-full` calls it.
    pub fn name(self) -> &'static str {
        match self {
            WhenFull::Wait => "wait",
            WhenFull::Reject => "reject",
        }
    }
}
