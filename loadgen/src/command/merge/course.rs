//! The windows of the parts on the wall clock, and their intervals on one grid.

use std::{collections::BTreeMap, time::Duration};

use common::units::format_duration;

use super::{MergeError, Part, add};
use crate::{
    engine::latency,
    result::{
        Interval, Report,
        summary::{self, Unanswered},
    },
};

/// The course of the merged load.
#[derive(Debug)]
pub(super) struct Course {
    /// The number of generators.
    pub(super) generators: usize,
    /// The start of the first window.
    pub(super) window_started_at_unix_us: u64,
    /// From the start of the first window to the end of the last.
    pub(super) elapsed_s: f64,
    /// From the start of the first window to the start of the last.
    pub(super) start_skew_ns: u64,
    /// The longest distance by which an interval was moved to the grid: at most half its length.
    pub(super) moved_ns_max: u64,
    /// The merged intervals, on the grid of the first window.
    pub(super) intervals: Vec<Interval>,
}

/// Aligns the windows by wall clock.
pub(super) fn course(parts: &[Part]) -> Result<Course, MergeError> {
    check_overlap(parts)?;
    let start_us = |report: &Report| report.window_started_at_unix_us;
    let origin_us = parts.iter().map(|part| start_us(&part.report)).min().unwrap_or(0);
    let offset_us = |report: &Report| start_us(report) - origin_us;
    let elapsed_s = parts
        .iter()
        .map(|part| offset_us(&part.report) as f64 / 1e6 + part.report.elapsed_s)
        .fold(0.0, f64::max);
    // The last window of a merged result began later than its first: by its own skew.
    let skew_ns = |report: &Report| {
        let own_ns = report.merged.as_ref().map_or(0, |merged| merged.start_skew_ns);
        offset_us(report).saturating_mul(1_000).saturating_add(own_ns)
    };
    let generators = |report: &Report| report.merged.as_ref().map_or(1, |merged| merged.generators);
    let (intervals, moved_ns_max) = intervals(parts, offset_us)?;
    Ok(Course {
        generators: parts.iter().fold(0, |sum, part| sum.saturating_add(generators(&part.report))),
        window_started_at_unix_us: origin_us,
        elapsed_s,
        start_skew_ns: parts.iter().map(|part| skew_ns(&part.report)).max().unwrap_or(0),
        moved_ns_max,
        intervals,
    })
}

/// Checks that there was a time at which all generators measured. Otherwise sums are meaningless.
fn check_overlap(parts: &[Part]) -> Result<(), MergeError> {
    if let Some(part) = parts.iter().find(|part| part.report.elapsed_s <= 0.0) {
        return Err(MergeError::NothingMeasured(part.name.clone()));
    }
    let start_us = |part: &&Part| part.report.window_started_at_unix_us;
    let end_us = |part: &&Part| start_us(part).saturating_add((part.report.elapsed_s * 1e6) as u64);
    if let (Some(first), Some(last)) = (parts.iter().min_by_key(end_us), parts.iter().max_by_key(start_us))
        && end_us(&first) <= start_us(&last)
    {
        return Err(MergeError::Apart {
            first: first.name.clone(),
            second: last.name.clone(),
            gap: format_duration(Duration::from_micros(start_us(&last) - end_us(&first))),
        });
    }
    Ok(())
}

/// The merged intervals, and the longest distance by which one was moved.
fn intervals(parts: &[Part], offset_us: impl Fn(&Report) -> u64) -> Result<(Vec<Interval>, u64), MergeError> {
    let length_s = parts[0].report.plan.interval_s;
    let mut grid: BTreeMap<u64, Vec<(&str, &Interval)>> = BTreeMap::new();
    let mut moved_s_max: f64 = 0.0;
    for Part { name, report } in parts {
        let offset_s = offset_us(report) as f64 / 1e6;
        // All intervals of a generator are moved by the same distance, so that no two of them share a place on the grid.
        let shift = (offset_s / length_s).round();
        moved_s_max = moved_s_max.max((offset_s - shift * length_s).abs());
        for interval in &report.intervals {
            let index = (shift + (interval.t_s / length_s).round()) as u64;
            grid.entry(index).or_default().push((name, interval));
        }
    }
    // One interval at a time: a histogram takes a quarter of a mebibyte, and there may be many intervals.
    let intervals = grid.into_iter().map(|(index, parts)| interval(index as f64 * length_s, &parts));
    Ok((intervals.collect::<Result<_, _>>()?, (moved_s_max * 1e9) as u64))
}

/// The sum of the intervals at one place of the grid.
fn interval(t_s: f64, parts: &[(&str, &Interval)]) -> Result<Interval, MergeError> {
    let achieved_per_s = parts.iter().map(|(_, interval)| interval.achieved_per_s).sum();
    let mut response = latency::Latency::default().histogram().clone();
    for (name, interval) in parts {
        add(&mut response, &interval.hdr, name, "intervals.hdr")?;
    }
    let unanswered = parts.iter().map(|(_, interval)| Unanswered::of_interval(interval));
    let unanswered = unanswered.fold(Unanswered::default(), Unanswered::and);
    Ok(summary::interval(t_s, achieved_per_s, &response, unanswered))
}
