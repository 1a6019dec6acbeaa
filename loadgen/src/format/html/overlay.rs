//! Distributions of several servers or runs over each other.

use common::human::{count, plural};

use super::{
    curve, figures,
    plot::{Line, Plot},
};
use crate::result::{Latency, summary};

/// A line for each name with all of its samples, and a note on requests without a reply.
pub(super) fn by_percentile<'a>(
    distributions: impl Iterator<Item = (&'a str, Vec<&'a Latency>)>,
) -> (Plot, String) {
    let (mut lines, mut marks, mut no_reply) = (Vec::new(), Vec::new(), String::new());
    for (number, (name, latencies)) in distributions.enumerate() {
        let Some(times) = summary::sum(latencies.iter().map(|latency| latency.hdr.as_str())) else {
            continue;
        };
        let tails = || latencies.iter().filter_map(|latency| latency.failed_tail.as_ref());
        let unanswered = tails().map(|tail| tail.count).fold(0, u64::saturating_add);
        let all = times.len().saturating_add(unanswered);
        if all == 0 {
            continue;
        }
        let curve = curve::by_percentile(&times, unanswered);
        let line = Line::new(number, name, vec![curve.points]);
        if unanswered > 0 {
            let from =
                curve.failed_from.map_or(String::new(), |from| format!(", from {} on", curve::name(from)));
            no_reply +=
                &format!(" {name}: {} of {} got no reply{from}.", count(unanswered), plural(all, "request"));
        }
        let longer_than_ns = tails().map(|tail| tail.longer_than_ns).max().unwrap_or(0);
        marks.extend(curve.failed_from.map(|from| figures::no_reply(from, &line, longer_than_ns)));
        lines.push(line);
    }
    let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
    let in_words = format!("A line for each of {}; the table has the numbers.{no_reply}", names.join(", "));
    (figures::of_percentiles(lines, marks, &in_words), no_reply)
}
