//! The delivery of a report and its histograms. It is checked before the run. If a file cannot be written at the end, its
//! content is printed to standard output, so that no run is lost.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use common::log;

use crate::{
    command::files::{self, check_writable},
    format::{FORMATS, Format, hdr, headline, json, screen::Screen},
    result::{Document, Report},
};

/// The size of the smallest file with histograms.
const HISTOGRAMS_BYTES_MIN: usize = 500;
/// The size of the smallest request log.
const LOG_BYTES_MIN: usize = 100;

/// The requested delivery of a report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeliveryRequest<'a> {
    /// The format, if the user chose one.
    pub format: Option<&'static Format>,
    /// The file, or `-`.
    pub output: Option<&'a Path>,
    /// The prefix of the files with histograms.
    pub hdr: Option<&'a Path>,
    /// The file of the request log, which the run itself writes.
    pub log: Option<&'a Path>,
    /// Whether the names of the written files are not printed.
    pub is_quiet: bool,
}

/// Why a report cannot be delivered as requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutputError {
    /// The extension of the file belongs to no format.
    #[error(
        "--output {}: no format has the extension .{ending}; use {known}, or choose the format with --format",
        path.display(),
        known = endings()
    )]
    UnknownEnding {
        /// The file.
        path: PathBuf,
        /// Its extension.
        ending: String,
    },
    /// Two outputs have the same file.
    #[error("--output and --hdr would both write {}: change one of the names", .0.display())]
    SameFile(PathBuf),
    /// The request log and another output have the same file.
    #[error("--log and another output would both write {}: change one of the names", .0.display())]
    SameLog(PathBuf),
    /// The request log would be mixed with the report.
    #[error("--log {} would mix the log with the report on standard output: name a file or a named pipe", .0.display())]
    LogToStandardOutput(PathBuf),
}

/// The checked delivery of a report.
#[derive(Debug)]
pub(crate) struct Delivery {
    format: &'static Format,
    /// None: standard output.
    file: Option<PathBuf>,
    hdr: Option<PathBuf>,
    is_quiet: bool,
}

impl Delivery {
    /// Checks that the report can be delivered.
    ///
    /// # Errors
    /// [`OutputError`] if the request is invalid; another error if a file cannot be written.
    pub(crate) fn prepare(request: DeliveryRequest<'_>) -> anyhow::Result<Self> {
        let format = request.format()?;
        let file = request.output.filter(|path| !files::is_standard_output(path));
        if let Some(path) = file {
            check_writable(path, format.bytes_min)?;
        }
        for histograms in request.hdr.into_iter().flat_map(hdr::paths) {
            check_writable(&histograms, HISTOGRAMS_BYTES_MIN)?;
            if file.is_some_and(|path| files::is_same(path, &histograms)) {
                return Err(OutputError::SameFile(histograms).into());
            }
        }
        if let Some(log) = request.log {
            check_log(log, file, request.hdr)?;
        }
        Ok(Self {
            format,
            file: file.map(Path::to_owned),
            hdr: request.hdr.map(Path::to_owned),
            is_quiet: request.is_quiet,
        })
    }

    /// The format of the report.
    pub(crate) fn format(&self) -> &'static Format {
        self.format
    }

    /// Writes the report and its histograms, and prints the names of the files on standard error.
    ///
    /// # Errors
    /// When something could not be written as requested. The report is printed anyway.
    pub(crate) fn deliver(&self, document: &Document) -> anyhow::Result<()> {
        let histograms = match document {
            Document::Run(report) => self.histograms(report)?,
            Document::Comparison(_) | Document::Sweep(_) => Vec::new(),
        };
        let text = text(|out| (self.format.write)(document, self.screen(), out))?;
        let written = files::replace(&histograms);
        let printed = self.put(&text);
        if let Err(error) = written {
            printed.unwrap_or_else(|error| log::say(format_args!("loadgen: {error:#}")));
            return Err(self.instead_of_histograms(&error, document)?);
        }
        printed?;
        if self.file.is_some() {
            self.say(&headline::of(document));
        }
        self.say_written(histograms.iter().map(|(path, _)| path));
        Ok(())
    }

    /// Writes a text, such as several reports side by side.
    ///
    /// # Errors
    /// When it could not be written as requested. It is printed anyway.
    pub(crate) fn deliver_text(
        &self,
        write: impl FnOnce(Screen, &mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        self.put(&text(|out| write(self.screen(), out))?)?;
        self.say_written([].into_iter());
        Ok(())
    }

    fn screen(&self) -> Screen {
        if self.file.is_some() { Screen::FILE } else { Screen::of_stdout() }
    }

    fn histograms(&self, report: &Report) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
        self.hdr.as_ref().map_or(Ok(Vec::new()), |prefix| hdr::files(prefix, report))
    }

    /// Writes the report, or prints it if its file cannot be written.
    fn put(&self, text: &[u8]) -> anyhow::Result<()> {
        let Some(path) = &self.file else { return print(text) };
        let Err(error) = files::replace(&[(path.clone(), text.to_vec())]) else { return Ok(()) };
        print(text).with_context(|| format!("{error:#}"))?;
        Err(anyhow!("{error:#}; the report was printed to standard output instead"))
    }

    /// Prints the result as JSON: it holds the histograms, so the files can be made later.
    fn instead_of_histograms(
        &self,
        error: &anyhow::Error,
        document: &Document,
    ) -> anyhow::Result<anyhow::Error> {
        if [json::NAME, json::LINE_NAME].contains(&self.format.name) {
            return Ok(anyhow!(
                "{error:#}; 'loadgen show RESULT --hdr PREFIX' writes the files from the JSON result"
            ));
        }
        print(&text(|out| json::write(document, out))?)?;
        Ok(anyhow!(
            "{error:#}; the result was printed to standard output as JSON instead: 'loadgen show RESULT --hdr PREFIX' \
             writes the files from it"
        ))
    }

    fn say_written<'a>(&'a self, others: impl Iterator<Item = &'a PathBuf>) {
        let all: Vec<_> = self.file.iter().chain(others).map(|path| path.display().to_string()).collect();
        if !all.is_empty() {
            self.say(&format!("wrote {}", all.join(", ")));
        }
    }

    fn say(&self, line: &str) {
        if !self.is_quiet {
            log::say(format_args!("{line}"));
        }
    }
}

impl DeliveryRequest<'_> {
    /// The chosen format, or the format of the extension. Text if the user gave neither.
    ///
    /// # Errors
    /// [`OutputError::UnknownEnding`].
    pub(crate) fn format(&self) -> Result<&'static Format, OutputError> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let Some((path, ending)) = self.output.and_then(|path| Some((path, path.extension()?))) else {
            return Ok(&FORMATS[0]);
        };
        let ending = ending.to_string_lossy().to_lowercase();
        let known = FORMATS.iter().find(|format| format.endings.contains(&ending.as_str()));
        known.ok_or_else(|| OutputError::UnknownEnding { path: path.to_owned(), ending })
    }
}

/// Prints to standard output, or to standard error if that fails. A reader that closed the pipe is not an error.
///
/// # Errors
/// When standard output could not be written.
pub(crate) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            io::stderr()
                .write_all(text)
                .context("neither standard output nor standard error can be written")?;
            Err(anyhow!(
                "standard output cannot be written: {error}; the report was printed to standard error instead"
            ))
        }
        _ => Ok(()),
    }
}

fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    write(&mut text).context("the report cannot be made")?;
    Ok(text)
}

/// Checks that the request log can be written, and to a file of its own.
fn check_log(log: &Path, report: Option<&Path>, hdr: Option<&Path>) -> anyhow::Result<()> {
    if files::is_standard_output(log) {
        return Err(OutputError::LogToStandardOutput(log.to_owned()).into());
    }
    let others = report.map(Path::to_owned).into_iter().chain(hdr.into_iter().flat_map(hdr::paths));
    if others.into_iter().any(|other| files::is_same(&other, log)) {
        return Err(OutputError::SameLog(log.to_owned()).into());
    }
    check_writable(log, LOG_BYTES_MIN)
}

fn endings() -> String {
    let all: Vec<_> =
        FORMATS.iter().flat_map(|format| format.endings).map(|ending| format!(".{ending}")).collect();
    all.join(", ")
}
