//! Every number of a run, in tables.

use maud::{Markup, html};

use super::parts::{self, facts, seconds, section, table, time};
use crate::{
    failure::Failure,
    human::{bytes, count, duration_ns, percent, rate},
    report::{Calibration, Fairness, Generator, Latency, Network, Report, Server, text::run::own_server},
};

/// All of them.
pub(super) fn all(report: &Report) -> Markup {
    html! {
        (section("Latencies", &latencies(report)))
        @if let Some(calibration) = &report.calibration {
            (section("Calibration", &of_calibration(calibration)))
        }
        (section("Errors", &errors(report)))
        (section("Numbers", &html! {
            div.columns {
                (group("Requests", &requests(report)))
                (group("Fairness", &fairness(&report.fairness)))
                (group("Generator", &generator(&report.generator)))
                @if let Some(server) = &report.server { (group("Server", &of_server(server))) }
                @if let Some(network) = &report.network { (group("Network", &of_network(network))) }
            }
        }))
        @if !report.intervals.is_empty() { (section("Intervals", &intervals(report))) }
        (section("Plan and environment", &html! {
            div.columns {
                (group("Plan", &parts::plan(&report.plan)))
                (group("Environment", &environment(report)))
            }
        }))
    }
}

fn group(name: &str, known: &[(&str, Option<String>)]) -> Markup {
    html! {
        div {
            h3 { (name) }
            (facts(known))
        }
    }
}

fn latencies(report: &Report) -> Markup {
    type Get = fn(&Latency) -> String;
    let rows: [(&str, Get); 10] = [
        ("samples", |latency| count(latency.count)),
        ("min", |latency| time(latency.min)),
        ("mean", |latency| time(latency.mean.map(|mean| mean.round() as u64))),
        ("p50", |latency| time(latency.p50)),
        ("p90", |latency| time(latency.p90)),
        ("p99", |latency| time(latency.p99)),
        ("p99.9", |latency| time(latency.p99_9)),
        ("p99.99", |latency| time(latency.p99_99)),
        ("max", |latency| time(latency.max)),
        ("stdev", |latency| time(latency.stdev.map(|stdev| stdev.round() as u64))),
    ];
    let times = &report.latency_ns;
    let columns = [
        ("response", Some(&times.response)),
        ("service", Some(&times.service)),
        ("schedule lag", times.schedule_lag.as_ref()),
        ("due → written", Some(&times.due_to_written).filter(|part| part.count > 0)),
        ("written → ready", times.written_to_ready.as_ref()),
        ("ready → read", times.ready_to_read.as_ref()),
        ("connect", Some(&times.connect)),
    ];
    let known: Vec<_> = columns.into_iter().filter_map(|(name, latency)| Some((name, latency?))).collect();
    let head: Vec<_> = std::iter::once("").chain(known.iter().map(|(name, _)| *name)).collect();
    let row = |(name, get): (&str, Get)| {
        std::iter::once(name.to_owned()).chain(known.iter().map(|(_, latency)| get(latency))).collect()
    };
    html! {
        (table("Latencies", &head, &rows.into_iter().map(row).collect::<Vec<_>>()))
        p.small { "-: too few samples to say. Connections are those of the whole run." }
    }
}

fn of_calibration(calibration: &Calibration) -> Markup {
    let rows = calibration.floor.iter().map(|floor| {
        vec![
            floor.percentile.replace('_', "."),
            time(floor.response_ns),
            time(floor.floor_ns),
            floor.share.map_or("-".to_owned(), percent),
        ]
    });
    html! {
        p {
            "The same load against an echo inside the generator got " (rate(calibration.achieved_per_s))
            " replies a second: what it took is the generator's and the kernel's own."
        }
        (table("Calibration", &["", "response", "floor", "share"], &rows.collect::<Vec<_>>()))
    }
}

fn errors(report: &Report) -> Markup {
    let of_kind = |name: &str| report.errors.get(name).copied().unwrap_or(0);
    let seen: Vec<_> = Failure::ALL
        .iter()
        .filter(|(_, name, _)| of_kind(name) > 0)
        .map(|(_, name, text)| vec![(*name).to_owned(), count(of_kind(name)), (*text).to_owned()])
        .collect();
    html! {
        @if seen.is_empty() { p { "None." } } @else { (table("Errors", &["kind", "count", "what happened"], &seen)) }
        @if let Some(wrong) = &report.first_mismatch {
            p {
                "The first wrong reply: from byte " (wrong.offset) " of client " (wrong.client) "'s request "
                (wrong.request) " on."
            }
            pre { "expected \"" (wrong.expected) "\"\ngot      \"" (wrong.got) "\"" }
        }
    }
}

fn requests(report: &Report) -> Vec<(&'static str, Option<String>)> {
    let (requests, connections) = (&report.requests, &report.connections);
    vec![
        ("offered", report.rate.offered_per_s.map(|per_s| format!("{}/s", rate(per_s)))),
        ("achieved", Some(format!("{}/s", rate(report.rate.achieved_per_s)))),
        ("measured", Some(seconds(report.elapsed_s))),
        ("sent", Some(count(requests.sent))),
        ("completed", Some(count(requests.completed))),
        ("failed", Some(count(requests.failed))),
        ("verified", Some(count(requests.verified))),
        ("bytes sent", Some(bytes(requests.bytes_sent))),
        ("bytes received", Some(bytes(requests.bytes_received))),
        ("connections made", Some(count(connections.established))),
        ("connections lost", Some(count(connections.lost))),
    ]
}

fn fairness(fairness: &Fairness) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("clients", Some(count(fairness.clients))),
        ("asked", Some(count(fairness.asked))),
        ("served", Some(count(fairness.served))),
        ("starved", Some(count(fairness.starved))),
        ("Jain's index", fairness.jain.map(|jain| format!("{jain:.4}"))),
        ("fewest replies", Some(count(fairness.requests_min))),
        ("most replies", Some(count(fairness.requests_max))),
        ("longest silence", Some(duration_ns(fairness.longest_silence_ns))),
        ("longest stall", Some(duration_ns(fairness.longest_stall_ns))),
        ("under way on average", fairness.effective_concurrency.map(rate)),
        ("at the server on average", fairness.service_concurrency.map(rate)),
    ]
}

fn generator(generator: &Generator) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("CPU time", Some(seconds(generator.cpu_s))),
        ("CPU per request", generator.cpu_ns_per_request.map(nanoseconds)),
        ("busiest thread ran", Some(percent(generator.busiest_thread_share))),
        ("least idle thread idled", generator.idle_share_min.map(percent)),
        ("waited for a CPU at most", generator.cpu_wait_share_max.map(percent)),
        ("preempted at most", generator.preemptions_per_s_max.map(|per_s| format!("{}/s", rate(per_s)))),
        ("stolen by the hypervisor", generator.steal_share.map(percent)),
        (
            "step of the clock",
            Some(duration_ns(generator.clock_step_ns)).filter(|_| generator.clock_step_ns > 0),
        ),
    ]
}

fn of_server(server: &Server) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("loadgen's own", own_server(server)),
        ("CPU time", Some(seconds(server.cpu_s))),
        ("CPU per request", server.cpu_ns_per_request.map(nanoseconds)),
        ("switches per request", server.context_switches_per_request.map(|each| format!("{each:.3}"))),
        ("memory", Some(bytes(server.rss_bytes))),
        ("without what others share", server.pss_bytes.map(bytes)),
    ]
}

fn of_network(network: &Network) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("retransmitted by clients", Some(count(network.client_retransmissions))),
        ("retransmitted by all", Some(count(network.retransmissions))),
        ("listen queue overflows", Some(count(network.listen_overflows))),
    ]
}

fn environment(report: &Report) -> Vec<(&'static str, Option<String>)> {
    let mut known = parts::environment(&report.environment, report.started_at_unix_ms);
    known.extend(report.merged.as_ref().map(|merged| {
        let skew = duration_ns(merged.start_skew_ns);
        ("the sum of", Some(format!("{} generators, which began within {skew}", merged.generators)))
    }));
    known
}

fn intervals(report: &Report) -> Markup {
    let head = ["from", "completed", "failed", "replies/s", "p50", "p90", "p99", "p99.9", "max"];
    let rows = report.intervals.iter().map(|interval| {
        vec![
            seconds(interval.t_s),
            count(interval.completed),
            count(interval.failed),
            rate(interval.achieved_per_s),
            time(interval.p50),
            time(interval.p90),
            time(interval.p99),
            time(interval.p99_9),
            time(interval.max),
        ]
    });
    let rows: Vec<_> = rows.collect();
    html! {
        details {
            summary { "All " (count(rows.len() as u64)) " of them, with their response times" }
            (table("Intervals", &head, &rows))
        }
    }
}

fn nanoseconds(number: f64) -> String {
    duration_ns(number.round() as u64)
}
