//! SIGTERM at random moments under full load: every byte that the server's kernel had acknowledged by then is echoed.

use std::{
    io::ErrorKind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use server::mode::Mode;

use super::extent::SHUTDOWNS;
use crate::{
    behaviour::group,
    harness::{
        Client, Server,
        client::counting,
        load::{Loadgen, Report},
        text::{Random, expect_same, upper},
    },
};

group! {
    in every mode {
        acknowledged_bytes_are_echoed_whenever_the_signal_comes,
    }
}

/// Clients whose every byte is checked, beside those of loadgen.
const CHECKED: usize = 8;
/// Two requests of each are on the way.
const REQUEST_BYTES: usize = 3_000;
const LOAD: &str = "-c 50 -t 1 -w 0s -d 1h -i 100ms --fail-on never --format json";
const LONGEST_WAIT_US: u32 = 100_000;

fn acknowledged_bytes_are_echoed_whenever_the_signal_comes(mode: &'static Mode) {
    let mut random = Random(0x5eed_0000_0000_0001 + mode.name.len() as u64);
    for _ in 0..SHUTDOWNS.count() {
        let moment = Duration::from_micros(random.next() % u64::from(LONGEST_WAIT_US));
        shut_down_after(mode, moment);
    }
}

fn shut_down_after(mode: &'static Mode, moment: Duration) {
    let server = Server::start(mode, &["--threads", "2", "--drain-timeout", "20s"]);
    let load = Loadgen::run(Some(server.address()), LOAD).start();
    load.stderr.wait_for("p50");
    let clients: Vec<_> = server.connect_served(CHECKED);
    let sent: Vec<_> = (0..CHECKED).map(|_| AtomicUsize::new(0)).collect();
    let (acknowledged, received): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let asking: Vec<_> = clients
            .iter()
            .zip(&sent)
            .map(|(client, sent)| scope.spawn(|| ask_until_the_end(client, sent)))
            .collect();
        thread::sleep(moment);
        // Of two figures that grow, the one that is read first makes the difference too small, never too large.
        let acknowledged: Vec<_> = clients
            .iter()
            .zip(&sent)
            .map(|(client, sent)| {
                let sent = sent.load(Ordering::SeqCst);
                sent.saturating_sub(usize::try_from(client.undelivered_bytes()).expect("it fits"))
            })
            .collect();
        server.terminate();
        let received =
            asking.into_iter().map(|asking| asking.join().expect("asking does not panic")).collect();
        (acknowledged, received)
    });
    for (received, acknowledged) in received.iter().zip(acknowledged) {
        assert!(
            received.len() >= acknowledged,
            "{} of {acknowledged} bytes, after {moment:?}",
            received.len()
        );
        expect_same(received, &upper(&counting(0, received.len())));
    }
    drop(clients);
    server.wait_for_exit().finished.expect_code(0);
    load.signal(Signal::INT);
    let report = Report::read(load.finish().expect_code(130));
    for kind in ["mismatch", "reset", "broken", "timeout", "unexpected"] {
        assert_eq!(
            report.count(&format!("errors.{kind}")),
            0,
            "{kind}, after {moment:?}: {}",
            report.at("errors")
        );
    }
    assert!(report.count("requests.completed") > 0);
}

/// Sends requests, two of which are always on the way, until the server's end of the stream. Returns what it received.
fn ask_until_the_end(client: &Client, sent: &AtomicUsize) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let begin = sent.load(Ordering::SeqCst);
        if begin < received.len() + 2 * REQUEST_BYTES && !client.is_half_closed_by_peer() {
            match client.try_send(&counting(begin, REQUEST_BYTES)) {
                Ok(()) => sent.store(begin + REQUEST_BYTES, Ordering::SeqCst),
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
                Err(error) => panic!("neither sent nor closed: {error}"),
            }
        }
        let more = client.receive_some();
        if more.is_empty() {
            return received;
        }
        received.extend(more);
    }
}
