//! The number of cases of the property tests of this crate.

use proptest::test_runner::Config;

/// So many cases, unless `PROPTEST_CASES` is set. No file is written for a case that fails: the message has it.
pub(crate) fn cases(default: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config { cases: default, ..config },
    }
}
