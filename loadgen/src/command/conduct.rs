//! Makes a run against a server that is already running: finds the targets, runs the load threads, and reports.

mod gathering;
mod load_threads;

use std::{slice, sync::Arc};

use common::{Address, signal::Termination};

use self::load_threads::LoadThreads;
use crate::{
    engine::{
        interruption::Interruption, request_log::RequestLog, socket::Target, sources::Sources, tls::TlsClient,
    },
    judge,
    live::progress::Progress,
    load::{
        limits,
        plan::{Against, Plan},
    },
    result::{Report, setting::Setting},
    subject::{machine::Machine, reach::find_target, server_process::ServerProcess},
};

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The result.
    pub report: Report,
    /// The signal that ended the run early.
    pub signal: Option<Termination>,
}

/// Makes a run against `server`, which loadgen has started, or else against the plan's targets. Each load thread has one of
/// `logs`, or none has one.
///
/// # Errors
/// When the run cannot be made.
pub(crate) fn conduct(
    plan: &Arc<Plan>,
    machine: Machine,
    server: Option<&ServerProcess>,
    interruption: &Interruption,
    logs: Vec<RequestLog>,
    progress: &mut dyn Progress,
) -> anyhow::Result<Finished> {
    let addresses = match (server, &plan.against) {
        (Some(server), _) => slice::from_ref(server.address()),
        (None, Against::Targets(addresses)) => addresses.as_slice(),
        (None, Against::OwnServer(_)) => &[],
    };
    let tls = tls(plan, addresses)?;
    let targets = addresses
        .iter()
        .enumerate()
        .map(|(index, address)| {
            find_target(
                address,
                &plan.connecting.sources,
                plan.timeouts.first_reply,
                tls.get(index).map(|client| (client, plan.timeouts.connect)),
                &|| interruption.signal(),
                &mut |text| progress.say(text),
            )
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let sources = sources(plan, &targets)?;

    let names = addresses.iter().map(ToString::to_string).collect();
    let setting = Setting::new(plan, names, server.map(|server| server.identity().clone()), machine);
    let threads = LoadThreads::start(plan, &targets, &tls, sources, logs, interruption)?;
    let tally = threads.run_load(plan, &setting, server, interruption, progress);
    progress.finish();
    let signal = interruption.signal();
    let mut report = tally?.into_report(plan, setting, signal.is_some());
    // An objective, such as a rate, is that of the whole load.
    let objectives = if plan.clients.part.is_some() { &[] } else { plan.measuring.slo.as_slice() };
    judge::complete(&mut report, objectives);
    Ok(Finished { report, signal })
}

/// The TLS of each target; empty without TLS.
fn tls(plan: &Plan, addresses: &[Address]) -> anyhow::Result<Vec<TlsClient>> {
    let Some(tls) = &plan.tls else { return Ok(Vec::new()) };
    Ok(addresses.iter().map(|address| TlsClient::new(tls, address)).collect::<Result<_, _>>()?)
}

/// The number of source addresses that the clients use in turn.
fn sources(plan: &Plan, targets: &[Target]) -> anyhow::Result<u64> {
    let ports = limits::local_ports();
    let (mut needed, sources) = (1, Sources::new(&plan.connecting.sources));
    for target in targets.iter().filter(|target| target.takes_port()) {
        // The clients of a part may have only some of the targets.
        let targets = plan.clients.targets(targets.len() as u64);
        let clients = u64::from(plan.connections());
        needed = needed.max(limits::sources_needed(clients, targets, ports, sources.count(target))?);
    }
    Ok(sources.in_turn(needed))
}
