//! How evenly the server served the clients.

use serde::{Deserialize, Serialize};

/// How evenly the server served the clients in the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fairness {
    /// Clients.
    pub clients: u64,
    /// Clients that were owed a reply at any time in the window.
    #[serde(default)]
    pub asked: u64,
    /// Clients that were owed a reply, got none in the window, and got none later to a request of the window.
    #[serde(default)]
    pub starved: u64,
    /// Clients that got at least one reply.
    pub served: u64,
    /// Jain's index of their replies; 1 is even. None without a reply.
    pub jain: Option<f64>,
    /// The replies of the client with the fewest.
    pub requests_min: u64,
    /// The replies of the client with the most.
    pub requests_max: u64,
    /// The longest time in which a client was owed a reply and got none.
    pub longest_silence_ns: u64,
    /// The longest time in which requests were outstanding and a load thread got no reply. For several threads: the part
    /// that their longest stalls have in common, as all threads see a server that stands still.
    #[serde(default)]
    pub longest_stall_ns: u64,
    /// When that stall began, after the window's start. None without a stall.
    #[serde(default)]
    pub longest_stall_at_ns: Option<u64>,
    /// The mean number of requests in progress, by Little's law.
    pub effective_concurrency: Option<f64>,
    /// The same for the service time: the mean number of requests that the server is working on.
    #[serde(default)]
    pub service_concurrency: Option<f64>,
    /// The replies of all clients inside the window.
    #[serde(default)]
    pub replies_sum: u64,
    /// The sum of the squares of the clients' replies. `merge` computes Jain's index of several generators from it.
    #[serde(default)]
    pub replies_sum_of_squares: f64,
    /// The number of replies per client: an HdrHistogram (V2, compressed) in base64 with one sample per client.
    #[serde(default)]
    pub replies_hdr: String,
}
