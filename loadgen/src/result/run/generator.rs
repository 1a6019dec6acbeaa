//! The generator's own cost in the window, and its disturbances.

use serde::{Deserialize, Serialize};

/// The generator's own cost in the window, and its disturbances. A share is from 0 to 1. A value that the kernel does not
/// report is None.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// CPU time of the whole process.
    pub cpu_s: f64,
    /// CPU time per reply. None without a reply, or below the resolution of the clock.
    pub cpu_ns_per_request: Option<f64>,
    /// The share of the window in which the busiest load thread was on a CPU.
    pub busiest_thread_share: f64,
    /// The smallest share of the window in which a load thread was idle.
    #[serde(default)]
    pub idle_share_min: Option<f64>,
    /// The largest share of the window in which a load thread waited for a CPU.
    #[serde(default)]
    pub cpu_wait_share_max: Option<f64>,
    /// Preemptions per second of the load thread with the most.
    #[serde(default)]
    pub preemptions_per_s_max: Option<f64>,
    /// The share of this machine's CPU time that its hypervisor gave to other machines.
    #[serde(default)]
    pub steal_share: Option<f64>,
    /// The pauses of the load threads.
    #[serde(default)]
    pub pauses: Pauses,
    /// The CPU quota of the load threads' cgroup, in CPUs. Of several nested quotas, the one that throttled in the largest
    /// share of its periods. None without a quota.
    #[serde(default)]
    pub cpu_quota: Option<f64>,
    /// The share of the quota's periods in which it was used up. The kernel then throttles every thread of the cgroup until the
    /// period ends.
    #[serde(default)]
    pub throttled_share: Option<f64>,
    /// How long the cgroup was throttled in the window, in seconds, summed over its CPUs.
    #[serde(default)]
    pub throttled_s: Option<f64>,
    /// The smallest observed step of the clock.
    #[serde(default)]
    pub clock_step_ns: u64,
}

/// Pauses of the load threads since the window began: times of at least 5 ms from the moment at which a thread should have
/// run to the moment at which it ran. A pause may be up to 4 ms longer than measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pauses {
    /// Their number, over all threads.
    pub count: u64,
    /// The sum of the pauses of the thread with the largest sum.
    pub total_ns_max: u64,
    /// Requests of the window that were due or outstanding during a pause of their thread.
    pub requests: u64,
    /// The longest pauses, at most 16, the longest first.
    pub longest: Vec<Pause>,
}

/// A pause of a load thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// When it began, after the window's start.
    pub t_s: f64,
    /// Its length, in nanoseconds.
    pub length_ns: u64,
}
