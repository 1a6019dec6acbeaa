//! What this process may have, and how many connections that carries.

use std::{fs, path::PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};

/// What the system lets this process have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The soft open-files limit.
    pub open_files: u64,
    /// How many threads it may still start, and what bounds them.
    pub threads: u64,
    /// What bounds the threads, for the log.
    pub threads_bound: &'static str,
    /// How many threads' stacks it may map (`vm.max_map_count`). Unlike the other bounds, which make starting a thread
    /// fail, this one makes Rust's runtime end the process while the thread starts.
    pub stacks: u64,
    /// CPUs that it may use, at least 1.
    pub cpus: usize,
}

/// Threads that are left to others where the bound is the whole system's or the control group's.
const THREADS_LEFT: u64 = 128;

impl Limits {
    /// What this process has now, with the open-files limit that was read or raised before.
    pub fn of_this_process(open_files: u64) -> Self {
        let (threads, threads_bound) =
            thread_bounds().into_iter().min_by_key(|(threads, _)| *threads).unwrap_or((u64::MAX, "nothing"));
        Self { open_files, threads, threads_bound, stacks: stacks(), cpus: common::limits::usable_cpus() }
    }

    /// How many connections the open-files limit carries beside the server's own descriptors: a few for the
    /// process, one for each listener, some for each worker's event queue.
    pub fn connections_by_files(&self, listeners: usize, workers: usize) -> u64 {
        self.open_files.saturating_sub(32 + listeners as u64 + 8 * workers as u64).max(1)
    }

    /// How many connections the bounds on threads carry, with a thread for each.
    pub fn connections_by_threads(&self) -> u64 {
        self.threads.saturating_sub(THREADS_LEFT).max(1)
    }
}

/// Everything that bounds the number of threads, each less what is in use already, where that can be known.
fn thread_bounds() -> Vec<(u64, &'static str)> {
    // The fourth field is "running/all", over the system's threads (proc_loadavg(5)).
    let in_use = fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|line| line.split([' ', '/']).nth(4)?.parse().ok())
        .unwrap_or(0);
    let mut bounds = Vec::new();
    let mut add = |limit: Option<u64>, in_use: u64, what| {
        bounds.extend(limit.map(|limit| (limit.saturating_sub(in_use), what)));
    };
    add(number("/proc/sys/kernel/threads-max"), in_use, "kernel.threads-max");
    add(number("/proc/sys/kernel/pid_max"), in_use, "kernel.pid_max");
    add(Some(stacks()), 0, "vm.max_map_count");
    // The superuser is exempt (setrlimit(2)). How many threads the user runs elsewhere is not known.
    if !geteuid().is_root() {
        add(getrlimit(Resource::Nproc).current, 0, "the limit on a user's processes (RLIMIT_NPROC)");
    }
    if let Some(group) = pids_group() {
        let file = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
        add(file("pids.max"), file("pids.current").unwrap_or(0), "the control group's pids.max");
    }
    bounds
}

/// How many threads' stacks a process may map beside what it has mapped itself. A thread's stack, the stack for its
/// signals and a guard page of each are four mappings.
fn stacks() -> u64 {
    const OTHERS: u64 = 256;
    number("/proc/sys/vm/max_map_count").map_or(u64::MAX, |maps| maps.saturating_sub(OTHERS) / 4)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The directory of this process's control group that counts processes (cgroups(7)): of the unified hierarchy,
/// or of version 1's pids controller.
fn pids_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            _ if controllers.split(',').any(|controller| controller == "pids") => "/sys/fs/cgroup/pids",
            _ => return None,
        };
        // Inside a container the path may be the host's while only the container's own group is mounted.
        [PathBuf::from(format!("{root}{path}")), PathBuf::from(root)]
            .into_iter()
            .find(|group| group.join("pids.max").exists())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { open_files: 20_000, threads: 1_000, threads_bound: "a test", stacks: 9_000, cpus: 2 };

    #[test]
    fn connections_leave_room_for_what_the_server_itself_needs() {
        assert_eq!(LIMITS.connections_by_files(1, 2), 19_951);
        assert_eq!(LIMITS.connections_by_threads(), 872);
        let tiny = Limits { open_files: 8, threads: 1, ..LIMITS };
        assert_eq!((tiny.connections_by_files(1, 2), tiny.connections_by_threads()), (1, 1));
    }

    #[test]
    fn this_process_has_bounds() {
        let limits = Limits::of_this_process(common::limits::open_files());
        assert!(limits.threads > 0 && limits.threads < u64::MAX && limits.cpus > 0, "{limits:?}");
    }
}
