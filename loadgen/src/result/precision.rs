//! How precisely a run knows its percentiles. Pure.
//!
//! Requests that follow each other are alike: a slow moment of the server makes many of them slow. A formula for independent samples
//! does not know that, and gives intervals that are far too narrow. So the window is divided into blocks of whole intervals. The share of
//! slow requests differs from block to block, and the variance of these shares gives the confidence interval of the share. The
//! distribution of all requests turns it into an interval of times. This needs no assumption about the distribution of the times.
//! The blocks should be longer than the time for which the server stays slow, so they grow with the run.
//!
//! R. S. Woodruff, "Confidence intervals for medians and other position measures", 1952 (here with one cluster for each block);
//! B. Schmeiser, "Batch size effects in the analysis of simulation output", 1982 (10 to 30 blocks; more are no better).

mod goal;

use std::mem;

use serde::{Deserialize, Serialize};

pub(crate) use self::goal::{Goal, outcome};
use crate::result::{counts::Counts, summary::samples_needed};

/// With fewer blocks, the interval is too uncertain itself.
const BLOCKS_MIN: usize = 10;
/// This many blocks become half as many, each twice as long.
const BLOCKS_MAX: usize = 40;
/// The confidence of an interval.
const CONFIDENCE: f64 = 0.95;
/// The quantile of the normal distribution that has half of the rest beyond it.
const NORMAL_QUANTILE: f64 = 1.959_963_985;
/// The percentiles of a result: their names, and in millionths.
static PERCENTILES: [(&str, u64); 5] =
    [("p50", 500_000), ("p90", 900_000), ("p99", 990_000), ("p99_9", 999_000), ("p99_99", 999_900)];

/// The confidence intervals of the percentiles of the response time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Precision {
    /// The probability with which such an interval contains the true value, if the load and the server stay as they were.
    pub confidence: f64,
    /// The number of blocks.
    pub blocks: usize,
    /// The length of a block.
    pub block_s: f64,
    /// The percentiles with an interval.
    pub percentiles: Vec<KnownPercentile>,
}

/// A percentile and its confidence interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KnownPercentile {
    /// The name, as in [`Latency`](crate::result::Latency).
    pub name: String,
    /// The lower end of the interval, in nanoseconds.
    pub low: u64,
    /// The upper end. None if it lies beyond the longest response time, or among requests without a reply.
    pub high: Option<u64>,
}

/// A percentile and its interval, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    /// The percentile.
    value: u64,
    /// The lower end.
    low: u64,
    /// The upper end, if it is known.
    high: Option<u64>,
}

/// The response times of the window so far, in blocks of whole intervals.
#[derive(Debug)]
pub(crate) struct Blocks {
    closed: Vec<Block>,
    /// The block that is being filled, and the number of its intervals so far.
    open: Block,
    intervals: u64,
    /// The number of intervals of a block.
    intervals_per_block: u64,
}

/// The requests of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    times: Counts,
    /// Requests without a reply, which are slower than all others.
    unanswered: u64,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            closed: Vec::with_capacity(BLOCKS_MAX),
            open: Block::default(),
            intervals: 0,
            intervals_per_block: 1,
        }
    }
}

impl Blocks {
    /// Adds the next interval.
    pub(crate) fn add(&mut self, times: &Counts, unanswered: u64) {
        self.open.add(times, unanswered);
        self.intervals += 1;
        if self.intervals >= self.intervals_per_block {
            self.closed.push(mem::take(&mut self.open));
            self.intervals = 0;
            if self.closed.len() == BLOCKS_MAX {
                self.closed = self.closed.chunks(2).map(Block::sum).collect();
                self.intervals_per_block *= 2;
            }
        }
    }

    /// The bounds of a percentile in millionths. None with too few blocks or samples, or if it falls among the requests without a reply.
    fn bounds(&self, per_million: u64) -> Option<Bounds> {
        bounds(&self.closed, per_million)
    }

    /// The same from the first half of the blocks.
    fn bounds_of_first_half(&self, per_million: u64) -> Option<Bounds> {
        bounds(&self.closed[..self.closed.len() / 2], per_million)
    }

    /// The number of blocks.
    fn count(&self) -> usize {
        self.closed.len()
    }

    /// The number of intervals in the blocks. It grows with each complete block.
    fn complete_intervals(&self) -> u64 {
        self.closed.len() as u64 * self.intervals_per_block
    }

    /// The confidence intervals of all percentiles. None with too few blocks.
    pub(crate) fn precision(&self, interval_s: f64) -> Option<Precision> {
        let percentiles = PERCENTILES.iter().filter_map(|(name, per_million)| {
            let Bounds { low, high, .. } = self.bounds(*per_million)?;
            Some(KnownPercentile { name: (*name).to_owned(), low, high })
        });
        let percentiles: Vec<_> = percentiles.collect();
        (!percentiles.is_empty()).then(|| Precision {
            confidence: CONFIDENCE,
            blocks: self.count(),
            block_s: interval_s * self.intervals_per_block as f64,
            percentiles,
        })
    }
}

impl Block {
    /// All requests of several blocks.
    fn sum(blocks: &[Self]) -> Self {
        let mut sum = Self::default();
        blocks.iter().for_each(|block| sum.add(&block.times, block.unanswered));
        sum
    }

    fn add(&mut self, times: &Counts, unanswered: u64) {
        self.times.append(times);
        self.unanswered = self.unanswered.saturating_add(unanswered);
    }

    fn requests(&self) -> u64 {
        self.times.samples().saturating_add(self.unanswered)
    }

    /// The number of requests that took longer than this time.
    fn slower_than(&self, time_ns: u64) -> u64 {
        self.times.above(time_ns).saturating_add(self.unanswered)
    }

    /// The time of this rank, from 1. None if the rank belongs to a request without a reply, or to none.
    fn of_rank(&self, rank: u64) -> Option<u64> {
        self.times.of_rank(rank)
    }
}

/// The bounds of a percentile from these blocks.
fn bounds(blocks: &[Block], per_million: u64) -> Option<Bounds> {
    let whole = Block::sum(blocks);
    let requests = whole.requests();
    if blocks.len() < BLOCKS_MIN || requests < samples_needed(per_million) {
        return None;
    }
    let share = per_million as f64 / 1e6;
    let rank = |share: f64| (requests as f64 * share).ceil().max(1.0) as u64;
    let value = whole.of_rank(rank(share))?;
    let slow_share = whole.slower_than(value) as f64 / requests as f64;
    // The variance of a ratio of two sums over the blocks: slow requests and requests.
    let count = blocks.len() as f64;
    let deviation = |block: &Block| block.slower_than(value) as f64 - slow_share * block.requests() as f64;
    let squares = blocks.iter().map(|block| deviation(block).powi(2)).sum::<f64>();
    let standard_error = (count / (count - 1.0) * squares).sqrt() / requests as f64;
    let half = student_quantile(count - 1.0) * standard_error;
    let low = whole.of_rank(rank(share - half))?;
    Some(Bounds { value, low, high: whole.of_rank(rank(share + half)) })
}

impl Bounds {
    /// Half of the width, as a share of the percentile. None if the upper end is unknown.
    fn half_width(&self) -> Option<f64> {
        Some((self.high? - self.low) as f64 / 2.0 / self.value.max(1) as f64)
    }
}

/// The two-sided 95% quantile of Student's t distribution with these degrees of freedom, from 9 up with an error below 0.02%
/// (Abramowitz and Stegun, 26.7.5).
fn student_quantile(freedom: f64) -> f64 {
    let z = NORMAL_QUANTILE;
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
    use rand_distr::{Distribution, Exp1, StandardNormal};

    use super::*;

    fn blocks(intervals: impl IntoIterator<Item = (Vec<u64>, u64)>) -> Blocks {
        let mut blocks = Blocks::default();
        for (times_ns, unanswered) in intervals {
            blocks.add(&times_ns.into_iter().collect(), unanswered);
        }
        blocks
    }

    #[test]
    fn students_quantiles_are_those_of_the_tables() {
        for (freedom, quantile) in [(9.0, 2.262_157), (19.0, 2.093_024), (39.0, 2.022_691), (1e6, 1.959_966)]
        {
            let found = student_quantile(freedom);
            assert!((found / quantile - 1.0).abs() < 2e-4, "{freedom}: {found}");
        }
        // Here each term counts: computed apart from this formula.
        assert!((student_quantile(1.0) - 9.710_584).abs() < 1e-6);
    }

    #[test]
    fn blocks_grow_with_the_run_and_lose_no_request() {
        let mut blocks = Blocks::default();
        for index in 0..1_000_u64 {
            blocks.add(&[index % 7 + 1, 2_000].into_iter().collect(), index % 2);
            assert!(blocks.count() < BLOCKS_MAX);
            let open = blocks.open.requests();
            let closed = blocks.closed.iter().map(Block::requests).sum::<u64>();
            assert_eq!(open + closed, 2 * (index + 1) + index.div_ceil(2), "{index}");
            assert_eq!(blocks.complete_intervals() + blocks.intervals, index + 1);
        }
        assert!(blocks.count() >= BLOCKS_MAX / 2);
        assert_eq!(blocks.intervals_per_block, 32);
        assert_eq!(blocks.precision(0.5).unwrap().block_s, 16.0);
    }

    #[test]
    fn an_interval_needs_blocks_and_samples() {
        let alike = |count| blocks((0..count).map(|_| ((1..=100).collect(), 0)));
        assert_eq!(alike(9).bounds(500_000), None);
        let ten = alike(10);
        assert_eq!(ten.bounds(500_000), Some(Bounds { value: 50, low: 50, high: Some(50) }));
        assert_eq!(ten.bounds(990_000), Some(Bounds { value: 99, low: 99, high: Some(99) }));
        assert_eq!(ten.bounds(999_000), None, "10 samples must lie beyond it");
        assert_eq!(ten.bounds_of_first_half(500_000), None);
        assert_eq!(alike(20).bounds_of_first_half(500_000).unwrap().value, 50);
        let precision = ten.precision(0.5).unwrap();
        assert_eq!((precision.blocks, precision.block_s), (10, 0.5));
        let names: Vec<_> = precision.percentiles.iter().map(|percentile| percentile.name.as_str()).collect();
        assert_eq!(names, ["p50", "p90", "p99"]);
        assert_eq!(alike(9).precision(0.5), None);
    }

    /// Two kinds of blocks: the interval follows from a variance that can be computed by hand.
    #[test]
    fn the_interval_is_that_of_the_variance_between_blocks() {
        // Of 1,000 requests in a block, 400 or 600 take one of 1,000 long times.
        let block = |slow: u64| {
            let fast = (0..1_000 - slow).map(|number| 1 + number % 900);
            (fast.chain((0..slow).map(|number| 1_000 + number % 1_000)).collect::<Vec<_>>(), 0)
        };
        let found = blocks((0..10).map(|index| block(if index % 2 == 0 { 400 } else { 600 })))
            .bounds(500_000)
            .unwrap();
        // The share of slow requests is 0.5; its standard error is sqrt(10/9 x 10 x 100^2) / 10,000 = 0.0333; x 2.262 = 0.0754.
        // So the ends are the ranks 4,246 and 5,754 of 10,000.
        assert_eq!(found.value, 600);
        let all: Vec<_> = (0..10).flat_map(|index| block(if index % 2 == 0 { 400 } else { 600 }).0).collect();
        let rank = |rank: usize| {
            let mut sorted = all.clone();
            sorted.sort_unstable();
            sorted[rank - 1]
        };
        assert!(found.low.abs_diff(rank(4_246)) <= 1, "{found:?}");
        assert!(found.high.unwrap().abs_diff(rank(5_754)) <= 1, "{found:?}");
    }

    #[test]
    fn requests_without_a_reply_are_the_slowest() {
        // A tenth has no reply, but for a few blocks with more.
        let found = |per_million, more: u64| {
            blocks((0..10).map(|index| ((1..=90).collect(), 10 + more * (index % 2)))).bounds(per_million)
        };
        assert_eq!(found(500_000, 0), Some(Bounds { value: 50, low: 50, high: Some(50) }));
        assert_eq!(found(950_000, 0), None);
        // 13.5% have no reply, and blocks differ by 8 points: p85 has a value, and its interval reaches beyond the replies.
        let bounds = found(850_000, 8).unwrap();
        assert_eq!((bounds.value, bounds.high), (89, None), "{bounds:?}");
        assert!(bounds.low < 89, "{bounds:?}");
    }

    #[test]
    fn the_half_width_is_a_share_of_the_percentile() {
        let bounds = Bounds { value: 1_000, low: 960, high: Some(1_080) };
        assert_eq!(bounds.half_width(), Some(0.06));
        assert_eq!(Bounds { high: None, ..bounds }.half_width(), None);
    }

    /// The share of runs whose interval contains the true median, for times that depend on those before them. `memory` is the
    /// correlation of neighbours.
    fn coverage(memory: f64, intervals: usize, is_by_blocks: bool) -> f64 {
        const RUNS: u64 = 300;
        let covered = (0..RUNS).filter(|seed| {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(*seed);
            let mut state: f64 = StandardNormal.sample(&mut random);
            let of_interval = || {
                let times = (0..50).map(|_| {
                    let next: f64 = StandardNormal.sample(&mut random);
                    state = memory * state + (1.0 - memory * memory).sqrt() * next;
                    (100_000.0 * state.exp()) as u64
                });
                (times.collect::<Vec<_>>(), 0)
            };
            let blocks = blocks(std::iter::repeat_with(of_interval).take(intervals));
            let found = if is_by_blocks { blocks.bounds(500_000) } else { independent(&blocks) };
            let Bounds { low, high, .. } = found.unwrap();
            (low..=high.unwrap()).contains(&100_000)
        });
        covered.count() as f64 / RUNS as f64
    }

    /// The interval that a formula for independent samples gives.
    fn independent(blocks: &Blocks) -> Option<Bounds> {
        let whole = Block::sum(&blocks.closed);
        let requests = whole.requests() as f64;
        let half = NORMAL_QUANTILE * 0.5 / requests.sqrt();
        let of = |share: f64| whole.of_rank((requests * share).ceil() as u64);
        Some(Bounds { value: of(0.5)?, low: of(0.5 - half)?, high: of(0.5 + half) })
    }

    #[test]
    fn intervals_contain_the_true_value_as_often_as_they_say() {
        // 300 runs tell a coverage of 95% within 2.5 points (two standard errors).
        for memory in [0.0, 0.9] {
            let share = coverage(memory, 60, true);
            assert!((0.92..=0.98).contains(&share), "{memory}: {share}");
        }
        // The same requests, with the formula for independent ones.
        let naive = coverage(0.9, 60, false);
        assert!(naive < 0.6, "{naive}");
    }

    #[test]
    fn longer_runs_give_narrower_intervals() {
        let width = |intervals: usize| {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
            let of_interval = || {
                let times = (0..1_000).map(|_| {
                    let time: f64 = Exp1.sample(&mut random);
                    (1e6 * time) as u64 + random.random_range(0..10)
                });
                (times.collect::<Vec<_>>(), 0)
            };
            blocks(std::iter::repeat_with(of_interval).take(intervals))
                .bounds(990_000)
                .unwrap()
                .half_width()
                .unwrap()
        };
        let (short, long) = (width(20), width(320));
        // Sixteen times the samples: a quarter of the width.
        assert!((2.5..6.5).contains(&(short / long)), "{short} {long}");
    }
}
