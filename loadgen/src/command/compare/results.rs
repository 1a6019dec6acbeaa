//! The results of a comparison, computed from its rounds. Pure.

use std::collections::BTreeMap;

use super::{marks, plan::ComparePlan, ratio};
use crate::{
    result::{
        SloOutcome,
        comparison::{Failure, Round, SloRounds, Spread, Subject, SubjectStatus},
        metrics::{METRICS, Metric, spread},
        verdicts,
    },
    subject::candidate::Candidate,
};

/// The turns of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The complete rounds.
    pub rounds: Vec<Round>,
    /// The failed rounds, each with its number from 1.
    pub failures: Vec<(usize, Failure)>,
}

/// The results of all servers, in the order of the plan.
pub(crate) fn subjects(plan: &ComparePlan, records: Vec<Record>) -> Vec<Subject> {
    let candidates = plan.candidates.iter().zip(records);
    let mut subjects: Vec<_> = candidates.map(|(candidate, record)| subject(candidate, record)).collect();
    let baseline = subjects[plan.baseline].clone();
    for (place, subject) in subjects.iter_mut().enumerate() {
        if place != plan.baseline {
            subject.against_baseline = ratio::against(subject, &baseline, plan.load.seed);
        }
    }
    subjects
}

fn subject(candidate: &Candidate, record: Record) -> Subject {
    let (mode, command, target) = candidate.origin();
    Subject { mode, command, target, ..of_record(candidate.name.clone(), record) }
}

/// The results of a server of which only the turns are known.
pub(super) fn of_record(name: String, Record { rounds, failures }: Record) -> Subject {
    let marks = marks::of_all(rounds.iter().map(|round| (round.round, &round.report)));
    let failure = failure(failures);
    let status = match (&failure, marks.is_empty(), rounds.is_empty()) {
        (Some(_), ..) => SubjectStatus::Failed,
        (None, false, _) => SubjectStatus::Marked,
        (None, true, true) => SubjectStatus::Unmeasured,
        (None, true, false) => SubjectStatus::Ok,
    };
    Subject {
        name,
        mode: None,
        command: None,
        target: None,
        status,
        verdict: verdicts::of_rounds(rounds.iter().map(|round| (round.round, &round.report))),
        marks,
        failure,
        summary: summary(&rounds),
        slo: slo(&rounds),
        rounds,
        against_baseline: BTreeMap::new(),
    }
}

/// The first failure, with the numbers of the other failed rounds.
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

/// All rounds have the same objectives.
fn slo(rounds: &[Round]) -> Vec<SloRounds> {
    let objectives = rounds.first().map_or(&[][..], |round| &round.report.slo);
    let of = |(place, slo): (usize, &SloOutcome)| {
        let held = rounds.iter().filter(|round| round.report.slo[place].met).count();
        SloRounds { slo: slo.slo.clone(), rounds: rounds.len(), held, met: 2 * held > rounds.len() }
    };
    objectives.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::compare::plan::CompareRequest,
        load::request::tests::request,
        result::{
            Report,
            comparison::{Difference, Ratio},
            tests::{example, with_failures},
        },
        subject::candidate::{ServerCommand, ServerSelection},
    };

    fn plan(names: &[&str]) -> ComparePlan {
        let server = |name: &&str| format!("{name}=serve {{port}}").parse::<ServerCommand>().unwrap();
        let request = CompareRequest {
            load: request(),
            servers: ServerSelection {
                servers: names.iter().map(server).collect(),
                ..ServerSelection::default()
            },
            baseline: None,
            rounds: 5,
            pin: false,
            against: None,
            tolerance: None,
        };
        ComparePlan::new(request, 2).unwrap()
    }

    /// Complete rounds, each with its number and its CPU time per request.
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
        report.verdict = crate::judge::verdict::judge(report);
    }

    fn cpu(subject: &Subject) -> &Ratio {
        &subject.against_baseline["server_cpu_ns_per_request"]
    }

    fn five(cpu_ns: f64) -> Record {
        record(&[1, 2, 3, 4, 5].map(|round| (round, cpu_ns + round as f64)))
    }

    #[test]
    fn every_server_except_the_baseline_is_compared_with_the_baseline() {
        let subjects = subjects(&plan(&["a", "b", "c"]), vec![five(1_000.0), five(2_000.0), five(1_000.0)]);
        assert!(subjects[0].against_baseline.is_empty());
        assert_eq!(cpu(&subjects[1]).verdict, Difference::Higher);
        assert!((cpu(&subjects[1]).ratio.unwrap() - 2.0).abs() < 0.01);
        assert_eq!(cpu(&subjects[2]).verdict, Difference::None);
        assert!(subjects.iter().all(|subject| subject.status == SubjectStatus::Ok));
        // The rate of an open loop is part of the plan, so it is not compared.
        assert!(!subjects[1].against_baseline.contains_key("replies_per_s"));
        assert_eq!(subjects[0].summary["server_cpu_ns_per_request"].median, Some(1_003.0));
    }

    #[test]
    fn a_marked_or_failed_server_is_not_compared_and_the_reason_is_given() {
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
    fn a_percentile_among_failed_requests_has_no_ratio() {
        // Too few failures to mark the server.
        let failing = |rounds: &[usize]| {
            let mut record = five(1_000.0);
            for round in record.rounds.iter_mut().filter(|round| rounds.contains(&round.round)) {
                round.report.latency_ns.response = with_failures().latency_ns.response;
            }
            record
        };
        let p99 = |records: [Record; 2]| subjects(&plan(&["a", "b"]), records.into()).remove(1);
        let failed = p99([five(1_000.0), failing(&[1, 2, 4])]);
        let ratio = &failed.against_baseline["response_p99_ns"];
        assert_eq!((ratio.ratio, ratio.verdict), (None, Difference::NotCompared));
        assert_eq!(ratio.reason.as_deref(), Some("its p99 falls among failed requests in 3 of 5 rounds"));
        assert_eq!(failed.summary["response_p99_ns"].median, None);
        assert!(failed.against_baseline["response_p50_ns"].ratio.is_some());
        let baseline = p99([failing(&[5]), five(1_000.0)]);
        let reason = baseline.against_baseline["response_p99_ns"].reason.as_deref();
        assert_eq!(reason, Some("the baseline's p99 falls among failed requests in 1 of 5 rounds"));
    }

    #[test]
    fn an_objective_is_met_if_most_rounds_meet_it() {
        let mut good = five(1_000.0);
        for (round, met) in good.rounds.iter_mut().zip([true, false, true, false, true]) {
            let outcome = |slo: &str, met| SloOutcome {
                slo: slo.to_owned(),
                met,
                actual: None,
                failed: false,
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
    fn no_server_is_compared_with_a_marked_baseline() {
        let mut baseline = five(1_000.0);
        starve(&mut baseline.rounds[0].report);
        let subjects = subjects(&plan(&["a", "b"]), vec![baseline, five(1.0)]);
        assert_eq!(cpu(&subjects[1]).reason.as_deref(), Some("the baseline is marked"));
    }

    #[test]
    fn rounds_are_paired_by_number_and_an_interval_needs_several() {
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
