//! The rows of a histogram on a logarithmic axis. Pure.

use hdrhistogram::Histogram;

use crate::{engine::latency::LATENCY_NS_MAX, result::Bar};

/// The fewest rows of a drawn histogram, if the data suffice.
const BARS_MIN: usize = 12;
/// The most rows of a drawn histogram.
const BARS_MAX: usize = 20;

/// The rows of a histogram on a logarithmic axis, including empty rows between others. The steps are the coarsest of 1-2-5,
/// 1-1.5-2-3-5-7 and twelve per decade that give enough rows. If there are more than 20 rows, the first ones are merged.
pub(crate) fn bars(histogram: &Histogram<u64>) -> Vec<Bar> {
    const STEPS: [&[f64]; 3] = [
        &[1.0, 2.0, 5.0],
        &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
        &[1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2],
    ];
    if histogram.is_empty() {
        return Vec::new();
    }
    let all = STEPS.map(|steps| bars_of(histogram, &edges(steps)));
    let [coarse, finer, finest] = all;
    match (coarse.len(), finer.len(), finest.len()) {
        (BARS_MIN.., ..) => coarse,
        (_, BARS_MIN.., _) => finer,
        (_, few, ..=BARS_MAX) if few < BARS_MIN => finest,
        _ => finer,
    }
}

/// The edges of the rows, from 0 to beyond the longest time.
fn edges(steps: &[f64]) -> Vec<u64> {
    let decades =
        (0..).map(|exponent| 10_f64.powi(exponent)).take_while(|unit| *unit <= LATENCY_NS_MAX as f64);
    let edges = decades.flat_map(|unit| steps.iter().map(move |step| (step * unit).round() as u64));
    let mut edges: Vec<_> = std::iter::once(0).chain(edges).collect();
    edges.dedup();
    edges
}

fn bars_of(histogram: &Histogram<u64>, edges: &[u64]) -> Vec<Bar> {
    let mut counts = vec![0; edges.len()];
    for value in histogram.iter_recorded() {
        // The middle of the bucket, as an edge may divide the bucket.
        let time_ns = histogram.median_equivalent(value.value_iterated_to());
        let index = edges.partition_point(|edge| *edge <= time_ns) - 1;
        counts[index] += value.count_at_value();
    }
    let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
    let mut cumulative = 0;
    let total = histogram.len() as f64;
    let bar = |index: usize| {
        cumulative += counts[index];
        Bar {
            from_ns: edges[index],
            to_ns: edges.get(index + 1).copied().unwrap_or(u64::MAX),
            count: counts[index],
            share: counts[index] as f64 / total,
            cumulative_share: cumulative as f64 / total,
        }
    };
    merge_ends((first..=last).map(bar).collect())
}

/// Merges the rows of the shortest times until at most [`BARS_MAX`] rows remain: the long times matter most.
fn merge_ends(mut bars: Vec<Bar>) -> Vec<Bar> {
    if bars.len() > BARS_MAX {
        let merged = bars.len() - BARS_MAX;
        let count = bars[..=merged].iter().map(|bar| bar.count).sum();
        let share = bars[..=merged].iter().map(|bar| bar.share).sum();
        let kept = Bar { from_ns: bars[0].from_ns, count, share, ..bars[merged] };
        bars.splice(..=merged, [kept]);
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::latency::Latency as Samples;

    #[test]
    fn the_rows_hold_every_sample_once_and_reach_the_longest_one() {
        for times in [vec![1], vec![0, 1, 2], (1..200).map(|n| n * n * 1000).collect(), vec![1, u64::MAX]] {
            let samples = Samples::from_iter(times.clone());
            let bars = bars(samples.histogram());
            assert!(bars.len() <= BARS_MAX, "{}", bars.len());
            assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), times.len() as u64);
            assert!((bars.last().unwrap().cumulative_share - 1.0).abs() < 1e-9);
            assert!(bars.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns));
        }
    }

    #[test]
    fn the_steps_are_the_coarsest_that_give_enough_rows() {
        let rows = |hundredths: u32| {
            let times = (0..=hundredths).map(|step| 10_f64.powf(3.0 + f64::from(step) / 100.0) as u64);
            bars(Samples::from_iter(times).histogram()).len()
        };
        // A decade has 3, 6 or 12 rows. The longest time of short ones is in a further row, as histograms are exact there.
        assert_eq!([rows(500), rows(400), rows(200), rows(100)], [15, 12, 13, 13]);
        // The finest steps give 22 rows, of which the first ones are merged.
        assert_eq!(rows(175), BARS_MAX);
    }
}
