//! The intervals of a run in bounded memory. Pure.
//!
//! A run of hours with short intervals has so many of them that their histograms would fill the memory. Beyond a bound, two
//! neighbours become one: the oldest two first, then the next two, and so on, and from the start again. No sample is lost, and the
//! newest intervals are the shortest.

use std::{collections::VecDeque, mem};

use crate::result::{
    Interval,
    summary::{self, Unanswered},
};

/// The memory of the intervals. One with some hundreds of requests takes less than a kilobyte, so an hour of intervals of 50 ms is kept
/// as it is.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// The intervals of a run so far, in order.
#[derive(Debug)]
pub(super) struct Kept {
    /// Those that this pass has joined.
    joined: Vec<Interval>,
    /// Those after them, which the pass has not reached.
    rest: VecDeque<Interval>,
    bytes: usize,
    bytes_max: usize,
    joins: u64,
}

impl Kept {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { joined: Vec::new(), rest: VecDeque::new(), bytes: 0, bytes_max, joins: 0 }
    }

    /// Adds an interval, and joins others if their memory exceeds the bound.
    pub(super) fn push(&mut self, interval: Interval) {
        self.bytes += bytes(&interval);
        self.rest.push_back(interval);
        while self.bytes > self.bytes_max && self.join() {}
    }

    /// How often two neighbours were joined.
    pub(super) fn joins(&self) -> u64 {
        self.joins
    }

    pub(super) fn into_intervals(mut self) -> Vec<Interval> {
        self.joined.extend(self.rest);
        self.joined
    }

    /// Joins the next two neighbours. False if there are too few intervals.
    fn join(&mut self) -> bool {
        // The length of the last interval is unknown.
        if self.rest.len() < 3 {
            self.joined.extend(mem::take(&mut self.rest));
            self.rest = mem::take(&mut self.joined).into();
        }
        if self.rest.len() < 3 {
            return false;
        }
        let (Some(first), Some(second)) = (self.rest.pop_front(), self.rest.pop_front()) else {
            return false;
        };
        self.bytes -= bytes(&first) + bytes(&second);
        let both = join(&first, &second, self.rest[0].t_s);
        self.bytes += bytes(&both);
        self.joined.push(both);
        self.joins += 1;
        true
    }
}

/// The memory of an interval, about.
fn bytes(interval: &Interval) -> usize {
    size_of::<Interval>() + interval.hdr.capacity()
}

/// Two neighbours as one interval. The second one ended at `end_s`.
fn join(first: &Interval, second: &Interval, end_s: f64) -> Interval {
    let (first_s, second_s) = (second.t_s - first.t_s, end_s - second.t_s);
    let replies = first.achieved_per_s * first_s + second.achieved_per_s * second_s;
    let whole_s = first_s + second_s;
    let times = summary::sum([first.hdr.as_str(), second.hdr.as_str()])
        .expect("both texts are of this process, which has serialised them");
    summary::interval(
        first.t_s,
        if whole_s > 0.0 { replies / whole_s } else { 0.0 },
        &times,
        Unanswered::of_interval(first).and(Unanswered::of_interval(second)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::latency::Latency;

    /// Interval number `index`, of one second, with `index + 1` replies of `index + 1` milliseconds.
    fn interval(index: u64) -> Interval {
        let times: Latency = (0..=index).map(|_| (index + 1) * 1_000_000).collect();
        let unanswered = Unanswered { count: index % 2, waited_ns_min: 7_000_000 };
        summary::interval(index as f64, (index + 1) as f64, times.histogram(), unanswered)
    }

    fn kept(count: u64, bytes_max: usize) -> (Vec<Interval>, u64) {
        let mut kept = Kept::new(bytes_max);
        (0..count).for_each(|index| kept.push(interval(index)));
        let joins = kept.joins();
        (kept.into_intervals(), joins)
    }

    #[test]
    fn intervals_within_the_bound_are_kept_as_they_are() {
        let all: Vec<_> = (0..50).map(interval).collect();
        assert_eq!(kept(50, BYTES_MAX), (all, 0));
    }

    #[test]
    fn beyond_the_bound_neighbours_are_joined_and_nothing_is_lost() {
        let bytes_max = 20 * bytes(&interval(99));
        let (intervals, joins) = kept(100, bytes_max);
        assert_eq!(intervals.len() as u64, 100 - joins);
        assert!(intervals.iter().map(bytes).sum::<usize>() <= bytes_max);
        assert!(intervals.len() >= 8, "no more are joined than necessary: {}", intervals.len());
        assert_eq!(intervals.iter().map(|interval| interval.completed).sum::<u64>(), 5_050);
        assert_eq!(intervals.iter().map(|interval| interval.failed).sum::<u64>(), 50);
        let mut begins_s = intervals.iter().map(|interval| interval.t_s);
        assert_eq!(begins_s.next(), Some(0.0));
        assert!(begins_s.is_sorted(), "{intervals:?}");
        // The samples of an interval are those that were recorded in its time, and its rate is the mean.
        let ends_s = intervals.iter().skip(1).map(|next| next.t_s).chain([100.0]);
        for (interval, end_s) in intervals.iter().zip(ends_s) {
            let of_parts = |of: fn(f64) -> f64| {
                (interval.t_s as u64..end_s as u64).map(|part| of(part as f64)).sum::<f64>()
            };
            assert_eq!(interval.completed as f64, of_parts(|part| part + 1.0));
            let mean = of_parts(|part| part + 1.0) / (end_s - interval.t_s);
            assert!((interval.achieved_per_s - mean).abs() < 1e-9 * mean, "{interval:?}");
        }
        let newest = interval(99);
        assert_eq!(intervals.last(), Some(&newest));
    }

    #[test]
    fn a_bound_below_two_intervals_still_keeps_the_samples() {
        let (intervals, _) = kept(10, 1);
        assert_eq!(intervals.iter().map(|interval| interval.completed).sum::<u64>(), 55);
        assert_eq!(intervals.len(), 2);
    }
}
