//! `loadgen compare`: several servers get the same load, one after the other, round after round, each time as a fresh
//! process. [`plan`] says which, [`order`] when; [`results`] are made of the rounds with the help of [`metrics`],
//! [`bootstrap`] and [`marks`], which are pure.

pub mod bootstrap;
pub mod marks;
pub mod metrics;
pub mod order;
pub mod plan;
pub mod results;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::signal::Termination;

use self::{
    bootstrap::ROUNDS_MIN,
    plan::{ComparePlan, Contestant, Launch},
    results::Record,
};
use crate::{
    answer,
    cpus::{self, Division},
    error::{Problem, StartError},
    interruption::Interruption,
    own_server::{self, Log},
    progress::compare::CompareProgress,
    report::{
        Report, SCHEMA,
        comparison::{Comparison, ComparisonPlan, Failure, Kind, Round, Subject, SubjectStatus},
    },
    run,
    server_process::ServerProcess,
    tally::{self, Machine},
    their_server, verdict,
};

/// With fewer rounds an interval is too narrow more often than it should be; see [`bootstrap`].
const ROUNDS_FOR_INTERVALS: usize = 5;
/// A server that has lost its clients may be about to end.
const LAST_BREATH: Duration = Duration::from_millis(200);

/// A comparison that was made, perhaps not to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its result.
    pub comparison: Comparison,
    /// The signal that ended it before its time.
    pub signal: Option<Termination>,
}

/// Compares.
///
/// # Errors
/// When that is not possible on this machine. A server that fails is part of the result.
pub fn compare(plan: &ComparePlan, quiet: bool) -> anyhow::Result<Finished> {
    for contestant in &plan.contestants {
        if let Launch::Own(own) = &contestant.launch {
            own_server::config(own)?;
        }
    }
    let mut machine = Machine::prepare(&plan.load)?;
    let mut notes = Vec::new();
    if plan.pin {
        machine.division = cpus::usable().ok().and_then(|cpus| Division::of(&cpus, plan.load.threads));
        if machine.division.is_none() {
            notes.push("--pin: there is only one CPU, which the servers and the load share".to_owned());
        }
    }
    let interruption = Interruption::install()?;
    let (begin, since_1970) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
    let order = order::order(plan.contestants.len(), plan.rounds, plan.load.seed);
    let progress = CompareProgress::new(quiet, plan);
    let records = plan.contestants.iter().map(|_| Record::default()).collect();
    let mut referee = Referee { plan, machine, interruption, progress, records };
    notes.iter().for_each(|note| referee.progress.note(note));
    referee.hold(&order);

    let Referee { machine, interruption, progress, records, .. } = referee;
    progress.finish();
    let signal = interruption.signal();
    let subjects = results::subjects(plan, records);
    notes.extend(plan.load.rate_per_s().is_none().then(|| verdict::CLOSED_LOOP.to_owned()));
    notes.extend(note_of_rounds(plan));
    notes.extend(note_of_baseline(&subjects, plan.baseline));
    let comparison = Comparison {
        schema: SCHEMA,
        kind: Kind::Comparison,
        interrupted: signal.is_some(),
        plan: plan_summary(plan, &order, machine.division.is_some()),
        environment: tally::environment(machine),
        started_at_unix_ms: since_1970.unwrap_or_default().as_millis() as u64,
        elapsed_s: begin.elapsed().as_secs_f64(),
        subjects,
        notes,
    };
    Ok(Finished { comparison, signal })
}

/// Gives everybody its turn.
struct Referee<'a> {
    plan: &'a ComparePlan,
    machine: Machine,
    interruption: Interruption,
    progress: CompareProgress,
    records: Vec<Record>,
}

/// How a turn ended.
enum Turn {
    Complete(Box<Report>),
    /// It failed, and is tried again in the next round.
    Failed(Failure),
    /// It failed, and will not do better.
    Hopeless(Failure),
    Interrupted,
}

impl Referee<'_> {
    fn hold(&mut self, order: &[Vec<usize>]) {
        let mut is_out = vec![false; self.plan.contestants.len()];
        for (index, places) in order.iter().enumerate() {
            let round = index + 1;
            for &place in places {
                if is_out[place] {
                    continue;
                }
                let contestant = &self.plan.contestants[place];
                self.progress.begin(round, &contestant.name);
                let (failure, hopeless) = match self.turn(round, contestant) {
                    Turn::Complete(report) => {
                        self.progress.complete(&report);
                        self.records[place].rounds.push(Round { round, report: *report });
                        continue;
                    }
                    Turn::Failed(failure) => (failure, false),
                    Turn::Hopeless(failure) => (failure, true),
                    Turn::Interrupted => return,
                };
                let rounds_left = if hopeless { self.plan.rounds - round } else { 0 };
                self.progress.failed(&failure.message, rounds_left);
                self.records[place].failures.push((round, failure));
                is_out[place] = hopeless;
            }
        }
    }

    fn turn(&mut self, round: usize, contestant: &Contestant) -> Turn {
        let mut server = match self.start(contestant) {
            Ok(server) => server,
            Err(error) if self.interruption.signal().is_some() => {
                tracing::debug!("{error:#}");
                return Turn::Interrupted;
            }
            Err(error) => return not_started(&error, round),
        };
        let mut load = self.plan.load.clone();
        // The same load for all in a round, and not in all rounds.
        load.seed = load.seed.wrapping_add(round as u64 - 1);
        let machine = self.machine.clone();
        let made =
            run::conduct(&Arc::new(load), machine, Some(&server), &self.interruption, &mut self.progress);
        if self.interruption.signal().is_some() {
            return Turn::Interrupted;
        }
        let all_is_well = made.as_ref().is_ok_and(|finished| finished.report.requests.failed == 0);
        let patience = if all_is_well { Duration::ZERO } else { LAST_BREATH };
        if let Some(status) = server.ended_within(patience) {
            let message = format!("died in round {round} ({status})");
            return Turn::Failed(Failure { message, output: server.last_lines() });
        }
        match made {
            Ok(finished) => Turn::Complete(Box::new(finished.report)),
            Err(error) => {
                let message = format!("could not be loaded in round {round}: {error:#}");
                Turn::Failed(Failure { message, output: server.last_lines() })
            }
        }
    }

    fn start(&mut self, contestant: &Contestant) -> anyhow::Result<ServerProcess> {
        let (plan, interruption) = (&self.plan.load, &self.interruption);
        run::start_divided(&mut self.machine.division, || match &contestant.launch {
            Launch::Own(own) => {
                let mut server = own_server::start(own, Log::Kept)?;
                // It says where it listens before it tries its mode.
                answer::await_answer(&mut server, plan, interruption)?;
                Ok(server)
            }
            Launch::Command(command) => their_server::start(command, plan, interruption),
        })
    }
}

/// Who starts once and not again is given another chance.
fn not_started(error: &anyhow::Error, round: usize) -> Turn {
    let known = error.downcast_ref::<StartError>();
    let problem = match known.map(|error| error.problem) {
        Some(Problem::Protocol) => "does not speak the protocol",
        Some(Problem::NotStarted) | None => "did not start",
    };
    let output = known.map(|error| error.output.clone()).unwrap_or_default();
    match round {
        1 => Turn::Hopeless(Failure { message: format!("{problem}: {error:#}"), output }),
        _ => Turn::Failed(Failure { message: format!("{problem} in round {round}: {error:#}"), output }),
    }
}

/// What the number of rounds does to the intervals.
fn note_of_rounds(plan: &ComparePlan) -> Option<String> {
    let advice = format!("--rounds {ROUNDS_FOR_INTERVALS} or more helps");
    match plan.rounds {
        _ if plan.contestants.len() == 1 => None,
        0..ROUNDS_MIN => Some(format!("an interval takes {ROUNDS_MIN} rounds; {advice}")),
        ROUNDS_MIN..ROUNDS_FOR_INTERVALS => {
            Some(format!("with {} rounds an interval is narrower than it should be; {advice}", plan.rounds))
        }
        _ => None,
    }
}

/// What to do where nothing is compared.
fn note_of_baseline(subjects: &[Subject], baseline: usize) -> Option<String> {
    let Subject { name, status, .. } = &subjects[baseline];
    let is_wanted = subjects.len() > 1 && matches!(status, SubjectStatus::Marked | SubjectStatus::Failed);
    is_wanted
        .then(|| format!("nothing is compared with {name}, the baseline: --baseline NAME chooses another"))
}

fn plan_summary(plan: &ComparePlan, order: &[Vec<usize>], pinned: bool) -> ComparisonPlan {
    let name = |place: &usize| plan.contestants[*place].name.clone();
    ComparisonPlan {
        rounds: plan.rounds,
        baseline: name(&plan.baseline),
        pinned,
        seed: plan.load.seed,
        order: order.iter().map(|places| places.iter().map(name).collect()).collect(),
        load: tally::plan_summary(&plan.load, &[]),
    }
}
