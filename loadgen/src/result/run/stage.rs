//! The stages of a run, and the outcomes of a part of its requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Latency;

/// The result of a stage that has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// Its number, from 1.
    pub number: usize,
    /// The stage as it was given: `0..20k/30s`.
    pub stage: String,
    /// When it began, after the window's start.
    pub t_s: f64,
    /// Its length. The last one is shorter if the run ended early.
    pub length_s: f64,
    /// The mean rate of the schedule in it.
    pub offered_per_s: f64,
    /// The requests that were due in it.
    #[serde(flatten)]
    pub outcomes: Outcomes,
}

/// The outcomes of some of the requests that were due in the window: `due = completed + failed + cut_off`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcomes {
    /// Replies per second. Those of a stage are the replies that arrived in it, whenever their requests were due.
    pub achieved_per_s: f64,
    /// All of these requests.
    pub due: u64,
    /// With the expected reply.
    pub completed: u64,
    /// Without the expected reply, or never sent.
    pub failed: u64,
    /// Failed requests that were never sent.
    pub unsent: u64,
    /// Outstanding when the run ended, before their timeout.
    pub cut_off: u64,
    /// Failures by kind, without the kinds that did not occur. They include failures of connections.
    pub errors: BTreeMap<String, u64>,
    /// The response times of all these requests.
    pub response_ns: Latency,
}

/// The course of the response times after the peak of a load that goes down again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recovery {
    /// When the rate began to fall from its highest value, after the window's start.
    pub descent_from_ns: u64,
    /// The usual response time: the median of the p99 over the intervals of the first stage with a rate.
    pub usual_p99_ns: u64,
    /// An interval with a higher p99 is overloaded: twice the usual response time, or 1 ms more if that is longer.
    pub bound_ns: u64,
    /// The time from the start of the descent until no interval was overloaded any more. None: the last one was.
    pub recovered_after_ns: Option<u64>,
}

/// Why `--abort-on` ended the load early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aborted {
    /// The condition, as it was given.
    pub condition: String,
    /// The end of the interval at which the condition held, after the window's start.
    pub at_s: f64,
    /// The value: nanoseconds, a share from 0 to 1, or a rate per second. None if it falls among the failed requests.
    pub value: Option<f64>,
    /// For people.
    pub message: String,
}
