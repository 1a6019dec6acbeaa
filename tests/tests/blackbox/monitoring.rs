//! `packaging/monitoring/`: the real Prometheus scrapes both programs, and accepts the rules and the dashboard's expressions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use common::Address;
use serde_json::Value;
use server::mode::{MODES, Mode};

use self::dashboard::{COLUMNS, Dashboard, Panel, metrics_in};
use crate::{
    behaviour::{Group, group},
    harness::{
        Finished, Server,
        exposition::get,
        machine, programs,
        prometheus::{Prometheus, packaged},
        scraped_load::ScrapedLoad,
        wait_until,
    },
};

mod dashboard;

group! {
    once {
        each_panel_has_an_id_a_place_a_unit_and_a_description_of_its_own,
        every_metric_of_the_dashboard_is_served,
        every_metric_is_documented,
        the_metrics_of_an_expression_are_found,
        promtool_accepts_the_configuration_and_the_rules_pass_their_tests needs machine::promtool,
        prometheus_counts_as_the_report_does needs machine::prometheus,
        prometheus_evaluates_every_rule_and_has_data_for_every_panel needs machine::prometheus,
    }
}

pub(crate) fn groups() -> Vec<Group> {
    vec![group()]
}

/// A run that ends at its last request, before anything is scraped.
const SHORT: &str = "-c 10 -n 2k -w 0s --fail-on never";
/// A run that has every metric: an open loop. The test ends it.
const LONG: &str = "-c 10 -r 500 -d 1h -w 0s -i 100ms";

fn each_panel_has_an_id_a_place_a_unit_and_a_description_of_its_own() {
    let dashboard = Dashboard::read();
    assert_eq!(dashboard.0["schemaVersion"], 39);
    let panels = dashboard.panels();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel.0["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids.len(), panels.len(), "an id is there twice");
    for (number, panel) in panels.iter().enumerate() {
        let (title, place) = (panel.title(), panel.place());
        assert!(
            place.width > 0 && place.height > 0 && place.x + place.width <= COLUMNS,
            "{title}: {place:?}"
        );
        for other in &panels[..number] {
            assert!(!place.overlaps(&other.place()), "{title} overlaps {}", other.title());
        }
    }
    for panel in panels.iter().filter(|panel| !panel.is_row()) {
        expect_complete(panel);
    }
}

#[track_caller]
fn expect_complete(panel: &Panel<'_>) {
    let title = panel.title();
    let has_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    assert!(has_text(&panel.0["description"]), "{title} has no description");
    let defaults = &panel.0["fieldConfig"]["defaults"]["unit"];
    assert!(has_text(defaults) || has_text(&panel.0["options"]["yAxis"]["unit"]), "{title} has no unit");
    assert!(!panel.targets().is_empty(), "{title} has no expression");
    let names: BTreeSet<_> = panel.targets().iter().map(|target| target["refId"].as_str()).collect();
    assert_eq!(names.len(), panel.targets().len(), "{title} has two expressions of one name");
    for target in panel.targets() {
        assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
    }
}

fn every_metric_of_the_dashboard_is_served() {
    let served = served();
    let dashboard = Dashboard::read();
    let selectors = dashboard.variables().into_iter().map(|variable| variable.selector);
    for expression in dashboard.expressions().into_iter().chain(selectors) {
        expect_served(&expression, &served);
    }
}

fn every_metric_is_documented() {
    let read = |page: &str| fs::read_to_string(programs::workspace().join("docs").join(page)).unwrap();
    let pages = read("monitoring.md") + &read("metrics.md");
    for metric in served() {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| metric.strip_suffix(part));
        let family = family.unwrap_or(&metric);
        assert!(pages.contains(&format!("`{family}`")), "no page has `{family}`");
    }
}

fn the_metrics_of_an_expression_are_found() {
    for (expression, expected) in [
        ("sum by (le) (rate(a_b{c=\"d\",e=~\"f|g\"}[5m]))", &["a_b"][..]),
        ("a{x=\"y\"} * on (job, b) group_left (c) d > 1e3", &["a", "d"]),
        ("a / b and on(job) (min_over_time(c[1m]) == 1) or d unless e offset 5m", &["a", "b", "c", "d", "e"]),
        ("1 - sum without (le) (f) / 2", &["f"]),
    ] {
        assert_eq!(
            metrics_in(expression),
            expected.iter().map(|&name| name.to_owned()).collect(),
            "{expression}"
        );
    }
}

fn promtool_accepts_the_configuration_and_the_rules_pass_their_tests() {
    for (check, file) in [
        (["check", "config"], "prometheus.yml"),
        (["check", "rules"], "echo-rules.yml"),
        (["test", "rules"], "echo-rules-test.yml"),
    ] {
        let finished = Finished::of(Command::new("promtool").args(check).arg(packaged(file)), b"");
        assert!(finished.expect_code(0).stdout.contains("SUCCESS"), "{finished}");
    }
}

fn prometheus_counts_as_the_report_does() {
    let servers = metered_servers();
    let loads = loads(&servers, SHORT);
    let prometheus = scraping(&servers, &loads);
    prometheus.wait_for_value("sum(up)", 4.0);
    for ((_server, metrics), load) in servers.iter().zip(loads) {
        let of_load = format!("instance=\"{}\"", load.address);
        prometheus.wait_for_value(&format!("loadgen_phase{{phase=\"ended\",{of_load}}}"), 1.0);
        let p99_s = prometheus
            .value(&format!("histogram_quantile(0.99, loadgen_response_seconds_bucket{{{of_load}}})"))
            .expect("requests have been counted");
        let (end, report) = load.end(0);

        // Both are in the bucket that reaches 99% of the samples, within the precision of the report's histogram.
        let buckets = end.buckets("loadgen_response_seconds");
        let count = report.count("latency_ns.response.count");
        let bucket = buckets.iter().position(|(_, upto)| *upto as f64 >= 0.99 * count as f64).unwrap();
        let above_s = if bucket == 0 { 0.0 } else { buckets[bucket - 1].0 };
        for p99_s in [p99_s, report.number("latency_ns.response.p99") / 1e9] {
            assert!(p99_s >= above_s * 0.999 && p99_s <= buckets[bucket].0 * 1.001, "{p99_s}: {buckets:?}");
        }

        let of_server = format!("instance=\"{metrics}\"");
        for (metric, counted) in [
            ("echo_received_bytes_total", report.count("requests.bytes_sent")),
            ("echo_sent_bytes_total", report.count("requests.bytes_received")),
            ("echo_accepted_connections_total", report.count("connections.established")),
        ] {
            prometheus.wait_for_value(&format!("{metric}{{{of_server}}}"), counted as f64);
        }
        assert_eq!(report.count("requests.bytes_sent"), 2_000 * 64);
    }
}

fn prometheus_evaluates_every_rule_and_has_data_for_every_panel() {
    // Several targets, so that an expression that joins the wrong series is an error.
    let servers = metered_servers();
    let loads = loads(&servers, LONG);
    let prometheus = scraping(&servers, &loads);
    let dashboard = Dashboard::read();
    for variable in dashboard.variables() {
        let series = || prometheus.query(&variable.selector);
        wait_until(&format!("{} has values", variable.name), || !series().is_empty());
        assert!(series().iter().all(|(series, _)| series[&variable.label].is_string()), "{}", variable.name);
    }
    for expression in dashboard.expressions() {
        let has_data = || prometheus.query(&expression).iter().any(|(_, value)| !value.is_nan());
        wait_until(&format!("there is data for {expression}"), has_data);
    }

    let is_evaluated = |rule: &Value| rule["health"] == "ok";
    wait_until("every rule is evaluated", || prometheus.rules().iter().all(is_evaluated));
    let mut served = served();
    served.insert("up".to_owned());
    let (recorded, alerts): (Vec<_>, Vec<_>) =
        prometheus.rules().into_iter().partition(|rule| rule["type"] == "recording");
    served.extend(recorded.iter().map(|rule| rule["name"].as_str().expect("a rule has a name").to_owned()));
    let text = fs::read_to_string(packaged("echo-rules-test.yml")).unwrap();
    for rule in recorded {
        let name = rule["name"].as_str().expect("a rule has a name");
        expect_served(rule["query"].as_str().expect("it has an expression"), &served);
        assert!(text.contains(&format!("- labels: '{name}{{")), "{name} has no test");
        wait_until(&format!("{name} has data"), || !prometheus.query(name).is_empty());
    }
    let tests: BTreeMap<_, _> =
        text.split("\n  - name: ").skip(1).filter_map(|test| test.split_once('\n')).collect();
    for rule in alerts {
        let name = rule["name"].as_str().expect("an alert has a name");
        expect_served(rule["query"].as_str().expect("it has an expression"), &served);
        expect_says_what_to_do(&rule);
        expect_tested(name, tests.get(name).unwrap_or_else(|| panic!("{name} has no test")));
    }
    // The write of the report would block.
    drop((prometheus, loads));
}

#[track_caller]
fn expect_says_what_to_do(rule: &Value) {
    for (text, name) in [("annotations", "summary"), ("annotations", "description"), ("labels", "severity")] {
        assert!(rule[text][name].as_str().is_some_and(|text| !text.is_empty()), "no {name} in {rule}");
    }
}

/// Expects that the test of an alert has a target for which it fires, and one for which it does not. promtool runs the test.
#[track_caller]
fn expect_tested(alert: &str, test: &str) {
    let firing = |target: &str| {
        format!("- labels: 'ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",instance=\"{target}\"")
    };
    assert!(test.contains(&firing("bad")) && !test.contains(&firing("good")), "{alert}: {test}");
    assert!(test.contains("{instance=\"good\""), "{alert}: {test}");
}

fn mode(name: &str) -> &'static Mode {
    MODES.iter().find(|mode| mode.name == name).expect("the mode exists")
}

/// A server with metrics, and their address.
#[track_caller]
fn metered(mode: &Mode) -> (Server, Address) {
    let server = Server::start(mode, &["--metrics", "127.0.0.1:0"]);
    let said = server.log().wait_for("metrics url=\"http://");
    let (_, rest) = said.split_once("http://").expect("it is a URL");
    let (address, _) = rest.split_once("/metrics").expect("with its path");
    (server, address.parse().expect("an address"))
}

/// A server in each of two modes, with the address of its metrics. The first mode has all metrics.
#[track_caller]
fn metered_servers() -> Vec<(Server, Address)> {
    ["event-loop", "thread-per-connection"].map(|name| metered(mode(name))).into()
}

/// A load for each server.
#[track_caller]
fn loads(servers: &[(Server, Address)], args: &str) -> Vec<ScrapedLoad> {
    servers.iter().map(|(server, _)| ScrapedLoad::start(Some(server.address()), args)).collect()
}

#[track_caller]
fn scraping(servers: &[(Server, Address)], loads: &[ScrapedLoad]) -> Prometheus {
    let servers: Vec<_> = servers.iter().map(|(_, metrics)| metrics).collect();
    let loads: Vec<_> = loads.iter().map(|load| &load.address).collect();
    Prometheus::start(&servers, &loads)
}

/// The names of all series of both programs.
#[track_caller]
fn served() -> BTreeSet<String> {
    let (server, metrics) = metered(mode("event-loop"));
    let load = ScrapedLoad::start(Some(server.address()), LONG);
    served_by(&metrics).into_iter().chain(served_by(&load.address)).collect()
}

/// The names of the series at this address.
#[track_caller]
fn served_by(metrics: &Address) -> BTreeSet<String> {
    let answer = get(metrics, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let samples = answer.body.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[track_caller]
fn expect_served(expression: &str, served: &BTreeSet<String>) {
    let metrics = metrics_in(expression);
    assert!(!metrics.is_empty(), "no metric in {expression}");
    for metric in metrics {
        assert!(served.contains(&metric), "no program serves {metric}: {expression}");
    }
}
