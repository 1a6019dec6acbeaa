//! The times of a run, and their distributions.

use serde::{Deserialize, Serialize};

/// The measured times, each with its two ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// From due to replied, of every request that was due in the window: the time that a user would see. A request without
    /// a reply is slower than every request with one.
    pub response: Latency,
    /// The response times of the completed requests alone.
    #[serde(default)]
    pub successful: Latency,
    /// From written to replied.
    pub service: Latency,
    /// From due to written, as far as the generator itself was late. Open loop only.
    pub schedule_lag: Option<Latency>,
    /// From the start of a connection attempt to the connection, over the whole run. With TLS: to that of its socket.
    pub connect: Latency,
    /// From the connection of the socket to the end of the TLS handshake, over the whole run. None without TLS.
    #[serde(default)]
    pub handshake: Option<Latency>,
    /// From due to written: the generator's lateness, and the client's own queue while all its places are taken.
    #[serde(default)]
    pub due_to_written: Latency,
    /// From written until the kernel had the reply ready: network and server. Together with `ready_to_read` it is the service
    /// time. None without `--kernel-timestamps`, or if the kernel gives no timestamps.
    #[serde(default)]
    pub written_to_ready: Option<Latency>,
    /// From ready until the client read the reply: the generator's own delay.
    #[serde(default)]
    pub ready_to_read: Option<Latency>,
}

/// A distribution of times in nanoseconds. A value with too few samples is None.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Samples, including the failed tail.
    pub count: u64,
    /// The shortest time.
    pub min: Option<u64>,
    /// The mean. None with a failed tail.
    pub mean: Option<f64>,
    /// The standard deviation. None with a failed tail.
    pub stdev: Option<f64>,
    /// The median.
    pub p50: Option<u64>,
    /// The 90th percentile.
    pub p90: Option<u64>,
    /// The 99th percentile.
    pub p99: Option<u64>,
    /// The 99.9th percentile.
    pub p99_9: Option<u64>,
    /// The 99.99th percentile.
    pub p99_99: Option<u64>,
    /// The longest time.
    pub max: Option<u64>,
    /// Every sample that has a time, as an HdrHistogram (V2, compressed) in base64.
    pub hdr: String,
    /// The samples without a time, which are longer than all others. None without such samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_tail: Option<FailedTail>,
}

/// Requests without a reply, at the end of a distribution of response times: failed, cut off, or never sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedTail {
    /// Their number.
    pub count: u64,
    /// A lower bound of their times, in nanoseconds: the longest time of a completed request, or the shortest time after which
    /// one of them was given up, if that is longer.
    pub longer_than_ns: u64,
    /// The percentiles that fall among them, by their names in [`Latency`], and `max`. Each is None there.
    pub percentiles: Vec<String>,
}

/// A row of a histogram: the times from `from_ns` to `to_ns`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bar {
    /// The first time of the row.
    pub from_ns: u64,
    /// The first time after it.
    pub to_ns: u64,
    /// Samples.
    pub count: u64,
    /// The row's share of all samples that have a time, from 0 to 1.
    pub share: f64,
    /// The share of this row and all rows before it.
    pub cumulative_share: f64,
}

impl Latencies {
    /// The response times of the completed requests alone. In older results, the response times include no failed requests.
    pub(crate) fn of_completed(&self) -> &Latency {
        if self.response.failed_tail.is_some() { &self.successful } else { &self.response }
    }
}

impl FailedTail {
    /// Whether the percentile with this name in [`Latency`] falls among these requests.
    pub(crate) fn holds(&self, percentile: &str) -> bool {
        self.percentiles.iter().any(|known| known == percentile)
    }
}
