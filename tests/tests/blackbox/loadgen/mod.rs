//! Behaviours of the load generator.

use crate::behaviour::Group;

mod addresses;
mod against;
mod command_line;
mod compare;
mod csv;
mod damaged;
mod dialogue;
mod extremes;
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
mod part;
mod pauses;
mod precision;
mod replay;
mod request_log;
mod slo;
mod sources;
mod stages;
mod stall;
mod start_at;
mod sweep;
mod talk;
mod terminal;
mod tls;
mod verdict;
mod window;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        load::group(),
        dialogue::group(),
        failures::group(),
        fairness::group(),
        stall::group(),
        pauses::group(),
        window::group(),
        interruption::group(),
        start_at::group(),
        part::group(),
        damaged::group(),
        extremes::group(),
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
        stages::group(),
        precision::group(),
        talk::group(),
        terminal::group(),
        tls::group(),
        compare::group(),
        against::group(),
        sweep::group(),
        addresses::group(),
        sources::group(),
        command_line::group(),
        verdict::group(),
    ]
}
