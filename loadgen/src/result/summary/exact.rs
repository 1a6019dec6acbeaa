//! The percentiles of a report against an exact sort of millions of times.
//!
//! A histogram has three significant digits: a percentile is never below the exact time with its rank, and at most 0.1% above
//! it. A percentile of a sorted list is the time with the rank `ceil(p * n)` (the nearest-rank method), the rule of the histogram.

use rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{Quantile, Unanswered, quantile_of, serialise};
use crate::{
    engine::latency::{LATENCY_NS_MAX, Latency},
    result::summary,
};

const SAMPLES: usize = 2_000_000;

/// Times of one distribution, in nanoseconds.
type Distribution = (&'static str, fn(&mut Xoshiro256PlusPlus) -> u64);

fn uniform(random: &mut impl Rng) -> f64 {
    // Not 0, whose logarithm is infinite.
    1.0 - random.random::<f64>()
}

/// From single nanoseconds to the longest time, with one and with several modes.
const DISTRIBUTIONS: [Distribution; 7] = [
    ("all equal", |_| 123_457),
    ("uniform to 4,096 ns", |random| random.random_range(1..4_096)),
    ("uniform to an hour", |random| random.random_range(0..=LATENCY_NS_MAX)),
    ("exponential, mean 250 us", |random| (-uniform(random).ln() * 250_000.0) as u64 + 1),
    // The tail of a service: a tenth of a percent takes seconds.
    ("Pareto, index 1.1", |random| {
        ((50_000.0 * uniform(random).powf(-1.0 / 1.1)) as u64).min(LATENCY_NS_MAX)
    }),
    ("log-uniform", |random| (uniform(random) * (LATENCY_NS_MAX as f64).ln()).exp() as u64),
    ("two modes", |random| match random.random_range(0..1_000) {
        0 => random.random_range(200_000_000..210_000_000),
        _ => random.random_range(90_000..110_000),
    }),
];

/// Every percentile that a report, a table, a curve or an objective can name, in millionths, besides the maximum.
const PER_MILLION: [u64; 16] = [
    1, 1_000, 10_000, 100_000, 250_000, 500_000, 750_000, 900_000, 950_000, 975_000, 990_000, 995_000,
    999_000, 999_900, 999_990, 999_999,
];

fn times(distribution: Distribution, count: usize) -> Vec<u64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    (0..count).map(|_| distribution.1(&mut random)).collect()
}

/// The time with a rank that the method of the nearest rank has for a quantile.
fn exact(sorted: &[u64], per_million: u64) -> u64 {
    let rank = (sorted.len() as u128 * u128::from(per_million)).div_ceil(1_000_000).max(1);
    sorted[rank as usize - 1]
}

/// At most 0.1% above the exact time, and never below it.
fn is_within_the_precision(found: u64, exact: u64) -> bool {
    exact <= found && (found - exact) as f64 <= exact as f64 * 0.001
}

#[test]
fn every_percentile_is_at_most_a_thousandth_above_the_exact_one() {
    for distribution in DISTRIBUTIONS {
        let mut times = times(distribution, SAMPLES);
        let recorded = Latency::from_iter(times.iter().copied());
        times.sort_unstable();
        for per_million in PER_MILLION {
            // At least ten samples lie beyond a percentile that is printed.
            let found = quantile_of(recorded.histogram(), Unanswered::default(), per_million);
            let expected = exact(&times, per_million);
            match found {
                Quantile::Time(found) => assert!(
                    is_within_the_precision(found, expected),
                    "{} {per_million}: {found} for {expected}",
                    distribution.0
                ),
                other => {
                    assert_eq!((other, per_million), (Quantile::Withheld, 999_999), "{}", distribution.0)
                }
            }
        }
        let max = quantile_of(recorded.histogram(), Unanswered::default(), 1_000_000);
        assert!(
            matches!(max, Quantile::Time(max) if is_within_the_precision(max, times[SAMPLES - 1])),
            "{}: {max:?}",
            distribution.0
        );
        let sum: u128 = times.iter().map(|time| u128::from(*time)).sum();
        let (mean, found) = (sum as f64 / SAMPLES as f64, recorded.histogram().mean());
        assert!((found - mean).abs() <= mean * 0.001, "{}: {found} for {mean}", distribution.0);
    }
}

#[test]
fn the_report_has_the_percentiles_of_the_sort() {
    for distribution in DISTRIBUTIONS {
        let mut times = times(distribution, 400_000);
        let latency = summary::latency(&Latency::from_iter(times.iter().copied()));
        times.sort_unstable();
        assert_eq!(latency.count, 400_000);
        for (name, found, per_million) in [
            ("p50", latency.p50, 500_000),
            ("p90", latency.p90, 900_000),
            ("p99", latency.p99, 990_000),
            ("p99.9", latency.p99_9, 999_000),
            ("p99.99", latency.p99_99, 999_900),
            ("max", latency.max, 1_000_000),
        ] {
            let (found, exact) = (found.expect("there are enough samples"), exact(&times, per_million));
            assert!(is_within_the_precision(found, exact), "{} {name}: {found} for {exact}", distribution.0);
        }
    }
}

#[test]
fn unanswered_requests_are_the_end_of_the_sorted_list() {
    // As if each had taken for ever: with 1% of them, the 99th percentile of all is the slowest reply.
    for (count, unanswered) in [(990_000, 10_000), (999_000, 1_000), (500_000, 500_000)] {
        let mut times = times(DISTRIBUTIONS[3], count);
        let recorded = Latency::from_iter(times.iter().copied());
        times.sort_unstable();
        times.resize(count + unanswered, u64::MAX);
        let unanswered = Unanswered { count: unanswered as u64, waited_ns_min: 0 };
        for per_million in PER_MILLION {
            let expected = exact(&times, per_million);
            match quantile_of(recorded.histogram(), unanswered, per_million) {
                Quantile::Time(found) => {
                    assert!(
                        is_within_the_precision(found, expected),
                        "{per_million}: {found} for {expected}"
                    );
                }
                Quantile::Unanswered => assert_eq!(expected, u64::MAX, "{per_million}"),
                Quantile::Withheld => panic!("{per_million}: there are enough samples"),
            }
        }
    }
}

#[test]
fn recording_in_intervals_and_threads_equals_recording_at_once() {
    for distribution in DISTRIBUTIONS {
        let times = times(distribution, 200_000);
        let whole = Latency::from_iter(times.iter().copied());
        // Intervals of random lengths, dealt to three threads, each added up in its own order.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
        let (mut rest, mut threads) = (times.as_slice(), [const { Vec::new() }; 3]);
        while !rest.is_empty() {
            let (interval, after) = rest.split_at(random.random_range(1..=rest.len().min(30_000)));
            threads[random.random_range(0..3)].push(Latency::from_iter(interval.iter().copied()));
            rest = after;
        }
        let mut sums = threads.map(|intervals| {
            let mut sum = Latency::default();
            intervals.iter().rev().for_each(|interval| sum.merge(interval));
            sum
        });
        let texts = sums.each_ref().map(|sum| serialise(sum.histogram()));
        let [one, two, three] = &mut sums;
        // (1 + 2) + 3 = 3 + (2 + 1)
        let mut left = one.clone();
        left.merge(two);
        left.merge(three);
        two.merge(one);
        three.merge(two);
        for sum in [&left, three] {
            assert_eq!(sum.histogram(), whole.histogram(), "{}", distribution.0);
            assert_eq!(serialise(sum.histogram()), serialise(whole.histogram()), "{}", distribution.0);
        }
        let of_texts = summary::sum(texts.iter().map(String::as_str)).expect("they are histograms");
        assert_eq!(&of_texts, whole.histogram());
    }
}
