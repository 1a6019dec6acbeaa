//! The guard of a process group: a process of its own that ends the group when loadgen ends without having done so,
//! however that comes (a second Ctrl-C, SIGKILL). It waits for its standard input's end, which only loadgen holds.

use std::{
    env, io,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{END_TIMEOUT, usage, wait_at_most};

/// The guard of a group. It goes, without a deed, when this is dropped.
#[derive(Debug)]
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts the guard of the group that `leader` leads.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(leader: u32) -> anyhow::Result<Self> {
        let executable = env::current_exe().context("the path of this program is not known")?;
        let mut command = Command::new(executable);
        command.args(["guard", &leader.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: the terminal's Ctrl-C is not for it.
        let child = command.process_group(0).spawn().context("the server's guard cannot be started")?;
        Ok(Self { child })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before its standard input is at its end.
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// What the guard does: it waits for its standard input's end, and then ends the group.
pub fn watch(leader: i32) {
    let _until_its_end = io::copy(&mut io::stdin().lock(), &mut io::sink());
    let Some(leader) = Pid::from_raw(leader) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        if usage::members(leader).is_empty() {
            return;
        }
        let _gone_by_now = kill_process_group(leader, signal);
        wait_at_most(END_TIMEOUT, || usage::members(leader).is_empty());
    }
}
