//! Divides the CPUs between the load and the server that loadgen starts. On a shared CPU, each would wait for the end of the
//! other's time slice: the load would be late by milliseconds, and the server would look slower than it is.

use std::io;

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// The CPUs of the server and of the load, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Division {
    /// The server's CPUs, at least one.
    pub server: Vec<usize>,
    /// The load threads' CPUs, at least one, and none of the server's.
    pub load: Vec<usize>,
}

impl Division {
    /// The CPUs of both.
    pub(crate) fn all(&self) -> Vec<usize> {
        [self.server.as_slice(), &self.load].concat()
    }

    /// Gives each load thread its own CPU, as long as one remains for the server, which gets the others. None with a single CPU.
    pub(crate) fn of(cpus: &[usize], load_threads: usize) -> Option<Self> {
        let most = cpus.len().checked_sub(1).filter(|most| *most > 0)?;
        let (server, load) = cpus.split_at(cpus.len() - load_threads.clamp(1, most));
        Some(Self { server: server.to_vec(), load: load.to_vec() })
    }
}

/// Starts a server on its CPUs, and keeps this thread and its later threads on the CPUs of the load. Sets the division to
/// None if the system does not allow it.
///
/// # Errors
/// When the server cannot be started.
pub(crate) fn start_divided<S>(
    division: &mut Option<Division>,
    start: impl FnOnce() -> anyhow::Result<S>,
) -> anyhow::Result<S> {
    if division.as_ref().is_some_and(|division| keep_to(&division.server).is_err()) {
        *division = None;
    }
    let server = start()?;
    if let Some(division) = division {
        keep_to(&division.load).context("the load cannot be kept to its CPUs")?;
    }
    Ok(server)
}

/// The CPUs that this thread may use.
///
/// # Errors
/// When the system refuses.
pub(crate) fn usable() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Keeps this thread on these CPUs, and the threads and processes that it starts from now on.
///
/// # Errors
/// When the system refuses.
pub(crate) fn keep_to(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_gets_a_cpu_for_each_thread_and_the_server_what_is_left() {
        let division = |cpus: &[usize], threads| {
            Division::of(cpus, threads).map(|division| (division.server, division.load))
        };
        assert_eq!(division(&[0], 1), None);
        assert_eq!(division(&[0, 1], 1), Some((vec![0], vec![1])));
        assert_eq!(division(&[0, 1], 8), Some((vec![0], vec![1])));
        assert_eq!(division(&[2, 3, 5, 7], 2), Some((vec![2, 3], vec![5, 7])));
        assert_eq!(division(&[2, 3, 5, 7], 3), Some((vec![2], vec![3, 5, 7])));
    }

    #[test]
    fn a_thread_keeps_to_its_cpus() {
        std::thread::spawn(|| {
            let all = usable().unwrap();
            keep_to(&all[..1]).unwrap();
            assert_eq!(usable().unwrap(), all[..1]);
        })
        .join()
        .unwrap();
    }
}
