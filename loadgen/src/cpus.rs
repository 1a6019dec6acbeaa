//! Which CPUs the load and the run's own server use. Sharing one, each would wait for the other's time slice to end:
//! the load would be late by milliseconds, and the server would look slower than it is.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// The CPUs of a run with a server of its own, by their numbers, divided between the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Division {
    /// What the server may use, at least one.
    pub server: Vec<usize>,
    /// What the load threads may use, at least one, none of them the server's.
    pub load: Vec<usize>,
}

impl Division {
    /// Gives each load thread a CPU of its own as far as one is left for the server, which gets the others. None
    /// where there is only one.
    ///
    /// ```
    /// use loadgen::cpus::Division;
    ///
    /// let division = Division::of(&[0, 1, 2, 3], 2).expect("there are several");
    /// assert_eq!((division.server, division.load), (vec![0, 1], vec![2, 3]));
    /// ```
    pub fn of(cpus: &[usize], load_threads: usize) -> Option<Self> {
        let most = cpus.len().checked_sub(1).filter(|most| *most > 0)?;
        let (server, load) = cpus.split_at(cpus.len() - load_threads.clamp(1, most));
        Some(Self { server: server.to_vec(), load: load.to_vec() })
    }
}

/// The CPUs that this thread may use.
///
/// # Errors
/// When the system does not tell.
pub fn usable() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Keeps this thread on these CPUs, and with it the threads and processes that it starts from now on.
///
/// # Errors
/// When the system does not allow it.
pub fn keep_to(cpus: &[usize]) -> io::Result<()> {
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
