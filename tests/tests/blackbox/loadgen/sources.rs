//! `--source`: the local addresses that clients connect from.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use crate::{
    behaviour::group,
    harness::{
        load::{Loadgen, Peer, Report, converse},
        machine,
    },
};

group! {
    once {
        clients_connect_from_the_given_addresses_in_turn,
        each_of_several_targets_gets_every_source,
        a_name_is_resolved_to_the_family_of_the_sources needs machine::ipv6,
        the_ports_of_all_sources_count needs machine::own_network,
        a_source_that_does_not_fit_is_refused,
        an_address_of_another_machine_is_an_error_before_the_load,
        compare_and_sweep_use_the_sources,
    }
}

/// An echo that records the addresses of its clients.
struct Recorder {
    peer: Peer,
    clients: Arc<Mutex<Vec<IpAddr>>>,
}

impl Recorder {
    fn start() -> Self {
        let clients = Arc::new(Mutex::new(Vec::new()));
        let peer = Peer::start({
            let clients = Arc::clone(&clients);
            move |_, stream| {
                clients.lock().unwrap().push(stream.peer_addr()?.ip());
                converse(&stream, <[u8]>::make_ascii_uppercase)
            }
        });
        Self { peer, clients }
    }

    /// The number of connections from each address.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for client in self.clients.lock().unwrap().iter() {
            *counts.entry(client.to_string()).or_default() += 1;
        }
        counts
    }
}

fn even(count: usize) -> BTreeMap<String, usize> {
    ["127.0.0.5", "127.0.0.6"].map(|source| (source.to_owned(), count)).into()
}

const BOTH: &str = "--source 127.0.0.5 --source 127.0.0.6";

fn clients_connect_from_the_given_addresses_in_turn() {
    let recorder = Recorder::start();
    let args = format!("-c 10 -n 100 -w 0s {BOTH}");
    let report = Loadgen::run(Some(recorder.peer.address()), &args).any_report();
    assert_eq!((report.errors(), report.count("requests.completed")), (0, 100));
    assert_eq!(recorder.counts(), even(5));
    assert_eq!(report.at("plan.sources"), &serde_json::json!(["127.0.0.5", "127.0.0.6"]));
    // The text names them too.
    let text = Loadgen::run(Some(recorder.peer.address()), &format!("{args} --fail-on never")).finish();
    assert!(text.expect_code(0).stdout.contains("from 127.0.0.5 and 127.0.0.6"), "{text}");
    // Without the flag, the kernel chooses.
    let recorder = Recorder::start();
    let report = Loadgen::run(Some(recorder.peer.address()), "-c 10 -n 100 -w 0s").any_report();
    assert_eq!(recorder.counts(), [("127.0.0.1".to_owned(), 10)].into());
    assert_eq!(report.at("plan.sources"), &serde_json::json!([]));
}

fn each_of_several_targets_gets_every_source() {
    let recorders = [Recorder::start(), Recorder::start()];
    let mut load = Loadgen::run(Some(recorders[0].peer.address()), &format!("-c 8 -n 100 -w 0s {BOTH}"));
    let other = recorders[1].peer.address().to_string();
    load = load.args([other.as_str()]);
    assert_eq!(load.any_report().errors(), 0);
    for recorder in &recorders {
        assert_eq!(recorder.counts(), even(2));
    }
}

fn a_name_is_resolved_to_the_family_of_the_sources() {
    let recorder = Recorder::start();
    let port = recorder.peer.address().to_string().rsplit_once(':').unwrap().1.to_owned();
    let target = format!("localhost:{port}").parse().unwrap();
    let report = Loadgen::run(Some(&target), "-c 2 -n 20 -w 0s --source 127.0.0.5").any_report();
    assert_eq!((report.errors(), report.count("requests.completed")), (0, 20));
    // The connection that tests the name comes from the source, too.
    assert_eq!(recorder.counts().into_keys().collect::<Vec<_>>(), ["127.0.0.5"]);
}

fn the_ports_of_all_sources_count() {
    // There are 100 local ports for each address.
    let args = "-c 150 -n 300 -w 0s --source 127.0.0.5";
    Loadgen::run(None, args).with_few_local_ports().finish().expect_code(1).expect_stderr(&[
        "150 connections",
        "has 100 for its source address",
        "ip_local_port_range",
        "--source",
        "or use -c 90",
    ]);
    let report = Loadgen::run(None, &format!("{args} --source 127.0.0.6")).with_few_local_ports().report();
    report.expect_all_verified();
    assert_eq!(report.count("connections.established"), 150);
}

fn a_source_that_does_not_fit_is_refused() {
    for (args, said) in [
        (&["run", "--source", "nowhere"][..], "IPv4 or IPv6 address"),
        (&["run", "--source", "127.0.0.5:80"], "write 127.0.0.5"),
        (&["run", "--source", "0.0.0.0"], "remove --source"),
        (&["run", "--source", "127.0.0.5", "--source", "127.0.0.5"], "127.0.0.5 is given twice"),
        (&["run", "--source", "::1"], "cannot connect from --source ::1 to a server that loadgen starts"),
        (&["run", "--source", "::1", "127.0.0.1:9"], "cannot connect from --source ::1 to 127.0.0.1:9"),
        (&["run", "--source", "127.0.0.5", "[::1]:9"], "cannot connect from --source 127.0.0.5 to [::1]:9"),
        (
            &["run", "--source", "127.0.0.5", "unix:/tmp/x"],
            "--source is for TCP, and unix:/tmp/x is a unix socket",
        ),
        (&["compare", "--source", "::1"], "cannot connect from --source ::1"),
        (&["sweep", "--source", "::1"], "cannot connect from --source ::1"),
        (&["sweep", "--source", "::1", "127.0.0.1:9"], "cannot connect from --source ::1 to 127.0.0.1:9"),
        (&["sweep", "--source", "127.0.0.5", "unix:/tmp/x"], "--source is for TCP"),
    ] {
        let refused = Loadgen::new(args).finish();
        refused.expect_code(2).expect_stderr(&[said]);
        assert_eq!(refused.stdout, "", "{args:?}");
    }
}

fn an_address_of_another_machine_is_an_error_before_the_load() {
    // Reserved for documentation (RFC 5737).
    for command in ["run", "compare", "sweep"] {
        let failed = Loadgen::new(&[command, "--source", "192.0.2.1"]).finish();
        failed.expect_code(1).expect_stderr(&[
            "--source 192.0.2.1",
            "assign requested address",
            "ip address",
        ]);
        assert_eq!(failed.stdout, "", "{command}");
    }
}

fn compare_and_sweep_use_the_sources() {
    let args = format!("-c 4 -n 20 -w 0s --rounds 1 --modes tokio-task --format json {BOTH}");
    let compared = Loadgen::new(&["compare"]).args(args.split_whitespace()).finish();
    let compared = Report::read(compared.expect_code(0));
    assert_eq!(compared.count("subjects.0.rounds.0.requests.completed"), 20);
    assert_eq!(compared.at("plan.load.sources"), &serde_json::json!(["127.0.0.5", "127.0.0.6"]));
    let recorder = Recorder::start();
    let target = recorder.peer.address().to_string();
    let args = format!("{target} --rates 100 --repeats 1 -c 4 -d 200ms -w 0s {BOTH}");
    Loadgen::new(&["sweep"]).args(args.split_whitespace()).finish().expect_code(0);
    let counts = recorder.counts();
    assert!(counts["127.0.0.5"] > 1 && counts["127.0.0.5"] == counts["127.0.0.6"], "{counts:?}");
}
