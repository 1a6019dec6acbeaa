//! The notes, the exit status and the examples in `--help` and in the man page of a command.
//!
//! Every text is one line. `--help` wraps it to the width of the terminal.

use std::{env, fmt::Write as _, path::Path};

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

/// The parts of a command's help that follow its flags.
#[derive(Clone, Copy, Debug)]
pub struct Manual {
    /// Paragraphs.
    pub notes: &'static [&'static str],
    /// Exit codes with their meanings.
    pub exit_status: &'static [(&'static str, &'static str)],
    /// At least one use of the command.
    pub examples: &'static [Example],
}

/// One use of a command.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The effect of the command line.
    pub what: &'static str,
    /// The command line, as typed in a shell.
    pub command: &'static str,
}

/// The manuals of a program.
#[derive(Clone, Copy, Debug)]
pub struct Manuals {
    /// The name of the program in the texts. The output has the name of the parsed command instead.
    pub name: &'static str,
    /// The manual of the program itself.
    pub program: Manual,
    /// The manual of each subcommand, with its name.
    pub commands: &'static [(&'static str, Manual)],
}

/// The name that this process was started with, or else this one. A package may install a program under another name than the
/// build.
pub fn program_name(default: &str) -> String {
    let started_as = env::args_os().next().unwrap_or_default();
    let name = Path::new(&started_as).file_name().and_then(|name| name.to_str());
    name.unwrap_or(default).to_owned()
}

/// Shows the manuals in the help of the program and of its subcommands.
pub fn attach(command: Command, manuals: Manuals) -> Command {
    let names = Names { written: manuals.name, shown: command.get_name().to_owned() };
    let command = attach_one(command, Some(&manuals.program), &names);
    command.mut_subcommands(|subcommand| {
        let manual = manuals.find(subcommand.get_name());
        attach_one(subcommand, manual, &names)
    })
}

fn attach_one(command: Command, manual: Option<&Manual>, names: &Names) -> Command {
    let command = command.mut_args(|arg| match arg.get_help().map(ToString::to_string) {
        Some(help) => arg.help(names.in_text(&help)),
        None => arg,
    });
    match manual {
        Some(manual) => command.after_help(manual.after_help(names)),
        None => command,
    }
}

/// The name of a program in the sources, and its name in the output.
pub(crate) struct Names {
    pub(crate) written: &'static str,
    pub(crate) shown: String,
}

impl Names {
    /// A text whose command lines are quoted.
    fn in_text(&self, text: &str) -> String {
        text.replace(&format!("'{} ", self.written), &format!("'{} ", self.shown))
    }

    /// A command line.
    fn in_command(&self, command: &str) -> String {
        match command.strip_prefix(self.written) {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => format!("{}{rest}", self.shown),
            _ => command.to_owned(),
        }
    }
}

impl Manuals {
    /// The manual of the subcommand with that name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Manual> {
        self.commands.iter().find(|(of, _)| *of == name).map(|(_, manual)| manual)
    }
}

impl Manual {
    /// The text after the flags.
    fn after_help(&self, names: &Names) -> String {
        let mut text =
            self.notes.iter().fold(String::new(), |text, note| text + &names.in_text(note) + "\n\n");
        text.push_str("Exit status:\n");
        for (code, meaning) in self.exit_status {
            _ = writeln!(text, "  {code:<8} {meaning}");
        }
        text.push_str("\nExamples:");
        for Example { what, command } in self.examples {
            _ = write!(text, "\n  {what}:\n    {}", names.in_command(command));
        }
        text
    }

    /// Writes the sections of a man page (man-pages(7)).
    pub(crate) fn write_roff(&self, names: &Names, roff: &mut Roff) {
        if !self.notes.is_empty() {
            roff.control("SH", ["NOTES"]);
        }
        for (index, note) in self.notes.iter().enumerate() {
            if index > 0 {
                roff.control("PP", []);
            }
            roff.text([roman(names.in_text(note))]);
        }
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in self.exit_status {
            roff.control("TP", []).text([bold(*code)]).text([roman(*meaning)]);
        }
        roff.control("SH", ["EXAMPLES"]);
        for (index, Example { what, command }) in self.examples.iter().enumerate() {
            if index > 0 {
                roff.control("PP", []);
            }
            roff.text([roman(format!("{what}:"))]);
            // No filling: a command stays on its own line.
            roff.control("PP", []).control("RS", ["4"]).control("nf", []);
            roff.text([roman(names.in_command(command))]);
            roff.control("fi", []).control("RE", []);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_have_the_name_of_the_installed_program() {
        let names = Names { written: "load", shown: "echo-load".to_owned() };
        for (command, expected) in [
            ("load", "echo-load"),
            ("load run --server 'mine=./load {port}'", "echo-load run --server 'mine=./load {port}'"),
            ("loader", "loader"),
            ("time load", "time load"),
        ] {
            assert_eq!(names.in_command(command), expected);
        }
        assert_eq!(
            names.in_text("'load run' puts load on load's own server"),
            "'echo-load run' puts load on load's own server"
        );
    }
}
