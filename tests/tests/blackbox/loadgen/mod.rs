//! What the load generator does.

use crate::behaviour::Group;

mod command_line;
mod compare;
mod failures;
mod fairness;
mod interruption;
mod load;
mod merge;
mod metrics;
mod output;
mod stall;
mod start_at;
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
        talk::group(),
        compare::group(),
        command_line::group(),
        verdict::group(),
    ]
}
