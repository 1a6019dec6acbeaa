//! `--generate`: man pages and shell completions, made from the same definitions as `--help`.

mod completions;
mod man;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Command;

use crate::manual::Manuals;

/// The kinds of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Generate {
    /// Man pages in roff: one for the program and one for each command
    Man,
    /// Completions for bash
    CompleteBash,
    /// Completions for zsh
    CompleteZsh,
    /// Completions for fish
    CompleteFish,
}

/// A file that was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    /// The file name that man or the shell looks for.
    name: String,
    text: Vec<u8>,
}

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Standard output cannot be written.
    #[error("standard output cannot be written: {0}")]
    Stdout(io::Error),
    /// A file or its directory cannot be written.
    #[error("{} cannot be written: {error}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// Prints the pages of the program that `command` describes. With a directory, writes each page into a file there, under the
/// name that man or the shell looks for, and prints the paths of the files.
///
/// # Errors
/// When a page cannot be written. A reader that closes standard output early is no error.
pub fn run(
    output: Generate,
    directory: Option<&Path>,
    command: &Command,
    manuals: Manuals,
) -> Result<(), GenerateError> {
    let mut printed = Vec::new();
    for Page { name, text } in pages(output, without_hidden(command), manuals) {
        match directory {
            None => printed.extend(text),
            Some(directory) => {
                let path = directory.join(name);
                fs::create_dir_all(directory)
                    .and_then(|()| fs::write(&path, text))
                    .map_err(|error| GenerateError::File { path: path.clone(), error })?;
                printed.extend(format!("{}\n", path.display()).bytes());
            }
        }
    }
    match io::stdout().lock().write_all(&printed) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(GenerateError::Stdout(error)),
        _ => Ok(()),
    }
}

fn pages(output: Generate, command: Command, manuals: Manuals) -> Vec<Page> {
    match output {
        Generate::Man => man::pages(command, manuals),
        Generate::CompleteBash => vec![completions::bash(command)],
        Generate::CompleteZsh => vec![completions::zsh(command)],
        Generate::CompleteFish => vec![completions::fish(command)],
    }
}

/// The command without its hidden flags and subcommands: clap_complete would include them.
fn without_hidden(command: &Command) -> Command {
    let mut visible = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned())
        .subcommands(
            command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).map(without_hidden),
        );
    if let Some(about) = command.get_about() {
        visible = visible.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        visible = visible.version(version.to_owned());
    }
    visible
}
