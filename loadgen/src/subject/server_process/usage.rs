//! The usage of servers: CPU time, context switches and memory, from `/proc`.

use std::{collections::HashSet, thread, time::Duration};

use procfs::{
    WithCurrentSystemInfo,
    net::TcpState,
    process::{FDTarget, Process, Stat, Task, all_processes},
};
use rustix::process::Pid;

/// A server's usage so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all its threads, in steps of 10 ms (proc(5), `stat`), including the children that it has
    /// waited for.
    pub cpu_ns: u64,
    /// Voluntary and involuntary context switches of its existing threads.
    pub context_switches: u64,
    /// Resident memory now. Shared pages count for each process.
    pub rss_bytes: u64,
    /// Resident memory, with each shared page divided by the number of its users. None if the kernel does not report it, and
    /// at [`Moment::Start`].
    pub pss_bytes: Option<u64>,
}

/// What can be known of a running server's usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The usage.
    Known(Usage),
    /// Its processes are not on this machine, or not to be seen.
    Unknown,
}

/// The moment of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The start of the window. The files of many threads take many milliseconds to read, and a load thread may need this
    /// CPU. So only the CPU time is read at once; the other files follow a few at a time.
    Start,
    /// The end of the window. Everything is read at once, as threads of the server end with their clients.
    End,
}

impl Moment {
    /// Leaves the CPU to the load threads, which read their own usage at the start of the window.
    pub(crate) fn give_way(self) {
        if self == Self::Start {
            thread::sleep(BEFORE_TASKS);
        }
    }
}

/// The pause of the reading at the start of the window.
const BEFORE_TASKS: Duration = Duration::from_millis(5);
/// The number of threads whose files are read at once.
const TASKS_AT_ONCE: usize = 8;
/// The pause before the next files.
const BETWEEN_TASKS: Duration = Duration::from_micros(300);

impl Usage {
    /// The usage of one process. None if it has ended.
    pub(crate) fn of_process(pid: Pid, moment: Moment) -> Option<Self> {
        let process = Process::new(pid.as_raw_pid()).ok()?;
        let stat = process.stat().ok().filter(is_alive)?;
        of(&process, &stat, moment)
    }

    /// The usage of a process group without its leader: of the server and its children, unless they left the group. None if all
    /// have ended.
    pub(crate) fn of_followers(leader: Pid, moment: Moment) -> Option<Self> {
        let usages = followers(leader).into_iter().filter_map(|(process, stat)| of(&process, &stat, moment));
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

/// The running processes of a group without its leader.
pub(crate) fn followers(leader: Pid) -> Vec<(Process, Stat)> {
    let Ok(all) = all_processes() else { return Vec::new() };
    // Skips processes that end during the scan.
    let with_stat = all.filter_map(Result::ok).filter_map(|process| {
        let stat = process.stat().ok()?;
        Some((process, stat))
    });
    let leader = leader.as_raw_pid();
    with_stat.filter(|(_, stat)| stat.pgrp == leader && stat.pid != leader && is_alive(stat)).collect()
}

/// Whether a process of a group without its leader listens at this port. Processes whose descriptors are not readable do not
/// count.
pub(crate) fn has_listener(leader: Pid, port: u16) -> bool {
    followers(leader).iter().any(|(process, _)| listens(process, port).unwrap_or(false))
}

/// The sockets of the process's own network namespace, which need not be that of loadgen.
fn listens(process: &Process, port: u16) -> procfs::ProcResult<bool> {
    let sockets = process.fd()?.filter_map(Result::ok).filter_map(|descriptor| match descriptor.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    });
    let sockets: HashSet<_> = sockets.collect();
    let entries = process.tcp()?.into_iter().chain(process.tcp6().unwrap_or_default());
    let mut listening =
        entries.filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port);
    Ok(listening.any(|entry| sockets.contains(&entry.inode)))
}

fn is_alive(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X')
}

fn of(process: &Process, stat: &Stat, moment: Moment) -> Option<Usage> {
    let children = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
    moment.give_way();
    Some(Usage {
        cpu_ns: (stat.utime + stat.stime + children) * (1_000_000_000 / procfs::ticks_per_second()),
        context_switches: context_switches(process, moment)?,
        rss_bytes: stat.rss_bytes().get(),
        pss_bytes: match moment {
            Moment::Start => None,
            Moment::End => pss_bytes(process),
        },
    })
}

/// The sum over all threads.
fn context_switches(process: &Process, moment: Moment) -> Option<u64> {
    let switches = |(index, task): (usize, Task)| {
        if moment == Moment::Start && index % TASKS_AT_ONCE == TASKS_AT_ONCE - 1 {
            thread::sleep(BETWEEN_TASKS);
        }
        let status = task.status().ok()?;
        Some(status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?)
    };
    // Skips threads that end during the scan.
    Some(process.tasks().ok()?.filter_map(Result::ok).enumerate().filter_map(switches).sum())
}

fn pss_bytes(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.into_iter().find_map(|map| map.extension.map.get("Pss").copied())
}
