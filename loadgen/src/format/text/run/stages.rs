//! The table of the stages of a run, and whether the service recovered after the peak.

use std::io::{self, Write};

use common::human::{count, rate};

use crate::{
    format::{
        text::{
            page::{LABEL, Page, line},
            table::{Side, Table},
        },
        words::{errors, recovery, short_or_failed},
    },
    result::{Report, Stage},
};

/// Prints the table. Nothing without stages.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    if report.stages.is_empty() {
        return Ok(());
    }
    let heads = ["", "stage", "offered/s", "achieved/s", "due", "failed", "p50", "p99", "max"];
    let side = |index| if index == 1 { Side::Left } else { Side::Right };
    let heads = heads.into_iter().enumerate().map(|(index, head)| (head, side(index)));
    let mut table = Table::plain(LABEL, heads);
    for stage in &report.stages {
        table.row(row(stage));
    }
    table.write(out)?;
    line(
        out,
        "",
        "due, failed and the response times: the requests that were due in the stage; achieved: the replies that arrived in it",
    )?;
    let with_errors = report.stages.iter().filter(|stage| !stage.outcomes.errors.is_empty());
    for Stage { number, outcomes, .. } in with_errors {
        line(out, "", &format!("errors of stage {number}: {}", errors(&outcomes.errors)))?;
    }
    if let Some(seen) = &report.recovery {
        line(out, "recovery", &recovery(seen))?;
    }
    writeln!(out)
}

fn row(Stage { number, stage, offered_per_s, outcomes, .. }: &Stage) -> [String; 9] {
    let response = &outcomes.response_ns;
    let time = |name, time_ns: Option<u64>| {
        short_or_failed(time_ns, name, response.failed_tail.as_ref()).unwrap_or_else(|| "-".to_owned())
    };
    [
        number.to_string(),
        stage.clone(),
        rate(*offered_per_s),
        rate(outcomes.achieved_per_s),
        count(outcomes.due),
        count(outcomes.failed),
        time("p50", response.p50),
        time("p99", response.p99),
        time("max", response.max),
    ]
}
