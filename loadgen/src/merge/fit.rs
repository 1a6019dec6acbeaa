//! What the generators of one load must have in common, and the plan of all of them.

use std::time::Duration;

use common::units::format_duration;

use super::{MergeError, Part, least, most};
use crate::{
    message::Expect,
    report::{Loop, PlanSummary, Report},
    schedule::Arrival,
};

/// By which part windows of one load may differ in length.
const DURATION_SHARE_MAX: f64 = 0.05;

/// Says one thing of a plan; where it says something else of another, they are not of one load.
type Trait = fn(&PlanSummary) -> String;

/// What must be the same in all.
static TRAITS: &[Trait] = &[
    |plan| match plan.r#loop {
        Loop::Closed => "a closed loop".to_owned(),
        Loop::Open => "an open loop".to_owned(),
    },
    |plan| match plan.arrival {
        None => "no --arrival".to_owned(),
        Some(Arrival::Constant) => "constant arrivals".to_owned(),
        Some(Arrival::Poisson) => "Poisson arrivals".to_owned(),
    },
    |plan| format!("a pipeline of {}", plan.pipeline),
    |plan| format!("{} to think", seconds(plan.think_s.unwrap_or(0.0))),
    |plan| match plan.requests_per_connection {
        None => "connections that are kept".to_owned(),
        Some(requests) => format!("{requests} requests on each connection"),
    },
    |plan| format!("messages of {} bytes", plan.size),
    |plan| match &plan.message {
        None => "numbered messages".to_owned(),
        Some(path) => format!("the messages of {path}"),
    },
    |plan| match plan.expect {
        Expect::Upper => "--expect upper".to_owned(),
        Expect::Echo => "--expect echo".to_owned(),
        Expect::None => "--expect none".to_owned(),
    },
    |plan| format!("a warm-up of {}", seconds(plan.warmup_s)),
    |plan| match plan.duration_s {
        None => "no --duration".to_owned(),
        Some(_) => "a --duration".to_owned(),
    },
    |plan| match plan.requests {
        None => "no limit of --requests".to_owned(),
        Some(_) => "a limit of --requests".to_owned(),
    },
    |plan| format!("intervals of {}", seconds(plan.interval_s)),
    |plan| format!("a --timeout of {}", seconds(plan.timeout_s)),
    |plan| format!("a --connect-timeout of {}", seconds(plan.connect_timeout_s)),
];

/// That these are results of one load, each there once.
pub(super) fn check(parts: &[Part]) -> Result<(), MergeError> {
    for (index, part) in parts.iter().enumerate() {
        if part.report.window_started_at_unix_us == 0 {
            let what = "window_started_at_unix_us";
            return Err(MergeError::Older { name: part.name.clone(), what });
        }
        if let Some(known) = parts[..index].iter().find(|known| is_same(&known.report, &part.report)) {
            return Err(MergeError::Twice { first: known.name.clone(), second: part.name.clone() });
        }
        check_plans(&parts[0], part)?;
    }
    Ok(())
}

fn check_plans(first: &Part, second: &Part) -> Result<(), MergeError> {
    let plans = [&first.report.plan, &second.report.plan];
    let differ = |[one, other]: [String; 2]| MergeError::PlansDiffer {
        first: first.name.clone(),
        one,
        second: second.name.clone(),
        other,
    };
    if let Some(says) = TRAITS.iter().map(|says| plans.map(says)).find(|[one, other]| one != other) {
        return Err(differ(says));
    }
    if let [Some(one), Some(other)] = plans.map(|plan| plan.duration_s)
        && (one - other).abs() > one.max(other) * DURATION_SHARE_MAX
    {
        return Err(differ([one, other].map(|length_s| format!("a --duration of {}", seconds(length_s)))));
    }
    Ok(())
}

/// Whether two results are of one run: no two began in the same microsecond, used the CPU for equally long and saw the
/// same times.
fn is_same(one: &Report, other: &Report) -> bool {
    one.started_at_unix_ms == other.started_at_unix_ms
        && one.window_started_at_unix_us == other.window_started_at_unix_us
        && one.generator.cpu_s == other.generator.cpu_s
        && one.latency_ns.response.hdr == other.latency_ns.response.hdr
        && one.latency_ns.service.hdr == other.latency_ns.service.hdr
}

/// The plan of all; what `check` compares is that of the first.
pub(super) fn plan(parts: &[Part]) -> PlanSummary {
    let plans = || parts.iter().map(|part| &part.report.plan);
    let first = &parts[0].report.plan;
    PlanSummary {
        targets: united(plans().flat_map(|plan| plan.targets.iter())),
        connections: plans().fold(0, |sum, plan| sum.saturating_add(plan.connections)),
        threads: plans().fold(0, |sum, plan| sum.saturating_add(plan.threads)),
        rate_per_s: plans().map(|plan| plan.rate_per_s).sum(),
        // One generator without a limit leaves the whole without one.
        connect_rate_per_s: plans().map(|plan| plan.connect_rate_per_s).try_fold(0, saturating_sum),
        requests: plans().map(|plan| plan.requests).try_fold(0, saturating_sum),
        duration_s: most(parts, |report| report.plan.duration_s),
        // Generators that were to start at different moments have no common one: the skew tells.
        start_at_unix_ms: least(parts, |report| report.plan.start_at_unix_ms)
            .filter(|at_ms| plans().all(|plan| plan.start_at_unix_ms == Some(*at_ms))),
        slo: united(plans().flat_map(|plan| plan.slo.iter())),
        ..first.clone()
    }
}

/// Each once, in the order in which they come.
fn united<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut united: Vec<String> = Vec::new();
    for text in texts {
        if !united.contains(text) {
            united.push(text.clone());
        }
    }
    united
}

fn saturating_sum(sum: u64, next: Option<u64>) -> Option<u64> {
    next.map(|next| sum.saturating_add(next))
}

/// A time as a flag takes it.
fn seconds(time_s: f64) -> String {
    Duration::try_from_secs_f64(time_s).map_or_else(|_| format!("{time_s} s"), format_duration)
}
