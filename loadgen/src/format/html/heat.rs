//! The heat map of a run: the response times of each interval, as shares of its requests.

use std::borrow::Cow;

use common::human::{count, duration_ns, plural};

use super::{
    axis::Axis,
    curve,
    palette::{AXIS, HEAT},
    parts::seconds,
    plot::{Plot, Tile},
};
use crate::result::{Interval, Report, summary};

/// The most columns. With more intervals, neighbours share a column.
const COLUMNS_MAX: usize = 300;
/// The bands of latency, which have the same width on the logarithmic scale.
const BANDS: u32 = 40;
/// The least share of each tint of [`HEAT`] after the first.
const SHARES_MIN: [f64; 8] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1];
/// The names of the tints.
const SHARES: [&str; 9] =
    ["below 0.01%", "from 0.01%", "0.03%", "0.1%", "0.3%", "1%", "3%", "10%", "30% to 100%"];
/// The most spans of time that the description lists.
const SPANS_MAX: usize = 3;

/// A span of time, from and to, in seconds after the window's start.
type Span = (f64, f64);

/// Neighbouring intervals.
#[derive(Debug, PartialEq)]
struct Column {
    span: Span,
    /// The response times in nanoseconds that were seen, each with the number of its requests, in rising order. None if the
    /// result does not hold them.
    times: Option<Vec<(u64, u64)>>,
    /// The requests that failed.
    failed: u64,
}

impl Column {
    fn completed(&self) -> u64 {
        self.times.iter().flatten().fold(0, |sum: u64, (_, requests)| sum.saturating_add(*requests))
    }

    fn is_all_failed(&self) -> bool {
        self.failed > 0 && self.times.as_ref().is_some_and(Vec::is_empty)
    }

    fn is_empty(&self) -> bool {
        self.failed == 0 && self.times.as_ref().is_some_and(Vec::is_empty)
    }
}

/// The heat map. None with a single interval, whose distribution is that of the whole run, and if no interval has its times.
pub(super) fn map(report: &Report) -> Option<Plot> {
    let merged = report.intervals.len().div_ceil(COLUMNS_MAX);
    let columns = columns(report, merged.max(1));
    let times = || columns.iter().flat_map(|column| column.times.iter().flatten());
    if report.intervals.len() < 2 || times().next().is_none() {
        return None;
    }
    let y = Axis::times(times().map(|(time_ns, _)| (*time_ns).max(1) as f64));
    let mut tiles: Vec<_> = columns.iter().flat_map(|column| tiles(column, &y)).collect();
    let unknown = columns.iter().filter(|column| column.times.is_none());
    tiles.extend(unknown.map(|column| Tile { x: column.span, y: Some(y.ends()), tint: &AXIS }));
    let has_failed = columns.iter().any(|column| column.failed > 0);
    let mut tints: Vec<_> = HEAT.iter().zip(SHARES.map(Cow::from)).collect();
    if columns.iter().any(|column| column.times.is_none()) {
        tints.push((&AXIS, "times that the result does not hold".into()));
    }
    let row = if has_failed { " The row at the top: requests that failed." } else { "" };
    Some(Plot {
        title: "Response times over time".to_owned(),
        caption: format!(
            "Colour: the share of an interval's requests with a response time in the band. A request belongs to the interval of \
             its reply, so a stall is a gap and then a column that reaches high.{row}"
        ),
        in_words: in_words(report, &columns, merged),
        tiles,
        scale: ("Share of the requests:", tints),
        row_above: if has_failed { "failed" } else { "" },
        failures: joined(columns.iter().filter(|column| column.is_all_failed())),
        failures_are: "every request failed",
        pauses: curve::pauses(report),
        remark: remark(report, &y, merged),
        is_broad: true,
        ..Plot::new(Axis::elapsed(report.elapsed_s), y, Vec::new())
    })
}

/// The columns, each with this number of intervals. The last one may have fewer.
fn columns(report: &Report, merged: usize) -> Vec<Column> {
    let spans = curve::spans(report);
    let column = |(intervals, spans): (&[Interval], &[Span])| {
        let answered = intervals.iter().filter(|interval| interval.completed > 0);
        let sum = summary::sum(answered.map(|interval| interval.hdr.as_str()));
        let failed = intervals.iter().map(|interval| interval.failed).fold(0, u64::saturating_add);
        let steps = |times: hdrhistogram::Histogram<u64>| {
            let step = |value| (times.median_equivalent(value), times.count_at(value));
            times.iter_recorded().map(|each| step(each.value_iterated_to())).collect()
        };
        // A chunk is never empty.
        let span = (spans[0].0, spans[spans.len() - 1].1);
        Column { span, times: sum.map(steps), failed }
    };
    report.intervals.chunks(merged).zip(spans.chunks(merged)).map(column).collect()
}

/// The tiles of a column. Neighbouring bands of one tint are one tile.
fn tiles(column: &Column, y: &Axis) -> Vec<Tile> {
    let all = column.completed().saturating_add(column.failed);
    let mut bands = [0_u64; BANDS as usize];
    for (time_ns, requests) in column.times.iter().flatten() {
        let band = (y.position((*time_ns).max(1) as f64) * f64::from(BANDS)) as usize;
        let band = &mut bands[band.min(BANDS as usize - 1)];
        *band = band.saturating_add(*requests);
    }
    let mut tiles = Vec::new();
    let mut first = 0;
    for same in bands.chunk_by(|one, other| level(*one, all) == level(*other, all)) {
        let next = first + same.len();
        if let Some(level) = level(same[0], all) {
            let y = Some((edge(first, y), edge(next, y)));
            tiles.push(Tile { x: column.span, y, tint: &HEAT[level] });
        }
        first = next;
    }
    let failed = level(column.failed, all).map(|level| Tile { x: column.span, y: None, tint: &HEAT[level] });
    tiles.into_iter().chain(failed).collect()
}

/// The place of the tint of a share in [`HEAT`]. None for no request.
fn level(requests: u64, all: u64) -> Option<usize> {
    let share = requests as f64 / all as f64;
    (requests > 0).then(|| SHARES_MIN.iter().filter(|least| share >= **least).count())
}

/// The lower end of a band, in nanoseconds.
fn edge(band: usize, y: &Axis) -> f64 {
    let (from, _) = y.ends();
    from * band_width(y).powf(band as f64)
}

/// The factor between the ends of a band.
fn band_width(y: &Axis) -> f64 {
    let (from, to) = y.ends();
    (to / from).powf(1.0 / f64::from(BANDS))
}

/// The spans of columns in rising order, those side by side as one.
fn joined<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<Span> {
    let mut all: Vec<Span> = Vec::new();
    for Column { span: (from_s, to_s), .. } in columns {
        match all.last_mut() {
            Some((_, end_s)) if *end_s == *from_s => *end_s = *to_s,
            _ => all.push((*from_s, *to_s)),
        }
    }
    all
}

/// What a column and a band are, and which requests are in no column.
fn remark(report: &Report, y: &Axis, merged: usize) -> String {
    // Neighbours may have been joined, to bound the memory of a long run.
    let is_longer = |(from_s, to_s): &Span| to_s - from_s > 1.5 * report.plan.interval_s;
    let or_more = if curve::spans(report).iter().any(is_longer) { " or more" } else { "" };
    let interval = format!("{}{or_more}", seconds(report.plan.interval_s));
    let columns = match merged {
        1 => format!("Each column is an interval of {interval}"),
        several => format!(
            "Each column is the sum of {several} intervals of {interval}, since there are {} of them",
            count(report.intervals.len() as u64)
        ),
    };
    let later = match report.tail.completed.saturating_add(report.tail.failed) {
        0 => String::new(),
        later => format!(" Not shown, as the outcome came after the window: {}.", plural(later, "request")),
    };
    format!("{columns}. In each band, the longest time is {:.2} times the shortest.{later}", band_width(y))
}

fn in_words(report: &Report, columns: &[Column], merged: usize) -> String {
    let length = seconds(report.plan.interval_s * merged as f64);
    let mut words = format!(
        "A heat map of the response times over time, in {} of {length}",
        plural(columns.len() as u64, "column")
    );
    let longest = columns.iter().filter_map(|column| Some((column.times.as_ref()?.last()?.0, column.span)));
    // Of several, the first one.
    let longest = longest.reduce(|one, other| if other.0 > one.0 { other } else { one });
    if let Some((time_ns, span)) = longest {
        words += &format!(". The longest time, {}, is {}", duration_ns(time_ns), named(&[span]));
    }
    let empty = joined(columns.iter().filter(|column| column.is_empty()));
    if !empty.is_empty() {
        words += &format!(". No reply and no failure {}", named(&empty));
    }
    let failed = joined(columns.iter().filter(|column| column.is_all_failed()));
    if !failed.is_empty() {
        words += &format!(". Every request failed {}", named(&failed));
    }
    words
}

/// Spans in words.
fn named(spans: &[Span]) -> String {
    let name = |(from_s, to_s): &Span| format!("between {} and {}", seconds(*from_s), seconds(*to_s));
    let first: Vec<_> = spans.iter().take(SPANS_MAX).map(name).collect();
    let more = match spans.len().saturating_sub(SPANS_MAX) {
        0 => String::new(),
        more => format!(", and in {}", plural(more as u64, "more span")),
    };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::latency::Latency,
        result::{summary::Unanswered, tests::example},
    };

    /// A report with an interval of a second for each of these, with its response times and the number of its failures.
    fn report(intervals: &[(&[u64], u64)]) -> Report {
        let mut report = example();
        report.elapsed_s = intervals.len() as f64;
        let interval = |(second, (times, failed)): (usize, &(&[u64], u64))| {
            let unanswered = Unanswered { count: *failed, waited_ns_min: 1 };
            let times = Latency::from_iter(times.iter().copied());
            summary::interval(second as f64, times.histogram().len() as f64, times.histogram(), unanswered)
        };
        report.intervals = intervals.iter().enumerate().map(interval).collect();
        report
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_share_has_a_tint_of_its_size() {
        for (requests, all, expected) in [
            (0, 0, None),
            (0, 10, None),
            (1, 1_000_000, Some(0)),
            (1, 10_000, Some(1)),
            (1, 1_000, Some(3)),
            (29, 100, Some(7)),
            (30, 100, Some(8)),
            (1, 1, Some(8)),
        ] {
            assert_eq!(level(requests, all), expected, "{requests} of {all}");
        }
        assert_eq!(HEAT.len(), SHARES_MIN.len() + 1);
    }

    #[test]
    fn the_bands_of_a_column_hold_all_of_its_requests() {
        let y = Axis::times([1e5, 1e9].into_iter());
        let times: Vec<_> =
            (0..40).map(|band| f64::midpoint(edge(band, &y), edge(band + 1, &y)) as u64).collect();
        // Each band has one request, the lowest has five, and one request failed.
        let all = [&[100_000; 4], times.as_slice()].concat();
        let report = report(&[(&all, 1), (&[], 0)]);
        let column = &columns(&report, 1)[0];
        assert_eq!((column.completed(), column.failed), (44, 1));
        let tiles = tiles(column, &y);
        let found: Vec<_> = tiles.iter().map(|tile| (tile.y, tile.tint.name())).collect();
        let (from, to) = y.ends();
        let [(Some(low), first), (Some(high), second), (None, failed)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((first, second, failed), (&HEAT[7].name(), &HEAT[5].name(), &HEAT[5].name()));
        assert_eq!((low.0, low.1), (from, high.0));
        assert!((low.1 / edge(1, &y) - 1.0).abs() < 1e-9 && (high.1 / to - 1.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_stall_is_a_gap_and_then_a_column_that_reaches_high() {
        let quick: &[u64] = &[MS; 100];
        let late: Vec<_> = (1..=300).map(|number| number * MS).collect();
        let plot = map(&report(&[(quick, 0), (&[], 0), (&[], 0), (&late, 0), (quick, 0)])).unwrap();
        let of = |from_s: f64| plot.tiles.iter().filter(move |tile| tile.x.0 == from_s);
        assert_eq!([of(1.0).count(), of(2.0).count()], [0, 0]);
        let highest = |from_s| of(from_s).filter_map(|tile| Some(tile.y?.1)).fold(0.0, f64::max);
        assert!(highest(3.0) > 100.0 * highest(0.0), "{:?}", plot.tiles);
        for part in [
            "5 columns of 1.00 s",
            "300 ms, is between 3.00 s and 4.00 s",
            "No reply and no failure between 1.00 s and 3.00 s",
        ] {
            assert!(plot.in_words.contains(part), "{part} is not in {}", plot.in_words);
        }
        assert!((plot.failures.is_empty(), plot.row_above) == (true, ""), "{plot:?}");
        assert!(plot.remark.starts_with("Each column is an interval of 1.00 s."), "{}", plot.remark);
    }

    #[test]
    fn intervals_without_a_reply_are_marked_and_side_by_side_as_one() {
        let plot = map(&report(&[(&[MS], 0), (&[], 5), (&[], 6), (&[MS, MS], 2)])).unwrap();
        assert_eq!(plot.failures, [(1.0, 3.0)]);
        let above: Vec<_> = plot.tiles.iter().filter(|tile| tile.y.is_none()).collect();
        let tints: Vec<_> = above.iter().map(|tile| (tile.x.0, tile.tint.name())).collect();
        assert_eq!(tints, [1.0, 2.0, 3.0].map(|from_s| (from_s, HEAT[8].name())));
        assert!(plot.row_above == "failed" && plot.caption.contains("requests that failed"), "{plot:?}");
        assert!(
            plot.in_words.contains("Every request failed between 1.00 s and 3.00 s"),
            "{}",
            plot.in_words
        );
    }

    #[test]
    fn many_intervals_share_columns_and_lose_no_request() {
        let one: (&[u64], u64) = (&[MS, 2 * MS], 1);
        for (intervals, merged, shown) in [(300, 1, 300), (301, 2, 151)] {
            let report = report(&vec![one; intervals]);
            let columns = columns(&report, merged);
            assert_eq!(columns.len(), shown);
            let sum = |of: fn(&Column) -> u64| columns.iter().map(of).sum::<u64>();
            assert_eq!(
                (sum(Column::completed), sum(|column| column.failed)),
                (2 * intervals as u64, intervals as u64)
            );
            assert_eq!((columns[0].span.0, columns[shown - 1].span.1), (0.0, intervals as f64));
            let remark = map(&report).unwrap().remark;
            let shared = format!("the sum of {merged} intervals of 1.00 s");
            assert_eq!(remark.contains(&shared), merged > 1, "{remark}");
        }
    }

    #[test]
    fn without_times_or_with_one_interval_there_is_no_map() {
        assert!(map(&report(&[])).is_none());
        assert!(map(&report(&[(&[MS], 0)])).is_none());
        assert!(map(&report(&[(&[], 3), (&[], 3)])).is_none());
        let mut older = report(&[(&[MS], 0), (&[MS], 0), (&[], 2)]);
        // As in results before the intervals had histograms.
        older.intervals[0].hdr.clear();
        let plot = map(&older).unwrap();
        let unknown: Vec<_> = plot.tiles.iter().filter(|tile| tile.tint.name() == AXIS.name()).collect();
        assert_eq!((unknown.len(), unknown[0].x), (1, (0.0, 1.0)));
        assert!(plot.scale.1.iter().any(|(_, meaning)| meaning.contains("does not hold")), "{plot:?}");
        older.intervals[1].hdr.clear();
        assert!(map(&older).is_none());
    }
}
