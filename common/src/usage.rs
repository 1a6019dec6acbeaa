//! Usage errors, and number arguments with a sign.

use std::{any::TypeId, fmt::Display};

use clap::{Arg, Command, Error, error::ErrorKind};

/// Allows the values of these types to begin with a minus sign, in the command and its subcommands. So the parser of the type
/// rejects `-5s`. Otherwise, clap would report an unknown flag.
pub fn take_signs(command: Command, numbers: &'static [TypeId]) -> Command {
    let command = command.mut_args(|arg| match is_one_of(&arg, numbers) {
        true => arg.allow_hyphen_values(true),
        false => arg,
    });
    command.mut_subcommands(|subcommand| take_signs(subcommand, numbers))
}

fn is_one_of(arg: &Arg, types: &[TypeId]) -> bool {
    arg.get_action().takes_values() && types.iter().any(|number| arg.get_value_parser().type_id() == *number)
}

/// Prints a usage error to stderr, in clap's format.
pub fn print_misuse(message: impl Display) {
    print(format_args!("{message}\n\nFor more information, try '--help'."));
}

/// Prints an error to stderr like [`print_misuse`], without the hint to `--help`.
pub fn print_failure(message: impl Display) {
    print(format_args!("{message}"));
}

fn print(message: std::fmt::Arguments<'_>) {
    let error: Error = Error::raw(ErrorKind::ValueValidation, format_args!("{message}\n"));
    // Without standard error, there is no other output for the message.
    let _unprinted = error.with_cmd(&Command::new("")).print();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::{parse_positive_count, parse_positive_duration};

    #[test]
    fn a_number_with_a_sign_reaches_its_parser_and_a_flag_does_not_become_a_value() {
        const NUMBERS: &[TypeId] = &[TypeId::of::<Duration>(), TypeId::of::<u64>()];
        let wait = Arg::new("wait").short('w').long("wait").value_parser(parse_positive_duration);
        let count = Arg::new("count").short('n').value_parser(parse_positive_count);
        let quiet = Arg::new("quiet").short('q').num_args(0);
        let run = Command::new("run").arg(count);
        let command = take_signs(Command::new("x").args([wait, quiet]).subcommand(run), NUMBERS);
        let outcome = |args: &[&str]| {
            let args = ["x"].iter().chain(args);
            command.clone().try_get_matches_from(args).map(drop).map_err(|error| error.to_string())
        };
        for (args, part) in [
            (&["-w", "-5s"][..], "it must be longer than zero"),
            (&["--wait=-5s"], "it must be longer than zero"),
            (&["-w", "-q"], "a value is missing: '-q' is a flag"),
            (&["run", "-n", "-5"], "it must be at least 1"),
            (&["-5s"], "unexpected argument '-5'"),
        ] {
            let error = outcome(args).unwrap_err();
            assert!(error.contains(part), "{args:?}: {error}");
        }
        assert_eq!(outcome(&["-w", "5s", "-q", "run", "-n", "5"]), Ok(()));
    }
}
