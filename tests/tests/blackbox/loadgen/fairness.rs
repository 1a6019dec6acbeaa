//! Fairness between clients, which percentiles do not show.

use crate::{
    behaviour::group,
    harness::load::{Loadgen, Peer, Report, converse, ignore},
};

group! {
    once {
        a_closed_loop_reports_starved_clients,
        an_open_loop_reports_starved_clients,
        uneven_service_is_reported,
    }
}

/// A server that serves the first five connections, and ignores the others.
fn starving() -> Peer {
    Peer::start(|number, stream| match number {
        0..5 => converse(&stream, <[u8]>::make_ascii_uppercase),
        _ => ignore(&stream),
    })
}

fn a_closed_loop_reports_starved_clients() {
    let report = starved("-c 20 -d 1s -w 200ms --timeout 5s");
    expect_starvation(&report);
    // Their only requests were due in the warm-up, and have not timed out.
    assert_eq!((report.count("requests.failed"), report.errors()), (0, 0));
}

fn an_open_loop_reports_starved_clients() {
    let report = starved("-c 20 -r 400 -d 1s -w 200ms --timeout 5s");
    expect_starvation(&report);
    // Three quarters of the requests belong to clients that wait for replies to requests of the warm-up.
    let of = |name: &str| report.count(&format!("requests.{name}"));
    assert_eq!([of("due"), of("completed"), of("failed"), of("cut_off")], [400, 100, 300, 0]);
    assert_eq!((of("unsent"), report.count("errors.unsent")), (300, 300));
    // Each of these requests counts as slower than every reply.
    assert_eq!(report.count("latency_ns.response.failed_tail.count"), 300);
    assert!(report.at("latency_ns.response.p50").is_null());
}

fn uneven_service_is_reported() {
    // One client's replies take far longer than the others'.
    let peer = Peer::start(|number, stream| {
        converse(&stream, |bytes| {
            bytes.make_ascii_uppercase();
            std::thread::sleep(std::time::Duration::from_millis(if number == 0 { 200 } else { 5 }));
        })
    });
    let report = Loadgen::run(Some(peer.address()), "-c 4 -d 1s -w 200ms").report();
    assert_eq!(report.count("fairness.served"), 4);
    let (least, most) = (report.count("fairness.requests_min"), report.count("fairness.requests_max"));
    assert!(least * 5 < most, "{least} and {most}");
    assert!(report.number("fairness.jain") < 0.9);
}

fn starved(args: &str) -> Report {
    let peer = starving();
    Report::read(&Loadgen::run(Some(peer.address()), args).args(["--format", "json"]).finish())
}

#[track_caller]
fn expect_starvation(report: &Report) {
    assert_eq!(report.at("verdict.status"), "invalid");
    assert_eq!(report.count("fairness.starved"), 15);
    assert!(report.reasons().contains(&"starved".to_owned()), "{}", report.at("verdict"));
    assert_eq!((report.count("fairness.clients"), report.count("fairness.served")), (20, 5));
    assert_eq!(report.count("fairness.requests_min"), 0);
    assert!(report.number("fairness.jain") < 0.3, "{}", report.at("fairness"));
    let silence_s = report.number("fairness.longest_silence_ns") / 1e9;
    let elapsed_s = report.number("elapsed_s");
    assert!(silence_s > elapsed_s * 0.95, "{silence_s} s of {elapsed_s} s");
}
