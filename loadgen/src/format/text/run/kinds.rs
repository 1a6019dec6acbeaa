//! The table of the kinds of requests of a run.

use std::io::{self, Write};

use common::human::{count, rate};

use crate::{
    format::{
        text::{
            page::{LABEL, Page, line},
            table::{Side, Table},
        },
        words::{errors, short_or_failed},
    },
    result::{Kind, Report},
};

/// Prints the table. Nothing with one kind.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    if report.kinds.is_empty() {
        return Ok(());
    }
    let heads = ["kind", "achieved/s", "due", "failed", "p50", "p90", "p99", "max"];
    let side = |index| if index == 0 { Side::Left } else { Side::Right };
    let heads = heads.into_iter().enumerate().map(|(index, head)| (head, side(index)));
    let mut table = Table::plain(LABEL, heads);
    for kind in &report.kinds {
        table.row(row(kind));
    }
    table.write(out)?;
    for Kind { kind, outcomes } in report.kinds.iter().filter(|kind| !kind.outcomes.errors.is_empty()) {
        line(out, "", &format!("errors of {kind}: {}", errors(&outcomes.errors)))?;
    }
    writeln!(out)
}

fn row(Kind { kind, outcomes }: &Kind) -> [String; 8] {
    let response = &outcomes.response_ns;
    let time = |name, time_ns: Option<u64>| {
        short_or_failed(time_ns, name, response.failed_tail.as_ref()).unwrap_or_else(|| "-".to_owned())
    };
    [
        kind.clone(),
        rate(outcomes.achieved_per_s),
        count(outcomes.due),
        count(outcomes.failed),
        time("p50", response.p50),
        time("p90", response.p90),
        time("p99", response.p99),
        time("max", response.max),
    ]
}
