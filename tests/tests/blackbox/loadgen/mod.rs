//! What the load generator does.

use crate::behaviour::Group;

mod command_line;
mod compare;
mod failures;
mod fairness;
mod interruption;
mod load;
mod output;
mod slo;
mod stall;
mod sweep;
mod talk;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        load::group(),
        failures::group(),
        fairness::group(),
        stall::group(),
        interruption::group(),
        output::group(),
        slo::group(),
        talk::group(),
        compare::group(),
        sweep::group(),
        command_line::group(),
    ]
}
