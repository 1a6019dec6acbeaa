//! From the runs of a server to its result. Pure.

use super::{
    knee::{knee, power},
    ladder::Ladder,
    plan::SweepPlan,
    search::{Bracket, Search},
    trouble,
};
use crate::{
    compare::metrics::median,
    contestant::{Contestant, Launch},
    human::{count, rate},
    report::{
        Report, Status,
        comparison::Failure,
        sweep::{Axis, Capacity, CurvePoint, End, Point, Purpose, SweepSubject, Trouble},
    },
    summary,
};

/// What was seen of one server.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its way up.
    pub ladder: Ladder,
    /// The search for its capacity, once it has begun.
    pub search: Option<Search>,
    /// The complete runs.
    pub points: Vec<Point>,
    /// The others, each with its level.
    pub failures: Vec<(u64, Failure)>,
}

impl Record {
    /// Nothing seen yet.
    pub fn new(levels: &[u64]) -> Self {
        Self { ladder: Ladder::new(levels.to_vec()), search: None, points: Vec::new(), failures: Vec::new() }
    }

    /// Each level of the ladder of which it can be said, with whether it held.
    pub fn seen(&self) -> impl Iterator<Item = (u64, bool)> {
        let runs = self.points.iter().filter_map(|point| Some((point.level, trouble::holds(&point.report)?)));
        runs.chain(self.failures.iter().map(|(level, _)| (*level, false)))
    }
}

/// The result of one server.
pub fn subject(plan: &SweepPlan, contestant: &Contestant, record: Record) -> SweepSubject {
    let has_slo = !plan.highest().slo.is_empty();
    let curve = curve(&plan.levels, &record.points, has_slo);
    let (mode, command, target) = match &contestant.launch {
        Launch::Own(own) => (Some(own.mode.to_owned()), None, None),
        Launch::Command(command) => (None, Some(command.command_line()), None),
        Launch::Target(target) => (None, None, Some(target.to_string())),
    };
    SweepSubject {
        name: contestant.name.clone(),
        mode,
        command,
        target,
        end: end(plan.axis, &record),
        capacity: if has_slo { capacity(plan, &record) } else { None },
        failure: failure(plan.axis, record.failures),
        knee: knee(&curve),
        curve,
        points: record.points,
    }
}

/// A level with its unit.
pub fn level(axis: Axis, level: u64) -> String {
    match (axis, level) {
        (Axis::Rate, level) => format!("{}/s", count(level)),
        (Axis::Connections, 1) => "1 client".to_owned(),
        (Axis::Connections, level) => format!("{} clients", count(level)),
    }
}

/// A point for each level of the ladder that has a run.
fn curve(levels: &[u64], points: &[Point], has_slo: bool) -> Vec<CurvePoint> {
    let point = |level: &u64| {
        let runs: Vec<_> =
            points.iter().filter(|point| point.level == *level).map(|point| &point.report).collect();
        (!runs.is_empty()).then(|| curve_point(*level, &runs, has_slo))
    };
    levels.iter().filter_map(point).collect()
}

fn curve_point(level: u64, runs: &[&Report], has_slo: bool) -> CurvePoint {
    let responses = summary::sum(runs.iter().map(|run| run.latency_ns.response.hdr.as_str()));
    let response = responses.map(|all| summary::distribution(&all)).unwrap_or_default();
    let achieved_per_s = median(&mut runs.iter().map(|run| run.rate.achieved_per_s).collect::<Vec<_>>());
    let is_most = |number: usize| 2 * number > runs.len();
    let troubles: Vec<_> = runs.iter().filter_map(|run| trouble::of(run)).collect();
    let keeps_up = is_most(runs.len() - troubles.len());
    let worst = runs.iter().map(|run| &run.verdict).max_by_key(|verdict| verdict.status);
    CurvePoint {
        level,
        runs: runs.len(),
        offered_per_s: runs[0].rate.offered_per_s,
        achieved_per_s,
        mean_ns: response.mean,
        p50_ns: response.p50,
        p90_ns: response.p90,
        p99_ns: response.p99,
        p99_9_ns: response.p99_9,
        max_ns: response.max,
        power: response.mean.and_then(|mean_ns| power(achieved_per_s, mean_ns)),
        keeps_up,
        trouble: troubles.first().copied().filter(|_| !keeps_up),
        verdict: worst.map_or(Status::Valid, |verdict| verdict.status),
        reasons: worst
            .map(|verdict| verdict.reasons.iter().map(|reason| reason.code.clone()).collect())
            .unwrap_or_default(),
        holds: if has_slo { holds(runs) } else { None },
    }
}

/// Whether most of those runs hold of which it can be said.
fn holds(runs: &[&Report]) -> Option<bool> {
    let known: Vec<_> = runs.iter().filter_map(|run| trouble::holds(run)).collect();
    let held = known.iter().filter(|held| **held).count();
    (!known.is_empty()).then_some(2 * held > known.len())
}

/// The first failure, and at which other levels there was one.
fn failure(axis: Axis, failures: Vec<(u64, Failure)>) -> Option<Failure> {
    let more: Vec<_> = failures.iter().skip(1).map(|(at, _)| level(axis, *at)).collect();
    let (_, mut first) = failures.into_iter().next()?;
    if !more.is_empty() {
        first.message += &format!("; it failed again at {}", more.join(", "));
    }
    Some(first)
}

fn end(axis: Axis, record: &Record) -> Option<End> {
    let (trouble, since) = record.ladder.end()?;
    let at = level(axis, since);
    let run = record.points.iter().find(|point| point.purpose == Purpose::Ladder && point.level == since);
    let message = match trouble {
        None => format!("kept up to the last level, {at}"),
        Some(Trouble::Failed) => format!("failed from {at} on"),
        Some(Trouble::GeneratorSaturated) => {
            format!("kept up as far as this generator could tell: at {at} the generator itself was the limit")
        }
        Some(Trouble::Errors) => format!("answers wrongly or not at all from {at} on"),
        Some(Trouble::Starved) => format!("lets clients starve from {at} on"),
        Some(Trouble::CannotKeepUp) => {
            let seen = run.map_or_else(String::new, |run| {
                let offered = run.report.rate.offered_per_s.unwrap_or_default();
                format!(": {}/s of {}/s offered", rate(run.report.rate.achieved_per_s), rate(offered))
            });
            format!("cannot keep up from {at} on{seen}")
        }
    };
    Some(End { trouble, level: since, message })
}

fn capacity(plan: &SweepPlan, record: &Record) -> Option<Capacity> {
    let slo: Vec<_> = plan.highest().slo.iter().map(ToString::to_string).collect();
    // Who has no search has what its ladder has seen.
    let search = record.search.clone().unwrap_or_else(|| {
        let mut search = Search::new(record.seen(), plan.repeats, plan.tolerance);
        search.give_up();
        search
    });
    let tried = search.tried();
    let is_unknown =
        |point: &&Point| trouble::of(&point.report).is_none() && trouble::holds(&point.report).is_none();
    let unknown = record.points.iter().filter(is_unknown).count();
    if tried.is_empty() && unknown == 0 {
        return None;
    }
    let Bracket { low, high, is_widened } = search.bracket();
    let (asked, at) = (slo.join(" and "), |of| level(plan.axis, of));
    let mut message = match (low, high) {
        (Some(low), Some(high)) => format!("holds {asked} up to {}, and not from {} on", at(low), at(high)),
        (Some(low), None) => format!("holds {asked} at every level that could be run, up to {}", at(low)),
        (None, Some(_)) => {
            format!(
                "does not hold {asked} even at {}, the lowest level of which it can be said",
                at(tried[0].level)
            )
        }
        (None, None) => format!("is not known to hold {asked}"),
    };
    if unknown > 0 {
        let runs = if unknown == 1 { "run" } else { "runs" };
        message += &format!(
            "; {unknown} {runs} could not tell (too few replies, or a late generator): a longer --duration helps"
        );
    }
    if is_widened {
        message += "; in between its runs disagree";
    }
    if !search.is_complete() {
        message +=
            if record.search.is_some() { "; the search was cut short" } else { "; the search was not made" };
    }
    Some(Capacity { slo, low, high, complete: search.is_complete(), tried, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contestant::Invitation,
        report::{SloOutcome, sweep::Beyond, tests::example},
        sweep::plan::{SweepRequest, tests::request},
        verdict,
    };

    fn plan(slo: &[&str]) -> SweepPlan {
        let mut request = SweepRequest { rates: "1k..4k".parse().unwrap(), factor: 2.0, ..request() };
        request.load.slo = slo.iter().map(|slo| slo.parse().unwrap()).collect();
        request.servers =
            Invitation { servers: vec!["x=serve {port}".parse().unwrap()], ..Invitation::default() };
        SweepPlan::new(request, 2).unwrap()
    }

    /// A run in which each reply took this long, and such a part of the offered rate was achieved.
    fn point(level: u64, time_ns: u64, share: f64) -> Point {
        let mut report = example();
        let mut response = crate::recording::Latency::default();
        (0..2_000).for_each(|_| response.record(time_ns));
        report.latency_ns.response = summary::latency(&response);
        report.rate.offered_per_s = Some(level as f64);
        report.rate.achieved_per_s = level as f64 * share;
        report.requests.completed = 2 * level;
        report.verdict = verdict::judge(&report);
        let met = time_ns < 5_000_000;
        let actual = (!met).then_some(time_ns as f64);
        report.slo = vec![SloOutcome { slo: "p99<5ms".to_owned(), met, actual, message: String::new() }];
        Point { level, purpose: Purpose::Ladder, report }
    }

    /// A server with these runs of its ladder.
    fn record(plan: &SweepPlan, points: Vec<Point>) -> Record {
        let mut record = Record::new(&plan.levels);
        for point in points {
            record.ladder.feed(trouble::of(&point.report));
            record.points.push(point);
        }
        record
    }

    #[test]
    fn a_curve_adds_histograms_and_takes_medians_of_rates() {
        let plan = plan(&[]);
        let mut record = record(&plan, vec![point(1_000, 1_000_000, 1.0), point(2_000, 1_000_000, 1.0)]);
        // Two more runs of the second level, of which one was slow: its samples are a third of all.
        record.points.push(point(2_000, 3_000_000, 0.99));
        record.points.push(point(2_000, 1_000_000, 1.01));
        let subject = subject(&plan, &plan.contestants[0], record);
        let [one, two] = subject.curve.as_slice() else { panic!("{:?}", subject.curve) };
        assert_eq!((one.level, one.runs, two.level, two.runs), (1_000, 1, 2_000, 3));
        assert_eq!(two.achieved_per_s, 2_000.0);
        assert!((two.mean_ns.unwrap() / 1e6 - 5.0 / 3.0).abs() < 0.01, "{two:?}");
        assert!((two.p50_ns.unwrap() as f64 / 1e6 - 1.0).abs() < 0.01);
        assert!((two.p99_ns.unwrap() as f64 / 1e6 - 3.0).abs() < 0.01);
        assert!((two.power.unwrap() - 2_000.0 / (5.0 / 3.0 / 1e3)).abs() < 2_000.0, "{two:?}");
        assert!(two.keeps_up && two.holds.is_none());
        assert_eq!(subject.knee.unwrap().beyond, Some(Beyond::Above));
        assert_eq!((subject.end, subject.capacity), (None, None));
    }

    #[test]
    fn most_runs_decide_whether_a_level_keeps_up_and_holds() {
        let of = |shares: &[f64], times: &[u64]| {
            let runs: Vec<_> =
                shares.iter().zip(times).map(|(share, time)| point(2_000, *time, *share).report).collect();
            let point = curve_point(2_000, &runs.iter().collect::<Vec<_>>(), true);
            (point.keeps_up, point.trouble, point.holds)
        };
        let (fast, slow) = (1_000_000, 9_000_000);
        let behind = Some(Trouble::CannotKeepUp);
        assert_eq!(of(&[1.0], &[fast]), (true, None, Some(true)));
        assert_eq!(of(&[1.0], &[slow]), (true, None, Some(false)));
        assert_eq!(of(&[0.5], &[fast]), (false, behind, Some(false)));
        assert_eq!(of(&[0.5, 1.0], &[fast, fast]), (false, behind, Some(false)));
        assert_eq!(of(&[0.5, 1.0, 1.0], &[fast, fast, fast]), (true, None, Some(true)));
        assert_eq!(of(&[1.0, 1.0, 1.0], &[fast, slow, slow]), (true, None, Some(false)));
    }

    #[test]
    fn the_end_and_the_capacity_are_told_in_words() {
        let plan = plan(&["p99<5ms"]);
        let fast = 1_000_000;
        let told = |record: Record| {
            let subject = subject(&plan, &plan.contestants[0], record);
            (subject.end.map(|end| end.message), subject.capacity.map(|capacity| capacity.message))
        };
        let text = |text: &str| Some(text.to_owned());
        let up = || vec![point(1_000, fast, 1.0), point(2_000, fast, 1.0), point(4_000, fast, 1.0)];
        assert_eq!(
            told(record(&plan, up())),
            (
                text("kept up to the last level, 4,000/s"),
                text(
                    "holds p99<5ms at every level that could be run, up to 4,000/s; the search was not made"
                )
            )
        );
        let mut searched = record(&plan, up());
        let mut search = Search::new(searched.seen(), 1, 0.05);
        assert_eq!(search.next_level(), None);
        searched.search = Some(search);
        assert_eq!(told(searched).1, text("holds p99<5ms at every level that could be run, up to 4,000/s"));
        let slow = || vec![point(1_000, fast, 1.0), point(2_000, fast, 0.7), point(4_000, fast, 0.5)];
        assert_eq!(
            told(record(&plan, slow())),
            (
                text("cannot keep up from 2,000/s on: 1,400/s of 2,000/s offered"),
                text("holds p99<5ms up to 1,000/s, and not from 2,000/s on; the search was not made")
            )
        );
        let late = vec![point(1_000, 9_000_000, 1.0)];
        assert_eq!(
            told(record(&plan, late)),
            (
                None,
                text(
                    "does not hold p99<5ms even at 1,000/s, the lowest level of which it can be said; the search was not \
                 made"
                )
            )
        );
        let mut unknown = point(1_000, fast, 1.0);
        unknown.report.slo[0].met = false;
        assert_eq!(
            told(record(&plan, vec![unknown])).1,
            text(
                "is not known to hold p99<5ms; 1 run could not tell (too few replies, or a late generator): a longer \
                 --duration helps; the search was not made"
            )
        );
        assert_eq!(told(record(&plan, Vec::new())), (None, None));
    }

    #[test]
    fn a_failure_is_told_once_with_all_its_levels() {
        let plan = plan(&["p99<5ms"]);
        let mut record = record(&plan, vec![point(1_000, 1_000_000, 1.0)]);
        for at in ["2,000/s", "4,000/s"] {
            record.ladder.feed(Some(Trouble::Failed));
            let failure = Failure { message: format!("died at {at}"), output: Vec::new() };
            record.failures.push((at.replace(",", "").trim_end_matches("/s").parse().unwrap(), failure));
        }
        let subject = subject(&plan, &plan.contestants[0], record);
        assert_eq!(subject.failure.unwrap().message, "died at 2,000/s; it failed again at 4,000/s");
        let end = subject.end.unwrap();
        assert_eq!((end.trouble, end.level), (Some(Trouble::Failed), 2_000));
        let capacity = subject.capacity.unwrap();
        assert_eq!((capacity.low, capacity.high, capacity.complete), (Some(1_000), Some(2_000), false));
    }
}
