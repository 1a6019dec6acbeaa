//! Finds the servers before the run: names are resolved, and a server that is still starting is awaited.

use std::{
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
    error::RunError,
    failure::Failure,
    progress::Progress,
    socket::{Attempt, Target},
};

/// Between two attempts to reach a server that is awaited.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// How long one such attempt may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Resolves an address. Where it stands for several, or where the server is awaited with some patience, the
/// first one counts that a connection can be made to.
///
/// # Errors
/// When it does not resolve, when the server did not appear in time, or when a signal came before that.
pub fn find_target(
    address: &common::Address,
    patience: Option<Duration>,
    interrupted: &dyn Fn() -> Option<Termination>,
    progress: &mut dyn Progress,
) -> anyhow::Result<Target> {
    let since = Instant::now();
    let mut said = false;
    loop {
        let resolved = Target::resolve(address).map_err(|error| error.to_string());
        let reason = match resolved {
            Ok(mut targets) if targets.len() == 1 && patience.is_none() => return Ok(targets.remove(0)),
            Ok(targets) => match probe(&targets) {
                Ok(target) => return Ok(target),
                // Without patience the clients will find out the same, and count it.
                Err(_) if patience.is_none() => return Ok(targets[0].clone()),
                Err(error) => Failure::connect_reason(error),
            },
            Err(error) => error,
        };
        if let Some(signal) = interrupted() {
            return Err(RunError::Interrupted(signal).into());
        }
        match patience {
            None => anyhow::bail!("{address} cannot be resolved: {reason}"),
            Some(patience) if since.elapsed() >= patience => {
                let waited = common::units::format_duration(patience);
                return Err(RunError::NoServer { target: address.to_string(), waited, reason }.into());
            }
            Some(patience) => {
                if !said {
                    let most = common::units::format_duration(patience);
                    progress.say(&format!("waiting at most {most} for {address}: {reason}"));
                    said = true;
                }
                thread::sleep(PROBE_PAUSE);
            }
        }
    }
}

/// The first of the targets that a connection can be made to.
fn probe(targets: &[Target]) -> Result<Target, Errno> {
    let mut last = Errno::CONNREFUSED;
    for target in targets {
        match try_connect(target) {
            Ok(()) => return Ok(target.clone()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn try_connect(target: &Target) -> Result<(), Errno> {
    let socket = match target.connect(0, false)? {
        Attempt::Connected(socket) => socket,
        Attempt::UnderWay(socket) => {
            let timeout = Timespec::try_from(PROBE_TIMEOUT).map_err(|_| Errno::INVAL)?;
            if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout))? == 0 {
                return Err(Errno::TIMEDOUT);
            }
            sockopt::socket_error(&socket)??;
            socket
        }
    };
    // A free port among the local ones may be connected with itself (simultaneous open, RFC 9293, 3.5).
    if target.takes_port() && Some(getsockname(&socket)?) == getpeername(&socket)? {
        return Err(Errno::CONNREFUSED);
    }
    Ok(())
}
