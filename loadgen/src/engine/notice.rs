//! The messages from a load thread to the conductor.

use rustix::io::Errno;

use crate::{
    engine::{
        client::Served, failure::FailureCounts, pauses::Pauses, probes::ThreadProbe, recording::Recording,
        tls::facts::TlsFacts, window::Stall,
    },
    protocol::exchange::Mismatch,
};

/// A message from a load thread to the conductor.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Each client of the thread has tried to connect, or the time for it is over.
    Ready(Ready),
    /// An interval is over.
    Interval {
        /// The index of the interval, from 0.
        index: usize,
        /// When it ended.
        end_ns: u64,
        /// The recording of it.
        recording: Box<Recording>,
    },
    /// A reply in the window broke the protocol, and the thread has seen no complete one.
    WrongProtocol,
    /// The thread has ended.
    Ended(Box<Ended>),
}

/// The result of the first connection attempts of a thread.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// Clients that are connected.
    pub connected: usize,
    /// The failures so far.
    pub failures: FailureCounts,
    /// The error of the last connection attempt.
    pub error: Option<Errno>,
    /// The first failure of TLS.
    pub tls_failure: Option<Box<str>>,
}

/// The report of a load thread at its end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The number of intervals in its part of the window.
    pub intervals: usize,
    /// The recording of the time after the window: outcomes of requests that were due in the window.
    pub tail: Box<Recording>,
    /// The clients.
    pub clients: Vec<Served>,
    /// The longest time in the window without a reply while requests were outstanding.
    pub longest_stall: Stall,
    /// The thread's own usage in the window.
    pub usage: ThreadProbe,
    /// Segments that the connections which exist at the end have retransmitted.
    pub retransmissions: u64,
    /// When its part of the window ended.
    pub window_ended_ns: u64,
    /// When the thread ended.
    pub ended_ns: u64,
    /// The thread's pauses.
    pub pauses: Pauses,
    /// Whether the server was gone when the window ended: no client was connected, and new connections failed.
    pub server_is_gone: bool,
    /// When the last reply was complete; 0 without a reply.
    pub last_reply_ns: u64,
    /// The first wrong reply.
    pub mismatch: Option<Mismatch>,
    /// The first complete reply that was not expected.
    pub unexpected: Option<Mismatch>,
    /// What the thread has learned of TLS.
    pub tls: TlsFacts,
}
