//! Errors that a caller distinguishes: a run that cannot be made, and a server that cannot be loaded.

use std::net::IpAddr;

use common::signal::Termination;

/// The reason why a run cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RunError {
    /// A signal arrived before the load.
    #[error("interrupted before the load began")]
    Interrupted(Termination),
    /// No client could connect.
    #[error(
        "no client could connect to {targets}: {reason} ({count} of {clients}); is the server running? \
         --wait-for-server 10s waits for it"
    )]
    NoClientConnected {
        /// The targets.
        targets: String,
        /// The most frequent failure.
        reason: String,
        /// Its count.
        count: u64,
        /// The number of clients.
        clients: u32,
    },
    /// The TLS handshake with a target failed.
    #[error("{target} cannot be loaded with TLS: {reason}")]
    Tls {
        /// The target.
        target: String,
        /// The failure of the handshake, and what to do.
        reason: String,
    },
    /// This machine does not have a source address.
    #[error(
        "no client can connect from --source {source_address}: {reason}; a source is an address of this machine, and \
         'ip address' lists them"
    )]
    NoSuchSource {
        /// The address.
        source_address: IpAddr,
        /// The error of the system.
        reason: String,
    },
    /// The server did not answer in time.
    #[error("{target} did not answer within {waited}: {reason}")]
    NoServer {
        /// The target.
        target: String,
        /// The length of the wait.
        waited: String,
        /// The error of the last attempt.
        reason: String,
    },
}

/// A server that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct StartError {
    /// The kind of failure.
    pub problem: Problem,
    /// The observed behaviour.
    pub reason: String,
    /// The last lines that the server printed.
    pub output: Vec<String>,
}

/// How a server fails before the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It does not answer.
    NotStarted,
    /// It answers incorrectly.
    Protocol,
}
