//! The replies of each client as bars, so that starved and favoured clients are seen.

use std::borrow::Cow;

use common::human::{count, plural};
use hdrhistogram::Histogram;

use super::{
    axis::Axis,
    curve::Segment,
    palette::{BAD, BAR, BAR_RANGE, REFERENCE},
    parts,
    plot::{Line, Plot, Tile},
};
use crate::result::{Fairness, summary};

/// The most bars. With more clients, neighbours share a bar.
const BARS_MAX: u64 = 300;
/// With at most this many bars, there is a gap between them.
const GAPS_MAX: u64 = 60;
/// The share of a bar's place that it takes, if there are gaps.
const BAR_WIDTH: f64 = 0.7;
/// The height of the mark of a client without a reply, as a share of the axis.
const FOOT: f64 = 0.025;

/// Clients with a similar number of replies.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    /// The replies of the client with the fewest.
    least: u64,
    /// The replies of the client with the most.
    most: u64,
}

/// The clients in rising order of their replies, with an even share to compare with, and Jain's index.
pub(super) fn plot(fairness: &Fairness) -> Plot {
    let replies = summary::deserialise(&fairness.replies_hdr).filter(|replies| !replies.is_empty());
    let bars = replies.as_ref().map(bars).unwrap_or_default();
    let clients = replies.as_ref().map_or(0, Histogram::len);
    let unserved = replies.as_ref().map_or(0, |replies| replies.count_at(0));
    let even = fairness.replies_sum as f64 / fairness.clients.max(1) as f64;
    let reference: Segment = if bars.is_empty() { Segment::new() } else { vec![(0.0, even), (1.0, even)] };
    let most = bars.iter().map(|bar| bar.most as f64);
    let y = Axis::from_zero("", most.chain(reference.iter().map(|(_, replies)| *replies)));
    let is_shared = clients > BARS_MAX;
    let mut tints: Vec<(_, Cow<'static, str>)> = Vec::new();
    if is_shared {
        tints.push((&BAR, "the fewest replies of a client in the bar".into()));
        tints.push((&BAR_RANGE, "up to the most".into()));
    }
    if unserved > 0 {
        tints.push((&BAD, format!("no reply in the window: {}", parts::clients(unserved)).into()));
    }
    let jain = fairness.jain.map(|jain| format!("Jain's index: {jain:.4}"));
    let index = jain.as_ref().map_or(String::new(), |jain| format!(" {jain} (1: all have the same)."));
    let (fewest, most) = (count(fairness.requests_min), count(fairness.requests_max));
    Plot {
        title: "Replies of each client".to_owned(),
        caption: match is_shared {
            true => format!(
                "{}, in rising order, in {} of equally many. A fair server gives a level top.{index}",
                parts::clients(clients),
                plural(bars.len() as u64, "bar")
            ),
            false => {
                format!("A bar for each client, in rising order. A fair server gives a level top.{index}")
            }
        },
        in_words: format!(
            "Replies of each client: from {fewest} to {most}; {} of {} served{}",
            count(fairness.served),
            parts::clients(fairness.clients),
            jain.map_or(String::new(), |jain| format!("; {jain}"))
        ),
        tiles: tiles(&bars, &y),
        scale: ("", tints),
        ..Plot::new(
            Axis::shares("clients"),
            y,
            vec![Line { tint: &REFERENCE, ..Line::new(0, "even share", vec![reference]) }],
        )
    }
}

/// At most [`BARS_MAX`] bars, each of equally many clients, or of one more, in rising order of their replies.
fn bars(replies: &Histogram<u64>) -> Vec<Bar> {
    let clients = replies.len();
    let mut before = 0_u64;
    // The rank of the first client after those with at most this many replies.
    let steps = replies.iter_recorded().map(|step| {
        before = before.saturating_add(step.count_at_value());
        (before, replies.median_equivalent(step.value_iterated_to()))
    });
    let steps: Vec<_> = steps.collect();
    let of = |rank: u64| {
        let place = steps.partition_point(|(next, _)| *next <= rank);
        steps.get(place).map_or(0, |(_, replies)| *replies)
    };
    let shown = clients.min(BARS_MAX);
    let first = |bar: u64| (u128::from(bar) * u128::from(clients) / u128::from(shown)) as u64;
    (0..shown).map(|bar| Bar { least: of(first(bar)), most: of(first(bar + 1) - 1) }).collect()
}

fn tiles(bars: &[Bar], y: &Axis) -> Vec<Tile> {
    let shown = bars.len() as f64;
    let width = if bars.len() as u64 <= GAPS_MAX { BAR_WIDTH } else { 1.0 };
    let (_, top) = y.ends();
    let of_bar = |(place, bar): (usize, &Bar)| {
        let middle = (place as f64 + 0.5) / shown;
        let x = (middle - width / shown / 2.0, middle + width / shown / 2.0);
        let part = |from: f64, to: f64, tint| (to > from).then_some(Tile { x, y: Some((from, to)), tint });
        let foot = if bar.least == 0 { top * FOOT } else { 0.0 };
        [
            part(bar.least as f64, bar.most as f64, &BAR_RANGE),
            part(0.0, bar.least as f64, &BAR),
            part(0.0, foot, &BAD),
        ]
    };
    let tiles: Vec<_> = bars.iter().enumerate().flat_map(of_bar).flatten().collect();
    // The marks of clients without a reply cover the others.
    let (marks, others): (Vec<_>, Vec<_>) =
        tiles.into_iter().partition(|tile| tile.tint.name() == BAD.name());
    others.into_iter().chain(marks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::latency::Latency, result::tests::example};

    fn histogram(replies: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        Latency::from_iter(replies).histogram().clone()
    }

    fn fairness(replies: &[u64]) -> Fairness {
        let served = replies.iter().filter(|replies| **replies > 0).count() as u64;
        Fairness {
            clients: replies.len() as u64,
            served,
            replies_sum: replies.iter().sum(),
            replies_hdr: summary::replies(replies.iter().copied()),
            ..example().fairness
        }
    }

    fn of(plot: &Plot, tint: &crate::format::html::palette::Tint) -> Vec<((f64, f64), (f64, f64))> {
        let tiles = plot.tiles.iter().filter(|tile| tile.tint.name() == tint.name());
        tiles.map(|tile| (tile.x, tile.y.unwrap())).collect()
    }

    #[test]
    fn each_of_a_few_clients_has_a_bar_and_a_starved_one_has_a_mark() {
        let plot = plot(&fairness(&[7, 0, 5, 7]));
        let heights: Vec<_> = of(&plot, &BAR).into_iter().map(|(_, (from, to))| (from, to)).collect();
        assert_eq!(heights, [(0.0, 5.0), (0.0, 7.0), (0.0, 7.0)]);
        let marks = of(&plot, &BAD);
        assert_eq!(marks.len(), 1);
        let (x, (foot, top)) = marks[0];
        assert!(x.0 >= 0.0 && x.1 <= 0.25 && foot == 0.0 && top > 0.0, "{marks:?}");
        assert!(of(&plot, &BAR_RANGE).is_empty(), "a bar is one client");
        assert!(plot.caption.contains("Jain's index: 0.9987"), "{}", plot.caption);
        let meanings: Vec<_> = plot.scale.1.iter().map(|(_, meaning)| meaning.as_ref()).collect();
        assert_eq!(meanings, ["no reply in the window: 1 client"]);
        assert_eq!(plot.lines[0].points().collect::<Vec<_>>(), [(0.0, 4.75), (1.0, 4.75)]);
    }

    #[test]
    fn many_clients_share_bars_and_no_starved_one_is_hidden() {
        for (clients, shown) in [(300, 300), (301, 300), (10_000, 300), (299, 299)] {
            let replies = |client: u64| if client == 0 { 0 } else { 1_000 };
            let bars = bars(&histogram((0..clients).map(replies)));
            assert_eq!(bars.len(), shown, "{clients}");
            assert_eq!((bars[0].least, bars[1].least), (0, 1_000), "{clients}");
        }
        let mut replies = vec![100; 5_000];
        (replies[0], replies[4_999]) = (0, 900);
        let plot = plot(&fairness(&replies));
        assert_eq!(of(&plot, &BAD).len(), 1);
        let ranges: Vec<_> = of(&plot, &BAR_RANGE).into_iter().map(|(_, y)| y).collect();
        assert_eq!(ranges, [(0.0, 100.0), (100.0, 900.0)], "the first bar and the last");
        assert!(plot.caption.starts_with("5,000 clients, in rising order, in 300 bars"), "{}", plot.caption);
    }

    #[test]
    fn the_bars_cover_the_axis_in_order() {
        let bars = bars(&histogram([3, 1, 2, 0]));
        assert_eq!(bars, [0, 1, 2, 3].map(|replies| Bar { least: replies, most: replies }));
        assert!(super::bars(&histogram([])).is_empty());
    }

    #[test]
    fn a_result_without_the_replies_of_clients_has_no_bars() {
        let plot = plot(&Fairness { replies_hdr: String::new(), ..example().fairness });
        assert!(plot.tiles.is_empty() && plot.lines[0].points().next().is_none(), "{plot:?}");
    }
}
