//! memcached, whose `stats` count each command.

use serde_json::Value;

use crate::{
    behaviour::group,
    harness::{
        load::Loadgen,
        service::{self, Service},
    },
};

group! {
    once {
        each_command_is_counted_by_the_server_too needs service::memcached,
        hits_and_misses_are_told_apart needs service::memcached,
        meta_commands_and_statistics_are_read needs service::memcached,
        errors_are_unexpected needs service::memcached,
        it_is_compared_with_redis_which_has_another_protocol needs service::redis_and_memcached,
    }
}

/// A counter of the server.
fn stat(memcached: &Service, name: &str) -> u64 {
    let reply = memcached.ask("stats\r\n", "END\r\n");
    let line = reply.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
    line.unwrap_or_else(|| panic!("there is no {name}: {reply}")).trim().parse().expect("it is a number")
}

fn each_command_is_counted_by_the_server_too() {
    let memcached = Service::memcached();
    for pipeline in ["1", "16"] {
        let (gets, sets) = (stat(&memcached, "cmd_get"), stat(&memcached, "cmd_set"));
        let report = Loadgen::run(Some(&memcached.address()), "--protocol memcached -c 20 -n 6000 -w 0s")
            .args(["-p", pipeline, "--message", "3:get key:{random:1..1000}"])
            .args(["--message", "set key:{random:1..1000} 0 0 7\\r\\nEND\\r\\nab"])
            .report();
        assert_eq!(report.count("requests.completed"), 6000);
        let (gets, sets) = (stat(&memcached, "cmd_get") - gets, stat(&memcached, "cmd_set") - sets);
        assert_eq!(gets + sets, 6000);
        assert!((4300..4700).contains(&gets), "{gets}");
    }
}

fn hits_and_misses_are_told_apart() {
    let memcached = Service::memcached();
    memcached.ask("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    let run = |expect: &str| {
        Loadgen::run(Some(&memcached.address()), "--protocol memcached -c 2 -n 1000 -w 0s --fail-on never")
            .args(["--message", "get key", "--message", "get missing", "--expect", expect])
            .any_report()
    };
    let any = run("no-error");
    assert_eq!(any.count("requests.completed"), 1000);
    let misses = stat(&memcached, "get_misses");
    let hits = run("prefix:VALUE key");
    assert_eq!(hits.count("errors.unexpected"), stat(&memcached, "get_misses") - misses);
    assert_eq!(hits.count("requests.completed") + hits.count("errors.unexpected"), 1000);
}

fn it_is_compared_with_redis_which_has_another_protocol() {
    let finished = Loadgen::new(&[
        "compare", "-c", "10", "-d", "300ms", "-w", "50ms", "--rounds", "2", "-q", "--format", "json",
    ])
    .args(["--server", "redis=redis-server --port {port} --save ''"])
    .args(["--server", "memcached=memcached -l 127.0.0.1 -U 0 -u nobody -p {port}"])
    .args(["--dialogue", "redis=--protocol resp --message 'GET missing' --expect 'equals:$-1\\r\\n'"])
    .args([
        "--dialogue",
        "memcached=--protocol memcached --message 'get missing' --expect 'equals:END\\r\\n'",
    ])
    .finish();
    finished.expect_code(0);
    let result: Value = serde_json::from_str(&finished.stdout).expect("it is JSON");
    for (place, protocol) in [(0, "resp"), (1, "memcached")] {
        let server = &result["subjects"][place];
        for round in server["rounds"].as_array().expect("there are rounds") {
            let requests = &round["requests"];
            assert_eq!(round["plan"]["protocol"], protocol);
            assert!(requests["verified"].as_u64() > Some(0) && requests["failed"] == 0, "{requests}");
        }
    }
    assert!(
        result["subjects"][1]["against_baseline"]["replies_per_s"]["ratio"].is_number(),
        "{}",
        finished.stdout
    );
}

fn meta_commands_and_statistics_are_read() {
    let memcached = Service::memcached();
    let messages = [
        "mn",
        "ms key 5\\r\\nvalue",
        "mg key v",
        "mg key t",
        "mg missing v",
        "md key",
        "ma number N0 J5",
        "stats",
        "stats settings",
        "version",
        "incr missing 1",
        "touch key 100",
        "gats 100 key",
        "verbosity 0",
    ];
    let messages = messages.iter().flat_map(|message| ["--message", message]);
    let report = Loadgen::run(Some(&memcached.address()), "--protocol memcached -c 4 -p 8 -n 2000 -w 0s")
        .args(messages)
        .report();
    assert_eq!(report.count("requests.completed"), 2000);
}

fn errors_are_unexpected() {
    let memcached = Service::memcached();
    let report =
        Loadgen::run(Some(&memcached.address()), "--protocol memcached -c 2 -n 50 -w 0s --fail-on never")
            .args(["--message", "no such command"])
            .any_report();
    assert_eq!(report.count("errors.unexpected"), 50);
    assert_eq!(report.text("first_unexpected.got"), "ERROR\\r\\n");
}
