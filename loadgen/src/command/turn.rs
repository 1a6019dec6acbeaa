//! A turn of `compare` and `sweep`: starts a server, makes one run against it, and ends the server.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    command::conduct::{self, Finished},
    engine::{
        error::{Problem, StartError},
        interruption::Interruption,
    },
    live::progress::Progress,
    load::plan::{Against, Plan},
    result::{PlanSummary, Report, comparison::Failure},
    subject::{
        answer,
        candidate::{Candidate, Launch},
        command_server,
        cpus::{self, Division},
        machine::Machine,
        own_server::{self, Log},
        server_process::ServerProcess,
    },
};

/// How long a server may take to end after requests failed. A crash closes the connections first.
const CRASH_TIMEOUT: Duration = Duration::from_millis(200);

/// Runs the turns of several servers.
#[derive(Debug)]
pub(crate) struct TurnRunner {
    machine: Machine,
    interruption: Interruption,
}

/// The outcome of a turn.
#[derive(Debug)]
pub(crate) enum TurnOutcome {
    /// The run is complete.
    Complete(Box<Report>),
    /// The turn failed. Another one may succeed.
    Failed(Failure),
    /// The turn failed, and so would every other one.
    FailedForGood(Failure),
    /// A signal arrived. The run is incomplete.
    Interrupted,
}

/// The position of a turn among the turns of its server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnPosition<'a> {
    /// The position as part of a message: `in round 3`.
    pub text: &'a str,
    /// A server that fails to start in its first turn gets no other turn.
    pub is_first: bool,
}

impl TurnRunner {
    /// Prepares the machine for these servers and the largest of the loads, and handles signals from now on. The second
    /// value is a note, if `pin` is not possible.
    ///
    /// # Errors
    /// When the machine does not allow the load, or loadgen's own server the plan.
    pub(crate) fn prepare(
        candidates: &[Candidate],
        load: &Plan,
        pin: bool,
    ) -> anyhow::Result<(Self, Option<String>)> {
        for candidate in candidates {
            if let Launch::Own(own) = &candidate.launch {
                own_server::config(own)?;
            }
        }
        let mut machine = Machine::prepare(load)?;
        let mut note = None;
        if pin {
            machine.division = cpus::usable().ok().and_then(|cpus| Division::of(&cpus, load.threads));
            if machine.division.is_none() {
                note = Some("--pin: there is only one CPU, which the servers and the load share".to_owned());
            }
        }
        Ok((Self { machine, interruption: Interruption::install()? }, note))
    }

    /// The machine, with its division.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The signals.
    pub(crate) fn interruption(&self) -> &Interruption {
        &self.interruption
    }

    /// Runs a server's turn with this load, which all servers have in common.
    pub(crate) fn run(
        &mut self,
        candidate: &Candidate,
        load: Plan,
        position: TurnPosition<'_>,
        progress: &mut dyn Progress,
    ) -> TurnOutcome {
        let mut load = candidate.load(load);
        let server = match self.start(candidate, &mut load) {
            Ok(server) => server,
            Err(error) if self.interruption.signal().is_some() => {
                tracing::debug!("{error:#}");
                return TurnOutcome::Interrupted;
            }
            Err(error) => return not_started(&error, position),
        };
        let mut machine = self.machine.clone();
        if server.as_ref().is_none_or(|server| !server.is_here()) {
            // The CPUs of a server that is already running, or that runs elsewhere, are unknown.
            machine.division = None;
        }
        let finished = conduct::conduct(
            &Arc::new(load),
            machine,
            server.as_ref(),
            &self.interruption,
            Vec::new(),
            progress,
        );
        match self.interruption.signal() {
            Some(_) => TurnOutcome::Interrupted,
            None => outcome(server, finished, position),
        }
    }

    /// Starts the server for the load. None if the server is already running.
    fn start(&mut self, candidate: &Candidate, load: &mut Plan) -> anyhow::Result<Option<ServerProcess>> {
        let interruption = &self.interruption;
        let (division, location) = (&mut self.machine.division, &candidate.location);
        match &candidate.launch {
            Launch::Target(target) => {
                load.against = Against::Targets(vec![target.clone()]);
                Ok(None)
            }
            Launch::Own(own) => cpus::start_divided(division, || {
                let mut server = own_server::start(own, location, Log::Kept)?;
                // The server prints its address before it starts its mode.
                answer::await_answer(&mut server, load, interruption)?;
                Ok(Some(server))
            }),
            Launch::Command(command) => cpus::start_divided(division, || {
                command_server::start(command, location, load, interruption).map(Some)
            }),
        }
    }
}

/// The loads of the servers that have requests and replies of their own, by name.
pub(crate) fn own_loads(candidates: &[Candidate], common: &Plan) -> BTreeMap<String, PlanSummary> {
    let own = candidates.iter().filter(|candidate| candidate.dialogue.is_some());
    own.map(|own| (own.name.clone(), PlanSummary::of(&own.load(common.clone()), &[]))).collect()
}

/// A note on the servers that loadgen started and whose CPU and memory it could not read, given all their runs.
pub(crate) fn note_of_unknown_costs<'a>(runs: impl Iterator<Item = (&'a str, &'a Report)>) -> Option<String> {
    let is_unknown = |report: &Report| report.server.is_none() && !report.server_ended_early;
    let mut names: Vec<_> = runs.filter(|(_, report)| is_unknown(report)).map(|(name, _)| name).collect();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "the CPU and memory of {} are unknown: no process that --server-prefix started here listens at the server's port",
            names.join(", ")
        )
    })
}

/// The outcome of a turn whose load is over, or could not be made.
fn outcome(
    mut server: Option<ServerProcess>,
    finished: anyhow::Result<Finished>,
    position: TurnPosition<'_>,
) -> TurnOutcome {
    let has_failures = finished.as_ref().map_or(true, |finished| finished.report.requests.failed > 0);
    let timeout = if has_failures { CRASH_TIMEOUT } else { Duration::ZERO };
    let status = server.as_mut().and_then(|server| server.ended_within(timeout));
    let output = || server.as_ref().map(ServerProcess::last_lines).unwrap_or_default();
    match (status, finished) {
        (Some(status), _) => {
            let message = format!("died {} ({status})", position.text);
            TurnOutcome::Failed(Failure { message, output: output() })
        }
        (None, Err(error)) => {
            let message = format!("could not be loaded {}: {error:#}", position.text);
            TurnOutcome::Failed(Failure { message, output: output() })
        }
        (None, Ok(finished)) => TurnOutcome::Complete(Box::new(finished.report)),
    }
}

fn not_started(error: &anyhow::Error, position: TurnPosition<'_>) -> TurnOutcome {
    let start_error = error.downcast_ref::<StartError>();
    let problem = match start_error.map(|error| error.problem) {
        Some(Problem::Protocol) => "does not speak the protocol",
        Some(Problem::NotStarted) | None => "did not start",
    };
    let output = start_error.map(|error| error.output.clone()).unwrap_or_default();
    match position.is_first {
        true => TurnOutcome::FailedForGood(Failure { message: format!("{problem}: {error:#}"), output }),
        false => TurnOutcome::Failed(Failure {
            message: format!("{problem} {}: {error:#}", position.text),
            output,
        }),
    }
}
