use std::time::Duration;

use super::*;
use crate::{
    engine::{failure::Failure, pauses::Pause, probes::MachineProbe, slice::Slice},
    load::{
        request::{Request, tests::request},
        schedule::Arrival,
        start_at,
    },
    result::{self, CLOSED_LOOP, Network, PlanSummary, Report, Server, setting::Setting, tests::example},
    subject::server_process::{
        Identity,
        usage::{Reading, Usage},
    },
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// An open loop of two threads with 10 requests per second.
fn plan() -> Plan {
    let request = Request {
        connections: 5,
        threads: Some(2),
        rate: Some("10".parse().unwrap()),
        arrival: Some(Arrival::Constant),
        ..request()
    };
    request.plan(4).unwrap()
}

/// This number of replies after 10 ms.
fn replies(count: u64) -> Recording {
    let mut recording = Recording::default();
    for _ in 0..count {
        recording.response.record(10 * MS);
        recording.service.record(2 * MS);
    }
    recording.counts.completed = count;
    recording.counts.replies_in_window = count;
    recording
}

fn served(replies: u64, completed: u64, was_owed: bool, silence_ms: u64) -> Served {
    Served { replies, was_owed, completed, silence_ns_max: silence_ms * MS }
}

fn first_ended() -> Ended {
    Ended {
        intervals: 2,
        tail: Box::default(),
        clients: vec![served(20, 20, true, 5), served(0, 0, true, 7)],
        longest_stall: Stall { from_ns: 1_100 * MS, to_ns: 1_400 * MS },
        usage: ThreadProbe {
            cpu_ns: 1_500 * MS,
            polled_in_vain_ns: 0,
            waited_ns: Some(100 * MS),
            preemptions: Some(10),
        },
        retransmissions: 1,
        window_ended_ns: 3 * SECOND,
        ended_ns: 3_500 * MS,
        pauses: Pauses {
            count: 3,
            total_ns: 60 * MS,
            longest: vec![Pause { from_ns: 1_500 * MS, to_ns: 1_520 * MS }],
            last: Pause::default(),
        },
        server_is_gone: true,
        last_reply_ns: 2_900 * MS,
        mismatch: None,
        unexpected: None,
        tls: TlsFacts::default(),
    }
}

/// The second thread has ended half a second before the window did.
fn second_ended() -> Ended {
    let mut tail = replies(3);
    tail.counts.replies_in_window = 0;
    (tail.counts.failed, tail.counts.unsent, tail.counts.cut_off) = (1, 2, 1);
    tail.failures.add(Failure::Timeout, 1);
    tail.failures.add(Failure::Unsent, 2);
    Ended {
        intervals: 1,
        tail: Box::new(tail),
        clients: vec![served(12, 15, true, 3), served(0, 0, false, 0), served(0, 1, true, 1)],
        longest_stall: Stall { from_ns: 1_200 * MS, to_ns: 1_500 * MS },
        usage: ThreadProbe {
            cpu_ns: 750 * MS,
            polled_in_vain_ns: 0,
            waited_ns: Some(375 * MS),
            preemptions: Some(30),
        },
        window_ended_ns: 2_500 * MS,
        ended_ns: 3_200 * MS,
        pauses: Pauses {
            count: 2,
            total_ns: 30 * MS,
            longest: vec![Pause { from_ns: 1_200 * MS, to_ns: 1_225 * MS }],
            last: Pause::default(),
        },
        server_is_gone: false,
        last_reply_ns: 2_400 * MS,
        ..first_ended()
    }
}

fn cost(cpu_ms: u64, server: Option<Usage>, machine: MachineProbe) -> Cost {
    let quotas = crate::engine::cpu_quota::CpuQuotas::default();
    Cost { generator_cpu_ns: cpu_ms * MS, server: server.map(Reading::Known), machine, quotas }
}

fn probe(stolen: (u64, u64), retransmissions: u64, listen_overflows: u64) -> MachineProbe {
    MachineProbe {
        stolen: Some(stolen),
        retransmissions: Some(retransmissions),
        listen_overflows: Some(listen_overflows),
    }
}

/// A closed tally of a window from 1 s to 3 s.
fn tally(plan: &Plan) -> Tally {
    let mut tally = Tally::new(plan, 20);
    tally.begin(Window { start_ns: SECOND, end_ns: 3 * SECOND }, UNIX_EPOCH + Duration::from_secs(5));
    let mut of_second = replies(12);
    of_second.counts.failed = 2;
    of_second.counts.give_up(500 * MS);
    (of_second.counts.connections_lost, of_second.counts.in_pauses) = (2, 6);
    of_second.failures.add(Failure::Timeout, 2);
    of_second.failures_before_window.add(Failure::ConnectRefused, 4);
    (0..6).for_each(|_| of_second.connect.record(MS));
    of_second.connect.record(u64::MAX);
    tally.add_interval(0, 2 * SECOND, &replies(10));
    assert!(tally.finished_intervals().is_empty(), "the second thread has not reported it");
    tally.add_interval(0, 2_100 * MS, &of_second);
    let finished = tally.finished_intervals();
    let [(interval, failures)] = finished.as_slice() else { panic!("{finished:?}") };
    assert_eq!((interval.t_s, interval.completed, interval.failed), (0.0, 22, 2));
    // The interval ended with its last thread, after 1.1 s.
    assert!((interval.achieved_per_s - 20.0).abs() < 1e-9, "{}", interval.achieved_per_s);
    assert_eq!((failures.get(Failure::Timeout), failures.sum()), (2, 2));
    assert!(tally.finished_intervals().is_empty(), "each interval is returned once");
    tally.add_interval(1, 3 * SECOND, &replies(10));
    assert!(tally.finished_intervals().is_empty(), "the second thread has not ended");
    tally.add_ended(second_ended());
    let finished = tally.finished_intervals();
    let [(interval, _)] = finished.as_slice() else { panic!("{finished:?}") };
    assert_eq!((interval.t_s, interval.completed, interval.achieved_per_s), (1.0, 10, 10.0));
    assert_eq!(tally.total().counts.completed, 32);
    tally.add_ended(first_ended());
    tally.close();
    tally
}

fn report_of(tally: Tally, plan: &Plan, server: bool) -> Report {
    let identity = Identity { mode: Some("event-loop"), threads: Some(1), work: None };
    let setting = Setting {
        targets: Vec::new(),
        server: server.then_some(identity),
        environment: example().environment,
        plan: PlanSummary::of(plan, &[]),
        started_at_unix_ms: 1,
        machine_at_start: probe((0, 0), 100, 7),
    };
    tally.into_report(plan, setting, false)
}

#[test]
fn the_recordings_of_all_threads_add_up_to_the_report() {
    let plan = plan();
    let mut tally = tally(&plan);
    tally.set_late_start(7 * MS);
    let usage = |cpu_ms, context_switches| Usage {
        cpu_ns: cpu_ms * MS,
        context_switches,
        rss_bytes: 5 << 20,
        pss_bytes: None,
    };
    let before = cost(1_000, Some(usage(100, 10)), probe((0, 100), 5_000, 9));
    tally.set_cost(before, cost(1_640, Some(usage(420, 74)), probe((10, 200), 5_003, 12)));
    let report = report_of(tally, &plan, true);
    assert_eq!((report.elapsed_s, report.late_start_ns), (2.0, 7 * MS));
    assert_eq!(report.window_started_at_unix_us, 5_000_000);
    assert_eq!(report.rate.achieved_per_s, 16.0);
    let requests = report.requests;
    assert_eq!([requests.due, requests.sent, requests.completed], [41, 39, 35]);
    assert_eq!([requests.failed, requests.unsent, requests.cut_off], [5, 2, 1]);
    assert_eq!([requests.completed_after_window, requests.replies_in_window, requests.verified], [3, 32, 35]);
    assert_eq!(requests.unanswered(), 6);
    assert_eq!((report.tail.length_s, report.tail.completed, report.tail.failed), (0.5, 3, 3));
    let failed: Vec<_> = report.errors.iter().filter(|(_, count)| **count > 0).collect();
    assert_eq!(failed, [(&"timeout".to_owned(), &3), (&"unsent".to_owned(), &2)]);
    assert_eq!(report.errors.len(), Failure::COUNT);
    assert_eq!(report.errors_before_window["connect_refused"], 4);
    assert_eq!((report.connections.established, report.connections.lost), (7, 2));
    let latency = &report.latency_ns;
    assert_eq!((latency.response.count, latency.successful.count, latency.service.count), (41, 35, 35));
    assert!(latency.schedule_lag.is_some() && latency.ready_to_read.is_none());
    let Server { mode, cpu_s, cpu_ns_per_request, context_switches_per_request, .. } = report.server.unwrap();
    assert_eq!((mode.as_deref(), cpu_s, cpu_ns_per_request), (Some("event-loop"), 0.32, Some(1e7)));
    assert_eq!(context_switches_per_request, Some(2.0));
    assert!(!report.server_ended_early);
    assert_eq!(report.server_gone_at_ns, None, "one thread has still a server");
    let network = Network { client_retransmissions: 2, retransmissions: 3, listen_overflows: 5 };
    assert_eq!(report.network, Some(network));
}

#[test]
fn fairness_covers_the_clients_of_all_threads_and_the_stall_that_they_have_in_common() {
    let plan = plan();
    let fairness = report_of(tally(&plan), &plan, false).fairness;
    assert_eq!([fairness.clients, fairness.asked, fairness.starved, fairness.served], [5, 4, 1, 2]);
    assert_eq!((fairness.requests_min, fairness.requests_max), (0, 20));
    assert_eq!((fairness.replies_sum, fairness.replies_sum_of_squares), (32, 544.0));
    assert_eq!((fairness.longest_stall_ns, fairness.longest_stall_at_ns), (200 * MS, Some(200 * MS)));
    assert_eq!(fairness.longest_silence_ns, 7 * MS);
    // 16 replies per second, each after 10 ms, of which the server took 2 ms.
    assert!((fairness.effective_concurrency.unwrap() - 0.16).abs() < 1e-3);
    assert!((fairness.service_concurrency.unwrap() - 0.032).abs() < 1e-3);
    let mut empty = Tally::new(&plan, 20);
    empty.begin(Window { start_ns: SECOND, end_ns: 3 * SECOND }, UNIX_EPOCH);
    empty.close();
    let fairness = report_of(empty, &plan, false).fairness;
    assert_eq!((fairness.longest_stall_ns, fairness.longest_stall_at_ns), (0, None));
    assert_eq!((fairness.effective_concurrency, fairness.service_concurrency), (None, None));
}

#[test]
fn the_generators_figures_are_those_of_its_busiest_thread() {
    let plan = plan();
    let mut tally = tally(&plan);
    let unknown = MachineProbe::default();
    tally.set_cost(cost(1_000, None, unknown), cost(1_640, None, unknown));
    let report = report_of(tally, &plan, true);
    assert!(report.server_ended_early, "it has no usage at the end");
    assert_eq!((report.network, report.server), (None, None));
    let generator = report.generator;
    assert_eq!((generator.cpu_s, generator.cpu_ns_per_request), (0.64, Some(2e7)));
    assert_eq!(generator.busiest_thread_share, 0.75);
    assert!((generator.idle_share_min.unwrap() - 0.2).abs() < 1e-9, "{:?}", generator.idle_share_min);
    assert_eq!((generator.cpu_wait_share_max, generator.preemptions_per_s_max), (Some(0.25), Some(20.0)));
    assert_eq!((generator.steal_share, generator.clock_step_ns), (None, 20));
    let pauses = generator.pauses;
    assert_eq!((pauses.count, pauses.total_ns_max, pauses.requests), (5, 60 * MS, 6));
    let longest: Vec<_> = pauses.longest.iter().map(|pause| (pause.t_s, pause.length_ns)).collect();
    assert_eq!(longest, [(0.2, 25 * MS), (0.5, 20 * MS)]);
    // Without a time, nothing is known.
    let unmeasured = report_of(self::tally(&plan), &plan, false);
    assert_eq!((unmeasured.generator.cpu_s, unmeasured.generator.cpu_ns_per_request), (0.0, None));
    assert!(!unmeasured.server_ended_early);
}

#[test]
fn a_server_is_gone_when_all_threads_have_lost_it() {
    let plan = plan();
    let mut tally = Tally::new(&plan, 20);
    tally.begin(Window { start_ns: SECOND, end_ns: 3 * SECOND }, UNIX_EPOCH);
    for mut ended in [first_ended(), second_ended()] {
        ended.server_is_gone = true;
        tally.add_ended(ended);
    }
    tally.close();
    assert_eq!(report_of(tally, &plan, false).server_gone_at_ns, Some(1_900 * MS));
}

#[test]
fn the_report_says_when_the_load_ended_early_and_when_gathering_took_its_time() {
    let plan = plan();
    let mut tally = tally(&plan);
    assert_eq!(tally.blocks().precision(1.0), None, "there are two intervals only");
    let aborted = Aborted { condition: "p99>5ms".to_owned(), at_s: 1.0, value: None, message: String::new() };
    tally.set_aborted(aborted.clone());
    tally.gathered_in_turn_from(1_500 * MS);
    let report = report_of(tally, &plan, false);
    assert_eq!(report.aborted, Some(aborted));
    assert!(report.notes[0].starts_with("from 500 ms on, gathering the intervals"), "{:?}", report.notes);
    let mut late = self::tally(&plan);
    late.gathered_in_turn_from(3 * SECOND);
    let notes = report_of(late, &plan, false).notes;
    assert!(!notes.iter().any(|note| note.contains("gathering")), "{notes:?}");
}

#[test]
fn the_blocks_are_those_of_the_intervals() {
    let plan = Request { threads: Some(1), ..request() }.plan(4).unwrap();
    let mut tally = Tally::new(&plan, 20);
    for index in 0..10_u64 {
        tally.add_interval(index as usize, (index + 1) * SECOND, &replies(100));
        tally.finished_intervals();
    }
    let precision = tally.blocks().precision(1.0).unwrap();
    assert_eq!((precision.blocks, precision.percentiles[0].name.as_str()), (10, "p50"));
}

#[test]
fn nothing_is_shared_by_none() {
    assert_eq!((per(3.0, 2.0), per(3.0, 0.0)), (Some(1.5), None));
}

#[test]
fn a_run_that_its_number_of_requests_ended_lasts_at_least_as_long_as_its_schedule() {
    let achieved = |rate: &str, window_end_ns: u64| {
        let mut plan = plan();
        plan.load = Request { rate: Some(rate.parse().unwrap()), ..request() }.plan(4).unwrap().load;
        plan.timing.requests = Some(35);
        let mut tally = tally(&plan);
        tally.window.end_ns = window_end_ns;
        tally.total.counts.replies_in_window = 30;
        report_of(tally, &plan, false).rate.achieved_per_s
    };
    // Without the replies after the window, 32 of 35 came in 2 s.
    assert_eq!(achieved("100", 4 * SECOND), 16.0);
    // 35 requests take 5 s.
    assert_eq!(achieved("7", 4 * SECOND), 6.4);
    // The window ended by its length.
    assert_eq!(achieved("7", 3 * SECOND), 15.0);
}

#[test]
fn the_notes_say_what_the_numbers_lack() {
    let early = "errors before the window, which no other number includes: 4 x connection refused";
    let clamped = "1 time was longer than 3600 s, and counted as 3600 s";
    let open = plan();
    assert_eq!(report_of(tally(&open), &open, false).notes, [clamped, early]);
    let closed = Request { connections: 5, threads: Some(2), ..request() }.plan(4).unwrap();
    assert_eq!(report_of(tally(&closed), &closed, false).notes, [CLOSED_LOOP, clamped, early]);
    let mut late = plan();
    late.timing.start_at = Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    late.measuring.kernel_timestamps = true;
    late.measuring.slo = vec!["p99<5ms".parse().unwrap()];
    let mut tally = tally(&late);
    tally.set_late_start(7 * MS);
    (0..2).for_each(|_| tally.total.ready_to_read.record(1_000));
    let at = start_at::format(late.timing.start_at.unwrap());
    let report = report_of(tally, &late, false);
    assert!(report.latency_ns.ready_to_read.is_some());
    assert_eq!(
        report.notes,
        [
            format!("the load began 7.00 ms later than planned ({at})").as_str(),
            clamped,
            "the kernel gave no timestamp for 33 replies: it gives one for TCP, and for a read with a single reply",
            early
        ]
    );
    let mut empty = Tally::new(&late, 20);
    empty.close();
    assert_eq!(report_of(empty, &late, false).notes, [""; 0]);
    let part = crate::load::part::Part { number: 0, of: 2 };
    let mut part =
        Request { part: Some(part), rate: Some("10".parse().unwrap()), ..request() }.plan(4).unwrap();
    assert_eq!(report_of(Tally::new(&part, 20), &part, false).notes, [""; 0]);
    part.measuring.slo = vec!["p99<5ms".parse().unwrap()];
    assert_eq!(report_of(Tally::new(&part, 20), &part, false).notes, [result::SLO_OF_WHOLE]);
}

#[test]
fn requests_that_were_never_sent_count_in_the_stages_in_which_they_were_due() {
    let request = Request {
        connections: 5,
        threads: Some(1),
        stages: Some("10/1s,20/1s,30/1s".parse().unwrap()),
        arrival: Some(Arrival::Constant),
        ..request()
    };
    let plan = request.plan(4).unwrap();
    let rows = |unsent: u64, window_ended_ns: u64| {
        let mut tally = Tally::new(&plan, 20);
        tally.begin(Window { start_ns: SECOND, end_ns: 4 * SECOND }, UNIX_EPOCH);
        (tally.window_ended_ns, tally.ended_ns) = (window_ended_ns, 4_500 * MS);
        tally.total.counts.unsent = unsent;
        let slice = |completed: u64| {
            let mut slice = Slice::default();
            (0..completed).for_each(|_| slice.completed(MS));
            slice.counts.replies_in_window = completed;
            slice
        };
        tally.total.stages = vec![slice(8), slice(20), slice(27)];
        let rows = report_of(tally, &plan, false).stages.into_iter().map(|stage| {
            let waited_ns = stage.outcomes.response_ns.failed_tail.as_ref().map(|tail| tail.longer_than_ns);
            let outcomes = stage.outcomes;
            let times = (stage.number, stage.t_s, stage.length_s, (stage.offered_per_s * 1e6).round() / 1e6);
            (times, [outcomes.due, outcomes.failed, outcomes.unsent], outcomes.achieved_per_s, waited_ns)
        });
        rows.collect::<Vec<_>>()
    };
    assert_eq!(
        rows(5, 4 * SECOND),
        [
            ((1, 0.0, 1.0, 10.0), [10, 2, 2], 8.0, Some(2_500 * MS)),
            ((2, 1.0, 1.0, 20.0), [20, 0, 0], 20.0, None),
            ((3, 2.0, 1.0, 30.0), [30, 3, 3], 27.0, Some(500 * MS)),
        ]
    );
    // The run was interrupted in the middle of the second stage, and the third one has not begun.
    assert_eq!(
        rows(0, 2_500 * MS),
        [((1, 0.0, 1.0, 10.0), [8, 0, 0], 8.0, None), ((2, 1.0, 0.5, 20.0), [20, 0, 0], 40.0, None)]
    );
    assert_eq!(rows(0, 2 * SECOND).len(), 1);
}
