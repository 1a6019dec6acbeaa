//! The load generator under test, and servers that are not what it hopes for.

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
    machine,
    process::{Finished, Running},
    programs,
    server::keep_environment_out,
};

/// A load generator that is about to be started.
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

    /// A run against this server, or against one of its own where there is none.
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

    pub(crate) fn with_few_local_ports(mut self) -> Self {
        self.command = machine::with_few_local_ports(&mut self.command);
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

    /// Waits for its end and reads its result, which is to be a good one but for what the machine did to it.
    #[track_caller]
    pub(crate) fn report(self) -> Report {
        let finished = self.args(["--format", "json"]).finish();
        let report = Report::read(finished.expect_report());
        let of_the_machine = report.reasons().iter().all(|code| is_of_the_machine(code));
        assert!(finished.code == Some(0) || of_the_machine, "{finished}");
        report
    }

    /// The command itself, for what is not common.
    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }
}

impl Report {
    /// Reads what was printed in JSON.
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

    /// All errors together.
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

    /// That nothing went wrong: every request that was sent was replied to, and every reply checked.
    #[track_caller]
    pub(crate) fn expect_all_good(&self) {
        let reasons = self.reasons();
        assert!(reasons.iter().all(|code| is_of_the_machine(code)), "{}", self.at("verdict"));
        assert_eq!(self.errors(), 0, "{}", self.at("errors"));
        assert_eq!(self.count("requests.failed"), 0);
        assert!(self.count("requests.completed") > 0);
        assert_eq!(self.count("requests.verified"), self.count("requests.completed"));
    }
}

/// Whether a verdict's reason may be the machine's doing: other tests run beside this one, on few CPUs and in the same
/// network.
fn is_of_the_machine(code: &str) -> bool {
    const CODES: &[&str] = &[
        "cannot_keep_up",
        "cpu_wait",
        "drift",
        "generator_saturated",
        "late",
        "listen_overflow",
        "preempted",
        "retransmissions",
        "stall",
        "steal",
        "unfair",
        "warm_up",
    ];
    CODES.contains(&code)
}

/// A server made by the test itself, with a thread for each connection. It ends with this value.
pub(crate) struct Peer {
    address: Address,
    is_over: Arc<AtomicBool>,
}

impl Peer {
    /// Serves each connection, of which this is the number from 0 on, until `serve` returns.
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

    /// A plain echo, which changes nothing.
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
        // Its listener is woken to see it.
        drop(super::Client::try_connect(&self.address));
    }
}

/// Sends back what is received, after `change`, until the client's end.
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

/// Takes what comes and never answers.
pub(crate) fn ignore(mut stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}
