//! Makes a run against a server that is already running: finds the targets, runs the load threads, and reports.

mod load_threads;

use std::{slice, sync::Arc};

use common::signal::Termination;

use self::load_threads::LoadThreads;
use crate::{
    engine::{interruption::Interruption, request_log::RequestLog, socket::Target},
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
    let targets = addresses
        .iter()
        .map(|address| {
            find_target(address, plan.timeouts.first_reply, &|| interruption.signal(), &mut |text| {
                progress.say(text)
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let sources = sources(plan, &targets)?;

    let names = addresses.iter().map(ToString::to_string).collect();
    let setting = Setting::new(plan, names, server.map(|server| server.identity().clone()), machine);
    let threads = LoadThreads::start(plan, &targets, sources, logs, interruption)?;
    let tally = threads.run_load(plan, &setting, server, interruption, progress);
    progress.finish();
    let signal = interruption.signal();
    let mut report = tally?.into_report(plan, setting, signal.is_some());
    judge::complete(&mut report, &plan.measuring.slo);
    Ok(Finished { report, signal })
}

/// The number of source addresses that the clients need.
fn sources(plan: &Plan, targets: &[Target]) -> anyhow::Result<u64> {
    let ports = limits::local_ports();
    let mut sources = 1;
    for target in targets.iter().filter(|target| target.takes_port()) {
        let (clients, targets) = (u64::from(plan.connections), targets.len() as u64);
        let needed = limits::sources_needed(clients, targets, ports, target.is_loopback_v4())?;
        sources = sources.max(needed);
    }
    Ok(sources)
}
