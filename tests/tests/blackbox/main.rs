//! The black-box suite: tests of the real programs, started as a user starts them.
//!
//! Every behaviour of the server is checked in every mode of the server's own table, so a mode that is added
//! there is tested without a change here. A test is named `file::mode::sentence`, or `file::sentence` if it does not depend
//! on the mode.

// A failed test panics.
#![allow(clippy::unwrap_used)]

mod behaviour;
mod engines;
mod faults;
mod generated;
mod harness;
mod help;
mod loadgen;
mod model;
mod monitoring;
mod networks;
mod server;
mod services;
mod truth;

use libtest_mimic::Arguments;

/// Tests mostly wait, so more of them run at once than there are CPUs. More than this would disturb the tests that
/// measure times.
const TESTS_AT_ONCE: usize = 6;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TESTS_AT_ONCE));
    // A listing only reads the tables.
    if !arguments.list {
        harness::programs::build();
        common::limits::raise_open_files().expect("the soft limit may be raised to the hard one");
    }
    // Those of the engines take longest, and mostly wait. Tests that need the machine alone run last, so that no other test waits
    // for them.
    let groups = [
        engines::groups(),
        server::groups(),
        model::groups(),
        loadgen::groups(),
        faults::groups(),
        help::groups(),
        generated::groups(),
        monitoring::groups(),
        services::groups(),
        networks::groups(),
        truth::groups(),
    ];
    let trials = groups.into_iter().flatten().flat_map(behaviour::trials).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
