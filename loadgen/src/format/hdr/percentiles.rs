//! A distribution by percentile, as the HdrHistogram libraries' `outputPercentileDistribution` prints it for their plotter.

use std::io;

use hdrhistogram::Histogram;

use crate::result::FailedTail;

/// Values are printed in milliseconds.
const NS_PER_MS: f64 = 1e6;
/// The number of rows in which the distance to 100% halves: the default of the libraries.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Prints the distribution. Values are milliseconds with six decimals; the usual three would cut replies that take
/// microseconds.
///
/// Requests without a reply count as the slowest: percentiles include them, and the rows end where they begin. A comment
/// counts them.
pub(super) fn write(
    histogram: &Histogram<u64>,
    failed_tail: Option<&FailedTail>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let (replied, failed) = (histogram.len(), failed_tail.map_or(0, |tail| tail.count));
    let mut all = histogram.clone();
    // At the end of the range, failed requests are slower than every sample. Recording 0 of them would still move the maximum.
    if failed > 0 {
        all.saturating_record_n(all.high(), failed);
    }
    // For an empty histogram, the iterator would give a row of zeros.
    let steps = (!histogram.is_empty()).then(|| all.iter_quantiles(TICKS_PER_HALF_DISTANCE));
    let (mut count, mut last) = (0_u64, 0.0);
    for step in steps.into_iter().flatten() {
        count = step.count_since_last_iteration().saturating_add(count);
        if count > replied {
            break;
        }
        last = step.quantile_iterated_to();
        write_row(step.value_iterated_to(), last, count, out)?;
    }
    let from = replied as f64 / replied.saturating_add(failed).max(1) as f64;
    if failed > 0 && replied > 0 && last < from {
        let longest = histogram.highest_equivalent(histogram.max());
        write_row(longest, from, replied, out)?;
    }
    write_trailer(histogram, replied.saturating_add(failed), out)?;
    match failed_tail.filter(|tail| tail.count > 0) {
        Some(tail) => write_failed(tail, from, out),
        None => Ok(()),
    }
}

/// Prints the comment on the requests without a reply, which begin at the quantile `from`.
fn write_failed(tail: &FailedTail, from: f64, out: &mut dyn io::Write) -> io::Result<()> {
    let (failed, longer_than) = (tail.count, ms(tail.longer_than_ns as f64));
    writeln!(
        out,
        "#[Failed  = {failed:>12}, FromPercentile = {from:>14.12}, LongerThan = {longer_than:.6}]"
    )?;
    writeln!(
        out,
        "# Failed requests got no reply and count as the slowest. Mean, StdDeviation and Max cover the other requests."
    )
}

fn write_row(value_ns: u64, quantile: f64, count: u64, out: &mut dyn io::Write) -> io::Result<()> {
    write!(out, "{:>12.6} {quantile:>14.12} {count:>10}", ms(value_ns as f64))?;
    // Infinite in the last row, and omitted there.
    if quantile < 1.0 {
        write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
    }
    writeln!(out)
}

/// Writes what the libraries print after the rows. `total` includes the failed requests.
fn write_trailer(histogram: &Histogram<u64>, total: u64, out: &mut dyn io::Write) -> io::Result<()> {
    let (mean, stdev, max) = (ms(histogram.mean()), ms(histogram.stdev()), ms(histogram.max() as f64));
    writeln!(out, "#[Mean    = {mean:>12.6}, StdDeviation   = {stdev:>12.6}]")?;
    writeln!(out, "#[Max     = {max:>12.6}, Total count    = {total:>12}]")?;
    let (buckets, sub_buckets) = buckets(histogram);
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]")
}

/// The layout of the histogram: the number of buckets, each of which doubles the range, and of steps in a bucket. As in the
/// libraries, the steps are a power of two, at least twice the values that the significant digits distinguish. The width of
/// the first step is the greatest power of two up to the lowest value.
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
    use crate::engine::latency::Latency;

    fn text(times_ns: impl IntoIterator<Item = u64>) -> String {
        text_with(times_ns, None)
    }

    fn text_with(times_ns: impl IntoIterator<Item = u64>, failed_tail: Option<&FailedTail>) -> String {
        let mut samples = Latency::default();
        times_ns.into_iter().for_each(|time_ns| samples.record(time_ns));
        let mut text = Vec::new();
        write(samples.histogram(), failed_tail, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_distribution_is_printed_as_by_the_libraries() {
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
    fn an_empty_distribution_has_no_row() {
        insta::assert_snapshot!(text([]), @r"
               Value     Percentile TotalCount 1/(1-Percentile)

        #[Mean    =     0.000000, StdDeviation   =     0.000000]
        #[Max     =     0.000000, Total count    =            0]
        #[Buckets =           32, SubBuckets     =         2048]
        ");
    }

    #[test]
    fn the_rows_end_where_the_failed_requests_begin() {
        let tail = FailedTail { count: 2, longer_than_ns: 500_000_000, ..FailedTail::default() };
        insta::assert_snapshot!(text_with([1_000, 2_000, 2_000, 3_000, 3_000, 40_000_000], Some(&tail)), @r"
               Value     Percentile TotalCount 1/(1-Percentile)

            0.001000 0.000000000000          1           1.00
            0.001000 0.100000000000          1           1.11
            0.002000 0.200000000000          3           1.25
            0.002000 0.300000000000          3           1.43
            0.003001 0.400000000000          5           1.67
            0.003001 0.500000000000          5           2.00
            0.003001 0.550000000000          5           2.22
            0.003001 0.600000000000          5           2.50
           40.009727 0.650000000000          6           2.86
           40.009727 0.700000000000          6           3.33
           40.009727 0.750000000000          6           4.00
        #[Mean    =     6.667391, StdDeviation   =    14.903819]
        #[Max     =    40.009727, Total count    =            8]
        #[Buckets =           32, SubBuckets     =         2048]
        #[Failed  =            2, FromPercentile = 0.750000000000, LongerThan = 500.000000]
        # Failed requests got no reply and count as the slowest. Mean, StdDeviation and Max cover the other requests.
        ");
        // Without any reply, there is no row.
        insta::assert_snapshot!(text_with([], Some(&tail)), @r"
               Value     Percentile TotalCount 1/(1-Percentile)

        #[Mean    =     0.000000, StdDeviation   =     0.000000]
        #[Max     =     0.000000, Total count    =            2]
        #[Buckets =           32, SubBuckets     =         2048]
        #[Failed  =            2, FromPercentile = 0.000000000000, LongerThan = 500.000000]
        # Failed requests got no reply and count as the slowest. Mean, StdDeviation and Max cover the other requests.
        ");
    }

    #[test]
    fn the_layout_matches_the_libraries() {
        // The values of the Java and the Python library for these bounds.
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
