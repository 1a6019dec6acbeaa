//! The load generator under test, and servers with unusual behaviour.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use common::Address;
use serde_json::Value;

use super::{
    cgroup::Cgroup,
    machine,
    process::{Finished, Running},
    programs,
    server::keep_environment_out,
};

/// A load generator that is not started yet.
pub(crate) struct Loadgen {
    command: Command,
}

/// A result, as JSON.
#[derive(Debug)]
pub(crate) struct Report(pub(crate) Value);

impl Loadgen {
    pub(crate) fn new(args: &[&str]) -> Self {
        let mut command = Command::new(programs::loadgen());
        keep_environment_out(&mut command);
        command.args(args);
        Self { command }
    }

    /// A run against this server. Without one, loadgen starts a server.
    pub(crate) fn run(target: Option<&Address>, args: &str) -> Self {
        let target = target.map(Address::to_string);
        Self::new(&["run"]).args(target.as_deref()).args(args.split_whitespace())
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn with_open_files(mut self, limit: u32) -> Self {
        self.command = machine::with_open_files(&mut self.command, limit, limit);
        self
    }

    pub(crate) fn with_one_cpu(mut self) -> Self {
        self.command = machine::with_one_cpu(&mut self.command);
        self
    }

    /// The command, changed by `change`.
    pub(crate) fn within(mut self, change: impl FnOnce(&mut Command) -> Command) -> Self {
        self.command = change(&mut self.command);
        self
    }

    pub(crate) fn with_few_local_ports(mut self) -> Self {
        self.command = machine::with_few_local_ports(&mut self.command);
        self
    }

    pub(crate) fn with_quota(mut self, quota: &Cgroup) -> Self {
        self.command = quota.limit(&self.command);
        self
    }

    /// See [`machine::in_network_of`].
    pub(crate) fn in_network_of(mut self, process: u32) -> Self {
        self.command = machine::in_network_of(process, &mut self.command);
        self
    }

    /// On a terminal with this many columns. The output on the terminal is the standard output of the test.
    pub(crate) fn in_terminal(mut self, columns: u32) -> Self {
        self.command = machine::in_terminal(&self.command, columns);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        Running::start(&mut self.command)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(self) -> Finished {
        self.finish_with(b"")
    }

    /// Waits for its end, with this as its standard input.
    #[track_caller]
    pub(crate) fn finish_with(mut self, input: &[u8]) -> Finished {
        Finished::of(&mut self.command, input)
    }

    /// Waits for its end and reads its result. Its verdict may only have reasons that a busy machine causes.
    #[track_caller]
    pub(crate) fn report(self) -> Report {
        let finished = self.args(["--format", "json"]).finish();
        let report = Report::read(finished.expect_report());
        assert!(finished.code == Some(0) || are_of_the_machine(&report.reasons()), "{finished}");
        report
    }

    /// Waits for its end and reads its result, with any verdict.
    #[track_caller]
    pub(crate) fn any_report(self) -> Report {
        let finished = self.args(["--format", "json"]).finish();
        Report::read(finished.expect_report())
    }

    /// The command, for uncommon settings.
    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }
}

impl Report {
    /// Reads the JSON on standard output.
    #[track_caller]
    pub(crate) fn read(finished: &Finished) -> Self {
        Self(serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}; {finished}")))
    }

    /// The value at a path like `rate.achieved_per_s`.
    #[track_caller]
    pub(crate) fn at(&self, path: &str) -> &Value {
        let pointer = format!("/{}", path.replace('.', "/"));
        self.0.pointer(&pointer).unwrap_or_else(|| panic!("the report has no {path}"))
    }

    /// The number at a path.
    #[track_caller]
    pub(crate) fn number(&self, path: &str) -> f64 {
        self.at(path).as_f64().unwrap_or_else(|| panic!("{path} is {}", self.at(path)))
    }

    /// The count at a path.
    #[track_caller]
    pub(crate) fn count(&self, path: &str) -> u64 {
        self.at(path).as_u64().unwrap_or_else(|| panic!("{path} is {}", self.at(path)))
    }

    /// The text at a path.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_else(|| panic!("{path} is not a text: {}", self.at(path)))
    }

    /// The sum of all errors.
    #[track_caller]
    pub(crate) fn errors(&self) -> u64 {
        let errors = self.at("errors").as_object().expect("errors are counted by kind");
        errors.values().map(|count| count.as_u64().expect("a count")).sum()
    }

    /// The codes of the verdict's reasons.
    #[track_caller]
    pub(crate) fn reasons(&self) -> Vec<String> {
        let reasons = self.at("verdict.reasons").as_array().expect("reasons are a list");
        let code = |reason: &Value| reason["code"].as_str().expect("a reason has a code").to_owned();
        reasons.iter().map(code).collect()
    }

    /// Whether the verdict has this reason.
    #[track_caller]
    pub(crate) fn has_reason(&self, code: &str) -> bool {
        self.reasons().iter().any(|reason| reason == code)
    }

    /// Expects no failure: every sent request got a reply, and every reply was verified.
    #[track_caller]
    pub(crate) fn expect_all_verified(&self) {
        let mut reasons = self.reasons();
        // A test that asks for few requests gets a short window.
        reasons.retain(|code| code != "too_short" || !self.at("plan.requests").is_u64());
        assert!(are_of_the_machine(&reasons), "{}", self.at("verdict"));
        self.expect_replies_verified();
    }

    /// Expects that every reply was verified and no request that was sent failed. On a busy machine, a stopped process leaves
    /// requests that were never sent.
    #[track_caller]
    pub(crate) fn expect_nothing_lost(&self) {
        let errors = self.at("errors");
        assert_eq!(self.errors(), self.count("errors.unsent"), "{errors}");
        assert_eq!(self.count("requests.failed"), self.count("requests.unsent"), "{errors}");
        assert!(self.count("requests.completed") > 0);
        assert_eq!(self.count("requests.verified"), self.count("requests.completed"));
    }

    /// The same with any verdict.
    #[track_caller]
    pub(crate) fn expect_replies_verified(&self) {
        assert_eq!(self.errors(), 0, "{}", self.at("errors"));
        assert_eq!(self.count("requests.failed"), 0);
        assert!(self.count("requests.completed") > 0);
        assert_eq!(self.count("requests.verified"), self.count("requests.completed"));
    }
}

/// Reasons of a verdict that name a busy machine: other tests run on the same CPUs.
const BUSY: &[&str] = &["cpu_wait", "paused", "preempted", "steal", "throttled"];
/// Reasons that a busy machine or its network can cause, also without one of those.
const CAUSED: &[&str] = &[
    "cannot_keep_up",
    "drift",
    "generator_saturated",
    "late",
    "listen_overflow",
    "retransmissions",
    "stall",
    "unfair",
    "warm_up",
];
/// Reasons that a busy machine can cause by long waits, together with one that names it.
const CAUSED_BY_WAITS: &[&str] = &["concurrency", "delayed_ack", "too_short"];

/// Whether a busy machine can cause all of these reasons of a verdict.
fn are_of_the_machine(codes: &[String]) -> bool {
    let is_busy = codes.iter().any(|code| BUSY.contains(&code.as_str()));
    codes.iter().map(String::as_str).all(|code| {
        BUSY.contains(&code) || CAUSED.contains(&code) || (is_busy && CAUSED_BY_WAITS.contains(&code))
    })
}

/// A server inside the test, with a thread for each connection. It ends when this value is dropped.
pub(crate) struct Peer {
    address: Address,
    is_over: Arc<AtomicBool>,
}

impl Peer {
    /// Calls `serve` for each connection, with its number from 0 on. The connection ends when `serve` returns.
    pub(crate) fn start(serve: impl Fn(usize, TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").into();
        let (is_over, serve) = (Arc::new(AtomicBool::new(false)), Arc::new(serve));
        thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                for (number, stream) in listener.incoming().flatten().enumerate() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let serve = Arc::clone(&serve);
                    thread::spawn(move || serve(number, stream));
                }
            }
        });
        Self { address, is_over }
    }

    /// An echo without upper case.
    pub(crate) fn echo() -> Self {
        Self::start(|_, stream| converse(&stream, |_| {}))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // A connection wakes the listener, so that it sees the flag.
        drop(super::Client::try_connect(&self.address));
    }
}

/// Sends received bytes back, changed by `change`, until the client's end of stream.
pub(crate) fn converse(mut stream: &TcpStream, mut change: impl FnMut(&mut [u8])) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => {
                change(&mut buffer[..length]);
                stream.write_all(&buffer[..length])?;
            }
        }
    }
}

/// Receives, and never replies.
pub(crate) fn ignore(mut stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}
