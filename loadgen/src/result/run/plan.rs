//! The plan of a run, as its result states it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::TlsSummary;
use crate::{
    load::{
        plan::Plan,
        rate::Rate,
        schedule::{Arrival, Load},
        stages::{RateOrZero, Stage, Stages},
        start_at,
    },
    protocol::{Protocol, echo::Echo, expect::Expect},
};

/// Closed or open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Loop {
    /// The next request waits for the last reply.
    Closed,
    /// Requests are due at scheduled times, whatever the server does.
    Open,
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanSummary {
    /// The servers' addresses.
    pub targets: Vec<String>,
    /// Closed or open loop.
    pub r#loop: Loop,
    /// Clients.
    pub connections: u32,
    /// Load threads.
    pub threads: usize,
    /// The rate of an open loop. With stages, it is the mean over the window.
    pub rate_per_s: Option<f64>,
    /// The stages of an open loop. Empty for a constant rate.
    #[serde(default)]
    pub stages: Vec<StagePlan>,
    /// The arrival process of an open loop.
    pub arrival: Option<Arrival>,
    /// Requests are due at the times of `messages_file`, this much faster than recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_speed: Option<f64>,
    /// The maximum of outstanding requests per client.
    pub pipeline: usize,
    /// The think time of a closed loop.
    #[serde(default)]
    pub think_s: Option<f64>,
    /// The maximum of new connections per second.
    #[serde(default)]
    pub connect_rate_per_s: Option<u64>,
    /// The number of replies after which a client reconnects.
    #[serde(default)]
    pub requests_per_connection: Option<u64>,
    /// The local addresses that the clients connect from, in turn. Empty: the kernel chooses.
    #[serde(default)]
    pub sources: Vec<IpAddr>,
    /// The protocol.
    #[serde(default = "echo")]
    pub protocol: String,
    /// TLS. None without it.
    #[serde(default)]
    pub tls: Option<TlsSummary>,
    /// Bytes of a message. If messages differ in length: of the first request of the first client.
    pub size: usize,
    /// The file with the message, in results of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The messages, as `--message` takes them. Empty for numbered messages, and with `messages_file`.
    #[serde(default)]
    pub messages: Vec<String>,
    /// The file with requests.
    #[serde(default)]
    pub messages_file: Option<String>,
    /// The expected reply.
    pub expect: Expect,
    /// The length of the load before the window.
    pub warmup_s: f64,
    /// The length of the window. None if only the number of requests limits the run.
    pub duration_s: Option<f64>,
    /// The maximum of requests in the window.
    #[serde(default)]
    pub requests: Option<u64>,
    /// The timeout of a connection attempt.
    pub connect_timeout_s: f64,
    /// The timeout of a reply.
    pub timeout_s: f64,
    /// The length of an interval.
    pub interval_s: f64,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The kernel was asked when replies were ready to be read.
    #[serde(default)]
    pub kernel_timestamps: bool,
    /// The start time of the load, in milliseconds since 1970 (UTC). None: the load begins when it is ready.
    #[serde(default)]
    pub start_at_unix_ms: Option<u64>,
    /// The SLOs.
    #[serde(default)]
    pub slo: Vec<String>,
    /// The conditions that end the load early.
    #[serde(default)]
    pub abort_on: Vec<String>,
    /// The share of one load that this generator has. None without `--part`, and for the whole load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PartShare>,
}

/// A share of one load, and the whole that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartShare {
    /// The number of the part, from 0.
    pub number: u32,
    /// The number of all parts.
    pub of: u32,
    /// The clients of the whole load.
    pub connections: u64,
    /// The rate of the whole load. None in a closed loop.
    pub rate_per_s: Option<f64>,
    /// The maximum of requests of the whole load in the window.
    pub requests: Option<u64>,
}

/// A stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StagePlan {
    /// The stage as it was given: `0..20k/30s`.
    pub stage: String,
    /// The rate at its start.
    pub from_per_s: f64,
    /// The rate at its end.
    pub to_per_s: f64,
    /// Its length.
    pub duration_s: f64,
}

impl StagePlan {
    fn of(stage: &Stage) -> Self {
        let per_s = |rate: RateOrZero| rate.map_or(0.0, Rate::per_s);
        Self {
            stage: stage.to_string(),
            from_per_s: per_s(stage.from),
            to_per_s: per_s(stage.to),
            duration_s: stage.length.as_secs_f64(),
        }
    }
}

/// The protocol of results of older versions.
fn echo() -> String {
    Echo::NAME.to_owned()
}

impl PlanSummary {
    /// Whether the rate changes during the run.
    pub(crate) fn has_changing_rate(&self) -> bool {
        let mut rates = self.stages.iter().flat_map(|stage| [stage.from_per_s, stage.to_per_s]);
        let first = rates.next();
        rates.any(|rate| Some(rate) != first)
    }

    /// The planned rate at a time after the window's start. None in a closed loop.
    pub(crate) fn rate_at(&self, t_s: f64) -> Option<f64> {
        let mut start_s = 0.0;
        for stage in &self.stages {
            if t_s < start_s + stage.duration_s {
                let share = ((t_s - start_s) / stage.duration_s).max(0.0);
                return Some(stage.from_per_s + (stage.to_per_s - stage.from_per_s) * share);
            }
            start_s += stage.duration_s;
        }
        self.stages.last().map(|last| last.to_per_s).or(self.rate_per_s)
    }

    /// The summary of a plan for these targets.
    pub(crate) fn of(plan: &Plan, targets: &[String]) -> Self {
        let (arrival, think, replay_speed) = match &plan.load {
            Load::Open { arrival, .. } => (Some(*arrival), None, None),
            Load::Replay(times) => (None, None, Some(times.speed.factor())),
            Load::Closed { think } => (None, Some(*think), None),
        };
        let stages = plan.stages.iter().flat_map(Stages::all);
        Self {
            targets: targets.to_vec(),
            r#loop: if plan.is_open_loop() { Loop::Open } else { Loop::Closed },
            connections: plan.connections,
            threads: plan.threads,
            rate_per_s: plan.rate_per_s(),
            stages: stages.map(StagePlan::of).collect(),
            arrival,
            replay_speed,
            pipeline: plan.pipeline,
            think_s: think.map(|think| think.as_secs_f64()),
            connect_rate_per_s: plan.connecting.rate_per_s,
            requests_per_connection: plan.connecting.requests_per_connection,
            sources: plan.connecting.sources.clone(),
            tls: plan.tls.as_ref().map(TlsSummary::of),
            protocol: plan.dialogue.protocol.to_owned(),
            size: plan.dialogue.size(plan.seed, plan.connections),
            message: None,
            messages: plan.dialogue.messages.clone(),
            messages_file: plan.dialogue.file.as_ref().map(|path| path.display().to_string()),
            expect: plan.dialogue.expect.clone(),
            warmup_s: plan.timing.warmup.as_secs_f64(),
            duration_s: plan.timing.duration.map(|duration| duration.as_secs_f64()),
            requests: plan.timing.requests,
            connect_timeout_s: plan.timeouts.connect.as_secs_f64(),
            timeout_s: plan.timeouts.reply.as_secs_f64(),
            interval_s: plan.measuring.interval.as_secs_f64(),
            seed: plan.seed,
            kernel_timestamps: plan.measuring.kernel_timestamps,
            start_at_unix_ms: plan.timing.start_at.map(start_at::unix_ms),
            slo: plan.measuring.slo.iter().map(ToString::to_string).collect(),
            abort_on: plan.measuring.abort_on.iter().map(ToString::to_string).collect(),
            part: None,
        }
    }
}
