//! Draws a plot as an SVG picture.

use std::{io, ops::Range};

use plotters::{
    coord::{
        Shift,
        ranged1d::{DefaultFormatting, KeyPointHint, Ranged},
    },
    prelude::{
        Cartesian2d, ChartBuilder, ChartContext, Circle, Color, Cross, DrawingArea, DrawingAreaErrorKind,
        IntoDrawingArea, IntoFont, IntoTextStyle, PathElement, Rectangle, SVGBackend, ShapeStyle, Text,
        TextStyle, TriangleMarker,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    axis::{Axis, Tick},
    curve::Segment,
    palette::{AXIS, BAD, GRID, INK, Tint},
    plot::{Line, Mark, Plot, Shape},
};

/// The picture's units in a CSS pixel. plotters puts everything on whole units, which would be seen if they were
/// pixels.
pub(super) const UNITS: u32 = 4;

/// How large a plot is, in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    width: u32,
    height: u32,
    /// Whether the lines' names stand beside them.
    is_labelled: bool,
}

/// On a wide page.
pub(super) const WIDE: Size = Size { width: 640, height: 330, is_labelled: true };
/// On a phone.
pub(super) const NARROW: Size = Size { width: 360, height: 290, is_labelled: false };

const FONT: u32 = 12;
/// How wide a character is at most, on average.
const CHARACTER: u32 = 7;
/// From one line of words to the next.
const LINE_HEIGHT: f64 = 15.0;
/// Characters of a name beside a line at most.
const NAME_CHARS: usize = 24;
/// Points of one line up to which each has a dot.
const DOTS_MAX: usize = 40;
/// A line that ends so near the plot's edge, in CSS pixels, has its name beyond the edge.
const NEAR_EDGE: i32 = 30;

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.position(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // There is no line but where a number stands.
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.iter().map(|tick| tick.at).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        let (from, to) = self.ends();
        from..to
    }
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Outcome = Result<(), DrawingAreaErrorKind<io::Error>>;

/// The picture, as an `svg` element.
pub(super) fn draw(plot: &Plot, size: Size) -> String {
    let mut svg = String::new();
    draw_into(&mut svg, plot, size).expect("nothing is written but memory, and no font is read");
    svg
}

fn draw_into(svg: &mut String, plot: &Plot, size: Size) -> Outcome {
    let area = SVGBackend::with_string(svg, (size.width * UNITS, size.height * UNITS)).into_drawing_area();
    let (x, y) = (&plot.x, &plot.y);
    let names = match size.is_labelled {
        true => plot.lines.iter().map(|line| shorten(&line.name).chars().count()).max().unwrap_or(0) as u32,
        false => 0,
    };
    let left = 12 + CHARACTER * widest(&y.ticks);
    // Half of the last number is beyond the axis.
    let beyond = x.ticks.last().map_or(0, |tick| tick.label.chars().count() as u32) * CHARACTER / 2;
    let right = (18 + CHARACTER * names).max(6 + beyond);
    let mut chart = ChartBuilder::on(&area)
        .margin_top(10 * UNITS)
        .margin_right(right * UNITS)
        .x_label_area_size(if x.title.is_empty() { 22 } else { 40 } * UNITS)
        .y_label_area_size(left * UNITS)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let room = size.width.saturating_sub(left + right);
    let shown = thin(x, room.into());
    chart
        .configure_mesh()
        .bold_line_style(stroke(&GRID, 1))
        .axis_style(stroke(&AXIS, 1))
        .set_all_tick_mark_size(4 * UNITS)
        .label_style(words(&INK))
        .axis_desc_style(words(&INK))
        .x_desc(x.title.as_str())
        .x_label_formatter(&|at| label(&shown, *at))
        .y_label_formatter(&|at| label(&y.ticks, *at))
        .draw()?;

    draw_failures(plot, &mut chart)?;
    draw_lines(&plot.lines, &mut chart)?;
    draw_marks(&plot.marks, &mut chart)?;
    if size.is_labelled {
        draw_names(&plot.lines, &chart, f64::from(size.height), &area)?;
    }
    area.present()
}

fn draw_failures(plot: &Plot, chart: &mut Chart) -> Outcome {
    let (bottom, top) = plot.y.ends();
    for (from, to) in &plot.failures {
        let corners = [(*from, bottom), (*to, top)];
        chart.draw_series([Rectangle::new(corners, BAD.light.mix(0.16).filled())])?;
        let middle = (f64::midpoint(*from, *to), top);
        chart.draw_series([Cross::new(middle, 4 * UNITS, stroke(&BAD, 2))])?;
    }
    Ok(())
}

fn draw_lines(lines: &[Line], chart: &mut Chart) -> Outcome {
    for line in lines {
        let path = |segment: &Segment| PathElement::new(segment.clone(), stroke(line.tint, 2));
        chart.draw_series(line.segments.iter().map(path))?;
        let has_dots = line.has_dots && line.points().count() <= DOTS_MAX;
        // A point that is alone would not be seen.
        let dotted = line.segments.iter().filter(|segment| has_dots || segment.len() == 1).flatten();
        chart.draw_series(dotted.map(|point| Circle::new(*point, 3 * UNITS, line.tint.light.filled())))?;
    }
    Ok(())
}

fn draw_marks(marks: &[Mark], chart: &mut Chart) -> Outcome {
    for Mark { at, tint, shape, .. } in marks {
        match shape {
            Shape::Ring => {
                chart.draw_series([Circle::new(*at, 7 * UNITS, stroke(tint, 2))])?;
            }
            Shape::Triangle => {
                chart.draw_series([TriangleMarker::new(*at, 7 * UNITS, tint.light.filled())])?;
            }
            Shape::Cross => {
                chart.draw_series([Cross::new(*at, 5 * UNITS, stroke(tint, 2))])?;
            }
        }
    }
    Ok(())
}

/// Writes each line's name beside its end.
fn draw_names(lines: &[Line], chart: &Chart, height: f64, area: &DrawingArea<SVGBackend, Shift>) -> Outcome {
    let edge = chart.plotting_area().get_pixel_range().0.end;
    let ends = lines.iter().filter(|line| !line.name.is_empty()).filter_map(|line| {
        let (end_x, end_y) = chart.backend_coord(&line.points().last()?);
        // Those that end near the edge stand below each other.
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

/// A stroke so many CSS pixels wide.
fn stroke(tint: &Tint, width: u32) -> ShapeStyle {
    tint.light.stroke_width(width * UNITS)
}

fn words(tint: &Tint) -> TextStyle<'static> {
    // The backend divides by 1.24, which is what it takes for the font's line height.
    let size = f64::from(FONT * UNITS) * 1.24;
    ("sans-serif", size).into_font().color(&tint.light).into_text_style(&(0, 0))
}

fn label(ticks: &[Tick], at: f64) -> String {
    let tick = ticks.iter().find(|tick| tick.at == at);
    tick.map(|tick| tick.label.clone()).unwrap_or_default()
}

/// The most characters of a number.
fn widest(ticks: &[Tick]) -> u32 {
    ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(0) as u32
}

/// Those numbers for which there is room beside the one before, on an axis of this length in CSS pixels.
fn thin(axis: &Axis, length: f64) -> Vec<Tick> {
    let mut end = f64::NEG_INFINITY;
    let has_room = |tick: &&Tick| {
        let middle = axis.position(tick.at) * length;
        let half = tick.label.chars().count() as f64 * f64::from(CHARACTER) / 2.0;
        let fits = middle - half >= end;
        if fits {
            end = middle + half + f64::from(CHARACTER) / 2.0;
        }
        fits
    };
    axis.ticks.iter().filter(has_room).cloned().collect()
}

/// The heights of names that do not cover each other, as near to those that are wanted as the order allows, all within
/// a picture of this height.
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

fn shorten(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS) {
        None => name.to_owned(),
        Some(_) => name.chars().take(NAME_CHARS - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::palette::series;

    fn plot(name: &str) -> Plot {
        let points = vec![(1.0, 1e3), (10.0, 2e3), (100.0, 1e6)];
        Plot {
            title: String::new(),
            caption: String::new(),
            in_words: String::new(),
            x: Axis::percentiles(100.0),
            y: Axis::times(points.iter().map(|(_, y)| *y)),
            lines: vec![Line::new(0, name, vec![points])],
            marks: Vec::new(),
            failures: vec![(2.0, 3.0)],
        }
    }

    #[test]
    fn what_is_drawn_is_escaped_and_tinted() {
        for size in [WIDE, NARROW] {
            let svg = draw(&plot("</svg><script>"), size);
            assert!(
                !svg.contains("<script") && svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
                "{svg}"
            );
            assert_eq!(svg.contains("&lt;script&gt;"), size.is_labelled, "{svg}");
            for tint in [series(0), &GRID, &AXIS, &BAD] {
                assert!(svg.contains(&format!("\"{}\"", tint.name())), "{tint:?} is not in {svg}");
            }
            assert!(svg.contains("99%") && svg.contains("1 ms"), "{svg}");
        }
    }

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
    fn numbers_that_would_cover_each_other_are_left_out() {
        let axis = Axis::shares("");
        for (length, shown) in [(400.0, 5), (100.0, 4), (1.0, 1)] {
            assert_eq!(thin(&axis, length).len(), shown, "{length}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_its_characters() {
        assert_eq!(shorten("thread-per-connection"), "thread-per-connection");
        assert_eq!(shorten(&"ü".repeat(30)), "ü".repeat(23) + "…");
    }
}
