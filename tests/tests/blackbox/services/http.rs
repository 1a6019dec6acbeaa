//! HTTP with nginx, whose access log has a line for each request.

use std::{
    fs,
    io::{self, Read, Write},
    net::Shutdown,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};

use crate::{
    behaviour::group,
    harness::{
        load::{Loadgen, Peer, Report},
        programs,
        service::{self, Service},
        tls::Authority,
    },
};

group! {
    once {
        each_request_is_in_the_access_log needs service::nginx,
        bodies_of_every_kind_have_their_end needs service::nginx,
        a_status_that_is_not_expected_is_shown needs service::nginx,
        a_server_that_closes_after_a_number_of_requests_loses_none needs service::nginx,
        a_recorded_file_is_sent_in_order needs service::nginx,
        started_web_servers_are_compared needs service::nginx,
        a_reply_to_a_part_of_a_request_completes_nothing,
        each_request_over_tls_is_in_the_access_log needs service::nginx,
    }
}

fn each_request_is_in_the_access_log() {
    let nginx = Service::nginx("", "");
    let report = Loadgen::run(Some(&nginx.address()), "--protocol http -c 20 -n 3000 -w 0s")
        .args(["--message", "3:GET /?{random:1..9}", "--message", "HEAD /index.html"])
        .report();
    assert_eq!(report.count("requests.completed"), 3000);
    let log = nginx.access_log(3000);
    let of = |method: &str| log.lines().filter(|line| line.starts_with(method)).count();
    assert_eq!(of("200 GET /?") + of("200 HEAD /index.html"), 3000);
    assert_eq!(log.lines().count(), 3000);
    assert!((2150..2350).contains(&of("200 GET")), "{}", of("200 GET"));
}

fn bodies_of_every_kind_have_their_end() {
    let nginx = Service::nginx(
        "",
        "location /empty { return 204; } location /moved { return 301 /; } \
         location /text { return 200 'HTTP/1.1 200 OK'; } \
         location /gzip { gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; alias HTML; } \
         location /post { return 200 'thanks'; }",
    );
    let messages = [
        "GET /",
        "GET /empty",
        "GET /moved",
        "GET /text",
        "GET /missing",
        "HEAD /missing",
        "GET /index.html\nRange: bytes=1-2",
        "GET /index.html\nIf-None-Match: *\nAccept-Encoding: gzip",
        "POST /post\nContent-Type: application/json\n\n{\"id\": \"{uuid}\"}",
    ];
    let messages = messages.iter().flat_map(|message| ["--message", message]);
    let report =
        Loadgen::run(Some(&nginx.address()), "--protocol http -c 4 -p 4 -n 2000 -w 0s --expect none")
            .args(messages)
            .report();
    assert_eq!(report.count("requests.completed"), 2000);
    assert_eq!(nginx.access_log(2000).lines().count(), 2000);
}

fn a_status_that_is_not_expected_is_shown() {
    let nginx = Service::nginx("", "");
    let run = |expect: Option<&str>| {
        let run = Loadgen::run(Some(&nginx.address()), "--protocol http -c 2 -n 100 -w 0s --fail-on never");
        let expect = expect.into_iter().flat_map(|expect| ["--expect", expect]);
        run.args(["--message", "GET /missing"]).args(expect).any_report()
    };
    let report = run(None);
    assert_eq!(report.count("errors.unexpected"), 100);
    assert_eq!(report.text("first_unexpected.expected"), "2xx");
    let got = report.text("first_unexpected.got");
    assert!(got.starts_with("HTTP/1.1 404 Not Found\\r\\n"), "{got}");
    assert_eq!(run(Some("404")).count("requests.completed"), 100);
    assert_eq!(run(Some("regex:<h1>404 Not Found</h1>")).count("requests.completed"), 100);
}

fn a_server_that_closes_after_a_number_of_requests_loses_none() {
    let nginx = Service::nginx("", "keepalive_requests 10;");
    let report = Loadgen::run(Some(&nginx.address()), "--protocol http -c 4 -n 1000 -w 0s")
        .args(["--message", "GET /"])
        .report();
    assert_eq!(report.count("requests.completed"), 1000);
    assert_eq!(report.count("requests.failed"), 0);
    assert_eq!(nginx.access_log(1000).lines().count(), 1000);
    let connections = report.count("connections.established");
    assert!((100..=104).contains(&connections), "{connections}");
}

fn a_recorded_file_is_sent_in_order() {
    let nginx = Service::nginx("", "");
    let file = nginx.folder().join("requests");
    fs::write(&file, "GET /?1\nGET /?2\nHEAD /?3\n").expect("the folder is ours");
    let report = Loadgen::run(Some(&nginx.address()), "--protocol http -c 1 -n 30 -w 0s")
        .args(["--messages", file.to_str().expect("the path is UTF-8")])
        .any_report();
    assert_eq!(report.count("requests.completed"), 30);
    let expected = "200 GET /?1\n200 GET /?2\n200 HEAD /?3\n".repeat(10);
    assert_eq!(nginx.access_log(30), expected);
}

fn started_web_servers_are_compared() {
    let script = programs::workspace().join("tests/peers/nginx.sh");
    let servers = ["one", "two"].map(|name| format!("{name}={} {{port}}", script.display()));
    let args = "compare --protocol http -c 4 -d 200ms -w 50ms --rounds 1 -q --format json";
    let finished = Loadgen::new(&args.split_whitespace().collect::<Vec<_>>())
        .args(["--message", "GET /", "--server", &servers[0], "--server", &servers[1]])
        .finish();
    let report = Report::read(finished.expect_report());
    for server in ["0", "1"] {
        assert!(report.count(&format!("subjects.{server}.rounds.0.requests.completed")) > 0);
        assert_eq!(report.count(&format!("subjects.{server}.rounds.0.requests.failed")), 0);
    }
}

fn each_request_over_tls_is_in_the_access_log() {
    let authority = Authority::new("authority");
    let server = authority.issue("nginx", &["127.0.0.1"]);
    let (certificate, key) = (server.certificate.display(), server.key.display());
    let nginx = Service::nginx("ssl", &format!("ssl_certificate {certificate}; ssl_certificate_key {key};"));
    let report = Loadgen::run(Some(&nginx.address()), "--protocol http --tls -c 5 -n 500 -w 0s")
        .args(["--tls-ca", authority.file().to_str().expect("the path is UTF-8"), "--message", "GET /"])
        .report();
    assert_eq!(report.count("requests.completed"), 500);
    assert_eq!(nginx.access_log(500).lines().count(), 500);
}

/// The server replies after the first byte of a large request, and its end of the stream ends the reply.
fn a_reply_to_a_part_of_a_request_completes_nothing() {
    let peer = Peer::start(|_, mut stream| {
        stream.read_exact(&mut [0])?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ntoo early")?;
        stream.shutdown(Shutdown::Write)?;
        // The client closes its side; without this, the unread bytes would reset the connection before it has read the reply.
        let most = Timespec::try_from(Duration::from_secs(2)).expect("it fits");
        poll(&mut [PollFd::new(&stream, PollFlags::empty())], Some(&most)).map(drop).map_err(io::Error::from)
    });
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let file = folder.path().join("request");
    let mut request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n".to_vec();
    request.resize(request.len() + 50_000_000, b'x');
    fs::write(&file, request).expect("the folder is ours");
    let report = Loadgen::run(Some(peer.address()), "--protocol http -c 1 -n 3 -w 0s --fail-on never")
        .args(["--message", &format!("@{}", file.display())])
        .any_report();
    assert_eq!(report.count("requests.completed"), 0);
    assert_eq!(report.count("errors.closed"), 3);
}
