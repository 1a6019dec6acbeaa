//! Why a run could not be made, where the caller has to tell the cases apart.

use common::signal::Termination;

/// Why a run could not be made, where the caller has to tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A signal came before the load.
    #[error("interrupted before the load began")]
    Interrupted(Termination),
    /// Not a single client could connect.
    #[error(
        "no client could connect to {targets}: {reason} ({count} of {clients}); is the server running? \
         --wait-for-server 10s waits for it"
    )]
    NobodyConnected {
        /// The targets.
        targets: String,
        /// The most frequent failure.
        reason: String,
        /// How often it was seen.
        count: u64,
        /// All clients.
        clients: u32,
    },
    /// The server did not appear.
    #[error("{target} did not answer within {waited}: {reason}")]
    NoServer {
        /// The target.
        target: String,
        /// For how long it was awaited.
        waited: String,
        /// The last attempt's error.
        reason: String,
    },
}

/// A server that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StartError {
    /// In what way it failed.
    pub problem: Problem,
    /// What it did instead.
    pub reason: String,
    /// The last lines that it printed, as far as they were read.
    pub output: Vec<String>,
}

/// In what way a server fails before it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It does not get as far as to answer.
    NotStarted,
    /// It answers otherwise than it should.
    Protocol,
}
