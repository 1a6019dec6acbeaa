//! The kernel's counters of the load threads, of the machine and of its network stack. They show what disturbs a run.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

use nix::sys::resource::{UsageWho, getrusage};
use procfs::{Current, CurrentSI, KernelStats, net::Snmp};
use rustix::time::{ClockId, clock_gettime};

use crate::engine::clock::Clock;

/// The number of clock readings that [`clock_step_ns`] compares.
const CLOCK_STEPS: usize = 1_000;
/// A poll without a result takes less than a microsecond. In a longer one, the CPU served an interrupt or another thread.
const POLL_NS_MAX: u64 = 10_000;

/// A thread's usage so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadProbe {
    /// Time on a CPU.
    pub cpu_ns: u64,
    /// The part of it in which a thread that polls found nothing to do.
    pub polled_in_vain_ns: u64,
    /// Time in which it was ready to run but on no CPU (proc(5), `schedstat`). None if the kernel does not report it.
    pub waited_ns: Option<u64>,
    /// The number of preemptions (getrusage(2), `ru_nivcsw`). None if the kernel does not report it.
    pub preemptions: Option<u64>,
}

/// Reads the usage of the thread that created it. The file stays open: on a busy machine, opening it takes
/// milliseconds and would delay the measurement.
#[derive(Debug)]
pub(crate) struct ThreadProbes {
    schedstat: Option<File>,
}

/// The usage of a load thread in the window.
#[derive(Debug, Default)]
pub(crate) struct WindowUsage {
    probes: Option<ThreadProbes>,
    polled_in_vain_ns: u64,
    at_start: ThreadProbe,
    in_window: ThreadProbe,
}

/// The machine's counters so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineProbe {
    /// The time that the hypervisor gave to other machines, and the whole time of all CPUs, in the same unit (proc(5),
    /// `/proc/stat`).
    pub stolen: Option<(u64, u64)>,
    /// Retransmitted segments (RFC 1213, `tcpRetransSegs`).
    pub retransmissions: Option<u64>,
    /// Connections that a full accept queue refused (`TcpExt: ListenOverflows`).
    pub listen_overflows: Option<u64>,
}

impl ThreadProbes {
    /// The probes of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self { schedstat: File::open("/proc/thread-self/schedstat").ok() }
    }

    /// The usage until now. Only the thread that created this value may call it.
    pub(crate) fn now(&self) -> ThreadProbe {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok();
        ThreadProbe {
            cpu_ns: time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
            polled_in_vain_ns: 0,
            waited_ns: self.waited_ns(),
            preemptions: usage.and_then(|usage| u64::try_from(usage.involuntary_context_switches()).ok()),
        }
    }

    /// The second number of the file (proc(5)).
    fn waited_ns(&self) -> Option<u64> {
        let mut text = [0; 96];
        let length = self.schedstat.as_ref()?.read_at(&mut text, 0).ok()?;
        str::from_utf8(&text[..length]).ok()?.split_whitespace().nth(1)?.parse().ok()
    }
}

impl ThreadProbe {
    /// The usage since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        let difference = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            polled_in_vain_ns: self.polled_in_vain_ns.saturating_sub(before.polled_in_vain_ns),
            waited_ns: difference(self.waited_ns, before.waited_ns),
            preemptions: difference(self.preemptions, before.preemptions),
        }
    }

    /// Time on a CPU with something to do.
    pub(crate) fn busy_ns(&self) -> u64 {
        self.cpu_ns.saturating_sub(self.polled_in_vain_ns)
    }
}

impl WindowUsage {
    /// Of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self { probes: Some(ThreadProbes::of_this_thread()), ..Self::default() }
    }

    /// The window has started.
    pub(crate) fn window_started(&mut self) {
        self.at_start = self.now();
    }

    /// The window has ended.
    pub(crate) fn window_ended(&mut self) {
        self.in_window = self.now().since(self.at_start);
    }

    /// A poll took this long and found nothing to do. In a longer one, the thread did not run all the time.
    #[inline]
    pub(crate) fn polled_in_vain(&mut self, poll_ns: u64) {
        self.polled_in_vain_ns += poll_ns.min(POLL_NS_MAX);
    }

    /// The usage in the window. Zero before its end.
    pub(crate) fn in_window(&self) -> ThreadProbe {
        self.in_window
    }

    fn now(&self) -> ThreadProbe {
        let probe = self.probes.as_ref().map_or_else(ThreadProbe::default, ThreadProbes::now);
        ThreadProbe { polled_in_vain_ns: self.polled_in_vain_ns, ..probe }
    }
}

impl MachineProbe {
    /// The counters until now.
    pub(crate) fn now() -> Self {
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

    /// The share of the CPUs' time since `before` that the hypervisor gave to other machines, from 0 to 1.
    pub(crate) fn steal_share_since(&self, before: &Self) -> Option<f64> {
        let ((stolen, all), (stolen_before, all_before)) = (self.stolen?, before.stolen?);
        let all = all.checked_sub(all_before).filter(|all| *all > 0)?;
        Some(stolen.saturating_sub(stolen_before) as f64 / all as f64)
    }
}

/// The smallest step of the run's clock between two readings, in nanoseconds.
pub(crate) fn clock_step_ns(clock: Clock) -> u64 {
    let mut before_ns = clock.now_ns();
    let mut step = || {
        let now_ns = clock.now_ns();
        now_ns - std::mem::replace(&mut before_ns, now_ns)
    };
    (0..CLOCK_STEPS).map(|_| step()).filter(|step_ns| *step_ns > 0).min().unwrap_or(0)
}

/// A counter of `/proc/net/netstat`, which has pairs of lines: names and values (proc(5)).
fn counter(netstat: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let (_, value) =
        names.split_whitespace().zip(values.split_whitespace()).find(|(head, _)| *head == name)?;
    value.parse().ok()
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
    fn polling_in_vain_is_no_work() {
        let mut usage = WindowUsage::default();
        usage.polled_in_vain(500);
        usage.window_started();
        usage.polled_in_vain(700);
        usage.polled_in_vain(5_000_000);
        usage.window_ended();
        usage.polled_in_vain(900);
        assert_eq!(usage.in_window().polled_in_vain_ns, 700 + POLL_NS_MAX);
        let probe = ThreadProbe { cpu_ns: 1_000, polled_in_vain_ns: 300, ..ThreadProbe::default() };
        assert_eq!(probe.busy_ns(), 700);
    }

    #[test]
    fn work_shows_in_the_usage_of_the_thread() {
        let probes = ThreadProbes::of_this_thread();
        let before = probes.now();
        let mut number = 1_u64;
        while probes.now().since(before).cpu_ns < 2_000_000 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let after = probes.now();
        assert!(after.cpu_ns > before.cpu_ns);
        assert!(after.preemptions >= before.preemptions && after.waited_ns >= before.waited_ns);
        assert_eq!(before.since(before).cpu_ns, 0);
    }

    #[test]
    fn the_share_of_an_empty_time_is_unknown() {
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
