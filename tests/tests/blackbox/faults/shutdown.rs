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
        wait::wait_until,
    },
};

group! {
    in every mode {
        acknowledged_bytes_are_echoed_whenever_the_signal_comes,
    }
}

/// Clients whose every byte is checked, beside those of loadgen.
const CHECKED: usize = 8;
const REQUEST_BYTES: usize = 3_000;
const BYTES_ON_THE_WAY: usize = 2 * REQUEST_BYTES;
const LOAD: &str = "-c 50 -t 1 -w 0s -d 1h -i 100ms --fail-on never --format json";
const LONGEST_WAIT_US: u32 = 100_000;

fn acknowledged_bytes_are_echoed_whenever_the_signal_comes(mode: &'static Mode) {
    let mut random = Random(0x5eed_0000_0000_0001 + mode.name.len() as u64);
    for round in 0..SHUTDOWNS.count() {
        let moment = Duration::from_micros(random.next() % u64::from(LONGEST_WAIT_US));
        let arrival = if round % 2 == 0 { Arrival::WhileStopped } else { Arrival::WhileRunning };
        shut_down_after(mode, moment, arrival);
    }
}

/// When SIGTERM comes.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// The server is stopped until the clients have sent all that they may, and until its kernel has acknowledged that. So
    /// every client has bytes that the server has not read when its drain begins.
    WhileStopped,
    /// At any point of the server's work. It reads some of the acknowledged bytes before its drain begins.
    WhileRunning,
}

/// Bytes of a client's stream.
#[derive(Default)]
struct Progress {
    sent: AtomicUsize,
    received: AtomicUsize,
}

fn shut_down_after(mode: &'static Mode, moment: Duration, arrival: Arrival) {
    let server = Server::start(mode, &["--threads", "2", "--drain-timeout", "20s"]);
    let load = Loadgen::run(Some(server.address()), LOAD).start();
    load.stderr.wait_for("p50");
    let clients: Vec<_> =
        server.connect_served(CHECKED).into_iter().map(|client| (client, Progress::default())).collect();
    let (acknowledged, received): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let asking: Vec<_> = clients
            .iter()
            .map(|(client, progress)| scope.spawn(|| ask_until_the_end(client, progress)))
            .collect();
        thread::sleep(moment);
        if let Arrival::WhileStopped = arrival {
            server.signal(Signal::STOP);
            for (client, progress) in &clients {
                wait_until("a client has sent all that it may", || is_waiting(client, progress));
            }
        }
        let acknowledged: Vec<_> = clients.iter().map(acknowledged_bytes).collect();
        server.terminate();
        server.signal(Signal::CONT);
        let received =
            asking.into_iter().map(|asking| asking.join().expect("asking does not panic")).collect();
        (acknowledged, received)
    });
    for (received, acknowledged) in received.iter().zip(acknowledged) {
        assert!(
            received.len() >= acknowledged,
            "{} of {acknowledged} bytes, after {moment:?}, {arrival:?}",
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

/// Whether the server's kernel has received all that the client may send before the next reply.
fn is_waiting(client: &Client, progress: &Progress) -> bool {
    let received = progress.received.load(Ordering::SeqCst);
    progress.sent.load(Ordering::SeqCst) >= received + BYTES_ON_THE_WAY && client.undelivered_bytes() == 0
}

/// The sent bytes that the server's kernel has acknowledged.
fn acknowledged_bytes((client, progress): &(Client, Progress)) -> usize {
    // Of two figures that grow, the one that is read first makes the difference too small, never too large.
    let sent = progress.sent.load(Ordering::SeqCst);
    sent.saturating_sub(usize::try_from(client.undelivered_bytes()).expect("it fits"))
}

/// Sends requests, two of which are always on the way, until the server's end of the stream. Returns what it received.
fn ask_until_the_end(client: &Client, progress: &Progress) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        while !client.is_half_closed_by_peer() {
            let begin = progress.sent.load(Ordering::SeqCst);
            if begin >= received.len() + BYTES_ON_THE_WAY {
                break;
            }
            match client.try_send(&counting(begin, REQUEST_BYTES)) {
                Ok(()) => progress.sent.store(begin + REQUEST_BYTES, Ordering::SeqCst),
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    break;
                }
                Err(error) => panic!("neither sent nor closed: {error}"),
            }
        }
        let more = client.receive_some();
        if more.is_empty() {
            return received;
        }
        received.extend(more);
        progress.received.store(received.len(), Ordering::SeqCst);
    }
}
