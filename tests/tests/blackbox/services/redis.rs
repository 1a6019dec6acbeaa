//! Redis, whose `INFO` counts each command.

use crate::{
    behaviour::group,
    harness::{
        load::Loadgen,
        service::{self, Service},
        tls::Authority,
    },
};

group! {
    once {
        each_command_is_counted_by_the_server_too needs service::redis,
        error_replies_are_unexpected needs service::redis,
        every_type_of_reply_is_read_in_both_versions needs service::redis,
        a_value_that_was_set_is_read_back needs service::redis,
        another_protocol_is_named needs service::redis,
        over_tls_not_one_command_is_lost needs service::redis,
    }
}

/// How often the server has executed a command.
fn calls(redis: &Service, command: &str) -> u64 {
    let reply = redis.ask("INFO commandstats\r\nQUIT\r\n", "+OK\r\n");
    let name = format!("cmdstat_{command}:calls=");
    let rest = reply.split_once(&name).map_or("0,", |(_, rest)| rest);
    rest.split(',').next().expect("a text has a first part").parse().expect("calls are a number")
}

fn each_command_is_counted_by_the_server_too() {
    let redis = Service::redis("");
    for (pipeline, threads) in [("1", "1"), ("16", "2")] {
        let (gets, sets) = (calls(&redis, "get"), calls(&redis, "set"));
        let report = Loadgen::run(Some(&redis.address()), "--protocol resp -c 20 -n 6000 -w 0s")
            .args(["-p", pipeline, "-t", threads])
            .args([
                "--message",
                "3:GET key:{zipf:1..1000:0.99}",
                "--message",
                "SET key:{random:1..1000} {fill:64}",
            ])
            .report();
        assert_eq!(report.count("requests.completed"), 6000);
        assert_eq!(report.count("requests.verified"), 6000);
        let (gets, sets) = (calls(&redis, "get") - gets, calls(&redis, "set") - sets);
        assert_eq!(gets + sets, 6000);
        // Three of four are GET; the seed decides which.
        assert!((4300..4700).contains(&gets), "{gets}");
    }
}

fn error_replies_are_unexpected() {
    let redis = Service::redis("");
    let finished = Loadgen::run(Some(&redis.address()), "--protocol resp -c 5 -n 1000 -w 0s --fail-on never")
        .args(["--message", "9:PING", "--message", "GET too many words"])
        .any_report();
    let wrong = finished.count("errors.unexpected");
    assert_eq!(finished.count("requests.completed") + wrong, 1000);
    assert_eq!(finished.count("requests.failed"), wrong);
    assert!((60..150).contains(&wrong), "{wrong}");
    assert_eq!(finished.count("errors.mismatch"), 0);
    // The connections are kept.
    assert_eq!(finished.count("connections.established"), 5);
    assert_eq!(finished.text("first_unexpected.expected"), "no-error");
    let got = finished.text("first_unexpected.got");
    assert!(got.starts_with("-ERR wrong number of arguments"), "{got}");
}

fn every_type_of_reply_is_read_in_both_versions() {
    let redis = Service::redis("");
    for version in ["2", "3"] {
        let hello = format!("HELLO {version}");
        let messages = [
            hello.as_str(),
            "PING",
            "INCR number",
            "GET missing",
            "CONFIG GET max*",
            "HSET hash a 1 b 2",
            "HGETALL hash",
            "SADD set a b c",
            "SMEMBERS set",
            "ZADD sorted 1.5 a 2.5 b",
            "ZRANGE sorted 0 -1 WITHSCORES",
            "COMMAND DOCS get set",
            "EVAL 'return {1,{2,{\"three\"}},false}' 0",
            "LOLWUT",
            "INFO",
        ];
        let messages = messages.iter().flat_map(|message| ["--message", message]);
        let report = Loadgen::run(Some(&redis.address()), "--protocol resp -c 4 -p 8 -n 2000 -w 0s")
            .args(messages)
            .report();
        assert_eq!(report.count("requests.completed"), 2000, "{version}");
    }
}

fn a_value_that_was_set_is_read_back() {
    let redis = Service::redis("");
    redis.ask("SET key \"some value\"\r\nQUIT\r\n", "+OK\r\n+OK\r\n");
    for (expect, completed) in [
        ("equals:$10\\r\\nsome value", 100),
        ("prefix:$10\\r\\nsome", 100),
        ("regex:some.*value", 100),
        ("equals:$10\\r\\nsome", 0),
        ("regex:^value", 0),
    ] {
        let report =
            Loadgen::run(Some(&redis.address()), "--protocol resp -c 2 -n 100 -w 0s --fail-on never")
                .args(["--message", "GET key", "--expect", expect])
                .any_report();
        assert_eq!(report.count("requests.completed"), completed, "{expect}");
    }
}

fn another_protocol_is_named() {
    let redis = Service::redis("");
    let finished = Loadgen::run(Some(&redis.address()), "--protocol memcached -c 2 -d 2s -w 0s")
        .args(["--message", "get key"])
        .finish();
    assert_eq!(finished.code, Some(4), "{finished}");
    assert!(finished.stdout.contains("no reply of the target keeps to --protocol memcached"), "{finished}");
}

fn over_tls_not_one_command_is_lost() {
    let authority = Authority::new("authority");
    let server = authority.issue("redis", &["127.0.0.1"]);
    let redis = Service::redis(&format!(
        "tls-port PORT\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no",
        server.certificate.display(),
        server.key.display(),
        authority.file().display()
    ));
    let trust = authority.file();
    let run = |args: &str, message: &str| {
        Loadgen::run(Some(&redis.address()), args)
            .args(["--protocol", "resp", "--tls", "--tls-ca", trust.to_str().expect("the path is UTF-8")])
            .args(["--message", message])
            .report()
    };
    let report = run("-c 5 -n 500 -w 0s -p 4 --requests-per-connection 20", "INCR number");
    assert_eq!(report.count("requests.completed"), 500);
    assert!(report.count("tls.full_handshakes") >= 5, "{:?}", report.at("tls"));
    let read_back = run("-c 1 -n 1 -w 0s --expect equals:$3\\r\\n500", "GET number");
    assert_eq!(read_back.count("requests.completed"), 1);
}
