//! The metrics of a run: their names, their meanings and their values.

use std::fmt;

use super::{
    facts::Facts,
    page::Page,
    snapshot::{Phase, Snapshot, Totals},
};
use crate::engine::failure::Failure;

/// Writes all metrics.
pub(super) fn write(page: &mut Page<'_>, facts: &Facts, snapshot: &Snapshot) -> fmt::Result {
    configuration(page, facts)?;
    page.gauges(
        "phase",
        "Phase of the run: 1 for the current phase, 0 for the others.",
        "phase",
        Phase::ALL.map(|(phase, name)| (name, u64::from(phase == snapshot.phase))),
    )?;
    requests(page, &snapshot.totals)?;
    bytes(page, &snapshot.totals)?;
    connections(page, facts, &snapshot.totals)?;
    times(page, facts, &snapshot.totals)
}

fn configuration(page: &mut Page<'_>, facts: &Facts) -> fmt::Result {
    let Facts { against: (label, against), connections, rate_per_s, .. } = facts;
    let kind = if rate_per_s.is_some() { "open" } else { "closed" };
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("loop", kind), (*label, against)];
    page.facts("info", "The run. Counters and histograms are updated at the end of each interval.", &labels)?;
    page.gauge("connections_configured", "Clients, each with its own connection.", u64::from(*connections))?;
    if let Some(rate) = rate_per_s {
        page.gauge(
            "offered_requests_per_second",
            "Requests that become due per second, of all clients together; with --stages, the mean over the window. Open loop \
             only.",
            *rate,
        )?;
    }
    Ok(())
}

fn requests(page: &mut Page<'_>, Totals { counts, failures, .. }: &Totals) -> fmt::Result {
    page.counters(
        "requests_total",
        "Requests that were due in the measured window, by result: completed (with the expected reply), failed, unsent, \
         or cut off by the end of the run before their timeout.",
        "result",
        [
            ("completed", counts.completed),
            ("failed", counts.failed),
            ("unsent", counts.unsent),
            ("cut_off", counts.cut_off),
        ],
    )?;
    page.counter(
        "replies_total",
        "Replies that were complete in the measured window, whenever their requests were due: the achieved rate.",
        counts.replies_in_window,
    )?;
    page.counters(
        "errors_total",
        "Failures of the whole run, by kind: failed requests, and failed connections without a request.",
        "kind",
        Failure::ALL.map(|(kind, name, _)| (name, failures.get(kind))),
    )
}

fn bytes(page: &mut Page<'_>, Totals { counts, .. }: &Totals) -> fmt::Result {
    page.counter(
        "sent_bytes_total",
        "Bytes sent for requests that were due in the measured window.",
        counts.bytes_sent,
    )?;
    page.counter("received_bytes_total", "Bytes received for these requests.", counts.bytes_received)
}

fn connections(page: &mut Page<'_>, facts: &Facts, totals: &Totals) -> fmt::Result {
    let last_step = if facts.tls { &totals.handshake } else { &totals.connect };
    page.counter(
        "connections_established_total",
        "Connections established in the whole run.",
        last_step.count(),
    )?;
    page.counter(
        "connections_lost_total",
        "Connections lost to a failure since the start of the measured window.",
        totals.counts.connections_lost,
    )
}

fn times(page: &mut Page<'_>, facts: &Facts, totals: &Totals) -> fmt::Result {
    page.histogram(
        "response_seconds",
        "Time from the moment when a request was due, in the measured window, to its complete reply. Requests without \
         a reply count as slower than all others: they are in the last bucket, and not in the sum.",
        &totals.response,
    )?;
    page.histogram(
        "service_seconds",
        "Time from the write of a request, due in the measured window, to its complete reply.",
        &totals.service,
    )?;
    if facts.rate_per_s.is_some() {
        page.histogram(
            "schedule_lag_seconds",
            "Time from the moment when a request was due, in the measured window, to its write: the delay of the load \
             generator. Open loop only.",
            &totals.schedule_lag,
        )?;
    }
    if facts.tls {
        page.histogram(
            "handshake_seconds",
            "Time from the connection of a socket to the end of its TLS handshake, over the whole run.",
            &totals.handshake,
        )?;
    }
    page.histogram("connect_seconds", "Time to establish a connection, over the whole run.", &totals.connect)
}
