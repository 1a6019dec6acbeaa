//! What the server does.

use crate::behaviour::Group;

mod abuse;
mod admission;
mod backpressure;
mod drain;
mod echo;
mod environment;
mod exhaustion;
mod half_close;
mod leftovers;
mod listening;
mod logs;
mod quiet;
mod refusals;
mod spread;
mod timeouts;
mod usage;
mod work;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        echo::group(),
        half_close::group(),
        listening::group(),
        backpressure::group(),
        timeouts::group(),
        admission::group(),
        spread::group(),
        exhaustion::group(),
        quiet::group(),
        refusals::group(),
        drain::group(),
        abuse::group(),
        leftovers::group(),
        work::group(),
        logs::group(),
        environment::group(),
        usage::group(),
    ]
}
