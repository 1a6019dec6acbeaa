//! Logs go to stderr: text for people, JSON for machines. For systemd's journal, each line begins with its priority.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
};

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format, format::JsonFields, format::Writer},
    registry::LookupSpan,
};

/// The format of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line, for machines
    Json,
}

/// Starts logging. `RUST_LOG` sets the level (`info` by default) or other filters.
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
    // A second start in one process (in tests) changes nothing.
    let _already_started = match (format, goes_to_journal()) {
        (LogFormat::Text, false) => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        (LogFormat::Json, false) => builder.json().flatten_event(true).try_init(),
        // The journal has the time itself.
        (LogFormat::Text, true) => builder
            .with_ansi(false)
            .event_format(WithPriority(format::format().with_target(false).without_time()))
            .try_init(),
        (LogFormat::Json, true) => builder
            .fmt_fields(JsonFields::new())
            .event_format(WithPriority(format::format().with_target(false).json().flatten_event(true)))
            .try_init(),
    };
    Ok(())
}

/// Whether stderr is the stream to systemd's journal that `JOURNAL_STREAM` names (systemd.exec(5)).
fn goes_to_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// Writes a line's priority before it, in the form of sd-daemon(3). The journal takes it off.
struct WithPriority<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Stderr, with all errors ignored. tracing-subscriber reports a failed write on stderr itself, which panics.
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

/// Writes a line to stderr. A failure is ignored: the disk may be full, or the reader may be gone.
pub fn say(line: std::fmt::Arguments<'_>) {
    _ = writeln!(io::stderr(), "{line}");
}
