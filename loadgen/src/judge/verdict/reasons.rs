//! What the reasons say: the status, the value, the bound and the message of each rule on one example.

use super::*;
use crate::{
    engine::wall_clock::ClockQuality,
    load::schedule::Arrival,
    result::{Loop, Merged, MergedPart, Network, Pause, tests::example},
};

/// Checks what a rule says about the example after a change.
#[track_caller]
fn says(
    code: &str,
    status: Status,
    [value, bound]: [f64; 2],
    message: &str,
    change: impl FnOnce(&mut Report),
) {
    let mut report = example();
    change(&mut report);
    let verdict = judge(&report);
    let reason = verdict.reasons.iter().find(|reason| reason.code == code);
    let reason = reason.unwrap_or_else(|| panic!("{code} is no reason: {verdict:?}"));
    assert_eq!((reason.status, reason.message.as_str()), (status, message));
    for (seen, expected) in [(reason.value, value), (reason.bound, bound)] {
        assert!((seen - expected).abs() <= expected.abs() * 1e-9, "{code}: {seen} instead of {expected}");
    }
}

fn error(report: &mut Report, name: &str, count: u64) {
    assert!(report.errors.insert(name.to_owned(), count).is_some(), "{name} is the name of a failure");
}

fn without_replies(report: &mut Report) {
    (report.requests.completed, report.rate.achieved_per_s) = (0, 0.0);
}

#[test]
fn of_replies() {
    use Status::{Invalid, Suspect};
    let wrong = "2 replies were not the expected one";
    says("mismatch", Invalid, [2.0, 0.0], wrong, |report| error(report, "mismatch", 2));
    says("mismatch", Invalid, [2.0, 0.0], "2 replies did not keep to --protocol http", |report| {
        error(report, "mismatch", 2);
        report.plan.protocol = "http".to_owned();
    });
    // Wrong replies before the window count if there is no other reply.
    let no_echo = "the target is not an echo server: no reply was the expected one";
    says("mismatch", Invalid, [3.0, 0.0], no_echo, |report| {
        without_replies(report);
        report.errors_before_window.insert("mismatch".to_owned(), 3);
    });
    says("mismatch", Invalid, [4.0, 0.0], "no reply of the target keeps to --protocol http", |report| {
        without_replies(report);
        report.plan.protocol = "http".to_owned();
        error(report, "mismatch", 4);
        report.errors_before_window.insert("mismatch".to_owned(), 3);
    });
    let unexpected = |count| move |report: &mut Report| error(report, "unexpected", count);
    let message = "2 replies were complete, but not the expected one (0.1% of the requests)";
    says("unexpected", Suspect, [0.001, 0.0], message, unexpected(2));
    let message = "20 replies were complete, but not the expected one (1.0% of the requests)";
    says("unexpected", Invalid, [0.01, 0.0], message, unexpected(20));
    let message = "no request of the measured window got a reply";
    says("no_replies", Invalid, [0.0, 1.0], message, without_replies);
    let message = "20 of 2,000 requests failed (1.0%; limit: 0.1%)";
    says("errors", Invalid, [0.01, 0.001], message, |report| {
        error(report, "timeout", 20);
        (report.requests.completed, report.requests.failed) = (1_980, 20);
    });
    let message = "500 connections failed, besides 2,000 requests (20.0%; limit: 0.1%)";
    says("errors", Invalid, [0.2, 0.001], message, |report| error(report, "connect_refused", 500));
    let message = "2 of 50 clients got no reply";
    says("starved", Invalid, [2.0, 0.0], message, |report| report.fairness.starved = 2);
    let message = "the server favoured some clients: Jain's index is 0.500 (minimum: 0.90)";
    says("unfair", Suspect, [0.5, 0.9], message, |report| {
        report.plan.arrival = Some(Arrival::Constant);
        report.fairness.jain = Some(0.5);
    });
    let message = "the server favoured some clients: Jain's index is 0.500 (minimum: 0.88)";
    says("unfair", Suspect, [0.5, 0.9 * 40.0 / 41.0], message, |report| report.fairness.jain = Some(0.5));
    let message = "a client waited 1.50 s for a reply, in a window of 2.00 s";
    says("silence", Invalid, [1.5e9, 1e9], message, |report| {
        report.fairness.longest_silence_ns = 1_500_000_000;
    });
    says(
        "silence",
        Invalid,
        [3.5e9, 3e9],
        "a client waited 3.50 s for a reply, in a window of 2.00 s",
        |report| {
            report.fairness.longest_silence_ns = 3_500_000_000;
            report.latency_ns.response.p50 = Some(300_000_000);
        },
    );
}

#[test]
fn of_the_server() {
    use Status::{Invalid, Suspect};
    let gone = |at_ns| move |report: &mut Report| report.server_gone_at_ns = Some(at_ns);
    let message = "the server went away: its last reply arrived 500 ms into the window; then all connections were lost, and new \
                   ones failed";
    says("server_gone", Invalid, [5e8, 2e9], message, gone(500_000_000));
    let message = "the server went away: its last reply arrived before the window; then all connections were lost, and new ones \
                   failed";
    says("server_gone", Invalid, [0.0, 2e9], message, gone(0));
    let message = "the server ended before the run did";
    says("server_ended", Invalid, [1.0, 0.0], message, |report| report.server_ended_early = true);
    let achieved = |per_s| move |report: &mut Report| report.rate.achieved_per_s = per_s;
    let message = "the server cannot keep up: 900/s of 1,000/s offered";
    says("cannot_keep_up", Suspect, [900.0, 980.0], message, achieved(900.0));
    let message = "the server cannot keep up: 899/s of 1,000/s offered";
    says("cannot_keep_up", Invalid, [899.0, 980.0], message, achieved(899.0));
    // Of 1,000 requests per second, only 900 were due by chance.
    let message = "the server cannot keep up: 850/s of 1,000/s offered";
    says("cannot_keep_up", Suspect, [850.0, 882.0], message, |report| {
        report.requests.completed = 1_800;
        report.rate.achieved_per_s = 850.0;
    });
    // Half a second of the replies to the window's requests arrives after it.
    let message = "the server cannot keep up: 700/s of 1,000/s offered";
    says("cannot_keep_up", Suspect, [700.0, 735.0], message, |report| {
        report.latency_ns.service.min = Some(1_500_000_000);
        report.rate.achieved_per_s = 700.0;
    });
}

#[test]
fn of_the_generator() {
    use Status::{Invalid, Suspect};
    let message = "the CPU quota of the generator's cgroup (cpu.max: 0.50 CPUs) was used up in 90.0% of its periods (limit: \
                   1.0%): its threads were throttled for 1.00 s, summed over the CPUs";
    says("throttled", Suspect, [0.9, 0.01], message, |report| {
        let generator = &mut report.generator;
        (generator.cpu_quota, generator.throttled_share) = (Some(0.5), Some(0.9));
        generator.throttled_s = Some(1.0);
    });
    let message = "the offered rate was reached, but a load thread was idle for only 1.0% of the time: the latencies contain its \
                   own delays";
    let busy = |report: &mut Report| report.generator.idle_share_min = Some(0.01);
    says("generator_saturated", Suspect, [0.01, 0.05], message, busy);
    let message = "the generator was the bottleneck, not the server: a load thread was idle for only 1.0% of the time, and the \
                   load reached 700/s of 1,000/s";
    says("generator_saturated", Invalid, [0.01, 0.05], message, |report| {
        busy(report);
        report.rate.achieved_per_s = 700.0;
    });
    let message = "a load thread was idle for only 1.0% of the time: the rate may be the generator's limit instead of the \
                   server's, and the latencies contain the generator's own delays";
    says("generator_saturated", Suspect, [0.01, 0.05], message, |report| {
        busy(report);
        report.plan.r#loop = Loop::Closed;
    });
    let lag = |p50: u64, p99: u64| {
        move |report: &mut Report| {
            let response = &mut report.latency_ns.response;
            (response.p50, response.p99) = (Some(1_000_000), Some(4_000_000));
            let lag = report.latency_ns.schedule_lag.as_mut().expect("the example has one");
            (lag.p50, lag.p99) = (Some(p50), Some(p99));
        }
    };
    let message = "the generator itself was late: its schedule lag has a median of 800 µs, which is 80.0% of the response time's \
                   1.00 ms (limit: 50.0%)";
    says("late", Suspect, [0.8, 0.5], message, lag(800_000, 0));
    let message = "the generator itself was late: its schedule lag has a median of 810 µs, which is 81.0% of the response time's \
                   1.00 ms (limit: 50.0%)";
    says("late", Invalid, [0.81, 0.5], message, lag(810_000, 0));
    let message = "the generator itself was late: its schedule lag has a p99 of 3.60 ms, which is 90.0% of the response time's \
                   4.00 ms (limit: 66.7%)";
    says("late", Suspect, [0.9, 2.0 / 3.0], message, lag(0, 3_600_000));
}

#[test]
fn of_the_generators_machine() {
    use Status::Suspect;
    let paused = |count| {
        move |report: &mut Report| {
            let pauses = &mut report.generator.pauses;
            pauses.longest = vec![Pause { t_s: 0.5, length_ns: 20_000_000 }];
            (pauses.count, pauses.total_ns_max, pauses.requests) = (count, count * 20_000_000, 20);
        }
    };
    let message = "the load generator itself was paused for 20.0 ms, 500 ms into the window; 1.0% of the requests were due or \
                   outstanding then";
    says("paused", Suspect, [20e6, 15e6], message, paused(1));
    let message = "the load generator itself was paused 3 times, for 60.0 ms in total (the longest: 20.0 ms, 500 ms into the \
                   window); 1.0% of the requests were due or outstanding then";
    says("paused", Suspect, [20e6, 15e6], message, paused(3));
    let message = "a load thread waited for a CPU for 25.0% of the time (limit: 5.0%), and was preempted 1.50 times per second";
    let waits = |report: &mut Report| report.generator.cpu_wait_share_max = Some(0.25);
    says("cpu_wait", Suspect, [0.25, 0.05], message, waits);
    let message = "a load thread was preempted 1,000 times per second (limit: 500)";
    says("preempted", Suspect, [1_000.0, 500.0], message, |report| {
        report.generator.cpu_wait_share_max = None;
        report.generator.preemptions_per_s_max = Some(1_000.0);
    });
    let message = "the hypervisor gave 25.0% of this machine's CPU time to other machines (limit: 5.0%)";
    says("steal", Suspect, [0.25, 0.05], message, |report| report.generator.steal_share = Some(0.25));
    let message = "the clock advances in steps of 50.0 µs: too coarse for a median response time of 1.00 ms";
    says("clock", Suspect, [50e3, 10e3], message, |report| {
        report.latency_ns.response.p50 = Some(1_000_000);
        report.generator.clock_step_ns = 50_000;
    });
}

#[test]
fn of_the_load() {
    use Status::Suspect;
    let message = "the window of 2.00 s is too short: 10 replies of a client, of 250 ms each, need 2.50 s";
    says("too_short", Suspect, [8.0, 10.0], message, |report| {
        report.latency_ns.service.p50 = Some(250_000_000);
    });
    let closed = |seen, pipeline| {
        move |report: &mut Report| {
            (report.plan.r#loop, report.plan.pipeline) = (Loop::Closed, pipeline);
            report.fairness.effective_concurrency = Some(seen);
        }
    };
    let message = "rate and mean latency imply 10.0 outstanding requests on average, but the clients keep 50.0: requests of some \
                   clients are missing from both";
    says("concurrency", Suspect, [10.0, 45.0], message, closed(10.0, 1));
    let message = "rate and mean latency imply 89.0 outstanding requests on average, but the clients keep 100: requests of some \
                   clients are missing from both";
    says("concurrency", Suspect, [89.0, 90.0], message, closed(89.0, 2));
    // The law may give more than is possible.
    let message = "50.0 of 50.0 possible requests were outstanding on average: requests waited in the generator for a free client";
    says("concurrency", Suspect, [50.0, 45.0], message, |report| {
        report.fairness.service_concurrency = Some(70.0);
    });
}

#[test]
fn of_a_stall() {
    use Status::Suspect;
    let stall =
        |length_ms: u64| move |report: &mut Report| report.fairness.longest_stall_ns = length_ms * 1_000_000;
    let message = "no client got a reply for 200 ms: the response times contain this stall, the service times hardly do";
    says("stall", Suspect, [2e8, 1e8], message, stall(200));
    let message = "no client got a reply for 200 ms: in a closed loop this counts as only one slow request for each client, as a \
                   client sends nothing while it waits";
    says("stall", Suspect, [2e8, 1e8], message, |report| {
        stall(200)(report);
        report.plan.r#loop = Loop::Closed;
    });
    let message = "no client got a reply for 5.00 s: the response times contain this stall, the service times hardly do";
    // 20 replies take 4 s.
    says("stall", Suspect, [5e9, 4e9], message, |report| {
        stall(5_000)(report);
        report.rate.achieved_per_s = 5.0;
    });
    says("stall", Suspect, [5e9, 3e9], message, |report| {
        stall(5_000)(report);
        report.latency_ns.response.p50 = Some(300_000_000);
    });
}

#[test]
fn of_the_network() {
    use Status::Suspect;
    let message = "50 clients lost 5 connections (limit: 1.0% of the clients): a client sends nothing while it reconnects";
    says("reconnects", Suspect, [0.1, 0.01], message, |report| report.connections.lost = 5);
    let message = "2 connections failed because no local port was free";
    says("local_ports", Suspect, [2.0, 0.0], message, |report| error(report, "no_local_port", 2));
    let network = |network| move |report: &mut Report| report.network = Some(network);
    let message = "2 connections found a full accept queue on this machine";
    let overflows = Network { listen_overflows: 2, ..Network::default() };
    says("listen_overflow", Suspect, [2.0, 0.0], message, network(overflows));
    let message = "20 segments were retransmitted by the clients: 1.0% of the requests (limit: 0.010%)";
    let by_clients = Network { client_retransmissions: 20, ..Network::default() };
    says("retransmissions", Suspect, [0.01, 0.000_1], message, network(by_clients));
    let message = "20 segments were retransmitted on this machine: 1.0% of the requests (limit: 0.1%)";
    let by_all = Network { retransmissions: 20, ..Network::default() };
    says("retransmissions", Suspect, [0.01, 0.001], message, network(by_all));
    let message = "5.0% of the replies, or their last parts, were 38 to 56 ms late (limit: 1.0%): a delayed acknowledgement takes \
                   that long";
    says("delayed_ack", Suspect, [0.05, 0.01], message, |report| report.requests.delayed_rests = 100);
}

#[test]
fn of_several_generators() {
    use Status::{Invalid, Suspect};
    let message = "the load began 1.00 ms after the time of --start-at";
    says("late_start", Suspect, [1e6, 0.0], message, |report| report.late_start_ns = 1_000_000);
    let message = "3 of 8 parts are missing: 0, 2-3";
    says("missing_parts", Invalid, [3.0, 0.0], message, |report| {
        let missing = vec![0, 2, 3];
        report.merged = Some(Merged { generators: 5, expected: Some(8), missing, ..Merged::default() });
    });
    let message = "the windows of the generators began 200 ms apart (limit: 100 ms)";
    says("windows_apart", Invalid, [2e8, 1e8], message, |report| {
        report.merged = Some(Merged { generators: 2, start_skew_ns: 200_000_000, ..Merged::default() });
    });
    let clocks = |clocks: &[Option<ClockQuality>]| {
        let part = |(index, clock): (usize, &Option<ClockQuality>)| MergedPart {
            name: format!("{index}.json"),
            boot_id: Some(index.to_string()),
            clock: *clock,
            ..MergedPart::default()
        };
        let parts: Vec<_> = clocks.iter().enumerate().map(part).collect();
        move |report: &mut Report| {
            report.merged = Some(Merged { generators: parts.len(), parts, ..Merged::default() });
        }
    };
    let known =
        |error_ms: u64| Some(ClockQuality { synchronised: true, max_error_ns: Some(error_ms * 1_000_000) });
    let lost = Some(ClockQuality { synchronised: false, max_error_ns: None });
    let message = "the clocks of the generators' machines may differ by 50.0 ms: the sum of the two largest errors that their \
                   kernels allow for (limit: 20.0 ms)";
    says("clock_skew", Suspect, [5e7, 2e7], message, clocks(&[known(20), known(30), known(1)]));
    let message = "the clocks of the generators' machines may differ by any time (limit: 20.0 ms): no time service keeps the \
                   clock right on 2 of 3 machines, first that of 1.json";
    says("clock_skew", Suspect, [2.0, 2e7], message, clocks(&[known(20), lost, lost]));
    let message = "the clocks of the generators' machines may differ by any time (limit: 20.0 ms): the kernel does not say how \
                   right the clock is on 1 of 2 machines, first that of 1.json";
    says("clock_skew", Suspect, [1.0, 2e7], message, clocks(&[known(1), None]));
}
