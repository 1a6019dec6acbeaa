//! Behaviours of the load generator.

use crate::behaviour::Group;

mod addresses;
mod command_line;
mod compare;
mod csv;
mod failures;
mod fairness;
mod files;
mod histograms;
mod html;
mod interruption;
mod load;
mod merge;
mod metrics;
mod output;
mod pauses;
mod replay;
mod request_log;
mod slo;
mod stall;
mod start_at;
mod sweep;
mod talk;
mod terminal;
mod verdict;
mod window;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        load::group(),
        failures::group(),
        fairness::group(),
        stall::group(),
        pauses::group(),
        window::group(),
        interruption::group(),
        start_at::group(),
        output::group(),
        files::group(),
        metrics::group(),
        merge::group(),
        csv::group(),
        histograms::group(),
        request_log::group(),
        replay::group(),
        html::group(),
        slo::group(),
        talk::group(),
        terminal::group(),
        compare::group(),
        sweep::group(),
        addresses::group(),
        command_line::group(),
        verdict::group(),
    ]
}
