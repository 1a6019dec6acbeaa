//! Injected, computed and reported: each property of a link, and its trace in the report.

use common::Address;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Server,
        load::Report,
        network::{Network, hosts},
    },
};

group! {
    alone {
        a_link_without_disturbance_adds_little needs hosts,
        delay_of_20_ms_each_way_is_40_ms_in_the_report needs hosts,
        jitter_spreads_the_times_as_computed needs hosts,
        lost_frames_are_retransmissions_in_the_report_and_in_the_verdict needs hosts,
        reordered_frames_spoil_no_reply_and_are_as_early_as_computed needs hosts,
        a_rate_limit_bounds_the_replies needs hosts,
    }
}

const MS: f64 = 1e6;
/// How much a busy machine and an emulator in user space may add to the median, in ms.
const ADDED_MS: f64 = 4.0;
/// How much they may add to a higher percentile, in ms. What is injected bounds it from below.
const ADDED_TO_TAIL_MS: f64 = 40.0;
/// The relative error of a percentile from a histogram.
const RELATIVE_ERROR: f64 = 0.01;

/// A generator and a server. The link of the server is disturbed, so each way has the disturbance once.
struct Pair {
    network: Network,
    server: Server,
}

impl Pair {
    #[track_caller]
    fn with(link: &str) -> Self {
        let network = Network::of(&[("generator", ""), ("server", link)]);
        let mode = Mode::by_name("event-loop").expect("there is this mode");
        let server = network.host("server").serve(mode);
        Self { network, server }
    }

    fn target(&self) -> &Address {
        self.server.address()
    }

    /// A run of loadgen, with any verdict.
    #[track_caller]
    fn load(&self, args: &str) -> Report {
        println!("by {}", self.network.host("server").means());
        self.network.host("generator").load(self.target(), args).any_report()
    }
}

impl Report {
    /// A figure of a distribution of times, in ms.
    #[track_caller]
    fn ms(&self, figure: &str) -> f64 {
        self.number(&format!("latency_ns.{figure}")) / MS
    }

    /// Expects a figure that is not shorter than computed, and not longer by more than `added_ms`.
    #[track_caller]
    fn expect_ms(&self, figure: &str, computed_ms: f64, added_ms: f64) {
        let reported = self.ms(figure);
        let range = computed_ms * (1.0 - RELATIVE_ERROR)..=computed_ms * (1.0 + RELATIVE_ERROR) + added_ms;
        assert!(range.contains(&reported), "{figure} is {reported} ms, not in {range:?}");
    }
}

/// The median of a link without any disturbance is far below the delays of the other tests, also through the emulator.
fn a_link_without_disturbance_adds_little() {
    for link in ["", "wire"] {
        let pair = Pair::with(link);
        let report = pair.load("-t 1 -c 20 -r 500 -w 200ms -d 2s");
        report.expect_replies_verified();
        report.expect_ms("response.p50", 0.0, ADDED_MS);
    }
}

fn delay_of_20_ms_each_way_is_40_ms_in_the_report() {
    let pair = Pair::with("delay=20ms");
    // Each client has a request outstanding for 40 ms of 200 ms.
    let report = pair.load("-t 1 -c 100 -r 500 -w 500ms -d 3s");
    report.expect_replies_verified();
    for figure in ["response.min", "response.p50", "service.p50", "connect.min", "connect.p50"] {
        report.expect_ms(figure, 40.0, ADDED_MS);
    }
    report.expect_ms("response.p99", 40.0, ADDED_TO_TAIL_MS);
    // A network that is slow, and steady, is no reason for doubt.
    for reason in ["delayed_ack", "retransmissions", "stall", "unfair", "concurrency"] {
        assert!(!report.has_reason(reason), "{}", report.at("verdict"));
    }
    // A large reply arrives in several round trips. Its last part is as late as after a delayed acknowledgement.
    let report = pair.load("-t 1 -c 20 -r 40 -w 0s -d 3s -s 60000");
    report.expect_replies_verified();
    assert!(!report.has_reason("delayed_ack"), "{}", report.at("verdict"));
}

fn jitter_spreads_the_times_as_computed() {
    /// The quantile of the sum of two times that are uniform between 15 and 25 ms: a triangle from 30 to 50 ms.
    fn computed_ms(share: f64) -> f64 {
        match share {
            0.0..=0.5 => 30.0 + (200.0 * share).sqrt(),
            _ => 50.0 - (200.0 * (1.0 - share)).sqrt(),
        }
    }
    let pair = Pair::with("delay=20ms,jitter=5ms");
    let report = pair.load("-t 1 -c 200 -r 1000 -w 500ms -d 3s");
    report.expect_replies_verified();
    // Chance moves the quantiles of 3,000 samples by up to 0.5 ms.
    for (figure, share, added_ms) in
        [("p50", 0.5, ADDED_MS), ("p90", 0.9, ADDED_TO_TAIL_MS), ("p99", 0.99, ADDED_TO_TAIL_MS)]
    {
        report.expect_ms(&format!("response.{figure}"), computed_ms(share) - 0.5, added_ms);
    }
    report.expect_ms("response.min", 30.0, ADDED_MS);
    let stdev_ms = report.ms("response.stdev");
    // Each way has a variance of 10²/12 ms².
    let computed = (2.0 * 100.0 / 12.0_f64).sqrt();
    assert!(stdev_ms > computed * 0.95, "{stdev_ms} and {computed}");
}

fn lost_frames_are_retransmissions_in_the_report_and_in_the_verdict() {
    let pair = Pair::with("loss=1%");
    let report = pair.load("-t 1 -c 200 -r 1500 -w 0s -d 4s");
    // TCP repairs the losses: every request has its reply.
    report.expect_replies_verified();
    let sent = report.number("requests.sent");
    let share = report.number("network.client_retransmissions") / sent;
    // The client repeats a request if it or its reply, which acknowledges it, is lost: 2%.
    assert!((0.01..0.04).contains(&share), "{share} of {sent}");
    assert!(report.count("network.retransmissions") >= report.count("network.client_retransmissions"));
    assert!(report.has_reason("retransmissions"), "{}", report.at("verdict"));
    // 1.99% of the requests wait for the retransmission timer of Linux, which is 200 ms at least.
    report.expect_ms("response.p50", 0.0, ADDED_MS);
    report.expect_ms("response.p99", 200.0, 200.0);
}

fn reordered_frames_spoil_no_reply_and_are_as_early_as_computed() {
    let pair = Pair::with("delay=10ms,reorder=25%");
    let report = pair.load("-t 1 -c 100 -r 1000 -w 500ms -d 3s");
    report.expect_replies_verified();
    // A quarter is not delayed, in each way: 6% of the times are 0 ms, 38% are 10 ms, and 56% are 20 ms.
    report.expect_ms("response.min", 0.0, ADDED_MS);
    report.expect_ms("response.p50", 20.0, ADDED_MS);
    let mean_ms = report.ms("response.mean");
    assert!((14.0..15.0 + ADDED_MS).contains(&mean_ms), "{mean_ms}");
    // Messages of many frames arrive in the wrong order, and every byte of the replies is right.
    let report = pair.load("-t 1 -c 20 -r 50 -w 500ms -d 3s -s 30000");
    report.expect_replies_verified();
}

fn a_rate_limit_bounds_the_replies() {
    const RATE_BIT_PER_S: f64 = 10e6;
    const MESSAGE_BYTES: f64 = 1000.0;
    // Ethernet, IPv4, and TCP with timestamps.
    const HEADER_BYTES: f64 = 14.0 + 20.0 + 32.0;
    let pair = Pair::with("rate=10mbit");
    let report = pair.load("-t 1 -c 20 -w 500ms -d 3s -s 1000");
    report.expect_replies_verified();
    let bound_per_s = RATE_BIT_PER_S / 8.0 / (MESSAGE_BYTES + HEADER_BYTES);
    let achieved_per_s = report.number("rate.achieved_per_s");
    // Acknowledgements of their own take a small part of the rate.
    let range = 0.8 * bound_per_s..1.02 * bound_per_s;
    assert!(range.contains(&achieved_per_s), "{achieved_per_s} is not in {range:?}");
}
