//! Whether the generator's machine disturbed it: pauses, a lack of CPU time, a coarse clock.

use common::human::{duration_ns, percent, plural, rate, were};

use super::{ACHIEVED_SHARE_MIN, Finding};
use crate::result::{Report, Status};

/// A longer pause of a load thread changes the maximum of the response times, and the percentiles of a short run. The rule
/// must find a pause of 20 ms, which may be measured 4 ms too short ([`HEARTBEAT_NS`](crate::engine::pauses::HEARTBEAT_NS)).
const PAUSE_NS_MAX: u64 = 15_000_000;
/// The share of the window that shorter pauses may take together.
const PAUSED_SHARE_MAX: f64 = 0.02;
/// If pauses take a larger share of the window, and the longest one is more than a wait for a CPU, the pauses determine the
/// numbers.
const PAUSED_SHARE_INVALID: f64 = 0.1;
/// The scheduler makes a thread wait for less time, except on a hopelessly overloaded machine.
const STOPPED_NS_MIN: u64 = 100_000_000;
/// The share of the window for which a load thread may wait for a CPU.
const CPU_WAIT_SHARE_MAX: f64 = 0.05;
/// The share of the periods in which a CPU quota may be used up. All threads then pause until the period ends (100 ms by
/// default).
const THROTTLED_SHARE_MAX: f64 = 0.01;
/// The share of the machine's CPU time that its hypervisor may give to other machines.
const STEAL_SHARE_MAX: f64 = 0.05;
/// How often per second a load thread may be preempted. Each preemption costs it its caches.
const PREEMPTIONS_PER_S_MAX: f64 = 500.0;
/// How many times finer than the measured time the clock must be.
const CLOCK_STEPS_MIN: f64 = 100.0;

/// The largest share of the window for which a load thread was throttled; 0 if the quota was used up within the limit.
pub(super) fn throttled_time_share(report: &Report) -> f64 {
    let throttled_s = report.generator.throttled_s.filter(|_| is_throttled(report)).unwrap_or(0.0);
    if report.elapsed_s > 0.0 { (throttled_s / report.elapsed_s).min(1.0) } else { 0.0 }
}

/// Whether a CPU quota throttled the load threads too often. It also throttled a server in the same cgroup.
pub(super) fn is_throttled(report: &Report) -> bool {
    report.generator.throttled_share.is_some_and(|share| share > THROTTLED_SHARE_MAX)
}

pub(super) fn throttled(report: &Report) -> Option<Finding> {
    let generator = &report.generator;
    let share = generator.throttled_share.filter(|_| is_throttled(report))?;
    let (cpus, throttled_s) = (generator.cpu_quota?, generator.throttled_s?);
    let achieved = report.rate.achieved_per_s;
    let missed = report.rate.offered_per_s.filter(|offered| achieved < offered * ACHIEVED_SHARE_MIN);
    let reached = missed.map_or_else(String::new, |offered| {
        format!("; the load reached {}/s of {}/s", rate(achieved), rate(offered))
    });
    Some(Finding {
        status: if missed.is_some() { Status::Invalid } else { Status::Suspect },
        value: share,
        bound: THROTTLED_SHARE_MAX,
        message: format!(
            "the CPU quota of the generator's cgroup (cpu.max: {cpus:.2} CPUs) was used up in {} of its periods (limit: \
             {}): its threads were throttled for {}, summed over the CPUs{reached}",
            percent(share),
            percent(THROTTLED_SHARE_MAX),
            duration_ns((throttled_s * 1e9) as u64)
        ),
        advice: "raise the quota (docker run --cpus, limits.cpu in Kubernetes, CPUQuota= in systemd) or lower the load: the \
                 quota caused these pauses, not the server",
    })
}

/// A pause delays due requests and arrived replies. The latencies alone cannot tell it from a stall of the server.
pub(super) fn paused(report: &Report) -> Option<Finding> {
    let pauses = &report.generator.pauses;
    // A pause in which nothing was due or outstanding changes no number.
    let longest = pauses.longest.first().filter(|_| pauses.requests > 0)?;
    let share = pauses.total_ns_max as f64 / (report.elapsed_s * 1e9).max(1.0);
    let of_requests = pauses.requests as f64 / report.requests.all().max(1) as f64;
    if longest.length_ns < PAUSE_NS_MAX && share <= PAUSED_SHARE_MAX {
        return None;
    }
    let (length, at) = (duration_ns(longest.length_ns), duration_ns((longest.t_s * 1e9) as u64));
    let which = match pauses.count {
        1 => format!("for {length}, {at} into the window"),
        count => format!(
            "{count} times, for {} in total (the longest: {length}, {at} into the window)",
            duration_ns(pauses.total_ns_max)
        ),
    };
    Some(Finding {
        status: match longest.length_ns >= STOPPED_NS_MIN && share > PAUSED_SHARE_INVALID {
            true => Status::Invalid,
            false => Status::Suspect,
        },
        value: longest.length_ns as f64,
        bound: PAUSE_NS_MAX as f64,
        message: format!(
            "the load generator itself was paused {which}; {} of the requests were due or outstanding then",
            percent(of_requests)
        ),
        advice: "the response times contain these pauses, which the server did not cause: repeat the run without their \
                 cause (Ctrl-Z, a paused virtual machine, a CPU quota, other processes on the same CPUs)",
    })
}

/// A load thread that polls keeps its CPU from everyone else, also from a server that would answer it.
pub(super) fn busy_poll(report: &Report) -> Option<Finding> {
    let (plan, environment) = (&report.plan, &report.environment);
    let (usable, whose) = match &environment.division {
        Some(division) => (division.load.len(), "the load may use"),
        // The server that loadgen started uses the same CPUs.
        None if report.server.is_some() => (environment.cpus.saturating_sub(1), "its server leaves"),
        None => (environment.cpus, "it may use"),
    };
    let threads = plan.threads;
    (plan.busy_poll && threads > usable).then(|| Finding {
        status: Status::Suspect,
        value: threads as f64,
        bound: usable as f64,
        message: format!(
            "{} polled without sleeping (--busy-poll), and there {} {} that {whose}",
            plural(threads as u64, "load thread"),
            were(usable as u64),
            plural(usable as u64, "CPU")
        ),
        advice: "threads that poll take the CPU from each other and from the server: use fewer -t, more CPUs, or no --busy-poll",
    })
}

pub(super) fn cpu_wait(report: &Report) -> Option<Finding> {
    // A throttled thread counts as waiting. Other processes caused only the rest of the wait.
    let share = report.generator.cpu_wait_share_max? - throttled_time_share(report);
    let preempted = report
        .generator
        .preemptions_per_s_max
        .map_or_else(String::new, |per_s| format!(", and was preempted {} times per second", rate(per_s)));
    (share > CPU_WAIT_SHARE_MAX).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: CPU_WAIT_SHARE_MAX,
        message: format!(
            "a load thread waited for a CPU for {} of the time (limit: {}){preempted}",
            percent(share),
            percent(CPU_WAIT_SHARE_MAX)
        ),
        advice: "other processes use the generator's CPUs: stop them, pin the server to other CPUs (taskset), or use fewer -t",
    })
}

pub(super) fn steal(report: &Report) -> Option<Finding> {
    let share = report.generator.steal_share?;
    (share > STEAL_SHARE_MAX).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: STEAL_SHARE_MAX,
        message: format!(
            "the hypervisor gave {} of this machine's CPU time to other machines (limit: {})",
            percent(share),
            percent(STEAL_SHARE_MAX)
        ),
        advice: "use a dedicated machine, or measure when the other machines are idle",
    })
}

/// Applies only if the kernel does not report how long a thread waited for a CPU: a preemption may be very short. A quota
/// preempts threads as well.
pub(super) fn preempted(report: &Report) -> Option<Finding> {
    let per_s = report.generator.preemptions_per_s_max?;
    let unknown = report.generator.cpu_wait_share_max.is_none() && !is_throttled(report);
    (unknown && per_s > PREEMPTIONS_PER_S_MAX).then(|| Finding {
        status: Status::Suspect,
        value: per_s,
        bound: PREEMPTIONS_PER_S_MAX,
        message: format!(
            "a load thread was preempted {} times per second (limit: {})",
            rate(per_s),
            rate(PREEMPTIONS_PER_S_MAX)
        ),
        advice: "other processes use the generator's CPUs: stop them, pin the server to other CPUs (taskset), or use fewer -t",
    })
}

pub(super) fn clock(report: &Report) -> Option<Finding> {
    let step_ns = report.generator.clock_step_ns as f64;
    let bound = report.latency_ns.of_completed().p50? as f64 / CLOCK_STEPS_MIN;
    (step_ns > bound).then(|| Finding {
        status: Status::Suspect,
        value: step_ns,
        bound,
        message: format!(
            "the clock advances in steps of {}: too coarse for a median response time of {}",
            duration_ns(step_ns as u64),
            duration_ns((bound * CLOCK_STEPS_MIN) as u64)
        ),
        advice: "see /sys/devices/system/clocksource/clocksource0/current_clocksource: 'tsc' is fine-grained",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        judge::verdict::{judge, tests::codes},
        result::Pause,
        subject::cpus::Division,
    };

    #[test]
    fn each_rule_applies_beyond_its_bound() {
        let idle = |share| move |report: &mut Report| report.generator.idle_share_min = Some(share);
        assert_eq!(codes(idle(0.05)), [""; 0]);
        assert_eq!(codes(idle(0.049)), ["generator_saturated"]);
        let wait = |share| move |report: &mut Report| report.generator.cpu_wait_share_max = Some(share);
        assert_eq!(codes(wait(0.05)), [""; 0]);
        assert_eq!(codes(wait(0.051)), ["cpu_wait"]);
        let steal = |share| move |report: &mut Report| report.generator.steal_share = Some(share);
        assert_eq!(codes(steal(0.05)), [""; 0]);
        assert_eq!(codes(steal(0.051)), ["steal"]);
        let preempted = |per_s, waited| {
            move |report: &mut Report| {
                report.generator.preemptions_per_s_max = Some(per_s);
                report.generator.cpu_wait_share_max = waited;
            }
        };
        assert_eq!(codes(preempted(500.0, None)), [""; 0]);
        assert_eq!(codes(preempted(501.0, None)), ["preempted"]);
        assert_eq!(codes(preempted(5_000.0, Some(0.05))), [""; 0]);
        assert_eq!(codes(preempted(5_000.0, Some(0.051))), ["cpu_wait"]);
        // The example's median is 1.04 ms.
        let step = |step_ns| move |report: &mut Report| report.generator.clock_step_ns = step_ns;
        assert_eq!(codes(step(10_000)), [""; 0]);
        assert_eq!(codes(step(10_500)), ["clock"]);
    }

    #[test]
    fn each_thread_that_polls_needs_a_cpu() {
        let polling = |threads, cpus, division: Option<usize>, has_own_server: bool| {
            move |report: &mut Report| {
                report.plan.busy_poll = true;
                report.plan.threads = threads;
                report.environment.cpus = cpus;
                report.environment.division =
                    division.map(|load| Division { server: vec![0], load: (1..=load).collect() });
                if !has_own_server {
                    report.server = None;
                }
            }
        };
        assert_eq!(codes(polling(2, 2, None, false)), [""; 0]);
        assert_eq!(codes(polling(3, 2, None, false)), ["busy_poll"]);
        assert_eq!(codes(polling(1, 2, None, true)), [""; 0]);
        assert_eq!(codes(polling(2, 2, None, true)), ["busy_poll"]);
        assert_eq!(codes(polling(1, 1, None, true)), ["busy_poll"]);
        assert_eq!(codes(polling(2, 8, Some(2), true)), [""; 0]);
        assert_eq!(codes(polling(3, 8, Some(2), true)), ["busy_poll"]);
        let sleeping = |report: &mut Report| {
            polling(3, 2, None, false)(report);
            report.plan.busy_poll = false;
        };
        assert_eq!(codes(sleeping), [""; 0]);
        let mut report = crate::result::tests::example();
        polling(1, 1, None, true)(&mut report);
        assert_eq!(
            judge(&report).reasons[0].message,
            "1 load thread polled without sleeping (--busy-poll), and there were 0 CPUs that its server leaves"
        );
    }

    #[test]
    fn a_quota_replaces_other_reasons_as_far_as_it_explains_the_wait() {
        let limited = |share, throttled_s, more: fn(&mut Report)| {
            move |report: &mut Report| {
                report.generator.cpu_quota = Some(0.5);
                report.generator.throttled_share = Some(share);
                report.generator.throttled_s = Some(throttled_s);
                // The example's window takes 2 s.
                report.generator.cpu_wait_share_max = Some(0.5);
                more(report);
            }
        };
        let nothing = |_: &mut Report| {};
        assert_eq!(codes(limited(0.01, 1.0, nothing)), ["cpu_wait"]);
        assert_eq!(codes(limited(0.011, 1.0, nothing)), ["throttled"]);
        // With two CPUs, the throttled time is twice as long as a thread's wait.
        assert_eq!(codes(limited(0.9, 2.0, nothing)), ["throttled"]);
        assert_eq!(codes(limited(0.9, 0.9, nothing)), ["throttled"]);
        assert_eq!(codes(limited(0.9, 0.89, nothing)), ["throttled", "cpu_wait"]);
        // A throttled thread is not busy.
        let busy = |report: &mut Report| report.generator.idle_share_min = Some(0.001);
        assert_eq!(codes(limited(0.9, 1.0, busy)), ["throttled"]);
        assert_eq!(codes(limited(0.9, 0.05, busy)), ["throttled", "generator_saturated", "cpu_wait"]);
        let unknown = |report: &mut Report| {
            report.generator.cpu_wait_share_max = None;
            report.generator.preemptions_per_s_max = Some(5_000.0);
        };
        assert_eq!(codes(limited(0.9, 1.0, unknown)), ["throttled"]);
        assert_eq!(codes(limited(0.0, 0.0, unknown)), ["preempted"]);
        // A quota never explains stolen time.
        let stolen = |report: &mut Report| report.generator.steal_share = Some(0.3);
        assert_eq!(codes(limited(0.9, 1.0, stolen)), ["throttled", "steal"]);
    }

    #[test]
    fn a_rate_that_a_quota_limits_is_not_the_servers_limit() {
        let mut report = crate::result::tests::example();
        report.rate.achieved_per_s = 700.0;
        assert_eq!(judge(&report).reasons[0].code, "cannot_keep_up");
        report.generator.cpu_quota = Some(0.25);
        report.generator.throttled_share = Some(0.973);
        report.generator.throttled_s = Some(1.5);
        let verdict = judge(&report);
        let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!((verdict.status, codes), (Status::Invalid, vec!["throttled"]));
        assert_eq!(
            verdict.reasons[0].message,
            "the CPU quota of the generator's cgroup (cpu.max: 0.25 CPUs) was used up in 97.3% of its periods (limit: 1.0%): \
             its threads were throttled for 1.50 s, summed over the CPUs; the load reached 700/s of 1,000/s"
        );
    }

    #[test]
    fn a_pause_that_changes_the_numbers_is_a_reason_and_a_long_one_makes_them_invalid() {
        // The window takes 2 s.
        let paused = |length_ms: u64, count: u64, requests: u64| {
            move |report: &mut Report| {
                let length_ns = length_ms * 1_000_000;
                let pauses = &mut report.generator.pauses;
                pauses.longest = vec![Pause { t_s: 0.5, length_ns }];
                (pauses.count, pauses.total_ns_max, pauses.requests) = (count, count * length_ns, requests);
            }
        };
        assert_eq!(codes(paused(14, 1, 14)), [""; 0]);
        assert_eq!(codes(paused(15, 1, 15)), ["paused"]);
        assert_eq!(codes(paused(15, 1, 0)), [""; 0]);
        // Shorter pauses: the limit is 2% of the window.
        assert_eq!(codes(paused(8, 5, 40)), [""; 0]);
        assert_eq!(codes(paused(8, 6, 48)), ["paused"]);
        let status = |change: &dyn Fn(&mut Report)| {
            let mut report = crate::result::tests::example();
            change(&mut report);
            judge(&report).status
        };
        assert_eq!(status(&paused(200, 1, 200)), Status::Suspect);
        assert_eq!(status(&paused(201, 1, 201)), Status::Invalid);
        // Many waits for a CPU are not one long stop.
        assert_eq!(status(&paused(90, 10, 900)), Status::Suspect);
    }
}
