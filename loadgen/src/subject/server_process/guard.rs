//! The guard of a process group: a separate process that ends the group if loadgen ends without having done so, for example
//! by SIGKILL. loadgen starts the guard before the group, and writes the group's number to the guard's standard input. That
//! input ends with loadgen.

use std::{
    env,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{END_TIMEOUT, usage, wait_at_most};

/// A guard. Dropping it ends the guard, and not the group.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
}

impl Guard {
    /// Starts a guard without a group.
    ///
    /// # Errors
    /// When the guard cannot be started.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let executable = env::current_exe().context("the path of this program is not known")?;
        let mut command = Command::new(executable);
        command.arg("guard");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its own group: the terminal's Ctrl-C does not reach it.
        let child = command.process_group(0).spawn().context("the server's guard cannot be started")?;
        Ok(Self { child })
    }

    /// Sets the group to guard, by the process number of its leader.
    ///
    /// # Errors
    /// When the guard has ended.
    pub(crate) fn guard(&mut self, leader: u32) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("the guard has no standard input")?;
        writeln!(stdin, "{leader}").context("the server's guard is gone")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before its standard input is closed.
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// The guard process: waits for the end of its standard input, and then ends the group, if one was set.
pub(crate) fn watch() {
    let input = io::read_to_string(io::stdin()).unwrap_or_default();
    let Some(leader) = input.trim().parse().ok().and_then(Pid::from_raw) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        if usage::members(leader).is_empty() {
            return;
        }
        let _gone_by_now = kill_process_group(leader, signal);
        wait_at_most(END_TIMEOUT, || usage::members(leader).is_empty());
    }
}
