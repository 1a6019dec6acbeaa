//! The event queues of a program (epoll instances and rings), and the sockets in each, read from `/proc`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// The event queues of a program at one moment.
#[derive(Debug)]
pub(crate) struct Queues {
    /// The sockets in each queue, by the queue's descriptor.
    waits: BTreeMap<u32, BTreeSet<String>>,
}

impl Queues {
    /// Reads the queues of the process with this number.
    pub(crate) fn of(id: u32) -> Self {
        let folder = fs::read_dir(format!("/proc/{id}/fd")).expect("it runs");
        let descriptors: BTreeMap<u32, PathBuf> = folder
            .flatten()
            .filter_map(|entry| {
                let number = entry.file_name().to_str()?.parse().ok()?;
                Some((number, fs::read_link(entry.path()).ok()?))
            })
            .collect();
        let is_socket = |number: &u32| {
            descriptors.get(number).is_some_and(|target| target.to_string_lossy().starts_with("socket:"))
        };
        let waits = descriptors.iter().filter_map(|(&number, target)| {
            let info = || fs::read_to_string(format!("/proc/{id}/fdinfo/{number}")).unwrap_or_default();
            let waits = match target.to_str()? {
                "anon_inode:[eventpoll]" => info()
                    .lines()
                    .filter_map(epoll_target)
                    .filter(is_socket)
                    .map(|fd| fd.to_string())
                    .collect(),
                // Requests that wait for a socket are listed without the socket, so a counter numbers them.
                "anon_inode:[io_uring]" => {
                    let waiting = info().lines().filter(|line| line.trim_start().starts_with("op=")).count();
                    (0..waiting).map(|place| format!("request {place} of {number}")).collect()
                }
                _ => return None,
            };
            Some((number, waits))
        });
        Self { waits: waits.collect() }
    }

    /// The number of sockets added to each queue since `before`. Queues with the same sockets are one queue with two
    /// descriptors. Empty queues count as one.
    pub(crate) fn added_sockets(&self, before: &Queues) -> Vec<usize> {
        let nothing = BTreeSet::new();
        let new = |(queue, waits): (&u32, &BTreeSet<String>)| -> BTreeSet<String> {
            waits.difference(before.waits.get(queue).unwrap_or(&nothing)).cloned().collect()
        };
        let queues: BTreeSet<_> = self.waits.iter().map(new).collect();
        queues.iter().map(BTreeSet::len).collect()
    }
}

/// The descriptor in a line of an epoll instance (proc_pid_fdinfo(5)).
fn epoll_target(line: &str) -> Option<u32> {
    line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok()
}
