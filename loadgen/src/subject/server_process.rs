//! The process of a server that loadgen has started: its address, its output, its usage and its end.
//! [`own_server`](crate::subject::own_server) and [`command_server`](crate::subject::command_server) start such processes.

pub(crate) mod guard;
pub(crate) mod tail;
pub(crate) mod usage;

use std::{
    io::Read,
    process::{Child, ChildStdin, ExitStatus},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use common::{Address, log};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use self::{
    guard::Guard,
    tail::Tail,
    usage::{Moment, Reading, Usage},
};

/// The time in which a started server must answer.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which a server must end after the order to end. The drain of loadgen's own server is shorter.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(5);
/// The time in which a server behind a connection must end. Its own host kills it after [`END_TIMEOUT`].
const REMOTE_END_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to read the outputs of a server that has ended. A process that left its group may hold them open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// A server process. It ends with this value.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    lifeline: Lifeline,
    address: Address,
    identity: Identity,
    tail: Tail,
    readers: Vec<JoinHandle<()>>,
    /// A caller has seen the exit status.
    is_end_known: bool,
    /// Another command has started the server, so it may run on another host.
    is_prefixed: bool,
    /// The processes of the group are the server's. Behind `ssh`, they are not.
    is_here: bool,
}

/// The server's part of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The concurrency model of loadgen's own server. None for another server.
    pub mode: Option<&'static str>,
    /// The threads of loadgen's own server. None if each connection has its own thread.
    pub threads: Option<u64>,
    /// The simulated work of loadgen's own server for each read. None without it.
    pub work: Option<String>,
}

/// How the process ends together with loadgen, even if loadgen is killed.
#[derive(Debug)]
pub(crate) enum Lifeline {
    /// The process ends when its standard input is closed.
    Stdin(Option<ChildStdin>),
    /// The process is in the group of a guard, which ends the group if loadgen cannot. A server on another host may see only the
    /// end of its standard input.
    Group {
        /// The guard.
        guard: Guard,
        /// The standard input, if the server ends with it.
        stdin: Option<ChildStdin>,
    },
}

impl ServerProcess {
    /// Takes over a process.
    pub(crate) fn new(child: Child, lifeline: Lifeline, address: Address, identity: Identity) -> Self {
        let (tail, readers) = (Tail::default(), Vec::new());
        Self {
            child,
            lifeline,
            address,
            identity,
            tail,
            readers,
            is_end_known: false,
            is_prefixed: false,
            is_here: true,
        }
    }

    /// Sets whether another command has started the server.
    pub(crate) fn set_prefixed(&mut self, is_prefixed: bool) {
        self.is_prefixed = is_prefixed;
    }

    /// Whether another command has started the server.
    pub(crate) fn is_prefixed(&self) -> bool {
        self.is_prefixed
    }

    /// Finds out whether a server that another command has started is one of its group's processes. It listens now.
    pub(crate) fn look_for_listener(&mut self) {
        if let (true, Lifeline::Group { guard, .. }, Address::Tcp { port, .. }) =
            (self.is_prefixed, &self.lifeline, &self.address)
        {
            self.is_here = usage::has_listener(guard.group(), *port);
        }
    }

    /// Whether the server's processes are on this machine, where their usage can be read.
    pub(crate) fn is_here(&self) -> bool {
        self.is_here
    }

    /// Reads one of the outputs to the end, keeps the last lines, and passes every line to `listen`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn follow(
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

    /// The address on which the server listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sets the address, once it is known.
    pub(crate) fn set_address(&mut self, address: Address) {
        self.address = address;
    }

    /// The server's part of a report.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last lines of the outputs.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.tail.lines()
    }

    /// The usage so far. None if the process has ended.
    pub(crate) fn usage(&self, moment: Moment) -> Option<Reading> {
        if !self.is_here {
            return (!self.has_ended()).then_some(Reading::Unknown);
        }
        let usage = match &self.lifeline {
            Lifeline::Stdin(_) => Usage::of_process(self.pid(), moment),
            Lifeline::Group { guard, .. } => Usage::of_followers(guard.group(), moment),
        };
        usage.map(Reading::Known)
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // After a successful wait, the process is no child any more, and this call fails.
        !matches!(waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    /// The exit status, if the process has ended. The output is then complete.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.is_end_known = true;
        self.finish_reading();
        Some(status)
    }

    /// Waits for the end of the process, for `timeout` at most.
    pub(crate) fn ended_within(&mut self, timeout: Duration) -> Option<ExitStatus> {
        wait_at_most(timeout, || self.has_ended());
        self.ended()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends the server gracefully, and kills it after [`END_TIMEOUT`].
    fn end(&mut self) {
        let ends_with_input = match &mut self.lifeline {
            Lifeline::Stdin(stdin) | Lifeline::Group { stdin, .. } => stdin.take().is_some(),
        };
        if let Lifeline::Group { guard, .. } = &self.lifeline {
            // A signal could end the connection to another host before the server there has ended.
            let has_ended = ends_with_input && wait_at_most(REMOTE_END_TIMEOUT, || self.is_over());
            if !has_ended {
                signal_followers(guard, Signal::TERM);
            }
        }
        if !wait_at_most(END_TIMEOUT, || self.is_over()) {
            match &self.lifeline {
                Lifeline::Stdin(_) => {
                    log::say(format_args!("server: did not end within {END_TIMEOUT:?}; killing it"));
                    let _already_gone = self.child.kill();
                }
                Lifeline::Group { guard, .. } => signal_followers(guard, Signal::KILL),
            }
            wait_at_most(END_TIMEOUT, || self.is_over());
        }
        let is_known = self.is_end_known || matches!(self.lifeline, Lifeline::Group { .. });
        match self.child.try_wait() {
            Ok(Some(status)) if status.success() || is_known => {}
            Ok(Some(status)) => log::say(format_args!("server: ended with {status}")),
            Ok(None) => log::say(format_args!("server: process {} cannot be killed", self.child.id())),
            Err(error) => log::say(format_args!("server: cannot be waited for: {error}")),
        }
        self.finish_reading();
    }

    fn is_over(&self) -> bool {
        match &self.lifeline {
            Lifeline::Stdin(_) => self.has_ended(),
            Lifeline::Group { guard, .. } => self.has_ended() && usage::followers(guard.group()).is_empty(),
        }
    }

    fn finish_reading(&mut self) {
        wait_at_most(OUTPUT_TIMEOUT, || self.readers.iter().all(JoinHandle::is_finished));
        // The other threads end with the process that holds the output open.
        for reader in self.readers.extract_if(.., |reader| reader.is_finished()) {
            let _panicked = reader.join();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Signals the server and its children. The guard's process is not waited for before it is dropped, so the number of its group
/// belongs to no other group.
fn signal_followers(guard: &Guard, signal: Signal) {
    let _gone_by_now = kill_process_group(guard.group(), signal);
}

/// Waits until `holds` returns true, for `timeout` at most. Returns whether it did.
pub(crate) fn wait_at_most(timeout: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}
