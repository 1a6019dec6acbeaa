//! A running program and its output.

use std::{
    fs,
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    text::shown,
    wait::{PATIENCE, wait_for},
};

/// A running program. It is killed when this value is dropped; its children are not.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) stdout: Printed,
    pub(crate) stderr: Printed,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code. None if a signal ended the program.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The output of a program, read as it arrives.
pub(crate) struct Printed {
    text: Arc<Text>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Text {
    bytes: Mutex<Vec<u8>>,
    more: Condvar,
}

impl Running {
    /// Starts the program.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = Printed::read(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Printed::read(child.stderr.take().expect("stderr is a pipe"));
        Self { child, stdin, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("its standard input is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("it reads its standard input");
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.id()), signal).expect("it has not been waited for");
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let status =
            wait_for("the program ends", || self.child.try_wait().expect("a child can be waited for"));
        Finished {
            code: status.code(),
            stdout: self.stdout.until_the_end(),
            stderr: self.stderr.until_the_end(),
        }
    }

    /// The CPU time that its threads have used (proc_pid_stat(5), `utime` and `stime`).
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        // The second field is the name in parentheses, which may contain any character.
        let (_, after_name) = stat.rsplit_once(')').expect("the name is in parentheses");
        let field = |number: usize| -> u64 {
            after_name.split_whitespace().nth(number - 3).unwrap().parse().expect("a number of ticks")
        };
        Duration::from_secs(field(14) + field(15)) / rustix::param::clock_ticks_per_second() as u32
    }

    /// The number of its open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it runs").count()
    }

    /// Its anonymous memory in bytes (proc_pid_smaps(5), `Pss_Anon`), which the kernel counts page by page; `VmRSS` is not
    /// exact.
    pub(crate) fn anonymous_memory_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id())).expect("it runs");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kilobytes") * 1024
    }

    /// Its memory in bytes (proc_pid_status(5), `VmRSS`).
    pub(crate) fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kilobytes") * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {} printed to stderr:\n{}---", self.id(), self.stderr.so_far());
        }
        // If it has ended, the kill has no effect, and the wait reaps it.
        let _ended = self.child.kill();
        let _collected = self.child.wait();
    }
}

impl Printed {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::<Text>::default();
        let reader = thread::spawn({
            let text = Arc::clone(&text);
            move || {
                let mut part = [0; 4096];
                while let Ok(length @ 1..) = from.read(&mut part) {
                    text.bytes.lock().unwrap().extend(&part[..length]);
                    text.more.notify_all();
                }
            }
        });
        Self { text, reader: Some(reader) }
    }

    /// The output so far.
    pub(crate) fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.bytes.lock().unwrap()).into_owned()
    }

    /// The number of lines so far that contain this.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.so_far().lines().filter(|line| line.contains(part)).count()
    }

    /// Waits for a line that contains this, and returns the first one.
    #[track_caller]
    pub(crate) fn wait_for(&self, part: &str) -> String {
        self.wait(|text| whole_lines(text).find(|line| line.contains(part)).map(str::to_owned))
            .unwrap_or_else(|| panic!("no line with '{part}' in\n{}", self.so_far()))
    }

    /// Waits for this many lines. None if the program ends earlier.
    pub(crate) fn wait_for_lines(&self, count: usize) -> Option<Vec<String>> {
        self.wait(|text| {
            let lines: Vec<_> = whole_lines(text).map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits for these parts in this order, regardless of line ends.
    #[track_caller]
    pub(crate) fn wait_for_parts(&self, parts: &[&str]) {
        let found = self
            .wait(|text| parts.iter().try_fold(text, |rest, part| Some(rest.split_once(part)?.1)).map(drop));
        assert!(found.is_some(), "no {parts:?} in this order in\n{}", self.so_far());
    }

    fn wait<T>(&self, mut look: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = self.text.bytes.lock().unwrap();
        loop {
            // A program that has ended prints nothing more.
            let has_ended = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            match look(&String::from_utf8_lossy(&bytes)) {
                None if !has_ended && Instant::now() < deadline => {}
                found => return found,
            }
            bytes = self.text.more.wait_timeout(bytes, Duration::from_millis(50)).unwrap().0;
        }
    }

    fn until_the_end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading does not panic");
        }
        self.so_far()
    }
}

/// The complete lines.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

impl Finished {
    /// Starts the program and waits for its end, with this as its standard input.
    #[track_caller]
    pub(crate) fn of(command: &mut Command, input: &[u8]) -> Self {
        let mut running = Running::start(command);
        // The write fails if the program has ended early. Its exit code shows that.
        let mut stdin = running.stdin.take().expect("stdin is a pipe");
        let input = input.to_vec();
        let typing = thread::spawn(move || drop(stdin.write_all(&input)));
        let finished = running.finish();
        typing.join().expect("typing does not panic");
        finished
    }

    /// Expects this exit code.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "the exit code; {self}");
        self
    }

    /// Expects the exit code of a run with a report, with any verdict.
    #[track_caller]
    pub(crate) fn expect_report(&self) -> &Self {
        assert!(matches!(self.code, Some(0 | 4)), "the exit code; {self}");
        self
    }

    /// Expects all of these parts on standard error.
    #[track_caller]
    pub(crate) fn expect_stderr(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "'{part}' is missing; {self}");
        }
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(f, "exit code {code:?}\nstdout: {}\nstderr: {stderr}", shown(stdout.as_bytes()))
    }
}

/// The process with this number.
pub(crate) fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("process numbers are positive")
}
