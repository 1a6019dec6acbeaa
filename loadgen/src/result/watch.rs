//! Watches a running load for the conditions of `--abort-on`. Pure.

use std::collections::VecDeque;

use common::{
    human::failed_ns,
    units::{format_duration, nanoseconds},
};
use hdrhistogram::Histogram;

use crate::{
    engine::{failure::FailureCounts, latency},
    load::{abort::AbortOn, plan::Measuring, slo::Metric},
    result::{
        Aborted, Interval,
        summary::{self, Unanswered},
    },
};

/// The conditions of a run, and the intervals that they cover.
#[derive(Debug)]
pub(crate) struct Watch {
    conditions: Vec<Condition>,
    interval_s: f64,
}

/// A condition, and the last intervals.
#[derive(Debug)]
struct Condition {
    abort_on: AbortOn,
    /// The number of intervals that cover its time, at least 1.
    covering: usize,
    seen: VecDeque<Seen>,
    /// The sum of the response times of `seen`. Only percentiles need it.
    times: Histogram<u64>,
}

/// The part of an interval that a condition needs.
#[derive(Debug)]
struct Seen {
    hdr: String,
    unanswered: Unanswered,
    max_ns: Option<u64>,
    completed: u64,
    failures: u64,
    achieved_per_s: f64,
}

/// A value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Known(f64),
    /// It falls among failed requests, which waited at least this long, in nanoseconds.
    Failed(u64),
}

impl Watch {
    /// The watch of a run.
    pub(crate) fn new(measuring: &Measuring) -> Self {
        let interval_ns = nanoseconds(measuring.interval).max(1);
        let condition = |abort_on: &AbortOn| Condition {
            covering: nanoseconds(abort_on.over).div_ceil(interval_ns).max(1) as usize,
            abort_on: abort_on.clone(),
            seen: VecDeque::new(),
            times: latency::Latency::default().histogram().clone(),
        };
        Self {
            conditions: measuring.abort_on.iter().map(condition).collect(),
            interval_s: measuring.interval.as_secs_f64(),
        }
    }

    /// An interval has ended. Returns the first condition that has held over its time.
    pub(crate) fn interval(&mut self, interval: &Interval, failures: &FailureCounts) -> Option<Aborted> {
        self.conditions.iter_mut().for_each(|condition| condition.add(interval, failures));
        let (condition, value) =
            self.conditions.iter().find_map(|condition| Some((condition, condition.held()?)))?;
        let AbortOn { metric, over, .. } = condition.abort_on;
        let (value, shown) = match value {
            Value::Known(value) => (Some(value), metric.show(value)),
            Value::Failed(longer_than_ns) => (None, failed_ns(longer_than_ns)),
        };
        let written = condition.abort_on.to_string();
        let share = condition.abort_on.own_bound();
        let share =
            share.map_or(String::new(), |bound| format!(" (this part's share of the bound is {bound})"));
        Some(Aborted {
            message: format!(
                "{written}: {metric} was {shown} over the last {}{share}",
                format_duration(over)
            ),
            condition: written,
            at_s: interval.t_s + self.interval_s,
            value,
        })
    }
}

impl Condition {
    fn add(&mut self, interval: &Interval, failures: &FailureCounts) {
        self.sum(&interval.hdr, |times, more| times.add(more).is_ok());
        self.seen.push_back(Seen {
            hdr: interval.hdr.clone(),
            unanswered: Unanswered::of_interval(interval),
            max_ns: interval.max,
            completed: interval.completed,
            failures: failures.sum(),
            achieved_per_s: interval.achieved_per_s,
        });
        if self.seen.len() > self.covering
            && let Some(old) = self.seen.pop_front()
        {
            self.sum(&old.hdr, |times, less| times.subtract(less).is_ok());
        }
    }

    fn sum(&mut self, hdr: &str, change: impl FnOnce(&mut Histogram<u64>, &Histogram<u64>) -> bool) {
        if matches!(self.abort_on.metric, Metric::Percentile(_))
            && let Some(times) = summary::deserialise(hdr)
        {
            let _has_changed = change(&mut self.times, &times);
        }
    }

    /// The value of the metric, if the intervals cover the time and the value meets the condition.
    fn held(&self) -> Option<Value> {
        let value = self.value().filter(|_| self.seen.len() == self.covering)?;
        let is_met = match value {
            Value::Known(value) => self.abort_on.is_met_by(value),
            Value::Failed(_) => true,
        };
        is_met.then_some(value)
    }

    /// The value over the seen intervals. None without a request.
    fn value(&self) -> Option<Value> {
        let unanswered = self.seen.iter().map(|seen| seen.unanswered);
        let unanswered = unanswered.fold(Unanswered::default(), Unanswered::and);
        let sum = |of: fn(&Seen) -> u64| self.seen.iter().map(of).sum::<u64>() as f64;
        match self.abort_on.metric {
            Metric::Percentile(per_million) => percentile(&self.times, unanswered, per_million),
            Metric::Max if unanswered.count > 0 => Some(Value::Failed(unanswered.waited_ns_min)),
            Metric::Max => {
                let max_ns = self.seen.iter().filter_map(|seen| seen.max_ns).max()?;
                Some(Value::Known(max_ns as f64))
            }
            Metric::Errors => {
                let failures = sum(|seen| seen.failures);
                let all = failures + sum(|seen| seen.completed);
                (all > 0.0).then(|| Value::Known(failures / all))
            }
            Metric::Rate => {
                let rates = self.seen.iter().map(|seen| seen.achieved_per_s);
                Some(Value::Known(rates.sum::<f64>() / self.seen.len().max(1) as f64))
            }
            // A condition cannot name these.
            Metric::Mean | Metric::Jain => None,
        }
    }
}

/// A percentile without the minimum of samples that a report needs: a condition must also protect a service with a low rate.
fn percentile(times: &Histogram<u64>, unanswered: Unanswered, per_million: u64) -> Option<Value> {
    let all = times.len() + unanswered.count;
    let rank = (u128::from(all) * u128::from(per_million)).div_ceil(1_000_000).max(1);
    if all == 0 {
        return None;
    }
    if rank > u128::from(times.len()) {
        return Some(Value::Failed(unanswered.waited_ns_min));
    }
    let mut below = 0;
    let step = times.iter_recorded().find(|step| {
        below += u128::from(step.count_at_value());
        below >= rank
    });
    step.map(|step| Value::Known(step.value_iterated_to() as f64))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::{failure::Failure, latency::Latency};

    /// A watch over intervals of 100 ms.
    fn watch(condition: &str) -> Watch {
        Watch::new(&Measuring {
            interval: Duration::from_millis(100),
            kernel_timestamps: false,
            busy_poll: false,
            calibrate: false,
            slo: Vec::new(),
            abort_on: vec![condition.parse().unwrap()],
            until: Vec::new(),
        })
    }

    /// Adds intervals, each given by replies, the time of each, and failed requests. Returns the interval that ends the load.
    fn aborted_at(condition: &str, intervals: &[(u64, u64, u64)]) -> Option<(usize, Aborted)> {
        let mut watch = watch(condition);
        intervals.iter().enumerate().find_map(|(index, (replies, time_ms, failed))| {
            let times = Latency::from_iter((0..*replies).map(|_| time_ms * 1_000_000));
            let unanswered = Unanswered { count: *failed, waited_ns_min: 7_000_000 };
            let rate = *replies as f64 * 10.0;
            let interval = summary::interval(index as f64 / 10.0, rate, times.histogram(), unanswered);
            let mut failures = FailureCounts::default();
            failures.add(Failure::Timeout, *failed);
            Some((index, watch.interval(&interval, &failures)?))
        })
    }

    #[test]
    fn a_condition_must_hold_over_its_whole_time() {
        let (fast, slow) = ((1_000, 1, 0), (1_000, 80, 0));
        for (over, intervals, at) in [
            ("300ms", &[fast, slow, slow, slow, slow][..], Some(2)),
            ("300ms", &[slow, slow], None),
            ("300ms", &[slow, slow, slow], Some(2)),
            // A time between two numbers of intervals is covered completely.
            ("201ms", &[slow, slow, slow], Some(2)),
            ("100ms", &[fast, fast, slow], Some(2)),
            ("300ms", &[fast; 9], None),
        ] {
            let seen = aborted_at(&format!("p99>50ms/{over}"), intervals);
            assert_eq!(seen.map(|(index, _)| index), at, "{over} {intervals:?}");
        }
        // The percentile is that of all replies of the time: 1.9% of them are slow, then 0.9%.
        assert!(aborted_at("p99>50ms/200ms", &[(981, 1, 0), (19, 80, 0)]).is_some());
        assert!(aborted_at("p99>50ms/200ms", &[(991, 1, 0), (9, 80, 0)]).is_none());
        // Old intervals leave the sum.
        assert!(aborted_at("p99>50ms/200ms", &[slow, (100_000, 1, 0), (1_000, 1, 0)]).is_none());
    }

    #[test]
    fn the_report_has_the_condition_the_time_and_the_value() {
        let (_, aborted) = aborted_at("p99>50ms/200ms", &[(10, 80, 0), (10, 80, 0)]).unwrap();
        assert_eq!((aborted.condition.as_str(), aborted.at_s), ("p99>50ms/200ms", 0.2));
        assert!((aborted.value.unwrap() - 80e6).abs() < 1e5);
        assert_eq!(aborted.message, "p99>50ms/200ms: p99 was 80.0 ms over the last 200ms");
    }

    #[test]
    fn failed_requests_are_slower_than_every_other() {
        let (_, aborted) = aborted_at("p50>1h/100ms", &[(10, 1, 11)]).unwrap();
        assert_eq!((aborted.value, aborted.message.contains("failed")), (None, true), "{aborted:?}");
        assert!(aborted_at("max>1h/100ms", &[(1_000, 1, 1)]).is_some());
        assert!(aborted_at("max>1h/100ms", &[(1_000, 1, 0)]).is_none());
    }

    #[test]
    fn errors_are_a_share_and_the_rate_is_a_mean() {
        let (index, aborted) = aborted_at("errors>1%/200ms", &[(99, 1, 1), (98, 1, 2)]).unwrap();
        assert_eq!((index, aborted.value), (1, Some(0.015)));
        assert!(aborted_at("errors>1%/200ms", &[(99, 1, 1), (99, 1, 1)]).is_none());
        // Nothing at all: no error, and no rate.
        assert!(aborted_at("errors>0%/100ms", &[(0, 1, 0)]).is_none());
        assert!(aborted_at("rate<1/100ms", &[(0, 1, 0)]).is_some());
        let (_, aborted) = aborted_at("rate<1k/200ms", &[(100, 1, 0), (98, 1, 0)]).unwrap();
        assert_eq!(aborted.value, Some(990.0));
    }
}
