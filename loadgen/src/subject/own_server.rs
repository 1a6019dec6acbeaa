//! loadgen's own server: the same executable, in a separate process.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
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
        candidate::location::Location,
        server_log::ServerLog,
        server_process::{Identity, Lifeline, START_TIMEOUT, ServerProcess, guard::Guard},
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
    let matches = command.try_get_matches_from(flags(plan, Ipv4Addr::LOCALHOST.into())).map_err(|error| {
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
pub(crate) fn start(plan: &OwnServerPlan, location: &Location, log: Log) -> anyhow::Result<ServerProcess> {
    let (identity, mut command) = (identity(plan)?, command(plan, location)?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The process of another command may not be the server itself.
    let guard = location.has_prefix().then(Guard::start).transpose()?;
    // A group of its own: the terminal's Ctrl-C ends the load first, and then the server.
    command.process_group(guard.as_ref().map_or(0, |guard| guard.group().as_raw_pid()));
    let mut child = command.spawn().map_err(|error| StartError {
        problem: Problem::NotStarted,
        reason: format!("'{}' cannot be started: {error}", command.get_program().display()),
        output: Vec::new(),
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let nowhere = Address::Unix("".into());
    let lifeline = match guard {
        Some(guard) => Lifeline::Group { guard, stdin },
        None => Lifeline::Stdin(stdin),
    };
    let mut server = ServerProcess::new(child, lifeline, nowhere, identity);
    server.set_prefixed(location.has_prefix());
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

fn flags(plan: &OwnServerPlan, address: IpAddr) -> Vec<String> {
    let listen = SocketAddr::from((address, 0)).to_string();
    let mut flags =
        ["--stop-at-stdin-end", "--listen", &listen, "--mode", plan.mode].map(str::to_owned).to_vec();
    flags.extend(["--drain-timeout", DRAIN_TIMEOUT].map(str::to_owned));
    if let Some(work) = &plan.work {
        flags.extend(["--work".to_owned(), work.clone()]);
    }
    if let Some(threads) = plan.threads {
        flags.extend(["--threads".to_owned(), threads.to_string()]);
    }
    flags
}

fn command(plan: &OwnServerPlan, location: &Location) -> anyhow::Result<Command> {
    let executable = env::current_exe().context("the path of this program is not known")?;
    let executable = executable.into_os_string().into_string();
    let executable = executable.map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?;
    let words = [vec![executable, "server".to_owned()], flags(plan, location.address)].concat();
    let words = location.prefix.before(words);
    let (program, args) = words.split_first().expect("a command has at least one word");
    let mut command = Command::new(program);
    command.args(args);
    if env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "warn");
    }
    // The server inherits the other SERVER_* variables on purpose.
    command.env_remove("SERVER_LISTEN").env_remove("SERVER_MODE");
    Ok(command)
}

/// Waits for the line with the server's address. A shell on another host may print lines before it.
fn listening_address(printed: &Receiver<String>, server: &mut ServerProcess) -> anyhow::Result<Address> {
    let deadline = Instant::now() + START_TIMEOUT;
    let reason = loop {
        match printed.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix("listening on ").map(str::parse) {
                Some(Ok(address)) => return Ok(address),
                _ if server.is_prefixed() => {}
                _ => break format!("the server printed '{line}' instead of its address"),
            },
            Err(RecvTimeoutError::Timeout) => {
                break format!("the server does not listen within {START_TIMEOUT:?}");
            }
            Err(RecvTimeoutError::Disconnected) => match server.ended_within(END_AFTER_OUTPUT) {
                Some(status) => break format!("the server ended before it listened ({status})"),
                None => break "the server closed its output without printing its address".to_owned(),
            },
        }
    };
    Err(StartError { problem: Problem::NotStarted, reason, output: server.last_lines() }.into())
}
