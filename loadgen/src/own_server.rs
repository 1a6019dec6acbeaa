//! The server that loadgen starts for itself: the same executable as a process of its own.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::Context;
use common::Address;

use crate::{
    error::{Problem, StartError},
    plan::OwnServerPlan,
    server_process::{Identity, Lifeline, START_TIMEOUT, ServerProcess},
};

/// How long the server may wait for clients at its end: all of ours have gone by then.
const DRAIN_TIMEOUT: &str = "1s";
/// Who has closed its output without a word is about to end.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// Where the server's log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Where loadgen's own goes.
    Stderr,
    /// Its last lines are kept.
    Kept,
}

/// Starts a server on a free port and waits until it listens.
///
/// # Errors
/// [`StartError`] when it does not listen in time; others when it cannot be started at all.
pub fn start(plan: &OwnServerPlan, log: Log) -> anyhow::Result<ServerProcess> {
    let mut command = command(plan)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if log == Log::Kept {
        command.stderr(Stdio::piped());
    }
    // A group of its own: the terminal's Ctrl-C ends the load first, and the server after it.
    command.process_group(0);
    let mut child = command.spawn().context("the server process could not be started")?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let nowhere = Address::Unix("".into());
    let identity = Identity { mode: Some(plan.mode), threads: plan.threads, work: plan.work.clone() };
    let mut server = ServerProcess::new(child, Lifeline::Stdin(stdin), nowhere, identity);
    let (sender, printed) = mpsc::channel();
    let listen = move |line: &str| {
        let _only_the_first_is_awaited = sender.send(line.to_owned());
    };
    server.follow(stdout.context("the server process has no standard output")?, listen)?;
    if let Some(stderr) = stderr {
        server.follow(stderr, |_| {})?;
    }
    let address = listening_address(&printed, &mut server)?;
    server.set_address(address);
    Ok(server)
}

fn command(plan: &OwnServerPlan) -> anyhow::Result<Command> {
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
    Ok(command)
}

/// Waits for the line that says where the server listens.
fn listening_address(printed: &Receiver<String>, server: &mut ServerProcess) -> anyhow::Result<Address> {
    let line = printed.recv_timeout(START_TIMEOUT);
    let reason = match &line {
        Ok(line) => match line.strip_prefix("listening on ").map(str::parse) {
            Some(Ok(address)) => return Ok(address),
            _ => format!("the server does not say where it listens, but '{line}'"),
        },
        Err(RecvTimeoutError::Timeout) => format!("the server does not listen after {START_TIMEOUT:?}"),
        Err(RecvTimeoutError::Disconnected) => match server.ended_within(LAST_BREATH) {
            Some(status) => format!("the server ended before it listened ({status})"),
            None => "the server does not say where it listens".to_owned(),
        },
    };
    Err(StartError { problem: Problem::NotStarted, reason, output: server.last_lines() }.into())
}
