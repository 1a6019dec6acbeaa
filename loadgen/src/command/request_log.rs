//! The writer of the request log: a thread at a low priority, which writes the batches of the load threads to a file.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use common::human::{count, plural};

use crate::{
    command::files,
    engine::request_log::{self, Entries, RequestLog},
    format::request_log::{HEADER, LogLines, trailer},
    load::plan::Plan,
    result::RequestLogSummary,
};

/// The priority of the writer (setpriority(2)). Against a load thread that needs all of its CPU, it gets a tenth of it: enough for
/// a million lines per second.
const NICE: i32 = 10;
/// After the load, the writer is given up if it writes no batch for this long, as when nobody reads a pipe.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request log, as the user requests it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRequest<'a> {
    /// The file.
    pub path: &'a Path,
    /// The maximum of lines.
    pub lines_max: u64,
}

/// The writer of a run's request log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    counts: Arc<Counts>,
    done: Receiver<anyhow::Result<()>>,
}

/// The requests so far.
#[derive(Debug)]
struct Counts {
    /// Of the load threads that have ended.
    requests: Arc<AtomicU64>,
    /// In completely written batches.
    lines: AtomicU64,
    beyond_limit: AtomicU64,
}

impl LogWriter {
    /// Starts the writer for a run, and returns the logs of its load threads. The file is opened when the first batch arrives.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(request: LogRequest<'_>, plan: &Plan) -> anyhow::Result<(Vec<RequestLog>, Self)> {
        let (logs, entries, requests) = request_log::channel(plan.threads);
        let counts = Arc::new(Counts { requests, lines: AtomicU64::new(0), beyond_limit: AtomicU64::new(0) });
        let lines = LogLines::new(&plan.dialogue.kinds).context("the request log cannot be made")?;
        let (ended, done) = mpsc::channel();
        let path = request.path.to_owned();
        let task = Task { path: path.clone(), lines_max: request.lines_max, lines, counts: counts.clone() };
        let write = move || {
            // A thread without this priority disturbs the load more, and the verdict would show that.
            let _priority = rustix::process::setpriority_process(None, NICE);
            let _given_up = ended.send(task.write(&entries));
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(write)
            .context("the writer of the request log cannot be started")?;
        Ok((logs, Self { path, counts, done }))
    }

    /// Waits for the writer, after the load threads have ended. The wait is bounded. Returns what is in the file, and why it could
    /// not be written to its end.
    pub(crate) fn finish(self) -> (RequestLogSummary, Option<anyhow::Error>) {
        let error = self.await_writer().err();
        let mut summary = self.counts.summary(&self.path);
        summary.error = error.as_ref().map(|error| format!("{error:#}"));
        let error = error.map(|error| {
            let (lines, requests) = (count(summary.lines), plural(summary.requests(), "request"));
            error.context(format!("the request log is not complete: it has {lines} of {requests}"))
        });
        (summary, error)
    }

    fn await_writer(&self) -> anyhow::Result<()> {
        let mut handled = self.counts.handled();
        loop {
            match self.done.recv_timeout(PATIENCE) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if self.counts.handled() > handled => {
                    handled = self.counts.handled();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let (path, seconds) = (self.path.display(), PATIENCE.as_secs());
                    return Err(anyhow!(
                        "{path} took no line for {seconds} s: if it is a pipe, start its reader before the load"
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(anyhow!("the writer of the request log panicked; this is a bug"));
                }
            }
        }
    }
}

/// The notes of a report about its request log.
pub(crate) fn notes(log: &RequestLogSummary) -> Vec<String> {
    let requests = plural(log.requests(), "request");
    let mut notes = Vec::new();
    if let Some(error) = &log.error {
        notes.push(format!("the request log is not complete: {error}"));
    } else if log.dropped > 0 {
        notes.push(format!(
            "{} of {requests} are not in the request log: its writer could not follow; use a faster disk, or leave it a CPU (-t)",
            count(log.dropped)
        ));
    }
    if log.beyond_limit > 0 {
        notes.push(format!(
            "{} of {requests} are not in the request log: it has the maximum of {} (--log-limit)",
            count(log.beyond_limit),
            plural(log.lines, "line")
        ));
    }
    notes
}

/// The work of the writer's thread.
struct Task {
    path: PathBuf,
    lines_max: u64,
    lines: LogLines,
    counts: Arc<Counts>,
}

impl Task {
    /// Writes all batches. Without a batch, the load has not begun, and the file stays as it was.
    fn write(&self, entries: &Entries) -> anyhow::Result<()> {
        let Some(first) = entries.next() else { return Ok(()) };
        let mut file = files::create(&self.path)?;
        self.put(&mut file, HEADER.as_bytes())?;
        let (mut batch, mut text) = (first, Vec::new());
        loop {
            let room = self.lines_max - self.counts.lines.load(Ordering::Relaxed);
            let taken = batch.entries.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            text.clear();
            batch.entries[..taken].iter().for_each(|entry| self.lines.append(entry, &mut text));
            self.put(&mut file, &text)?;
            self.counts.lines.fetch_add(taken as u64, Ordering::AcqRel);
            self.counts.beyond_limit.fetch_add((batch.entries.len() - taken) as u64, Ordering::AcqRel);
            entries.give_back(batch);
            let Some(next) = entries.next() else { break };
            batch = next;
        }
        self.put(&mut file, trailer(&self.counts.summary(&self.path)).as_bytes())
    }

    fn put(&self, file: &mut File, text: &[u8]) -> anyhow::Result<()> {
        file.write_all(text).map_err(|error| files::write_error(&self.path, error))
    }
}

impl Counts {
    /// The requests that the writer is done with.
    fn handled(&self) -> u64 {
        self.lines.load(Ordering::Acquire) + self.beyond_limit.load(Ordering::Acquire)
    }

    /// The numbers of a run whose load threads have ended.
    fn summary(&self, path: &Path) -> RequestLogSummary {
        let lines = self.lines.load(Ordering::Acquire);
        let beyond_limit = self.beyond_limit.load(Ordering::Acquire);
        let requests = self.requests.load(Ordering::Acquire);
        RequestLogSummary {
            file: path.display().to_string(),
            lines,
            dropped: requests.saturating_sub(lines + beyond_limit),
            beyond_limit,
            error: None,
        }
    }
}
