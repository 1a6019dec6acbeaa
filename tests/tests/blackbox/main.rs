//! The black-box suite: the real programs, started as a user would start them.
//!
//! Every behaviour of the server is checked in every mode of the server's own table, so a mode that is added
//! there is tested without a change here. A test is named `file::mode::sentence`; what does not depend on the
//! mode is named `file::sentence`.

// A test states what must hold by panicking where it does not.
#![allow(clippy::unwrap_used)]

mod behaviour;
mod harness;
mod loadgen;
mod server;
mod truth;

use libtest_mimic::Arguments;

/// Tests mostly wait, so more of them than there are CPUs run at once; not so many that they disturb the times
/// that some of them measure.
const TESTS_AT_ONCE: usize = 6;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TESTS_AT_ONCE));
    // A listing only reads the tables.
    if !arguments.list {
        harness::programs::build();
        common::limits::raise_open_files().expect("the soft limit may be raised to the hard one");
    }
    // The last ones have the machine alone, which costs no other test its time once there is none.
    let groups = [server::groups(), loadgen::groups(), truth::groups()];
    let trials = groups.into_iter().flatten().flat_map(behaviour::trials).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
