//! Several reports side by side.

use std::io;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use crate::{
    human::{bytes, count, duration_ns, rate},
    report::{Report, Status},
};

/// A column: its head, and what it says of a row; None where the row does not know.
pub(in crate::report) struct Column<T> {
    pub(in crate::report) head: &'static str,
    pub(in crate::report) cell: fn(&T) -> Option<String>,
}

static COLUMNS: &[Column<Report>] = &[
    Column { head: "verdict", cell: |report| Some(verdict(report)) },
    Column { head: "SLO", cell: slo },
    Column { head: "replies\nper s", cell: |report| Some(rate(report.rate.achieved_per_s)) },
    Column { head: "response\np50", cell: |report| report.latency_ns.response.p50.map(short) },
    Column { head: "\np99", cell: |report| report.latency_ns.response.p99.map(short) },
    Column { head: "\np99.9", cell: |report| report.latency_ns.response.p99_9.map(short) },
    Column { head: "\nmax", cell: |report| report.latency_ns.response.max.map(short) },
    Column { head: "service\np99", cell: |report| report.latency_ns.service.p99.map(short) },
    Column { head: "clients\nserved", cell: |report| Some(served(report)) },
    Column { head: "Jain", cell: |report| report.fairness.jain.map(|jain| format!("{jain:.3}")) },
    Column { head: "errors", cell: |report| Some(count(report.errors.values().sum())) },
    Column { head: "server\nCPU/req", cell: server_cpu },
    Column {
        head: "server\nmemory",
        cell: |report| Some(bytes(report.server.as_ref()?.rss_bytes).replace(' ', "")),
    },
];

/// Prints the reports side by side, each with its name. A column that no report knows is left out.
pub fn write(reports: &[(String, Report)], out: &mut dyn io::Write) -> io::Result<()> {
    let rows: Vec<_> = reports.iter().map(|(name, report)| (name.as_str(), report)).collect();
    write_rows(COLUMNS, &rows, out)
}

/// Prints the rows, each with its name. A column that no row knows is left out. The first column is a word.
pub(super) fn write_rows<T>(
    columns: &[Column<T>],
    rows: &[(&str, &T)],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let known = |column: &&Column<T>| rows.iter().any(|(_, row)| (column.cell)(row).is_some());
    let columns: Vec<_> = columns.iter().filter(known).collect();
    let mut table = plain();
    table.set_header(std::iter::once("").chain(columns.iter().map(|column| column.head)));
    for (name, row) in rows {
        let cells = columns.iter().map(|column| (column.cell)(row).unwrap_or_else(|| "-".to_owned()));
        table.add_row(std::iter::once((*name).to_owned()).chain(cells));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
        if column.index > 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// A table with a line under its head and no other.
pub(super) fn plain() -> Table {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(rule));
    table
}

fn verdict(report: &Report) -> String {
    let status = match report.verdict.status {
        Status::Valid => "valid",
        Status::Suspect => "SUSPECT",
        Status::Invalid => "INVALID",
    };
    if report.interrupted { format!("{status} (cut)") } else { status.to_owned() }
}

/// How many of what was asked hold; nothing where nothing was asked.
fn slo(report: &Report) -> Option<String> {
    let (asked, missed) = (report.slo.len(), report.slo.iter().filter(|slo| !slo.met).count());
    match (asked, missed) {
        (0, _) => None,
        (_, 0) => Some("met".to_owned()),
        (1, 1) => Some("MISSED".to_owned()),
        _ => Some(format!("MISSED {missed} of {asked}")),
    }
}

fn served(report: &Report) -> String {
    let fairness = &report.fairness;
    match fairness.served == fairness.clients {
        true => count(fairness.served),
        false => format!("{} of {}", count(fairness.served), count(fairness.clients)),
    }
}

fn server_cpu(report: &Report) -> Option<String> {
    report.server.as_ref()?.cpu_ns_per_request.map(|cpu_ns| short(cpu_ns.round() as u64))
}

/// A time without the space before its unit: there are many columns.
pub(super) fn short(time_ns: u64) -> String {
    duration_ns(time_ns).replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn reports_stand_side_by_side_and_what_nobody_knows_is_left_out() {
        let (one, mut other) = (example(), example());
        other.server = None;
        other.fairness.served = 49;
        let print = |reports: &[(String, Report)]| {
            let mut text = Vec::new();
            write(reports, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        let both = [("tokio-task".to_owned(), one), ("other".to_owned(), other)];
        insta::assert_snapshot!(print(&both), @r#"
                    verdict  replies  response                  service   clients   Jain  errors   server   server
                               per s       p50     p99     max      p99    served                 CPU/req   memory
        ───────────────────────────────────────────────────────────────────────────────────────────────────────────
        tokio-task  valid      1,000    1.04ms  3.96ms  4.04ms    236µs        50  0.999       0   15.0µs  6.00MiB
        other       valid      1,000    1.04ms  3.96ms  4.04ms    236µs  49 of 50  0.999       0        -        -
        "#);
        insta::assert_snapshot!(print(&both[1..]), @r#"
               verdict  replies  response                  service   clients   Jain  errors
                          per s       p50     p99     max      p99    served
        ────────────────────────────────────────────────────────────────────────────────────
        other  valid      1,000    1.04ms  3.96ms  4.04ms    236µs  49 of 50  0.999       0
        "#);
    }
}
