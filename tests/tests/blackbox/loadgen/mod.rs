//! What the load generator does.

use crate::behaviour::Group;

mod command_line;
mod compare;
mod csv;
mod failures;
mod fairness;
mod histograms;
mod html;
mod interruption;
mod load;
mod merge;
mod metrics;
mod output;
mod slo;
mod stall;
mod start_at;
mod sweep;
mod talk;
mod verdict;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        load::group(),
        failures::group(),
        fairness::group(),
        stall::group(),
        interruption::group(),
        start_at::group(),
        output::group(),
        metrics::group(),
        merge::group(),
        csv::group(),
        histograms::group(),
        html::group(),
        slo::group(),
        talk::group(),
        compare::group(),
        sweep::group(),
        command_line::group(),
        verdict::group(),
    ]
}
