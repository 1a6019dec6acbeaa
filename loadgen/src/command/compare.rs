//! `loadgen compare`: in each round, every server gets one turn with the same load. [`plan`] has the servers,
//! [`order`] shuffles the turns, and [`results`] computes the comparison from the rounds. [`against`] holds them against an
//! earlier result, which [`kept`] reads.

pub(crate) mod against;
pub(crate) mod kept;
pub(crate) mod marks;
pub(crate) mod plan;
pub(crate) mod progress;
mod ratio;
pub(crate) mod results;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use common::limits;

use self::{
    against::Rule,
    kept::KeptResult,
    plan::{ComparePlan, CompareRequest},
    progress::CompareProgress,
    results::Record,
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
        CLOSED_LOOP, Document, Environment, PlanSummary, SCHEMA,
        bootstrap::ROUNDS_MIN,
        comparison::{Comparison, ComparisonPlan, Kind, Round, Subject, SubjectStatus},
    },
    subject::candidate::Candidate,
};

/// With fewer rounds, intervals are too narrow; see [`crate::result::bootstrap`].
const ROUNDS_FOR_INTERVALS: usize = 5;

/// Carries out `loadgen compare`.
///
/// # Errors
/// When the request is invalid, the comparison is not possible on this machine, or the report cannot be delivered. A
/// server that fails is part of the result.
pub(crate) fn execute(
    request: CompareRequest,
    delivery: DeliveryRequest<'_>,
    fail_on: FailOn,
) -> anyhow::Result<ExitCode> {
    let plan = ComparePlan::new(request, limits::usable_cpus())?;
    // The report may replace the kept result, so that is read first.
    let read = |file: &PathBuf| KeptResult::read(file, &plan);
    let kept = plan.against.as_ref().map(read).transpose()?;
    let quiet = delivery.is_quiet;
    outcome::measure(delivery, fail_on, || compare(&plan, kept.as_ref(), quiet))
}

fn compare(plan: &ComparePlan, kept: Option<&KeptResult>, quiet: bool) -> anyhow::Result<Outcome> {
    let (runner, note) = TurnRunner::prepare(&plan.candidates, &plan.load, plan.pin)?;
    let mut notes = Vec::from_iter(note);
    let (begin, since_1970) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
    let order = order::order(plan.candidates.len(), plan.rounds, plan.load.seed);
    let mut progress = CompareProgress::new(quiet, plan);
    let records = plan.candidates.iter().map(|_| Record::default()).collect();
    let environment = Environment::of(runner.machine().clone());
    let warnings = kept.map_or_else(Vec::new, |kept| kept.warnings(plan, &environment));
    notes.iter().chain(&warnings).for_each(|note| progress.say(note));
    let mut rounds = Rounds { plan, runner, progress, records };
    rounds.run(&order);

    let Rounds { runner, progress, records, .. } = rounds;
    progress.end();
    let signal = runner.interruption().signal();
    let subjects = results::subjects(plan, records);
    let rule = Rule { tolerance: plan.tolerance, seed: plan.load.seed };
    let against = kept.map(|kept| Box::new(against::against(&subjects, kept, rule, warnings)));
    notes.extend(plan.load.rate_per_s().is_none().then(|| CLOSED_LOOP.to_owned()));
    let started = subjects.iter().filter(|subject| subject.target.is_none());
    notes.extend(note_of_unknown_costs(
        started.flat_map(|subject| subject.rounds.iter().map(|round| (subject.name.as_str(), &round.report))),
    ));
    notes.extend(note_of_rounds(plan));
    notes.extend(note_of_baseline(&subjects, plan.baseline));
    let comparison = Comparison {
        schema: SCHEMA,
        kind: Kind::Comparison,
        interrupted: signal.is_some(),
        command: None,
        plan: plan_summary(plan, &order, runner.machine().division.is_some()),
        environment,
        started_at_unix_ms: since_1970.unwrap_or_default().as_millis() as u64,
        elapsed_s: begin.elapsed().as_secs_f64(),
        subjects,
        against,
        notes,
    };
    Ok(Outcome { document: Document::Comparison(Box::new(comparison)), signal })
}

/// The rounds in progress.
struct Rounds<'a> {
    plan: &'a ComparePlan,
    runner: TurnRunner,
    progress: CompareProgress,
    records: Vec<Record>,
}

impl Rounds<'_> {
    fn run(&mut self, order: &[Vec<usize>]) {
        let mut is_out = vec![false; self.plan.candidates.len()];
        for (index, places) in order.iter().enumerate() {
            let round = index + 1;
            for &place in places {
                if is_out[place] {
                    continue;
                }
                let candidate = &self.plan.candidates[place];
                self.progress.begin(round, &candidate.name);
                let (failure, for_good) = match self.turn(round, candidate) {
                    TurnOutcome::Complete(report) => {
                        self.progress.complete(&report);
                        self.records[place].rounds.push(Round { round, report: *report });
                        continue;
                    }
                    // The server gets another turn in the next round.
                    TurnOutcome::Failed(failure) => (failure, false),
                    TurnOutcome::FailedForGood(failure) => (failure, true),
                    TurnOutcome::Interrupted => return,
                };
                let rounds_left = if for_good { self.plan.rounds - round } else { 0 };
                self.progress.failed(&failure.message, rounds_left);
                self.records[place].failures.push((round, failure));
                is_out[place] = for_good;
            }
        }
    }

    fn turn(&mut self, round: usize, candidate: &Candidate) -> TurnOutcome {
        let mut load = self.plan.load.clone();
        // All servers get the same load in a round; each round has another one.
        load.seed = load.seed.wrapping_add(round as u64 - 1);
        let position = TurnPosition { text: &format!("in round {round}"), is_first: round == 1 };
        self.runner.run(candidate, load, position, &mut self.progress)
    }
}

/// A note if there are too few rounds for good intervals.
fn note_of_rounds(plan: &ComparePlan) -> Option<String> {
    let advice = format!("use --rounds {ROUNDS_FOR_INTERVALS} or more");
    match plan.rounds {
        _ if plan.candidates.len() == 1 => None,
        0..ROUNDS_MIN => Some(format!("an interval needs {ROUNDS_MIN} rounds; {advice}")),
        ROUNDS_MIN..ROUNDS_FOR_INTERVALS => {
            Some(format!("with {} rounds, intervals are too narrow; {advice}", plan.rounds))
        }
        _ => None,
    }
}

/// Advice if the baseline cannot be compared with.
fn note_of_baseline(subjects: &[Subject], baseline: usize) -> Option<String> {
    let Subject { name, status, .. } = &subjects[baseline];
    let is_wanted = subjects.len() > 1 && matches!(status, SubjectStatus::Marked | SubjectStatus::Failed);
    is_wanted.then(|| {
        format!("no server is compared with the baseline {name}: choose another one with --baseline NAME")
    })
}

fn plan_summary(plan: &ComparePlan, order: &[Vec<usize>], pinned: bool) -> ComparisonPlan {
    let name = |place: &usize| plan.candidates[*place].name.clone();
    ComparisonPlan {
        rounds: plan.rounds,
        baseline: name(&plan.baseline),
        pinned,
        seed: plan.load.seed,
        order: order.iter().map(|places| places.iter().map(name).collect()).collect(),
        load: PlanSummary::of(&plan.load, &[]),
        own_loads: turn::own_loads(&plan.candidates, &plan.load),
    }
}
