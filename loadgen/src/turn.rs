//! A server's turn: it is started, loaded and ended, and what it does instead is told. What gives several servers their
//! turns shares this.

use std::{sync::Arc, time::Duration};

use crate::{
    answer,
    contestant::{Contestant, Launch},
    cpus::{self, Division},
    error::{Problem, StartError},
    interruption::Interruption,
    own_server::{self, Log},
    plan::{Against, Plan},
    progress::Progress,
    report::{Report, comparison::Failure},
    run,
    server_process::ServerProcess,
    tally::Machine,
    their_server,
};

/// A server that has lost its clients may be about to end.
const LAST_BREATH: Duration = Duration::from_millis(200);

/// Gives servers their turns.
#[derive(Debug)]
pub struct Referee {
    machine: Machine,
    interruption: Interruption,
}

/// How a turn ended.
#[derive(Debug)]
pub enum Turn {
    /// As it should.
    Complete(Box<Report>),
    /// It failed, and may do better another time.
    Failed(Failure),
    /// It failed, and will not do better.
    Hopeless(Failure),
    /// A signal came: what was seen of it is not complete.
    Interrupted,
}

/// When a turn is.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// As it stands in a message: `in round 3`.
    pub when: &'a str,
    /// Who does not start at its first turn has no other.
    pub is_first: bool,
}

impl Referee {
    /// Prepares the machine for these servers and this load, of which there is none greater, and handles signals from
    /// now on. What could not be had is a note.
    ///
    /// # Errors
    /// When it is not possible on this machine.
    pub fn prepare(
        contestants: &[Contestant],
        load: &Plan,
        pin: bool,
    ) -> anyhow::Result<(Self, Option<String>)> {
        for contestant in contestants {
            if let Launch::Own(own) = &contestant.launch {
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

    /// The machine, as it was divided.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What is known of signals.
    pub fn interruption(&self) -> &Interruption {
        &self.interruption
    }

    /// Gives a server its turn, with this load.
    pub fn turn(
        &mut self,
        contestant: &Contestant,
        mut load: Plan,
        occasion: Occasion<'_>,
        progress: &mut dyn Progress,
    ) -> Turn {
        let mut server = match self.start(contestant, &mut load) {
            Ok(server) => server,
            Err(error) if self.interruption.signal().is_some() => {
                tracing::debug!("{error:#}");
                return Turn::Interrupted;
            }
            Err(error) => return not_started(&error, occasion),
        };
        let mut machine = self.machine.clone();
        if server.is_none() {
            // Nobody has kept it to some CPUs.
            machine.division = None;
        }
        let made = run::conduct(&Arc::new(load), machine, server.as_ref(), &self.interruption, progress);
        if self.interruption.signal().is_some() {
            return Turn::Interrupted;
        }
        let output = |server: &Option<ServerProcess>| {
            server.as_ref().map(ServerProcess::last_lines).unwrap_or_default()
        };
        let all_is_well = made.as_ref().is_ok_and(|finished| finished.report.requests.failed == 0);
        let patience = if all_is_well { Duration::ZERO } else { LAST_BREATH };
        if let Some(status) = server.as_mut().and_then(|server| server.ended_within(patience)) {
            let message = format!("died {} ({status})", occasion.when);
            return Turn::Failed(Failure { message, output: output(&server) });
        }
        match made {
            Ok(finished) => Turn::Complete(Box::new(finished.report)),
            Err(error) => {
                let message = format!("could not be loaded {}: {error:#}", occasion.when);
                Turn::Failed(Failure { message, output: output(&server) })
            }
        }
    }

    /// Starts the server that the load is for; there is none to start where it is there already.
    fn start(&mut self, contestant: &Contestant, load: &mut Plan) -> anyhow::Result<Option<ServerProcess>> {
        let interruption = &self.interruption;
        if let Launch::Target(target) = &contestant.launch {
            load.against = Against::Targets(vec![target.clone()]);
            return Ok(None);
        }
        run::start_divided(&mut self.machine.division, || match &contestant.launch {
            Launch::Own(own) => {
                let mut server = own_server::start(own, Log::Kept)?;
                // It says where it listens before it tries its mode.
                answer::await_answer(&mut server, load, interruption)?;
                Ok(server)
            }
            Launch::Command(command) => their_server::start(command, load, interruption),
            Launch::Target(target) => anyhow::bail!("{target} is there already"),
        })
        .map(Some)
    }
}

/// Who starts once and not again is given another chance.
fn not_started(error: &anyhow::Error, occasion: Occasion<'_>) -> Turn {
    let known = error.downcast_ref::<StartError>();
    let problem = match known.map(|error| error.problem) {
        Some(Problem::Protocol) => "does not speak the protocol",
        Some(Problem::NotStarted) | None => "did not start",
    };
    let output = known.map(|error| error.output.clone()).unwrap_or_default();
    match occasion.is_first {
        true => Turn::Hopeless(Failure { message: format!("{problem}: {error:#}"), output }),
        false => Turn::Failed(Failure { message: format!("{problem} {}: {error:#}", occasion.when), output }),
    }
}
