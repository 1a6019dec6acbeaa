//! A server that loadgen starts with a command. It must answer correctly before it is loaded.

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::Context;
use common::Address;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::IndexedRandom};

use crate::{
    engine::{
        error::{Problem, StartError},
        interruption::Interruption,
    },
    load::plan::Plan,
    subject::{
        answer,
        candidate::{ServerCommand, location::Location},
        server_process::{Identity, Lifeline, ServerProcess, guard::Guard},
    },
};

/// How many ports to try if another process binds the port first.
const PORTS_MAX: usize = 3;

/// The range from which the kernel assigns ports (ip(7)).
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// How many ports outside that range to try.
const UNASSIGNED_TRIES: usize = 16;

/// Starts a server and waits until it answers.
///
/// # Errors
/// [`StartError`] when it does not start or does not answer as the plan expects;
/// [`RunError`](crate::engine::error::RunError) when a signal has arrived.
pub(crate) fn start(
    command: &ServerCommand,
    location: &Location,
    plan: &Plan,
    interruption: &Interruption,
) -> anyhow::Result<ServerProcess> {
    let mut ports_left = PORTS_MAX;
    loop {
        ports_left -= 1;
        let port = free_port(location).context("no port is free for a server")?;
        let mut server = spawn(command, location, port)?;
        let Err(error) = answer::await_answer(&mut server, plan, interruption) else { return Ok(server) };
        let was_taken = server.has_ended() && !is_free(location, port);
        if !was_taken || ports_left == 0 {
            return Err(error);
        }
    }
}

/// Whether a server may bind the port. The ports of another host are unknown, and count as free.
fn is_free(location: &Location, port: u16) -> bool {
    location.has_prefix() || TcpListener::bind((location.address, port)).is_ok()
}

/// A free port, if possible outside the range from which the kernel assigns ports (`net.ipv4.ip_local_port_range`). Another
/// process that asks for any free port cannot get such a port before the server binds it.
fn free_port(location: &Location) -> io::Result<u16> {
    let seed = RandomState::new().build_hasher().finish();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let unassigned = unassigned_ports(&fs::read_to_string(PORT_RANGE).unwrap_or_default());
    let candidates = (0..UNASSIGNED_TRIES).filter_map(|_| unassigned.choose(&mut random).copied());
    match candidates.into_iter().find(|port| is_free(location, *port)) {
        Some(port) => Ok(port),
        None => {
            let any = if location.has_prefix() { Ipv4Addr::LOCALHOST.into() } else { location.address };
            Ok(TcpListener::bind((any, 0))?.local_addr()?.port())
        }
    }
}

/// The unprivileged ports that the kernel never assigns by itself, given the text of `ip_local_port_range`. None if the text
/// cannot be read.
fn unassigned_ports(range: &str) -> Vec<u16> {
    let mut bounds = range.split_whitespace().map_while(|bound| bound.parse::<u16>().ok());
    let (Some(first), Some(last)) = (bounds.next(), bounds.next()) else { return Vec::new() };
    (1024..=u16::MAX).filter(|port| !(first..=last).contains(port)).collect()
}

fn spawn(command: &ServerCommand, location: &Location, port: u16) -> anyhow::Result<ServerProcess> {
    let words = location.prefix.guarding(command.words_for(location.address, port));
    let (program, args) = words.split_first().expect("a command has at least one word");
    let mut command = Command::new(program);
    let stdin = if location.prefix.is_ssh() { Stdio::piped() } else { Stdio::null() };
    command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let guard = Guard::start()?;
    // The guard's group: loadgen measures and ends the server's child processes with it.
    let mut child = command.process_group(guard.group().as_raw_pid()).spawn().map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; no shell is used: built-in commands of a shell need sh -c '...'",
            _ => "",
        };
        StartError {
            problem: Problem::NotStarted,
            reason: format!("'{program}' cannot be started: {error}{advice}"),
            output: Vec::new(),
        }
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let address = Address::from(SocketAddr::from((location.address, port)));
    let lifeline = Lifeline::Group { guard, stdin };
    let mut server = ServerProcess::new(child, lifeline, address, Identity::default());
    server.set_prefixed(location.has_prefix());
    server.follow(stdout.context("the server has no standard output")?, |_| {})?;
    server.follow(stderr.context("the server has no standard error")?, |_| {})?;
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_a_port_that_the_kernel_assigns_to_no_other_process() {
        let ports = unassigned_ports("32768\t60999\n");
        assert_eq!(
            (ports.first(), ports.last(), ports.len()),
            (Some(&1024), Some(&u16::MAX), 64_512 - 28_232)
        );
        assert!(!ports.contains(&32_768) && !ports.contains(&60_999) && ports.contains(&61_000));
        assert!(unassigned_ports("1024 65535").is_empty());
        assert!(unassigned_ports("").is_empty());
    }

    #[test]
    fn a_free_port_can_be_bound() {
        let port = free_port(&Location::default()).unwrap();
        let assigned = fs::read_to_string(PORT_RANGE).unwrap();
        let unassigned = unassigned_ports(&assigned);
        assert!(unassigned.is_empty() || unassigned.contains(&port), "{port} is in {assigned}");
    }
}
