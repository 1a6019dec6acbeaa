//! What the generators, their machines and the server spent.

use super::{Part, least, most, sum};
use crate::{
    report::{Environment, Generator, Network, Report, Server},
    tally::per,
};

/// The first generator's machine, which a note says if others differ.
pub(super) fn environment(parts: &[Part]) -> Environment {
    let first = &parts[0].report.environment;
    let divided_alike = parts.iter().all(|part| part.report.environment.division == first.division);
    Environment {
        division: first.division.clone().filter(|_| divided_alike),
        open_files_limit: least(parts, |report| Some(report.environment.open_files_limit))
            .unwrap_or(first.open_files_limit),
        ..first.clone()
    }
}

/// The environment without what a user sets for a process.
pub(super) fn machine(environment: &Environment) -> Environment {
    Environment { division: None, open_files_limit: 0, ..environment.clone() }
}

/// CPU time is added; of what says how well a generator could work, the worst counts.
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
        clock_step_ns: most(parts, |report| Some(report.generator.clock_step_ns)).unwrap_or(0),
    }
}

/// The clients' own counters are added. Those of a whole machine would be counted double where generators share it,
/// and nothing in a result tells that: the largest is what was seen at least.
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

/// The one server that is known, where all generators have loaded it: what it has spent it has spent on the replies of
/// all.
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

/// Why the figures of a server that some results have are not in their sum.
pub(super) fn no_server(parts: &[Part]) -> Option<String> {
    let owners: Vec<_> = owners(parts).map(|part| part.name.as_str()).collect();
    match owners.as_slice() {
        [] => None,
        _ if its_generator(parts).is_some() => None,
        [owner] => Some(format!(
            "what the server of {owner} has cost is left out: not all generators name it as their one target"
        )),
        owners => Some(format!("what the servers have cost is left out: {} had one each", owners.join(", "))),
    }
}

/// The result that knows the server, if it is the only one that does, and all generators have loaded that server alone.
fn its_generator(parts: &[Part]) -> Option<&Report> {
    let mut owners = owners(parts);
    let (Some(owner), None) = (owners.next(), owners.next()) else { return None };
    let targets = &owner.report.plan.targets;
    parts.iter().all(|part| part.report.plan.targets == *targets).then_some(&owner.report)
}

fn owners(parts: &[Part]) -> impl Iterator<Item = &Part> {
    parts.iter().filter(|part| part.report.server.is_some())
}
