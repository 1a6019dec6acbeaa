//! The results to merge: files and standard input, each with one result or several.

use std::{
    collections::VecDeque,
    io::{self, BufRead, IsTerminal},
    mem,
    path::{Path, PathBuf},
};

use anyhow::Context;
use common::human::plural;

use crate::{
    command::stored::{self, Foreign, Found, Results},
    format::json::ReadError,
    result::Document,
};

/// What to do about logs whose lines have prefixes.
const NO_PREFIXES: &str = "results stand behind a prefix in their lines: print the logs without prefixes ('docker service logs \
                           --raw', 'kubectl logs --prefix=false', 'docker compose logs --no-log-prefix')";

/// Why the input has no result to merge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputError {
    /// Nothing was named, and standard input is a terminal.
    #[error(
        "no file is named, and standard input is a terminal: name the results, or pipe them in, as in 'kubectl logs ... | \
         loadgen merge'"
    )]
    Terminal,
    /// A result is broken.
    #[error(
        "{place}: the result cannot be used: {error}; with --expect-parts N, a broken result counts as a missing part"
    )]
    Broken {
        /// The input, and the line at which the result begins.
        place: String,
        /// What is wrong.
        error: ReadError,
    },
    /// The input holds no result.
    #[error("{name} holds no result of loadgen: {why}")]
    NoResult {
        /// The input.
        name: String,
        /// What it holds instead, and what to do.
        why: String,
    },
}

/// A step of reading.
#[derive(Debug)]
pub(super) enum Reading {
    /// The next result.
    Result { name: String, document: Document },
    /// The result before has this name instead: its file holds several.
    Rename(String),
}

/// All results of the input, in its order.
#[derive(Debug)]
pub(super) struct Input {
    sources: VecDeque<PathBuf>,
    current: Option<Source>,
    /// A broken result, or a file without one, is not an error.
    may_lack: bool,
    notes: Vec<String>,
    /// The first place without a result, for the error if there is none at all.
    empty: Option<InputError>,
}

/// An open input.
struct Source {
    name: String,
    results: Results<Box<dyn BufRead>>,
    /// The lines of its results.
    lines: Vec<u64>,
    /// A result that was read before the one in front of it could be named.
    held: Option<Document>,
    /// It holds a broken result.
    is_broken: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Input {
    /// Opens these files. Without files: standard input.
    ///
    /// # Errors
    /// When standard input is a terminal.
    pub(super) fn open(files: &[PathBuf], may_lack: bool) -> Result<Self, InputError> {
        let sources: VecDeque<_> = match files {
            [] if io::stdin().is_terminal() => return Err(InputError::Terminal),
            [] => VecDeque::from([PathBuf::from("-")]),
            files => files.iter().cloned().collect(),
        };
        Ok(Self { sources, current: None, may_lack, notes: Vec::new(), empty: None })
    }

    /// The next result, or a change of the name of the last one. None at the end.
    ///
    /// # Errors
    /// When an input cannot be read, holds no result, or holds a broken one.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Reading>> {
        loop {
            let Some(source) = &mut self.current else {
                let Some(path) = self.sources.pop_front() else { return Ok(None) };
                self.current = self.source(&path)?;
                continue;
            };
            if let Some(document) = source.held.take() {
                return Ok(Some(source.result(document)));
            }
            let name = source.name.clone();
            let Some(Found { line, document }) =
                source.results.next().with_context(|| format!("{name} cannot be read"))?
            else {
                let source = self.current.take();
                source.map_or(Ok(()), |source| self.close(source))?;
                continue;
            };
            match document {
                Ok(document) => {
                    source.lines.push(line);
                    if source.lines.len() == 2 {
                        source.held = Some(document);
                        return Ok(Some(Reading::Rename(place(&source.name, source.lines[0]))));
                    }
                    return Ok(Some(source.result(document)));
                }
                Err(error) if self.may_lack => {
                    source.is_broken = true;
                    let place = place(&name, line);
                    self.notes.push(format!("the result at {place} is left out: {error}"));
                }
                Err(error) => return Err(InputError::Broken { place: place(&name, line), error }.into()),
            }
        }
    }

    /// The notes about the input, after its end.
    ///
    /// # Errors
    /// When there was no result at all.
    pub(super) fn finish(&mut self, results: usize) -> Result<Vec<String>, InputError> {
        match self.empty.take().filter(|_| results == 0) {
            Some(error) => Err(error),
            None => Ok(mem::take(&mut self.notes)),
        }
    }

    fn source(&mut self, path: &Path) -> anyhow::Result<Option<Source>> {
        let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
        match stored::open(path) {
            Ok(results) => {
                Ok(Some(Source { name, results, lines: Vec::new(), held: None, is_broken: false }))
            }
            // A generator that died early has written no file.
            Err(error) if self.may_lack && error.kind() == io::ErrorKind::NotFound => {
                self.lack(InputError::NoResult { name, why: "there is no such file".to_owned() });
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("{name} cannot be read")),
        }
    }

    /// Looks at what was skipped.
    fn close(&mut self, source: Source) -> Result<(), InputError> {
        let Source { name, results, lines, is_broken, .. } = source;
        let foreign = results.foreign();
        if !lines.is_empty() || is_broken {
            self.notes.extend(skipped(&name, foreign));
            if lines.is_empty() {
                let why = "its results are broken".to_owned();
                self.empty.get_or_insert(InputError::NoResult { name, why });
            }
            return Ok(());
        }
        let error = InputError::NoResult { name, why: nothing(foreign) };
        if !self.may_lack {
            return Err(error);
        }
        self.lack(error);
        Ok(())
    }

    fn lack(&mut self, error: InputError) {
        self.notes.push(error.to_string());
        self.empty.get_or_insert(error);
    }
}

impl Source {
    fn result(&self, document: Document) -> Reading {
        let name = match self.lines.as_slice() {
            [.., line] if self.lines.len() > 1 => place(&self.name, *line),
            _ => self.name.clone(),
        };
        Reading::Result { name, document }
    }
}

fn place(name: &str, line: u64) -> String {
    format!("{name}:{line}")
}

/// A note about the lines that are no result.
fn skipped(name: &str, foreign: &Foreign) -> Option<String> {
    let (line, text) = foreign.first.as_ref()?;
    let skipped = match foreign.count {
        1 => format!("1 line of {name} was skipped, as it is not a result"),
        count => format!("{} of {name} were skipped, as they are not results", plural(count, "line")),
    };
    Some(format!("{skipped}; the first is line {line}: {text}"))
}

/// What an input without a result holds, and what to do.
fn nothing(foreign: &Foreign) -> String {
    match &foreign.first {
        None => "it is empty; 'loadgen run --format jsonl' writes a result".to_owned(),
        Some(_) if foreign.has_prefix => NO_PREFIXES.to_owned(),
        Some((line, text)) => format!(
            "its lines are not a result such as 'loadgen run --format jsonl' writes one; the first is line {line}: {text}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{format::json, result::tests::example};

    /// A folder with a result, a file with two, a log, and files without a result.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut line = Vec::new();
        json::write_line(&Document::Run(Box::new(example())), &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        let cut = format!("{}\n", &line[..line.len() / 2]);
        for (name, text) in [
            ("one", line.clone()),
            ("two", format!("{line}{line}")),
            ("log", format!("started\n{line}ended\n")),
            ("half", format!("{cut}{line}")),
            ("broken", cut),
            ("empty", String::new()),
            ("text", "hello\nworld\n".to_owned()),
            ("prefixed", format!("generator-1 | {line}")),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    /// The names of the results in these files, and the notes. Paths are without the folder.
    fn read(names: &[&str], may_lack: bool) -> Result<(Vec<String>, Vec<String>), String> {
        let folder = folder();
        let prefix = format!("{}/", folder.path().display());
        let short = |text: &dyn std::fmt::Display| text.to_string().replace(&prefix, "");
        let files: Vec<_> = names.iter().map(|name| folder.path().join(name)).collect();
        let mut input = Input::open(&files, may_lack).unwrap();
        let mut results: Vec<String> = Vec::new();
        while let Some(reading) = input.next().map_err(|error| short(&error))? {
            match reading {
                Reading::Result { name, .. } => results.push(short(&name)),
                Reading::Rename(name) => *results.last_mut().unwrap() = short(&name),
            }
        }
        let notes = input.finish(results.len()).map_err(|error| short(&error))?;
        Ok((results, notes.iter().map(|note| short(note)).collect()))
    }

    #[test]
    fn a_result_has_the_name_of_its_file_and_one_of_several_its_line_too() {
        let (results, notes) = read(&["one", "two", "log", "one"], false).unwrap();
        assert_eq!(results, ["one", "two:1", "two:2", "log", "one"]);
        assert_eq!(
            notes,
            ["2 lines of log were skipped, as they are not results; the first is line 1: started"]
        );
        let (_, notes) = read(&["log"], true).unwrap();
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn without_the_number_of_parts_each_file_has_a_result() {
        for (name, said) in [
            ("missing", "missing cannot be read"),
            ("empty", "empty holds no result of loadgen: it is empty; 'loadgen run"),
            ("text", "text holds no result of loadgen: its lines are not a result"),
            ("text", "the first is line 1: hello"),
            ("prefixed", "results stand behind a prefix in their lines"),
            ("broken", "broken:1: the result cannot be used"),
            ("half", "half:1: the result cannot be used"),
        ] {
            let error = read(&["one", name], false).unwrap_err();
            assert!(error.contains(said), "{name}: {error}");
        }
    }

    #[test]
    fn with_the_number_of_parts_a_file_without_a_result_is_a_missing_part() {
        for (name, said) in [
            ("missing", "missing holds no result of loadgen: there is no such file"),
            ("empty", "empty holds no result of loadgen: it is empty"),
            ("text", "text holds no result"),
            ("broken", "the result at broken:1 is left out"),
        ] {
            let (results, notes) = read(&["one", name], true).unwrap();
            assert_eq!(results, ["one"], "{name}");
            assert!(notes.len() == 1 && notes[0].contains(said), "{name}: {notes:?}");
        }
        let (results, notes) = read(&["half"], true).unwrap();
        assert_eq!((results, notes.len()), (vec!["half".to_owned()], 1));
        // Another error than that of a missing file is none of a generator.
        let error = read(&["one", "text/file"], true).unwrap_err();
        assert!(error.contains("text/file cannot be read"), "{error}");
    }

    #[test]
    fn the_first_place_without_a_result_is_named_if_there_is_no_result_at_all() {
        for (names, said) in [
            (&["missing", "text"][..], "missing holds no result of loadgen: there is no such file"),
            (&["text", "missing"], "text holds no result of loadgen: its lines"),
            (&["broken", "text"], "broken holds no result of loadgen: its results are broken"),
        ] {
            let error = read(names, true).unwrap_err();
            assert!(error.contains(said), "{names:?}: {error}");
        }
    }
}
