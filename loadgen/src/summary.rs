//! From histograms to numbers for the report. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};

use crate::{
    recording::{LATENCY_NS_MAX, Latency as Samples},
    report::{Bar, Interval, Latency},
};

/// Samples that must lie beyond a percentile for it to be more than chance.
pub const SAMPLES_BEYOND: u64 = 10;
/// The fewest rows of a drawn histogram that are worth it, where the data reach so far.
const BARS_MIN: usize = 12;
/// The most rows that are taken in at a glance.
const BARS_MAX: usize = 20;

/// A percentile, or None where too few samples stand behind it: at least ten must lie beyond it, as a single
/// outlier more or less would otherwise move it. The median stands as soon as there is one sample.
///
/// `per_10_000` is the percentile in hundredths of a percent, from 0 to 10,000.
pub fn percentile(histogram: &Histogram<u64>, per_10_000: u64) -> Option<u64> {
    quantile(histogram, per_10_000 * 100)
}

/// Like [`percentile`], in millionths: from 0 to 1,000,000.
pub fn quantile(histogram: &Histogram<u64>, per_million: u64) -> Option<u64> {
    let enough = histogram.len() >= samples_needed(per_million);
    enough.then(|| clamp(histogram.value_at_quantile(per_million as f64 / 1e6)))
}

/// How many samples it takes for a percentile in millionths to stand. Nothing stands behind the last one.
pub fn samples_needed(per_million: u64) -> u64 {
    match 1_000_000_u64.saturating_sub(per_million) {
        0 => u64::MAX,
        500_000.. => 1,
        beyond => (SAMPLES_BEYOND * 1_000_000).div_ceil(beyond),
    }
}

/// The longest sample, if there is one.
pub fn max(histogram: &Histogram<u64>) -> Option<u64> {
    (!histogram.is_empty()).then(|| clamp(histogram.max()))
}

/// Everything the report says of one distribution.
pub fn latency(samples: &Samples) -> Latency {
    distribution(samples.histogram())
}

/// The same of a histogram that was added up from results.
pub fn distribution(histogram: &Histogram<u64>) -> Latency {
    let any = !histogram.is_empty();
    Latency {
        count: histogram.len(),
        min: any.then(|| histogram.min()),
        mean: any.then(|| histogram.mean()),
        stdev: any.then(|| histogram.stdev()),
        p50: percentile(histogram, 5_000),
        p90: percentile(histogram, 9_000),
        p99: percentile(histogram, 9_900),
        p99_9: percentile(histogram, 9_990),
        p99_99: percentile(histogram, 9_999),
        max: max(histogram),
        hdr: serialise(histogram),
    }
}

/// A part of the window, whose response times these are. `achieved_per_s` are its replies a second.
pub fn interval(
    t_s: f64,
    completed: u64,
    failed: u64,
    achieved_per_s: f64,
    response: &Histogram<u64>,
) -> Interval {
    Interval {
        t_s,
        completed,
        failed,
        achieved_per_s,
        p50: percentile(response, 5_000),
        p90: percentile(response, 9_000),
        p99: percentile(response, 9_900),
        p99_9: percentile(response, 9_990),
        max: max(response),
        hdr: serialise(response),
    }
}

/// How many replies each client got, as a serialised histogram with a sample for each client.
pub fn replies(clients: impl Iterator<Item = u64>) -> String {
    let mut samples = Samples::default();
    clients.for_each(|replies| samples.record(replies));
    serialise(samples.histogram())
}

/// The rows of a histogram on a logarithmic axis: the coarsest of 1-2-5, 1-1.5-2-3-5-7 and twelve steps a decade
/// that gives enough rows, with lone outliers' empty neighbours included. At most 20 rows: what is beyond them
/// goes into the first and the last.
pub fn bars(histogram: &Histogram<u64>) -> Vec<Bar> {
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
        // The middle of the samples' range: its ends may lie on two sides of an edge.
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

/// Merges the shortest times' rows until few enough remain: what is long is what matters.
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

/// A histogram's upper ends may exceed the range by its precision.
fn clamp(value_ns: u64) -> u64 {
    value_ns.min(LATENCY_NS_MAX)
}

/// A histogram in base64, as [`deserialise`] reads it.
pub fn serialise(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("writing into memory does not fail, and the bounds are within the format's");
    STANDARD.encode(bytes)
}

/// Reads what [`serialise`] wrote; None where it is something else.
pub fn deserialise(hdr: &str) -> Option<Histogram<u64>> {
    Deserializer::new().deserialize(&mut STANDARD.decode(hdr).ok()?.as_slice()).ok()
}

/// The samples of several serialised histograms together; None where one of them cannot be read.
pub fn sum<'a>(hdrs: impl IntoIterator<Item = &'a str>) -> Option<Histogram<u64>> {
    let mut sum = Samples::default().histogram().clone();
    hdrs.into_iter().try_for_each(|hdr| sum.add(deserialise(hdr)?).ok())?;
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(times_ns: impl IntoIterator<Item = u64>) -> Samples {
        let mut samples = Samples::default();
        times_ns.into_iter().for_each(|time_ns| samples.record(time_ns));
        samples
    }

    #[test]
    fn a_percentile_stands_when_ten_samples_lie_beyond_it() {
        for (count, per_10_000, given) in [
            (0, 5_000, false),
            (1, 5_000, true),
            (99, 9_000, false),
            (100, 9_000, true),
            (999, 9_900, false),
            (1_000, 9_900, true),
            (9_999, 9_990, false),
            (10_000, 9_990, true),
            (99_999, 9_999, false),
            (100_000, 9_999, true),
        ] {
            let samples = samples((0..count).map(|_| 5));
            assert_eq!(percentile(samples.histogram(), per_10_000).is_some(), given, "{count} {per_10_000}");
        }
    }

    #[test]
    fn the_serialised_histogram_holds_every_sample() {
        let samples = samples((1..=1000).map(|number| number * 1_000));
        let summary = latency(&samples);
        assert_eq!(deserialise(&summary.hdr).as_ref(), Some(samples.histogram()));
        assert_eq!((summary.count, summary.min), (1000, Some(1_000)));
        assert!((summary.mean.unwrap() - 500_500.0).abs() < 500.0);
    }

    #[test]
    fn histograms_are_added_and_never_averaged() {
        let [fast, slow] =
            [samples(vec![10; 99]), samples([1_000])].map(|samples| serialise(samples.histogram()));
        let both = sum([fast.as_str(), slow.as_str()]).unwrap();
        assert_eq!((both.len(), both.value_at_quantile(0.99), both.max()), (100, 10, 1_000));
        assert_eq!(sum([fast.as_str(), "nonsense"]), None);
        assert!(sum([]).unwrap().is_empty());
    }

    #[test]
    fn no_sample_says_nothing() {
        let summary = latency(&samples([]));
        assert_eq!((summary.min, summary.mean, summary.p50, summary.max), (None, None, None, None));
        assert!(bars(samples([]).histogram()).is_empty());
    }

    #[test]
    fn the_rows_hold_every_sample_once_and_reach_the_longest() {
        for times in [vec![1], vec![0, 1, 2], (1..200).map(|n| n * n * 1000).collect(), vec![1, u64::MAX]] {
            let samples = samples(times.clone());
            let bars = bars(samples.histogram());
            assert!(bars.len() <= BARS_MAX, "{}", bars.len());
            assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), times.len() as u64);
            assert!((bars.last().unwrap().cumulative_share - 1.0).abs() < 1e-9);
            assert!(bars.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns));
        }
    }
}
