use std::collections::BTreeMap;

use super::*;
use crate::{
    engine::{failure::Failure, latency},
    load::schedule::Arrival,
    protocol::expect::Expect,
    result::summary,
    subject::cpus::Division,
};

/// A short run without failures.
pub(crate) fn example() -> Report {
    let mut response = latency::Latency::default();
    (0..2_000_u64).for_each(|number| response.record(40_000 + number * number));
    let mut service = latency::Latency::default();
    (0..2_000_u64).for_each(|number| service.record(38_000 + number * 100));
    let mut lag = latency::Latency::default();
    (0..2_000_u64).for_each(|number| lag.record(900 + number));
    Report {
        schema: SCHEMA,
        verdict: Verdict { status: Status::Valid, reasons: Vec::new() },
        interrupted: false,
        aborted: None,
        precision: None,
        command: None,
        plan: PlanSummary {
            targets: vec!["127.0.0.1:40123".to_owned()],
            r#loop: Loop::Open,
            connections: 50,
            part: None,
            threads: 1,
            rate_per_s: Some(1_000.0),
            stages: Vec::new(),
            arrival: Some(Arrival::Poisson),
            replay_speed: None,
            pipeline: 1,
            think_s: None,
            connect_rate_per_s: None,
            requests_per_connection: None,
            protocol: "echo".to_owned(),
            tls: None,
            sources: Vec::new(),
            size: 64,
            message: None,
            messages: Vec::new(),
            messages_file: None,
            expect: Expect::Upper,
            warmup_s: 1.0,
            duration_s: Some(2.0),
            requests: None,
            connect_timeout_s: 5.0,
            timeout_s: 10.0,
            interval_s: 1.0,
            seed: 1,
            kernel_timestamps: false,
            busy_poll: false,
            start_at_unix_ms: None,
            slo: Vec::new(),
            abort_on: Vec::new(),
            until: Vec::new(),
        },
        environment: Environment {
            version: "0.1.0".to_owned(),
            kernel: "6.18.0".to_owned(),
            cpu: "Some CPU".to_owned(),
            cpus: 2,
            division: Some(Division { server: vec![0], load: vec![1] }),
            open_files_limit: 20_000,
            boot_id: None,
            congestion_control: Some("cubic".to_owned()),
            clock: None,
        },
        started_at_unix_ms: 1_800_000_000_000,
        window_started_at_unix_us: 1_800_000_001_000_000,
        late_start_ns: 0,
        elapsed_s: 2.0,
        requests: Requests {
            due: 2_000,
            sent: 2_000,
            completed: 2_000,
            completed_after_window: 1,
            failed: 0,
            unsent: 0,
            cut_off: 0,
            replies_in_window: 1_999,
            verified: 2_000,
            delayed_rests: 0,
            bytes_sent: 128_000,
            bytes_received: 128_000,
        },
        rate: Rate { offered_per_s: Some(1_000.0), achieved_per_s: 999.5 },
        errors: Failure::ALL.iter().map(|(_, name, _)| ((*name).to_owned(), 0)).collect(),
        errors_before_window: BTreeMap::new(),
        first_mismatch: None,
        first_unexpected: None,
        response_histogram: summary::bars(response.histogram()),
        stages: Vec::new(),
        kinds: Vec::new(),
        recovery: None,
        connections: Connections { established: 50, lost: 0 },
        tls: None,
        latency_ns: Latencies {
            response: summary::latency(&response),
            successful: summary::latency(&response),
            service: summary::latency(&service),
            schedule_lag: Some(summary::latency(&lag)),
            connect: summary::latency(&latency::Latency::default()),
            handshake: None,
            due_to_written: summary::latency(&lag),
            written_to_ready: None,
            ready_to_read: None,
        },
        fairness: Fairness {
            clients: 50,
            asked: 50,
            starved: 0,
            served: 50,
            jain: Some(0.9987),
            requests_min: 31,
            requests_max: 52,
            longest_silence_ns: 4_100_000,
            longest_stall_ns: 4_100_000,
            longest_stall_at_ns: Some(1_000_000),
            effective_concurrency: Some(1.37),
            service_concurrency: Some(0.14),
            replies_sum: 1_999,
            replies_sum_of_squares: 80_024.0,
            replies_hdr: summary::replies((0..50).map(|client| 31 + client * 21 / 49)),
        },
        generator: Generator {
            cpu_s: 0.02,
            cpu_ns_per_request: Some(10_000.0),
            busiest_thread_share: 0.0099,
            idle_share_min: Some(0.98),
            cpu_wait_share_max: Some(0.002),
            preemptions_per_s_max: Some(1.5),
            steal_share: Some(0.001),
            pauses: Pauses::default(),
            cpu_quota: None,
            throttled_share: None,
            throttled_s: None,
            clock_step_ns: 20,
        },
        server: Some(Server {
            mode: Some("tokio-task".to_owned()),
            threads: Some(1),
            work: Some("cpu:50us".to_owned()),
            cpu_s: 0.03,
            cpu_ns_per_request: Some(15_000.0),
            rss_bytes: 6 << 20,
            pss_bytes: Some(4 << 20),
            context_switches_per_request: Some(0.5),
        }),
        network: Some(Network::default()),
        server_ended_early: false,
        server_gone_at_ns: None,
        slo: Vec::new(),
        calibration: None,
        merged: None,
        intervals: Vec::new(),
        tail: Tail { length_s: 0.0002, completed: 1, failed: 0 },
        log: None,
        notes: Vec::new(),
    }
}

/// The same run with 30 requests without a reply: 28 timed out after half a second, one was never sent, and the end of the
/// run cut off one.
pub(crate) fn with_failures() -> Report {
    let mut report = example();
    let unanswered = summary::Unanswered { count: 30, waited_ns_min: 500_000_000 };
    let times = summary::deserialise(&report.latency_ns.response.hdr).expect("the example has one");
    report.latency_ns.response = summary::distribution(&times, unanswered);
    report.requests.due = 2_030;
    report.requests.sent = 2_029;
    (report.requests.failed, report.requests.unsent, report.requests.cut_off) = (29, 1, 1);
    report.tail = Tail { length_s: 0.5, completed: 1, failed: 9 };
    let mut whole = summary::interval(0.0, 999.5, &times, summary::Unanswered { count: 20, ..unanswered });
    whole.completed = 1_999;
    report.intervals = vec![whole];
    report.errors.extend([("timeout".to_owned(), 28), ("unsent".to_owned(), 1)]);
    report.verdict = crate::judge::verdict::judge(&report);
    report
}

/// The same run with a length of 1.5 s. The last half second is slower.
pub(crate) fn with_intervals() -> Report {
    let interval = |t_s: f64, times_ns: std::ops::Range<u64>, achieved_per_s| {
        let mut response = latency::Latency::default();
        times_ns.for_each(|number| response.record(number * 1_000));
        summary::interval(t_s, achieved_per_s, response.histogram(), summary::Unanswered::default())
    };
    let intervals = vec![interval(0.0, 1_000..2_000, 1_000.0), interval(1.0, 9_000..9_500, 1_000.0)];
    Report { elapsed_s: 1.5, intervals, ..example() }
}
