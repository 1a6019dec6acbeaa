use super::*;
use crate::result::{
    Reason,
    comparison::{FailedRounds, Ratio, tests::example},
};

/// A comparison of servers with these differences from the baseline in the deciding metric.
fn comparison(kind: Loop, others: &[(&str, Difference, f64)]) -> Comparison {
    let mut comparison = example();
    comparison.plan.load.r#loop = kind;
    let twin = comparison.subjects[1].clone();
    comparison.subjects.truncate(1);
    let words = if kind == Loop::Closed { &CLOSED } else { &OPEN };
    comparison.subjects.extend(others.iter().map(|(name, verdict, ratio)| {
        let mut subject = Subject { name: (*name).to_owned(), ..twin.clone() };
        let ratio = Ratio { ratio: Some(*ratio), low: None, high: None, verdict: *verdict, reason: None };
        subject.against_baseline = [(words.metric.to_owned(), ratio)].into();
        subject
    }));
    comparison.plan.baseline = "base".to_owned();
    comparison.subjects[0].name = "base".to_owned();
    comparison
}

#[test]
fn a_percentile_among_failed_requests_is_never_the_better_one() {
    let mut comparison =
        comparison(Loop::Open, &[("a", Difference::NotCompared, 1.0), ("b", Difference::Lower, 0.5)]);
    let failed = Some(FailedRounds { rounds: 2, longer_than_ns: 500e6 });
    let spread = Spread { median: None, min: Some(1e6), max: None, failed };
    for subject in &mut comparison.subjects[1..2] {
        subject.summary.insert(OPEN.metric.to_owned(), spread);
        subject.against_baseline.get_mut(OPEN.metric).unwrap().ratio = None;
    }
    let seen = conclude(&comparison);
    assert_eq!(seen.claim, "b has a lower p99 than base");
    assert_eq!(
        seen.details,
        "response p99 against base: b -50.0%; among failed requests, so not compared: a"
    );
    assert_eq!((seen.status, seen.counts.as_str()), (Status::Suspect, "1 better, 1 among failed requests"));
    comparison.subjects.truncate(2);
    let claim = conclude(&comparison).claim;
    assert_eq!(claim, "no response p99 to compare with base's: it falls among failed requests");
    comparison.subjects[0].summary.insert(OPEN.metric.to_owned(), spread);
    comparison.subjects.truncate(1);
    let alone = conclude(&comparison).details;
    assert_eq!(alone, "response p99: > 500 ms (failed), from 1.00 ms to > 500 ms (failed)");
    let median_known = Spread { median: Some(2e6), ..spread };
    comparison.subjects[0].summary.insert(OPEN.metric.to_owned(), median_known);
    let alone = conclude(&comparison).details;
    assert_eq!(alone, "response p99: 2.00 ms, from 1.00 ms to > 500 ms (failed)");
}

#[test]
fn a_conclusion_names_the_better_and_the_worse_servers() {
    use Difference::{Higher, Lower, None, NotCompared};
    for (kind, others, claim, details, counts) in [
        (
            Loop::Closed,
            &[("a", Higher, 1.125), ("b", Lower, 0.92), ("c", None, 1.01)][..],
            "a answers more requests than base",
            "replies per second against base: a +12.5%; b -8.0%; no detectable difference: c",
            "1 better, 1 worse, 1 alike",
        ),
        (
            Loop::Closed,
            &[("a", Higher, 1.1), ("b", Higher, 5.25)],
            "b and a answer more requests than base",
            "replies per second against base: b 5.2 times, a +10.0%",
            "2 better",
        ),
        (
            Loop::Open,
            &[("a", Higher, 1.1), ("b", Lower, 0.5), ("c", Lower, 0.25), ("d", Lower, 0.9)],
            "3 servers have a lower p99 than base",
            "response p99 against base: c -75.0%, b -50.0%, d -10.0%; a +10.0%",
            "3 better, 1 worse",
        ),
        (
            Loop::Open,
            &[("a", Higher, 1.1)],
            "a has a higher p99 than base",
            "response p99 against base: a +10.0%",
            "1 worse",
        ),
        (
            Loop::Closed,
            &[("a", None, 1.0)],
            "no detectable difference from base",
            "replies per second against base: no detectable difference: a",
            "1 alike",
        ),
        (
            Loop::Closed,
            &[("a", NotCompared, 1.0)],
            "too few rounds to tell a difference from base",
            "replies per second against base: too few rounds or samples to tell: a",
            "1 unknown",
        ),
    ] {
        let seen = conclude(&comparison(kind, others));
        assert_eq!(
            (seen.claim.as_str(), seen.details.as_str(), seen.counts.as_str()),
            (claim, details, counts)
        );
        assert_eq!((seen.status, seen.trust), (Status::Valid, Option::None));
    }
}

#[test]
fn excluded_servers_are_named_and_if_all_are_excluded_none_is_compared() {
    let mut some =
        comparison(Loop::Closed, &[("a", Difference::Higher, 1.1), ("b", Difference::NotCompared, 1.0)]);
    some.subjects[2].status = SubjectStatus::Failed;
    let seen = conclude(&some);
    assert_eq!(seen.details, "replies per second against base: a +10.0%; not compared: b");
    assert_eq!(seen.status, Status::Suspect);
    some.subjects[1].status = SubjectStatus::Marked;
    let seen = conclude(&some);
    assert_eq!(
        (seen.status, seen.details.as_str()),
        (Status::Invalid, "every other server is marked or failed")
    );
    some.subjects[0].status = SubjectStatus::Marked;
    let seen = conclude(&some);
    assert_eq!(seen.details, "base, the baseline, is marked");
    assert_eq!(seen.claim, "nothing can be compared with base");
}

#[test]
fn the_cpu_time_per_request_is_reported_if_servers_differ_in_it() {
    let mut two = comparison(Loop::Closed, &[("a", Difference::None, 1.0)]);
    assert_eq!(conclude(&two).cost, None);
    let dearer = Ratio {
        ratio: Some(1.5),
        low: Some(1.4),
        high: Some(1.6),
        verdict: Difference::Higher,
        reason: None,
    };
    two.subjects[1].against_baseline.insert(COST.metric.to_owned(), dearer);
    assert_eq!(conclude(&two).cost.as_deref(), Some("CPU per request against base: a +50.0%"));
}

#[test]
fn rounds_that_are_not_valid_are_counted_with_their_reasons() {
    let mut suspect = comparison(Loop::Closed, &[("a", Difference::Higher, 1.1)]);
    for round in &mut suspect.subjects[1].rounds {
        let verdict = &mut round.report.verdict;
        verdict.status = Status::Suspect;
        verdict.reasons = vec![Reason {
            code: "generator_saturated".to_owned(),
            status: Status::Suspect,
            message: String::new(),
            value: 0.0,
            bound: 0.0,
            advice: String::new(),
        }];
    }
    let seen = conclude(&suspect);
    assert_eq!(seen.status, Status::Suspect);
    assert_eq!(seen.trust.as_deref(), Some("of 6 rounds, 3 suspect: generator_saturated"));
}

#[test]
fn one_server_shows_how_its_rounds_differ() {
    let seen = conclude(&comparison(Loop::Closed, &[]));
    assert_eq!(seen.details, "replies per second: 1,000, from 1,000 to 1,000");
    assert_eq!((seen.status, seen.claim.as_str()), (Status::Valid, "only base, compared with nothing"));
}
