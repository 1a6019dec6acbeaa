//! A distribution by percentile: the text of the HdrHistogram libraries' `outputPercentileDistribution`, which their
//! plotter reads.

use std::io;

use hdrhistogram::Histogram;

/// Values are printed in milliseconds.
const NS_PER_MS: f64 = 1e6;
/// How many percentiles there are until the distance to 100% is halved, each time; the libraries' default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Prints the distribution. Values have six decimals instead of the three that belong to three significant digits: in
/// milliseconds, three would cut replies that take microseconds.
pub(super) fn write(histogram: &Histogram<u64>, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut count = 0;
    // Of an empty histogram, the iterator would say that all of its samples are zero.
    let steps = (!histogram.is_empty()).then(|| histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE));
    for step in steps.into_iter().flatten() {
        count = step.count_since_last_iteration().saturating_add(count);
        let (value, quantile) = (ms(step.value_iterated_to() as f64), step.quantile_iterated_to());
        write!(out, "{value:>12.6} {quantile:>14.12} {count:>10}")?;
        // The last one's is infinite, and left out.
        if quantile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, stdev, max) = (ms(histogram.mean()), ms(histogram.stdev()), ms(histogram.max() as f64));
    writeln!(out, "#[Mean    = {mean:>12.6}, StdDeviation   = {stdev:>12.6}]")?;
    writeln!(out, "#[Max     = {max:>12.6}, Total count    = {:>12}]", histogram.len())?;
    let (buckets, sub_buckets) = buckets(histogram);
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]")
}

/// How the histogram is laid out: how often its range doubles, and into how many steps each doubling is divided. As in
/// the libraries, the steps are a power of two that tells twice as many values apart as the significant digits ask for,
/// and the first is as wide as the greatest power of two that is not over the lowest value.
fn buckets(histogram: &Histogram<u64>) -> (u32, u64) {
    let sub_buckets = (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two();
    let first = u128::from(sub_buckets) << histogram.low().ilog2();
    let is_reached = |buckets: &u32| first << (buckets - 1) > u128::from(histogram.high());
    // A value has 64 bits.
    (1..=64).find(is_reached).map_or((64, sub_buckets), |buckets| (buckets, sub_buckets))
}

fn ms(time_ns: f64) -> f64 {
    time_ns / NS_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Latency;

    fn text(times_ns: impl IntoIterator<Item = u64>) -> String {
        let mut samples = Latency::default();
        times_ns.into_iter().for_each(|time_ns| samples.record(time_ns));
        let mut text = Vec::new();
        write(samples.histogram(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_distribution_is_printed_as_the_libraries_do() {
        insta::assert_snapshot!(text([1_000, 2_000, 2_000, 3_000, 40_000_000]), @r"
               Value     Percentile TotalCount 1/(1-Percentile)

            0.001000 0.000000000000          1           1.00
            0.001000 0.100000000000          1           1.11
            0.001000 0.200000000000          1           1.25
            0.002000 0.300000000000          3           1.43
            0.002000 0.400000000000          3           1.67
            0.002000 0.500000000000          3           2.00
            0.002000 0.550000000000          3           2.22
            0.003001 0.600000000000          4           2.50
            0.003001 0.650000000000          4           2.86
            0.003001 0.700000000000          4           3.33
            0.003001 0.750000000000          4           4.00
            0.003001 0.775000000000          4           4.44
           40.009727 0.800000000000          5           5.00
           40.009727 1.000000000000          5
        #[Mean    =     8.000269, StdDeviation   =    15.996538]
        #[Max     =    40.009727, Total count    =            5]
        #[Buckets =           32, SubBuckets     =         2048]
        ");
    }

    #[test]
    fn a_distribution_of_nothing_has_no_row() {
        insta::assert_snapshot!(text([]), @r"
               Value     Percentile TotalCount 1/(1-Percentile)

        #[Mean    =     0.000000, StdDeviation   =     0.000000]
        #[Max     =     0.000000, Total count    =            0]
        #[Buckets =           32, SubBuckets     =         2048]
        ");
    }

    #[test]
    fn the_layout_is_that_of_the_libraries() {
        // As the Java and the Python library say of these bounds.
        for (low, high, digits, expected) in [
            (1, 3_600_000_000_000, 3, (32, 2_048)),
            (1, 3_600_000_000, 3, (22, 2_048)),
            (1, 100_000, 2, (10, 256)),
            (1_000, 3_600_000_000, 3, (13, 2_048)),
            (1, u64::MAX, 3, (54, 2_048)),
        ] {
            let histogram = Histogram::new_with_bounds(low, high, digits).unwrap();
            assert_eq!(buckets(&histogram), expected, "{low} to {high}, {digits} digits");
        }
    }
}
