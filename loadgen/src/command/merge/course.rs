//! The windows of the parts on the wall clock, and their intervals on one grid.

use std::{collections::BTreeMap, mem, time::Duration};

use common::units::format_duration;

use super::{MergeError, Part, distributions::add};
use crate::result::{
    Interval, Report,
    counts::Counts,
    precision::Blocks,
    summary::{self, Unanswered},
};

/// The parts of an interval's length by which the starts of windows are told apart. All parts whose windows began in the same
/// part of an interval share their places on the grid, so that their sums need no more memory than one of them.
const PHASES: u128 = 64;

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
    /// The longest distance by which an interval was moved to the grid: about half its length at most.
    pub(super) moved_ns_max: u64,
    /// The merged intervals, on the grid of the first window.
    pub(super) intervals: Vec<Interval>,
    /// The same in blocks, for the precision of the percentiles.
    pub(super) blocks: Blocks,
}

/// Aligns the windows by wall clock.
pub(super) fn course(parts: &[Part], grid: Grid) -> Result<Course, MergeError> {
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
    let moved_ns = |part: &Part| grid.moved_ns(start_us(&part.report), origin_us);
    let moved_ns_max = parts.iter().map(moved_ns).max().unwrap_or(0);
    let (intervals, blocks) = grid.intervals(origin_us);
    Ok(Course {
        generators: parts.iter().fold(0, |sum, part| sum.saturating_add(generators(&part.report))),
        window_started_at_unix_us: origin_us,
        elapsed_s,
        start_skew_ns: parts.iter().map(|part| skew_ns(&part.report)).max().unwrap_or(0),
        moved_ns_max,
        intervals,
        blocks,
    })
}

/// Checks that there was a time at which all generators measured. Otherwise sums are meaningless.
fn check_overlap(parts: &[Part]) -> Result<(), MergeError> {
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

/// The sums of intervals. Their places are those of the wall clock, as the first window is known only at the end.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// The length of an interval. Zero before the first part.
    length_ns: u64,
    /// By phase and place.
    cells: BTreeMap<(u8, u64), Cell>,
    /// The earliest start of a window of each phase, from the start of its place.
    rests_ns: BTreeMap<u8, u64>,
}

/// The sum of the intervals at one place.
#[derive(Debug, Default)]
struct Cell {
    achieved_per_s: f64,
    response: Counts,
    unanswered: Unanswered,
}

/// The start of a window on the wall clock.
#[derive(Clone, Copy, Debug)]
struct Start {
    place: u64,
    rest_ns: u64,
    phase: u8,
}

impl Grid {
    /// Adds the intervals of a part, and removes them from it.
    ///
    /// # Errors
    /// When an interval has no usable histogram.
    pub(super) fn take(&mut self, name: &str, report: &mut Report) -> Result<(), MergeError> {
        if self.length_ns == 0 {
            self.length_ns = ((report.plan.interval_s * 1e9).round() as u64).max(1);
        }
        let start = self.start(report.window_started_at_unix_us);
        let rest_ns = self.rests_ns.entry(start.phase).or_insert(start.rest_ns);
        *rest_ns = start.rest_ns.min(*rest_ns);
        for mut interval in mem::take(&mut report.intervals) {
            // All intervals of a generator are moved by the same distance, so that no two of them share a place.
            let index = (interval.t_s / self.length_s()).round() as u64;
            let cell = self.cells.entry((start.phase, start.place.saturating_add(index))).or_default();
            cell.achieved_per_s += interval.achieved_per_s;
            cell.unanswered = cell.unanswered.and(Unanswered::of_interval(&interval));
            add(&mut cell.response, &mut interval.hdr, name, "intervals.hdr")?;
        }
        Ok(())
    }

    /// The distance by which the intervals of a window with this start are moved.
    fn moved_ns(&self, start_us: u64, origin_us: u64) -> u64 {
        let (start, origin) = (self.start(start_us), self.start(origin_us));
        let length_ns = i128::from(self.length_ns);
        let offset_ns = i128::from(start.rest_ns) - i128::from(origin.rest_ns);
        (offset_ns - self.shift(start.phase, origin) * length_ns).unsigned_abs() as u64
    }

    /// The merged intervals on the grid of the first window, and their blocks.
    fn intervals(mut self, origin_us: u64) -> (Vec<Interval>, Blocks) {
        let (origin, length_s) = (self.start(origin_us), self.length_s());
        let mut merged: BTreeMap<u64, Cell> = BTreeMap::new();
        for ((phase, place), cell) in mem::take(&mut self.cells) {
            let index = i128::from(place) - i128::from(origin.place) + self.shift(phase, origin);
            let index = u64::try_from(index.max(0)).unwrap_or(u64::MAX);
            match merged.get_mut(&index) {
                Some(known) => known.append(&cell),
                None => _ = merged.insert(index, cell),
            }
        }
        let mut blocks = Blocks::default();
        // One interval at a time: a histogram takes a quarter of a mebibyte.
        let interval = |(index, cell): (u64, Cell)| {
            let Cell { achieved_per_s, response, unanswered } = cell;
            blocks.add(&response, unanswered.count);
            summary::interval(index as f64 * length_s, achieved_per_s, &response.histogram(), unanswered)
        };
        (merged.into_iter().map(interval).collect(), blocks)
    }

    /// The places between a window of this phase at the place of the first window, and the first window.
    fn shift(&self, phase: u8, origin: Start) -> i128 {
        let rest_ns = self.rests_ns.get(&phase).copied().unwrap_or(0);
        let length_ns = i128::from(self.length_ns.max(1));
        let offset_ns = i128::from(rest_ns) - i128::from(origin.rest_ns);
        (2 * offset_ns + length_ns).div_euclid(2 * length_ns)
    }

    fn start(&self, start_us: u64) -> Start {
        let length_ns = u128::from(self.length_ns.max(1));
        let start_ns = u128::from(start_us) * 1_000;
        let rest_ns = start_ns % length_ns;
        Start {
            place: u64::try_from(start_ns / length_ns).unwrap_or(u64::MAX),
            rest_ns: rest_ns as u64,
            phase: (rest_ns * PHASES / length_ns) as u8,
        }
    }

    fn length_s(&self) -> f64 {
        self.length_ns.max(1) as f64 / 1e9
    }
}

impl Cell {
    fn append(&mut self, other: &Self) {
        self.achieved_per_s += other.achieved_per_s;
        self.response.append(&other.response);
        self.unanswered = self.unanswered.and(other.unanswered);
    }
}
