//! `loadgen compare`: several servers get the same load, one after the other, round after round, each time as a fresh
//! process. [`plan`] says which, [`order`] when; [`results`] are made of the rounds with the help of [`metrics`],
//! [`bootstrap`] and [`marks`], which are pure.

pub mod bootstrap;
pub mod marks;
pub mod metrics;
pub mod order;
pub mod plan;
pub mod results;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use common::signal::Termination;

use self::{bootstrap::ROUNDS_MIN, plan::ComparePlan, results::Record};
use crate::{
    contestant::Contestant,
    progress::compare::CompareProgress,
    report::{
        SCHEMA,
        comparison::{Comparison, ComparisonPlan, Kind, Round, Subject, SubjectStatus},
    },
    tally,
    turn::{Occasion, Referee, Turn},
    verdict,
};

/// With fewer rounds an interval is too narrow more often than it should be; see [`bootstrap`].
const ROUNDS_FOR_INTERVALS: usize = 5;
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
    let (referee, note) = Referee::prepare(&plan.contestants, &plan.load, plan.pin)?;
    let mut notes = Vec::from_iter(note);
    let (begin, since_1970) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
    let order = order::order(plan.contestants.len(), plan.rounds, plan.load.seed);
    let progress = CompareProgress::new(quiet, plan);
    let records = plan.contestants.iter().map(|_| Record::default()).collect();
    notes.iter().for_each(|note| progress.note(note));
    let mut course = Course { plan, referee, progress, records };
    course.hold(&order);

    let Course { referee, progress, records, .. } = course;
    progress.finish();
    let signal = referee.interruption().signal();
    let machine = referee.machine().clone();
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

/// The rounds, while they are held.
struct Course<'a> {
    plan: &'a ComparePlan,
    referee: Referee,
    progress: CompareProgress,
    records: Vec<Record>,
}

impl Course<'_> {
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
                    // It is tried again in the next round.
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
        let mut load = self.plan.load.clone();
        // The same load for all in a round, and not in all rounds.
        load.seed = load.seed.wrapping_add(round as u64 - 1);
        let occasion = Occasion { when: &format!("in round {round}"), is_first: round == 1 };
        self.referee.turn(contestant, load, occasion, &mut self.progress)
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
