//! The formats of a result: a table, and a file or a folder for each. A format computes nothing.

pub(crate) mod csv;
pub(crate) mod hdr;
pub(crate) mod headline;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod request_log;
pub(crate) mod screen;
pub(crate) mod text;
mod words;

use std::io;

use self::screen::Screen;
use crate::result::{Document, Report};

/// A format of a result. To add one, write its file beside the others and its row in [`FORMATS`].
#[derive(Debug)]
pub(crate) struct Format {
    /// The name that `--format` takes.
    pub name: &'static str,
    /// The purpose, for the help text.
    pub summary: &'static str,
    /// The endings of its files, in lower case and without the dot.
    pub endings: &'static [&'static str],
    /// Every report has at least this size. With less free space, writing one must fail.
    pub bytes_min: usize,
    /// Prints a result. Only the formats for people use the screen.
    pub write: fn(&Document, Screen, &mut dyn io::Write) -> io::Result<()>,
    /// How it prints the results of several runs. None if the format holds one result only.
    pub several: Option<Several>,
}

/// How a format prints the results of several runs side by side.
#[derive(Debug)]
pub(crate) struct Several {
    /// Prints the results, each with its name.
    pub write: WriteSeveral,
    /// What the runs are called.
    pub names: Names,
    /// The most runs. None without a limit.
    pub runs_max: Option<usize>,
}

/// Prints the results of several runs, each with its name.
pub(crate) type WriteSeveral = fn(&[(String, Report)], Screen, &mut dyn io::Write) -> io::Result<()>;

/// What runs side by side are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// The mode of the server, if every run has another one, else the file.
    Mode,
    /// The file.
    File,
}

/// Every format. The first is the default.
pub(crate) static FORMATS: &[Format] = &[
    Format {
        name: "text",
        summary: "for people",
        endings: &["txt", "text"],
        bytes_min: 1_000,
        write: text::write,
        several: Some(Several { write: text::several::write, names: Names::Mode, runs_max: None }),
    },
    Format {
        name: json::NAME,
        summary: "for machines; 'show' reads it",
        endings: &["json"],
        bytes_min: 4_000,
        write: |document, _, out| json::write(document, out),
        several: None,
    },
    Format {
        name: json::LINE_NAME,
        summary: "the same on one line, for logs and for several results in one file; 'merge' and 'show' read it",
        endings: &["jsonl", "ndjson"],
        bytes_min: 3_000,
        write: |document, _, out| json::write_line(document, out),
        several: Some(Several {
            write: |reports, _, out| reports.iter().try_for_each(|(_, report)| json::write_line(report, out)),
            names: Names::Mode,
            runs_max: None,
        }),
    },
    Format {
        name: "csv",
        summary: "for spreadsheets: a row for each interval, and one for the whole",
        endings: &["csv"],
        bytes_min: 1_000,
        write: |document, _, out| csv::write(document, out),
        several: Some(Several {
            write: |reports, _, out| csv::write_several(reports, out),
            names: Names::Mode,
            runs_max: None,
        }),
    },
    Format {
        name: "html",
        summary: "one page with pictures, for people with a browser",
        endings: &["html", "htm"],
        bytes_min: 10_000,
        write: |document, _, out| html::write(document, out),
        several: Some(Several {
            write: |reports, _, out| html::write_several(reports, out),
            names: Names::File,
            runs_max: Some(html::RUNS_MAX),
        }),
    },
];

/// The format with this name.
pub(crate) fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    #[test]
    fn a_result_survives_json() {
        let report = Document::Run(Box::new(example()));
        for name in [json::NAME, json::LINE_NAME] {
            let mut text = Vec::new();
            (format(name).unwrap().write)(&report, Screen::FILE, &mut text).unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            assert_eq!(json::read(text).unwrap(), report);
            assert_eq!(text.lines().count() == 1, name == json::LINE_NAME);
        }
    }

    #[test]
    fn each_format_is_found_by_its_name() {
        for entry in FORMATS {
            assert_eq!(format(entry.name).unwrap().summary, entry.summary);
        }
        assert!(format("nonsense").is_none());
    }
}
