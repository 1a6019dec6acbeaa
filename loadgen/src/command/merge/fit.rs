//! The properties that the plans of one load must have in common, and the merged plan. `loadgen compare --against` uses the
//! same properties.

use std::time::Duration;

use common::{
    human::{plural, rate},
    units::format_duration,
};

use super::{
    MergeError, Part,
    fields::{least, most},
};
use crate::{
    load::schedule::Arrival,
    result::{Loop, PartShare, PlanSummary, StagePlan},
};

/// The share by which windows of one load may differ in length.
const DURATION_SHARE_MAX: f64 = 0.05;

/// Describes a property of a plan. It must be the same in all plans of one load.
type Property = fn(&PlanSummary) -> String;

/// The properties that make two loads the same.
static PROPERTIES: &[Property] = &[
    |plan| match plan.r#loop {
        Loop::Closed => "a closed loop".to_owned(),
        Loop::Open => "an open loop".to_owned(),
    },
    |plan| match plan.arrival {
        None => "no --arrival".to_owned(),
        Some(Arrival::Constant) => "constant arrivals".to_owned(),
        Some(Arrival::Poisson) => "Poisson arrivals".to_owned(),
    },
    |plan| match stages(plan) {
        stages if stages.is_empty() => "no --stages".to_owned(),
        stages => format!("--stages {stages}"),
    },
    |plan| match plan.replay_speed {
        None => "no --replay".to_owned(),
        Some(speed) => format!("a --replay at {speed} times the recorded speed"),
    },
    |plan| format!("a pipeline of {}", plan.pipeline),
    |plan| format!("a pause of {}", seconds(plan.think_s.unwrap_or(0.0))),
    |plan| match plan.requests_per_connection {
        None => "persistent connections".to_owned(),
        Some(requests) => format!("{} on each connection", plural(requests, "request")),
    },
    |plan| match &plan.tls {
        None => "no TLS".to_owned(),
        Some(tls) => format!(
            "TLS with resumption {} and protocols '{}'{}",
            if tls.resumption { "on" } else { "off" },
            tls.alpn.join(","),
            if tls.insecure { ", insecure" } else { "" }
        ),
    },
    |plan| format!("messages of {}", plural(plan.size as u64, "byte")),
    |plan| format!("--protocol {}", plan.protocol),
    |plan| match (plan.message.as_ref().or(plan.messages_file.as_ref()), plan.messages.as_slice()) {
        (Some(path), _) => format!("the messages of {path}"),
        (None, []) => "numbered messages".to_owned(),
        (None, messages) => format!("--message {}", messages.join(" --message ")),
    },
    |plan| format!("--expect {}", plan.expect),
    |plan| format!("a warm-up of {}", seconds(plan.warmup_s)),
    |plan| match plan.duration_s {
        None => "no --duration".to_owned(),
        Some(_) => "a --duration".to_owned(),
    },
    |plan| match plan.requests {
        None => "no limit of --requests".to_owned(),
        Some(_) => "a limit of --requests".to_owned(),
    },
    |plan| format!("a --timeout of {}", seconds(plan.timeout_s)),
    |plan| format!("a --connect-timeout of {}", seconds(plan.connect_timeout_s)),
];

/// A further property of the parts of a sum: intervals of different lengths cannot be added.
static INTERVAL: Property = |plan| format!("intervals of {}", seconds(plan.interval_s));

/// The properties in which two plans differ, each as both have it. The load of a plan may be a share of a larger one, so the
/// clients and the rate do not count.
pub(crate) fn differences(plans: [&PlanSummary; 2]) -> Vec<[String; 2]> {
    let properties = PROPERTIES.iter().map(|property| plans.map(property));
    let mut differences: Vec<_> = properties.filter(|[one, other]| one != other).collect();
    if let [Some(one), Some(other)] = plans.map(|plan| plan.duration_s)
        && (one - other).abs() > one.max(other) * DURATION_SHARE_MAX
    {
        differences.push([one, other].map(|length_s| format!("a --duration of {}", seconds(length_s))));
    }
    differences
}

/// A further property of the parts of a sum: the whole of which they are shares.
static WHOLE: Property = |plan| match &plan.part {
    None => "no --part".to_owned(),
    Some(PartShare { of, connections, rate_per_s, requests, .. }) => {
        let rate = rate_per_s.map(|per_s| format!(", {} requests per second", rate(per_s)));
        let requests = requests.map(|requests| format!(", {}", plural(requests, "request")));
        format!(
            "a --part of {of} with {} in the whole{}{}",
            plural(*connections, "client"),
            rate.unwrap_or_default(),
            requests.unwrap_or_default()
        )
    }
};

/// Checks that a result is a part of the same load as the first one.
pub(super) fn check(first: &Part, part: &Part) -> Result<(), MergeError> {
    if part.report.window_started_at_unix_us == 0 {
        let what = "window_started_at_unix_us";
        return Err(MergeError::Older { name: part.name.clone(), what });
    }
    let plans = [&first.report.plan, &part.report.plan];
    let further = [INTERVAL, WHOLE].into_iter().map(|property| plans.map(property));
    let further = further.filter(|[one, other]| one != other);
    match differences(plans).into_iter().chain(further).next() {
        None => Ok(()),
        Some([one, other]) => {
            Err(MergeError::PlansDiffer { first: first.name.clone(), one, second: part.name.clone(), other })
        }
    }
}

/// The merged plan. The common properties are those of the first plan. A partial result is still a share of the whole, so that
/// the missing parts can be added to it.
pub(super) fn plan(parts: &[Part], is_partial: bool) -> PlanSummary {
    let plans = || parts.iter().map(|part| &part.report.plan);
    let first = &parts[0].report.plan;
    PlanSummary {
        targets: united(plans().flat_map(|plan| plan.targets.iter())),
        sources: united(plans().flat_map(|plan| plan.sources.iter())),
        connections: plans().fold(0, |sum, plan| sum.saturating_add(plan.connections)),
        threads: plans().fold(0, |sum, plan| sum.saturating_add(plan.threads)),
        rate_per_s: plans().map(|plan| plan.rate_per_s).sum(),
        stages: summed_stages(parts),
        // If one generator has no limit, the load has none.
        connect_rate_per_s: plans().map(|plan| plan.connect_rate_per_s).try_fold(0, saturating_sum),
        requests: plans().map(|plan| plan.requests).try_fold(0, saturating_sum),
        duration_s: most(parts, |report| report.plan.duration_s),
        // Only a common start time is kept. If the times differ, the skew of the starts shows it.
        start_at_unix_ms: least(parts, |report| report.plan.start_at_unix_ms)
            .filter(|at_ms| plans().all(|plan| plan.start_at_unix_ms == Some(*at_ms))),
        slo: united(plans().flat_map(|plan| plan.slo.iter())),
        abort_on: united(plans().flat_map(|plan| plan.abort_on.iter())),
        until: united(plans().flat_map(|plan| plan.until.iter())),
        part: first.part.clone().filter(|_| is_partial),
        ..first.clone()
    }
}

fn stages(plan: &PlanSummary) -> String {
    plan.stages.iter().map(|stage| stage.stage.as_str()).collect::<Vec<_>>().join(",")
}

/// The stages, which all generators have in common, with the sums of their rates.
fn summed_stages(parts: &[Part]) -> Vec<StagePlan> {
    let mut stages = parts[0].report.plan.stages.clone();
    for other in &parts[1..] {
        for (stage, other) in stages.iter_mut().zip(&other.report.plan.stages) {
            stage.from_per_s += other.from_per_s;
            stage.to_per_s += other.to_per_s;
        }
    }
    stages
}

/// Each value once, in its first order.
fn united<'a, T: Clone + PartialEq + 'a>(values: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut united: Vec<T> = Vec::new();
    for value in values {
        if !united.contains(value) {
            united.push(value.clone());
        }
    }
    united
}

fn saturating_sum(sum: u64, next: Option<u64>) -> Option<u64> {
    next.map(|next| sum.saturating_add(next))
}

/// A duration in the syntax of a flag.
fn seconds(time_s: f64) -> String {
    Duration::try_from_secs_f64(time_s).map_or_else(|_| format!("{time_s} s"), format_duration)
}
