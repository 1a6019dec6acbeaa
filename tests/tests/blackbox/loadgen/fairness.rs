//! Whether all clients were served, which a percentile hides.

use crate::{
    behaviour::group,
    harness::load::{Loadgen, Peer, Report, converse, ignore},
};

group! {
    once {
        starved_clients_are_seen_in_a_closed_loop,
        starved_clients_are_seen_in_an_open_loop,
        uneven_service_is_seen,
    }
}

/// Serves the first five connections, and none of the others.
fn starving() -> Peer {
    Peer::start(|number, stream| match number {
        0..5 => converse(&stream, <[u8]>::make_ascii_uppercase),
        _ => ignore(&stream),
    })
}

fn starved_clients_are_seen_in_a_closed_loop() {
    expect_starvation(&starved("-c 20 -d 1s -w 200ms --timeout 5s"));
}

fn starved_clients_are_seen_in_an_open_loop() {
    let report = starved("-c 20 -r 400 -d 1s -w 200ms --timeout 5s");
    expect_starvation(&report);
    // Three requests in four were owed to clients that got nothing.
    let (completed, failed) = (report.count("requests.completed"), report.count("requests.failed"));
    assert_eq!((completed, failed), (100, 300));
}

fn uneven_service_is_seen() {
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
    assert!(report.count("errors.timeout") >= 15, "{}", report.at("errors"));
}
