//! `loadgen sweep`: one level of load after the other, up to where a server no longer keeps up, and the search for the
//! highest level that holds what is asked. [`plan`] says what, [`levels`] where; [`ladder`] and [`search`] say what is run
//! next, and [`results`] are made of the runs with the help of [`trouble`] and [`knee`]: all of these are pure.

pub mod knee;
pub mod ladder;
pub mod levels;
pub mod plan;
pub mod results;
pub mod search;
pub mod trouble;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use common::signal::Termination;

use self::{plan::SweepPlan, results::Record, search::Search};
use crate::{
    compare::order,
    progress::sweep::SweepProgress,
    report::{
        SCHEMA,
        comparison::Kind,
        sweep::{self as report, Axis, Beyond, Point, Purpose, Sweep, SweepSubject, Trouble},
    },
    tally,
    turn::{Occasion, Referee, Turn},
};

/// After so many runs in succession that failed or told nothing, a search has no more.
const VAIN_MAX: usize = 2;

/// A sweep that was made, perhaps not to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its result.
    pub sweep: Sweep,
    /// The signal that ended it before its time.
    pub signal: Option<Termination>,
}

/// Sweeps.
///
/// # Errors
/// When that is not possible on this machine. A server that fails is part of the result.
pub fn sweep(plan: &SweepPlan, quiet: bool) -> anyhow::Result<Finished> {
    let (referee, note) = Referee::prepare(&plan.contestants, plan.highest(), plan.pin)?;
    let mut notes = Vec::from_iter(note);
    let (begin, since_1970) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
    let progress = SweepProgress::new(quiet, plan);
    notes.iter().for_each(|note| progress.note(note));
    let records = plan.contestants.iter().map(|_| Record::new(&plan.levels)).collect();
    let mut course = Course { plan, referee, progress, records, round: 0 };
    course.hold();

    let Course { referee, progress, records, .. } = course;
    progress.finish();
    let signal = referee.interruption().signal();
    let machine = referee.machine().clone();
    let subjects = plan.contestants.iter().zip(records);
    let subjects: Vec<_> =
        subjects.map(|(contestant, record)| results::subject(plan, contestant, record)).collect();
    notes.extend(note_of_knees(&subjects, plan.axis));
    let sweep = Sweep {
        schema: SCHEMA,
        kind: Kind::Sweep,
        interrupted: signal.is_some(),
        plan: plan_summary(plan, &subjects, machine.division.is_some()),
        environment: tally::environment(machine),
        started_at_unix_ms: since_1970.unwrap_or_default().as_millis() as u64,
        elapsed_s: begin.elapsed().as_secs_f64(),
        subjects,
        notes,
    };
    Ok(Finished { sweep, signal })
}

/// The sweep, while it is made.
struct Course<'a> {
    plan: &'a SweepPlan,
    referee: Referee,
    progress: SweepProgress,
    records: Vec<Record>,
    /// Each server that is still in has one turn in a round.
    round: usize,
}

/// A signal came.
struct Interrupted;

impl Course<'_> {
    /// What is known when a signal comes is in the records.
    fn hold(&mut self) {
        let made = self.climb().and_then(|()| self.search());
        if made.is_err() {
            self.records.iter_mut().filter_map(|record| record.search.as_mut()).for_each(Search::give_up);
        }
    }

    /// All climb the ladder side by side, each to its own end.
    fn climb(&mut self) -> Result<(), Interrupted> {
        while self.records.iter().any(|record| record.ladder.next_level().is_some()) {
            for place in self.shuffled() {
                let Some(level) = self.records[place].ladder.next_level() else { continue };
                let turn = self.turn(place, level, Purpose::Ladder);
                let record = &mut self.records[place];
                match turn {
                    Turn::Complete(report) => {
                        record.ladder.feed(trouble::of(&report));
                        record.points.push(Point { level, purpose: Purpose::Ladder, report: *report });
                    }
                    Turn::Failed(failure) => {
                        record.ladder.feed(Some(Trouble::Failed));
                        record.failures.push((level, failure));
                    }
                    Turn::Hopeless(failure) => {
                        record.ladder.give_up(Trouble::Failed);
                        record.failures.push((level, failure));
                    }
                    Turn::Interrupted => return Err(Interrupted),
                }
            }
        }
        Ok(())
    }

    /// Each looks for its own capacity. Who fails at the end of its ladder has found where it fails.
    fn search(&mut self) -> Result<(), Interrupted> {
        if self.plan.highest().slo.is_empty() {
            return Ok(());
        }
        for record in &mut self.records {
            let has_failed = record.ladder.end().is_some_and(|(trouble, _)| trouble == Some(Trouble::Failed));
            record.search =
                (!has_failed).then(|| Search::new(record.seen(), self.plan.repeats, self.plan.tolerance));
        }
        // Runs in succession that told nothing.
        let mut vain = vec![0; self.records.len()];
        loop {
            let mut any = false;
            for place in self.shuffled() {
                let Some(level) = self.records[place].search.as_mut().and_then(Search::next_level) else {
                    continue;
                };
                any = true;
                let turn = self.turn(place, level, Purpose::Search);
                let record = &mut self.records[place];
                let search = record.search.as_mut().expect("it has said what is next");
                match turn {
                    Turn::Complete(report) => {
                        match trouble::holds(&report) {
                            Some(held) => {
                                vain[place] = 0;
                                search.feed(level, held);
                            }
                            None => vain[place] += 1,
                        }
                        record.points.push(Point { level, purpose: Purpose::Search, report: *report });
                    }
                    Turn::Failed(failure) | Turn::Hopeless(failure) => {
                        vain[place] += 1;
                        search.feed(level, false);
                        record.failures.push((level, failure));
                    }
                    Turn::Interrupted => return Err(Interrupted),
                }
                if vain[place] >= VAIN_MAX
                    && let Some(search) = &mut self.records[place].search
                {
                    search.give_up();
                }
            }
            if !any {
                return Ok(());
            }
        }
    }

    /// The places of all in the order of the next round.
    fn shuffled(&mut self) -> Vec<usize> {
        self.round += 1;
        let seed = self.plan.highest().seed.wrapping_add(self.round as u64);
        order::order(self.records.len(), 1, seed).remove(0)
    }

    fn turn(&mut self, place: usize, level: u64, purpose: Purpose) -> Turn {
        let contestant = &self.plan.contestants[place];
        let at = results::level(self.plan.axis, level);
        self.progress.begin(&at, &contestant.name, purpose);
        let load = self.plan.load(level, self.round - 1);
        let is_first = self.records[place].points.is_empty() && self.records[place].failures.is_empty();
        let occasion = Occasion { when: &format!("at {at}"), is_first };
        let turn = self.referee.turn(contestant, load, occasion, &mut self.progress);
        match &turn {
            Turn::Complete(report) => {
                let holds = if purpose == Purpose::Search { trouble::holds(report) } else { None };
                self.progress.complete(report, trouble::of(report), holds);
            }
            Turn::Failed(failure) | Turn::Hopeless(failure) => self.progress.failed(&failure.message),
            Turn::Interrupted => {}
        }
        turn
    }
}

/// What to do where the ladder is too short for some servers' knees.
fn note_of_knees(subjects: &[SweepSubject], axis: Axis) -> Option<String> {
    let is_cut = |subject: &&SweepSubject| {
        let beyond = subject.knee.and_then(|knee| knee.beyond);
        // Over a level that a server did not carry there is nothing to find.
        let is_carried = subject.end.as_ref().is_some_and(|end| end.trouble.is_none());
        beyond == Some(Beyond::Below) || (beyond == Some(Beyond::Above) && is_carried)
    };
    let names: Vec<_> = subjects.iter().filter(is_cut).map(|subject| subject.name.as_str()).collect();
    let flag = match axis {
        Axis::Rate => "--rates",
        Axis::Connections => "--connection-counts",
    };
    let names = names.join(", ");
    (!names.is_empty())
        .then(|| format!("at an end of the ladder, the knee may lie beyond it: more {flag} for {names}"))
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
        slo: load.slo.iter().map(ToString::to_string).collect(),
        tolerance: plan.tolerance,
        pinned,
        seed: load.seed,
        load: tally::plan_summary(&load, &[]),
    }
}
