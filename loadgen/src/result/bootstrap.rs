//! The factor between two servers, or between two times, and its confidence interval. Pure.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::result::metrics::median;

/// The fewest rounds with an interval. Fewer rounds have too few different resamples.
pub(crate) const ROUNDS_MIN: usize = 3;
/// The number of resamples.
const RESAMPLES: usize = 10_000;
/// The share below, and above, a 95% interval.
const TAIL: f64 = 0.025;

/// A ratio and its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The ratio of the medians.
    pub ratio: f64,
    /// The 95% confidence interval. None with too few rounds.
    pub interval: Option<(f64, f64)>,
}

/// The ratio of the medians of two servers' rounds, and its 95% interval. `pairs` holds the server's and the baseline's value
/// of each round. The interval is the percentile bootstrap (Efron, Tibshirani 1993, chapter 13), as Kalibera and Jones (2013,
/// "Rigorous Benchmarking in Reasonable Time") use it for ratios. It draws whole rounds, with both values, as both share the
/// state of the machine.
///
/// With medians, a disturbed round counts no more than another. In a simulation of log-normal rounds, every tenth of them
/// disturbed, the interval contained the true ratio in 93% of the cases with 5 rounds, in 96% with 10, and in only 74% with 3.
/// The interval of the means did in 84%, 88% and 72%. So it is an approximation.
///
/// None without a round, or if a value of the baseline is zero. The same seed gives the same interval.
pub(crate) fn ratio(pairs: &[(f64, f64)], seed: u64) -> Option<Estimate> {
    if pairs.is_empty() || pairs.iter().any(|(_, baseline)| *baseline <= 0.0) {
        return None;
    }
    let ratio = ratio_of_medians(pairs.iter().copied());
    let resample =
        |random: &mut Xoshiro256PlusPlus| ratio_of_medians((0..pairs.len()).map(|_| draw(pairs, random)));
    let interval = (pairs.len() >= ROUNDS_MIN).then(|| interval(resample, seed));
    Some(Estimate { ratio, interval })
}

/// The ratio of the medians of one server's rounds at two times, and its 95% interval. The rounds of both times have nothing in
/// common, so each side is resampled by itself (Efron, Tibshirani 1993, chapter 8). In the same simulation, the interval
/// contained the true ratio in 96% of the cases with 5 rounds on each side, in 95% with 10, and in 92% with 3.
///
/// None without a round on both sides, or if a kept value is zero. The same seed gives the same interval.
pub(crate) fn ratio_to_kept(today: &[f64], kept: &[f64], seed: u64) -> Option<Estimate> {
    if today.is_empty() || kept.is_empty() || kept.iter().any(|value| *value <= 0.0) {
        return None;
    }
    let of = |today: &mut [f64], kept: &mut [f64]| median(today) / median(kept);
    let ratio = of(&mut today.to_vec(), &mut kept.to_vec());
    let again =
        |values: &[f64], random: &mut _| -> Vec<_> { values.iter().map(|_| draw(values, random)).collect() };
    let resample = |random: &mut _| of(&mut again(today, random), &mut again(kept, random));
    let interval = (today.len().min(kept.len()) >= ROUNDS_MIN).then(|| interval(resample, seed));
    Some(Estimate { ratio, interval })
}

fn draw<T: Copy>(values: &[T], random: &mut Xoshiro256PlusPlus) -> T {
    values[random.random_range(0..values.len() as u64) as usize]
}

fn interval(resample: impl Fn(&mut Xoshiro256PlusPlus) -> f64, seed: u64) -> (f64, f64) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut ratios: Vec<_> = (0..RESAMPLES).map(|_| resample(&mut random)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let outside = (RESAMPLES as f64 * TAIL) as usize;
    (ratios[outside], ratios[RESAMPLES - 1 - outside])
}

fn ratio_of_medians(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut values, mut baselines): (Vec<_>, Vec<_>) = pairs.unzip();
    median(&mut values) / median(&mut baselines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(factor: f64, noise: &[f64]) -> Vec<(f64, f64)> {
        let baseline = [100.0, 104.0, 98.0, 101.0, 97.0];
        noise.iter().zip(baseline).map(|(noise, baseline)| (baseline * factor * noise, baseline)).collect()
    }

    #[test]
    fn known_differences_are_found_and_equal_rounds_do_not_differ() {
        let none = [1.0; 5];
        let some = [1.01, 0.98, 1.0, 1.02, 0.99];
        for (factor, noise, holds_one) in
            [(1.0, none, true), (2.0, none, false), (0.5, none, false), (1.0, some, true), (1.2, some, false)]
        {
            let Estimate { ratio, interval } = ratio(&pairs(factor, &noise), 1).unwrap();
            let (low, high) = interval.unwrap();
            assert!((ratio / factor - 1.0).abs() < 0.03, "{factor}: {ratio}");
            assert!(low <= ratio && ratio <= high, "{factor}: {ratio} in {low} to {high}");
            assert_eq!(low <= 1.0 && 1.0 <= high, holds_one, "{factor}: {low} to {high}");
        }
    }

    #[test]
    fn the_same_share_of_the_resamples_is_beyond_each_end() {
        let next = std::cell::Cell::new(0.0);
        let (low, high) = interval(|_| next.replace(next.get() + 1.0), 1);
        assert_eq!(low, (RESAMPLES as f64 * TAIL).floor());
        assert_eq!(high, RESAMPLES as f64 - 1.0 - low);
    }

    #[test]
    fn the_ratio_of_equal_numbers_is_exactly_one() {
        let estimate = ratio(&pairs(1.0, &[1.0; 5]), 1).unwrap();
        assert_eq!(estimate, Estimate { ratio: 1.0, interval: Some((1.0, 1.0)) });
    }

    #[test]
    fn a_round_is_drawn_as_a_pair() {
        // From round to round, the machine's speed changes by a factor of ten, for both servers.
        let drift: Vec<_> =
            (0..5).map(|round| 10_f64.powi(round)).map(|speed| (speed * 1.1, speed)).collect();
        let (low, high) = ratio(&drift, 1).unwrap().interval.unwrap();
        assert!(low > 1.09 && high < 1.11, "{low} to {high}");
    }

    #[test]
    fn too_few_rounds_have_no_interval_and_a_zero_baseline_has_no_ratio() {
        for rounds in 1..ROUNDS_MIN {
            let few = vec![(2.0, 1.0); rounds];
            assert_eq!(ratio(&few, 1), Some(Estimate { ratio: 2.0, interval: None }));
        }
        assert_eq!(ratio(&[], 1), None);
        assert_eq!(ratio(&[(1.0, 0.0), (1.0, 1.0), (1.0, 1.0)], 1), None);
    }

    #[test]
    fn rounds_of_two_times_are_drawn_by_themselves() {
        let (kept, worse) = ([100.0, 104.0, 98.0, 101.0, 97.0], [131.0, 128.0, 133.0]);
        let Estimate { ratio, interval } = ratio_to_kept(&worse, &kept, 1).unwrap();
        let (low, high) = interval.unwrap();
        assert!((ratio - 1.31).abs() < 1e-9 && low > 1.2 && high < 1.4, "{ratio}: {low} to {high}");
        assert!(low < ratio && ratio < high, "{ratio}: {low} to {high}");
        // The same noise on both sides does not cancel out, unlike in a pair.
        let drift = [1.0, 10.0, 100.0];
        let (low, high) = ratio_to_kept(&drift, &drift, 1).unwrap().interval.unwrap();
        assert!(low < 0.2 && high > 5.0, "{low} to {high}");
        // Too few rounds on either side, no round, and a kept value of zero.
        assert_eq!(ratio_to_kept(&worse, &kept[..1], 1), Some(Estimate { ratio: 1.31, interval: None }));
        assert_eq!(ratio_to_kept(&worse[..2], &kept, 1).unwrap().interval, None);
        assert_eq!(ratio_to_kept(&[], &kept, 1), None);
        assert_eq!(ratio_to_kept(&worse, &[], 1), None);
        assert_eq!(ratio_to_kept(&worse, &[1.0, 0.0, 1.0], 1), None);
    }

    #[test]
    fn the_interval_follows_from_the_seed() {
        let pairs = pairs(1.0, &[1.1, 0.9, 1.3, 0.7, 1.05]);
        assert_eq!(ratio(&pairs, 1), ratio(&pairs, 1));
    }
}
