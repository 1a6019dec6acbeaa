//! From what was seen in the rounds to the result. Pure.

use std::collections::BTreeMap;

use super::{
    bootstrap, marks,
    metrics::{METRICS, Metric, spread},
    plan::ComparePlan,
};
use crate::contestant::{Contestant, Launch};
use crate::report::{
    Loop, Report, SloOutcome,
    comparison::{Difference, Failure, Ratio, Round, SloRounds, Spread, Subject, SubjectStatus},
};

/// What was seen of one server.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The complete rounds.
    pub rounds: Vec<Round>,
    /// The others, each with its number from 1.
    pub failures: Vec<(usize, Failure)>,
}

/// The results of all servers, in the plan's order.
pub fn subjects(plan: &ComparePlan, records: Vec<Record>) -> Vec<Subject> {
    let contestants = plan.contestants.iter().zip(records);
    let mut subjects: Vec<_> = contestants.map(|(contestant, record)| subject(contestant, record)).collect();
    let baseline = subjects[plan.baseline].clone();
    for (place, subject) in subjects.iter_mut().enumerate() {
        if place != plan.baseline {
            subject.against_baseline = against(subject, &baseline, plan.load.seed);
        }
    }
    subjects
}

fn subject(contestant: &Contestant, Record { rounds, failures }: Record) -> Subject {
    let marks = marks::of_all(rounds.iter().map(|round| (round.round, &round.report)));
    let failure = failure(failures);
    let status = match (&failure, marks.is_empty(), rounds.is_empty()) {
        (Some(_), ..) => SubjectStatus::Failed,
        (None, false, _) => SubjectStatus::Marked,
        (None, true, true) => SubjectStatus::Unmeasured,
        (None, true, false) => SubjectStatus::Ok,
    };
    let (mode, command) = match &contestant.launch {
        Launch::Own(own) => (Some(own.mode.to_owned()), None),
        Launch::Command(command) => (None, Some(command.command_line())),
        Launch::Target(_) => (None, None),
    };
    Subject {
        name: contestant.name.clone(),
        mode,
        command,
        status,
        marks,
        failure,
        summary: summary(&rounds),
        slo: slo(&rounds),
        rounds,
        against_baseline: BTreeMap::new(),
    }
}

/// The first failure, and in which other rounds there was one.
fn failure(failures: Vec<(usize, Failure)>) -> Option<Failure> {
    let more: Vec<_> = failures.iter().skip(1).map(|(round, _)| round.to_string()).collect();
    let (_, mut first) = failures.into_iter().next()?;
    if !more.is_empty() {
        let rounds = if more.len() == 1 { "round" } else { "rounds" };
        first.message += &format!("; it failed again in {rounds} {}", more.join(", "));
    }
    Some(first)
}

fn summary(rounds: &[Round]) -> BTreeMap<String, Spread> {
    let reports = || rounds.iter().map(|round| &round.report);
    let of = |metric: &Metric| Some((metric.name.to_owned(), spread(metric, reports())?));
    METRICS.iter().filter_map(of).collect()
}

/// Every round was asked the same.
fn slo(rounds: &[Round]) -> Vec<SloRounds> {
    let asked = rounds.first().map_or(&[][..], |round| &round.report.slo);
    let of = |(place, slo): (usize, &SloOutcome)| {
        let held = rounds.iter().filter(|round| round.report.slo[place].met).count();
        SloRounds { slo: slo.slo.clone(), rounds: rounds.len(), held, met: 2 * held > rounds.len() }
    };
    asked.iter().enumerate().map(of).collect()
}

fn against(subject: &Subject, baseline: &Subject, seed: u64) -> BTreeMap<String, Ratio> {
    // Rounds of one plan have one kind of loop.
    let kind = subject.rounds.first().map_or(Loop::Closed, |round| round.report.plan.r#loop);
    let compared = METRICS.iter().filter(|metric| (metric.is_compared)(kind));
    let forbidden = forbidden(subject, "it").or_else(|| forbidden(baseline, "the baseline"));
    let ratio = |metric: &Metric| match &forbidden {
        Some(reason) => not_compared(reason.clone()),
        None => ratio(metric, subject, baseline, seed),
    };
    compared.map(|metric| (metric.name.to_owned(), ratio(metric))).collect()
}

fn forbidden(subject: &Subject, who: &str) -> Option<String> {
    match subject.status {
        SubjectStatus::Ok => None,
        SubjectStatus::Marked => Some(format!("{who} is marked")),
        SubjectStatus::Failed => Some(format!("{who} failed")),
        SubjectStatus::Unmeasured => Some(format!("{who} has no complete round")),
    }
}

fn ratio(metric: &Metric, subject: &Subject, baseline: &Subject, seed: u64) -> Ratio {
    let of = |report: &Report| (metric.of)(report);
    let pairs: Option<Vec<_>> = subject
        .rounds
        .iter()
        .filter_map(|ours| Some((ours, baseline.rounds.iter().find(|theirs| theirs.round == ours.round)?)))
        .map(|(ours, theirs)| of(&ours.report).zip(of(&theirs.report)))
        .collect();
    let Some(pairs) = pairs else {
        return not_compared("too few samples in a round".to_owned());
    };
    let Some(estimate) = bootstrap::ratio(&pairs, seed) else {
        return not_compared(match pairs.is_empty() {
            true => "no round is complete for both".to_owned(),
            false => "the baseline has a round of zero".to_owned(),
        });
    };
    let Some((low, high)) = estimate.interval else {
        return Ratio { ratio: Some(estimate.ratio), ..not_compared("too few rounds".to_owned()) };
    };
    let verdict = match () {
        () if low > 1.0 => Difference::Higher,
        () if high < 1.0 => Difference::Lower,
        () => Difference::None,
    };
    Ratio { ratio: Some(estimate.ratio), low: Some(low), high: Some(high), verdict, reason: None }
}

fn not_compared(reason: String) -> Ratio {
    Ratio { ratio: None, low: None, high: None, verdict: Difference::NotCompared, reason: Some(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::plan::CompareRequest,
        contestant::{Invitation, ServerCommand},
        plan::{Plan, tests::request},
        report::tests::example,
    };

    fn plan(names: &[&str]) -> ComparePlan {
        let server = |name: &&str| format!("{name}=serve {{port}}").parse::<ServerCommand>().unwrap();
        ComparePlan::new(CompareRequest {
            load: Plan::new(request(), 2).unwrap(),
            servers: Invitation { servers: names.iter().map(server).collect(), ..Invitation::default() },
            baseline: None,
            rounds: 5,
            pin: false,
        })
        .unwrap()
    }

    /// Complete rounds in which a reply costs the server so many nanoseconds.
    fn record(rounds: &[(usize, f64)]) -> Record {
        let round = |(round, cpu_ns): &(usize, f64)| {
            let mut report = example();
            report.server.as_mut().unwrap().cpu_ns_per_request = Some(*cpu_ns);
            Round { round: *round, report }
        };
        Record { rounds: rounds.iter().map(round).collect(), failures: Vec::new() }
    }

    fn starve(report: &mut Report) {
        report.fairness.starved = 49;
        report.verdict = crate::verdict::judge(report);
    }

    fn cpu(subject: &Subject) -> &Ratio {
        &subject.against_baseline["server_cpu_ns_per_request"]
    }

    fn five(cpu_ns: f64) -> Record {
        record(&[1, 2, 3, 4, 5].map(|round| (round, cpu_ns + round as f64)))
    }

    #[test]
    fn each_is_compared_with_the_baseline_and_the_baseline_with_nobody() {
        let subjects = subjects(&plan(&["a", "b", "c"]), vec![five(1_000.0), five(2_000.0), five(1_000.0)]);
        assert!(subjects[0].against_baseline.is_empty());
        assert_eq!(cpu(&subjects[1]).verdict, Difference::Higher);
        assert!((cpu(&subjects[1]).ratio.unwrap() - 2.0).abs() < 0.01);
        assert_eq!(cpu(&subjects[2]).verdict, Difference::None);
        assert!(subjects.iter().all(|subject| subject.status == SubjectStatus::Ok));
        // The rate of an open loop is what was asked for.
        assert!(!subjects[1].against_baseline.contains_key("replies_per_s"));
        assert_eq!(subjects[0].summary["server_cpu_ns_per_request"].median, 1_003.0);
    }

    #[test]
    fn a_marked_or_failed_one_is_never_compared_and_says_why() {
        let mut starving = five(1.0);
        starve(&mut starving.rounds[3].report);
        let mut dying = five(1.0);
        let failure = |message: &str| Failure { message: message.to_owned(), output: Vec::new() };
        dying.failures = vec![(2, failure("died in round 2")), (4, failure("died in round 4"))];
        let subjects = subjects(
            &plan(&["a", "starving", "dying", "absent"]),
            vec![five(1_000.0), starving, dying, Record::default()],
        );
        let seen: Vec<_> = subjects[1..]
            .iter()
            .map(|subject| (subject.status, cpu(subject).verdict, cpu(subject).reason.as_deref()))
            .collect();
        let not = Difference::NotCompared;
        assert_eq!(
            seen,
            [
                (SubjectStatus::Marked, not, Some("it is marked")),
                (SubjectStatus::Failed, not, Some("it failed")),
                (SubjectStatus::Unmeasured, not, Some("it has no complete round")),
            ]
        );
        let failure = subjects[2].failure.as_ref().unwrap();
        assert_eq!(failure.message, "died in round 2; it failed again in round 4");
    }

    #[test]
    fn what_is_asked_is_met_where_it_holds_in_most_rounds() {
        let mut good = five(1_000.0);
        for (round, met) in good.rounds.iter_mut().zip([true, false, true, false, true]) {
            let outcome = |slo: &str, met| SloOutcome {
                slo: slo.to_owned(),
                met,
                actual: None,
                message: String::new(),
            };
            round.report.slo = vec![outcome("p99<5ms", met), outcome("max<5ms", !met)];
        }
        let subjects = subjects(&plan(&["a", "b"]), vec![good, Record::default()]);
        let seen: Vec<_> =
            subjects[0].slo.iter().map(|slo| (slo.slo.as_str(), slo.rounds, slo.held, slo.met)).collect();
        assert_eq!(seen, [("p99<5ms", 5, 3, true), ("max<5ms", 5, 2, false)]);
        assert_eq!(subjects[1].slo, []);
    }

    #[test]
    fn nobody_is_compared_with_a_marked_baseline() {
        let mut baseline = five(1_000.0);
        starve(&mut baseline.rounds[0].report);
        let subjects = subjects(&plan(&["a", "b"]), vec![baseline, five(1.0)]);
        assert_eq!(cpu(&subjects[1]).reason.as_deref(), Some("the baseline is marked"));
    }

    #[test]
    fn rounds_are_paired_by_their_number_and_some_are_needed() {
        let of = |ours: &[(usize, f64)]| {
            let subjects = subjects(&plan(&["a", "b"]), vec![five(1_000.0), record(ours)]);
            cpu(&subjects[1]).clone()
        };
        let two = of(&[(1, 2_002.0), (5, 2_010.0)]);
        assert_eq!((two.verdict, two.low), (Difference::NotCompared, None));
        assert_eq!(two.reason.as_deref(), Some("too few rounds"));
        assert!((two.ratio.unwrap() - 2.0).abs() < 1e-9, "{two:?}");
        assert_eq!(of(&[(7, 1.0)]).reason.as_deref(), Some("no round is complete for both"));
        let three = of(&[(1, 2_002.0), (3, 2_006.0), (5, 2_010.0)]);
        assert_eq!(three.verdict, Difference::Higher);
    }
}
