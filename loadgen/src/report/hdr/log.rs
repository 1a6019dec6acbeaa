//! An interval log, version 1.3: a histogram of the response times for each part of the window, by which tools see how
//! they changed, or add up the parts they choose.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow};
use hdrhistogram::serialization::{V2DeflateSerializer, interval_log::IntervalLogWriterBuilder};

use super::histogram;
use crate::report::Report;

const VERSION: &str = "[Histogram log format version 1.3]";
const UNITS: &str = "[loadgen: response times in nanoseconds; Interval_Max in milliseconds]";
const LEGEND: &str = r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;
/// The column of the longest time is for people; this is what the libraries divide it by.
const NS_PER_MS: f64 = 1e6;

/// The log of a run. Its times count from the window's beginning, which it says by the clock on the wall.
pub(super) fn write(report: &Report) -> anyhow::Result<Vec<u8>> {
    let (mut text, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let began = SystemTime::UNIX_EPOCH + Duration::from_micros(report.window_started_at_unix_us);
    let mut head = IntervalLogWriterBuilder::new();
    head.add_comment(VERSION).add_comment(UNITS);
    // With both, no reader has to guess what the rows' times count from.
    head.with_start_time(began).with_base_time(began);
    head.begin_log_with(&mut text, &mut serializer)?;
    writeln!(text, "{LEGEND}")?;
    let mut rows = IntervalLogWriterBuilder::new();
    // It also writes the divisor down.
    let mut rows = rows.with_max_value_divisor(NS_PER_MS).begin_log_with(&mut text, &mut serializer)?;
    for (interval, length_s) in report.intervals_with_length_s() {
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .with_context(|| format!("an interval at {seconds} s is none"))
        };
        let of = || format!("the interval at {} s", interval.t_s);
        rows.write_histogram(
            &histogram(&interval.hdr, of)?,
            seconds(interval.t_s)?,
            seconds(length_s)?,
            None,
        )
        .map_err(|error| anyhow!("{} cannot be written as a log: {error}", of()))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::{recording::Latency, report::tests::with_intervals, summary};

    #[test]
    fn each_interval_is_a_row_with_its_histogram() {
        let log = String::from_utf8(write(&with_intervals()).unwrap()).unwrap();
        let lines: Vec<_> =
            log.lines().map(|line| line.split_once(",HIST").map_or(line, |(front, _)| front)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        #[Histogram log format version 1.3]
        #[loadgen: response times in nanoseconds; Interval_Max in milliseconds]
        #[StartTime: 1800000001.000 (seconds since epoch)]
        #[BaseTime: 1800000001.000 (seconds since epoch)]
        "StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
        #[MaxValueDivisor: 1000000.000]
        0.000,1.000,2.000
        1.000,0.500,9.503
        "#);
        let entries: Vec<_> = IntervalLogIterator::new(log.as_bytes()).map(Result::unwrap).collect();
        let mut all = Latency::default().histogram().clone();
        for entry in &entries {
            if let LogEntry::Interval(interval) = entry {
                all.add(summary::deserialise(interval.encoded_histogram()).unwrap()).unwrap();
            }
        }
        assert_eq!(all.len(), 1_500);
    }

    #[test]
    fn an_interval_without_its_histogram_is_no_log() {
        let mut report = with_intervals();
        report.intervals[1].hdr = String::new();
        let said = write(&report).unwrap_err().to_string();
        assert!(said.contains("the interval at 1 s"), "{said}");
        report.intervals[1].t_s = -1.0;
        assert!(write(&report).is_err());
    }
}
