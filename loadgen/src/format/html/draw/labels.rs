//! The words in a plot: the names of its lines, and the numbers at its axes.

use plotters::{
    coord::Shift,
    prelude::{DrawingArea, SVGBackend, Text},
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Chart, FONT, Outcome, UNITS, words};
use crate::format::html::{
    axis::{Axis, Tick},
    plot::Line,
};

/// An upper bound of the average width of a character.
pub(super) const CHARACTER: u32 = 7;
/// The distance between two lines of text.
const LINE_HEIGHT: f64 = 15.0;
/// The length of a name beside a line, in characters.
const NAME_CHARS: usize = 24;
/// The least distance between two numbers of an axis.
const NUMBER_GAP: f64 = 8.0;
/// The name of a line that ends closer to the plot's edge, in CSS pixels, is outside the edge.
const NEAR_EDGE: i32 = 30;

/// Writes each line's name beside its end.
pub(super) fn draw_names(
    lines: &[Line],
    chart: &Chart,
    height: f64,
    area: &DrawingArea<SVGBackend, Shift>,
) -> Outcome {
    let edge = chart.plotting_area().get_pixel_range().0.end;
    let ends = lines.iter().filter(|line| !line.name.is_empty()).filter_map(|line| {
        let (end_x, end_y) = chart.backend_coord(&line.points().last()?);
        // Names outside the edge are aligned.
        let x = if edge - end_x < NEAR_EDGE * UNITS as i32 { edge } else { end_x };
        Some((line, x + 10 * UNITS as i32, f64::from(end_y) / f64::from(UNITS)))
    });
    let ends: Vec<_> = ends.collect();
    let wanted: Vec<_> = ends.iter().map(|(_, _, height)| *height).collect();
    for ((line, x, _), y) in ends.iter().zip(apart(&wanted, height)) {
        let style = words(line.tint).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(shorten(&line.name), (*x, (y * f64::from(UNITS)) as i32), style))?;
    }
    Ok(())
}

/// The number at a tick.
pub(super) fn label(ticks: &[Tick], at: f64) -> String {
    let tick = ticks.iter().find(|tick| tick.at == at);
    tick.map(|tick| tick.label.clone()).unwrap_or_default()
}

/// The width of a number in CSS pixels, in the widest of the usual fonts.
pub(super) fn label_width(label: &str) -> f64 {
    let ems = label.chars().map(|each| match each {
        '0'..='9' => 0.64,
        '.' | ',' | ' ' => 0.32,
        '%' | 'm' | 'M' => 0.98,
        _ => 0.64,
    });
    ems.sum::<f64>() * f64::from(FONT)
}

/// The ticks that fit side by side on an axis of this length in CSS pixels. A linear axis keeps its zero, and a logarithmic
/// axis its end.
pub(super) fn thin(axis: &Axis, length: f64) -> Vec<Tick> {
    let mut taken: Vec<(f64, f64)> = Vec::new();
    let mut has_room = |tick: &Tick| {
        let (middle, half) = (axis.position(tick.at) * length, label_width(&tick.label) / 2.0);
        let (from, to) = (middle - half, middle + half);
        let fits = taken.iter().all(|other| to + NUMBER_GAP <= other.0 || other.1 + NUMBER_GAP <= from);
        if fits {
            taken.push((from, to));
        }
        fits
    };
    let mut shown: Vec<_> = match axis.is_log() {
        true => axis.ticks.iter().rev().filter(|tick| has_room(tick)).cloned().collect(),
        false => axis.ticks.iter().filter(|tick| has_room(tick)).cloned().collect(),
    };
    shown.sort_unstable_by(|one, other| one.at.total_cmp(&other.at));
    shown
}

/// The heights of the names, without overlaps and inside a picture of this height. They keep their order and stay close to
/// the wanted heights.
fn apart(wanted: &[f64], height: f64) -> Vec<f64> {
    let mut order: Vec<_> = (0..wanted.len()).collect();
    order.sort_by(|one, other| wanted[*one].total_cmp(&wanted[*other]));
    let mut placed = wanted.to_vec();
    let mut least = LINE_HEIGHT / 2.0;
    for index in &order {
        placed[*index] = placed[*index].max(least);
        least = placed[*index] + LINE_HEIGHT;
    }
    let mut most = height - LINE_HEIGHT / 2.0;
    for index in order.iter().rev() {
        placed[*index] = placed[*index].min(most);
        most = placed[*index] - LINE_HEIGHT;
    }
    placed
}

/// A name without the characters that do not fit.
pub(super) fn shorten(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS) {
        None => name.to_owned(),
        Some(_) => name.chars().take(NAME_CHARS - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_apart_and_stay_in_the_picture() {
        for (wanted, placed) in [
            (vec![], vec![]),
            (vec![50.0, 100.0], vec![50.0, 100.0]),
            (vec![50.0, 50.0, 49.0], vec![64.0, 79.0, 49.0]),
            (vec![0.0, 300.0], vec![7.5, 192.5]),
            (vec![199.0, 199.0], vec![177.5, 192.5]),
        ] {
            assert_eq!(apart(&wanted, 200.0), placed);
        }
    }

    #[test]
    fn numbers_that_would_overlap_are_omitted() {
        let axis = Axis::shares("");
        for (length, shown) in [(400.0, 5), (120.0, 3), (1.0, 1)] {
            assert_eq!(thin(&axis, length).len(), shown, "{length}");
        }
        // Each nine has the same width on the axis, but a longer number.
        let nines = |length| {
            let shown = thin(&Axis::percentiles(1e5), length);
            shown.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(nines(480.0), "50% 90% 99% 99.9% 99.99% 99.999%");
        assert_eq!(nines(270.0), "50% 90% 99% 99.9% 99.999%");
    }

    #[test]
    fn a_long_name_is_cut_between_its_characters() {
        assert_eq!(shorten("thread-per-connection"), "thread-per-connection");
        assert_eq!(shorten(&"ü".repeat(30)), "ü".repeat(23) + "…");
    }
}
