use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    engine::wall_clock::ClockQuality,
    engine::{latency, pauses::KEPT_MAX},
    load::schedule::Arrival,
    protocol::{cases::cases, exchange::Mismatch},
    result::{
        Calibration, Fairness, Floor, Interval, Kind, Latency, Loop, MergedPart, Network, Outcomes,
        PartShare, Pause, Pauses, Stage, StagePlan, Status, Tail, Tls, TlsSummary, fairness,
        summary::{self, Unanswered},
        tests::example,
    },
    subject::cpus::Division,
};

/// A result, and its name.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    report: Report,
}

/// The sum of these results.
fn merge(parts: &[Part]) -> Result<Report, MergeError> {
    merge_expecting(parts, &Expectations::default())
}

fn merge_expecting(parts: &[Part], expectations: &Expectations) -> Result<Report, MergeError> {
    let mut sum = Sum::default();
    for Part { name, report } in parts {
        sum.add(name.clone(), report.clone())?;
    }
    sum.finish(expectations)
}

/// The start of the window of each generator, unless a test changes it.
const START_US: u64 = 1_800_000_001_000_000;

/// A result with these times of requests, and these numbers of replies to clients.
fn part(name: &str, times_ns: &[u64], replies: &[u64]) -> Part {
    let mut samples = latency::Latency::default();
    times_ns.iter().for_each(|time_ns| samples.record(*time_ns));
    let latency = summary::latency(&samples);
    let (sum, clients) = (replies.iter().sum::<u64>(), replies.len() as u64);
    let mut report = example();
    report.plan.seed = name.bytes().map(u64::from).sum();
    report.plan.connections = replies.len() as u32;
    report.plan.rate_per_s = Some(20.0 * clients as f64);
    report.window_started_at_unix_us = START_US;
    report.latency_ns.response = latency.clone();
    report.latency_ns.service = latency;
    report.response_histogram = summary::bars(samples.histogram());
    report.fairness = Fairness {
        clients,
        asked: clients,
        served: replies.iter().filter(|replies| **replies > 0).count() as u64,
        starved: replies.iter().filter(|replies| **replies == 0).count() as u64,
        jain: fairness::jain(replies.iter().copied()),
        requests_min: replies.iter().copied().min().unwrap(),
        requests_max: replies.iter().copied().max().unwrap(),
        replies_sum: sum,
        replies_sum_of_squares: replies.iter().map(|replies| (*replies as f64).powi(2)).sum(),
        replies_hdr: summary::replies(replies.iter().copied()),
        ..report.fairness
    };
    report.server = None;
    report.intervals = [0.0, 1.0]
        .map(|t_s| {
            summary::interval(t_s, 500.0, samples.histogram(), Unanswered { count: 1, waited_ns_min: 7 })
        })
        .to_vec();
    Part { name: name.to_owned(), report }
}

/// Two parts of one load.
fn two() -> [Part; 2] {
    [part("a.json", &[1_000, 2_000], &[40, 40]), part("b.json", &[3_000_000], &[30, 10])]
}

/// The error if the second of two parts is changed.
fn error(change: impl FnOnce(&mut Report)) -> MergeError {
    let mut parts = two();
    change(&mut parts[1].report);
    merge(&parts).unwrap_err()
}

/// The sum if the second of two parts is changed.
fn sum_of(change: impl FnOnce(&mut Report)) -> Report {
    let mut parts = two();
    change(&mut parts[1].report);
    merge(&parts).unwrap()
}

/// Whether a note contains the text.
fn is_noted(report: &Report, text: &str) -> bool {
    report.notes.iter().any(|note| note.contains(text))
}

#[test]
fn parts_of_known_samples_add_up_to_exactly_the_whole() {
    // Parts with very different times and sizes: an average of percentiles would be wrong.
    let times: Vec<u64> =
        (0..30_000_u64).map(|number| 1_000 + number * number % 7_919 * (number % 97)).collect();
    let clients: Vec<u64> = (0..60_u64).map(|client| client * client % 23).collect();
    let whole = part("whole", &times, &clients).report;
    for count in 1..=7 {
        // The first parts get one sample and one client each, the last part gets the others.
        let parts: Vec<_> = (0..count)
            .map(|index| {
                let to = |length: usize| if index + 1 == count { length } else { (index + 1) * (index + 1) };
                let (times, clients) = (
                    &times[index * index * 100..(to(times.len() / 100) * 100)],
                    &clients[index * index..to(clients.len())],
                );
                part(&format!("{index}"), times, clients)
            })
            .collect();
        let sum = merge(&parts).unwrap();
        assert_eq!(sum.latency_ns.response, whole.latency_ns.response, "{count}");
        assert_eq!(sum.latency_ns.service, whole.latency_ns.service, "{count}");
        assert_eq!(sum.response_histogram, whole.response_histogram, "{count}");
        assert_eq!(sum.fairness.jain, whole.fairness.jain, "{count}");
        assert_eq!(sum.fairness.replies_hdr, whole.fairness.replies_hdr, "{count}");
        let fairness = |report: &Report| {
            let Fairness { clients, asked, starved, served, requests_min, requests_max, .. } =
                report.fairness;
            [clients, asked, starved, served, requests_min, requests_max]
        };
        assert_eq!(fairness(&sum), fairness(&whole), "{count}");
        let merged = sum.merged.as_ref().unwrap();
        assert_eq!((merged.generators, merged.start_skew_ns, merged.parts.len()), (count, 0, count));
    }
}

#[test]
fn a_percentile_needs_enough_samples_in_the_sum_only() {
    let times: Vec<u64> = (1..=600).collect();
    let mut parts = [part("a.json", &times, &[1]), part("b.json", &times, &[1])];
    parts[1].report.window_started_at_unix_us += 1;
    assert_eq!(parts[0].report.latency_ns.response.p99, None);
    let sum = merge(&parts).unwrap();
    assert_eq!((sum.latency_ns.response.p99, sum.latency_ns.response.p99_9), (Some(594), None));
}

#[test]
fn counts_and_rates_are_added_and_otherwise_the_worst_counts() {
    let sum = sum_of(|report| {
        report.requests.failed = 5;
        report.rate.achieved_per_s = 500.5;
        report.errors.insert("timeout".to_owned(), 5);
        report.errors.insert("another".to_owned(), 2);
        report.connections.lost = 3;
        report.interrupted = true;
        report.late_start_ns = 7;
        report.fairness.longest_silence_ns = 9_000_000;
        report.fairness.longest_stall_ns = 1_000;
        report.fairness.longest_stall_at_ns = Some(1_000_500);
        report.fairness.effective_concurrency = Some(2.0);
        report.generator.idle_share_min = None;
        report.generator.cpu_wait_share_max = Some(0.5);
        report.generator.clock_step_ns = 50;
        report.network = Some(Network { client_retransmissions: 4, retransmissions: 3, listen_overflows: 2 });
    });
    let one = &two()[0].report;
    assert_eq!((sum.requests.completed, sum.requests.failed), (4_000, 5));
    assert_eq!(sum.requests.bytes_sent, 2 * one.requests.bytes_sent);
    assert_eq!((sum.rate.offered_per_s, sum.rate.achieved_per_s), (Some(2_000.0), 1_500.0));
    assert_eq!((sum.errors["timeout"], sum.errors["another"], sum.errors["reset"]), (5, 2, 0));
    assert_eq!((sum.connections.established, sum.connections.lost), (100, 3));
    assert_eq!((sum.interrupted, sum.late_start_ns), (true, 7));
    assert_eq!((sum.fairness.longest_silence_ns, sum.fairness.longest_stall_ns), (9_000_000, 1_000));
    assert_eq!(sum.fairness.effective_concurrency, Some(3.37));
    assert_eq!(sum.generator.cpu_s, 0.04);
    assert_eq!(sum.generator.cpu_ns_per_request, Some(0.04e9 / 120.0));
    let generator = &sum.generator;
    assert_eq!((generator.idle_share_min, generator.cpu_wait_share_max), (Some(0.98), Some(0.5)));
    assert_eq!(generator.clock_step_ns, 50);
    assert_eq!(
        sum.network,
        Some(Network { client_retransmissions: 4, retransmissions: 4, listen_overflows: 2 })
    );
    let plan = &sum.plan;
    assert_eq!((plan.connections, plan.threads, plan.rate_per_s), (4, 2, Some(80.0)));
    assert_eq!(plan.targets, ["127.0.0.1:40123"]);
}

#[test]
fn handshakes_tails_and_times_on_the_wall_clock_are_those_of_all_generators() {
    let mut parts = two();
    for (index, Part { report, .. }) in (0..).zip(&mut parts) {
        report.window_started_at_unix_us += 250_000 * index;
        report.tail = Tail { length_s: 2.0 - index as f64, completed: 3 + index, failed: 5 + index };
        report.server_gone_at_ns = Some(700_000_000 - 100_000_000 * index);
        report.tls = Some(Tls {
            full_handshakes: 10 + index,
            resumed_handshakes: 20 + index,
            version: Some("TLS 1.3".to_owned()),
            first_failure: (index > 0).then(|| "a failure".to_owned()),
            ..Tls::default()
        });
        // In common: from 0.5 s to 0.75 s after the start of the first window.
        report.fairness.longest_stall_ns = 500_000_000;
        report.fairness.longest_stall_at_ns = Some(250_000_000);
    }
    let sum = merge(&parts).unwrap();
    assert_eq!(sum.tail, Tail { length_s: 2.0, completed: 7, failed: 11 });
    let expected = Tls {
        full_handshakes: 21,
        resumed_handshakes: 41,
        version: Some("TLS 1.3".to_owned()),
        first_failure: Some("a failure".to_owned()),
        ..Tls::default()
    };
    assert_eq!(sum.tls, Some(expected));
    assert_eq!(sum.server_gone_at_ns, Some(850_000_000));
    let stall = |report: &Report| (report.fairness.longest_stall_ns, report.fairness.longest_stall_at_ns);
    assert_eq!(stall(&sum), (250_000_000, Some(500_000_000)));
    parts[1].report.server_gone_at_ns = None;
    parts[1].report.fairness.longest_stall_at_ns = None;
    parts[1].report.tls = None;
    let sum = merge(&parts).unwrap();
    assert_eq!((sum.server_gone_at_ns, stall(&sum)), (None, (0, None)));
    assert_eq!(sum.tls.map(|tls| tls.full_handshakes), Some(10));
    assert_eq!(merge(&two()).unwrap().tls, None);
}

#[test]
fn the_verdict_is_that_of_the_sum() {
    let mut parts = two();
    // The server is fair within each generator, but not between them.
    parts[0].report.fairness.jain = Some(1.0);
    for (part, replies) in parts.iter_mut().zip([1_000, 10]) {
        part.report.plan.arrival = Some(Arrival::Constant);
        part.report.fairness.replies_sum = replies * 2;
        part.report.fairness.replies_sum_of_squares = (replies * replies * 2) as f64;
    }
    let codes: Vec<_> =
        merge(&parts).unwrap().verdict.reasons.into_iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["unfair"]);
}

#[test]
fn intervals_are_aligned_by_wall_clock() {
    for (offset_us, moved, expected) in [
        (0, "0 ns", vec![(0.0, 3, 1_000.0), (1.0, 3, 1_000.0)]),
        (400_000, "400 ms", vec![(0.0, 3, 1_000.0), (1.0, 3, 1_000.0)]),
        (600_000, "400 ms", vec![(0.0, 2, 500.0), (1.0, 3, 1_000.0), (2.0, 1, 500.0)]),
        (1_250_000, "250 ms", vec![(0.0, 2, 500.0), (1.0, 3, 1_000.0), (2.0, 1, 500.0)]),
    ] {
        for is_first in [true, false] {
            let mut parts = two();
            parts[1].report.window_started_at_unix_us += offset_us;
            if !is_first {
                parts.reverse();
            }
            let sum = merge(&parts).unwrap();
            let of = |interval: &Interval| (interval.t_s, interval.completed, interval.achieved_per_s);
            assert_eq!(sum.intervals.iter().map(of).collect::<Vec<_>>(), expected, "{offset_us}");
            assert!(is_noted(&sum, &format!("to within {moved}")), "{:?}", sum.notes);
            assert_eq!(sum.window_started_at_unix_us, START_US);
            assert_eq!(sum.merged.unwrap().start_skew_ns, offset_us * 1_000);
            assert!((sum.elapsed_s - (2.0 + offset_us as f64 / 1e6)).abs() < 1e-9);
            let both = sum.intervals.iter().find(|interval| interval.completed == 3).unwrap();
            assert_eq!(summary::deserialise(&both.hdr).unwrap().len(), 3);
            // One request failed in each part: these are slower than all known times.
            let longest_ns = summary::max(&summary::deserialise(&both.hdr).unwrap()).unwrap();
            let tail = both.failed_tail.as_ref().unwrap();
            assert_eq!((both.max, tail.count, tail.longer_than_ns), (None, 2, longest_ns));
            assert_eq!(tail.percentiles, ["max"]);
        }
    }
}

#[test]
fn the_precision_of_a_sum_is_that_of_its_intervals() {
    // Ten intervals in each part: in all of them, one reply of four is slow.
    let mut parts = two();
    for (index, Part { report, .. }) in parts.iter_mut().enumerate() {
        let times = latency::Latency::from_iter((0..40).map(|number| 1_000 * (1 + number / 30)));
        let interval = |second| {
            summary::interval(
                f64::from(second),
                40.0,
                times.histogram(),
                Unanswered { count: 2, waited_ns_min: 7 },
            )
        };
        report.intervals = (0..10 + index as u32).map(interval).collect();
    }
    let precision = merge(&parts).unwrap().precision.unwrap();
    assert_eq!((precision.blocks, precision.block_s), (11, 1.0));
    let p50 = &precision.percentiles[0];
    assert_eq!((p50.name.as_str(), p50.low, p50.high), ("p50", 1_000, Some(1_000)));
    assert_eq!(merge(&two()).unwrap().precision, None, "there are two intervals only");
    for part in &mut parts {
        part.report.plan.stages =
            vec![StagePlan { stage: "5/2s".to_owned(), from_per_s: 5.0, to_per_s: 5.0, duration_s: 2.0 }];
    }
    assert_eq!(merge(&parts).unwrap().precision, None, "the load of stages changes");
}

#[test]
fn intervals_of_half_a_second_keep_their_places_whenever_the_first_window_began() {
    let mut parts = two();
    for (Part { report, .. }, offset_us) in parts.iter_mut().zip([300_000, 900_000]) {
        report.plan.interval_s = 0.5;
        report.intervals[1].t_s = 0.5;
        report.window_started_at_unix_us += offset_us;
    }
    let sum = merge(&parts).unwrap();
    let of = |interval: &Interval| (interval.t_s, interval.completed);
    assert_eq!(sum.intervals.iter().map(of).collect::<Vec<_>>(), [(0.0, 2), (0.5, 3), (1.0, 1)]);
    assert!(is_noted(&sum, "to within 100 ms"), "{:?}", sum.notes);
}

#[test]
fn the_longest_pauses_of_all_generators_are_kept_at_their_time() {
    let mut parts = two();
    for (Part { report, .. }, offset_us) in parts.iter_mut().zip([0, 500_000]) {
        report.window_started_at_unix_us += offset_us;
        let longest =
            (1..=KEPT_MAX as u64).map(|number| Pause { t_s: 0.25, length_ns: 10 * number + offset_us });
        report.generator.pauses =
            Pauses { count: 20, total_ns_max: 7 + offset_us, requests: 3, longest: longest.collect() };
    }
    let pauses = merge(&parts).unwrap().generator.pauses;
    assert_eq!((pauses.count, pauses.total_ns_max, pauses.requests), (40, 500_007, 6));
    let longest = pauses.longest.iter().map(|pause| (pause.t_s, pause.length_ns));
    let expected = (1..=KEPT_MAX as u64).rev().map(|number| (0.75, 10 * number + 500_000));
    assert!(longest.eq(expected), "{:?}", pauses.longest);
    parts[1].report.generator.pauses.longest.clear();
    let pauses = merge(&parts).unwrap().generator.pauses;
    assert!(pauses.longest.iter().all(|pause| pause.t_s == 0.25), "{:?}", pauses.longest);
}

#[test]
fn merged_results_can_be_merged_again() {
    let mut parts = vec![part("a", &[1, 2], &[1]), part("b", &[3], &[2]), part("c", &[4, 5], &[3])];
    parts[1].report.window_started_at_unix_us += 30_000;
    parts[2].report.window_started_at_unix_us += 20_000;
    let at_once = merge(&parts).unwrap();
    let first = Part { name: "ab".to_owned(), report: merge(&parts[..2]).unwrap() };
    let in_steps = merge(&[first, parts[2].clone()]).unwrap();
    let merged = in_steps.merged.as_ref().unwrap();
    assert_eq!((merged.generators, merged.start_skew_ns), (3, 30_000_000));
    let runs: Vec<_> = merged.parts.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(runs, ["a", "b", "c"]);
    assert_eq!(Report { notes: Vec::new(), ..in_steps }, Report { notes: Vec::new(), ..at_once });
}

#[test]
fn a_run_that_would_count_twice_is_an_error_at_every_depth() {
    let [a, b, c, d] =
        [("a", 1), ("b", 2), ("c", 3), ("d", 4)].map(|(name, time_ns)| part(name, &[time_ns], &[1]));
    let sum = |name: &str, parts: &[&Part]| {
        let parts: Vec<_> = parts.iter().map(|part| (*part).clone()).collect();
        Part { name: name.to_owned(), report: merge(&parts).unwrap() }
    };
    let refused = |parts: &[&Part]| {
        let parts: Vec<_> = parts.iter().map(|part| (*part).clone()).collect();
        let error = merge(&parts).unwrap_err();
        assert!(matches!(error, MergeError::Twice { .. }), "{error}");
        error.to_string()
    };
    let (ab, bc) = (sum("ab", &[&a, &b]), sum("bc", &[&b, &c]));
    let abc = sum("abc", &[&ab, &c]);
    let texts = [
        refused(&[&a, &b, &ab]),
        refused(&[&abc, &d, &b]),
        refused(&[&ab, &bc]),
        refused(&[&a, &abc, &a]),
        refused(&[&ab, &ab]),
    ];
    insta::assert_snapshot!(texts.join("\n"), @r"
    some runs would count twice: ab is a merged result that already holds a, b; give either the merged result or its runs
    some runs would count twice: abc is a merged result that already holds b; give either the merged result or its runs
    some runs would count twice: ab and bc both hold b; give the runs themselves, each once, and no merged results
    some runs would count twice: a and a are the same run; abc is a merged result that already holds a; give either the merged result or its runs
    some runs would count twice: ab and ab both hold a, b; give the runs themselves, each once, and no merged results
    ");
    // Each run once.
    assert_eq!(sum("all", &[&abc, &d]).report.merged.unwrap().generators, 4);
}

#[test]
fn the_identity_of_a_run_follows_from_its_measured_values() {
    let [a, b] = two();
    // A rewritten result keeps its identity.
    let mut again = a.clone();
    again.report.command = Some("loadgen run".to_owned());
    again.report.notes.push("edited".to_owned());
    assert_eq!(identity::of_run(&a.report), identity::of_run(&again.report));
    assert_ne!(identity::of_run(&a.report), identity::of_run(&b.report));
    type Change = fn(&mut Report);
    let changes: [Change; 4] = [
        |report| report.started_at_unix_ms += 1,
        |report| report.window_started_at_unix_us += 1,
        |report| report.generator.cpu_s += 1e-6,
        |report| report.latency_ns.service.hdr.push('A'),
    ];
    for change in changes {
        let mut other = a.clone();
        change(&mut other.report);
        assert_ne!(identity::of_run(&a.report), identity::of_run(&other.report));
    }
}

#[test]
fn a_merged_result_that_does_not_name_its_runs_is_an_error() {
    let [a, b] = two();
    let c = part("c.json", &[5], &[5]);
    let mut sum = Part { name: "old.json".to_owned(), report: merge(&[a, b]).unwrap() };
    sum.report.merged.as_mut().unwrap().parts.clear();
    assert_eq!(merge(&[sum.clone(), c]).unwrap_err(), MergeError::UnknownRuns("old.json".to_owned()));
    // A single result needs no names.
    assert_eq!(merge(&[sum]).unwrap().merged.unwrap().generators, 2);
}

#[test]
fn plans_of_different_loads_are_an_error_that_names_the_difference() {
    type Change = fn(&mut Report);
    let changes: [(Change, [&str; 2]); 18] = [
        (
            |report| {
                report.plan.r#loop = Loop::Closed;
                report.plan.arrival = None;
            },
            ["an open loop", "a closed loop"],
        ),
        (|report| report.plan.arrival = Some(Arrival::Constant), ["Poisson arrivals", "constant arrivals"]),
        (
            |report| {
                report.plan.stages = vec![StagePlan {
                    stage: "5/2s".to_owned(),
                    from_per_s: 5.0,
                    to_per_s: 5.0,
                    duration_s: 2.0,
                }];
            },
            ["no --stages", "--stages 5/2s"],
        ),
        (
            |report| report.plan.replay_speed = Some(2.0),
            ["no --replay", "a --replay at 2 times the recorded speed"],
        ),
        (
            |report| report.plan.messages = vec!["a".to_owned(), "b".to_owned()],
            ["numbered messages", "--message a --message b"],
        ),
        (
            |report| report.plan.tls = Some(tls_of_plan()),
            ["no TLS", "TLS with resumption on and protocols 'h2,http/1.1', insecure"],
        ),
        (|report| report.plan.duration_s = Some(1.89), ["a --duration of 2s", "a --duration of 1s 890ms"]),
        (|report| report.plan.pipeline = 4, ["a pipeline of 1", "a pipeline of 4"]),
        (|report| report.plan.think_s = Some(0.001), ["a pause of 0s", "a pause of 1ms"]),
        (
            |report| report.plan.requests_per_connection = Some(9),
            ["persistent connections", "9 requests on each connection"],
        ),
        (|report| report.plan.size = 65, ["messages of 64 bytes", "messages of 65 bytes"]),
        (
            |report| report.plan.message = Some("m.bin".to_owned()),
            ["numbered messages", "the messages of m.bin"],
        ),
        (
            |report| report.plan.expect = crate::protocol::expect::Expect::None,
            ["--expect upper", "--expect none"],
        ),
        (|report| report.plan.warmup_s = 1.5, ["a warm-up of 1s", "a warm-up of 1s 500ms"]),
        (|report| report.plan.duration_s = Some(3.0), ["a --duration of 2s", "a --duration of 3s"]),
        (|report| report.plan.duration_s = None, ["a --duration", "no --duration"]),
        (|report| report.plan.requests = Some(5), ["no limit of --requests", "a limit of --requests"]),
        (|report| report.plan.interval_s = 0.5, ["intervals of 1s", "intervals of 500ms"]),
    ];
    for (change, [one, other]) in changes {
        let differ = MergeError::PlansDiffer {
            first: "a.json".to_owned(),
            one: one.to_owned(),
            second: "b.json".to_owned(),
            other: other.to_owned(),
        };
        assert_eq!(error(change), differ);
        let text = differ.to_string();
        assert!(text.contains(&format!("a.json has {one}, b.json has {other};")), "{text}");
    }
}

fn tls_of_plan() -> TlsSummary {
    TlsSummary {
        insecure: true,
        ca: None,
        client_certificate: None,
        name: None,
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        resumption: true,
    }
}

#[test]
fn permitted_differences_of_plans_are_merged() {
    let sum = sum_of(|report| {
        report.plan.targets = vec!["127.0.0.1:40123".to_owned(), "other:1".to_owned()];
        report.plan.threads = 3;
        report.plan.duration_s = Some(2.1);
        report.plan.start_at_unix_ms = Some(5);
        report.plan.connect_rate_per_s = Some(5);
    });
    assert_eq!(sum.plan.targets, ["127.0.0.1:40123", "other:1"]);
    assert_eq!((sum.plan.threads, sum.plan.duration_s), (4, Some(2.1)));
    assert_eq!((sum.plan.start_at_unix_ms, sum.plan.connect_rate_per_s), (None, None));
    let mut started = two();
    started[0].report.plan.start_at_unix_ms = Some(5);
    assert_eq!(merge(&started).unwrap().plan.start_at_unix_ms, None, "the second one had no time");
    // A twentieth is the most by which windows may differ.
    assert_eq!(sum_of(|report| report.plan.duration_s = Some(1.91)).plan.duration_s, Some(2.0));
    let sum = sum_of(|report| {
        report.plan.sources = vec!["127.0.0.2".parse().unwrap()];
        report.plan.abort_on = vec!["p99>5ms/1s".to_owned()];
        report.plan.until = vec!["p99±2%".to_owned()];
    });
    assert_eq!(sum.plan.sources, ["127.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(
        (sum.plan.abort_on, sum.plan.until),
        (vec!["p99>5ms/1s".to_owned()], vec!["p99±2%".to_owned()])
    );
    let mut parts = two();
    for Part { report, .. } in &mut parts {
        report.plan.requests = Some(10);
        report.plan.connect_rate_per_s = Some(5);
        report.plan.start_at_unix_ms = Some(7);
    }
    let plan = merge(&parts).unwrap().plan;
    assert_eq!(
        (plan.requests, plan.connect_rate_per_s, plan.start_at_unix_ms),
        (Some(20), Some(10), Some(7))
    );
}

#[test]
fn results_that_do_not_overlap_or_lack_a_value_are_an_error() {
    assert_eq!(merge(&[]).unwrap_err(), MergeError::Nothing);
    let [first, second] = two();
    let again = Part { name: "c.json".to_owned(), ..first.clone() };
    let twice = merge(&[first, second, again]).unwrap_err().to_string();
    assert!(twice.contains("a.json and c.json are the same run"), "{twice}");
    let apart = error(|report| report.window_started_at_unix_us += 2_500_000);
    let names = ("a.json".to_owned(), "b.json".to_owned(), "500ms".to_owned());
    assert_eq!(apart, MergeError::Apart { first: names.0, second: names.1, gap: names.2 });
    let name = || "b.json".to_owned();
    assert_eq!(error(|report| report.elapsed_s = 0.0), MergeError::NothingMeasured(name()));
    let nonsense = error(|report| report.plan.slo.push("p99".to_owned()));
    assert!(matches!(nonsense, MergeError::Objective { .. }), "{nonsense}");
    type Change = fn(&mut Report);
    let older: [(Change, &'static str); 4] = [
        (|report| report.window_started_at_unix_us = 0, "window_started_at_unix_us"),
        (|report| report.latency_ns.due_to_written = Latency::default(), "latency_ns.due_to_written"),
        (|report| report.fairness.replies_hdr.clear(), "fairness.replies_hdr"),
        (|report| report.intervals[1].hdr.clear(), "intervals.hdr"),
    ];
    for (change, what) in older {
        assert_eq!(error(change), MergeError::Older { name: name(), what });
    }
    let nonsense = error(|report| report.latency_ns.service.hdr = "nonsense".to_owned());
    assert_eq!(nonsense, MergeError::Unusable { name: name(), what: "latency_ns.service" });
}

#[test]
fn impossible_numbers_do_not_cause_a_panic() {
    let mut parts = two();
    for (part, extreme) in parts.iter_mut().zip([f64::MAX, -1.0]) {
        part.report.elapsed_s = f64::MAX;
        part.report.requests.completed = u64::MAX;
        part.report.fairness.replies_sum = u64::MAX;
        part.report.plan.connections = u32::MAX;
        part.report.plan.interval_s = 0.0;
        part.report.plan.think_s = Some(f64::MAX);
        part.report.intervals[0].t_s = extreme;
        let parts = vec![MergedPart { id: extreme.to_string(), ..MergedPart::default() }];
        part.report.merged =
            Some(Merged { generators: usize::MAX, start_skew_ns: u64::MAX, parts, ..Merged::default() });
        part.report.generator.cpu_s = extreme;
    }
    let sum = merge(&parts).unwrap();
    assert_eq!((sum.requests.completed, sum.plan.connections), (u64::MAX, u32::MAX));
}

#[test]
fn a_server_is_kept_if_it_is_the_only_one_and_all_generators_loaded_it() {
    let server = || example().server;
    let sum = sum_of(|report| report.server = server());
    let kept = sum.server.clone().unwrap();
    // The server used 0.03 s for 80 replies to one generator and 40 to the other.
    assert_eq!(kept.cpu_ns_per_request, Some(0.03e9 / 120.0));
    assert_eq!(kept.context_switches_per_request, Some(0.5 * 40.0 / 120.0));
    let is_left_out = |sum: &Report| is_noted(sum, "the costs of the server");
    assert!(!is_left_out(&sum) && !is_left_out(&merge(&two()).unwrap()));
    let elsewhere = sum_of(|report| {
        report.server = server();
        report.plan.targets = vec!["127.0.0.1:5".to_owned()];
    });
    assert!(elsewhere.server.is_none() && is_noted(&elsewhere, "not all generators have it"));
    let mut both = two();
    both.iter_mut().for_each(|part| part.report.server = server());
    let both = merge(&both).unwrap();
    assert!(both.server.is_none() && is_noted(&both, "a.json, b.json had one each"), "{:?}", both.notes);
}

#[test]
fn a_value_that_cannot_be_added_is_left_out_with_a_note() {
    let sum = sum_of(|report| {
        let latency = report.latency_ns.service.clone();
        report.calibration = Some(Calibration {
            verdict: report.verdict.clone(),
            offered_per_s: None,
            achieved_per_s: 1.0,
            response: latency.clone(),
            service: latency.clone(),
            floor: Vec::new(),
        });
        report.latency_ns.written_to_ready = Some(latency.clone());
        report.latency_ns.ready_to_read = Some(latency);
        report.environment.kernel = "5.11.0".to_owned();
    });
    assert_eq!((&sum.calibration, &sum.latency_ns.written_to_ready), (&None, &None));
    assert_eq!(sum.environment.kernel, example().environment.kernel);
    for text in
        ["calibration of b.json", "time stamps of b.json", "that of a.json; b.json is from another machine"]
    {
        assert!(is_noted(&sum, text), "{text}: {:?}", sum.notes);
    }
    let mut stamped = two();
    for Part { report, .. } in &mut stamped {
        report.latency_ns.written_to_ready = Some(report.latency_ns.service.clone());
    }
    let stamped = merge(&stamped).unwrap();
    assert_eq!(stamped.latency_ns.written_to_ready, Some(stamped.latency_ns.service.clone()));
    assert!(!is_noted(&stamped, "time stamps"));
}

#[test]
fn generators_of_one_machine_keep_what_they_have_in_common() {
    let clock = |max_error_ns| Some(ClockQuality { synchronised: true, max_error_ns: Some(max_error_ns) });
    let division = |server| Some(Division { server: vec![server], load: vec![1 - server] });
    let environment = |first: [Option<&str>; 2], divisions: [usize; 2]| {
        let mut parts = two();
        for (index, Part { report, .. }) in parts.iter_mut().enumerate() {
            let environment = &mut report.environment;
            environment.boot_id = first[index].map(str::to_owned);
            environment.clock = clock(index as u64);
            environment.division = division(divisions[index]);
            environment.open_files_limit = 900 - index as u64;
        }
        let sum = merge(&parts).unwrap();
        // What differs is no property of the machine.
        assert!(!is_noted(&sum, "another machine"), "{:?}", sum.notes);
        assert_eq!(sum.environment.open_files_limit, 899);
        (sum.environment.boot_id, sum.environment.clock, sum.environment.division)
    };
    let boot = Some("boot".to_owned());
    assert_eq!(environment([Some("boot"); 2], [0, 0]), (boot.clone(), clock(0), division(0)));
    assert_eq!(environment([Some("boot"); 2], [0, 1]), (boot, clock(0), None));
    assert_eq!(environment([Some("boot"), Some("other")], [0, 0]), (None, None, division(0)));
}

#[test]
fn notes_name_the_parts_that_they_belong_to() {
    let mut parts = two();
    parts[0].report.notes = vec!["one".to_owned(), "both".to_owned()];
    parts[1].report.notes = vec!["both".to_owned()];
    parts[1].report.first_mismatch =
        Some(Mismatch { client: 1, request: 2, offset: 3, expected: "A".to_owned(), got: "B".to_owned() });
    let sum = merge(&parts).unwrap();
    assert_eq!(sum.notes[..2], ["a.json: one", "a.json, b.json: both"]);
    assert_eq!(sum.first_mismatch.as_ref().map(|mismatch| mismatch.offset), Some(3));
    assert!(is_noted(&sum, "that of b.json"));
    assert!(!is_noted(&sum, "--seed") && !is_noted(&sum, "Jain") && !is_noted(&sum, "windows were"));
}

#[test]
fn dependent_or_different_generators_are_noted() {
    let seed = two()[0].report.plan.seed;
    assert!(is_noted(&sum_of(|report| report.plan.seed = seed), "a.json and b.json have the same --seed"));
    let mut constant = two();
    for Part { report, .. } in &mut constant {
        report.plan.arrival = Some(Arrival::Constant);
        report.plan.seed = 1;
    }
    assert!(!is_noted(&merge(&constant).unwrap(), "--seed"));
    let uneven = sum_of(|report| report.plan.rate_per_s = Some(400.0));
    assert!(is_noted(&uneven, "20.000 to 200.000 requests per second"), "{:?}", uneven.notes);
    let shorter = sum_of(|report| report.elapsed_s = 1.0);
    assert!(is_noted(&shorter, "windows were from 1.00 s to 2.00 s long"), "{:?}", shorter.notes);
    // A twentieth needs no note.
    assert!(!is_noted(&sum_of(|report| report.elapsed_s = 1.91), "windows were"));
    assert!(!is_noted(&sum_of(|report| report.plan.rate_per_s = Some(38.0)), "Jain"));
}

#[test]
fn a_single_result_has_no_notes_on_several() {
    let [mut one, _] = two();
    one.report.plan.stages =
        vec![StagePlan { stage: "5/2s".to_owned(), from_per_s: 5.0, to_per_s: 5.0, duration_s: 2.0 }];
    one.report.first_mismatch =
        Some(Mismatch { client: 1, request: 2, offset: 3, expected: "A".to_owned(), got: "B".to_owned() });
    assert_eq!(merge(std::slice::from_ref(&one)).unwrap().notes, [""; 0]);
    // The stages of parts are written with the rates of the whole load; without stages there is nothing to say.
    let mut parts = shares(&[0, 1]);
    for part in &mut parts {
        part.report.plan.stages = one.report.plan.stages.clone();
    }
    assert!(!is_noted(&merge(&parts).unwrap(), "--stages"));
    assert!(!is_noted(&merge(&two()).unwrap(), "--stages"));
    parts[1].report.plan.part = None;
    parts[0].report.plan.part = None;
    assert!(is_noted(&merge(&parts).unwrap(), "the rates of --stages are those of one generator"));
}

#[test]
fn a_stage_is_as_long_as_that_of_the_generator_that_went_on_for_longest() {
    let mut parts = two();
    for (Part { report, .. }, length_s) in parts.iter_mut().zip([0.5, 1.5]) {
        report.stages = vec![Stage {
            number: 1,
            stage: "5/2s".to_owned(),
            t_s: 0.0,
            length_s,
            offered_per_s: 5.0,
            outcomes: Outcomes {
                achieved_per_s: 5.0,
                due: 0,
                completed: 0,
                failed: 0,
                unsent: 0,
                cut_off: 0,
                errors: BTreeMap::new(),
                response_ns: summary::latency(&latency::Latency::default()),
            },
        }];
    }
    assert_eq!(merge(&parts).unwrap().stages[0].length_s, 1.5);
}

#[test]
fn the_objectives_of_all_parts_apply_to_the_sum() {
    let [mut first, mut second] = two();
    for part in [&mut first, &mut second] {
        // Two rates of 1,000 per second add to 2,000.
        part.report.plan.slo = vec!["rate>=1500".to_owned()];
    }
    second.report.plan.slo.push("p50<1ns".to_owned());
    let sum = merge(&[first, second]).unwrap();
    let outcomes: Vec<_> = sum.slo.iter().map(|slo| (slo.slo.as_str(), slo.met)).collect();
    assert_eq!(outcomes, [("rate>=1500", true), ("p50<1ns", false)]);
    assert_eq!(sum.plan.slo, ["rate>=1500", "p50<1ns"]);
}

#[test]
fn the_same_stages_are_added_and_different_ones_are_refused() {
    let with_stages = |report: &mut Report, written: &str, time_ns: u64| {
        report.plan.stages = vec![StagePlan {
            stage: written.to_owned(),
            from_per_s: 500.0,
            to_per_s: 2_000.0,
            duration_s: 2.0,
        }];
        let samples = latency::Latency::from_iter([time_ns, time_ns]);
        report.stages = vec![Stage {
            number: 1,
            stage: written.to_owned(),
            t_s: 0.0,
            length_s: 2.0,
            offered_per_s: 1_000.0,
            outcomes: Outcomes {
                achieved_per_s: 900.0,
                due: 3,
                completed: 2,
                failed: 1,
                unsent: 0,
                cut_off: 0,
                errors: BTreeMap::from([("timeout".to_owned(), 1)]),
                response_ns: summary::distribution(
                    samples.histogram(),
                    Unanswered { count: 1, waited_ns_min: 5 },
                ),
            },
        }];
    };
    let mut parts = two();
    with_stages(&mut parts[0].report, "500..2k/2s", 1_000);
    with_stages(&mut parts[1].report, "500..2k/2s", 3_000_000);
    let sum = merge(&parts).unwrap();
    let Stage { stage, offered_per_s, outcomes, .. } = &sum.stages[0];
    assert_eq!((stage.as_str(), *offered_per_s, outcomes.achieved_per_s), ("500..2k/2s", 2_000.0, 1_800.0));
    assert_eq!((outcomes.due, outcomes.completed, outcomes.failed), (6, 4, 2));
    assert_eq!((outcomes.errors["timeout"], outcomes.response_ns.count), (2, 6));
    assert_eq!(outcomes.response_ns.failed_tail.as_ref().map(|tail| tail.count), Some(2));
    let StagePlan { from_per_s, to_per_s, .. } = sum.plan.stages[0];
    assert_eq!((from_per_s, to_per_s, sum.stages.len()), (1_000.0, 4_000.0, 1));
    assert!(is_noted(&sum, "the rates of --stages are those of one generator"));
    with_stages(&mut parts[1].report, "500..2k/3s", 1_000);
    let error = merge(&parts).unwrap_err().to_string();
    assert!(error.contains("--stages 500..2k/2s") && error.contains("--stages 500..2k/3s"), "{error}");
}

#[test]
fn the_same_kinds_of_requests_are_added_and_others_are_refused() {
    let kind = |name: &str, times_ns: &[u64], unsent| Kind {
        kind: name.to_owned(),
        outcomes: Outcomes {
            achieved_per_s: 10.0,
            due: times_ns.len() as u64 + 3 * unsent,
            completed: times_ns.len() as u64,
            failed: 2 * unsent,
            unsent,
            cut_off: unsent,
            errors: BTreeMap::from([("unsent".to_owned(), unsent)]),
            response_ns: summary::distribution(
                latency::Latency::from_iter(times_ns.iter().copied()).histogram(),
                Unanswered { count: 3 * unsent, waited_ns_min: 9 },
            ),
        },
    };
    // The rates of both generators are added, too.
    let twice = |name, times_ns: &[u64], unsent| Outcomes {
        achieved_per_s: 20.0,
        ..kind(name, times_ns, unsent).outcomes
    };
    let mut parts = two();
    parts[0].report.kinds = vec![kind("get", &[100, 200], 1), kind("set", &[700], 0)];
    parts[1].report.kinds = vec![kind("get", &[300], 2), kind("set", &[800, 900], 0)];
    let sum = merge(&parts).unwrap();
    let [get, set] = sum.kinds.as_slice() else { panic!("{:?}", sum.kinds) };
    assert_eq!((get.kind.as_str(), &get.outcomes), ("get", &twice("get", &[100, 200, 300], 3)));
    assert_eq!((set.kind.as_str(), &set.outcomes), ("set", &twice("set", &[700, 800, 900], 0)));
    parts[1].report.kinds.truncate(1);
    let error = merge(&parts).unwrap_err().to_string();
    assert!(error.contains("the kinds get, set") && error.contains("the kinds get"), "{error}");
    parts[1].report.kinds.clear();
    let error = merge(&parts).unwrap_err().to_string();
    assert!(error.contains("one kind of request"), "{error}");
}

/// The share of a load of four parts.
fn share(number: u32) -> PartShare {
    PartShare { number, of: 4, connections: 10, rate_per_s: Some(160.0), requests: None }
}

/// These parts of a load of four.
fn shares(numbers: &[u32]) -> Vec<Part> {
    let part = |number: &u32| {
        let mut part = part(&format!("{number}.json"), &[u64::from(*number) + 1], &[3, 3]);
        part.report.plan.part = Some(share(*number));
        part.report.plan.seed = 1;
        part.report.environment.boot_id = Some(format!("boot of {number}"));
        part.report.environment.clock = Some(ClockQuality { synchronised: true, max_error_ns: Some(5) });
        part
    };
    numbers.iter().map(part).collect()
}

fn codes(report: &Report) -> Vec<&str> {
    report.verdict.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn all_parts_of_a_load_are_the_whole_and_stand_in_the_order_of_their_numbers() {
    let sum = merge(&shares(&[2, 0, 3, 1])).unwrap();
    let merged = sum.merged.as_ref().unwrap();
    assert_eq!((merged.expected, merged.missing.as_slice(), &sum.plan.part), (Some(4), &[][..], &None));
    let parts: Vec<_> = merged.parts.iter().map(|part| part.part).collect();
    assert_eq!(parts, [Some(0), Some(1), Some(2), Some(3)]);
    let clock = Some(ClockQuality { synchronised: true, max_error_ns: Some(5) });
    assert_eq!((merged.parts[3].boot_id.as_deref(), merged.parts[3].clock), (Some("boot of 3"), clock));
    assert_eq!((&sum.environment.boot_id, sum.environment.clock), (&None, None));
    assert!(!codes(&sum).contains(&"missing_parts"));
    assert!(!is_noted(&sum, "--seed") && !is_noted(&sum, "another machine"), "{:?}", sum.notes);
}

#[test]
fn missing_parts_make_the_verdict_invalid_and_can_be_added_later() {
    let sum = merge(&shares(&[3, 1])).unwrap();
    assert_eq!((sum.verdict.status, codes(&sum)[0]), (Status::Invalid, "missing_parts"));
    let merged = sum.merged.as_ref().unwrap();
    assert_eq!((merged.expected, merged.missing.as_slice()), (Some(4), &[0, 2][..]));
    let rest = Part { name: "rest".to_owned(), report: merge(&shares(&[0, 2])).unwrap() };
    let some = Part { name: "some".to_owned(), report: sum };
    let in_steps = merge(&[some.clone(), rest]).unwrap();
    let at_once = merge(&shares(&[0, 1, 2, 3])).unwrap();
    assert_eq!(in_steps.latency_ns, at_once.latency_ns);
    assert_eq!((&in_steps.plan.part, in_steps.merged.unwrap().expected), (&None, Some(4)));
    let twice = merge(&[some, shares(&[1]).remove(0)]).unwrap_err();
    assert!(matches!(twice, MergeError::Twice { .. }), "{twice}");
}

#[test]
fn the_user_may_say_how_many_parts_there_are() {
    let expecting = |parts: &[Part], number| {
        merge_expecting(parts, &Expectations { parts: Some(number), ..Expectations::default() })
    };
    let some = expecting(&two(), 3).unwrap();
    let merged = some.merged.as_ref().unwrap();
    assert_eq!((merged.expected, merged.missing.as_slice()), (Some(3), &[][..]));
    assert_eq!(codes(&some)[0], "missing_parts");
    // The third result completes it.
    let both = [Part { name: "ab".to_owned(), report: some }, part("c", &[5], &[5])];
    let all = merge(&both).unwrap();
    assert_eq!(
        (all.merged.as_ref().unwrap().expected, codes(&all).contains(&"missing_parts")),
        (Some(3), false)
    );
    assert_eq!(codes(&expecting(&two(), 2).unwrap()), codes(&merge(&two()).unwrap()));
    assert_eq!(expecting(&two(), 1).unwrap_err(), MergeError::TooMany { generators: 2, expected: 1 });
    let other = MergeError::OtherNumber { expected: 3, of: 4 };
    assert_eq!(expecting(&shares(&[0, 1]), 3).unwrap_err(), other);
}

#[test]
fn parts_of_different_loads_are_not_added() {
    type Change = fn(&mut Report);
    let whole = "a --part of 4 with 10 clients in the whole, 160 requests per second";
    let changes: [(Change, &str); 4] = [
        (|report| report.plan.part = None, "no --part"),
        (
            |report| report.plan.part = Some(PartShare { of: 5, ..share(1) }),
            "a --part of 5 with 10 clients in the whole, 160 requests per second",
        ),
        (
            |report| report.plan.part = Some(PartShare { rate_per_s: None, ..share(1) }),
            "a --part of 4 with 10 clients in the whole",
        ),
        (
            |report| report.plan.part = Some(PartShare { connections: 11, requests: Some(9), ..share(1) }),
            "a --part of 4 with 11 clients in the whole, 160 requests per second, 9 requests",
        ),
    ];
    for (change, other) in changes {
        let mut parts = shares(&[0, 1]);
        change(&mut parts[1].report);
        let expected = MergeError::PlansDiffer {
            first: "0.json".to_owned(),
            one: whole.to_owned(),
            second: "1.json".to_owned(),
            other: other.to_owned(),
        };
        assert_eq!(merge(&parts).unwrap_err(), expected);
    }
    let mut twins = shares(&[0, 1, 1]);
    twins[2].name = "again.json".to_owned();
    twins[2].report.started_at_unix_ms += 1;
    let error = merge(&twins).unwrap_err().to_string();
    assert!(error.contains("1.json and again.json are both part 1"), "{error}");
}

#[test]
fn further_objectives_apply_to_the_sum_once() {
    let [mut first, second] = two();
    first.report.plan.slo = vec!["rate>=1500".to_owned()];
    let slo = ["rate>=1500", "p50<1ns"].map(|text| text.parse().unwrap()).to_vec();
    let sum = merge_expecting(&[first, second], &Expectations { slo, ..Expectations::default() }).unwrap();
    let outcomes: Vec<_> = sum.slo.iter().map(|slo| (slo.slo.as_str(), slo.met)).collect();
    assert_eq!(outcomes, [("rate>=1500", true), ("p50<1ns", false)]);
}

#[test]
fn notes_of_many_parts_are_counted() {
    let mut parts: Vec<_> = (0..9).map(|number| part(&number.to_string(), &[number + 1], &[1])).collect();
    for part in &mut parts {
        part.report.notes = vec!["of all".to_owned()];
    }
    for part in &mut parts[2..8] {
        part.report.notes.push("of some".to_owned());
    }
    let sum = merge(&parts).unwrap();
    assert_eq!(sum.notes[..2], ["all 9 results: of all", "2, 3, 4, 5 and 2 others: of some"]);
}

#[test]
fn little_is_kept_of_a_part() {
    let mut large = part("large", &(0..5_000).map(|number| number * number).collect::<Vec<_>>(), &[1; 100]);
    let interval = large.report.intervals[0].clone();
    large.report.intervals =
        (0..2_000).map(|index| Interval { t_s: f64::from(index), ..interval.clone() }).collect();
    large.report.calibration = Some(Calibration {
        verdict: large.report.verdict.clone(),
        offered_per_s: None,
        achieved_per_s: 1.0,
        response: large.report.latency_ns.service.clone(),
        service: large.report.latency_ns.service.clone(),
        floor: vec![Floor { percentile: "p50".to_owned(), response_ns: None, floor_ns: None, share: None }],
    });
    assert!(serde_json::to_string(&large.report).unwrap().len() > 1_000_000);
    let mut sum = Sum::default();
    sum.add(large.name, large.report).unwrap();
    let kept = &sum.parts()[0].report;
    assert!(kept.response_histogram.is_empty() && kept.intervals.is_empty());
    let calibration = kept.calibration.as_ref().unwrap();
    assert!(calibration.response.hdr.is_empty() && calibration.floor.is_empty());
    let kept = serde_json::to_string(kept).unwrap();
    assert!(kept.len() < 6_000, "{} bytes: {kept}", kept.len());
}

#[test]
fn requests_without_a_reply_are_slower_than_all_others_in_the_sum() {
    let mut parts = two();
    for (Part { report, .. }, waited_ns_min) in parts.iter_mut().zip([9_000_000, 7_000_000]) {
        let times = summary::deserialise(&report.latency_ns.response.hdr).unwrap();
        report.latency_ns.response = summary::distribution(&times, Unanswered { count: 2, waited_ns_min });
    }
    let sum = merge(&parts).unwrap();
    let tail = sum.latency_ns.response.failed_tail.unwrap();
    assert_eq!((tail.count, tail.longer_than_ns, sum.latency_ns.response.count), (4, 7_000_000, 7));
    assert_eq!(sum.latency_ns.successful.count, 3);
}

#[test]
fn results_of_one_file_are_named_by_their_lines() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for Part { report, .. } in two() {
        crate::format::json::write_line(&Document::Run(Box::new(report)), &mut file.as_file()).unwrap();
    }
    let files = [file.path().to_owned()];
    let sum = super::merge(MergeRequest { files: &files, expected: None, slo: &[] }).unwrap();
    let names: Vec<_> = sum.merged.unwrap().parts.into_iter().map(|part| part.name).collect();
    assert_eq!(names, [1, 2].map(|line| format!("{}:{line}", file.path().display())));
}

/// A part whose window began so much later than that of the earliest possible part, and how it was done before parts were added
/// one at a time: all intervals at hand.
fn intervals_at_once(parts: &[Part]) -> Vec<Interval> {
    let origin_us = parts.iter().map(|part| part.report.window_started_at_unix_us).min().unwrap();
    let mut grid: BTreeMap<u64, Vec<&Interval>> = BTreeMap::new();
    for Part { report, .. } in parts {
        let shift = ((report.window_started_at_unix_us - origin_us) as f64 / 1e6).round();
        for interval in &report.intervals {
            grid.entry((shift + interval.t_s.round()) as u64).or_default().push(interval);
        }
    }
    let sum = |(index, parts): (u64, Vec<&Interval>)| {
        let response = summary::sum(parts.iter().map(|interval| interval.hdr.as_str())).unwrap();
        let unanswered = parts.iter().map(|interval| Unanswered::of_interval(interval));
        let achieved_per_s = parts.iter().map(|interval| interval.achieved_per_s).sum();
        let unanswered = unanswered.fold(Unanswered::default(), Unanswered::and);
        summary::interval(index as f64, achieved_per_s, &response, unanswered)
    };
    grid.into_iter().map(sum).collect()
}

/// Without what names a part, or is that of the first part.
fn without_order(report: Report) -> Report {
    let mut report = Report { notes: Vec::new(), ..report };
    report.plan.seed = 0;
    if let Some(merged) = &mut report.merged {
        merged.parts.sort_by(|one, other| one.id.cmp(&other.id));
    }
    report
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn the_sum_is_the_same_in_any_order(
        (parts, shuffled, step_us) in prop::sample::select(vec![15_625_u64, 15_623])
            .prop_flat_map(|step_us| {
                let times = prop::collection::vec(1_u64..1_000_000_000, 1..40);
                let parts = prop::collection::vec((times, 0_u64..127, 1_u64..90), 2..6);
                (parts, Just(step_us))
            })
            .prop_map(|(parts, step_us)| {
                let each = parts.into_iter().enumerate().map(|(number, (times, offset, replies))| {
                    let mut part = part(&number.to_string(), &times, &[replies, replies + 1]);
                    part.report.window_started_at_unix_us += offset * step_us;
                    part
                });
                (each.collect::<Vec<_>>(), step_us)
            })
            .prop_flat_map(|(parts, step_us)| (Just(parts.clone()), Just(parts).prop_shuffle(), Just(step_us)))
    ) {
        let (one, other) = (merge(&parts).unwrap(), merge(&shuffled).unwrap());
        // Each start is the first of its phase, so the grid is exact.
        if step_us == 15_625 {
            prop_assert_eq!(&one.intervals, &intervals_at_once(&parts));
        }
        let completed: u64 = one.intervals.iter().map(|interval| interval.completed).sum();
        prop_assert_eq!(completed, 2 * one.latency_ns.successful.count);
        let whole = summary::sum(parts.iter().map(|part| part.report.latency_ns.response.hdr.as_str())).unwrap();
        prop_assert_eq!(&one.latency_ns.successful.hdr, &summary::serialise(&whole));
        prop_assert_eq!(without_order(one), without_order(other));
    }
}
