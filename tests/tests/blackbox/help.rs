//! The help of both programs at several widths of the terminal.

use std::process::Command;

use crate::{
    behaviour::{Group, group},
    harness::{Finished, programs, server::keep_environment_out},
};

group! {
    once {
        the_help_equals_the_reviewed_text,
        no_line_of_the_help_is_wrapped_twice,
        no_line_of_the_help_is_too_long,
    }
}

pub(crate) fn groups() -> Vec<Group> {
    vec![group()]
}

const WIDTHS: [usize; 3] = [60, 80, 100];

/// The commands of loadgen that are not hidden.
const COMMANDS: [&str; 6] = ["run", "compare", "sweep", "show", "merge", "talk"];

fn the_help_equals_the_reviewed_text() {
    for (name, args) in every_command() {
        let at = |width| format!("--- {width} columns\n{}", help(&args, "--help", width));
        insta::assert_snapshot!(format!("help_{name}"), WIDTHS.map(at).join("\n"));
    }
}

fn no_line_of_the_help_is_wrapped_twice() {
    each_help(|name, width, help| {
        for (line, next) in help.lines().zip(help.lines().skip(1)) {
            let Some(word) = next.split_whitespace().next() else { continue };
            let is_one_text = indentation(line) == indentation(next) && is_prose(line) && is_prose(next);
            assert!(
                !is_one_text || line.chars().count() + 1 + word.chars().count() > width,
                "{name} at {width} columns: '{word}' fits behind\n{line}\n{help}"
            );
        }
    });
}

fn no_line_of_the_help_is_too_long() {
    each_help(|name, width, help| {
        for line in help.lines() {
            assert!(line.chars().count() <= width, "{name} at {width} columns:\n{line}");
        }
    });
}

/// Calls `check` with the name of each command, each width, and the help at that width, both long and short.
#[track_caller]
fn each_help(check: impl Fn(&str, usize, &str)) {
    for (name, args) in every_command() {
        for width in WIDTHS {
            for flag in ["--help", "-h"] {
                check(&name, width, &help(&args, flag, width));
            }
        }
    }
}

/// The program with the arguments of each command.
fn every_command() -> Vec<(String, Vec<&'static str>)> {
    let commands = COMMANDS.map(|command| (format!("loadgen_{command}"), vec!["loadgen", command]));
    let programs = ["server", "loadgen"].map(|program| (program.to_owned(), vec![program]));
    programs.into_iter().chain(commands).collect()
}

#[track_caller]
fn help(args: &[&str], flag: &str, width: usize) -> String {
    let program = if args[0] == "server" { programs::server() } else { programs::loadgen() };
    let mut command = Command::new(program);
    keep_environment_out(&mut command);
    command.args(&args[1..]).arg(flag).env("COLUMNS", width.to_string());
    let finished = Finished::of(&mut command, b"");
    finished.expect_code(0);
    finished.stdout
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether a line belongs to a text, and not to a list whose entries begin on lines of their own: flags, values, default
/// values, codes and headings.
fn is_prose(line: &str) -> bool {
    let text = line.trim();
    let begins_entry = text.starts_with(|c: char| c == '-' || c == '[' || c == '<' || c.is_ascii_digit());
    !text.is_empty() && !begins_entry && !text.ends_with(':') && !is_row(text)
}

/// Whether a line is a row of a table: a term, a gap, and its meaning.
fn is_row(text: &str) -> bool {
    text.contains("  ")
}
