//! Somebody's server: a command with a port in it, which is loaded as soon as it answers as it should.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::Context;
use common::Address;

use crate::{
    answer,
    contestant::ServerCommand,
    error::{Problem, StartError},
    interruption::Interruption,
    plan::Plan,
    server_process::{Identity, Lifeline, ServerProcess, guard::Guard},
};

/// So many ports are tried where somebody else was faster to take one.
const PORTS_MAX: usize = 3;

/// Starts a server and waits until it answers.
///
/// # Errors
/// [`StartError`] when it does not start or does not answer as the plan expects;
/// [`RunError`](crate::error::RunError) when a signal came.
pub fn start(
    command: &ServerCommand,
    plan: &Plan,
    interruption: &Interruption,
) -> anyhow::Result<ServerProcess> {
    let mut ports_left = PORTS_MAX;
    loop {
        ports_left -= 1;
        let port = free_port().context("no port is free for a server")?;
        let mut server = spawn(command, port)?;
        let Err(error) = answer::await_answer(&mut server, plan, interruption) else { return Ok(server) };
        let was_taken = server.has_ended() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err();
        if !was_taken || ports_left == 0 {
            return Err(error);
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn spawn(command: &ServerCommand, port: u16) -> anyhow::Result<ServerProcess> {
    let words = command.words_for(port);
    let (program, args) = words.split_first().expect("a command has at least one word");
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = Guard::start()?;
    // A group of its own: all that it starts is measured and ended with it.
    let mut child = command.process_group(0).spawn().map_err(|error| StartError {
        problem: Problem::NotStarted,
        reason: format!("'{program}' cannot be started: {error}"),
        output: Vec::new(),
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    if let Err(error) = guard.guard(child.id()) {
        let _already_gone = child.kill();
        let _already_gone = child.wait();
        return Err(error);
    }
    let address = Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut server = ServerProcess::new(child, Lifeline::Group(guard), address, Identity::default());
    server.follow(stdout.context("the server has no standard output")?, |_| {})?;
    server.follow(stderr.context("the server has no standard error")?, |_| {})?;
    Ok(server)
}
