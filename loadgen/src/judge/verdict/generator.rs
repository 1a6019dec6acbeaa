//! Whether the generator itself was the limit: busy load threads, and requests sent late.

use common::human::{duration_ns, percent, rate};

use super::{ACHIEVED_SHARE_MIN, Finding, machine};
use crate::result::{Latency, Loop, Report, Status};

/// A load thread that is idle for a smaller share of the window is the bottleneck, or nearly so: arriving replies wait for
/// it.
const IDLE_SHARE_MIN: f64 = 0.05;
/// If the lag is a larger share of the response time, the numbers say nothing about the server.
const LAG_SHARE_INVALID: f64 = 0.8;
/// The figures of the schedule lag that the rule compares with those of the response time.
static LAG_BOUNDS: [LagBound; 3] = [
    // A load thread that is busy half of the time is late by half the cost of a request.
    LagBound {
        name: "median",
        get: |latency| latency.p50.map(|p50| p50 as f64),
        share_max: 0.5,
        ns_min: 100e3,
    },
    // With few requests, one hiccup of the machine determines the mean.
    LagBound {
        name: "mean",
        get: |latency| latency.mean.filter(|_| latency.count >= MEAN_SAMPLES_MIN),
        share_max: 0.5,
        ns_min: 100e3,
    },
    // The tails belong to different requests, so this ratio is only an indication.
    LagBound {
        name: "p99",
        get: |latency| latency.p99.map(|p99| p99 as f64),
        share_max: 2.0 / 3.0,
        ns_min: 250e3,
    },
];
/// With fewer samples, the mean is too uncertain.
const MEAN_SAMPLES_MIN: u64 = 1_000;
/// The limit of one figure of the schedule lag.
struct LagBound {
    /// The name of the figure.
    name: &'static str,
    /// Reads the figure from a distribution.
    get: fn(&Latency) -> Option<f64>,
    /// The limit, as a share of the same figure of the response time.
    share_max: f64,
    /// A smaller lag is never a reason. Timers have a slack of 1 µs, a wake-up takes some 10 µs in a virtual machine, and a
    /// request is written after those that are due before it.
    ns_min: f64,
}

pub(super) fn saturated(report: &Report) -> Option<Finding> {
    let idle = idle_share(report).filter(|idle| *idle < IDLE_SHARE_MIN)?;
    let advice = match report.plan.r#loop {
        Loop::Open => {
            "use more load threads (-t) on CPUs of their own, more machines ('loadgen merge'), or a lower --rate"
        }
        Loop::Closed => {
            "use more load threads (-t) on CPUs of their own, more machines ('loadgen merge'), or fewer clients (-c)"
        }
    };
    let (status, message) = saturation(report, &percent(idle))?;
    Some(Finding { status, value: idle, bound: IDLE_SHARE_MIN, message, advice })
}

/// The status and the message of a run in which a load thread had too little idle time. None if another rule applies.
fn saturation(report: &Report, idle: &str) -> Option<(Status, String)> {
    match (report.plan.r#loop, report.rate.offered_per_s) {
        (Loop::Open, Some(offered)) if report.rate.achieved_per_s < offered * ACHIEVED_SHARE_MIN => {
            // If the server may be at its limit as well, `cannot_keep_up` applies instead.
            if !is_bottleneck(report) {
                return None;
            }
            let (achieved, offered) = (rate(report.rate.achieved_per_s), rate(offered));
            let message = format!(
                "the generator was the bottleneck, not the server: a load thread was idle for only {idle} of the time, \
                 and the load reached {achieved}/s of {offered}/s"
            );
            Some((Status::Invalid, message))
        }
        (Loop::Open, _) => {
            let message = format!(
                "the offered rate was reached, but a load thread was idle for only {idle} of the time: the latencies \
                 contain its own delays"
            );
            Some((Status::Suspect, message))
        }
        (Loop::Closed, _) => {
            let message = format!(
                "a load thread was idle for only {idle} of the time: the rate may be the generator's limit instead of \
                 the server's, and the latencies contain the generator's own delays"
            );
            Some((Status::Suspect, message))
        }
    }
}

/// Whether the load threads were at their limit and the server was not. If nothing is known about the server, a load thread
/// must have run all the time: a thread that waited for a CPU may have waited for the server on it.
pub(super) fn is_bottleneck(report: &Report) -> bool {
    let Some(idle) = idle_share(report).filter(|idle| *idle < IDLE_SHARE_MIN) else { return false };
    match server_idle_share(report) {
        Some(server_idle) => server_idle > idle,
        None => report.generator.busiest_thread_share > 1.0 - IDLE_SHARE_MIN,
    }
}

/// The idle share of the CPUs that a server of loadgen can use at once.
fn server_idle_share(report: &Report) -> Option<f64> {
    let (server, environment) = (report.server.as_ref()?, &report.environment);
    server.mode.as_ref()?;
    let cpus = environment.division.as_ref().map_or(environment.cpus, |division| division.server.len());
    let threads = server.threads.map_or(usize::MAX, |threads| threads as usize);
    let usable = cpus.min(threads).max(1);
    (report.elapsed_s > 0.0).then(|| 1.0 - server.cpu_s / (report.elapsed_s * usable as f64))
}

/// The idle share of the busiest load thread. If the kernel does not report how long a thread waited for a CPU, its CPU time
/// is used instead. The time for which a CPU quota throttled a thread is not busy time.
fn idle_share(report: &Report) -> Option<f64> {
    let generator = &report.generator;
    let idle = generator.idle_share_min.map(|idle| (idle + machine::throttled_time_share(report)).min(1.0));
    (report.elapsed_s > 0.0).then(|| idle.unwrap_or(1.0 - generator.busiest_thread_share))
}

pub(super) fn late(report: &Report) -> Option<Finding> {
    let (lag, response) = (report.latency_ns.schedule_lag.as_ref()?, report.latency_ns.of_completed());
    let exceeded = |bound: &'static LagBound| {
        let (lag_ns, response_ns) = ((bound.get)(lag)?, (bound.get)(response)?);
        let share = lag_ns / response_ns.max(1.0);
        (lag_ns > bound.ns_min && share > bound.share_max).then_some((bound, share, lag_ns, response_ns))
    };
    let (LagBound { name, share_max, .. }, share, lag_ns, response_ns) =
        LAG_BOUNDS.iter().find_map(exceeded)?;
    let [lag, response] = [lag_ns, response_ns].map(|time_ns| duration_ns(time_ns as u64));
    Some(Finding {
        status: if *name != "p99" && share > LAG_SHARE_INVALID { Status::Invalid } else { Status::Suspect },
        value: share,
        bound: *share_max,
        message: format!(
            "the generator itself was late: its schedule lag has a {name} of {lag}, which is {} of the response \
             time's {response} (limit: {})",
            percent(share),
            percent(*share_max)
        ),
        advice: "give the load threads CPUs of their own (taskset, or another machine), use more of them (-t), or lower --rate",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::{judge, tests::codes};

    #[test]
    fn a_lag_is_a_reason_if_it_is_a_large_share_of_the_response_time() {
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
            let mut report = crate::result::tests::example();
            change(&mut report);
            judge(&report).status
        };
        assert_eq!(status(&lag(800e3, 1_000)), Status::Suspect);
        assert_eq!(status(&lag(801e3, 1_000)), Status::Invalid);
        // The response of a fast server takes little longer than a wake-up.
        let fast = |report: &mut Report| {
            report.latency_ns.response.mean = Some(120e3);
            report.latency_ns.schedule_lag.as_mut().unwrap().mean = Some(99e3);
        };
        assert_eq!(codes(fast), [""; 0]);
    }

    #[test]
    fn a_server_is_idle_on_the_cpus_that_it_can_use() {
        let idle_share = |threads: Option<u64>, cpus: usize, elapsed_s: f64| {
            let mut report = crate::result::tests::example();
            report.elapsed_s = elapsed_s;
            report.environment.division = None;
            report.environment.cpus = cpus;
            let server = report.server.as_mut().unwrap();
            (server.threads, server.cpu_s) = (threads, 1.0);
            server_idle_share(&report)
        };
        assert_eq!(idle_share(Some(2), 4, 2.0), Some(0.75));
        assert_eq!(idle_share(Some(4), 2, 2.0), Some(0.75));
        assert_eq!(idle_share(None, 8, 2.0), Some(0.9375));
        assert_eq!(idle_share(Some(2), 4, 0.0), None);
    }

    #[test]
    fn a_generator_without_idle_time_is_the_bottleneck_and_not_the_server() {
        let overloaded = |report: &mut Report| {
            report.generator.idle_share_min = Some(0.001);
            report.rate.achieved_per_s = 700.0;
        };
        let mut report = crate::result::tests::example();
        overloaded(&mut report);
        let verdict = judge(&report);
        let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!((verdict.status, codes), (Status::Invalid, vec!["generator_saturated"]));
        assert!(verdict.reasons[0].message.contains("not the server"), "{}", verdict.reasons[0].message);
        // The server has no idle time either.
        let mut both = report.clone();
        both.server.as_mut().unwrap().cpu_s = both.elapsed_s;
        assert_eq!(judge(&both).reasons[0].code, "cannot_keep_up");
        // Without the wait for a CPU, the CPU time decides.
        report.generator.idle_share_min = None;
        report.generator.busiest_thread_share = 0.99;
        assert_eq!(judge(&report).reasons[0].code, "generator_saturated");
        // Nothing is known about the server: only a thread that ran all the time is the bottleneck, not one that waited for
        // a CPU.
        report.server = None;
        assert_eq!(judge(&report).reasons[0].code, "generator_saturated");
        (report.generator.idle_share_min, report.generator.busiest_thread_share) = (Some(0.01), 0.2);
        assert_eq!(judge(&report).reasons[0].code, "cannot_keep_up");
    }
}
