//! loadgen's own server: the same executable, in a separate process.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::Context;
use clap::{Args as _, FromArgMatches};
use common::Address;
use server::{
    Config, Limits, Setup, Work,
    mode::{Mode, Threads},
};

use crate::{
    engine::error::{Problem, StartError},
    load::{plan::OwnServerPlan, request::PlanError},
    subject::{
        server_log::ServerLog,
        server_process::{Identity, Lifeline, START_TIMEOUT, ServerProcess},
    },
};

/// The server's drain timeout. The clients have closed their connections before the drain.
const DRAIN_TIMEOUT: &str = "1s";
/// How long a server that has closed its output may take to end.
const END_AFTER_OUTPUT: Duration = Duration::from_millis(500);

/// The use of the server's log.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// Each line is printed on stderr. The last lines are kept too.
    Forwarded(ServerLog),
    /// The last lines are kept.
    Kept,
}

/// The configuration of a server of this plan, including `SERVER_*` variables. As in the server, the number of threads depends
/// on the CPUs that the calling thread may use.
///
/// # Errors
/// When the server would refuse this configuration.
pub(crate) fn config(plan: &OwnServerPlan) -> Result<Config, PlanError> {
    let refused = |reason: &str| PlanError::OwnServer(reason.to_owned());
    let command = server::args::Args::augment_args(clap::Command::new("server").no_binary_name(true));
    let matches = command.try_get_matches_from(flags(plan)).map_err(|error| {
        let text = error.to_string();
        refused(text.lines().next().unwrap_or_default().trim_start_matches("error: "))
    })?;
    let args = server::args::Args::from_arg_matches(&matches).map_err(|error| refused(&error.to_string()))?;
    let limits = Limits::of_this_process(common::limits::open_files());
    // The server itself logs the warnings.
    let setup =
        tracing::dispatcher::with_default(&tracing::Dispatch::none(), || Setup::new(args, limits, &[]));
    setup.map(|setup| setup.config).map_err(|error| refused(&error.to_string()))
}

/// Starts a server on a free port and waits until it listens.
///
/// # Errors
/// [`StartError`] when it does not listen in time; others when it cannot be started at all.
pub(crate) fn start(plan: &OwnServerPlan, log: Log) -> anyhow::Result<ServerProcess> {
    let (identity, mut command) = (identity(plan)?, command(plan)?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Its own group: the terminal's Ctrl-C ends the load first, and then the server.
    command.process_group(0);
    let mut child = command.spawn().context("the server process could not be started")?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let nowhere = Address::Unix("".into());
    let mut server = ServerProcess::new(child, Lifeline::Stdin(stdin), nowhere, identity);
    let (sender, printed) = mpsc::channel();
    let listen = move |line: &str| {
        let _only_the_first_is_awaited = sender.send(line.to_owned());
    };
    server.follow(stdout.context("the server process has no standard output")?, listen)?;
    server.follow(stderr.context("the server process has no standard error")?, move |line| {
        if let Log::Forwarded(log) = &log {
            log.print(line);
        }
    })?;
    let address = listening_address(&printed, &mut server)?;
    server.set_address(address);
    Ok(server)
}

fn identity(plan: &OwnServerPlan) -> Result<Identity, PlanError> {
    let config = config(plan)?;
    let has_workers = Mode::by_name(plan.mode).is_some_and(|mode| mode.threads == Threads::Workers);
    Ok(Identity {
        mode: Some(plan.mode),
        threads: has_workers.then_some(config.threads as u64),
        work: (config.work != Work::None).then(|| config.work.to_string()),
    })
}

fn flags(plan: &OwnServerPlan) -> Vec<String> {
    let mut flags =
        ["--stop-at-stdin-end", "--listen", "127.0.0.1:0", "--mode", plan.mode].map(str::to_owned).to_vec();
    flags.extend(["--drain-timeout", DRAIN_TIMEOUT].map(str::to_owned));
    if let Some(work) = &plan.work {
        flags.extend(["--work".to_owned(), work.clone()]);
    }
    if let Some(threads) = plan.threads {
        flags.extend(["--threads".to_owned(), threads.to_string()]);
    }
    flags
}

fn command(plan: &OwnServerPlan) -> anyhow::Result<Command> {
    let executable = env::current_exe().context("the path of this program is not known")?;
    let mut command = Command::new(executable);
    command.arg("server").args(flags(plan));
    if env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "warn");
    }
    // The server inherits the other SERVER_* variables on purpose.
    command.env_remove("SERVER_LISTEN").env_remove("SERVER_MODE");
    Ok(command)
}

/// Waits for the line with the server's address.
fn listening_address(printed: &Receiver<String>, server: &mut ServerProcess) -> anyhow::Result<Address> {
    let line = printed.recv_timeout(START_TIMEOUT);
    let reason = match &line {
        Ok(line) => match line.strip_prefix("listening on ").map(str::parse) {
            Some(Ok(address)) => return Ok(address),
            _ => format!("the server printed '{line}' instead of its address"),
        },
        Err(RecvTimeoutError::Timeout) => format!("the server does not listen within {START_TIMEOUT:?}"),
        Err(RecvTimeoutError::Disconnected) => match server.ended_within(END_AFTER_OUTPUT) {
            Some(status) => format!("the server ended before it listened ({status})"),
            None => "the server closed its output without printing its address".to_owned(),
        },
    };
    Err(StartError { problem: Problem::NotStarted, reason, output: server.last_lines() }.into())
}
