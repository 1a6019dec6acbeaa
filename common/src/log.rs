//! Logs go to stderr: text for people, JSON for machines.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging. `RUST_LOG` chooses what is logged (`info` where it is not set).
///
/// # Errors
/// When `RUST_LOG` cannot be parsed.
pub fn start(format: LogFormat) -> Result<(), String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::try_new(&directives).map_err(|error| format!("RUST_LOG='{directives}': {error}"))?
        }
        _ => EnvFilter::new("info"),
    };
    let builder = tracing_subscriber::fmt().with_writer(|| Stderr).with_env_filter(filter).with_target(false);
    // A second start in one process (tests) keeps the first.
    let _already_started = match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Stderr, as far as it can be written to. tracing-subscriber would say on stderr that stderr cannot be written to,
/// which is a panic.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line to stderr, if that can be written to: a disk may be full, and whoever has read may be gone.
pub fn say(line: std::fmt::Arguments<'_>) {
    _ = writeln!(io::stderr(), "{line}");
}
