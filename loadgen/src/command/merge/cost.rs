//! The costs of a merged load: of the generators, their machines and the server.

use std::cmp::Reverse;

use super::{
    Part,
    fields::{least, most, sum},
};
use crate::{
    engine::pauses::KEPT_MAX,
    result::{Environment, Generator, Network, Pause, Pauses, Report, Server, tally::per},
};

/// The machine of the first generator. A note says if others differ. The clocks are those of the merged runs.
pub(super) fn environment(parts: &[Part]) -> Environment {
    let first = &parts[0].report.environment;
    let alike = |is: fn(&Environment, &Environment) -> bool| {
        parts.iter().all(|part| is(&part.report.environment, first))
    };
    let divided_alike = alike(|one, other| one.division == other.division);
    // The clock of each part is in `merged.parts`.
    let on_one_machine = alike(|one, other| one.boot_id == other.boot_id);
    Environment {
        boot_id: first.boot_id.clone().filter(|_| on_one_machine),
        clock: first.clock.filter(|_| on_one_machine),
        division: first.division.clone().filter(|_| divided_alike),
        open_files_limit: least(parts, |report| Some(report.environment.open_files_limit))
            .unwrap_or(first.open_files_limit),
        ..first.clone()
    }
}

/// The environment without the settings of the process and the state of the machine.
pub(super) fn machine(environment: &Environment) -> Environment {
    Environment { division: None, open_files_limit: 0, boot_id: None, clock: None, ..environment.clone() }
}

/// CPU time is added. Of the values that judge a generator, the worst counts.
pub(super) fn generator(parts: &[Part], replies: u64) -> Generator {
    let cpu_s: f64 = parts.iter().map(|part| part.report.generator.cpu_s).sum();
    Generator {
        cpu_s,
        cpu_ns_per_request: per(cpu_s * 1e9, replies as f64),
        busiest_thread_share: most(parts, |report| Some(report.generator.busiest_thread_share))
            .unwrap_or(0.0),
        idle_share_min: least(parts, |report| report.generator.idle_share_min),
        cpu_wait_share_max: most(parts, |report| report.generator.cpu_wait_share_max),
        preemptions_per_s_max: most(parts, |report| report.generator.preemptions_per_s_max),
        steal_share: most(parts, |report| report.generator.steal_share),
        pauses: pauses(parts),
        cpu_quota: least(parts, |report| report.generator.cpu_quota),
        throttled_share: most(parts, |report| report.generator.throttled_share),
        throttled_s: most(parts, |report| report.generator.throttled_s),
        clock_step_ns: most(parts, |report| Some(report.generator.clock_step_ns)).unwrap_or(0),
    }
}

/// Times are relative to the start of the first window.
fn pauses(parts: &[Part]) -> Pauses {
    let start_us = |part: &Part| part.report.window_started_at_unix_us;
    let origin_us = parts.iter().map(start_us).min().unwrap_or(0);
    let longest = parts.iter().flat_map(|part| {
        let offset_s = (start_us(part) - origin_us) as f64 / 1e6;
        let pauses = &part.report.generator.pauses.longest;
        pauses.iter().map(move |pause| Pause { t_s: pause.t_s + offset_s, ..*pause })
    });
    let mut longest: Vec<_> = longest.collect();
    longest.sort_by_key(|pause| Reverse(pause.length_ns));
    longest.truncate(KEPT_MAX);
    Pauses {
        count: sum(parts, |report| report.generator.pauses.count),
        total_ns_max: most(parts, |report| Some(report.generator.pauses.total_ns_max)).unwrap_or(0),
        requests: sum(parts, |report| report.generator.pauses.requests),
        longest,
    }
}

/// The counters of clients are added. Counters of a machine would count twice if generators share it, which a result does
/// not tell: the largest value is a lower bound.
pub(super) fn network(parts: &[Part]) -> Option<Network> {
    let of = |get: fn(&Network) -> u64| most(parts, |report| report.network.as_ref().map(get));
    let client_retransmissions =
        sum(parts, |report| report.network.as_ref().map_or(0, |network| network.client_retransmissions));
    Some(Network {
        client_retransmissions,
        retransmissions: of(|network| network.retransmissions)?.max(client_retransmissions),
        listen_overflows: of(|network| network.listen_overflows)?,
    })
}

/// The server, if exactly one result has its costs and all generators loaded only this server. Its costs are divided by
/// the replies to all generators.
pub(super) fn server(parts: &[Part], replies: u64) -> Option<Server> {
    let report = its_generator(parts)?;
    let server = report.server.clone()?;
    let switches = server.context_switches_per_request.unwrap_or(0.0) * report.fairness.replies_sum as f64;
    Some(Server {
        cpu_ns_per_request: per(server.cpu_s * 1e9, replies as f64),
        context_switches_per_request: server
            .context_switches_per_request
            .and_then(|_| per(switches, replies as f64)),
        ..server
    })
}

/// A note if the costs of a server are left out.
pub(super) fn no_server(parts: &[Part]) -> Option<String> {
    let owners: Vec<_> = owners(parts).map(|part| part.name.as_str()).collect();
    match owners.as_slice() {
        [] => None,
        _ if its_generator(parts).is_some() => None,
        [owner] => Some(format!(
            "the costs of the server of {owner} are left out: not all generators have it as their only target"
        )),
        owners => Some(format!("the costs of the servers are left out: {} had one each", owners.join(", "))),
    }
}

/// The only result with the costs of a server, if all generators loaded only this server.
fn its_generator(parts: &[Part]) -> Option<&Report> {
    let mut owners = owners(parts);
    let (Some(owner), None) = (owners.next(), owners.next()) else { return None };
    let targets = &owner.report.plan.targets;
    parts.iter().all(|part| part.report.plan.targets == *targets).then_some(&owner.report)
}

fn owners(parts: &[Part]) -> impl Iterator<Item = &Part> {
    parts.iter().filter(|part| part.report.server.is_some())
}
