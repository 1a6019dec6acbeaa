//! The cost of the server, and the counters of the network.

use serde::{Deserialize, Serialize};

/// The cost in the window of a server that loadgen started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// The concurrency model of loadgen's own server. None for another server.
    pub mode: Option<String>,
    /// The threads of loadgen's own server. None if each connection has its own thread.
    #[serde(default)]
    pub threads: Option<u64>,
    /// The simulated work of loadgen's own server for each read. None without it.
    #[serde(default)]
    pub work: Option<String>,
    /// CPU time of the process and its children.
    pub cpu_s: f64,
    /// CPU time per reply. None without a reply, or below the resolution of the clock, which is 10 ms.
    pub cpu_ns_per_request: Option<f64>,
    /// Resident memory at the window's end.
    pub rss_bytes: u64,
    /// Resident memory, with each shared page divided by the number of its users.
    #[serde(default)]
    pub pss_bytes: Option<u64>,
    /// Context switches per reply, of the threads that exist during the whole window. None without a reply.
    pub context_switches_per_request: Option<f64>,
}

/// The counters of the network stack on the generator's machine (proc(5), `/proc/net/snmp` and `/proc/net/netstat`; tcp(7),
/// `TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Segments that the clients' own connections retransmitted, of the connections that exist at the end: at most
    /// `retransmissions`, as the kernel counts them from the connect on.
    pub client_retransmissions: u64,
    /// Segments that all connections of this network namespace retransmitted in the window.
    pub retransmissions: u64,
    /// Connections that a full accept queue in this network namespace refused, from the first connection to the end of the window:
    /// a server on this machine did not accept them.
    pub listen_overflows: u64,
}
