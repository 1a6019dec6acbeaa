//! Whether the server ran until the end and kept up with the load.

use common::human::{duration_ns, plural, rate};

use super::{ACHIEVED_SHARE_MIN, Finding, generator, machine};
use crate::result::{Loop, Report, Stage, Status};

/// With a smaller share of the offered rate, the load was not the planned one.
const ACHIEVED_SHARE_INVALID: f64 = 0.9;
pub(super) fn gone(report: &Report) -> Option<Finding> {
    let gone_at_ns = report.server_gone_at_ns?;
    let at = match gone_at_ns {
        0 => "before the window".to_owned(),
        gone_at_ns => format!("{} into the window", duration_ns(gone_at_ns)),
    };
    Some(Finding {
        status: Status::Invalid,
        value: gone_at_ns as f64,
        bound: report.elapsed_s * 1e9,
        message: format!(
            "the server went away: its last reply arrived {at}; then all connections were lost, and new ones failed"
        ),
        advice: "the numbers cover only the time before: find out why the server ended (exit code, log, dmesg)",
    })
}

pub(super) fn ended(report: &Report) -> Option<Finding> {
    report.server_ended_early.then(|| Finding {
        status: Status::Invalid,
        value: 1.0,
        bound: 0.0,
        message: "the server ended before the run did".to_owned(),
        advice: "read what the server printed above, and find out why it ended",
    })
}

pub(super) fn cannot_keep_up(report: &Report) -> Option<Finding> {
    // A generator at its limit cannot tell whether the server is at its own.
    if report.plan.r#loop == Loop::Closed
        || report.server_gone_at_ns.is_some()
        || generator::is_bottleneck(report)
        || machine::is_throttled(report)
    {
        return None;
    }
    let (rate_per_s, achieved) = (report.rate.offered_per_s?, report.rate.achieved_per_s);
    // The rule `errors` finds requests that failed after they were sent.
    let failed = report.requests.failed.saturating_sub(report.requests.unsent);
    let handled = achieved + failed as f64 / report.elapsed_s.max(f64::EPSILON);
    // By chance, fewer requests may have been due than on average.
    let due = report.requests.all() as f64 / report.elapsed_s.max(f64::EPSILON);
    // Replies that take longer than the warm-up arrive after the window, even if the server keeps up. The shortest service
    // time shows that: no queue makes it longer.
    let shortest_s = report.latency_ns.service.min.unwrap_or(0) as f64 / 1e9;
    let too_late = (shortest_s - report.plan.warmup_s).max(0.0) / report.elapsed_s.max(f64::EPSILON);
    let offered = rate_per_s.min(due) * (1.0 - too_late).max(0.0);
    let bound = offered * ACHIEVED_SHARE_MIN;
    (handled < bound).then(|| Finding {
        status: if handled < offered * ACHIEVED_SHARE_INVALID { Status::Invalid } else { Status::Suspect },
        value: achieved,
        bound,
        message: format!("the server cannot keep up: {}/s of {}/s offered", rate(achieved), rate(rate_per_s)),
        advice: match report.plan.stages.is_empty() {
            true => "the response times grow with the length of the run: lower --rate",
            false => {
                "the response times grow with the length of the overload: lower the rates of --stages, or add a stage in which \
                 the server can catch up"
            }
        },
    })
}

/// A service that catches up until the window's end has still been overloaded in some stages.
pub(super) fn overloaded_stages(report: &Report) -> Option<Finding> {
    if cannot_keep_up(report).is_some()
        || report.server_gone_at_ns.is_some()
        || generator::is_bottleneck(report)
        || machine::is_throttled(report)
    {
        return None;
    }
    let overloaded: Vec<_> = report.stages.iter().filter(|stage| is_overloaded(report, stage)).collect();
    let worst = overloaded.iter().min_by(|one, other| kept_up(one).total_cmp(&kept_up(other)))?;
    let [achieved, offered] = [worst.outcomes.achieved_per_s, worst.offered_per_s].map(rate);
    let others = match overloaded.len() - 1 {
        0 => String::new(),
        others => format!(", and {} more", plural(others as u64, "stage")),
    };
    Some(Finding {
        status: Status::Suspect,
        value: kept_up(worst),
        bound: ACHIEVED_SHARE_MIN,
        message: format!(
            "the server could not keep up in stage {} ({}): {achieved}/s of {offered}/s offered{others}; it caught up later",
            worst.number, worst.stage
        ),
        advice: "the response times of an overloaded stage, and of the whole run, grow with the length of that stage: read each \
                 stage alone",
    })
}

/// The share of the requests of a stage for which there was a reply or a failure in it.
fn kept_up(stage: &Stage) -> f64 {
    let outcomes = &stage.outcomes;
    let failed = outcomes.failed.saturating_sub(outcomes.unsent) as f64;
    (outcomes.achieved_per_s * stage.length_s + failed) / outcomes.due.max(1) as f64
}

/// Whether more requests were outstanding at the end of a stage than a server that keeps up would leave.
fn is_overloaded(report: &Report, stage: &Stage) -> bool {
    let due = stage.outcomes.due as f64;
    let missing = due * (1.0 - kept_up(stage));
    // Little's law for the requests that are under way at the end. No queue makes the shortest service time longer.
    let shortest_s = report.latency_ns.service.min.unwrap_or(0) as f64 / 1e9;
    let end_per_s = report.plan.rate_at(stage.t_s + stage.length_s * 0.999).unwrap_or(stage.offered_per_s);
    missing > due * (1.0 - ACHIEVED_SHARE_MIN) + end_per_s * shortest_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        judge::verdict::tests::codes,
        result::{Outcomes, StagePlan},
    };

    #[test]
    fn a_server_keeps_up_with_98_percent_of_the_rate_and_may_reply_after_the_window() {
        assert_eq!(codes(|report| report.rate.achieved_per_s = 980.0), [""; 0]);
        assert_eq!(codes(|report| report.rate.achieved_per_s = 979.9), ["cannot_keep_up"]);
        // Requests that failed after they were sent were handled, too: 100 per second.
        let failing = |achieved_per_s| {
            move |report: &mut Report| {
                (report.requests.completed, report.requests.failed) = (1_800, 200);
                report.rate.achieved_per_s = achieved_per_s;
            }
        };
        assert_eq!(codes(failing(880.0)), ["errors"]);
        assert_eq!(codes(failing(879.9)), ["errors", "cannot_keep_up"]);
        // Each reply takes 1.2 s, with a warm-up of 1 s and a window of 2 s.
        let slow = |achieved_per_s| {
            move |report: &mut Report| {
                report.latency_ns.service.min = Some(1_200_000_000);
                report.rate.achieved_per_s = achieved_per_s;
            }
        };
        assert_eq!(codes(slow(890.0)), [""; 0]);
        assert_eq!(codes(slow(880.0)), ["cannot_keep_up"]);
    }

    #[test]
    fn an_overloaded_stage_is_named_even_if_the_server_catches_up() {
        let stages = |achieved: [f64; 3]| {
            move |report: &mut Report| {
                let rates = [500.0, 2_000.0, 500.0];
                let lengths = [0.5, 0.75, 0.75];
                let text = |per_s: f64, length_s: f64| format!("{per_s}/{length_s}s");
                report.latency_ns.service.min = Some(1_000_000);
                let mut t_s = 0.0;
                for index in 0..3 {
                    let (per_s, length_s) = (rates[index], lengths[index]);
                    report.plan.stages.push(StagePlan {
                        stage: text(per_s, length_s),
                        from_per_s: per_s,
                        to_per_s: per_s,
                        duration_s: length_s,
                    });
                    report.stages.push(Stage {
                        number: index + 1,
                        stage: text(per_s, length_s),
                        t_s,
                        length_s,
                        offered_per_s: per_s,
                        outcomes: Outcomes {
                            achieved_per_s: achieved[index],
                            due: (per_s * length_s) as u64,
                            completed: (per_s * length_s) as u64,
                            ..Outcomes::default()
                        },
                    });
                    t_s += length_s;
                }
            }
        };
        assert_eq!(codes(stages([500.0, 2_000.0, 500.0])), [""; 0]);
        // 30 of 1,500 may be missing, and 2 more are under way.
        assert_eq!(codes(stages([500.0, 1_958.0, 500.0])), [""; 0]);
        assert_eq!(codes(stages([500.0, 1_956.0, 500.0])), ["overloaded_stages"]);
        let mut report = crate::result::tests::example();
        stages([500.0, 1_000.0, 1_500.0])(&mut report);
        let finding = overloaded_stages(&report).unwrap();
        assert_eq!((finding.status, finding.value, finding.bound), (Status::Suspect, 0.5, 0.98));
        let message = finding.message;
        assert!(
            message.contains("in stage 2 (2000/0.75s): 1,000/s of 2,000/s offered; it caught up"),
            "{message}"
        );
        // Without a recovery, the whole run has not kept up.
        let whole = |report: &mut Report| {
            stages([500.0, 1_000.0, 500.0])(report);
            report.rate.achieved_per_s = 800.0;
        };
        assert_eq!(codes(whole), ["cannot_keep_up"]);
    }

    #[test]
    fn a_request_that_failed_after_it_was_sent_was_handled() {
        let outcomes =
            Outcomes { achieved_per_s: 100.0, due: 220, failed: 30, unsent: 10, ..Outcomes::default() };
        let stage = Stage {
            number: 1,
            stage: "110/2s".to_owned(),
            t_s: 0.0,
            length_s: 2.0,
            offered_per_s: 110.0,
            outcomes,
        };
        assert_eq!(kept_up(&stage), 1.0);
    }

    #[test]
    fn a_server_that_went_away_has_no_other_reason() {
        let gone = |report: &mut Report| {
            report.server_gone_at_ns = Some(500_000_000);
            report.rate.achieved_per_s = 250.0;
            report.fairness.longest_silence_ns = 1_500_000_000;
            report.fairness.longest_stall_ns = 1_500_000_000;
        };
        assert_eq!(codes(gone), ["server_gone"]);
    }
}
