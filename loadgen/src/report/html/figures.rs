//! The plots of a run.

use maud::{Markup, html};

use super::{
    axis::Axis,
    curve,
    palette::{REFERENCE, Tint},
    parts::{self, time},
    plot::{Line, Plot},
};
use crate::{
    human::{count, rate},
    report::{Interval, Latency, Report},
    summary,
};

/// What a percentile curve leaves out.
const ENDS: &str = "Each nine takes the same room. A line ends where fewer than ten samples lie beyond it.";

/// How long it took, whole and in its parts.
pub(super) fn latency(report: &Report) -> Markup {
    let latencies = &report.latency_ns;
    let mut clocks = vec![("response", &latencies.response), ("service", &latencies.service)];
    clocks.extend(latencies.schedule_lag.as_ref().map(|lag| ("schedule lag", lag)));
    let lag = if clocks.len() > 2 { "; schedule lag: what the generator itself was late" } else { "" };
    let clocks = Plot {
        title: "Latency by percentile".to_owned(),
        caption: format!("Response: from the moment a request was due; service: from written{lag}. {ENDS}"),
        ..by_percentile(&clocks)
    };
    html! {
        div.figures {
            (clocks.figure())
            (decomposition(report).figure())
        }
    }
}

/// Where the time of a response went.
fn decomposition(report: &Report) -> Plot {
    let latencies = &report.latency_ns;
    let mut parts = vec![("due → written", &latencies.due_to_written)];
    let kernel = [
        ("written → ready", latencies.written_to_ready.as_ref()),
        ("ready → read", latencies.ready_to_read.as_ref()),
    ];
    parts.extend(kernel.iter().filter_map(|(name, part)| Some((*name, (*part)?))));
    let caption = if parts.len() > 1 {
        "Due → written: the generator and the client's own queue; written → ready: the network and the server; \
         ready → read: the generator again."
    } else {
        parts.push(("written → read", &latencies.service));
        "Due → written: the generator and the client's own queue; written → read: the network, the server and the \
         generator's reading, which only the kernel's timestamps tell apart."
    };
    Plot { title: "Where the time went".to_owned(), caption: caption.to_owned(), ..by_percentile(&parts) }
}

/// Distributions by percentile.
pub(super) fn by_percentile(distributions: &[(&str, &Latency)]) -> Plot {
    let line = |(number, (name, latency)): (usize, &(&str, &Latency))| {
        let curve = summary::deserialise(&latency.hdr).map(|histogram| curve::by_percentile(&histogram));
        Line::new(number, name, curve.into_iter().collect())
    };
    let in_words = |(name, latency): &(&str, &Latency)| {
        let (p50, p99, max) = (time(latency.p50), time(latency.p99), time(latency.max));
        format!("{name}: p50 {p50}, p99 {p99}, longest {max}")
    };
    let in_words: Vec<_> = distributions.iter().map(in_words).collect();
    of_percentiles(distributions.iter().enumerate().map(line).collect(), &in_words.join("; "))
}

/// Lines over percentiles.
pub(super) fn of_percentiles(lines: Vec<Line>, in_words: &str) -> Plot {
    let points = || lines.iter().flat_map(Line::points);
    let reach = points().map(|(inverse, _)| inverse).fold(2.0, f64::max);
    Plot {
        title: String::new(),
        caption: String::new(),
        in_words: format!("Latency by percentile. {in_words}"),
        x: Axis::percentiles(reach),
        y: Axis::times(points().map(|(_, time_ns)| time_ns)),
        lines,
        marks: Vec::new(),
        failures: Vec::new(),
    }
}

/// The rate and the latency over time.
pub(super) fn course(report: &Report) -> Markup {
    if report.intervals.is_empty() {
        return html! { p { "The result holds no intervals." } };
    }
    html! {
        div.figures {
            (rate_over_time(report).figure())
            (latency_over_time(report).figure())
        }
    }
}

fn rate_over_time(report: &Report) -> Plot {
    let achieved = curve::over_time(report, |interval| Some(interval.achieved_per_s));
    let mut lines = vec![Line { has_dots: true, ..Line::new(0, "achieved", achieved) }];
    let level = |per_s: f64| vec![vec![(0.0, per_s), (report.elapsed_s, per_s)]];
    lines.extend(report.rate.offered_per_s.map(|per_s| reference("offered", &REFERENCE, level(per_s))));
    let achieved = rate(report.rate.achieved_per_s);
    Plot {
        title: "Rate".to_owned(),
        caption: "Replies a second.".to_owned(),
        in_words: format!("Replies a second over time; {achieved} on average"),
        ..of_course(report, lines, |values| Axis::from_zero("", values))
    }
}

fn latency_over_time(report: &Report) -> Plot {
    type Get = fn(&Interval) -> Option<u64>;
    let rows: [(&str, Get); 3] = [
        ("p50", |interval| interval.p50),
        ("p99", |interval| interval.p99),
        ("max", |interval| interval.max),
    ];
    let line = |(number, (name, get)): (usize, (&str, Get))| {
        let segments =
            curve::over_time(report, |interval| get(interval).map(|time_ns| time_ns.max(1) as f64));
        Line { has_dots: true, ..Line::new(number, name, segments) }
    };
    let response = &report.latency_ns.response;
    Plot {
        title: "Response time".to_owned(),
        caption: "Of each interval; where too few samples stand behind a percentile there is a gap."
            .to_owned(),
        in_words: format!(
            "Response times over time; over all p50 {}, p99 {}, longest {}",
            time(response.p50),
            time(response.p99),
            time(response.max)
        ),
        ..of_course(report, rows.into_iter().enumerate().map(line).collect(), |values| Axis::times(values))
    }
}

/// Lines over time, with a vertical axis made of their values.
fn of_course(report: &Report, lines: Vec<Line>, y: impl Fn(&mut dyn Iterator<Item = f64>) -> Axis) -> Plot {
    let y = y(&mut lines.iter().flat_map(Line::points).map(|(_, value)| value));
    Plot {
        title: String::new(),
        caption: String::new(),
        in_words: String::new(),
        x: Axis::elapsed(report.elapsed_s),
        y,
        lines,
        marks: Vec::new(),
        failures: curve::failures(report).into_iter().map(|(span, _)| span).collect(),
    }
}

/// How evenly the clients were served, and how the times are spread.
pub(super) fn spread(report: &Report) -> Markup {
    html! {
        div.figures {
            (fairness(report).figure())
            (histogram(report).figure())
        }
    }
}

fn fairness(report: &Report) -> Plot {
    let fairness = &report.fairness;
    let replies = summary::deserialise(&fairness.replies_hdr).filter(|replies| !replies.is_empty());
    let mut lines = vec![Line::new(0, "replies", replies.iter().map(curve::by_client).collect())];
    if replies.is_some() {
        let even = fairness.replies_sum as f64 / fairness.clients.max(1) as f64;
        lines.insert(0, reference("even share", &REFERENCE, vec![vec![(0.0, even), (1.0, even)]]));
    }
    let (least, most) = (count(fairness.requests_min), count(fairness.requests_max));
    Plot {
        title: "Replies of each client".to_owned(),
        caption:
            "From the client that got the fewest to the one that got the most. A level line is a fair server."
                .to_owned(),
        in_words: format!(
            "Replies of each client: from {least} to {most}; {} of {} served",
            count(fairness.served),
            parts::clients(fairness.clients)
        ),
        x: Axis::shares("clients"),
        y: Axis::from_zero("", lines.iter().flat_map(Line::points).map(|(_, replies)| replies)),
        lines,
        marks: Vec::new(),
        failures: Vec::new(),
    }
}

fn histogram(report: &Report) -> Plot {
    let lines = vec![Line::new(0, "", vec![curve::outline(&report.response_histogram)])];
    let points = || lines.iter().flat_map(Line::points);
    let response = &report.latency_ns.response;
    Plot {
        title: "Response times".to_owned(),
        caption: "How many requests took so long, between round times.".to_owned(),
        in_words: format!(
            "A histogram of the response times, from {} to {}, with the median at {}",
            time(response.min),
            time(response.max),
            time(response.p50)
        ),
        x: Axis::times(points().map(|(time_ns, _)| time_ns)),
        y: Axis::from_zero("", points().map(|(_, requests)| requests)),
        lines,
        marks: Vec::new(),
        failures: Vec::new(),
    }
}

fn reference(name: &str, tint: &'static Tint, segments: Vec<curve::Segment>) -> Line {
    Line { tint, ..Line::new(0, name, segments) }
}
