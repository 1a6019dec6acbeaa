//! The parts of a run's time: intervals of the window, and the tail.

use serde::{Deserialize, Serialize};

use super::FailedTail;

/// A part of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// When it began, after the window's start.
    pub t_s: f64,
    /// Requests of the window that got their reply in it.
    pub completed: u64,
    /// Requests of the window that failed in it.
    pub failed: u64,
    /// Replies per second.
    pub achieved_per_s: f64,
    /// The median response time, in nanoseconds.
    pub p50: Option<u64>,
    /// The 90th percentile of the response time.
    #[serde(default)]
    pub p90: Option<u64>,
    /// The 99th percentile of the response time.
    pub p99: Option<u64>,
    /// The 99.9th percentile of the response time.
    #[serde(default)]
    pub p99_9: Option<u64>,
    /// The longest response time.
    pub max: Option<u64>,
    /// All response times, as an HdrHistogram (V2, compressed) in base64.
    #[serde(default)]
    pub hdr: String,
    /// The requests that failed in it, as in [`Latency`](super::Latency).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_tail: Option<FailedTail>,
}

/// The time after the window, in which requests of the window are still sent and awaited, for the timeout at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// From the window's end until all load threads have ended.
    pub length_s: f64,
    /// Requests of the window that got their reply in it.
    pub completed: u64,
    /// Requests of the window that failed in it, or were never sent.
    pub failed: u64,
}
