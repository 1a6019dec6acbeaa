//! The limits of the system on this process, and how many connections they allow.

use std::{fs, path::PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};

/// The limits of the system on this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The soft open-files limit.
    pub(crate) open_files: u64,
    /// How many threads the process may still start.
    pub(crate) threads: u64,
    /// The name of the limit that bounds the threads, for the log.
    pub(crate) threads_bound: &'static str,
    /// How many threads' stacks the process may map (`vm.max_map_count`). Beyond the other limits, starting a thread fails.
    /// Beyond this one, Rust's runtime ends the process while the thread starts.
    pub(crate) stacks: u64,
    /// CPUs that the process may use, at least 1.
    pub(crate) cpus: usize,
}

/// Threads that the server leaves to other processes: most of the limits apply to the whole system or to a control group.
const THREADS_RESERVED: u64 = 128;

impl Limits {
    /// The present limits of this process. `open_files` is its open-files limit.
    pub fn of_this_process(open_files: u64) -> Self {
        let (threads, threads_bound) =
            thread_limits().into_iter().min_by_key(|(threads, _)| *threads).unwrap_or((u64::MAX, "no limit"));
        Self { open_files, threads, threads_bound, stacks: stacks(), cpus: common::limits::usable_cpus() }
    }

    /// How many connections the open-files limit allows, less the server's other descriptors: 32 for the process, one for
    /// each listener, and eight for each worker.
    pub(crate) fn connections_by_files(&self, listeners: usize, workers: usize) -> u64 {
        self.open_files.saturating_sub(32 + listeners as u64 + 8 * workers as u64).max(1)
    }

    /// How many connections the limits on threads allow, with a thread for each connection.
    pub(crate) fn connections_by_threads(&self) -> u64 {
        self.threads.saturating_sub(THREADS_RESERVED).max(1)
    }
}

/// Each limit on the number of threads, less the threads in use if their number is known, and the limit's name.
fn thread_limits() -> Vec<(u64, &'static str)> {
    // The fourth field is "running/all", and counts the threads of the system (proc_loadavg(5)).
    let in_use = fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|line| line.split([' ', '/']).nth(4)?.parse().ok())
        .unwrap_or(0);
    let mut limits = Vec::new();
    let mut add = |limit: Option<u64>, in_use: u64, name| {
        limits.extend(limit.map(|limit| (limit.saturating_sub(in_use), name)));
    };
    add(number("/proc/sys/kernel/threads-max"), in_use, "kernel.threads-max");
    add(number("/proc/sys/kernel/pid_max"), in_use, "kernel.pid_max");
    add(Some(stacks()), 0, "vm.max_map_count");
    // Root is exempt (setrlimit(2)). The number of the user's threads in other processes is unknown.
    if !geteuid().is_root() {
        add(getrlimit(Resource::Nproc).current, 0, "the limit on a user's processes (RLIMIT_NPROC)");
    }
    if let Some(group) = pids_group() {
        let file = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
        add(file("pids.max"), file("pids.current").unwrap_or(0), "the control group's pids.max");
    }
    limits
}

/// How many threads' stacks a process may map, beside its other mappings. Each thread takes four: its stack, its signal
/// stack, and a guard page for each.
fn stacks() -> u64 {
    const OTHERS: u64 = 256;
    number("/proc/sys/vm/max_map_count").map_or(u64::MAX, |maps| maps.saturating_sub(OTHERS) / 4)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The directory of the control group that limits the processes of this process (cgroups(7)): in the unified hierarchy, or
/// of the pids controller of version 1.
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
        // Inside a container, the path may be the host's, although only the container's own group is mounted.
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
    fn connections_leave_descriptors_and_threads_for_the_server() {
        assert_eq!(LIMITS.connections_by_files(1, 2), 19_951);
        assert_eq!(LIMITS.connections_by_threads(), 872);
        let tiny = Limits { open_files: 8, threads: 1, ..LIMITS };
        assert_eq!((tiny.connections_by_files(1, 2), tiny.connections_by_threads()), (1, 1));
    }

    #[test]
    fn this_process_has_limits() {
        let limits = Limits::of_this_process(common::limits::open_files());
        assert!(limits.threads > 0 && limits.threads < u64::MAX && limits.cpus > 0, "{limits:?}");
    }
}
