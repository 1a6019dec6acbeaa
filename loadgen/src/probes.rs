//! What the kernel counts of the load threads, of the machine and of its network stack: what a run is disturbed by.

use std::fs;

use procfs::{Current, CurrentSI, KernelStats, net::Snmp, process::Process};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::Clock;

/// So many steps of the clock are looked at.
const CLOCK_STEPS: usize = 1_000;

/// What the calling thread has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadProbe {
    /// On a CPU.
    pub cpu_ns: u64,
    /// Ready to run, but not on a CPU (proc(5), `schedstat`); None where the kernel does not tell.
    pub waited_ns: Option<u64>,
    /// How often it was taken off its CPU (proc(5), `nonvoluntary_ctxt_switches`); None where the kernel does not tell.
    pub preemptions: Option<u64>,
}

/// What the machine has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineProbe {
    /// What its hypervisor gave to others, of all its CPUs' time, both in the same unit (proc(5), `/proc/stat`).
    pub stolen: Option<(u64, u64)>,
    /// Segments that were sent again (RFC 1213, `tcpRetransSegs`).
    pub retransmissions: Option<u64>,
    /// Connections that found a listener's queue full (`TcpExt: ListenOverflows`).
    pub listen_overflows: Option<u64>,
}

impl ThreadProbe {
    /// Until now, of the calling thread.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let cpu_ns = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        let task = Process::myself().and_then(|process| process.task_from_tid(own_tid())).ok();
        let waited = task.as_ref().and_then(|task| task.schedstat().ok());
        let status = task.as_ref().and_then(|task| task.status().ok());
        Self {
            cpu_ns,
            waited_ns: waited.map(|schedstat| schedstat.run_delay),
            preemptions: status.and_then(|status| status.nonvoluntary_ctxt_switches),
        }
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        let difference = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            waited_ns: difference(self.waited_ns, before.waited_ns),
            preemptions: difference(self.preemptions, before.preemptions),
        }
    }
}

impl MachineProbe {
    /// Until now.
    pub fn now() -> Self {
        let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
        Self {
            stolen: KernelStats::current().ok().and_then(|stats| {
                let all = stats.total;
                let stolen = all.steal?;
                let used = all.user + all.nice + all.system + all.idle;
                let rest = [all.iowait, all.irq, all.softirq].into_iter().flatten().sum::<u64>();
                Some((stolen, used + rest + stolen))
            }),
            retransmissions: Snmp::current().ok().map(|snmp| snmp.tcp_retrans_segs),
            listen_overflows: counter(&netstat, "TcpExt:", "ListenOverflows"),
        }
    }

    /// Which part of the CPUs' time since `before` went to others, from 0 to 1.
    pub fn steal_share_since(&self, before: &Self) -> Option<f64> {
        let ((stolen, all), (stolen_before, all_before)) = (self.stolen?, before.stolen?);
        let all = all.checked_sub(all_before).filter(|all| *all > 0)?;
        Some(stolen.saturating_sub(stolen_before) as f64 / all as f64)
    }
}

/// The smallest step that is seen of the run's clock, in nanoseconds.
pub fn clock_step_ns(clock: Clock) -> u64 {
    let mut before_ns = clock.now_ns();
    let mut step = || {
        let now_ns = clock.now_ns();
        now_ns - std::mem::replace(&mut before_ns, now_ns)
    };
    (0..CLOCK_STEPS).map(|_| step()).filter(|step_ns| *step_ns > 0).min().unwrap_or(0)
}

/// A counter of `/proc/net/netstat`, whose lines come in pairs of names and values (proc(5)).
fn counter(netstat: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let (_, value) =
        names.split_whitespace().zip(values.split_whitespace()).find(|(head, _)| *head == name)?;
    value.parse().ok()
}

fn own_tid() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: InNoRoutes\nIpExt: 4\n";
        assert_eq!(counter(text, "TcpExt:", "ListenOverflows"), Some(22));
        assert_eq!(counter(text, "IpExt:", "InNoRoutes"), Some(4));
        for (group, name) in [("TcpExt:", "Nonsense"), ("UdpExt:", "ListenOverflows")] {
            assert_eq!(counter(text, group, name), None);
        }
        assert_eq!(counter("", "TcpExt:", "ListenOverflows"), None);
        assert_eq!(counter("TcpExt: ListenOverflows", "TcpExt:", "ListenOverflows"), None);
    }

    #[test]
    fn work_is_seen_in_the_threads_own_numbers() {
        let before = ThreadProbe::now();
        let mut number = 1_u64;
        while ThreadProbe::now().since(before).cpu_ns < 2_000_000 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(ThreadProbe::now().cpu_ns > before.cpu_ns);
        assert_eq!(before.since(before).cpu_ns, 0);
    }

    #[test]
    fn a_part_of_no_time_is_unknown() {
        let probe = |stolen| MachineProbe { stolen, ..MachineProbe::default() };
        let before = probe(Some((10, 100)));
        assert_eq!(probe(Some((15, 200))).steal_share_since(&before), Some(0.05));
        assert_eq!(before.steal_share_since(&before), None);
        assert_eq!(probe(None).steal_share_since(&before), None);
    }

    #[test]
    fn the_clock_has_a_step() {
        let step_ns = clock_step_ns(Clock::start());
        assert!((1..1_000_000).contains(&step_ns), "{step_ns}");
    }
}
