//! A generator's host that is cut off in the middle of the run, and a test bed that leaves nothing behind.

use std::fs;

use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        load::{Loadgen, Report},
        network::{Network, hosts},
        wait_until,
    },
};

group! {
    once {
        a_killed_test_bed_leaves_no_process_and_no_namespace needs hosts,
        a_generator_that_is_cut_off_fails_alone_and_the_merged_report_counts_it needs hosts,
        a_part_that_is_lost_with_its_host_is_named_by_the_merged_report needs hosts,
    }
}

fn a_killed_test_bed_leaves_no_process_and_no_namespace() {
    let network = Network::of(&[("one", ""), ("two", "delay=1ms")]);
    let processes: Vec<_> = ["one", "two"].map(|name| network.host(name).process()).into();
    let namespace = |process: &u32| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let made: Vec<_> = processes.iter().filter_map(namespace).collect();
    assert!(made.len() == 2 && made[0] != made[1] && !made.contains(&own), "{made:?}");
    network.process().signal(Signal::KILL);
    wait_until("the hosts' processes have ended", || processes.iter().all(|each| namespace(each).is_none()));
}

fn a_generator_that_is_cut_off_fails_alone_and_the_merged_report_counts_it() {
    let mut network = Network::of(&[("one", ""), ("two", ""), ("server", "")]);
    let server = network.host("server").serve(Mode::by_name("event-loop").expect("there is this mode"));
    let folder = tempfile::tempdir().unwrap();
    let files = ["one", "two"].map(|host| folder.path().join(format!("{host}.json")));
    let args = "-t 1 -c 10 -r 500 -w 200ms -d 3s --timeout 1s --fail-on never --format json";
    let generators = ["one", "two"].map(|host| network.host(host).load(server.address(), args).start());
    generators.iter().for_each(|generator| drop(generator.stderr.wait_for(" 1.0s ")));
    network.cut("two");
    let finished = generators.map(|generator| generator.finish());
    let reports = finished.each_ref().map(|finished| Report::read(finished.expect_code(0)));
    reports[0].expect_replies_verified();
    assert!(reports[1].count("requests.failed") > 0, "{}", reports[1].at("requests"));
    assert!(reports[1].count("errors.timeout") > 0, "{}", reports[1].at("errors"));
    for (file, finished) in files.iter().zip(&finished) {
        fs::write(file, &finished.stdout).unwrap();
    }
    let files = files.each_ref().map(|file| file.to_str().unwrap());
    let merged = Loadgen::new(&["merge"]).args(files).any_report();
    assert_eq!(merged.count("requests.failed"), reports[1].count("requests.failed"));
    assert_eq!(merged.count("errors.timeout"), reports[1].count("errors.timeout"));
    assert!(merged.has_reason("errors"), "{}", merged.at("verdict"));
}

fn a_part_that_is_lost_with_its_host_is_named_by_the_merged_report() {
    const HOSTS: [&str; 4] = ["zero", "one", "two", "three"];
    const LOST: usize = 2;
    let hosts: Vec<_> = HOSTS.iter().chain(&["server"]).map(|name| (*name, "")).collect();
    let mut network = Network::of(&hosts);
    let server = network.host("server").serve(Mode::by_name("event-loop").expect("there is this mode"));
    let load = "-t 1 -c 40 -r 400 -w 200ms -d 3s --timeout 1s --fail-on never --format jsonl";
    let start = |(number, host): (usize, &&str)| {
        let args = format!("{load} --part {number}/{}", HOSTS.len());
        network.host(host).load(server.address(), &args).start()
    };
    let mut generators: Vec<_> = HOSTS.iter().enumerate().map(start).collect();
    for generator in &generators {
        generator.stderr.wait_for(" 1.0s ");
    }
    network.cut(HOSTS[LOST]);
    // Its result does not come.
    drop(generators.remove(LOST));
    let results: Vec<_> = generators.into_iter().map(|generator| generator.finish().stdout).collect();
    let completed = results.iter().map(|result| {
        let result: serde_json::Value = serde_json::from_str(result).expect("a result is on one line");
        result["requests"]["completed"].as_u64().expect("a count")
    });
    let merged = Loadgen::new(&["merge", "--expect-parts", "4", "--format", "json"])
        .finish_with(results.concat().as_bytes());
    let report = Report::read(merged.expect_code(1));
    assert_eq!(report.at("merged.expected"), 4);
    assert_eq!(report.at("merged.missing"), &serde_json::json!([LOST]));
    assert_eq!(report.count("requests.completed"), completed.sum::<u64>());
    assert!(report.errors() == 0 && report.count("requests.completed") > 0, "{}", report.at("errors"));
}
