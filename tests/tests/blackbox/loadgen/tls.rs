//! Load over TLS.

use std::{fs, path::Path};

use crate::{
    behaviour::group,
    harness::{
        Finished, Server, ServerCommand,
        load::{Loadgen, Peer, Report, ignore},
        machine::{nginx, stunnel},
        tls::{Authority, Certificate, Terminator, TlsPeer},
    },
};

group! {
    once {
        every_byte_is_verified_and_each_connection_has_its_handshake,
        a_client_that_reconnects_resumes_its_session_unless_that_is_off,
        large_messages_are_pipelined,
        an_open_loop_runs_over_tls,
        the_name_is_that_of_the_target_or_the_given_one,
        the_agreed_protocol_is_reported,
        a_certificate_of_an_unknown_authority_is_named,
        an_expired_certificate_is_named_with_its_date,
        a_certificate_for_another_name_is_named_with_its_names,
        a_certificate_in_the_file_is_trusted_itself,
        insecure_accepts_any_certificate_and_says_so,
        a_required_client_certificate_is_shown_or_missed,
        servers_without_tls_are_named,
        a_server_that_does_not_answer_the_handshake_is_named,
        without_a_common_protocol_there_is_no_load,
        files_are_checked_before_the_load,
        flags_that_need_others_are_usage_errors,
        the_first_failure_of_tls_is_in_the_report,
        a_sweep_and_a_comparison_use_tls,
        merged_results_keep_their_handshakes,
        stunnel_serves_every_request needs stunnel,
        stunnel_resumes_sessions needs stunnel,
        stunnel_requires_client_certificates needs stunnel,
        nginx_serves_every_request needs nginx,
        nginx_with_tls_1_2_resumes_sessions needs nginx,
        nginx_requires_client_certificates needs nginx,
    }
}

/// A server, an authority, and a certificate for the server.
struct Scene {
    server: Server,
    authority: Authority,
    certificate: Certificate,
}

impl Scene {
    fn new() -> Self {
        let authority = Authority::new("The Authority");
        let certificate = authority.issue("echo", &["echo.example", "localhost", "127.0.0.1"]);
        Self { server: ServerCommand::bare().start(), authority, certificate }
    }

    /// A load on this address, with the authority trusted.
    fn load(&self, address: &common::Address, args: &str) -> Loadgen {
        trusting(&self.authority.file(), Loadgen::run(Some(address), args))
    }
}

fn trusting(file: &Path, load: Loadgen) -> Loadgen {
    load.args(["--tls", "--tls-ca", file.to_str().unwrap()])
}

/// The counts of handshakes: full and resumed.
fn handshakes(report: &Report) -> (u64, u64) {
    let counts = (report.count("tls.full_handshakes"), report.count("tls.resumed_handshakes"));
    assert_eq!(counts.0 + counts.1, report.count("connections.established"));
    assert_eq!(counts.0 + counts.1, report.count("latency_ns.handshake.count"));
    counts
}

/// Expects that the load was refused before it began, for this reason.
#[track_caller]
fn expect_refusal(finished: &Finished, parts: &[&str]) {
    finished.expect_code(1).expect_stderr(&["cannot be loaded with TLS"]).expect_stderr(parts);
    assert_eq!(finished.stdout, "");
}

fn every_byte_is_verified_and_each_connection_has_its_handshake() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let report = scene.load(proxy.address(), "-c 10 -n 2000 -w 0s").report();
    report.expect_all_verified();
    assert_eq!(report.count("requests.completed"), 2000);
    assert_eq!(handshakes(&report), (10, 0));
    assert_eq!(report.count("latency_ns.connect.count"), 10);
    assert_eq!(report.at("tls.version"), "TLS 1.3");
    assert_eq!(report.at("plan.tls.insecure"), false);
    let text = scene.load(proxy.address(), "-c 3 -n 30 -w 0s").finish();
    for part in [
        "TLS 1.3, TLS_AES_256_GCM_SHA384, certificates checked against",
        "3 full, 0 resumed",
        "TLS handshake",
    ] {
        assert!(text.stdout.contains(part), "{part}: {text}");
    }
    for (format, part) in [("csv", ",handshake_p50_ns,"), ("html", "TLS handshake")] {
        let finished = scene.load(proxy.address(), "-c 3 -n 30 -w 0s").args(["--format", format]).finish();
        assert!(finished.stdout.contains(part), "{finished}");
    }
}

fn a_client_that_reconnects_resumes_its_session_unless_that_is_off() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let args = "-c 4 -n 400 -w 0s --requests-per-connection 10";
    let resumed = scene.load(proxy.address(), args).any_report();
    resumed.expect_replies_verified();
    let (full, again) = handshakes(&resumed);
    assert!(full == 4 && again >= 35, "{full} and {again}");
    let off = scene.load(proxy.address(), args).args(["--tls-resumption", "off"]).any_report();
    let (full, again) = handshakes(&off);
    assert!(full >= 39 && again == 0, "{full} and {again}");
    // Without tickets there is nothing to resume.
    let forgetful = TlsPeer { forgets_sessions: true, ..TlsPeer::default() };
    let proxy = forgetful.start(&scene.certificate, scene.server.address());
    assert_eq!(handshakes(&scene.load(proxy.address(), args).any_report()).1, 0);
}

fn large_messages_are_pipelined() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let report = scene.load(proxy.address(), "-c 3 -n 120 -w 0s -s 100k -p 4").report();
    report.expect_all_verified();
    assert_eq!(report.count("requests.bytes_received"), 12_000_000);
}

fn an_open_loop_runs_over_tls() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let report = scene.load(proxy.address(), "-c 5 -r 500 -n 300 -w 0s").report();
    report.expect_all_verified();
    assert_eq!(report.count("requests.completed"), 300);
}

fn the_name_is_that_of_the_target_or_the_given_one() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let common::Address::Tcp { port, .. } = proxy.address() else { panic!("it is a TCP address") };
    let named = common::Address::Tcp { host: "localhost".to_owned(), port: *port };
    scene.load(&named, "-c 1 -n 5 -w 0s").any_report().expect_replies_verified();
    scene.load(proxy.address(), "-c 1 -n 5 -w 0s").any_report().expect_replies_verified();
    let given = scene.load(proxy.address(), "-c 1 -n 5 -w 0s --tls-name echo.example").any_report();
    assert_eq!(given.at("plan.tls.name"), "echo.example");
    // Each load connects once before its clients. An IP address is not sent.
    let names = proxy.names();
    let sent = |name: Option<&str>| names.iter().filter(|sent| sent.as_deref() == name).count();
    assert_eq!((sent(Some("localhost")), sent(None), sent(Some("echo.example"))), (2, 2, 2), "{names:?}");
}

fn the_agreed_protocol_is_reported() {
    let scene = Scene::new();
    let peer = TlsPeer { alpn: &["echo/1", "echo/2"], ..TlsPeer::default() };
    let proxy = peer.start(&scene.certificate, scene.server.address());
    let report =
        scene.load(proxy.address(), "-c 1 -n 5 -w 0s --tls-alpn other,echo/2 --tls-alpn h2").any_report();
    assert_eq!(report.at("tls.alpn"), "echo/2");
    assert_eq!(report.at("plan.tls.alpn"), &serde_json::json!(["other", "echo/2", "h2"]));
}

fn a_certificate_of_an_unknown_authority_is_named() {
    let (scene, other) = (Scene::new(), Authority::new("Another Authority"));
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let finished = trusting(&other.file(), Loadgen::run(Some(proxy.address()), "-n 5")).finish();
    expect_refusal(&finished, &["certificate of \"CN=echo\"", "\"CN=The Authority\"", "--tls-ca"]);
    // The system does not trust it either.
    let finished = Loadgen::run(Some(proxy.address()), "-n 5 --tls")
        .env("SSL_CERT_FILE", other.file().to_str().unwrap())
        .finish();
    expect_refusal(&finished, &["certificate of \"CN=echo\"", "\"CN=The Authority\"", "--tls-ca"]);
    // But it may.
    let trusted = Loadgen::run(Some(proxy.address()), "-n 5 -c 1 -w 0s --tls")
        .env("SSL_CERT_FILE", scene.authority.file().to_str().unwrap());
    trusted.any_report().expect_replies_verified();
}

fn an_expired_certificate_is_named_with_its_date() {
    let scene = Scene::new();
    let old = scene.authority.issue_expired("old", &["127.0.0.1"]);
    let proxy = TlsPeer::default().start(&old, scene.server.address());
    let finished = scene.load(proxy.address(), "-n 5").finish();
    expect_refusal(&finished, &["certificate of \"CN=old\" expired on 2021-02-03T00:00:00Z"]);
}

fn a_certificate_for_another_name_is_named_with_its_names() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let finished = scene.load(proxy.address(), "-n 5 --tls-name elsewhere.example").finish();
    let names = "not for 'elsewhere.example': it is for echo.example, localhost, 127.0.0.1";
    expect_refusal(&finished, &[names, "--tls-name"]);
}

fn a_certificate_in_the_file_is_trusted_itself() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let load = |args| trusting(&scene.certificate.certificate, Loadgen::run(Some(proxy.address()), args));
    load("-c 1 -n 5 -w 0s").any_report().expect_replies_verified();
    // Its name is checked as that of any other.
    let finished = load("-n 5 --tls-name elsewhere.example").finish();
    expect_refusal(&finished, &["not for 'elsewhere.example'"]);
    // And its time.
    let old = scene.authority.issue_expired("old", &["127.0.0.1"]);
    let proxy = TlsPeer::default().start(&old, scene.server.address());
    let finished = trusting(&old.certificate, Loadgen::run(Some(proxy.address()), "-n 5")).finish();
    expect_refusal(&finished, &["expired on 2021-02-03"]);
}

fn insecure_accepts_any_certificate_and_says_so() {
    let scene = Scene::new();
    let old = scene.authority.issue_expired("old", &["elsewhere.example"]);
    let proxy = TlsPeer::default().start(&old, scene.server.address());
    let report = Loadgen::run(Some(proxy.address()), "-c 2 -n 20 -w 0s --tls --tls-insecure").any_report();
    report.expect_replies_verified();
    assert_eq!(report.at("plan.tls.insecure"), true);
    assert!(report.at("notes").to_string().contains("--tls-insecure: no certificate was checked"));
}

fn a_required_client_certificate_is_shown_or_missed() {
    let scene = Scene::new();
    let ca = scene.authority.file();
    let peer = TlsPeer { client_authority: Some(&ca), ..TlsPeer::default() };
    let proxy = peer.start(&scene.certificate, scene.server.address());
    expect_mutual_tls(&scene, proxy.address(), "certificate_required");
}

/// Expects that this server demands a certificate of the scene's authority. Without one it sends this alert.
#[track_caller]
fn expect_mutual_tls(scene: &Scene, address: &common::Address, alert: &str) {
    let args = "-c 3 -n 30 -w 0s";
    let finished = scene.load(address, args).finish();
    expect_refusal(&finished, &[alert, "--tls-cert and --tls-key"]);
    let own = scene.authority.issue_to_client("client");
    let shown = |files: &Certificate| {
        let (certificate, key) = (files.certificate.to_str().unwrap(), files.key.to_str().unwrap());
        scene.load(address, args).args(["--tls-cert", certificate, "--tls-key", key])
    };
    let report = shown(&own).any_report();
    report.expect_replies_verified();
    assert!(report.at("plan.tls.client_certificate").as_str().unwrap().ends_with("client.pem"));
    let nobody = Authority::new("Nobody");
    expect_refusal(&shown(&nobody.issue_to_client("stranger")).finish(), &[]);
}

fn servers_without_tls_are_named() {
    let scene = Scene::new();
    let finished = scene.load(scene.server.address(), "-n 5").finish();
    expect_refusal(&finished, &["it is an echo without TLS"]);
    let greets = Peer::start(|_, mut stream| {
        std::io::Write::write_all(&mut stream, b"220 mail.example ESMTP\r\n")?;
        ignore(&stream)
    });
    let finished = scene.load(greets.address(), "-n 5").finish();
    expect_refusal(&finished, &["the server's first bytes are no TLS (\"220 mail.example", "remove --tls"]);
}

fn a_server_that_does_not_answer_the_handshake_is_named() {
    let scene = Scene::new();
    let silent = Peer::start(|_, stream| ignore(&stream));
    let finished = scene.load(silent.address(), "-n 5 --connect-timeout 300ms").finish();
    expect_refusal(&finished, &["no TLS handshake within 300ms; does it speak TLS on this port?"]);
    let closing = Peer::start(|_, _| Ok(()));
    let finished = scene.load(closing.address(), "-n 5").finish();
    expect_refusal(&finished, &["the connection before it sent a byte"]);
    // The server may still be starting.
    let finished = scene.load(closing.address(), "-n 5 --wait-for-server 200ms").finish();
    finished.expect_code(1).expect_stderr(&["did not answer within 200ms", "before it sent a byte"]);
}

fn without_a_common_protocol_there_is_no_load() {
    let scene = Scene::new();
    let peer = TlsPeer { alpn: &["http/1.1"], ..TlsPeer::default() };
    let proxy = peer.start(&scene.certificate, scene.server.address());
    let finished = scene.load(proxy.address(), "-n 5 --tls-alpn h2,h3").finish();
    expect_refusal(&finished, &["none of the protocols of --tls-alpn (h2, h3)"]);
}

fn files_are_checked_before_the_load() {
    let authority = Authority::new("The Authority");
    let (one, other) = (authority.issue_to_client("one"), authority.issue_to_client("other"));
    let empty = authority.path("empty.pem");
    fs::write(&empty, "").unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key, wrong_key) = (path(&one.certificate), path(&one.key), path(&other.key));
    let (empty, missing) = (path(&empty), path(&authority.path("missing.pem")));
    let files = |certificate, key| vec!["--tls-cert", certificate, "--tls-key", key];
    for (args, flag, problem) in [
        (vec!["--tls-ca", &empty], "--tls-ca", "no certificate in PEM format is in it"),
        (vec!["--tls-ca", &key], "--tls-ca", "no certificate in PEM format is in it"),
        (vec!["--tls-ca", &missing], "--tls-ca", "it cannot be read: No such file"),
        (files(&certificate, &empty), "--tls-key", "no private key in PEM format is in it"),
        (files(&empty, &key), "--tls-cert", "no certificate in PEM format is in it"),
        (files(&certificate, &wrong_key), "--tls-key", "does not belong to the certificate in"),
    ] {
        // Nothing listens there: the files are read first.
        let finished = Loadgen::new(&["run", "127.0.0.1:1", "--tls"]).args(args).finish();
        finished.expect_code(2).expect_stderr(&[flag, problem]);
    }
}

fn flags_that_need_others_are_usage_errors() {
    for (args, parts) in [
        ("run 127.0.0.1:1 --tls-insecure", &["--tls"][..]),
        ("run 127.0.0.1:1 --tls-resumption off", &["--tls"]),
        ("run 127.0.0.1:1 --tls --tls-cert x", &["--tls-key"]),
        ("run 127.0.0.1:1 --tls --tls-key x", &["--tls-cert"]),
        ("run 127.0.0.1:1 --tls --tls-insecure --tls-ca x", &["--tls-insecure", "--tls-ca"]),
        ("run 127.0.0.1:1 --tls --kernel-timestamps", &["--tls", "--kernel-timestamps"]),
        (
            "run 127.0.0.1:1 --tls --tls-insecure --tls-name a/b",
            &["'a/b' cannot be the name of a TLS server"],
        ),
        ("run unix:/x --tls --tls-insecure", &["unix:/x has no host name", "--tls-name"]),
        ("run --tls --tls-insecure", &["loadgen's own server does not: give a target"]),
        ("compare --tls --tls-insecure", &["give a target, or a server with --server"]),
        ("sweep --tls --tls-insecure --modes all", &["give a target, or a server with --server"]),
    ] {
        let args: Vec<_> = args.split(' ').collect();
        Loadgen::new(&args).finish().expect_code(2).expect_stderr(parts);
    }
}

/// A server that speaks TLS to the first connection only: the one before the load, or that and some clients.
fn the_first_failure_of_tls_is_in_the_report() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let good = proxy.address().resolve().unwrap()[0];
    let mixed = Peer::start(move |number, mut stream| match number {
        // The handshake before the load, and the first client.
        0 | 1 => relay(stream, std::net::TcpStream::connect(good)?),
        _ => std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n"),
    });
    let report = scene.load(mixed.address(), "-c 2 -d 1s -w 0s -t 1").any_report();
    let failures = report.count("errors.tls") + report.0["errors_before_window"]["tls"].as_u64().unwrap_or(0);
    assert!(failures > 0, "{}", report.at("errors"));
    assert!(report.at("tls.first_failure").as_str().unwrap().contains("\"SSH-2.0-OpenSSH_"));
    assert_eq!(handshakes(&report), (1, 0));
}

fn relay(one: std::net::TcpStream, other: std::net::TcpStream) -> std::io::Result<()> {
    let (mut from, mut to) = (one.try_clone()?, other.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let (mut from, mut to) = (other, one);
    std::io::copy(&mut from, &mut to).map(drop)
}

fn a_sweep_and_a_comparison_use_tls() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let (target, ca) = (proxy.address().to_string(), scene.authority.file());
    let ca = ca.to_str().unwrap();
    let sweep =
        ["sweep", &target, "--rates", "100,200", "-c", "2", "-d", "300ms", "-w", "0s", "--repeats", "1"];
    let finished = Loadgen::new(&sweep).args(["--tls", "--tls-ca", ca, "--format", "json"]).finish();
    let sweep: serde_json::Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished}"));
    let report = &sweep["subjects"][0]["points"][0];
    assert_eq!(report["tls"]["full_handshakes"], 2, "{finished}");
}

fn merged_results_keep_their_handshakes() {
    let scene = Scene::new();
    let proxy = TlsPeer::default().start(&scene.certificate, scene.server.address());
    let parts = ["1", "2"].map(|seed| {
        let file = scene.authority.path(&format!("{seed}.json"));
        let args = format!("-c 3 -d 3s -w 0s --seed {seed} -o {}", file.display());
        (scene.load(proxy.address(), &args).start(), file.to_str().unwrap().to_owned())
    });
    let files = parts.map(|(running, file)| {
        running.finish().expect_report();
        file
    });
    let merged = Loadgen::new(&["merge", &files[0], &files[1]]).any_report();
    assert_eq!(handshakes(&merged), (6, 0));
    assert_eq!(merged.at("tls.version"), "TLS 1.3");
}

fn stunnel_serves_every_request() {
    let scene = Scene::new();
    let stunnel = Terminator::stunnel(&scene.certificate, scene.server.address(), "");
    expect_service(&scene, stunnel.address());
}

fn stunnel_resumes_sessions() {
    let scene = Scene::new();
    let stunnel = Terminator::stunnel(&scene.certificate, scene.server.address(), "");
    expect_resumption(&scene, stunnel.address());
}

fn stunnel_requires_client_certificates() {
    let scene = Scene::new();
    let more = format!("verify = 2\nCAfile = {}", scene.authority.file().display());
    let stunnel = Terminator::stunnel(&scene.certificate, scene.server.address(), &more);
    expect_mutual_tls(&scene, stunnel.address(), "certificate_required");
}

fn nginx_serves_every_request() {
    let scene = Scene::new();
    let nginx = Terminator::nginx(&scene.certificate, scene.server.address(), "");
    expect_service(&scene, nginx.address());
}

fn nginx_with_tls_1_2_resumes_sessions() {
    let scene = Scene::new();
    let more = "ssl_protocols TLSv1.2;\nssl_session_cache shared:s:1m;";
    let nginx = Terminator::nginx(&scene.certificate, scene.server.address(), more);
    assert_eq!(expect_resumption(&scene, nginx.address()).at("tls.version"), "TLS 1.2");
}

fn nginx_requires_client_certificates() {
    let scene = Scene::new();
    let ca = scene.authority.file();
    // nginx sends no alert. It closes the connection.
    let more = format!("ssl_verify_client on;\nssl_client_certificate {};", ca.display());
    let nginx = Terminator::nginx(&scene.certificate, scene.server.address(), &more);
    expect_mutual_tls(&scene, nginx.address(), "asked for a client certificate and closed the connection");
}

/// Small and large messages through a real program.
fn expect_service(scene: &Scene, address: &common::Address) {
    let small = scene.load(address, "-c 20 -n 4000 -w 0s").report();
    small.expect_all_verified();
    assert_eq!((small.count("requests.completed"), handshakes(&small)), (4000, (20, 0)));
    let large = scene.load(address, "-c 3 -n 120 -w 0s -s 100k -p 4").report();
    large.expect_all_verified();
    assert_eq!(large.count("requests.bytes_received"), 12_000_000);
}

/// Each client resumes its session when it reconnects, or never with `--tls-resumption off`.
fn expect_resumption(scene: &Scene, address: &common::Address) -> Report {
    let args = "-c 4 -n 400 -w 0s --requests-per-connection 10";
    let on = scene.load(address, args).any_report();
    on.expect_replies_verified();
    let (full, resumed) = handshakes(&on);
    assert!(full == 4 && resumed >= 35, "{full} and {resumed}");
    let off = scene.load(address, args).args(["--tls-resumption", "off"]).any_report();
    assert_eq!(handshakes(&off).1, 0);
    on
}
