//! The result of a server in a sweep, computed from its runs. Pure.

use common::human::{plural, rate};

use super::{
    curve,
    knee::knee,
    ladder::Ladder,
    plan::SweepPlan,
    search::{Bracket, Search},
    trouble,
};
use crate::{
    result::{
        comparison::Failure,
        sweep::{Axis, Capacity, End, Point, Purpose, SweepSubject, Trouble, level},
    },
    subject::candidate::Candidate,
};

/// The runs of one server.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Its ladder.
    pub ladder: Ladder,
    /// The search for its capacity. None before it begins, or if there is none.
    pub search: Option<Search>,
    /// The complete runs.
    pub points: Vec<Point>,
    /// The failed runs, each with its level.
    pub failures: Vec<(u64, Failure)>,
}

impl Record {
    /// No runs yet.
    pub(crate) fn new(levels: &[u64]) -> Self {
        Self { ladder: Ladder::new(levels.to_vec()), search: None, points: Vec::new(), failures: Vec::new() }
    }

    /// The votes of the runs so far: each level, and whether it held.
    pub(crate) fn votes(&self) -> impl Iterator<Item = (u64, bool)> {
        let runs = self.points.iter().filter_map(|point| Some((point.level, trouble::holds(&point.report)?)));
        runs.chain(self.failures.iter().map(|(level, _)| (*level, false)))
    }
}

/// The result of one server.
pub(crate) fn subject(plan: &SweepPlan, candidate: &Candidate, record: Record) -> SweepSubject {
    let has_slo = !plan.highest().measuring.slo.is_empty();
    let curve = curve::curve(&plan.levels, &record.points, has_slo);
    let (mode, command, target) = candidate.origin();
    SweepSubject {
        name: candidate.name.clone(),
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

/// The first failure, with the levels of the others.
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
            format!("kept up until the generator was the limit, at {at}")
        }
        Some(Trouble::Errors) => format!("returns errors from {at} on"),
        Some(Trouble::Starved) => format!("starves clients from {at} on"),
        Some(Trouble::CannotKeepUp) => {
            let rates = run.map_or_else(String::new, |run| {
                let offered = run.report.rate.offered_per_s.unwrap_or_default();
                format!(": {}/s of {}/s offered", rate(run.report.rate.achieved_per_s), rate(offered))
            });
            format!("cannot keep up from {at} on{rates}")
        }
    };
    Some(End { trouble, level: since, message })
}

fn capacity(plan: &SweepPlan, record: &Record) -> Option<Capacity> {
    let search = match &record.search {
        Some(search) => search.clone(),
        None => {
            let mut search = Search::new(record.votes(), plan.repeats, plan.tolerance);
            search.give_up();
            search
        }
    };
    let is_unknown =
        |point: &&Point| trouble::of(&point.report).is_none() && trouble::holds(&point.report).is_none();
    let unknown = record.points.iter().filter(is_unknown).count();
    let tried = search.tried();
    if tried.is_empty() && unknown == 0 {
        return None;
    }
    let slo: Vec<_> = plan.highest().measuring.slo.iter().map(ToString::to_string).collect();
    let mut message = bracket(plan.axis, &slo.join(" and "), &search);
    if unknown > 0 {
        let runs = plural(unknown as u64, "run");
        message += &format!(
            "; {runs} had no usable result (too few replies, or a late generator): use a longer --duration"
        );
    }
    if search.bracket().is_widened {
        message += "; the runs in between disagree";
    }
    if !search.is_complete() {
        message +=
            if record.search.is_some() { "; the search is incomplete" } else { "; there was no search" };
    }
    let Bracket { low, high, .. } = search.bracket();
    Some(Capacity { slo, low, high, complete: search.is_complete(), tried, message })
}

/// The bracket of the capacity in words.
fn bracket(axis: Axis, slo: &str, search: &Search) -> String {
    let at = |of| level(axis, of);
    let Bracket { low, high, .. } = search.bracket();
    match (low, high, search.tried().first()) {
        (Some(low), Some(high), _) => format!("holds {slo} up to {}, and not from {} on", at(low), at(high)),
        (Some(low), None, _) => format!("holds {slo} at all levels that were run, up to {}", at(low)),
        (None, Some(_), Some(lowest)) => {
            format!("does not hold {slo} even at {}, the lowest level with a usable run", at(lowest.level))
        }
        _ => format!("is not known to hold {slo}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        command::sweep::plan::{SweepRequest, tests::request},
        judge::verdict,
        result::{SloOutcome, summary, sweep::Beyond, tests::example},
        subject::candidate::ServerSelection,
    };

    fn plan(slo: &[&str]) -> SweepPlan {
        let mut request = SweepRequest { rates: "1k..4k".parse().unwrap(), factor: 2.0, ..request() };
        request.load.measuring.slo = slo.iter().map(|slo| slo.parse().unwrap()).collect();
        request.servers = ServerSelection {
            servers: vec!["x=serve {port}".parse().unwrap()],
            ..ServerSelection::default()
        };
        SweepPlan::new(request, 2).unwrap()
    }

    /// A run with this response time, and this share of the offered rate.
    pub(crate) fn point(level: u64, time_ns: u64, share: f64) -> Point {
        let mut report = example();
        let mut response = crate::engine::latency::Latency::default();
        (0..2_000).for_each(|_| response.record(time_ns));
        report.latency_ns.response = summary::latency(&response);
        report.rate.offered_per_s = Some(level as f64);
        report.rate.achieved_per_s = level as f64 * share;
        report.requests.completed = 2 * level;
        report.verdict = verdict::judge(&report);
        let met = time_ns < 5_000_000;
        let actual = (!met).then_some(time_ns as f64);
        report.slo = vec![SloOutcome {
            slo: "p99<5ms".to_owned(),
            met,
            actual,
            failed: false,
            message: String::new(),
        }];
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
        // Two more runs at the second level. One of them is slow: its samples are a third of all.
        record.points.push(point(2_000, 3_000_000, 0.99));
        record.points.push(point(2_000, 1_000_000, 1.01));
        let subject = subject(&plan, &plan.candidates[0], record);
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
    fn the_end_and_the_capacity_have_a_message() {
        let plan = plan(&["p99<5ms"]);
        let fast = 1_000_000;
        let messages = |record: Record| {
            let subject = subject(&plan, &plan.candidates[0], record);
            (subject.end.map(|end| end.message), subject.capacity.map(|capacity| capacity.message))
        };
        let text = |text: &str| Some(text.to_owned());
        let up = || vec![point(1_000, fast, 1.0), point(2_000, fast, 1.0), point(4_000, fast, 1.0)];
        assert_eq!(
            messages(record(&plan, up())),
            (
                text("kept up to the last level, 4,000/s"),
                text("holds p99<5ms at all levels that were run, up to 4,000/s; there was no search")
            )
        );
        let mut searched = record(&plan, up());
        let mut search = Search::new(searched.votes(), 1, 0.05);
        assert_eq!(search.next_level(), None);
        searched.search = Some(search);
        assert_eq!(messages(searched).1, text("holds p99<5ms at all levels that were run, up to 4,000/s"));
        let slow = || vec![point(1_000, fast, 1.0), point(2_000, fast, 0.7), point(4_000, fast, 0.5)];
        assert_eq!(
            messages(record(&plan, slow())),
            (
                text("cannot keep up from 2,000/s on: 1,400/s of 2,000/s offered"),
                text("holds p99<5ms up to 1,000/s, and not from 2,000/s on; there was no search")
            )
        );
        let late = vec![point(1_000, 9_000_000, 1.0)];
        assert_eq!(
            messages(record(&plan, late)),
            (
                None,
                text(
                    "does not hold p99<5ms even at 1,000/s, the lowest level with a usable run; there was no search"
                )
            )
        );
        let mut unknown = point(1_000, fast, 1.0);
        unknown.report.slo[0].met = false;
        assert_eq!(
            messages(record(&plan, vec![unknown])).1,
            text(
                "is not known to hold p99<5ms; 1 run had no usable result (too few replies, or a late generator): use a longer \
                 --duration; there was no search"
            )
        );
        assert_eq!(messages(record(&plan, Vec::new())), (None, None));
    }

    #[test]
    fn a_failure_is_reported_once_with_all_its_levels() {
        let plan = plan(&["p99<5ms"]);
        let mut record = record(&plan, vec![point(1_000, 1_000_000, 1.0)]);
        for at in ["2,000/s", "4,000/s"] {
            record.ladder.feed(Some(Trouble::Failed));
            let failure = Failure { message: format!("died at {at}"), output: Vec::new() };
            record.failures.push((at.replace(",", "").trim_end_matches("/s").parse().unwrap(), failure));
        }
        let subject = subject(&plan, &plan.candidates[0], record);
        assert_eq!(subject.failure.unwrap().message, "died at 2,000/s; it failed again at 4,000/s");
        let end = subject.end.unwrap();
        assert_eq!((end.trouble, end.level), (Some(Trouble::Failed), 2_000));
        let capacity = subject.capacity.unwrap();
        assert_eq!((capacity.low, capacity.high, capacity.complete), (Some(1_000), Some(2_000), false));
    }
}
