//! Every flag with a value, at its extremes. The flags are those of the parser itself, so a new flag is covered at once.

use clap::{ArgMatches, FromArgMatches, error::ErrorKind};

use super::*;
use crate::command::{compare::plan::ComparePlan, sweep::plan::SweepPlan};

/// Values at the limits of every type, and texts that are close to a number.
const EXTREMES: [&str; 66] = [
    "",
    " ",
    "0",
    "1",
    "2",
    "-0",
    "-1",
    "+1",
    " 1",
    "1 ",
    "007",
    "1.",
    ".5",
    "0.5",
    "1.5",
    "1e3",
    "1e400",
    "0x10",
    "NaN",
    "inf",
    "-inf",
    "infinity",
    "\u{221e}",
    "\u{663}",
    "1_000",
    "1,000",
    "1k",
    "1m",
    "1g",
    "1000m",
    "-1k",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "1000000000000000",
    "1000000000000001",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "0s",
    "0ns",
    "1ns",
    "0.5ns",
    "-1s",
    "1s",
    "366d",
    "366d1ns",
    "367d",
    "99999999999999d",
    "5",
    "5 parsecs",
    "0%",
    "100%",
    "101%",
    "-1%",
    "NaN%",
    "1e3%",
    "1..1000000000000000",
    "0/1",
    "4294967295/4294967296",
    "--threads",
];

/// What a command does with its arguments before it does anything else. The error of a plan.
fn plan(command: &Command) -> Result<(), String> {
    match command {
        Command::Run(args) => {
            let plan =
                args.request().and_then(|request| request.plan(4)).map_err(|error| error.to_string())?;
            let budgets = plan.budgets();
            assert_eq!(budgets.len(), plan.threads);
            assert!(plan.connections() >= plan.threads as u32 && plan.pipeline >= 1);
            let rate = plan.rate_per_s();
            assert!(rate.is_none_or(|rate| rate.is_finite() && rate > 0.0), "{rate:?}");
            Ok(())
        }
        Command::Compare(args) => {
            let request = args.request().map_err(|error| error.to_string())?;
            ComparePlan::new(request, 4).map(drop).map_err(|error| error.to_string())
        }
        Command::Sweep(args) => {
            let request = args.request().map_err(|error| error.to_string())?;
            SweepPlan::new(request, 4).map(drop).map_err(|error| error.to_string())
        }
        Command::Show(_) | Command::Merge(_) | Command::Talk(_) | Command::Server(_) | Command::Guard => {
            Ok(())
        }
    }
}

/// What the command needs besides the flag. A server that it starts itself speaks no other protocol than an echo.
fn needed(command: &str, companions: &[&str]) -> &'static [&'static str] {
    let has_protocol = companions.iter().any(|companion| companion.starts_with("--protocol"));
    match command {
        "show" => &["result.json"],
        "run" => &["127.0.0.1:9"],
        "compare" | "sweep" if has_protocol => &["127.0.0.1:9"],
        _ => &[],
    }
}

/// Flags whose rules need others: the extremes are valid there only with these.
fn companions(command: &str, flag: &str) -> &'static [&'static str] {
    match (command, flag) {
        ("run", "arrival") => &["--rate=1k"],
        ("run" | "compare", "log_limit") => &["--log=log.csv"],
        ("compare", "tolerance") => &["--against=kept.json"],
        ("run" | "compare" | "sweep", "reply_size") => &["--protocol=fixed", "--message=x", "--expect=none"],
        ("run" | "compare" | "sweep", "max_reply" | "delimiter") => {
            &["--protocol=line", "--message=x", "--expect=none"]
        }
        ("run" | "compare" | "sweep", name) if name.starts_with("length_") => {
            &["--protocol=length", "--message=x", "--expect=none"]
        }
        ("sweep", _) => &["--slo=p99<1s"],
        _ => &[],
    }
}

/// A flag and a value, with the outcome.
fn outcome(parser: &mut clap::Command, command: &str, arg: &Arg, value: &str) -> Result<(), String> {
    let long = arg.get_long().expect("only flags are given");
    let given = format!("--{long}={value}");
    let companions = companions(command, arg.get_id().as_str());
    let args = [NAME, command].into_iter().chain(needed(command, companions).iter().copied());
    let companions =
        companions.iter().copied().filter(|companion| !companion.starts_with(&format!("--{long}=")));
    let args: Vec<_> = args.chain(companions).chain([given.as_str()]).collect();
    let matches = parser.try_get_matches_from_mut(&args).and_then(|matches: ArgMatches| {
        Args::from_arg_matches(&matches).map(|args| args.command.expect("a command is given"))
    });
    match matches {
        Ok(command) => plan(&command),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{args:?}");
            let message = error.to_string();
            let is_of_the_value =
                matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
            // A list is split at its commas.
            let shown = value.split(',').next().unwrap_or_default();
            assert!(!is_of_the_value || message.contains(shown), "{args:?}: {message}");
            Err(message)
        }
    }
}

#[test]
fn every_flag_takes_its_extremes_or_names_itself_in_an_error() {
    let (mut taken, mut refused, mut unnamed) = (0, 0, Vec::new());
    let (parser, mut used) = (super::command(), super::command());
    for command in parser.get_subcommands() {
        let flags =
            command.get_arguments().filter(|arg| arg.get_long().is_some() && arg.get_action().takes_values());
        for arg in flags {
            for value in EXTREMES {
                match outcome(&mut used, command.get_name(), arg, value) {
                    Ok(()) => taken += 1,
                    Err(message) => {
                        let long = arg.get_long().expect("it is a flag");
                        if !message.contains(&format!("--{long}")) {
                            unnamed.push(format!("{} --{long}={value:?}: {message}", command.get_name()));
                        }
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
    // The table of flags is not empty, and neither every value is taken nor every value refused.
    assert!(taken > 500 && refused > 2_000, "{taken} taken, {refused} refused");
}

#[test]
fn a_number_with_a_sign_is_refused_as_a_value_and_not_as_a_flag() {
    let parser = super::command();
    for command in parser.get_subcommands() {
        let numbers = command.get_arguments().filter(|arg| {
            arg.get_long().is_some()
                && arg.is_allow_hyphen_values_set()
                && !arg.is_allow_negative_numbers_set()
        });
        for arg in numbers {
            let long = format!("--{}", arg.get_long().expect("it is a flag"));
            let args = [NAME, command.get_name(), long.as_str(), "-5s"];
            let error = super::command().try_get_matches_from(args).expect_err("no flag takes this");
            assert_ne!(error.kind(), ErrorKind::UnknownArgument, "{args:?}: {error}");
        }
    }
}

#[test]
fn the_limits_of_a_flag_are_in_its_error() {
    for (args, limit) in [
        (&["run", "-c", "0"][..], "at least 1"),
        (&["run", "-c", "10m"], "1000000"),
        (&["run", "-p", "1000m"], "maximum"),
        (&["run", "-c", "5k", "-t", "2k"], "maximum"),
        (&["run", "-r", "0"], "more than zero"),
        (&["run", "-d", "367d"], "366 days"),
        (&["run", "-d", "0s"], "longer than zero"),
        (&["run", "--seed", "1000000000000001"], "10^15"),
    ] {
        let args = std::iter::once(&NAME).chain(args);
        let error = match super::command().try_get_matches_from(args.clone()) {
            Err(error) => error.to_string(),
            Ok(matches) => {
                let command =
                    Args::from_arg_matches(&matches).expect("it parses").command.expect("it has one");
                plan(&command).expect_err("it is out of range")
            }
        };
        assert!(error.contains(limit), "{:?}: {error}", args.collect::<Vec<_>>());
    }
}
