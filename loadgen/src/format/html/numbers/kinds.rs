//! The table of the kinds of requests.

use common::human::{count, rate};
use maud::Markup;

use crate::{
    format::{
        html::parts::{percentile, table},
        words,
    },
    result::{Kind, Report},
};

/// The table of the kinds of requests.
pub(super) fn kinds(report: &Report) -> Markup {
    let head = ["kind", "achieved/s", "due", "failed", "p50", "p90", "p99", "max", "errors"];
    let rows: Vec<_> = report.kinds.iter().map(row).collect();
    table("Kinds of requests", &head, &rows)
}

fn row(Kind { kind, outcomes }: &Kind) -> Vec<String> {
    let response = &outcomes.response_ns;
    let named = |name, time_ns| percentile(name, time_ns, response.failed_tail.as_ref());
    let errors = match words::errors(&outcomes.errors) {
        errors if errors.is_empty() => "none".to_owned(),
        errors => errors,
    };
    vec![
        kind.clone(),
        rate(outcomes.achieved_per_s),
        count(outcomes.due),
        count(outcomes.failed),
        named("p50", response.p50),
        named("p90", response.p90),
        named("p99", response.p99),
        named("max", response.max),
        errors,
    ]
}
