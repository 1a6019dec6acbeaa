//! The server that a run starts for itself: the same executable as a process of its own, so that its CPU time
//! and memory are its own too.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use common::Address;
use procfs::{WithCurrentSystemInfo, process::Process};

use crate::plan::OwnServerPlan;

/// From the start to the line that says where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may wait for clients at its end: all of ours have gone by then.
const DRAIN_TIMEOUT: &str = "1s";
/// From the end of its standard input to its own end. It is more than its drain takes.
const END_TIMEOUT: Duration = Duration::from_secs(2);
const END_POLL: Duration = Duration::from_millis(5);

/// A server process. It ends with this value, and also with this process, however that ends: its standard input
/// is then at its end.
#[derive(Debug)]
pub struct OwnServer {
    child: Child,
    stdin: Option<ChildStdin>,
    address: Address,
    mode: &'static str,
    /// Its end was reported already.
    reported: bool,
}

/// What a server process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, in steps of 10 ms (proc(5), `stat`).
    pub cpu_ns: u64,
    /// Voluntary and involuntary ones of its living threads.
    pub context_switches: u64,
    /// Resident memory now.
    pub rss_bytes: u64,
    /// The same with each shared page divided by its users; None where the kernel does not tell.
    pub pss_bytes: Option<u64>,
}

impl OwnServer {
    /// Starts a server on a free port and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started or does not listen in time.
    pub fn start(plan: &OwnServerPlan) -> anyhow::Result<Self> {
        let executable = env::current_exe().context("the path of this program is not known")?;
        let mut command = Command::new(executable);
        command.args(["server", "--stop-at-stdin-end", "--listen", "127.0.0.1:0", "--mode", plan.mode]);
        command.args(["--drain-timeout", DRAIN_TIMEOUT]);
        if let Some(work) = &plan.work {
            command.args(["--work", work]);
        }
        if let Some(threads) = plan.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        if env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "warn");
        }
        // The rest of SERVER_* is inherited on purpose.
        command.env_remove("SERVER_LISTEN").env_remove("SERVER_MODE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: the terminal's Ctrl-C ends the load first, and the server after it.
        command.process_group(0);
        let mut child = command.spawn().context("the server process could not be started")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the server process has no standard output")?;
        let address = Address::Unix("".into());
        let mut server = Self { child, stdin, address, mode: plan.mode, reported: false };
        server.address = listening_address(stdout).with_context(|| server.early_end())?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its concurrency model.
    pub fn mode(&self) -> &'static str {
        self.mode
    }

    /// What it has used so far; None when it is gone.
    pub fn usage(&self) -> Option<Usage> {
        let process = Process::new(self.child.id().try_into().ok()?).ok()?;
        let stat = process.stat().ok().filter(|stat| !matches!(stat.state, 'Z' | 'X'))?;
        let switches = |task: procfs::process::Task| {
            let status = task.status().ok()?;
            Some(status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?)
        };
        // Threads that end meanwhile are left out.
        let tasks = process.tasks().ok()?.filter_map(Result::ok);
        Some(Usage {
            cpu_ns: (stat.utime + stat.stime) * (1_000_000_000 / procfs::ticks_per_second()),
            context_switches: tasks.filter_map(switches).sum(),
            rss_bytes: stat.rss_bytes().get(),
            pss_bytes: pss_bytes(&process),
        })
    }

    /// Ends the server as its users would want it to end, and by force when that takes too long.
    fn end(&mut self) {
        drop(self.stdin.take());
        let deadline = Instant::now() + END_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(END_POLL),
                Ok(Some(status)) if status.success() || self.reported => return,
                Ok(Some(status)) => return tracing::warn!("the server of this run ended with {status}"),
                Err(error) => return tracing::warn!("the server of this run cannot be waited for: {error}"),
            }
        }
        tracing::warn!("the server of this run did not end within {END_TIMEOUT:?}: killing it");
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }

    fn early_end(&mut self) -> String {
        let waited = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.reported = true;
                    return format!("the server ended before it listened ({status})");
                }
                Ok(None) if waited.elapsed() < Duration::from_millis(500) => thread::sleep(END_POLL),
                _ => return format!("the server does not listen after {START_TIMEOUT:?}"),
            }
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn pss_bytes(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.into_iter().find_map(|map| map.extension.map.get("Pss").copied())
}

/// Reads where the server listens, and goes on reading on a thread of its own, so that the server can write.
fn listening_address(stdout: impl Read + Send + 'static) -> anyhow::Result<Address> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("server-out".to_owned()).stack_size(128 * 1024).spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _only_the_first_is_awaited = sender.send(line);
        }
    })?;
    match receiver.recv_timeout(START_TIMEOUT) {
        Ok(line) => match line.strip_prefix("listening on ") {
            Some(address) => Ok(address.parse()?),
            None => bail!("'{line}' does not say where it listens"),
        },
        Err(RecvTimeoutError::Disconnected) => bail!("it printed nothing"),
        Err(RecvTimeoutError::Timeout) => bail!("it printed nothing in time"),
    }
}
