//! The guard of a server: a separate process that ends the server if loadgen ends without having done so, for example by
//! SIGKILL. The guard leads a process group, which the server joins as it starts. So there is no moment in which the server
//! runs and the guard does not know it.

use std::{
    env, io,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use common::signal;
use rustix::process::{Pid, Signal, getpid, kill_process_group};

use super::{END_TIMEOUT, usage, wait_at_most};

/// A guard. Dropping it ends the guard, and not the rest of its group.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
}

impl Guard {
    /// Starts a guard, alone in its group.
    ///
    /// # Errors
    /// When the guard cannot be started.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let executable = env::current_exe().context("the path of this program is not known")?;
        let mut command = Command::new(executable);
        command.arg("guard");
        // Its standard input ends with loadgen, also if loadgen is killed while it starts the server: until then, that process
        // holds the input open, too.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its own group: the terminal's Ctrl-C does not reach it.
        let child = command.process_group(0).spawn().context("the server's guard cannot be started")?;
        Ok(Self { child })
    }

    /// The number of its group, which is its own process number.
    pub(crate) fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before its standard input is closed.
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// The guard process: waits for the end of its standard input, and then ends the others of its group.
pub(crate) fn watch() {
    // SIGTERM is for the others. Without the handler, the guard ends with them, and one that does not end would stay.
    let _not_installed = signal::survive_terminate();
    let _ended_by_an_error = io::copy(&mut io::stdin(), &mut io::sink());
    let group = getpid();
    for signal in [Signal::TERM, Signal::KILL] {
        if usage::followers(group).is_empty() {
            return;
        }
        // SIGKILL ends the guard, too: nothing is left to do then.
        let _gone_by_now = kill_process_group(group, signal);
        wait_at_most(END_TIMEOUT, || usage::followers(group).is_empty());
    }
}
