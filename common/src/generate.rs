//! `--generate`: man pages and shell completions, made from the same definitions as `--help`.

use std::io::{self, Write};

use clap_complete::Shell;

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Generate {
    /// The man page, in roff.
    Man,
    /// Completions for bash.
    CompleteBash,
    /// Completions for zsh.
    CompleteZsh,
    /// Completions for fish.
    CompleteFish,
}

/// Writes what was asked for, for the program that `command` describes.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(what: Generate, mut command: clap::Command, out: &mut impl Write) -> io::Result<()> {
    let shell = match what {
        Generate::Man => return write_man(command, out),
        Generate::CompleteBash => Shell::Bash,
        Generate::CompleteZsh => Shell::Zsh,
        Generate::CompleteFish => Shell::Fish,
    };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// One page for the program, followed by a page for each of its visible subcommands.
fn write_man(mut command: clap::Command, out: &mut impl Write) -> io::Result<()> {
    command.build();
    let name = command.get_name().to_owned();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for subcommand in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let title = format!("{name}-{}", subcommand.get_name());
        clap_mangen::Man::new(subcommand.clone()).title(title).render(out)?;
    }
    Ok(())
}
