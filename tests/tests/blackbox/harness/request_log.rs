//! The file of `--log`.

use std::path::Path;

use super::load::Report;

/// The lines and the comments of a request log.
#[derive(Debug)]
pub(crate) struct RequestLog {
    pub(crate) lines: Vec<LogLine>,
    pub(crate) comments: Vec<String>,
}

/// A request in the log.
#[derive(Debug)]
pub(crate) struct LogLine {
    pub(crate) due_ns: i64,
    pub(crate) written_ns: Option<i64>,
    pub(crate) ended_ns: i64,
    pub(crate) client: u32,
    pub(crate) request: u64,
    pub(crate) kind: String,
    pub(crate) outcome: String,
}

impl RequestLog {
    #[track_caller]
    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).expect("the log can be read"))
    }

    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line is complete");
        let mut all = text.lines();
        assert_eq!(all.next(), Some("due_ns,written_ns,ended_ns,client,request,kind,outcome"));
        let (comments, lines): (Vec<_>, Vec<_>) = all.partition(|line| line.starts_with('#'));
        Self {
            lines: lines.into_iter().map(LogLine::parse).collect(),
            comments: comments.into_iter().map(str::to_owned).collect(),
        }
    }

    /// The number of requests with this outcome.
    pub(crate) fn count(&self, outcome: &str) -> u64 {
        self.lines.iter().filter(|line| line.outcome == outcome).count() as u64
    }

    /// Expects the lines that the report counts.
    #[track_caller]
    pub(crate) fn expect_counted(&self, report: &Report) {
        assert_eq!(self.lines.len() as u64, report.count("log.lines"));
        assert_eq!((report.count("log.dropped"), report.count("log.beyond_limit")), (0, 0));
        assert_eq!(self.comments, [""; 0]);
    }
}

impl LogLine {
    fn parse(line: &str) -> Self {
        let fields: Vec<_> = line.split(',').collect();
        let [due, written, ended, client, request, kind, outcome] = fields[..] else {
            panic!("not seven fields: {line}")
        };
        let number = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        Self {
            due_ns: number(due),
            written_ns: (!written.is_empty()).then(|| number(written)),
            ended_ns: number(ended),
            client: client.parse().unwrap_or_else(|error| panic!("{error}: {line}")),
            request: request.parse().unwrap_or_else(|error| panic!("{error}: {line}")),
            kind: kind.to_owned(),
            outcome: outcome.to_owned(),
        }
    }
}
