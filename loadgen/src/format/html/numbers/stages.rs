//! The table of the stages, and whether the service recovered after the peak.

use common::human::{count, rate};
use maud::{Markup, html};

use crate::{
    format::{
        html::parts::{percentile, prose, table},
        words,
    },
    result::{Report, Stage},
};

/// The table of the stages.
pub(super) fn stages(report: &Report) -> Markup {
    let head = ["", "stage", "offered/s", "achieved/s", "due", "failed", "p50", "p99", "max", "errors"];
    let rows: Vec<_> = report.stages.iter().map(row).collect();
    html! {
        (table("Stages", &head, &rows))
        p.small {
            "Due, failed and the response times: the requests that were due in the stage. Achieved: the replies that arrived in \
             it."
        }
        @if let Some(recovery) = &report.recovery {
            p { (prose(&format!("Recovery: {}.", words::recovery(recovery)))) }
        }
    }
}

fn row(Stage { number, stage, offered_per_s, outcomes, .. }: &Stage) -> Vec<String> {
    let response = &outcomes.response_ns;
    let named = |name, time_ns| percentile(name, time_ns, response.failed_tail.as_ref());
    let errors = match words::errors(&outcomes.errors) {
        errors if errors.is_empty() => "none".to_owned(),
        errors => errors,
    };
    vec![
        number.to_string(),
        stage.clone(),
        rate(*offered_per_s),
        rate(outcomes.achieved_per_s),
        count(outcomes.due),
        count(outcomes.failed),
        named("p50", response.p50),
        named("p99", response.p99),
        named("max", response.max),
        errors,
    ]
}
