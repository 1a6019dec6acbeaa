//! Every number of a run, in tables.

mod kinds;
mod stages;

use std::collections::BTreeMap;

use common::human::{bytes, count, duration_ns, percent, plural, rate};
use maud::{Markup, html};

use super::parts::{self, facts, percentile, seconds, section, table, time};
use crate::{
    engine::failure::Failure,
    format::words::{self, handshakes, own_server},
    result::{Calibration, FailedTail, Fairness, Latency, Network, Report, Server},
};

/// All tables.
pub(super) fn all(report: &Report) -> Markup {
    html! {
        (section("Latencies", &latencies(report)))
        @if let Some(calibration) = &report.calibration {
            (section("Calibration", &of_calibration(calibration, report.latency_ns.response.failed_tail.as_ref())))
        }
        @if !report.kinds.is_empty() { (section("Kinds of requests", &kinds::kinds(report))) }
        @if !report.stages.is_empty() { (section("Stages", &stages::stages(report))) }
        (section("Errors", &errors(report)))
        (section("Numbers", &html! {
            div.columns {
                (group("Requests", &requests(report)))
                (group("Fairness", &fairness(&report.fairness)))
                (group("Generator", &generator(report)))
                @if let Some(server) = &report.server { (group("Server", &of_server(server))) }
                @if let Some(network) = &report.network { (group("Network", &of_network(network))) }
            }
        }))
        @if !report.intervals.is_empty() { (section("Intervals", &intervals(report))) }
        @if report.generator.pauses.longest.len() > 1 { (section("Pauses of the generator", &pauses(report))) }
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
        ("p50", |latency| percentile("p50", latency.p50, latency.failed_tail.as_ref())),
        ("p90", |latency| percentile("p90", latency.p90, latency.failed_tail.as_ref())),
        ("p99", |latency| percentile("p99", latency.p99, latency.failed_tail.as_ref())),
        ("p99.9", |latency| percentile("p99_9", latency.p99_9, latency.failed_tail.as_ref())),
        ("p99.99", |latency| percentile("p99_99", latency.p99_99, latency.failed_tail.as_ref())),
        ("max", |latency| percentile("max", latency.max, latency.failed_tail.as_ref())),
        ("stdev", |latency| time(latency.stdev.map(|stdev| stdev.round() as u64))),
    ];
    let times = &report.latency_ns;
    let columns = [
        ("response", Some(&times.response)),
        ("successful", times.response.failed_tail.as_ref().map(|_| &times.successful)),
        ("service", Some(&times.service)),
        ("schedule lag", times.schedule_lag.as_ref()),
        ("due → written", Some(&times.due_to_written).filter(|part| part.count > 0)),
        ("written → ready", times.written_to_ready.as_ref()),
        ("ready → read", times.ready_to_read.as_ref()),
        ("connect", Some(&times.connect)),
        ("TLS handshake", times.handshake.as_ref()),
    ];
    let known: Vec<_> = columns.into_iter().filter_map(|(name, latency)| Some((name, latency?))).collect();
    let head: Vec<_> = std::iter::once("").chain(known.iter().map(|(name, _)| *name)).collect();
    let row = |(name, get): (&str, Get)| {
        std::iter::once(name.to_owned()).chain(known.iter().map(|(_, latency)| get(latency))).collect()
    };
    html! {
        (table("Latencies", &head, &rows.into_iter().map(row).collect::<Vec<_>>()))
        p.small {
            "-: too few samples. Connect: the connections of the whole run."
            @if let Some(tail) = &times.response.failed_tail {
                " Response: all due requests; " (count(tail.count)) " of them got no reply and count as the slowest, so \
                 there is no mean. Successful: the response times of the other requests."
            }
            @if let Some(precision) = &report.precision { " Response, " (words::precision(precision)) "." }
        }
    }
}

fn of_calibration(calibration: &Calibration, tail: Option<&FailedTail>) -> Markup {
    let rows = calibration.floor.iter().map(|floor| {
        vec![
            floor.percentile.replace('_', "."),
            percentile(&floor.percentile, floor.response_ns, tail),
            time(floor.floor_ns),
            floor.share.map_or("-".to_owned(), percent),
        ]
    });
    html! {
        p {
            "The same load on an echo inside the generator reached " (rate(calibration.achieved_per_s))
            " replies per second. The floor is the time that the generator and the kernel take themselves."
        }
        (table("Calibration", &["", "response", "floor", "share"], &rows.collect::<Vec<_>>()))
    }
}

fn errors(report: &Report) -> Markup {
    let head = ["kind", "count", "what happened"];
    let rows = |errors: &BTreeMap<String, u64>| -> Vec<_> {
        let all = Failure::ALL
            .iter()
            .map(|(_, name, text)| (*name, errors.get(*name).copied().unwrap_or(0), *text));
        all.filter(|(_, failures, _)| *failures > 0)
            .map(|(name, failures, text)| vec![name.to_owned(), count(failures), text.to_owned()])
            .collect()
    };
    let (seen, before) = (rows(&report.errors), rows(&report.errors_before_window));
    let tls_failure = report.tls.as_ref().and_then(|tls| tls.first_failure.as_ref());
    html! {
        @if seen.is_empty() { p { "None." } } @else { (table("Errors", &head, &seen)) }
        @if !before.is_empty() {
            p.apart { "Before the window, in no other number:" }
            (table("Errors before the window", &head, &before))
        }
        @if let Some(failure) = tls_failure { p { "The first failure of TLS: " (failure) } }
        @if let Some(wrong) = &report.first_mismatch {
            p {
                "The first wrong byte: byte " (wrong.offset) " of the reply to request " (wrong.request) " of client "
                (wrong.client) "."
            }
            pre { "expected \"" (wrong.expected) "\"\ngot      \"" (wrong.got) "\"" }
        }
        @if let Some(wrong) = &report.first_unexpected {
            p { "The first unexpected reply: to request " (wrong.request) " of client " (wrong.client) "." }
            pre { "expected " (wrong.expected) "\ngot      \"" (wrong.got) "\"" }
        }
    }
}

fn requests(report: &Report) -> Vec<(&'static str, Option<String>)> {
    let (requests, connections) = (&report.requests, &report.connections);
    let known = |of: u64| (!is_older(report)).then(|| count(of));
    let in_window = requests.completed.saturating_sub(requests.completed_after_window);
    vec![
        ("offered", report.rate.offered_per_s.map(|per_s| format!("{}/s", rate(per_s)))),
        ("achieved", Some(format!("{}/s", rate(report.rate.achieved_per_s)))),
        ("measured", Some(seconds(report.elapsed_s))),
        ("due", Some(count(requests.all()))),
        ("completed", Some(count(requests.completed)).filter(|_| is_older(report))),
        ("completed in the window", known(in_window)),
        ("completed after the window", known(requests.completed_after_window)),
        ("failed", Some(count(requests.failed))),
        ("failed, never sent", known(requests.unsent)),
        ("cut off by the end of the run", known(requests.cut_off)),
        ("error rate", Some(percent(requests.error_rate()))),
        ("verified", Some(count(requests.verified))),
        ("bytes sent", Some(bytes(requests.bytes_sent))),
        ("bytes received", Some(bytes(requests.bytes_received))),
        ("connections made", Some(count(connections.established))),
        ("connections lost", Some(count(connections.lost))),
        ("TLS handshakes", handshakes(report)),
    ]
}

/// Whether the result is of a version that did not count all outcomes and pauses.
fn is_older(report: &Report) -> bool {
    report.requests.due == 0 && report.requests.all() > 0
}

fn fairness(fairness: &Fairness) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("clients", Some(count(fairness.clients))),
        ("clients with requests", Some(count(fairness.asked))),
        ("served", Some(count(fairness.served))),
        ("starved", Some(count(fairness.starved))),
        ("Jain's index", fairness.jain.map(|jain| format!("{jain:.4}"))),
        ("fewest replies", Some(count(fairness.requests_min))),
        ("most replies", Some(count(fairness.requests_max))),
        ("longest silence", Some(duration_ns(fairness.longest_silence_ns))),
        ("longest stall", Some(duration_ns(fairness.longest_stall_ns))),
        ("outstanding on average", fairness.effective_concurrency.map(rate)),
        ("outstanding at the server", fairness.service_concurrency.map(rate)),
    ]
}

fn generator(report: &Report) -> Vec<(&'static str, Option<String>)> {
    let generator = &report.generator;
    let pauses = &generator.pauses;
    let longest = pauses
        .longest
        .first()
        .map(|pause| format!("{}, {} into the window", duration_ns(pause.length_ns), seconds(pause.t_s)));
    let if_paused = |fact: String| Some(fact).filter(|_| pauses.count > 0);
    vec![
        ("CPU time", Some(seconds(generator.cpu_s))),
        ("CPU per request", generator.cpu_ns_per_request.map(nanoseconds)),
        ("busiest thread", Some(percent(generator.busiest_thread_share))),
        ("idle time of the busiest thread", generator.idle_share_min.map(percent)),
        ("wait for a CPU, at most", generator.cpu_wait_share_max.map(percent)),
        ("preemptions, at most", generator.preemptions_per_s_max.map(|per_s| format!("{}/s", rate(per_s)))),
        ("steal (hypervisor)", generator.steal_share.map(percent)),
        ("CPU quota", generator.cpu_quota.map(|cpus| format!("{cpus:.2} CPUs"))),
        ("periods with a used-up quota", generator.throttled_share.map(percent)),
        ("clock step", Some(duration_ns(generator.clock_step_ns)).filter(|_| generator.clock_step_ns > 0)),
        ("pauses", Some(count(pauses.count)).filter(|_| !is_older(report))),
        ("longest pause", longest),
        ("pauses of one thread, at most", if_paused(duration_ns(pauses.total_ns_max))),
        ("requests in pauses", if_paused(count(pauses.requests))),
    ]
}

fn of_server(server: &Server) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("started by loadgen", own_server(server)),
        ("CPU time", Some(seconds(server.cpu_s))),
        ("CPU per request", server.cpu_ns_per_request.map(nanoseconds)),
        (
            "context switches per request",
            server.context_switches_per_request.map(|each| format!("{each:.3}")),
        ),
        ("memory (RSS)", Some(bytes(server.rss_bytes))),
        ("memory (PSS)", server.pss_bytes.map(bytes)),
    ]
}

fn of_network(network: &Network) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("segments retransmitted by clients", Some(count(network.client_retransmissions))),
        ("segments retransmitted on the machine", Some(count(network.retransmissions))),
        ("accept queue overflows", Some(count(network.listen_overflows))),
    ]
}

fn environment(report: &Report) -> Vec<(&'static str, Option<String>)> {
    let mut known = parts::environment(&report.environment, report.started_at_unix_ms);
    known.extend(report.merged.as_ref().map(|merged| {
        let skew = duration_ns(merged.start_skew_ns);
        (
            "sum of",
            Some(format!(
                "{}; their windows began within {skew}",
                plural(merged.generators as u64, "generator")
            )),
        )
    }));
    known
}

fn intervals(report: &Report) -> Markup {
    let head = ["from", "completed", "failed", "replies/s", "p50", "p90", "p99", "p99.9", "max"];
    let rows = report.intervals.iter().map(|interval| {
        let named = |name, time_ns| percentile(name, time_ns, interval.failed_tail.as_ref());
        vec![
            seconds(interval.t_s),
            count(interval.completed),
            count(interval.failed),
            rate(interval.achieved_per_s),
            named("p50", interval.p50),
            named("p90", interval.p90),
            named("p99", interval.p99),
            named("p99_9", interval.p99_9),
            named("max", interval.max),
        ]
    });
    let rows: Vec<_> = rows.collect();
    html! {
        details {
            summary { "All " (count(rows.len() as u64)) " intervals, with their response times" }
            (table("Intervals", &head, &rows))
            @if report.tail.completed + report.tail.failed > 0 {
                p.small {
                    "In the " (seconds(report.tail.length_s)) " after the window, "
                    (plural(report.tail.completed, "request")) " got a reply and " (count(report.tail.failed)) " failed."
                }
            }
        }
    }
}

fn pauses(report: &Report) -> Markup {
    let pauses = &report.generator.pauses;
    let rows = pauses.longest.iter().map(|pause| vec![seconds(pause.t_s), duration_ns(pause.length_ns)]);
    let rows: Vec<_> = rows.collect();
    html! {
        details {
            summary {
                @if pauses.count > rows.len() as u64 { "The " (rows.len()) " longest of " (count(pauses.count)) }
                @else { "All " (rows.len()) " pauses" }
            }
            (table("Pauses of the generator", &["from", "length"], &rows))
        }
    }
}

fn nanoseconds(number: f64) -> String {
    duration_ns(number.round() as u64)
}
