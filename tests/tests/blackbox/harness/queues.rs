//! What a program waits with, as the kernel shows it: its epoll instances and its rings, and the sockets in each.

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
    /// Looks at the process with this number.
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
                // Requests that wait for a socket are listed without it: they are counted, and told apart by the count.
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

    /// How many sockets have come to each queue since `before`. Queues with the same sockets are one that has two
    /// descriptors; those without any count as one.
    pub(crate) fn newcomers(&self, before: &Queues) -> Vec<usize> {
        let nothing = BTreeSet::new();
        let new = |(queue, waits): (&u32, &BTreeSet<String>)| -> BTreeSet<String> {
            waits.difference(before.waits.get(queue).unwrap_or(&nothing)).cloned().collect()
        };
        let queues: BTreeSet<_> = self.waits.iter().map(new).collect();
        queues.iter().map(BTreeSet::len).collect()
    }
}

/// The descriptor that a line of an epoll instance is about (proc_pid_fdinfo(5)).
fn epoll_target(line: &str) -> Option<u32> {
    line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok()
}
