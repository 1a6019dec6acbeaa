//! Finds the targets before the run: resolves names, and waits for servers that are still starting.

use std::{
    net::IpAddr,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use common::signal::Termination;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{getpeername, getsockname, sockopt},
};

use crate::{
    engine::{
        error::RunError,
        failure::Failure,
        socket::{Attempt, Target},
        tls::TlsClient,
    },
    load::request::{PlanError, fitting_family},
    subject::tls::{self, HandshakeError},
};

/// The time between two attempts to reach a server.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// The timeout of one attempt.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Resolves an address to one that clients can connect to from `sources`. If it stands for several, or if `wait_max` allows the
/// server some time to start, returns the first one that accepts a connection. With `tls`, that connection must also get
/// through the handshake in this time.
///
/// # Errors
/// When the address does not resolve, the server does not answer in time, its TLS is not as requested, or a signal has
/// arrived.
pub(crate) fn find_target(
    address: &common::Address,
    sources: &[IpAddr],
    wait_max: Option<Duration>,
    tls: Option<(&TlsClient, Duration)>,
    interrupted: &dyn Fn() -> Option<Termination>,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<Target> {
    let since = Instant::now();
    let mut said = false;
    loop {
        let found = try_to_find(address, sources, wait_max.is_some(), tls, &|| interrupted().is_some());
        if let (Err(_), Some(signal)) = (&found, interrupted()) {
            return Err(RunError::Interrupted(signal).into());
        }
        let reason = match found {
            Ok(target) => return Ok(target),
            Err(Unfound::NotYet(reason)) => reason,
            Err(Unfound::Family(error)) => return Err(error.into()),
            Err(Unfound::Tls(reason)) => {
                return Err(RunError::Tls { target: address.to_string(), reason }.into());
            }
        };
        match wait_max {
            None => anyhow::bail!("{address} cannot be resolved: {reason}"),
            Some(wait_max) if since.elapsed() >= wait_max => {
                let waited = common::units::format_duration(wait_max);
                return Err(RunError::NoServer { target: address.to_string(), waited, reason }.into());
            }
            Some(wait_max) => {
                if !said {
                    let most = common::units::format_duration(wait_max);
                    say(&format!("waiting at most {most} for {address}: {reason}"));
                    said = true;
                }
                thread::sleep(PROBE_PAUSE);
            }
        }
    }
}

/// Why an attempt of [`find_target`] gives no target.
enum Unfound {
    /// The server may still be starting.
    NotYet(String),
    /// The server's TLS is not as requested. Further attempts would give the same.
    Tls(String),
    /// All addresses are of another family than a source.
    Family(PlanError),
}

/// One attempt of [`find_target`].
fn try_to_find(
    address: &common::Address,
    sources: &[IpAddr],
    must_answer: bool,
    tls: Option<(&TlsClient, Duration)>,
    give_up: &dyn Fn() -> bool,
) -> Result<Target, Unfound> {
    let mut targets = Target::resolve(address).map_err(|error| Unfound::NotYet(error.to_string()))?;
    keep_family(&mut targets, address, sources).map_err(Unfound::Family)?;
    if targets.len() == 1 && !must_answer && tls.is_none() {
        return Ok(targets.remove(0));
    }
    let (target, socket) = match probe(&targets, sources.first().copied()) {
        Ok(found) => found,
        // The clients will see the same error, and count it.
        Err(_) if !must_answer => return Ok(targets.remove(0)),
        Err(error) => return Err(Unfound::NotYet(Failure::connect_reason(error))),
    };
    let Some((client, timeout)) = tls else { return Ok(target) };
    match tls::try_handshake(socket, client, timeout, give_up) {
        Ok(()) => Ok(target),
        Err(HandshakeError::Ended(reason)) if must_answer => Err(Unfound::NotYet(reason)),
        Err(HandshakeError::Ended(reason) | HandshakeError::Tls(reason)) => Err(Unfound::Tls(reason)),
    }
}

/// Keeps the targets of the sources' family. A name may have addresses of both.
fn keep_family(
    targets: &mut Vec<Target>,
    address: &common::Address,
    sources: &[IpAddr],
) -> Result<(), PlanError> {
    let fits = |target: &Target| match target {
        Target::Tcp(target_address) => fitting_family(sources, target_address.ip(), &address.to_string()),
        Target::Unix(_) => Ok(()),
    };
    let misfit = targets.iter().find_map(|target| fits(target).err());
    targets.retain(|target| fits(target).is_ok());
    match misfit {
        Some(error) if targets.is_empty() => Err(error),
        _ => Ok(()),
    }
}

/// The first target that accepts a connection, and the connection.
fn probe(targets: &[Target], source: Option<IpAddr>) -> Result<(Target, OwnedFd), Errno> {
    let mut last = Errno::CONNREFUSED;
    for target in targets {
        match try_connect(target, source) {
            Ok(socket) => return Ok((target.clone(), socket)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn try_connect(target: &Target, source: Option<IpAddr>) -> Result<OwnedFd, Errno> {
    let socket = match target.connect(source, false)? {
        Attempt::Connected(socket) => socket,
        Attempt::InProgress(socket) => {
            let timeout = Timespec::try_from(PROBE_TIMEOUT).map_err(|_| Errno::INVAL)?;
            if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout))? == 0 {
                return Err(Errno::TIMEDOUT);
            }
            sockopt::socket_error(&socket)??;
            socket
        }
    };
    // Without a listener, a socket may connect to itself (simultaneous open, RFC 9293, 3.5).
    if target.takes_port() && Some(getsockname(&socket)?) == getpeername(&socket)? {
        return Err(Errno::CONNREFUSED);
    }
    Ok(socket)
}
