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
    /// Clients of this generator.
    pub connections: u32,
    /// The part of a load that this generator has, and the whole load. None: this is the whole load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PartShare>,
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
    /// The load threads polled without sleeping.
    #[serde(default)]
    pub busy_poll: bool,
    /// The start time of the load, in milliseconds since 1970 (UTC). None: the load begins when it is ready.
    #[serde(default)]
    pub start_at_unix_ms: Option<u64>,
    /// The SLOs.
    #[serde(default)]
    pub slo: Vec<String>,
    /// The conditions that end the load early.
    #[serde(default)]
    pub abort_on: Vec<String>,
    /// The precision of percentiles that ends the load.
    #[serde(default)]
    pub until: Vec<String>,
}

/// The part of one load that a generator has, and the size of the whole load. The other values of the plan are those of the part,
/// so that the values of all parts add up to the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartShare {
    /// The number of the part, from 0 to `of - 1`.
    pub number: u32,
    /// The number of parts.
    pub of: u32,
    /// The clients of the whole load.
    pub connections: u64,
    /// The rate of the whole load in an open loop. With stages, it is the mean over the window.
    pub rate_per_s: Option<f64>,
    /// The maximum of requests in the window of the whole load.
    pub requests: Option<u64>,
}

impl PartShare {
    fn of(plan: &Plan) -> Option<Self> {
        let part = plan.clients.part?;
        Some(Self {
            number: part.number,
            of: part.of,
            connections: plan.clients.whole.into(),
            rate_per_s: plan.whole_rate_per_s(),
            requests: plan.timing.requests,
        })
    }
}

/// A stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StagePlan {
    /// The stage as it was given, with the rates of the whole load: `0..20k/30s`.
    pub stage: String,
    /// The rate of this generator at its start.
    pub from_per_s: f64,
    /// The rate of this generator at its end.
    pub to_per_s: f64,
    /// Its length.
    pub duration_s: f64,
}

impl StagePlan {
    /// A stage, of a generator that has this share of its rates.
    fn of(stage: &Stage, share: f64) -> Self {
        let per_s = |rate: RateOrZero| rate.map_or(0.0, Rate::per_s) * share;
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
            connections: plan.connections(),
            part: PartShare::of(plan),
            threads: plan.threads,
            rate_per_s: plan.rate_per_s(),
            stages: stages.map(|stage| StagePlan::of(stage, plan.rate_share())).collect(),
            arrival,
            replay_speed,
            pipeline: plan.pipeline,
            think_s: think.map(|think| think.as_secs_f64()),
            connect_rate_per_s: plan.connecting.rate_per_s,
            requests_per_connection: plan.connecting.requests_per_connection,
            sources: plan.connecting.sources.clone(),
            tls: plan.tls.as_ref().map(TlsSummary::of),
            protocol: plan.dialogue.protocol.to_owned(),
            size: plan.dialogue.size(plan.seed, plan.clients.whole),
            message: None,
            messages: plan.dialogue.messages.clone(),
            messages_file: plan.dialogue.file.as_ref().map(|path| path.display().to_string()),
            expect: plan.dialogue.expect.clone(),
            warmup_s: plan.timing.warmup.as_secs_f64(),
            duration_s: plan.timing.duration.map(|duration| duration.as_secs_f64()),
            requests: plan.requests(),
            connect_timeout_s: plan.timeouts.connect.as_secs_f64(),
            timeout_s: plan.timeouts.reply.as_secs_f64(),
            interval_s: plan.measuring.interval.as_secs_f64(),
            seed: plan.seed,
            kernel_timestamps: plan.measuring.kernel_timestamps,
            busy_poll: plan.measuring.busy_poll,
            start_at_unix_ms: plan.timing.start_at.map(start_at::unix_ms),
            slo: plan.measuring.slo.iter().map(ToString::to_string).collect(),
            abort_on: plan.measuring.abort_on.iter().map(ToString::to_string).collect(),
            until: plan.measuring.until.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{
        part::Part,
        plan::{Connecting, Timing, tests::loads},
        request::{Request, tests::request},
    };

    #[test]
    fn the_rate_changes_evenly_within_a_stage_and_stays_after_the_last_one() {
        let mut plan = crate::result::tests::example().plan;
        assert_eq!(plan.rate_at(5.0), Some(1_000.0));
        let stage = |from_per_s, to_per_s, duration_s| StagePlan {
            stage: String::new(),
            from_per_s,
            to_per_s,
            duration_s,
        };
        plan.stages = vec![stage(4.0, 4.0, 2.0), stage(10.0, 30.0, 4.0), stage(5.0, 1.0, 2.0)];
        assert!(plan.has_changing_rate());
        for (t_s, per_s) in [
            (-1.0, 4.0),
            (1.0, 4.0),
            (2.0, 10.0),
            (3.0, 15.0),
            (5.0, 25.0),
            (6.0, 5.0),
            (7.0, 3.0),
            (8.0, 1.0),
            (9.0, 1.0),
        ] {
            assert_eq!(plan.rate_at(t_s), Some(per_s), "{t_s}");
        }
        plan.stages.truncate(1);
        assert!(!plan.has_changing_rate());
    }

    #[test]
    fn the_plans_of_the_parts_add_up_to_the_plan_of_the_whole() {
        let closed = Request {
            connections: 37,
            threads: Some(2),
            connecting: Connecting { rate_per_s: Some(1_001), ..Connecting::default() },
            timing: Timing { requests: Some(1_001), ..request().timing },
            ..request()
        };
        for (name, load) in loads().into_iter().chain([("closed", closed)]) {
            let summary = |request: Request| PlanSummary::of(&request.plan(4).unwrap(), &[]);
            let whole = summary(load.clone());
            assert_eq!(whole.part, None);
            for of in [1, 4, 7] {
                let parts: Vec<_> = (0..of)
                    .map(|number| summary(Request { part: Some(Part { number, of }), ..load.clone() }))
                    .collect();
                assert_eq!(parts.iter().map(|plan| plan.connections).sum::<u32>(), whole.connections);
                assert_eq!(
                    parts.iter().map(|plan| plan.requests).sum::<Option<u64>>(),
                    whole.requests,
                    "{name}"
                );
                let connect_rate = parts.iter().map(|plan| plan.connect_rate_per_s).sum::<Option<u64>>();
                assert_eq!(connect_rate, whole.connect_rate_per_s);
                let rate: Option<f64> = parts.iter().map(|plan| plan.rate_per_s).sum();
                let is_near = |one: f64, other: f64| (one - other).abs() <= other * 1e-12;
                assert!(rate.zip(whole.rate_per_s).is_none_or(|(sum, whole)| is_near(sum, whole)), "{name}");
                assert_eq!(rate.is_some(), whole.rate_per_s.is_some());
                for (index, stage) in whole.stages.iter().enumerate() {
                    let sum = |of: fn(&StagePlan) -> f64| {
                        parts.iter().map(|plan| of(&plan.stages[index])).sum::<f64>()
                    };
                    assert!(is_near(sum(|stage| stage.from_per_s), stage.from_per_s));
                    assert!(is_near(sum(|stage| stage.to_per_s), stage.to_per_s));
                }
                for (number, plan) in parts.iter().enumerate() {
                    let share = plan.part.as_ref().unwrap();
                    assert_eq!((share.number, share.of), (number as u32, of));
                    assert_eq!((share.connections, share.rate_per_s), (37, whole.rate_per_s));
                    assert_eq!(share.requests, whole.requests);
                }
            }
        }
    }
}
