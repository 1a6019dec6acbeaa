//! Phrases that several formats share: the load, the machine, the server, and times that may be unknown.

use common::human::{duration_ns, failed_ns, plural, rate};

use crate::{
    load::{
        expect::Expect,
        protocol::{Protocol, echo::Echo},
        schedule::Arrival,
    },
    result::{Environment, FailedTail, PlanSummary, Server, Status},
};

/// A percentile as text. It may fall among the failed requests at the end of the distribution. None if it is withheld.
pub(crate) fn time_or_failed(
    time_ns: Option<u64>,
    percentile: &str,
    failed_tail: Option<&FailedTail>,
) -> Option<String> {
    let failed =
        || failed_tail.filter(|tail| tail.holds(percentile)).map(|tail| failed_ns(tail.longer_than_ns));
    time_ns.map(duration_ns).or_else(failed)
}

/// The same without the space before the unit, for tables with many columns.
pub(crate) fn short_or_failed(
    time_ns: Option<u64>,
    percentile: &str,
    failed_tail: Option<&FailedTail>,
) -> Option<String> {
    time_or_failed(time_ns, percentile, failed_tail).map(|time| without_space(&time))
}

/// A time without the space before its unit: `>500ms (failed)`.
pub(crate) fn without_space(time: &str) -> String {
    // A cell may be wrapped at the space before the bracket.
    time.replace(' ', "").replace('(', " (")
}

/// The machine of the generator.
pub(crate) fn machine(environment: &Environment) -> String {
    let numbers = |cpus: &[usize]| cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    let division = environment.division.as_ref().map_or_else(String::new, |division| {
        format!(" (server: {}; load: {})", numbers(&division.server), numbers(&division.load))
    });
    let cpus = plural(environment.cpus as u64, "CPU");
    format!("{}, {cpus}{division}, Linux {}", environment.cpu, environment.kernel)
}

/// The load of a run.
pub(crate) fn load(plan: &PlanSummary) -> String {
    let mut parts = vec![match (plan.rate_per_s, plan.arrival) {
        _ if plan.replay_speed.is_some() => replay(plan),
        (Some(per_s), Some(Arrival::Poisson)) => format!("open loop of {}/s, Poisson arrivals", rate(per_s)),
        (Some(per_s), _) => format!("open loop of {}/s, evenly spaced", rate(per_s)),
        (None, _) => "closed loop".to_owned(),
    }];
    parts.push(plural(plan.connections.into(), "client"));
    parts.push(plural(plan.threads as u64, "load thread"));
    if plan.pipeline > 1 {
        parts.push(format!("pipeline of {}", plan.pipeline));
    }
    if let Some(think_s) = plan.think_s.filter(|think_s| *think_s > 0.0) {
        parts.push(format!("{} of think time", duration_ns((think_s * 1e9) as u64)));
    }
    if let Some(requests) = plan.requests_per_connection {
        parts.push(format!("a new connection after {}", plural(requests, "request")));
    }
    if let Some(per_s) = plan.connect_rate_per_s {
        parts.push(format!("at most {}", plural(per_s, "connection")) + " per second");
    }
    parts.join(", ")
}

/// The load of a replay.
fn replay(plan: &PlanSummary) -> String {
    let times = match plan.replay_speed {
        None | Some(1.0) => "at its recorded times".to_owned(),
        Some(speed) => format!("at {speed} times its recorded speed"),
    };
    let on_average = plan.rate_per_s.map_or(String::new(), |per_s| format!(", {}/s on average", rate(per_s)));
    format!("open loop, the file {times}{on_average}")
}

/// The message that the clients send, and the reply that they expect.
pub(crate) fn message(plan: &PlanSummary) -> String {
    let size = plural(plan.size as u64, "byte");
    let is_echo = plan.protocol == Echo::NAME;
    let source = plan.message.as_ref().or(plan.messages_file.as_ref()).map(|path| format!(" from {path}"));
    let source = source.unwrap_or_else(|| match plan.messages.as_slice() {
        [] => String::new(),
        [one] => format!(" ({one})"),
        [first, ..] => format!(" ({first} and {} more)", plan.messages.len() - 1),
    });
    let expected = match &plan.expect {
        Expect::Upper => "the same in upper case".to_owned(),
        Expect::Echo => "the same".to_owned(),
        Expect::None if is_echo => "as many bytes, unchecked".to_owned(),
        Expect::None => "any".to_owned(),
        Expect::NoError => "no error".to_owned(),
        expect => expect.to_string(),
    };
    let protocol = if is_echo { String::new() } else { format!("{}: ", plan.protocol) };
    format!("{protocol}{size}{source}; expected reply: {expected}")
}

/// The server that loadgen started: mode, threads, work. None for other servers.
pub(crate) fn own_server(server: &Server) -> Option<String> {
    let mut words = server.mode.clone()?;
    if let Some(threads) = server.threads {
        words += &format!(", {}", plural(threads, "thread"));
    }
    if let Some(work) = &server.work {
        words += &format!(", work {work}");
    }
    Some(words)
}

/// The name of a status in text. The bad ones are loud.
pub(crate) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Valid => "valid",
        Status::Suspect => "SUSPECT",
        Status::Invalid => "INVALID",
    }
}

/// The name of a status in lower case, as in JSON.
pub(crate) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Valid => "valid",
        Status::Suspect => "suspect",
        Status::Invalid => "invalid",
    }
}
