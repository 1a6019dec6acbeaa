//! The precision that a run shall reach, and what to say if it did not. Pure.

use std::time::Duration;

use common::{
    human::{duration_ns, percent},
    units::format_duration,
};

use super::{BLOCKS_MIN, Blocks, Bounds};
use crate::{
    load::{slo::Metric, until::Until},
    result::SloOutcome,
};

/// The precision must hold this often in a row, each time with a further block. Who looks often sees a narrow interval by chance.
const IN_A_ROW: u32 = 2;
/// With every doubling of the time, the width falls by a factor of 0.71. If it falls by less than this from the first half of the run
/// to the whole, it will not fall for long.
const FALL_MAX: f64 = 0.9;

/// The precision that ends a load.
#[derive(Debug)]
pub(crate) struct Goal {
    until: Vec<Until>,
    /// The number of intervals in complete blocks at the last check.
    checked: u64,
    /// How often in a row the precision has held.
    held: u32,
}

impl Goal {
    /// All of these must be reached. None: the load has no such goal.
    pub(crate) fn new(until: &[Until]) -> Self {
        Self { until: until.to_vec(), checked: 0, held: 0 }
    }

    /// Whether the goal is reached. To be called after each interval.
    pub(crate) fn is_reached(&mut self, blocks: &Blocks) -> bool {
        if self.until.is_empty() || blocks.complete_intervals() == self.checked {
            return false;
        }
        self.checked = blocks.complete_intervals();
        let holds =
            self.until.iter().all(|until| is_precise(until, half_width(blocks.bounds(until.per_million))));
        self.held = if holds { self.held + 1 } else { 0 };
        self.held >= IN_A_ROW
    }
}

fn half_width(bounds: Option<Bounds>) -> Option<f64> {
    bounds.and_then(|bounds| bounds.half_width())
}

fn is_precise(until: &Until, half_width: Option<f64>) -> bool {
    half_width.is_some_and(|half| half <= until.half_width)
}

/// How precisely the percentile is known after `elapsed_s`.
pub(crate) fn outcome(until: &Until, blocks: &Blocks, elapsed_s: f64) -> SloOutcome {
    let bounds = blocks.bounds(until.per_million);
    let half = half_width(bounds);
    let met = is_precise(until, half);
    let (metric, time) =
        (Metric::Percentile(until.per_million), |time_s: f64| duration_ns((time_s * 1e9) as u64));
    let message = match (bounds, half) {
        (Some(Bounds { value, low, high: Some(high) }), Some(half)) => {
            let known = format!(
                "{until}: {metric} is {} ± {} after {} (95%: {} to {})",
                duration_ns(value),
                percent(half),
                time(elapsed_s),
                duration_ns(low),
                duration_ns(high)
            );
            match met {
                true => known,
                false => format!("{known}; {}", prospect(until, blocks, half, elapsed_s)),
            }
        }
        (Some(Bounds { value, .. }), _) => format!(
            "{until}: {metric} is {}, and the upper end of its interval is unknown after {}; use a longer --duration",
            duration_ns(value),
            time(elapsed_s)
        ),
        (None, _) => format!(
            "{until}: the interval of {metric} is unknown after {}: it takes {BLOCKS_MIN} intervals, and ten replies beyond the \
             percentile; use a longer --duration or a shorter --interval",
            time(elapsed_s)
        ),
    };
    SloOutcome { slo: until.to_string(), met, actual: half, failed: false, message }
}

/// How long the precision would take.
fn prospect(until: &Until, blocks: &Blocks, half: f64, elapsed_s: f64) -> String {
    match half_width(blocks.bounds_of_first_half(until.per_million)) {
        Some(before) if half > before * FALL_MAX => format!(
            "a longer run would not help: in its first half it was known to ± {}, so the response times change over time",
            percent(before)
        ),
        // The width falls with the square root of the time.
        _ => format!(
            "± {} takes about {}",
            percent(until.half_width),
            format_duration(Duration::from_secs(
                (elapsed_s * (half / until.half_width).powi(2)).ceil() as u64
            ))
        ),
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
    use rand_distr::{Distribution, Exp1};

    use super::*;

    /// An interval with 200 exponential times of this mean.
    fn interval(random: &mut Xoshiro256PlusPlus, mean_ns: f64) -> Vec<u64> {
        let times = (0..200).map(|_| {
            let time: f64 = Exp1.sample(random);
            (mean_ns * time) as u64 + 1
        });
        times.collect()
    }

    fn blocks(intervals: impl IntoIterator<Item = Vec<u64>>) -> Blocks {
        let mut blocks = Blocks::default();
        for times_ns in intervals {
            blocks.add(&times_ns.into_iter().collect(), 0);
        }
        blocks
    }

    fn until(text: &str) -> Until {
        text.parse().unwrap()
    }

    /// The number of intervals until the goal is reached, and whether the interval of the median contains the true value then.
    fn run(seed: u64, goal: &str) -> (usize, bool) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (mut blocks, mut goal) = (Blocks::default(), Goal::new(&[until(goal)]));
        for count in 1..10_000 {
            blocks.add(&interval(&mut random, 1e6).into_iter().collect(), 0);
            if goal.is_reached(&blocks) {
                let Bounds { low, high, .. } = blocks.bounds(500_000).unwrap();
                let truth = (1e6 * std::f64::consts::LN_2) as u64;
                // The error of the histogram comes on top.
                return (count, (low - low / 1_000..=high.unwrap() * 1_001 / 1_000).contains(&truth));
            }
        }
        panic!("the goal is not reached");
    }

    #[test]
    fn a_narrower_goal_takes_longer_and_the_intervals_still_hold() {
        let runs: Vec<_> = (0..200).map(|seed| run(seed, "p50±2%")).collect();
        let covered = runs.iter().filter(|(_, is_covered)| *is_covered).count();
        // Repeated looks cost some coverage: 200 runs tell 92% within 4 points.
        assert!(covered >= 176, "{covered} of 200");
        let mean = |runs: &[(usize, bool)]| runs.iter().map(|(count, _)| count).sum::<usize>() / runs.len();
        let wide: Vec<_> = (0..50).map(|seed| run(seed, "p50±4%")).collect();
        assert!(mean(&runs) > 2 * mean(&wide), "{} {}", mean(&runs), mean(&wide));
    }

    #[test]
    fn without_a_goal_nothing_is_reached() {
        let blocks = blocks((0..20).map(|_| vec![1, 2, 3]));
        assert!(!Goal::new(&[]).is_reached(&blocks));
    }

    #[test]
    fn all_goals_must_hold_twice_with_a_further_block_between() {
        let mut blocks = blocks((0..9).map(|_| (1..=2_000).collect()));
        let mut goal = Goal::new(&[until("p50±2%"), until("p99±2%")]);
        let mut next = |times: Vec<u64>| {
            blocks.add(&times.into_iter().collect(), 0);
            (goal.is_reached(&blocks), goal.is_reached(&blocks))
        };
        // The tenth block makes it known, the eleventh confirms it.
        assert_eq!(next((1..=2_000).collect()), (false, false));
        assert_eq!(next((1..=2_000).collect()), (true, false));
        let mut only_one = Goal::new(&[until("p50±2%"), until("p99.99±2%")]);
        assert!(!only_one.is_reached(&blocks) && !only_one.is_reached(&blocks));
    }

    #[test]
    fn the_outcome_says_how_precise_it_is_and_what_it_would_take() {
        let message = |goal: &str, blocks: &Blocks| {
            let SloOutcome { met, message, .. } = outcome(&until(goal), blocks, 20.0);
            (met, message)
        };
        let alike = blocks((0..20).map(|_| (1..=1_000).map(|number| number * 1_000).collect()));
        let (met, text) = message("p99±1%", &alike);
        assert!(
            met && text.starts_with("p99±1%: p99 is 990 µs ± 0.0% after 20.0 s (95%: 990 µs to 990 µs)"),
            "{text}"
        );
        let (met, text) = message("p99.99±1%", &alike);
        assert!(!met && text.contains("the interval of p99.99 is unknown after 20.0 s"), "{text}");
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let steady = blocks((0..20).map(|_| interval(&mut random, 1e6)));
        let (met, text) = message("p90±0.1%", &steady);
        assert!(!met && text.contains("; ± 0.1% takes about "), "{text}");
        // A server that becomes slower and slower.
        let slower = blocks((0..20).map(|number| interval(&mut random, 1e6 * 1.2_f64.powi(number))));
        let (met, text) = message("p90±1%", &slower);
        assert!(!met && text.contains("a longer run would not help"), "{text}");
    }
}
