use super::*;
use crate::{
    command::compare::plan::{ComparePlan, CompareRequest},
    load::request::{Request, tests::request},
    result::tests::example,
    subject::candidate::ServerSelection,
};

/// A kept comparison of these servers.
pub(crate) fn kept(servers: Vec<Subject>) -> KeptResult {
    let report = example();
    KeptResult {
        kept: Kept {
            file: "kept.json".to_owned(),
            command: Some("loadgen compare".to_owned()),
            started_at_unix_ms: report.started_at_unix_ms,
            environment: report.environment,
        },
        servers,
        is_run: false,
        interrupted: false,
        load: report.plan,
        own_loads: BTreeMap::new(),
        pinned: false,
    }
}

fn plan(change: impl FnOnce(&mut Request)) -> ComparePlan {
    let mut load = request();
    change(&mut load);
    let request = CompareRequest {
        load,
        servers: ServerSelection {
            servers: vec!["a=x {port}".parse().unwrap()],
            ..ServerSelection::default()
        },
        baseline: None,
        rounds: 2,
        pin: false,
        against: None,
        tolerance: None,
    };
    ComparePlan::new(request, 2).unwrap()
}

/// A kept comparison with the load of [`plan`].
fn fitting(rounds: usize) -> KeptResult {
    let round = |number| Round { round: number, report: example() };
    let record = Record { rounds: (1..=rounds).map(round).collect(), failures: Vec::new() };
    let servers = vec![results::of_record("a".to_owned(), record)];
    KeptResult { load: PlanSummary::of(&plan(|_| ()).load, &[]), ..kept(servers) }
}

#[test]
fn every_difference_of_the_loads_is_named() {
    let file = Path::new("kept.json");
    assert_eq!(fitting(3).check_load(file, &plan(|load| load.seed = 7)), Ok(()));
    type Change = fn(&mut Request);
    let changes: [(Change, &str); 6] = [
        (|load| load.connections = 7, "it has 500 clients, this comparison 7 clients;"),
        (|load| load.pipeline = 2, "a pipeline of 1, this comparison a pipeline of 2;"),
        (
            |load| load.connecting.rate_per_s = Some(5),
            "no --connect-rate, this comparison a --connect-rate of 5;",
        ),
        (|load| load.measuring.kernel_timestamps = true, "this comparison --kernel-timestamps;"),
        (|load| load.measuring.busy_poll = true, "this comparison --busy-poll;"),
        (
            |load| (load.connections, load.timing.warmup) = (7, std::time::Duration::from_secs(1)),
            "500 clients, this comparison 7 clients; a warm-up of 0s, this comparison a warm-up of 1s; use the same",
        ),
    ];
    for (change, said) in changes {
        let error = fitting(3).check_load(file, &plan(change)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let mut fast = fitting(3);
    fast.load.rate_per_s = Some(2_000.0);
    let error = fast.check_load(file, &plan(|_| ())).unwrap_err().to_string();
    assert!(error.contains("a --rate of 2000, this comparison no --rate"), "{error}");
    let pinned = KeptResult { pinned: true, ..fitting(3) };
    let error = pinned.check_load(file, &plan(|_| ())).unwrap_err().to_string();
    assert!(error.contains("separate CPUs (--pin)"), "{error}");
}

#[test]
fn another_machine_and_few_rounds_are_warnings() {
    let (plan, mut today) = (plan(|_| ()), example().environment);
    let warnings = |kept: &KeptResult, today: &Environment| kept.warnings(&plan, today).join("\n");
    let few = warnings(&fitting(5), &today);
    assert!(few.contains("with 2 rounds there is no interval") && few.contains("--rounds 5"), "{few}");
    let one = warnings(&fitting(1), &today);
    assert!(one.contains("kept.json has 1 round of a") && one.contains("--rounds 5"), "{one}");
    today.kernel = "7.0".to_owned();
    today.version = "9.9".to_owned();
    let other = warnings(&KeptResult { interrupted: true, ..fitting(5) }, &today);
    for part in
        ["kernel 6.18.0 then, 7.0 today", "version of loadgen 0.1.0 then, 9.9 today", "was interrupted"]
    {
        assert!(other.contains(part), "{other}");
    }
    let mut doubtful = fitting(5);
    doubtful.servers[0].verdict.status = Status::Suspect;
    doubtful.servers[0].verdict.count = 2;
    let bad = warnings(&doubtful, &example().environment);
    assert!(bad.contains("of 5 rounds of a in kept.json, 2 are suspect"), "{bad}");
}
