//! Prints the lines of a server's log on stderr, without disturbing a progress bar.

use common::log;
use indicatif::ProgressBar;

/// Prints lines of a server's log on stderr, above a progress bar if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerLog {
    bar: Option<ProgressBar>,
}

impl ServerLog {
    /// Prints above this bar.
    pub(crate) fn beside(bar: &ProgressBar) -> Self {
        Self { bar: Some(bar.clone()) }
    }

    /// Prints a line, without its timestamp.
    pub(crate) fn print(&self, line: &str) {
        let line = format!("server: {}", without_timestamp(line));
        match &self.bar {
            Some(bar) => bar.suspend(|| log::say(format_args!("{line}"))),
            None => log::say(format_args!("{line}")),
        }
    }
}

fn without_timestamp(line: &str) -> &str {
    match line.split_once(' ') {
        Some((first, rest)) if humantime::parse_rfc3339(first).is_ok() => rest.trim_start(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_timestamp_and_nothing_else() {
        for (line, printed) in [
            ("2026-11-24T12:00:00.123456Z  WARN full limit=5", "WARN full limit=5"),
            ("thread 'main' panicked", "thread 'main' panicked"),
            (r#"{"timestamp":"2026-11-24T12:00:00Z"}"#, r#"{"timestamp":"2026-11-24T12:00:00Z"}"#),
            ("", ""),
        ] {
            assert_eq!(without_timestamp(line), printed);
        }
    }
}
