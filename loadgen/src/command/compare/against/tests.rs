use super::*;
use crate::{
    command::compare::{kept::tests::kept, results::Record, results::of_record},
    result::{
        comparison::{self, Comparison, Failure, Round},
        tests::{example, with_failures},
    },
};

const RULE: Rule = Rule { tolerance: 0.05, seed: 1 };

/// The example of a comparison, held against rounds in which `twin` took half the CPU time. The kept result has one more server.
pub(crate) fn held() -> Comparison {
    let mut comparison = comparison::tests::example();
    let then = |name: &str, factor: f64| {
        let mut server = comparison.subjects.iter().find(|server| server.name == name).unwrap().clone();
        for round in &mut server.rounds {
            let server = round.report.server.as_mut().unwrap();
            server.cpu_ns_per_request = server.cpu_ns_per_request.map(|cpu_ns| cpu_ns * factor);
        }
        server
    };
    let named = |server: Subject| {
        let record = Record { rounds: server.rounds, failures: Vec::new() };
        Subject { command: server.command, ..of_record(server.name, record) }
    };
    let servers = vec![
        named(then("a-long-name-of-server", 1.0)),
        named(then("twin", 0.5)),
        of_record("gone".to_owned(), Record::default()),
    ];
    let warnings = vec!["the machine is not the same".to_owned()];
    let against = against(&comparison.subjects, &kept(servers), RULE, warnings);
    comparison.against = Some(Box::new(against));
    comparison
}

/// A server with these CPU times in its rounds.
fn server(cpu_ns: &[f64]) -> Subject {
    changed(cpu_ns.len(), |round, report| {
        report.server.as_mut().unwrap().cpu_ns_per_request = Some(cpu_ns[round]);
    })
}

/// A server with a change in its rounds, which are counted from 0.
fn changed(rounds: usize, change: impl Fn(usize, &mut Report)) -> Subject {
    let round = |number: usize| {
        let mut report = example();
        change(number, &mut report);
        Round { round: number + 1, report }
    };
    of_record("a".to_owned(), Record { rounds: (0..rounds).map(round).collect(), failures: Vec::new() })
}

fn compared_with(today: &Subject, then: Subject, tolerance: f64) -> ServerAgainst {
    let rule = Rule { tolerance, ..RULE };
    against(std::slice::from_ref(today), &kept(vec![then]), rule, Vec::new()).servers.remove(0)
}

#[test]
fn only_an_interval_wholly_beyond_the_tolerance_is_a_regression() {
    let kept = || server(&[100.0, 101.0, 99.0, 100.0, 100.0]);
    for (today, tolerance, change, regression) in [
        ([100.0, 101.0, 99.0, 100.0, 100.0], 0.05, Direction::None, false),
        ([120.0, 121.0, 119.0, 120.0, 120.0], 0.05, Direction::More, true),
        ([120.0, 121.0, 119.0, 120.0, 120.0], 0.25, Direction::More, false),
        ([120.0, 121.0, 119.0, 120.0, 120.0], 0.2, Direction::More, false),
        ([80.0, 81.0, 79.0, 80.0, 80.0], 0.0, Direction::Less, false),
        ([120.0, 90.0, 130.0, 95.0, 125.0], 0.05, Direction::None, false),
    ] {
        let held = compared_with(&server(&today), kept(), tolerance);
        let cpu = &held.metrics["server_cpu_ns_per_request"];
        assert_eq!((cpu.change, cpu.regression), (change, regression), "{today:?} {tolerance}");
        assert_eq!(held.outcome == Outcome::Regression, regression, "{today:?} {tolerance}");
    }
}

#[test]
fn each_metric_has_its_own_worse_side() {
    let fast = |factor: f64| {
        changed(3, |_, report| {
            report.plan.r#loop = Loop::Closed;
            report.rate.achieved_per_s *= factor;
            let response = &mut report.latency_ns.response;
            response.p50 = response.p50.map(|p50| (p50 as f64 / factor) as u64);
            report.server.as_mut().unwrap().context_switches_per_request = Some(1.0 / factor);
        })
    };
    let seen = |today: f64, tolerance: f64| {
        let held = compared_with(&fast(today), fast(1.0), tolerance);
        ["replies_per_s", "response_p50_ns", "context_switches_per_request"]
            .map(|name| (held.metrics[name].change, held.metrics[name].regression))
    };
    use Direction::{Faster, Less, More, Slower};
    assert_eq!(seen(0.5, 0.05), [(Slower, true), (Slower, true), (More, false)]);
    assert_eq!(seen(2.0, 0.05), [(Faster, false), (Faster, false), (Less, false)]);
    // Half the rate is twice the time.
    assert_eq!(seen(0.51, 1.0), [(Slower, false), (Slower, false), (More, false)]);
    assert_eq!(seen(0.49, 1.0), [(Slower, true), (Slower, true), (More, false)]);
}

#[test]
fn without_three_rounds_on_each_side_nothing_is_known() {
    for (today, then) in [(1, 5), (5, 1), (2, 2)] {
        let held = compared_with(&server(&vec![200.0; today]), server(&vec![100.0; then]), 0.05);
        let cpu = &held.metrics["server_cpu_ns_per_request"];
        assert_eq!((held.outcome, cpu.ratio, cpu.low), (Outcome::Unknown, Some(2.0), None));
        let rounds = if today.min(then) == 1 { "1 round" } else { "2 rounds" };
        assert_eq!(cpu.reason.as_deref(), Some(format!("no interval with {rounds}").as_str()));
    }
    assert_eq!(compared_with(&server(&[200.0; 3]), server(&[100.0; 3]), 0.05).outcome, Outcome::Regression);
}

#[test]
fn a_percentile_that_now_falls_among_failed_requests_is_a_regression() {
    let failing = |rounds: usize, failed: &[usize]| {
        changed(rounds, |round, report| {
            if failed.contains(&round) {
                report.latency_ns.response = with_failures().latency_ns.response;
            }
        })
    };
    let p99 =
        |today: Subject, then: Subject| compared_with(&today, then, 0.05).metrics["response_p99_ns"].clone();
    let worse = p99(failing(5, &[0, 1, 4]), failing(5, &[]));
    assert_eq!((worse.change, worse.regression, worse.ratio), (Direction::Slower, true, None));
    assert_eq!(worse.in_words(), "REGRESSION: its p99 falls among failed requests in 3 of 5 rounds");
    for (today, then) in [
        (failing(5, &[1]), failing(5, &[])),
        (failing(5, &[0, 1, 4]), failing(5, &[2])),
        (failing(2, &[0, 1]), failing(5, &[])),
    ] {
        let unknown = p99(today, then);
        assert_eq!((unknown.change, unknown.regression), (Direction::NotCompared, false), "{unknown:?}");
    }
}

#[test]
fn a_server_that_starves_clients_only_today_is_worse() {
    let starving = || {
        changed(3, |_, report| {
            report.fairness.starved = 49;
            report.verdict = crate::judge::verdict::judge(report);
        })
    };
    let worse = compared_with(&starving(), server(&[1.0; 3]), 0.05);
    assert_eq!(worse.outcome, Outcome::Regression);
    assert_eq!(worse.reason.as_deref(), Some("it is marked today (starved), and was not in kept.json"));
    let then_too = compared_with(&starving(), starving(), 0.05);
    assert_eq!(
        (then_too.outcome, then_too.reason.as_deref()),
        (Outcome::Unknown, Some("it is marked in kept.json"))
    );
    let failure = Failure { message: "did not start".to_owned(), output: Vec::new() };
    let failed = of_record("a".to_owned(), Record { rounds: Vec::new(), failures: vec![(1, failure)] });
    assert_eq!(compared_with(&failed, server(&[1.0; 3]), 0.05).outcome, Outcome::Unknown);
}

#[test]
fn every_server_is_in_the_result() {
    let against = held().against.unwrap();
    let seen: Vec<_> = against.servers.iter().map(|server| (server.name.as_str(), server.outcome)).collect();
    assert_eq!(
        seen,
        [
            ("a-long-name-of-server", Outcome::None),
            ("twin", Outcome::Regression),
            ("starving", Outcome::Unknown),
            ("absent", Outcome::Unknown),
        ]
    );
    assert_eq!((against.outcome, against.not_measured), (Outcome::Regression, vec!["gone".to_owned()]));
    assert_eq!(against.servers[2].reason.as_deref(), Some("kept.json has no server with this name"));
}
