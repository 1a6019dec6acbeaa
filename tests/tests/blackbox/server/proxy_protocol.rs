//! `--proxy-protocol`: a header at the start of each connection names the client.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::Command,
    thread,
    time::Duration,
};

use command_fds::{CommandFdExt, FdMapping};
use common::Address;
use rustix::process::Signal;
use server::mode::{MODES, Mode};

use super::drain_grace::exchange_until_the_end;
use crate::{
    behaviour::group,
    harness::{
        Client, Server, ServerCommand,
        client::timed,
        load::Loadgen,
        machine::{self, haproxy},
        process::Running,
        text::{expect_same, field, noise, upper},
        wait::{wait_for, wait_until},
    },
};

group! {
    in every mode {
        every_header_is_taken_off_and_no_byte_after_it_is_lost,
        a_header_arrives_byte_by_byte,
        a_long_payload_follows_the_header_at_once,
        work_is_done_for_the_payload_and_not_for_the_header,
        unix_sockets_expect_a_header_too,
        the_source_is_checked_and_not_the_peer,
        each_source_has_its_own_limit,
        without_a_source_the_peer_is_checked,
        a_connection_without_a_header_is_closed_and_counted,
        a_client_without_a_header_holds_its_place_only_until_the_deadline,
        a_client_that_half_closes_after_its_header_is_served,
        a_connection_whose_header_was_read_gets_one_more_reply_during_a_drain,
        the_header_may_arrive_during_the_grace_period,
        a_connection_without_its_header_is_half_closed_after_the_grace_period,
    }
    once {
        haproxy_names_its_clients_in_every_mode needs haproxy_and_every_mode,
        the_start_and_the_debug_log_name_the_protocol_and_the_client,
    }
}

const ON: &str = "--proxy-protocol";

/// A grace period that no test waits for.
const LONG: [&str; 5] = [ON, "--drain-timeout", "1h", "--drain-grace", "1h"];

/// The commands and families of version 2.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// The header of version 2 of a client with this address.
fn from(source: &str) -> Vec<u8> {
    match SocketAddr::new(source.parse().unwrap(), 0x3039) {
        SocketAddr::V4(source) => {
            let addresses = [source.ip().octets(), [192, 0, 2, 1]].concat();
            v2(PROXY, TCP4, &[&addresses[..], &[0x30, 0x39, 0x01, 0xbb]].concat())
        }
        SocketAddr::V6(source) => {
            let addresses = [source.ip().octets(), [0xff; 16]].concat();
            v2(PROXY, TCP6, &[&addresses[..], &[0x30, 0x39, 0x01, 0xbb]].concat())
        }
    }
}

fn local() -> Vec<u8> {
    v2(LOCAL, UNSPEC, b"")
}

/// A TLV with this many bytes (NOOP).
fn tlv(bytes: usize) -> Vec<u8> {
    [&[4][..], &u16::try_from(bytes - 3).unwrap().to_be_bytes(), &vec![b't'; bytes - 3]].concat()
}

/// Headers of every kind.
fn headers() -> Vec<Vec<u8>> {
    let longest = 2048 - 16 - 12;
    vec![
        from("203.0.113.7"),
        from("2001:db8::7"),
        local(),
        v2(LOCAL, TCP4, b""),
        v2(PROXY, UNSPEC, b""),
        v2(PROXY, UNIX, &[b'u'; 216]),
        v2(PROXY, TCP4, &[&[127; 12][..], &tlv(30)].concat()),
        v2(PROXY, TCP4, &[&[127; 12][..], &tlv(longest)].concat()),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ]
}

/// A client that has sent this header.
#[track_caller]
fn connect(server: &Server, header: &[u8]) -> Client {
    let client = server.connect();
    client.send(header);
    client
}

/// A client that has sent this header, if the server serves it.
fn served(server: &Server, header: &[u8]) -> Option<Client> {
    let client = server.connect();
    let is_served = client.try_exchange_after(header, b"may I?").is_ok();
    is_served.then_some(client)
}

fn every_header_is_taken_off_and_no_byte_after_it_is_lost(mode: &'static Mode) {
    let server = Server::start(mode, &[ON, "--threads", "2"]);
    for header in headers() {
        let client = connect(&server, &[&header[..], b"with its header"].concat());
        client.expect_reply_to(b"with its header");
        // The payload may look like a header.
        client.exchange(&header);
        let client = connect(&server, &header);
        client.exchange(b"after its header");
    }
    let stopped = server.stop();
    let headers = headers();
    let payload: usize = headers.iter().map(|header| header.len() + 15 + 16).sum();
    assert_eq!(stopped.counted("connections"), 2 * headers.len() as u64);
    assert_eq!(stopped.counted("bytes_received"), payload as u64);
    assert_eq!(stopped.counted("bytes_sent"), payload as u64);
    assert_eq!((stopped.counted("turned_away"), stopped.counted("failed")), (0, 0));
}

fn a_header_arrives_byte_by_byte(mode: &'static Mode) {
    let server = Server::start(mode, &[ON, "--threads", "2"]);
    for header in headers().into_iter().filter(|header| header.len() < 100) {
        let client = server.connect();
        for byte in header.chunks(1) {
            client.send(byte);
            // Each byte is a segment. The server reads them one by one, or some of them together.
            thread::yield_now();
        }
        client.exchange(b"complete");
    }
    server.stop();
}

fn a_long_payload_follows_the_header_at_once(mode: &'static Mode) {
    let server = Server::start(mode, &[ON, "--threads", "2"]);
    let bytes = noise(1 << 20);
    for header in [from("203.0.113.7"), v2(PROXY, TCP4, &[&[127; 12][..], &tlv(1500)].concat())] {
        let client = server.connect();
        let echo = client.exchange_to_end(&[&header[..], &bytes].concat());
        expect_same(&echo, &upper(&bytes));
    }
    let stopped = server.stop();
    assert_eq!((stopped.counted("bytes_received"), stopped.counted("connections")), (2 << 20, 2));
}

fn work_is_done_for_the_payload_and_not_for_the_header(mode: &'static Mode) {
    for work in ["sleep:10ms", "block:10ms", "cpu:1ms"] {
        let server = Server::start(mode, &[ON, "--work", work]);
        let client = connect(&server, &[&from("203.0.113.7")[..], b"with its header"].concat());
        client.send(b", and after it");
        client.finish_sending();
        expect_same(&client.receive_to_end(), b"WITH ITS HEADER, AND AFTER IT");
    }
    let server = Server::start(mode, &[ON, "--work", "sleep:1h"]);
    // A header that counted as a read would delay the check of the next bytes.
    let client = server.connect();
    let (front, rest) = (b"PROXY UNK".as_slice(), b"XXXXXXXX".as_slice());
    client.send(front);
    client.expect_silence(Duration::from_millis(20));
    client.send(rest);
    client.expect_close_or_reset();
}

fn unix_sockets_expect_a_header_too(mode: &'static Mode) {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let args = [ON, "--deny", "192.0.2.0/24", "--deny", "127.0.0.0/8"];
    let server = ServerCommand::new(mode).listen(&socket).args(&args).start();
    let header = from("203.0.113.7");
    let (front, rest) = header.split_at(5);
    let client = connect(&server, front);
    client.expect_silence(Duration::from_millis(20));
    client.send(&[rest, b"hello"].concat());
    client.expect_reply_to(b"hello");
    connect(&server, &local()).exchange(b"hello");
    connect(&server, &from("192.0.2.7")).expect_close_or_reset();
    connect(&server, b"hello").expect_close_or_reset();
    drop(client);
    let stopped = server.stop();
    assert_eq!(stopped.counted("turned_away_denied"), 1);
    assert_eq!(stopped.counted("turned_away_proxy_header"), 1);
}

fn the_source_is_checked_and_not_the_peer(mode: &'static Mode) {
    // The test itself, which is the balancer here, is not allowed.
    let networks = ["--allow", "203.0.113.0/24,2001:db8::/32", "--deny", "203.0.113.9,2001:db8:9::/48"];
    let server = Server::start(mode, &[&[ON, "--threads", "2"], &networks[..]].concat());
    let v1 = |source: &str| format!("PROXY TCP4 {source} 192.0.2.1 12345 443\r\n").into_bytes();
    for allowed in [from("203.0.113.7"), from("2001:db8::7"), from("::ffff:203.0.113.7"), v1("203.0.113.7")] {
        connect(&server, &allowed).exchange(b"hello");
    }
    let denied =
        [from("203.0.113.9"), from("2001:db8:9::1"), from("198.51.100.1"), from("::1"), v1("203.0.113.9")];
    for header in &denied {
        // Together with its payload: no byte is echoed.
        let client = server.connect();
        let echo = client.try_exchange_after(header, b"hello?");
        assert!(echo.is_err(), "{echo:?}");
    }
    let line = server.log().wait_for("turned away");
    assert_eq!((field(&line, "reason").trim_matches('"'), field(&line, "client")), ("denied", "203.0.113.9"));
    let stopped = server.stop();
    assert_eq!(stopped.counted("turned_away_denied"), denied.len() as u64);
    assert_eq!((stopped.counted("connections"), stopped.counted("bytes_received")), (4, 4 * 5));
}

fn each_source_has_its_own_limit(mode: &'static Mode) {
    let server = Server::start(mode, &[ON, "--threads", "2", "--max-connections-per-ip", "1"]);
    let (one, other) = (from("203.0.113.7"), from("203.0.113.8"));
    // An IPv6 /64 counts as one client.
    let (six, neighbour) = (from("2001:db8::7"), from("2001:db8::ffff:8"));
    let first = connect(&server, &one);
    first.exchange(b"hello");
    let others = [connect(&server, &other), connect(&server, &six)];
    others.iter().for_each(|client| client.exchange(b"hello"));
    connect(&server, &one).expect_close_or_reset();
    connect(&server, &neighbour).expect_close_or_reset();
    // A connection that waits for its header counts for no client.
    let waiting = connect(&server, &one[..20]);
    drop(first);
    let again = wait_for("there is room again", || served(&server, &one));
    waiting.send(&one[20..]);
    waiting.expect_close_or_reset();
    again.exchange(b"still here");
    drop((again, others));
    assert!(server.stop().counted("turned_away_per_ip") >= 3);
}

fn without_a_source_the_peer_is_checked(mode: &'static Mode) {
    let server = Server::start(mode, &[ON, "--deny", "127.0.0.2"]);
    let (one, two) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    for header in [local(), v2(PROXY, UNSPEC, b""), v2(PROXY, UNIX, &[0; 216]), b"PROXY UNKNOWN\r\n".to_vec()]
    {
        let client = Client::connect_from(server.address(), one);
        client.send(&header);
        client.exchange(b"hello");
        let denied = Client::connect_from(server.address(), two);
        denied.send(&header);
        denied.expect_close_or_reset();
    }
    let stopped = server.stop();
    assert_eq!((stopped.counted("connections"), stopped.counted("turned_away_denied")), (4, 4));
}

fn a_connection_without_a_header_is_closed_and_counted(mode: &'static Mode) {
    let server = Server::start(mode, &[ON, "--threads", "2"]);
    let at_rest = {
        // `descriptors_at_rest` sends no header.
        connect(&server, &local()).exchange(b"hello");
        server.descriptors()
    };
    let too_long = v2(PROXY, TCP4, &[&[127; 12][..], &tlv(2048)].concat());
    let wrong = [
        b"hello".to_vec(),
        b"PROXY hello, world\r\n".to_vec(),
        v2(0x31, TCP4, &[127; 12]),
        v2(PROXY, 0x51, &[127; 12]),
        too_long,
    ];
    for bytes in &wrong {
        connect(&server, bytes).expect_close_or_reset();
    }
    let incomplete = connect(&server, &local()[..15]);
    incomplete.finish_sending();
    incomplete.expect_end();
    let count = wrong.len() as u64 + 1;
    let line = server.log().wait_for("turned away");
    assert_eq!(field(&line, "reason").trim_matches('"'), "proxy_header");
    assert_eq!(field(&line, "client"), "127.0.0.1");
    wait_until("every descriptor is closed", || server.descriptors() <= at_rest);
    let stopped = server.stop();
    let turned_away = (stopped.counted("turned_away"), stopped.counted("turned_away_proxy_header"));
    assert_eq!(turned_away, (count, count));
    assert_eq!((stopped.counted("connections"), stopped.counted("bytes_received")), (1, 5));
    let lines = stopped.finished.stderr.lines().filter(|line| line.contains("turned away")).count();
    assert!((1..=3).contains(&lines), "{lines} lines:\n{}", stopped.finished.stderr);
}

fn a_client_without_a_header_holds_its_place_only_until_the_deadline(mode: &'static Mode) {
    let args = [ON, "--max-connections", "2", "--idle-timeout", "300ms"];
    let server = Server::start(mode, &args);
    let (silent, slow) = (server.connect(), server.connect());
    let header = v2(PROXY, TCP4, &[&[127; 12][..], &tlv(2000)].concat());
    // More bytes do not extend the time.
    for byte in header.chunks(1) {
        if slow.try_send(byte).is_err() || slow.has_unread_bytes() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    slow.expect_close_or_reset();
    silent.expect_end();
    connect(&server, &local()).exchange(b"there is room");
    assert_eq!(server.stop().counted("turned_away_proxy_header"), 2);
}

fn a_client_that_half_closes_after_its_header_is_served(mode: &'static Mode) {
    let server = Server::start(mode, &[ON]);
    let header = from("203.0.113.7");
    let client = connect(&server, &header);
    client.finish_sending();
    client.expect_end();
    let client = connect(&server, &[&header[..], b"the only request"].concat());
    client.finish_sending();
    expect_same(&client.receive_to_end(), b"THE ONLY REQUEST");
    let stopped = server.stop();
    assert_eq!((stopped.counted("connections"), stopped.counted("turned_away")), (2, 0));
}

fn a_connection_whose_header_was_read_gets_one_more_reply_during_a_drain(mode: &'static Mode) {
    let server = ServerCommand::new(mode).env("RUST_LOG", "debug").args(&LONG).start();
    let clients: Vec<_> = (0..5).map(|_| connect(&server, &from("203.0.113.7"))).collect();
    wait_until("every header was read", || server.log().count("received its PROXY header") == 5);
    server.begin_drain(Signal::TERM);
    for client in &clients {
        exchange_until_the_end(client, b"my request");
    }
    drop(clients);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!((stopped.counted("connections"), stopped.counted("drained")), (5, 5));
}

fn the_header_may_arrive_during_the_grace_period(mode: &'static Mode) {
    let server = Server::start(mode, &LONG);
    let header = from("203.0.113.7");
    let clients = [server.connect(), connect(&server, &header[..7])];
    server.begin_drain(Signal::TERM);
    clients[0].send(&header);
    clients[1].send(&header[7..]);
    for client in &clients {
        exchange_until_the_end(client, b"my request");
    }
    drop(clients);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!((stopped.counted("drained"), stopped.counted("turned_away")), (2, 0));
}

fn a_connection_without_its_header_is_half_closed_after_the_grace_period(mode: &'static Mode) {
    let server = Server::start(mode, &[ON, "--drain-timeout", "1h", "--drain-grace", "200ms"]);
    let clients = [server.connect(), connect(&server, &from("203.0.113.7")[..7])];
    server.begin_drain(Signal::TERM);
    let waited = timed(|| clients.iter().for_each(Client::expect_end));
    assert!(waited >= Duration::from_millis(100), "half-closed after {waited:?}");
    drop(clients);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!((stopped.counted("drained"), stopped.counted("turned_away")), (2, 0));
}

fn the_start_and_the_debug_log_name_the_protocol_and_the_client() {
    let server = ServerCommand::bare().env("RUST_LOG", "debug").args(&[ON]).start();
    assert_eq!(field(&server.log().wait_for("started"), "proxy_protocol"), "true");
    connect(&server, &from("203.0.113.7")).exchange(b"hello");
    let line = server.log().wait_for("received its PROXY header");
    assert_eq!(field(&line, "client"), "203.0.113.7");
    assert!(line.contains("peer=127.0.0.1:"), "{line}");
    let off = ServerCommand::bare().env("SERVER_PROXY_PROTOCOL", "0").start();
    assert!(!off.log().wait_for("started").contains("proxy_protocol"));
}

fn haproxy_and_every_mode() -> Result<(), String> {
    haproxy().and_then(|()| machine::every_mode())
}

/// A real HAProxy in front of a server in each mode, for both versions of the header.
fn haproxy_names_its_clients_in_every_mode() {
    let servers: Vec<_> = MODES
        .iter()
        .map(|mode| {
            let command = ServerCommand::new(mode).env("RUST_LOG", "debug");
            command.args(&[ON, "--threads", "1", "--deny", "127.0.0.2"]).start()
        })
        .collect();
    let proxied = |version| servers.iter().map(move |server| (server.address(), version));
    let haproxy = HaProxy::start(proxied("send-proxy-v2").chain(proxied("send-proxy")));
    for address in &haproxy.addresses {
        let report = Loadgen::run(Some(address), "-c 4 -n 400 -w 0s").any_report();
        assert_eq!(report.0["requests"]["failed"], 0, "{}", report.0["requests"]);
        let denied = Client::connect_from(address, Ipv4Addr::new(127, 0, 0, 2));
        // HAProxy may have closed the connection already.
        _ = denied.try_exchange(b"hello?");
        denied.expect_close_or_reset();
    }
    for server in &servers {
        // The health checks come with LOCAL, and get their echo.
        let is_local = |line: &str| line.ends_with("received its PROXY header");
        wait_until("there was a health check", || {
            let log = server.log().so_far();
            log.lines().any(is_local) && log.contains("closed received=7 sent=7")
        });
    }
    drop(haproxy);
    for server in servers {
        let stopped = server.stop();
        assert_eq!((stopped.counted("turned_away"), stopped.counted("turned_away_denied")), (2, 2));
    }
}

/// A running HAProxy.
struct HaProxy {
    /// Where it listens for each server.
    addresses: Vec<Address>,
    _running: Running,
    _configuration: tempfile::TempDir,
}

impl HaProxy {
    /// Starts it in front of these servers, each with the option that sends the header. It takes its listeners from descriptor
    /// 3 on.
    fn start<'a>(servers: impl Iterator<Item = (&'a Address, &'a str)>) -> Self {
        let mut configuration =
            "defaults\n mode tcp\n timeout connect 30s\n timeout client 30s\n timeout server 30s\n \
                                 timeout check 30s\n option tcp-check\n tcp-check send healthy\n \
                                 tcp-check expect string HEALTHY\n"
                .to_owned();
        let (mut addresses, mut mappings) = (Vec::new(), Vec::new());
        for (child_fd, (server, option)) in (3..).zip(servers) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
            addresses.push(listener.local_addr().unwrap().to_string().parse().expect("it is an address"));
            mappings.push(FdMapping { parent_fd: OwnedFd::from(listener), child_fd });
            configuration += &format!(
                "listen l{child_fd}\n bind fd@{child_fd}\n server s {server} {option} check inter 100ms\n"
            );
        }
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration).expect("the folder is our own");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        command.fd_mappings(mappings).expect("each descriptor is given once");
        Self { addresses, _running: Running::start(&mut command), _configuration: folder }
    }
}
