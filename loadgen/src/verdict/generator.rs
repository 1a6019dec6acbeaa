//! What the generator and its machine were short of: then the numbers are partly its own.

use super::{ACHIEVED_SHARE_MIN, Finding};
use crate::{
    human::{duration_ns, percent, rate},
    report::{Latency, Loop, Report, Status},
};

/// A load thread with less time to spare than this part of the window is the bottleneck, or about to be: what comes in
/// waits for it, the longer the busier it is.
const IDLE_SHARE_MIN: f64 = 0.05;
/// From this part of the mean response time on, the numbers say nothing of the server.
const LAG_SHARE_INVALID: f64 = 0.8;
/// What is looked at of the lag and of the response time.
static LAG_BOUNDS: [LagBound; 2] = [
    // A load thread at half load is late by half of what a request costs it, as it handles another one at that moment, and a
    // single hiccup of the machine weighs on a mean.
    LagBound { name: "mean", of: |latency| latency.mean, share_max: 0.5, ns_min: 100e3 },
    // The requests of the one tail are not those of the other: this is no share but a sign.
    LagBound {
        name: "p99",
        of: |latency| latency.p99.map(|p99| p99 as f64),
        share_max: 2.0 / 3.0,
        ns_min: 250e3,
    },
];
/// The part of the window that a load thread may wait for a CPU.
const CPU_WAIT_SHARE_MAX: f64 = 0.05;
/// The part of the machine's time that its hypervisor may give to others.
const STEAL_SHARE_MAX: f64 = 0.05;
/// How often a second a load thread may be taken off its CPU: each time costs it its caches.
const PREEMPTIONS_PER_S_MAX: f64 = 500.0;
/// The clock must be so many times finer than what it measures.
const CLOCK_STEPS_MIN: f64 = 100.0;

/// How much of the response time the generator's own lateness may be.
struct LagBound {
    /// What is looked at.
    name: &'static str,
    /// The same of both.
    of: fn(&Latency) -> Option<f64>,
    /// The part that it may be.
    share_max: f64,
    /// What no clock and no timer could do much better than: timers have a slack of 1 µs, a wake-up takes some 10 µs in a
    /// virtual machine, and a request is written after those that are due before it.
    ns_min: f64,
}

pub(super) fn saturated(report: &Report) -> Option<Finding> {
    let idle = idle_share(report).filter(|idle| *idle < IDLE_SHARE_MIN)?;
    let finding = |status, message: String| Finding {
        status,
        value: idle,
        bound: IDLE_SHARE_MIN,
        message,
        advice: "use more load threads (-t) on CPUs of their own, further machines ('loadgen merge'), or a lower --rate",
    };
    let idle = percent(idle);
    match (report.plan.r#loop, report.rate.offered_per_s) {
        (Loop::Open, Some(offered)) if report.rate.achieved_per_s < offered * ACHIEVED_SHARE_MIN => {
            // Where the server may be at its limit as well, it is the server's rule that speaks.
            if !is_bottleneck(report) {
                return None;
            }
            let (achieved, offered) = (rate(report.rate.achieved_per_s), rate(offered));
            Some(finding(
                Status::Invalid,
                format!(
                    "the generator was the bottleneck, not the server: a load thread was idle for {idle} of the \
                     time, and {achieved}/s of {offered}/s were reached"
                ),
            ))
        }
        (Loop::Open, _) => Some(finding(
            Status::Suspect,
            format!(
                "the offered rate was reached, but a load thread was idle for only {idle} of the time: its own delays \
                 are in the latencies"
            ),
        )),
        (Loop::Closed, _) => Some(finding(
            Status::Suspect,
            format!(
                "a load thread was idle for only {idle} of the time: the rate is as much the generator's limit as \
                 the server's, and its own delays are in the latencies"
            ),
        )),
    }
}

/// Whether the load threads could not have done more, while the server could have. Where nothing is known of the server,
/// a load thread must have been on its CPU all the time: one that waits for it may wait for the server that has it.
pub(super) fn is_bottleneck(report: &Report) -> bool {
    let Some(idle) = idle_share(report).filter(|idle| *idle < IDLE_SHARE_MIN) else { return false };
    match server_idle_share(report) {
        Some(server_idle) => server_idle > idle,
        None => report.generator.busiest_thread_share > 1.0 - IDLE_SHARE_MIN,
    }
}

/// Of the CPUs that it can use at once, where it is one of loadgen's own.
fn server_idle_share(report: &Report) -> Option<f64> {
    let (server, environment) = (report.server.as_ref()?, &report.environment);
    server.mode.as_ref()?;
    let cpus = environment.division.as_ref().map_or(environment.cpus, |division| division.server.len());
    let threads = server.threads.map_or(usize::MAX, |threads| threads as usize);
    let usable = cpus.min(threads).max(1);
    (report.elapsed_s > 0.0).then(|| 1.0 - server.cpu_s / (report.elapsed_s * usable as f64))
}

/// Where the kernel does not tell how long a thread waited for a CPU, what it used of one must do.
fn idle_share(report: &Report) -> Option<f64> {
    let generator = &report.generator;
    (report.elapsed_s > 0.0).then(|| generator.idle_share_min.unwrap_or(1.0 - generator.busiest_thread_share))
}

pub(super) fn late(report: &Report) -> Option<Finding> {
    let (lag, response) = (report.latency_ns.schedule_lag.as_ref()?, &report.latency_ns.response);
    let of = |bound: &'static LagBound| {
        let (lag_ns, response_ns) = ((bound.of)(lag)?, (bound.of)(response)?);
        let share = lag_ns / response_ns.max(1.0);
        (lag_ns > bound.ns_min && share > bound.share_max).then_some((bound, share, lag_ns, response_ns))
    };
    let (LagBound { name, share_max, .. }, share, lag_ns, response_ns) = LAG_BOUNDS.iter().find_map(of)?;
    let [lag, response] = [lag_ns, response_ns].map(|time_ns| duration_ns(time_ns as u64));
    Some(Finding {
        status: if *name == "mean" && share > LAG_SHARE_INVALID { Status::Invalid } else { Status::Suspect },
        value: share,
        bound: *share_max,
        message: format!(
            "the generator was late itself: its schedule lag has a {name} of {lag}, {} of the response time's \
             {response} (at most {} may be)",
            percent(share),
            percent(*share_max)
        ),
        advice: "give the load threads CPUs of their own (taskset, or a machine), use more of them (-t), or lower --rate",
    })
}

pub(super) fn cpu_wait(report: &Report) -> Option<Finding> {
    let share = report.generator.cpu_wait_share_max?;
    let preempted = report
        .generator
        .preemptions_per_s_max
        .map_or_else(String::new, |per_s| format!(", and was taken off one {} times a second", rate(per_s)));
    (share > CPU_WAIT_SHARE_MAX).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: CPU_WAIT_SHARE_MAX,
        message: format!(
            "a load thread waited for a CPU for {} of the time (at most {} may be){preempted}",
            percent(share),
            percent(CPU_WAIT_SHARE_MAX)
        ),
        advice: "others use the generator's CPUs: stop them, pin the server elsewhere (taskset), or use fewer -t",
    })
}

pub(super) fn steal(report: &Report) -> Option<Finding> {
    let share = report.generator.steal_share?;
    (share > STEAL_SHARE_MAX).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: STEAL_SHARE_MAX,
        message: format!(
            "the hypervisor gave {} of this machine's CPU time to others (at most {} may be)",
            percent(share),
            percent(STEAL_SHARE_MAX)
        ),
        advice: "use a machine of your own, or measure when its neighbours are quiet",
    })
}

/// Only where the kernel does not tell how long a thread waited: who gives a CPU back at once has taken little.
pub(super) fn preempted(report: &Report) -> Option<Finding> {
    let per_s = report.generator.preemptions_per_s_max?;
    let unknown = report.generator.cpu_wait_share_max.is_none();
    (unknown && per_s > PREEMPTIONS_PER_S_MAX).then(|| Finding {
        status: Status::Suspect,
        value: per_s,
        bound: PREEMPTIONS_PER_S_MAX,
        message: format!(
            "a load thread was taken off its CPU {} times a second (at most {} may be)",
            rate(per_s),
            rate(PREEMPTIONS_PER_S_MAX)
        ),
        advice: "others use the generator's CPUs: stop them, pin the server elsewhere (taskset), or use fewer -t",
    })
}

pub(super) fn clock(report: &Report) -> Option<Finding> {
    let step_ns = report.generator.clock_step_ns as f64;
    let bound = report.latency_ns.response.p50? as f64 / CLOCK_STEPS_MIN;
    (step_ns > bound).then(|| Finding {
        status: Status::Suspect,
        value: step_ns,
        bound,
        message: format!(
            "the clock moves in steps of {}, too coarse for a median of {}",
            duration_ns(step_ns as u64),
            duration_ns((bound * CLOCK_STEPS_MIN) as u64)
        ),
        advice: "see /sys/devices/system/clocksource/clocksource0/: 'tsc' is fine-grained",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{judge, tests::codes};

    #[test]
    fn each_rule_applies_on_its_side_of_the_line() {
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
    fn a_lag_counts_as_far_as_it_is_part_of_what_is_reported() {
        let lag = |mean_ns: f64, p99_ns| {
            move |report: &mut Report| {
                report.latency_ns.response.mean = Some(1e6);
                report.latency_ns.response.p99 = Some(4_000_000);
                let lag = report.latency_ns.schedule_lag.as_mut().unwrap();
                (lag.mean, lag.p99) = (Some(mean_ns), Some(p99_ns));
            }
        };
        assert_eq!(codes(lag(500e3, 2_666_666)), [""; 0]);
        assert_eq!(codes(lag(501e3, 2_666_666)), ["late"]);
        assert_eq!(codes(lag(500e3, 2_666_667)), ["late"]);
        let status = |change: &dyn Fn(&mut Report)| {
            let mut report = crate::report::tests::example();
            change(&mut report);
            judge(&report).status
        };
        assert_eq!(status(&lag(800e3, 1_000)), Status::Suspect);
        assert_eq!(status(&lag(801e3, 1_000)), Status::Invalid);
        // A fast server's response is not much longer than a wake-up.
        let fast = |report: &mut Report| {
            report.latency_ns.response.mean = Some(120e3);
            report.latency_ns.schedule_lag.as_mut().unwrap().mean = Some(99e3);
        };
        assert_eq!(codes(fast), [""; 0]);
    }

    #[test]
    fn a_generator_without_time_to_spare_is_blamed_and_not_the_server() {
        let overloaded = |report: &mut Report| {
            report.generator.idle_share_min = Some(0.001);
            report.rate.achieved_per_s = 700.0;
        };
        let mut report = crate::report::tests::example();
        overloaded(&mut report);
        let verdict = judge(&report);
        let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!((verdict.status, codes), (Status::Invalid, vec!["generator_saturated"]));
        assert!(verdict.reasons[0].message.contains("not the server"), "{}", verdict.reasons[0].message);
        // A server without time to spare either is the server's rule's.
        let mut both = report.clone();
        both.server.as_mut().unwrap().cpu_s = both.elapsed_s;
        assert_eq!(judge(&both).reasons[0].code, "cannot_keep_up");
        // Where the kernel does not tell who waited, the CPU time must do.
        report.generator.idle_share_min = None;
        report.generator.busiest_thread_share = 0.99;
        assert_eq!(judge(&report).reasons[0].code, "generator_saturated");
        // Of somebody's server nothing is known: then only a thread that was on its CPU is to blame, not one that
        // waited for it.
        report.server = None;
        assert_eq!(judge(&report).reasons[0].code, "generator_saturated");
        (report.generator.idle_share_min, report.generator.busiest_thread_share) = (Some(0.01), 0.2);
        assert_eq!(judge(&report).reasons[0].code, "cannot_keep_up");
    }
}
