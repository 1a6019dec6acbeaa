//! Faults, each in every mode, with a bound and a count: what clients, the network, the machine and the user do to the programs.
//!
//! [`extent`] has the counts. `FAULTS=long` takes the long ones.

use crate::behaviour::Group;

mod aborted;
mod clock;
mod disk;
mod exhaustion;
mod extent;
mod memory;
mod network;
mod output;
mod shutdown;
mod slow;
mod stopped;
mod unread;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        aborted::group(),
        unread::group(),
        slow::group(),
        exhaustion::group(),
        memory::group(),
        stopped::group(),
        clock::group(),
        network::group(),
        shutdown::group(),
        disk::group(),
        output::group(),
    ]
}
