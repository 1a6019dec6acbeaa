//! The guard of a process group: a process of its own that ends the group when loadgen ends without having done so,
//! however that comes (a second Ctrl-C, SIGKILL). It is there before the group is, reads from its standard input which
//! one to guard, and waits for that input's end, which only loadgen holds.

use std::{
    env,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{END_TIMEOUT, usage, wait_at_most};

/// A guard. It goes, without a deed, when this is dropped.
#[derive(Debug)]
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts a guard that has nothing to guard yet.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> anyhow::Result<Self> {
        let executable = env::current_exe().context("the path of this program is not known")?;
        let mut command = Command::new(executable);
        command.arg("guard");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: the terminal's Ctrl-C is not for it.
        let child = command.process_group(0).spawn().context("the server's guard cannot be started")?;
        Ok(Self { child })
    }

    /// Has it guard the group that `leader` leads.
    ///
    /// # Errors
    /// When it is gone.
    pub fn guard(&mut self, leader: u32) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("the guard has no standard input")?;
        writeln!(stdin, "{leader}").context("the server's guard is gone")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before its standard input is at its end.
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// What the guard does: it waits for its standard input's end, and then ends the group that it was told of, if any.
pub fn watch() {
    let told = io::read_to_string(io::stdin()).unwrap_or_default();
    let Some(leader) = told.trim().parse().ok().and_then(Pid::from_raw) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        if usage::members(leader).is_empty() {
            return;
        }
        let _gone_by_now = kill_process_group(leader, signal);
        wait_at_most(END_TIMEOUT, || usage::members(leader).is_empty());
    }
}
