//! Every flag with a value, at its extremes. The flags are those of the parser itself, so a new flag is covered at once.

use clap::{Arg, FromArgMatches, error::ErrorKind};

use super::*;
use crate::{
    Setup,
    daemon::{config::Config, limits::Limits},
};

/// Values at the limits of every type, and texts that are close to a number.
const EXTREMES: [&str; 46] = [
    "",
    " ",
    "0",
    "1",
    "-0",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1.",
    ".5",
    "1.5",
    "1e3",
    "0x10",
    "NaN",
    "inf",
    "\u{663}",
    "1_000",
    "1,000",
    "1k",
    "1000m",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "1000000000000000",
    "1000000000000001",
    "18446744073709551615",
    "18446744073709551616",
    "0s",
    "1ns",
    "0.5ns",
    "-1s",
    "366d",
    "366d1ns",
    "99999999999999d",
    "5",
    "cpu:366d",
    "cpu:0s",
    "sleep:",
    "0.0.0.0/0",
    "::/129",
    "127.0.0.1:65536",
    "[::1]:0",
    "fd:",
    "--threads",
];

const LIMITS: Limits =
    Limits { open_files: 20_000, threads: 1_000, threads_bound: "a test", stacks: 9_000, cpus: 2 };

#[test]
fn every_flag_takes_its_extremes_or_names_itself_in_an_error() {
    let (mut taken, mut refused) = (0, 0);
    let parser = command();
    for arg in parser.get_arguments().filter(|arg| arg.get_action().takes_values()) {
        let long = arg.get_long().expect("the server has only flags");
        for value in EXTREMES {
            let given = format!("--{long}={value}");
            // A value of --generate-to is good only with --generate.
            let companion = (long == "generate-to").then_some("--generate=man");
            let args = ["server"].into_iter().chain(companion).chain([given.as_str()]);
            let parsed = command()
                .try_get_matches_from(args)
                .and_then(|matches| Args::from_arg_matches(&matches))
                .map_err(|error| {
                    assert_eq!(error.exit_code(), 2, "{given}");
                    let message = error.to_string();
                    let is_of_the_value =
                        matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
                    // A list is split at its commas.
                    let shown = value.split(',').next().unwrap_or_default();
                    assert!(!is_of_the_value || message.contains(shown), "{given}: {message}");
                    message
                });
            match parsed.and_then(|args| Setup::new(args, LIMITS, &[]).map_err(|error| error.to_string())) {
                Ok(Setup { config, .. }) => {
                    assert!((1..=Config::THREADS_MAX as usize).contains(&config.threads), "{given}");
                    assert!(config.max_connections >= 1 && config.backlog >= 1, "{given}");
                    taken += 1;
                }
                Err(message) => {
                    assert!(is_named(&message, arg), "{given}: {message}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 50 && refused > 300, "{taken} taken, {refused} refused");
}

fn is_named(message: &str, arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| message.contains(&format!("--{long}")))
}
