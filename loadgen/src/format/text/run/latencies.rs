//! The tables of a run's latencies: response and service time, their parts, and the floor.

use std::io::{self, Write};

use common::human::{duration_ns, percent, plural, rate};

use crate::{
    format::{
        text::{
            page::{LABEL, Page, line},
            table::{Side, Table},
        },
        words::{self, time_or_failed},
    },
    result::{FailedTail, Floor, Latencies, Latency, Report},
};

/// Prints the tables.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    write_latencies(report, out)?;
    write_decomposition(report, out)?;
    write_floor(report, out)
}

/// Reads one figure of a distribution.
type Get = fn(&Latency) -> Option<u64>;

/// The rows of a table of distributions: the names in this table and in [`Latency`], and the figure.
static ROWS: [(&str, &str, Get); 9] = [
    ("min", "min", |latency| latency.min),
    ("mean", "mean", |latency| latency.mean.map(|mean| mean.round() as u64)),
    ("p50", "p50", |latency| latency.p50),
    ("p90", "p90", |latency| latency.p90),
    ("p99", "p99", |latency| latency.p99),
    ("p99.9", "p99_9", |latency| latency.p99_9),
    ("p99.99", "p99_99", |latency| latency.p99_99),
    ("max", "max", |latency| latency.max),
    ("stdev", "stdev", |latency| latency.stdev.map(|stdev| stdev.round() as u64)),
];

fn write_latencies(report: &Report, out: &mut Page) -> io::Result<()> {
    let latencies = &report.latency_ns;
    let mut columns = vec![("response", &latencies.response)];
    let failed_tail = latencies.response.failed_tail.as_ref();
    columns.extend(failed_tail.map(|_| ("successful", &latencies.successful)));
    columns.push(("service", &latencies.service));
    columns.extend(latencies.schedule_lag.as_ref().map(|lag| ("schedule lag", lag)));
    columns.push(("connect", &latencies.connect));
    columns.extend(latencies.handshake.as_ref().map(|handshake| ("TLS handshake", handshake)));
    write_columns(&columns, out)?;
    let lag = if latencies.schedule_lag.is_some() { "; schedule lag: the generator's own delay" } else { "" };
    line(out, "", &format!("response: since the request was due; service: since it was written{lag}"))?;
    let is_withheld = |tail: Option<&FailedTail>| !tail.is_some_and(|tail| tail.holds("p99_99"));
    if let Some(tail) = failed_tail {
        let without = plural(tail.count, "request");
        line(
            out,
            "",
            &format!(
                "(failed): among the {without} without a reply, which count as the slowest; successful: the response times \
                 of the other requests"
            ),
        )?;
    }
    if latencies.response.count > 0 && latencies.response.p99_99.is_none() && is_withheld(failed_tail) {
        line(out, "", "-: too few samples")?;
    }
    if let Some(precision) = &report.precision {
        line(out, "", &format!("response, {}", words::precision(precision)))?;
    }
    writeln!(out)
}

/// The parts of the response time, if the kernel's timestamps give them.
fn write_decomposition(report: &Report, out: &mut Page) -> io::Result<()> {
    let Latencies { due_to_written, written_to_ready, ready_to_read, .. } = &report.latency_ns;
    let (Some(written_to_ready), Some(ready_to_read)) = (written_to_ready, ready_to_read) else {
        return Ok(());
    };
    let columns =
        [("due→written", due_to_written), ("written→ready", written_to_ready), ("ready→read", ready_to_read)];
    write_columns(&columns, out)?;
    line(
        out,
        "",
        "due→written: the generator's lateness and the client's own queue; written→ready: the network and the server; \
         ready→read: the generator's own delay",
    )?;
    writeln!(out)
}

/// The floor: the time that the generator and the kernel take themselves.
fn write_floor(report: &Report, out: &mut Page) -> io::Result<()> {
    let Some(calibration) = &report.calibration else { return Ok(()) };
    let mut table = numbers(["floor", "response", "share"]);
    for Floor { percentile, floor_ns, response_ns, share } in &calibration.floor {
        let [floor, response] = [floor_ns, response_ns].map(|time| time.map_or("-".to_owned(), duration_ns));
        let share = share.map_or("-".to_owned(), percent);
        table.row([percentile.replace('_', "."), floor, response, share]);
    }
    table.write(out)?;
    let per_s = rate(calibration.achieved_per_s);
    line(
        out,
        "",
        &format!("floor: the same load on an echo inside the generator, over loopback; it reached {per_s}/s"),
    )?;
    writeln!(out)
}

fn write_columns(columns: &[(&str, &Latency)], out: &mut Page) -> io::Result<()> {
    let mut table = numbers(columns.iter().map(|(head, _)| *head));
    for (shown, name, get) in &ROWS {
        let cell = |latency: &Latency| {
            time_or_failed(get(latency), name, latency.failed_tail.as_ref()).unwrap_or_else(|| "-".to_owned())
        };
        let cells = columns.iter().map(|(_, latency)| cell(latency));
        table.row(std::iter::once((*shown).to_owned()).chain(cells));
    }
    table.write(out)
}

/// A table of numbers. The names of its rows are aligned with the labels.
fn numbers<'a>(heads: impl IntoIterator<Item = &'a str>) -> Table {
    let heads = std::iter::once("").chain(heads);
    Table::plain(LABEL, heads.into_iter().map(|head| (head, Side::Right)))
}
