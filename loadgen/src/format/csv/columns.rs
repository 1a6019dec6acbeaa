//! The columns: their names, which end in the unit, and their cells.

use crate::{
    format::words::status_name,
    result::{
        FailedTail, Interval, Kind, Latencies, Latency, Loop, Merged, Outcomes, Report, SloOutcome, Stage,
        comparison::{RoundsVerdict, Subject},
        metrics::metric,
        sweep::CurvePoint,
        total,
    },
};

/// A cell. None if the value is withheld or unknown.
pub(super) type Cell = Option<String>;

/// The first columns of every row: whether it covers an interval or the whole, when that began, and its length.
pub(super) const COLUMNS_OF_A_PART: [&str; 3] = ["scope", "t_s", "length_s"];

/// A column: its name, and its cell for a run.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: Box<dyn Fn(&Report) -> Cell>,
}

type Named<T> = (&'static str, fn(&T) -> Cell);

/// The columns before the times.
static BEFORE_TIMES: &[Named<Report>] = &[
    ("verdict", |report| Some(status_name(report.verdict.status).to_owned())),
    ("reasons", |report| list(report.verdict.reasons.iter().map(|reason| reason.code.as_str()))),
    ("interrupted", |report| Some(report.interrupted.to_string())),
    ("slo_met", |report| (!report.slo.is_empty()).then(|| report.slo.iter().all(|slo| slo.met).to_string())),
    ("slo_missed", |report| list(missed(report).map(|slo| slo.slo.as_str()))),
    ("server_mode", |report| report.server.as_ref()?.mode.clone()),
    ("loop", |report| Some(kind(report.plan.r#loop).to_owned())),
    ("connections", |report| count(report.plan.connections.into())),
    ("offered_per_s", |report| number(report.rate.offered_per_s?)),
    ("achieved_per_s", |report| number(report.rate.achieved_per_s)),
    ("due", |report| count(report.requests.all())),
    ("sent", |report| count(report.requests.sent)),
    ("unsent", |report| count(report.requests.unsent)),
    ("completed", |report| count(report.requests.completed)),
    ("completed_after_window", |report| count(report.requests.completed_after_window)),
    ("failed", |report| count(report.requests.failed)),
    ("cut_off", |report| count(report.requests.cut_off)),
    ("replies_in_window", |report| count(report.requests.replies_in_window)),
    ("error_rate", |report| number(report.requests.error_rate())),
    ("verified", |report| count(report.requests.verified)),
    ("errors", |report| metric_of("errors", report)),
    ("bytes_sent", |report| count(report.requests.bytes_sent)),
    ("bytes_received", |report| count(report.requests.bytes_received)),
];

type Get = fn(&Latencies) -> Option<&Latency>;

/// The distributions.
static TIMES: &[(&str, Get)] = &[
    ("response", |times| Some(&times.response)),
    ("successful", |times| Some(times.of_completed())),
    ("service", |times| Some(&times.service)),
    ("schedule_lag", |times| times.schedule_lag.as_ref()),
    ("connect", |times| Some(&times.connect)),
    ("due_to_written", |times| Some(&times.due_to_written)),
    ("written_to_ready", |times| times.written_to_ready.as_ref()),
    ("ready_to_read", |times| times.ready_to_read.as_ref()),
    ("handshake", |times| times.handshake.as_ref()),
];

/// The columns of each distribution.
static FIGURES: &[Named<Latency>] = &[
    ("count", |latency| count(latency.count)),
    ("min_ns", |latency| count(latency.min?)),
    ("mean_ns", |latency| number(latency.mean?)),
    ("stdev_ns", |latency| number(latency.stdev?)),
    ("p50_ns", |latency| count(latency.p50?)),
    ("p90_ns", |latency| count(latency.p90?)),
    ("p99_ns", |latency| count(latency.p99?)),
    ("p99_9_ns", |latency| count(latency.p99_9?)),
    ("p99_99_ns", |latency| count(latency.p99_99?)),
    ("max_ns", |latency| count(latency.max?)),
];

/// The columns of the failed requests at the end of the response times.
static FAILED: &[Named<FailedTail>] = &[
    ("response_failed", |tail| count(tail.count)),
    ("response_failed_longer_than_ns", |tail| count(tail.longer_than_ns)),
];

/// The columns after the times.
static AFTER_TIMES: &[Named<Report>] = &[
    ("clients", |report| count(report.fairness.clients)),
    ("clients_served", |report| count(report.fairness.served)),
    ("clients_starved", |report| count(report.fairness.starved)),
    ("jain", |report| number(report.fairness.jain?)),
    ("client_requests_min", |report| count(report.fairness.requests_min)),
    ("client_requests_max", |report| count(report.fairness.requests_max)),
    ("longest_silence_ns", |report| count(report.fairness.longest_silence_ns)),
    ("longest_stall_ns", |report| count(report.fairness.longest_stall_ns)),
    ("effective_concurrency", |report| number(report.fairness.effective_concurrency?)),
    ("service_concurrency", |report| number(report.fairness.service_concurrency?)),
    ("generator_cpu_ns_per_request", |report| number(report.generator.cpu_ns_per_request?)),
    ("generator_busiest_thread_share", |report| number(report.generator.busiest_thread_share)),
    ("generator_idle_share_min", |report| number(report.generator.idle_share_min?)),
    ("generator_cpu_wait_share_max", |report| number(report.generator.cpu_wait_share_max?)),
    ("steal_share", |report| number(report.generator.steal_share?)),
    ("retransmissions", |report| count(report.network?.retransmissions)),
    ("listen_overflows", |report| count(report.network?.listen_overflows)),
    ("server_cpu_ns_per_request", |report| metric_of("server_cpu_ns_per_request", report)),
    ("context_switches_per_request", |report| metric_of("context_switches_per_request", report)),
    ("memory_bytes", |report| metric_of("memory_bytes", report)),
    ("stage", |_| None),
    ("kind", |_| None),
    ("aborted_by", |report| Some(report.aborted.as_ref()?.condition.clone())),
    ("recovered_after_ns", |report| count(report.recovery?.recovered_after_ns?)),
    ("full_handshakes", |report| count(report.tls.as_ref()?.full_handshakes)),
    ("resumed_handshakes", |report| count(report.tls.as_ref()?.resumed_handshakes)),
    ("partial", |report| Some(report.merged.as_ref().is_some_and(Merged::is_partial).to_string())),
    ("missing_parts", |report| {
        let numbers: Vec<_> = report.merged.as_ref()?.missing.iter().map(ToString::to_string).collect();
        list(numbers.iter().map(String::as_str))
    }),
];

/// The columns that an interval has.
static INTERVAL: &[Named<Interval>] = &[
    ("achieved_per_s", |interval| number(interval.achieved_per_s)),
    ("completed", |interval| count(interval.completed)),
    ("failed", |interval| count(interval.failed)),
    ("response_p50_ns", |interval| count(interval.p50?)),
    ("response_p90_ns", |interval| count(interval.p90?)),
    ("response_p99_ns", |interval| count(interval.p99?)),
    ("response_p99_9_ns", |interval| count(interval.p99_9?)),
    ("response_max_ns", |interval| count(interval.max?)),
    ("response_failed", |interval| count(interval.failed_tail.as_ref()?.count)),
    ("response_failed_longer_than_ns", |interval| count(interval.failed_tail.as_ref()?.longer_than_ns)),
];

/// The columns that a part of the requests has: a stage, or a kind.
static OUTCOMES: &[Named<Outcomes>] = &[
    ("achieved_per_s", |outcomes| number(outcomes.achieved_per_s)),
    ("due", |outcomes| count(outcomes.due)),
    ("unsent", |outcomes| count(outcomes.unsent)),
    ("completed", |outcomes| count(outcomes.completed)),
    ("failed", |outcomes| count(outcomes.failed)),
    ("cut_off", |outcomes| count(outcomes.cut_off)),
    ("errors", |outcomes| count(total(&outcomes.errors))),
    ("response_count", |outcomes| count(outcomes.response_ns.count)),
    ("response_min_ns", |outcomes| count(outcomes.response_ns.min?)),
    ("response_mean_ns", |outcomes| number(outcomes.response_ns.mean?)),
    ("response_stdev_ns", |outcomes| number(outcomes.response_ns.stdev?)),
    ("response_p50_ns", |outcomes| count(outcomes.response_ns.p50?)),
    ("response_p90_ns", |outcomes| count(outcomes.response_ns.p90?)),
    ("response_p99_ns", |outcomes| count(outcomes.response_ns.p99?)),
    ("response_p99_9_ns", |outcomes| count(outcomes.response_ns.p99_9?)),
    ("response_p99_99_ns", |outcomes| count(outcomes.response_ns.p99_99?)),
    ("response_max_ns", |outcomes| count(outcomes.response_ns.max?)),
    ("response_failed", |outcomes| count(outcomes.response_ns.failed_tail.as_ref()?.count)),
    ("response_failed_longer_than_ns", |outcomes| {
        count(outcomes.response_ns.failed_tail.as_ref()?.longer_than_ns)
    }),
];

/// The columns that a point of a load curve has.
static CURVE: &[Named<CurvePoint>] = &[
    ("verdict", |point| Some(status_name(point.verdict).to_owned())),
    ("reasons", |point| list(point.reasons.iter().map(String::as_str))),
    ("offered_per_s", |point| number(point.offered_per_s?)),
    ("achieved_per_s", |point| number(point.achieved_per_s)),
    ("response_mean_ns", |point| number(point.mean_ns?)),
    ("response_p50_ns", |point| count(point.p50_ns?)),
    ("response_p90_ns", |point| count(point.p90_ns?)),
    ("response_p99_ns", |point| count(point.p99_ns?)),
    ("response_p99_9_ns", |point| count(point.p99_9_ns?)),
    ("response_max_ns", |point| count(point.max_ns?)),
    ("response_failed", |point| count(point.failed_tail.as_ref()?.count)),
    ("response_failed_longer_than_ns", |point| count(point.failed_tail.as_ref()?.longer_than_ns)),
];

/// Every column, in order.
pub(super) fn columns() -> Vec<Column> {
    let plain = |(name, of): &Named<Report>| Column { name: (*name).to_owned(), of: Box::new(*of) };
    let times = TIMES.iter().flat_map(|(time, get)| {
        FIGURES.iter().map(move |(figure, of)| Column {
            name: format!("{time}_{figure}"),
            of: Box::new(move |report| of(get(&report.latency_ns)?)),
        })
    });
    let failed = FAILED.iter().map(|(name, of)| Column {
        name: (*name).to_owned(),
        of: Box::new(move |report: &Report| of(report.latency_ns.response.failed_tail.as_ref()?)),
    });
    BEFORE_TIMES.iter().map(plain).chain(times).chain(failed).chain(AFTER_TIMES.iter().map(plain)).collect()
}

/// The cell of an interval in the column with this name.
pub(super) fn of_interval(name: &str, interval: &Interval) -> Cell {
    of_named(INTERVAL, name, interval)
}

/// The cell of a stage in the column with this name.
pub(super) fn of_stage(name: &str, stage: &Stage) -> Cell {
    match name {
        "stage" => Some(stage.stage.clone()),
        "offered_per_s" => number(stage.offered_per_s),
        name => of_named(OUTCOMES, name, &stage.outcomes),
    }
}

/// The cell of a kind of requests in the column with this name.
pub(super) fn of_kind(name: &str, kind: &Kind) -> Cell {
    match name {
        "kind" => Some(kind.kind.clone()),
        name => of_named(OUTCOMES, name, &kind.outcomes),
    }
}

/// The cell of a point of a load curve in the column with this name.
pub(super) fn of_curve(name: &str, point: &CurvePoint) -> Cell {
    of_named(CURVE, name, point)
}

/// The cell of all rounds of a server in the column with this name: the worst verdict, every reason, or a median.
pub(super) fn of_rounds(name: &str, subject: &Subject) -> Cell {
    let RoundsVerdict { status: worst, rounds, reasons, .. } = &subject.verdict;
    match name {
        "verdict" => (*rounds > 0).then(|| status_name(*worst).to_owned()),
        "reasons" => list(reasons.iter().map(|found| found.reason.code.as_str())),
        name => number(subject.summary.get(metric_name(name))?.median?),
    }
}

fn of_named<T>(known: &[Named<T>], name: &str, row: &T) -> Cell {
    let (_, of) = known.iter().find(|(known, _)| *known == name)?;
    of(row)
}

/// The metric of a comparison in the column with this name.
fn metric_name(column: &str) -> &str {
    match column {
        "achieved_per_s" => "replies_per_s",
        name => name,
    }
}

/// A number that can be read back without loss.
fn number(number: f64) -> Cell {
    Some(number.to_string())
}

fn count(count: u64) -> Cell {
    Some(count.to_string())
}

fn metric_of(name: &str, report: &Report) -> Cell {
    number((metric(name)?.of)(report)?)
}

fn missed(report: &Report) -> impl Iterator<Item = &SloOutcome> {
    report.slo.iter().filter(|slo| !slo.met)
}

/// Several values in one cell, separated by semicolons.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> Cell {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| items.join(";"))
}

fn kind(kind: Loop) -> &'static str {
    match kind {
        Loop::Closed => "closed",
        Loop::Open => "open",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::result::metrics::METRICS;

    #[test]
    fn every_value_of_a_part_has_a_column_and_names_are_unique() {
        let columns = columns();
        let names: BTreeSet<_> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names.len(), columns.len());
        let parts = INTERVAL.iter().map(|(name, _)| name).chain(CURVE.iter().map(|(name, _)| name));
        let parts = parts.chain(OUTCOMES.iter().map(|(name, _)| name));
        for name in parts {
            assert!(names.contains(name), "{name}");
        }
        let metrics: BTreeSet<_> = names.iter().map(|name| metric_name(name)).collect();
        for metric in METRICS {
            assert!(metrics.contains(metric.name), "{}", metric.name);
        }
    }
}
