//! A server that loadgen has started: a process of its own, so that its CPU time and memory are its own too. How one
//! is started is in [`own_server`](crate::own_server) and [`their_server`](crate::their_server); what they have in
//! common is here: what it uses, what it printed, and that it does not outlive loadgen.

pub mod guard;
pub mod tail;
pub mod usage;

use std::{
    io::Read,
    process::{Child, ChildStdin, ExitStatus},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use common::Address;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use self::{guard::Guard, tail::Tail, usage::Usage};

/// From the start until the server must answer.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);
/// From the order to end until the end. It is more than the drain of loadgen's own server takes.
pub const END_TIMEOUT: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(5);
/// Who has ended has closed its outputs. They may be held open by a process that it has sent away.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// A server process. It ends with this value.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    lifeline: Lifeline,
    address: Address,
    identity: Identity,
    tail: Tail,
    readers: Vec<JoinHandle<()>>,
    /// Its end is known to whom it concerns.
    end_is_told: bool,
}

/// What a report says of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its concurrency model; None where it is not one of loadgen's own.
    pub mode: Option<&'static str>,
    /// The threads of loadgen's own server, where its model has them.
    pub threads: Option<u64>,
    /// What loadgen's own server does for each read, if that is anything.
    pub work: Option<String>,
}

/// How the process is told to end, also where this process does not live to tell it.
#[derive(Debug)]
pub enum Lifeline {
    /// It ends with its standard input.
    Stdin(Option<ChildStdin>),
    /// It and what it has started are a process group, which the guard ends when this process cannot.
    Group(Guard),
}

impl ServerProcess {
    /// Takes a process over that leads a process group.
    pub fn new(child: Child, lifeline: Lifeline, address: Address, identity: Identity) -> Self {
        let (tail, readers) = (Tail::default(), Vec::new());
        Self { child, lifeline, address, identity, tail, readers, end_is_told: false }
    }

    /// Reads one of its outputs to the end, keeps the last lines, and gives every line to `listen`.
    ///
    /// # Errors
    /// When no thread can be started for it.
    pub fn follow(
        &mut self,
        output: impl Read + Send + 'static,
        mut listen: impl FnMut(&str) + Send + 'static,
    ) -> std::io::Result<()> {
        let tail = self.tail.clone();
        let follow = move || tail.follow(output, &mut listen);
        let thread = thread::Builder::new().name("server-out".to_owned()).stack_size(128 * 1024);
        self.readers.push(thread.spawn(follow)?);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Says where it listens, once that is known.
    pub fn set_address(&mut self, address: Address) {
        self.address = address;
    }

    /// What a report says of it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last lines of what it printed, as far as it is followed.
    pub fn last_lines(&self) -> Vec<String> {
        self.tail.lines()
    }

    /// What it has used so far; None when it is gone.
    pub fn usage(&self) -> Option<Usage> {
        match self.lifeline {
            Lifeline::Stdin(_) => Usage::of_process(self.pid()),
            Lifeline::Group(_) => Usage::of_group(self.pid()),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // One that was waited for is no child any more.
        !matches!(waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    /// How it ended, if it has. What it printed is then complete.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.end_is_told = true;
        self.finish_reading();
        Some(status)
    }

    /// Waits at most so long for its end.
    pub fn ended_within(&mut self, timeout: Duration) -> Option<ExitStatus> {
        wait_at_most(timeout, || self.has_ended());
        self.ended()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends the server as its users would want it to end, and by force when that takes too long.
    fn end(&mut self) {
        match &mut self.lifeline {
            Lifeline::Stdin(stdin) => drop(stdin.take()),
            Lifeline::Group(_) => self.signal_group(Signal::TERM),
        }
        if !wait_at_most(END_TIMEOUT, || self.is_over()) {
            if matches!(self.lifeline, Lifeline::Stdin(_)) {
                tracing::warn!("the server of this run did not end within {END_TIMEOUT:?}: killing it");
            }
            self.signal_group(Signal::KILL);
            wait_at_most(END_TIMEOUT, || self.is_over());
        }
        let told = self.end_is_told || matches!(self.lifeline, Lifeline::Group(_));
        match self.child.try_wait() {
            Ok(Some(status)) if status.success() || told => {}
            Ok(Some(status)) => tracing::warn!("the server of this run ended with {status}"),
            Ok(None) => tracing::warn!("the server {} cannot be killed", self.child.id()),
            Err(error) => tracing::warn!("the server of this run cannot be waited for: {error}"),
        }
        self.finish_reading();
    }

    fn is_over(&self) -> bool {
        match self.lifeline {
            Lifeline::Stdin(_) => self.has_ended(),
            Lifeline::Group(_) => self.has_ended() && usage::members(self.pid()).is_empty(),
        }
    }

    /// The group's number is not another's as long as one of it lives, or its leader was not waited for.
    fn signal_group(&self, signal: Signal) {
        if !usage::members(self.pid()).is_empty() {
            let _gone_by_now = kill_process_group(self.pid(), signal);
        }
    }

    fn finish_reading(&mut self) {
        wait_at_most(OUTPUT_TIMEOUT, || self.readers.iter().all(JoinHandle::is_finished));
        // The others end with the process that holds the output open.
        for reader in self.readers.extract_if(.., |reader| reader.is_finished()) {
            let _its_panic_is_not_ours = reader.join();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until something holds, and says whether it came to that.
pub fn wait_at_most(timeout: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}
