//! How many requests a run made, how fast, and over which connections.

use serde::{Deserialize, Serialize};

/// Requests that were due in the window: `due = completed + failed + cut_off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requests {
    /// All of them. 0 in a result of an older version.
    #[serde(default)]
    pub due: u64,
    /// Written, at least in part.
    pub sent: u64,
    /// With a complete reply, as expected.
    pub completed: u64,
    /// Completed requests whose reply arrived after the window's end.
    #[serde(default)]
    pub completed_after_window: u64,
    /// Without the expected reply: they timed out, failed in another way, or were never sent. The error rate is
    /// `failed / due`.
    pub failed: u64,
    /// Failed requests that were never sent.
    #[serde(default)]
    pub unsent: u64,
    /// Outstanding when the run ended, before their timeout: neither completed nor failed.
    #[serde(default)]
    pub cut_off: u64,
    /// Replies that were complete inside the window, whenever their requests were due.
    #[serde(default)]
    pub replies_in_window: u64,
    /// Completed requests with a reply in which every byte was checked.
    pub verified: u64,
    /// Completed requests with a reply in parts, the last of which arrived 38 to 56 ms after the first, as after a delayed
    /// acknowledgement.
    #[serde(default)]
    pub delayed_rests: u64,
    /// Bytes of the sent requests.
    pub bytes_sent: u64,
    /// Bytes of their replies.
    pub bytes_received: u64,
}

/// Requests per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// The rate of the open loop's schedule.
    pub offered_per_s: Option<f64>,
    /// Replies per second that were complete inside the window. With a number of requests: these requests, divided by the
    /// time that they took.
    pub achieved_per_s: f64,
}

/// Connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connections {
    /// Connections that were established, over the whole run.
    pub established: u64,
    /// Connections that failed since the window began, so that their clients had to reconnect.
    pub lost: u64,
}

impl Requests {
    /// All requests that were due in the window, as the sum of their outcomes: older results have no `due`.
    pub(crate) fn all(&self) -> u64 {
        self.completed.saturating_add(self.failed).saturating_add(self.cut_off)
    }

    /// Requests without a reply: failed or cut off.
    pub(crate) fn unanswered(&self) -> u64 {
        self.failed.saturating_add(self.cut_off)
    }

    /// The share of failed requests among those that were due, from 0 to 1.
    pub(crate) fn error_rate(&self) -> f64 {
        self.failed as f64 / self.all().max(1) as f64
    }
}
