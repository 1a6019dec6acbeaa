//! An interval log, version 1.3: a histogram of the response times for each interval of the window. Tools show how the times
//! changed, or add up selected intervals. The last row holds the replies after the window. The format cannot hold requests
//! without a reply, so comments count them.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow};
use common::human::plural;
use hdrhistogram::serialization::{V2DeflateSerializer, interval_log::IntervalLogWriterBuilder};

use super::histogram;
use crate::result::{Report, summary};

const VERSION: &str = "[Histogram log format version 1.3]";
const UNITS: &str = "[loadgen: response times in nanoseconds; Interval_Max in milliseconds]";
const LEGEND: &str = r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;
/// The divisor of the column with the longest time, which is for people.
const NS_PER_MS: f64 = 1e6;

/// The log of a run. Its times count from the start of the window, which is in the head as wall-clock time.
pub(super) fn write(report: &Report) -> anyhow::Result<Vec<u8>> {
    let (mut text, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let began = SystemTime::UNIX_EPOCH + Duration::from_micros(report.window_started_at_unix_us);
    let mut head = IntervalLogWriterBuilder::new();
    head.add_comment(VERSION).add_comment(UNITS);
    // With both, the reference of the rows' times is unambiguous.
    head.with_start_time(began).with_base_time(began);
    head.begin_log_with(&mut text, &mut serializer)?;
    writeln!(text, "{LEGEND}")?;
    let mut rows = IntervalLogWriterBuilder::new();
    // This also writes the divisor.
    let mut rows = rows.with_max_value_divisor(NS_PER_MS).begin_log_with(&mut text, &mut serializer)?;
    let tail = summary::tail(report).filter(|tail| !tail.hdr.is_empty() && tail.completed + tail.failed > 0);
    let tail = tail.iter().map(|tail| (tail, report.tail.length_s));
    for (interval, length_s) in report.intervals_with_length_s().chain(tail) {
        if interval.t_s >= report.elapsed_s {
            rows.write_comment("[loadgen: after the window, replies to requests that were due in it]")?;
        }
        if let Some(tail) = &interval.failed_tail {
            rows.write_comment(&format!("[loadgen: {} without a reply]", plural(tail.count, "request")))?;
        }
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .with_context(|| format!("an interval cannot begin at {seconds} s or last that long"))
        };
        let place = || format!("the interval at {} s", interval.t_s);
        rows.write_histogram(
            &histogram(&interval.hdr, place)?,
            seconds(interval.t_s)?,
            seconds(length_s)?,
            None,
        )
        .map_err(|error| anyhow!("{} cannot be written as a log: {error}", place()))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::{
        engine::latency::Latency,
        result::{
            summary,
            tests::{with_failures, with_intervals},
        },
    };

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
    fn replies_after_the_window_are_the_last_row_and_failed_requests_are_counted() {
        let mut report = with_failures();
        // The slowest reply arrived after the window.
        let mut inside = Latency::default();
        (0..1_999_u64).for_each(|number| inside.record(40_000 + number * number));
        let failed = summary::Unanswered { count: 20, waited_ns_min: 500_000_000 };
        report.intervals = vec![summary::interval(0.0, 999.5, inside.histogram(), failed)];
        let log = String::from_utf8(write(&report).unwrap()).unwrap();
        let lines = log.lines().skip(6);
        let lines: Vec<_> =
            lines.map(|line| line.split_once(",HIST").map_or(line, |(front, _)| front)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        #[loadgen: 20 requests without a reply]
        0.000,2.000,4.033
        #[loadgen: after the window, replies to requests that were due in it]
        #[loadgen: 10 requests without a reply]
        2.000,0.500,4.037
        ");
    }

    #[test]
    fn an_interval_without_its_histogram_is_an_error() {
        let mut report = with_intervals();
        report.intervals[1].hdr = String::new();
        let error = write(&report).unwrap_err().to_string();
        assert!(error.contains("the interval at 1 s"), "{error}");
        report.intervals[1].t_s = -1.0;
        assert!(write(&report).is_err());
    }
}
