//! What servers use: CPU time, context switches and memory, from `/proc`.

use procfs::{
    WithCurrentSystemInfo,
    process::{Process, Stat, Task, all_processes},
};
use rustix::process::Pid;

/// What a server has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, in steps of 10 ms (proc(5), `stat`), with that of its children that
    /// have ended and were waited for.
    pub cpu_ns: u64,
    /// Voluntary and involuntary ones of its living threads.
    pub context_switches: u64,
    /// Resident memory now. What processes share is counted for each of them.
    pub rss_bytes: u64,
    /// The same with each shared page divided by its users; None where the kernel does not tell.
    pub pss_bytes: Option<u64>,
}

impl Usage {
    /// Of one process; None when it is gone.
    pub fn of_process(pid: Pid) -> Option<Self> {
        let process = Process::new(pid.as_raw_pid()).ok()?;
        let stat = process.stat().ok().filter(is_alive)?;
        of(&process, &stat)
    }

    /// Of a process group: all that the server has started, as long as it did not send it to another group. None
    /// when it is gone.
    pub fn of_group(leader: Pid) -> Option<Self> {
        let usages = members(leader).into_iter().filter_map(|(process, stat)| of(&process, &stat));
        usages.reduce(Usage::plus)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            context_switches: self.context_switches + other.context_switches,
            rss_bytes: self.rss_bytes + other.rss_bytes,
            pss_bytes: self.pss_bytes.zip(other.pss_bytes).map(|(one, other)| one + other),
        }
    }
}

/// The living processes of a group.
pub fn members(leader: Pid) -> Vec<(Process, Stat)> {
    let Ok(all) = all_processes() else { return Vec::new() };
    // Processes that end meanwhile are left out.
    let with_stat = all.filter_map(Result::ok).filter_map(|process| {
        let stat = process.stat().ok()?;
        Some((process, stat))
    });
    with_stat.filter(|(_, stat)| stat.pgrp == leader.as_raw_pid() && is_alive(stat)).collect()
}

fn is_alive(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X')
}

fn of(process: &Process, stat: &Stat) -> Option<Usage> {
    let switches = |task: Task| {
        let status = task.status().ok()?;
        Some(status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?)
    };
    // Threads that end meanwhile are left out.
    let tasks = process.tasks().ok()?.filter_map(Result::ok);
    let children = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
    Some(Usage {
        cpu_ns: (stat.utime + stat.stime + children) * (1_000_000_000 / procfs::ticks_per_second()),
        context_switches: tasks.filter_map(switches).sum(),
        rss_bytes: stat.rss_bytes().get(),
        pss_bytes: pss_bytes(process),
    })
}

fn pss_bytes(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.into_iter().find_map(|map| map.extension.map.get("Pss").copied())
}
