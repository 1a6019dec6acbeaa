//! `loadgen sweep`: raises the load level by level until a server cannot keep up, and then searches for the highest level
//! that meets the SLOs. [`plan`] has the servers and [`levels`] the levels; [`ladder`] and [`search`] choose the next run;
//! [`results`] computes the sweep from the runs, with [`trouble`], [`curve`] and [`knee`].

mod curve;
pub(crate) mod knee;
pub(crate) mod ladder;
pub(crate) mod levels;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod results;
pub(crate) mod search;
pub(crate) mod trouble;

use std::{
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use common::limits;

use self::{
    knee::without_mean,
    plan::{SweepPlan, SweepRequest},
    progress::SweepProgress,
    results::Record,
    search::Search,
};
use crate::{
    command::{
        delivery::DeliveryRequest,
        exit::FailOn,
        order,
        outcome::{self, Outcome},
        turn::{self, TurnOutcome, TurnPosition, TurnRunner, note_of_unknown_costs},
    },
    live::progress::Progress,
    result::{
        Document, Environment, PlanSummary, SCHEMA,
        comparison::Kind,
        sweep::{self as report, Axis, Beyond, Point, Purpose, Sweep, SweepSubject, Trouble},
    },
};

/// The maximum number of consecutive runs in a search that fail or have no vote.
const VAIN_RUNS_MAX: usize = 2;

/// Carries out `loadgen sweep`.
///
/// # Errors
/// When the request is invalid, the sweep is not possible on this machine, or the report cannot be delivered. A server
/// that fails is part of the result.
pub(crate) fn execute(request: SweepRequest, delivery: DeliveryRequest<'_>) -> anyhow::Result<ExitCode> {
    let plan = SweepPlan::new(request, limits::usable_cpus())?;
    let quiet = delivery.is_quiet;
    outcome::measure(delivery, FailOn::Never, || sweep(&plan, quiet))
}

fn sweep(plan: &SweepPlan, quiet: bool) -> anyhow::Result<Outcome> {
    let (runner, note) = TurnRunner::prepare(&plan.candidates, plan.highest(), plan.pin)?;
    let mut notes = Vec::from_iter(note);
    let (begin, since_1970) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
    let mut progress = SweepProgress::new(quiet, plan);
    notes.iter().for_each(|note| progress.say(note));
    let records = plan.candidates.iter().map(|_| Record::new(&plan.levels)).collect();
    let mut runs =
        Runs { plan, runner, progress, records, round: 0, vain_runs: vec![0; plan.candidates.len()] };
    runs.run();

    let Runs { runner, progress, records, .. } = runs;
    progress.end();
    let signal = runner.interruption().signal();
    let machine = runner.machine().clone();
    let subjects = plan.candidates.iter().zip(records);
    let subjects: Vec<_> =
        subjects.map(|(candidate, record)| results::subject(plan, candidate, record)).collect();
    let started = subjects.iter().filter(|subject| subject.target.is_none());
    notes.extend(note_of_unknown_costs(
        started.flat_map(|subject| subject.points.iter().map(|point| (subject.name.as_str(), &point.report))),
    ));
    notes.extend(note_of_knees(&subjects, plan.axis));
    notes.extend(subjects.iter().filter_map(|subject| note_of_failures(subject, plan.axis)));
    let sweep = Sweep {
        schema: SCHEMA,
        kind: Kind::Sweep,
        interrupted: signal.is_some(),
        command: None,
        plan: plan_summary(plan, &subjects, machine.division.is_some()),
        environment: Environment::of(machine),
        started_at_unix_ms: since_1970.unwrap_or_default().as_millis() as u64,
        elapsed_s: begin.elapsed().as_secs_f64(),
        subjects,
        notes,
    };
    Ok(Outcome { document: Document::Sweep(Box::new(sweep)), signal })
}

/// The sweep in progress.
struct Runs<'a> {
    plan: &'a SweepPlan,
    runner: TurnRunner,
    progress: SweepProgress,
    records: Vec<Record>,
    /// The number of the current round. Each remaining server has one turn in a round.
    round: usize,
    /// For each server, the consecutive runs of its search that failed or had no vote.
    vain_runs: Vec<usize>,
}

/// A signal ended the sweep.
struct Interrupted;

impl Runs<'_> {
    /// After a signal, the records hold the complete runs.
    fn run(&mut self) {
        let done = self.climb().and_then(|()| self.search());
        if done.is_err() {
            self.records.iter_mut().filter_map(|record| record.search.as_mut()).for_each(Search::give_up);
        }
    }

    /// All servers climb the ladder together, each to its own end.
    fn climb(&mut self) -> Result<(), Interrupted> {
        while self.records.iter().any(|record| record.ladder.next_level().is_some()) {
            for place in self.shuffled() {
                let Some(level) = self.records[place].ladder.next_level() else { continue };
                let turn = self.turn(place, level, Purpose::Ladder);
                let record = &mut self.records[place];
                match turn {
                    TurnOutcome::Complete(report) => {
                        record.ladder.feed(trouble::of(&report));
                        record.points.push(Point { level, purpose: Purpose::Ladder, report: *report });
                    }
                    TurnOutcome::Failed(failure) => {
                        record.ladder.feed(Some(Trouble::Failed));
                        record.failures.push((level, failure));
                    }
                    TurnOutcome::FailedForGood(failure) => {
                        record.ladder.give_up(Trouble::Failed);
                        record.failures.push((level, failure));
                    }
                    TurnOutcome::Interrupted => return Err(Interrupted),
                }
            }
        }
        Ok(())
    }

    /// Searches for the capacity of each server.
    fn search(&mut self) -> Result<(), Interrupted> {
        if self.plan.highest().measuring.slo.is_empty() {
            return Ok(());
        }
        self.begin_searches();
        let mut is_complete = false;
        while !is_complete {
            is_complete = true;
            for place in self.shuffled() {
                if let Some(level) = self.records[place].search.as_mut().and_then(Search::next_level) {
                    is_complete = false;
                    self.search_turn(place, level)?;
                }
            }
        }
        Ok(())
    }

    /// A server that failed at the end of its ladder gets no search: it would fail again.
    fn begin_searches(&mut self) {
        for record in &mut self.records {
            let has_failed = record.ladder.end().is_some_and(|(trouble, _)| trouble == Some(Trouble::Failed));
            record.search =
                (!has_failed).then(|| Search::new(record.votes(), self.plan.repeats, self.plan.tolerance));
        }
    }

    /// One turn of a search. A run without a vote is not fed to the search.
    fn search_turn(&mut self, place: usize, level: u64) -> Result<(), Interrupted> {
        let turn = self.turn(place, level, Purpose::Search);
        let record = &mut self.records[place];
        let (vote, is_vain) = match turn {
            TurnOutcome::Complete(report) => {
                let vote = trouble::holds(&report);
                record.points.push(Point { level, purpose: Purpose::Search, report: *report });
                (vote, vote.is_none())
            }
            TurnOutcome::Failed(failure) | TurnOutcome::FailedForGood(failure) => {
                record.failures.push((level, failure));
                (Some(false), true)
            }
            TurnOutcome::Interrupted => return Err(Interrupted),
        };
        let vain_runs = &mut self.vain_runs[place];
        *vain_runs = if is_vain { *vain_runs + 1 } else { 0 };
        let search = record.search.as_mut().expect("the search has chosen the level");
        if let Some(held) = vote {
            search.feed(level, held);
        }
        if *vain_runs >= VAIN_RUNS_MAX {
            search.give_up();
        }
        Ok(())
    }

    /// The indices of all servers, in the order of the next round.
    fn shuffled(&mut self) -> Vec<usize> {
        self.round += 1;
        let seed = self.plan.highest().seed.wrapping_add(self.round as u64);
        order::order(self.records.len(), 1, seed).remove(0)
    }

    fn turn(&mut self, place: usize, level: u64, purpose: Purpose) -> TurnOutcome {
        let candidate = &self.plan.candidates[place];
        let at = report::level(self.plan.axis, level);
        self.progress.begin(&at, &candidate.name, purpose);
        let load = self.plan.load(level, self.round - 1);
        let is_first = self.records[place].points.is_empty() && self.records[place].failures.is_empty();
        let position = TurnPosition { text: &format!("at {at}"), is_first };
        let turn = self.runner.run(candidate, load, position, &mut self.progress);
        match &turn {
            TurnOutcome::Complete(report) => {
                let holds = if purpose == Purpose::Search { trouble::holds(report) } else { None };
                self.progress.complete(report, trouble::of(report), holds);
            }
            TurnOutcome::Failed(failure) | TurnOutcome::FailedForGood(failure) => {
                self.progress.failed(&failure.message)
            }
            TurnOutcome::Interrupted => {}
        }
        turn
    }
}

/// Advice if the ladder is too short to show the knee of some servers.
fn note_of_knees(subjects: &[SweepSubject], axis: Axis) -> Option<String> {
    let is_cut = |subject: &&SweepSubject| {
        let beyond = subject.knee.and_then(|knee| knee.beyond);
        // The knee cannot lie above a level at which the server had trouble.
        let is_carried = subject.end.as_ref().is_some_and(|end| end.trouble.is_none());
        beyond == Some(Beyond::Below) || (beyond == Some(Beyond::Above) && is_carried)
    };
    let names: Vec<_> = subjects.iter().filter(is_cut).map(|subject| subject.name.as_str()).collect();
    let flag = match axis {
        Axis::Rate => "--rates",
        Axis::Connections => "--connection-counts",
    };
    let names = names.join(", ");
    (!names.is_empty()).then(|| {
        format!("the knee of {names} is at an end of the ladder and may lie beyond it: extend {flag}")
    })
}

/// A note on the levels that cannot be the knee, because requests failed there.
fn note_of_failures(subject: &SweepSubject, axis: Axis) -> Option<String> {
    let levels: Vec<_> = without_mean(&subject.curve).map(|of| report::level(axis, of)).collect();
    (!levels.is_empty()).then(|| {
        format!(
            "the knee of {} is searched without {}: requests failed there, so the mean response time is unknown",
            subject.name,
            levels.join(", ")
        )
    })
}

fn plan_summary(plan: &SweepPlan, subjects: &[SweepSubject], pinned: bool) -> report::SweepPlan {
    let climbed = subjects.iter().flat_map(|subject| &subject.curve).map(|point| point.level).max();
    let failed = subjects.iter().filter_map(|subject| subject.end.as_ref()).map(|end| end.level).max();
    let highest = climbed.max(failed).unwrap_or(0);
    let load = plan.load(plan.levels[0], 0);
    report::SweepPlan {
        axis: plan.axis,
        levels: plan.levels.iter().copied().filter(|level| *level <= highest).collect(),
        repeats: plan.repeats,
        slo: load.measuring.slo.iter().map(ToString::to_string).collect(),
        tolerance: plan.tolerance,
        pinned,
        seed: load.seed,
        own_loads: turn::own_loads(&plan.candidates, &load),
        load: PlanSummary::of(&load, &[]),
    }
}
