//! The plots of a run.

use common::human::{count, duration_ns, plural, rate};
use maud::{Markup, html};

use super::{
    axis::Axis,
    clients, curve, heat,
    palette::{self, BAD, REFERENCE, Tint},
    parts::{percentile, time},
    plot::{Line, Mark, Plot, Shape},
};
use crate::result::{FailedTail, Interval, Latency, Report, summary};

/// The note on the scale and the ends of percentile curves.
const ENDS: &str = "Each nine has the same width. A line ends where fewer than ten samples lie beyond it.";

/// The latency, as a whole and in its parts.
pub(super) fn latency(report: &Report) -> Markup {
    let latencies = &report.latency_ns;
    let mut clocks = vec![("response", &latencies.response), ("service", &latencies.service)];
    clocks.extend(latencies.schedule_lag.as_ref().map(|lag| ("schedule lag", lag)));
    let lag = if clocks.len() > 2 { "; schedule lag: the generator's own delay" } else { "" };
    let mut caption = "Response: since the request was due".to_owned();
    if let Some(tail) = &latencies.response.failed_tail {
        // Last, so that the other lines have the same colours as on other pages.
        clocks.push(("successful", &latencies.successful));
        caption += ", for all requests; successful: for the requests with a reply";
        caption += &format!(
            "; service: since the request was written, for the requests with a reply{lag}. {}",
            slowest(tail, latencies.response.count)
        );
    } else {
        caption += &format!("; service: since the request was written{lag}.");
    }
    let clocks = Plot {
        title: "Latency by percentile".to_owned(),
        caption: format!("{caption} {ENDS}"),
        ..by_percentile(&clocks)
    };
    html! {
        div.figures {
            (clocks.figure())
            (decomposition(report).figure())
        }
    }
}

/// The parts of the response time.
fn decomposition(report: &Report) -> Plot {
    let latencies = &report.latency_ns;
    let mut parts = vec![("due → written", &latencies.due_to_written)];
    let kernel = [
        ("written → ready", latencies.written_to_ready.as_ref()),
        ("ready → read", latencies.ready_to_read.as_ref()),
    ];
    parts.extend(kernel.iter().filter_map(|(name, part)| Some((*name, (*part)?))));
    let caption = if parts.len() > 1 {
        "Due → written: the generator's lateness and the client's own queue; written → ready: the network and the \
         server; ready → read: the generator's own delay."
    } else {
        parts.push(("written → read", &latencies.service));
        "Due → written: the generator's lateness and the client's own queue; written → read: the network, the server \
         and the generator's own delay. --kernel-timestamps separates these."
    };
    let scope = match latencies.response.failed_tail {
        Some(_) => " Only requests with a reply.",
        None => "",
    };
    Plot {
        title: "Where the time went".to_owned(),
        caption: format!("{caption}{scope}"),
        ..by_percentile(&parts)
    }
}

/// The note on requests without a reply.
fn slowest(tail: &FailedTail, all: u64) -> String {
    format!("{} of {} got no reply and count as the slowest.", count(tail.count), plural(all, "request"))
}

/// Distributions by percentile.
pub(super) fn by_percentile(distributions: &[(&str, &Latency)]) -> Plot {
    let mut marks = Vec::new();
    let lines = distributions.iter().enumerate().map(|(number, (name, latency))| {
        let tail = latency.failed_tail.as_ref();
        let curve = summary::deserialise(&latency.hdr)
            .map(|times| curve::by_percentile(&times, tail.map_or(0, |tail| tail.count)));
        let failed_from = curve.as_ref().and_then(|curve| curve.failed_from);
        let line = Line::new(number, name, curve.into_iter().map(|curve| curve.points).collect());
        let longer_than_ns = tail.map_or(0, |tail| tail.longer_than_ns);
        marks.extend(failed_from.map(|from| Mark {
            meaning: format!("from {} on: no reply", curve::name(from)).into(),
            ..no_reply(from, &line, longer_than_ns)
        }));
        line
    });
    let lines = lines.collect();
    let in_words = |(name, latency): &(&str, &Latency)| {
        let named = |name, time_ns| percentile(name, time_ns, latency.failed_tail.as_ref());
        let (p50, p99, max) =
            (named("p50", latency.p50), named("p99", latency.p99), named("max", latency.max));
        format!("{name}: p50 {p50}, p99 {p99}, longest {max}")
    };
    let in_words: Vec<_> = distributions.iter().map(in_words).collect();
    of_percentiles(lines, marks, &in_words.join("; "))
}

/// The mark at the end of a line over percentiles, where the requests without a reply begin.
pub(super) fn no_reply(from: f64, line: &Line, longer_than_ns: u64) -> Mark {
    let (_, time_ns) = line.points().last().unwrap_or((from, longer_than_ns.max(1) as f64));
    Mark { meaning: "no reply from here on".into(), at: (from, time_ns), tint: line.tint, shape: Shape::Up }
}

/// Lines over percentiles.
pub(super) fn of_percentiles(lines: Vec<Line>, marks: Vec<Mark>, in_words: &str) -> Plot {
    let points = || lines.iter().flat_map(Line::points).chain(marks.iter().map(|mark| mark.at));
    let reach = points().map(|(inverse, _)| inverse).fold(2.0, f64::max);
    let y = Axis::times(points().map(|(_, time_ns)| time_ns));
    Plot {
        in_words: format!("Latency by percentile. {in_words}"),
        marks,
        ..Plot::new(Axis::percentiles(reach), y, lines)
    }
}

/// The rate and the latency over time.
pub(super) fn course(report: &Report) -> Markup {
    if report.intervals.is_empty() {
        return html! { p { "The result holds no intervals." } };
    }
    // With stages, the offered rate is the cause of the latency, and its picture lies below.
    let (latency, rate) = (latency_over_time(report), rate_over_time(report));
    html! {
        @if report.plan.stages.is_empty() {
            div.figures {
                (rate.figure())
                (latency.figure())
            }
        } @else {
            div.figures { (latency.figure()) }
            div.figures { (rate.figure()) }
        }
        @if let Some(map) = heat::map(report) { div.figures.apart { (map.figure()) } }
    }
}

fn rate_over_time(report: &Report) -> Plot {
    let achieved = curve::over_time(report, |interval| Some(interval.achieved_per_s));
    let mut lines = vec![Line { has_dots: true, ..Line::new(0, "achieved", achieved) }];
    let offered = report.rate.offered_per_s.map(|per_s| curve::offered(report, per_s));
    lines.extend(offered.map(|course| reference("offered", &REFERENCE, vec![course])));
    let achieved = rate(report.rate.achieved_per_s);
    Plot {
        title: "Rate".to_owned(),
        caption: format!("Replies per second.{}", paused(report)),
        in_words: format!("Replies per second over time; {achieved} on average"),
        ..of_course(report, lines, Vec::new(), |values| Axis::from_zero("", values))
    }
}

/// A percentile of an interval: its name, and its value.
type OfInterval = (&'static str, fn(&Interval) -> Option<u64>);

/// The percentiles that are shown over time.
const OVER_TIME: [OfInterval; 3] =
    [("p50", |interval| interval.p50), ("p99", |interval| interval.p99), ("max", |interval| interval.max)];

fn latency_over_time(report: &Report) -> Plot {
    let line = |(number, (name, get)): (usize, OfInterval)| {
        let segments =
            curve::over_time(report, |interval| get(interval).map(|time_ns| time_ns.max(1) as f64));
        Line { has_dots: true, ..Line::new(number, name, segments) }
    };
    let lines = OVER_TIME.into_iter().enumerate().map(line).collect();
    let response = &report.latency_ns.response;
    let named = |name, time_ns| percentile(name, time_ns, response.failed_tail.as_ref());
    let later = match report.tail.failed {
        0 => String::new(),
        failed => {
            format!(" {} failed after the window and are in no interval.", plural(failed, "more request"))
        }
    };
    Plot {
        title: "Response time".to_owned(),
        caption: format!(
            "The percentiles of each interval. A gap means too few samples.{later}{}",
            paused(report)
        ),
        in_words: format!(
            "Response times over time; of the whole run: p50 {}, p99 {}, longest {}",
            named("p50", response.p50),
            named("p99", response.p99),
            named("max", response.max)
        ),
        ..of_course(report, lines, failed_over_time(report), |values| Axis::times(values))
    }
}

/// The marks of the intervals whose percentiles fall among failed requests.
fn failed_over_time(report: &Report) -> Vec<Mark> {
    let failed = OVER_TIME.map(|(name, _)| (name, curve::failed_over_time(report, name)));
    let names: Vec<_> =
        failed.iter().filter(|(_, points)| !points.is_empty()).map(|(name, _)| *name).collect();
    let meaning = format!("{}: longer than this, among the failed requests", names.join(", "));
    let marks = failed.iter().enumerate().flat_map(|(number, (_, points))| {
        let tint = palette::series(number);
        points.iter().map(move |at| (tint, *at))
    });
    marks.map(|(tint, at)| Mark { meaning: meaning.clone().into(), at, tint, shape: Shape::Up }).collect()
}

/// The note on pauses of the generator that are not shown.
fn paused(report: &Report) -> String {
    let (all, shown) = (report.generator.pauses.count, report.generator.pauses.longest.len() as u64);
    match all > shown {
        true => {
            format!(" The plot shows the {shown} longest of {} of the load generator.", plural(all, "pause"))
        }
        false => String::new(),
    }
}

/// Lines and marks over time, with a vertical axis made of their values.
fn of_course(
    report: &Report,
    lines: Vec<Line>,
    marks: Vec<Mark>,
    y: impl Fn(&mut dyn Iterator<Item = f64>) -> Axis,
) -> Plot {
    // Leaves room above these marks for the marks of failures.
    let marked = marks.iter().map(|mark| mark.at.1 * 2.0);
    let y = y(&mut lines.iter().flat_map(Line::points).map(|(_, value)| value).chain(marked));
    Plot {
        marks,
        failures: curve::failures(report).into_iter().map(|(span, _)| span).collect(),
        pauses: curve::pauses(report),
        ..Plot::new(Axis::elapsed(report.elapsed_s), y, lines)
    }
}

/// The fairness among the clients, and the histogram of the response times.
pub(super) fn spread(report: &Report) -> Markup {
    html! {
        div.figures {
            (clients::plot(&report.fairness).figure())
            (histogram(report).figure())
        }
    }
}

fn histogram(report: &Report) -> Plot {
    let mut lines = vec![Line::new(0, "", vec![curve::outline(&report.response_histogram)])];
    let response = &report.latency_ns.response;
    let tail = response.failed_tail.as_ref();
    let mut marks = Vec::new();
    let mut caption = "The number of requests between round response times.".to_owned();
    let mut no_reply = String::new();
    if let Some(tail) = tail {
        let at = (tail.longer_than_ns.max(1) as f64, tail.count as f64);
        lines.push(Line { tint: &BAD, ..Line::new(0, "no reply", vec![vec![(at.0, 0.0), at]]) });
        no_reply = format!(
            "{} of {} got no reply: longer than {}",
            count(tail.count),
            plural(response.count, "request"),
            duration_ns(tail.longer_than_ns)
        );
        marks.push(Mark { meaning: no_reply.clone().into(), at, tint: &BAD, shape: Shape::Right });
        caption += " Requests without a reply have their own line.";
        no_reply.insert_str(0, "; ");
    }
    let points = || lines.iter().flat_map(Line::points);
    let x = Axis::times(points().map(|(time_ns, _)| time_ns));
    let y = Axis::from_zero("", points().map(|(_, requests)| requests));
    let named = |name, time_ns| percentile(name, time_ns, tail);
    Plot {
        title: "Response times".to_owned(),
        caption,
        in_words: format!(
            "A histogram of the response times, from {} to {}, with the median at {}{no_reply}",
            time(response.min),
            named("max", response.max),
            named("p50", response.p50)
        ),
        marks,
        ..Plot::new(x, y, lines)
    }
}

fn reference(name: &str, tint: &'static Tint, segments: Vec<curve::Segment>) -> Line {
    Line { tint, ..Line::new(0, name, segments) }
}
