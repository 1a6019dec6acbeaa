//! Phrases that several formats share: the load, the machine, the server, and times that may be unknown.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use common::human::{count, duration_ns, failed_ns, plural, rate};

use crate::{
    load::schedule::Arrival,
    protocol::{Protocol, echo::Echo, expect::Expect},
    result::{
        Aborted, Environment, FailedTail, PartShare, PlanSummary, Recovery, Report, Server, Status, Tls,
        precision::{KnownPercentile, Precision},
    },
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

/// The confidence intervals of the response time's percentiles.
pub(crate) fn precision(precision: &Precision) -> String {
    let interval = |known: &KnownPercentile| {
        let (name, low) = (known.name.replace('_', "."), duration_ns(known.low));
        match known.high {
            Some(high) => format!("{name} {low} to {}", duration_ns(high)),
            None => format!("{name} {low} or more"),
        }
    };
    let intervals: Vec<_> = precision.percentiles.iter().map(interval).collect();
    let (confidence, blocks) = (precision.confidence * 100.0, plural(precision.blocks as u64, "block"));
    let length = duration_ns((precision.block_s * 1e9) as u64);
    format!("{confidence:.0}% intervals: {} ({blocks} of {length})", intervals.join(", "))
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
    let arrivals = |plan: &PlanSummary| match plan.arrival {
        Some(Arrival::Poisson) => "Poisson arrivals",
        _ => "evenly spaced",
    };
    let stages: Vec<_> = plan.stages.iter().map(|stage| stage.stage.as_str()).collect();
    let mut parts: Vec<_> = plan.part.as_ref().map(part).into_iter().collect();
    parts.push(match (plan.rate_per_s, plan.arrival) {
        _ if plan.replay_speed.is_some() => replay(plan),
        (Some(per_s), _) if !stages.is_empty() => {
            let (stages, mean) = (stages.join(", "), rate(per_s));
            format!("open loop in stages ({stages}), {mean}/s on average, {}", arrivals(plan))
        }
        (Some(per_s), _) => format!("open loop of {}/s, {}", rate(per_s), arrivals(plan)),
        (None, _) => "closed loop".to_owned(),
    });
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
    match plan.sources.as_slice() {
        [] => {}
        [source] => parts.push(format!("from {source}")),
        [one, other] => parts.push(format!("from {one} and {other}")),
        sources => parts.push(format!("from {} source addresses", sources.len())),
    }
    parts.join(", ")
}

/// The part of a load, in people's counting and with its number.
fn part(part: &PartShare) -> String {
    let PartShare { number, of, connections, rate_per_s, .. } = part;
    let rate = rate_per_s.map_or(String::new(), |per_s| format!(" and {}/s", rate(per_s)));
    let clients = plural(*connections, "client");
    format!("part {} of {of} (number {number}) of a load of {clients}{rate}", u64::from(*number) + 1)
}

/// How the clients use TLS, and what the first handshake agreed on. None without TLS.
pub(crate) fn tls(plan: &PlanSummary, agreed: Option<&Tls>) -> Option<String> {
    let plan = plan.tls.as_ref()?;
    let mut parts: Vec<String> = [
        agreed.and_then(|tls| tls.version.clone()),
        agreed.and_then(|tls| tls.cipher_suite.clone()),
        agreed.and_then(|tls| Some(format!("protocol {}", tls.alpn.as_ref()?))),
    ]
    .into_iter()
    .flatten()
    .collect();
    parts.push(match &plan.ca {
        _ if plan.insecure => "certificates not checked".to_owned(),
        Some(file) => format!("certificates checked against {file}"),
        None => "certificates checked against the system's authorities".to_owned(),
    });
    parts.extend(plan.name.as_ref().map(|name| format!("name {name}")));
    parts.extend(plan.client_certificate.as_ref().map(|file| format!("client certificate {file}")));
    Some(parts.join(", "))
}

/// The number of TLS handshakes. None without TLS.
pub(crate) fn handshakes(report: &Report) -> Option<String> {
    let tls = report.tls.as_ref()?;
    let off = match report.plan.tls.as_ref() {
        Some(plan) if !plan.resumption => " (--tls-resumption off)",
        _ => "",
    };
    Some(format!("{} full, {} resumed{off}", count(tls.full_handshakes), count(tls.resumed_handshakes)))
}

/// Why and when `--abort-on` ended the load.
pub(crate) fn aborted(aborted: &Aborted) -> String {
    let at = duration_ns((aborted.at_s * 1e9) as u64);
    format!("--abort-on ended the load {at} into the window: {}", aborted.message)
}

/// Failures by kind: `12 timeout, 3 reset`.
pub(crate) fn errors(errors: &BTreeMap<String, u64>) -> String {
    let kinds = errors.iter().map(|(kind, failures)| format!("{} {kind}", count(*failures)));
    kinds.collect::<Vec<_>>().join(", ")
}

/// Whether and when the response times became usual again after the peak.
pub(crate) fn recovery(recovery: &Recovery) -> String {
    let [descent, usual, bound] =
        [recovery.descent_from_ns, recovery.usual_p99_ns, recovery.bound_ns].map(duration_ns);
    let fell = format!("the rate began to fall, {descent} into the window");
    let outcome = match recovery.recovered_after_ns {
        Some(0) => format!("the service had recovered when {fell}"),
        Some(after_ns) => format!("the service recovered {} after {fell}", duration_ns(after_ns)),
        None => format!("the service did not recover within the run, after {fell}"),
    };
    format!(
        "{outcome} (recovered: no later interval has a p99 over {bound}; in the first stage with a rate, it was {usual} in \
         the median)"
    )
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

/// The messages of several servers: the common ones, unless each server has its own, and those that a server has for itself.
pub(crate) fn messages(
    common: &PlanSummary,
    own: &BTreeMap<String, PlanSummary>,
    servers: usize,
) -> Vec<String> {
    let shared = (own.len() < servers).then(|| message(common));
    shared.into_iter().chain(own.iter().map(|(name, plan)| format!("{name}: {}", message(plan)))).collect()
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

/// A time in UTC, to the second.
pub(crate) fn date(unix_ms: u64) -> String {
    // The last second that RFC 3339 can express: a result may hold any number.
    const MS_MAX: u64 = 253_402_300_799_000;
    let since_1970 = Duration::from_millis(unix_ms.min(MS_MAX));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since_1970).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_in_utc() {
        assert_eq!(date(1_800_000_000_999), "2027-01-15T08:00:00Z");
        assert_eq!(date(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
