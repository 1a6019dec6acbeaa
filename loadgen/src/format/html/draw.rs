//! Draws a plot as an SVG picture.

mod labels;
mod marks;
mod tiles;

use std::{io, ops::Range};

use plotters::{
    coord::{
        Shift,
        ranged1d::{DefaultFormatting, KeyPointHint, Ranged},
    },
    prelude::{
        Cartesian2d, ChartBuilder, ChartContext, Circle, Color, Cross, DrawingArea, DrawingAreaErrorKind,
        IntoDrawingArea, IntoFont, IntoTextStyle, PathElement, Rectangle, SVGBackend, ShapeStyle, Text,
        TextStyle,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use self::labels::{CHARACTER, label, label_width, shorten, thin};
use super::{
    axis::Axis,
    curve::Segment,
    palette::{AXIS, BAD, GRID, INK, ODD, Tint},
    plot::{Line, Plot},
};

/// The picture's units in a CSS pixel. plotters rounds positions to whole units, which would be visible with pixels.
pub(super) const UNITS: u32 = 4;

/// The size of a plot, in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    width: u32,
    height: u32,
    /// Whether the names of the lines are beside them.
    is_labelled: bool,
}

/// The size of a broad plot on the widest screens.
pub(super) const BROAD: Size = Size { width: 1214, height: 380, is_labelled: true };

/// The size on a wide screen.
pub(super) const WIDE: Size = Size { width: 640, height: 330, is_labelled: true };
/// The size on a phone.
pub(super) const NARROW: Size = Size { width: 360, height: 290, is_labelled: false };

const FONT: u32 = 12;
/// A line with more points has no dots.
const DOTS_MAX: usize = 40;
/// The heights of the strip and the sign of a pause, in CSS pixels.
const PAUSE: (i32, i32) = (4, 9);
/// The height of the row above a plot, and its distance from the plot, in CSS pixels.
const ROW_ABOVE: (i32, i32) = (12, 8);

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.position(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Only ticks with a number have a line.
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
    let mut tiles = String::new();
    let frame = layer(plot, size, |chart, area| {
        tiles = tiles::paths(&plot.tiles, chart);
        draw_frame(plot, size, chart, area)
    });
    let lines = layer(plot, size, |chart, area| {
        draw_failures(plot, chart)?;
        draw_pauses(plot, chart, area)?;
        draw_lines(&plot.lines, chart)?;
        marks::draw(&plot.marks, chart, area)?;
        match size.is_labelled {
            true => labels::draw_names(&plot.lines, chart, f64::from(size.height), area),
            false => Ok(()),
        }
    });
    // plotters draws no path of many parts, so the tiles are put between the two layers.
    let (_, lines) = lines.split_once(">\n").expect("a picture begins with a tag on its own line");
    format!("{}{tiles}{lines}", frame.trim_end().trim_end_matches("</svg>"))
}

/// A layer of the picture, as an `svg` element.
fn layer(
    plot: &Plot,
    size: Size,
    draw: impl FnOnce(&mut Chart, &DrawingArea<SVGBackend, Shift>) -> Outcome,
) -> String {
    let mut svg = String::new();
    let area =
        SVGBackend::with_string(&mut svg, (size.width * UNITS, size.height * UNITS)).into_drawing_area();
    let (left, right) = margins(plot, size);
    let above = match plot.row_above {
        "" => 10,
        _ => 10 + (ROW_ABOVE.0 + ROW_ABOVE.1) as u32,
    };
    let drawn = ChartBuilder::on(&area)
        .margin_top(above * UNITS)
        .margin_right(right * UNITS)
        .x_label_area_size(if plot.x.title.is_empty() { 22 } else { 40 } * UNITS)
        .y_label_area_size(left * UNITS)
        .build_cartesian_2d(plot.x.clone(), plot.y.clone())
        .and_then(|mut chart| draw(&mut chart, &area))
        .and_then(|()| area.present());
    drawn.expect("the output is in memory, and no font is read");
    drop(area);
    svg
}

/// Draws the grid, the axes and their numbers.
fn draw_frame(plot: &Plot, size: Size, chart: &mut Chart, area: &DrawingArea<SVGBackend, Shift>) -> Outcome {
    let (x, y) = (&plot.x, &plot.y);
    let (left, right) = margins(plot, size);
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
    if plot.row_above.is_empty() {
        return Ok(());
    }
    let (top, bottom) = tiles::row_above(chart);
    let beside =
        (chart.plotting_area().get_pixel_range().0.start - 8 * UNITS as i32, i32::midpoint(top, bottom));
    let style = words(&INK).pos(Pos::new(HPos::Right, VPos::Center));
    area.draw(&Text::new(plot.row_above, beside, style))
}

/// The widths to the left and to the right of the axes, for the labels.
fn margins(plot: &Plot, size: Size) -> (u32, u32) {
    let widest = plot.y.ticks.iter().map(|tick| label_width(&tick.label)).fold(0.0, f64::max);
    let left = 12 + widest.max(label_width(plot.row_above)).ceil() as u32;
    let names = match size.is_labelled {
        true => plot.lines.iter().map(|line| shorten(&line.name).chars().count()).max().unwrap_or(0) as u32,
        false => 0,
    };
    // Half of the last number is outside the axis.
    let beyond = plot.x.ticks.last().map_or(0.0, |tick| label_width(&tick.label) / 2.0).ceil() as u32;
    let right = (18 + CHARACTER * names).max(6 + beyond);
    (left, right)
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

/// Draws each pause as a strip on the horizontal axis with two bars above it.
fn draw_pauses(plot: &Plot, chart: &Chart, area: &DrawingArea<SVGBackend, Shift>) -> Outcome {
    let unit = UNITS as i32;
    let (strip, bars) = PAUSE;
    let (bottom, _) = plot.y.ends();
    let rectangle = |corners| area.draw(&Rectangle::new(corners, ODD.light.filled()));
    for (from, to) in &plot.pauses {
        let (begin, ground) = chart.backend_coord(&(*from, bottom));
        let (end, _) = chart.backend_coord(&(*to, bottom));
        let end = end.max(begin + 2 * unit);
        rectangle([(begin, ground - strip * unit), (end, ground)])?;
        let (middle, foot) = (i32::midpoint(begin, end), ground - (strip + 3) * unit);
        for x in [middle - 3 * unit, middle + unit] {
            rectangle([(x, foot - bars * unit), (x + 2 * unit, foot)])?;
        }
    }
    Ok(())
}

fn draw_lines(lines: &[Line], chart: &mut Chart) -> Outcome {
    for line in lines {
        let path = |segment: &Segment| PathElement::new(segment.clone(), stroke(line.tint, 2));
        chart.draw_series(line.segments.iter().map(path))?;
        let has_dots = line.has_dots && line.points().count() <= DOTS_MAX;
        // A single point is invisible without a dot.
        let dotted = line.segments.iter().filter(|segment| has_dots || segment.len() == 1).flatten();
        chart.draw_series(dotted.map(|point| Circle::new(*point, 3 * UNITS, line.tint.light.filled())))?;
    }
    Ok(())
}

/// A stroke with a width in CSS pixels.
fn stroke(tint: &Tint, width: u32) -> ShapeStyle {
    tint.light.stroke_width(width * UNITS)
}

fn words(tint: &Tint) -> TextStyle<'static> {
    // The backend divides by 1.24, its assumption for the line height of a font.
    let size = f64::from(FONT * UNITS) * 1.24;
    ("sans-serif", size).into_font().color(&tint.light).into_text_style(&(0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::html::{
        palette::{HEAT, series},
        plot::{Mark, Shape, Tile},
    };

    fn plot(name: &str) -> Plot {
        let points = vec![(1.0, 1e3), (10.0, 2e3), (100.0, 1e6)];
        let y = Axis::times(points.iter().map(|(_, y)| *y));
        let lines = vec![Line::new(0, name, vec![points])];
        Plot {
            failures: vec![(2.0, 3.0)],
            pauses: vec![(4.0, 5.0)],
            ..Plot::new(Axis::percentiles(100.0), y, lines)
        }
    }

    #[test]
    fn names_are_escaped_and_every_tint_is_used() {
        for size in [WIDE, NARROW] {
            let svg = draw(&plot("</svg><script>"), size);
            assert!(
                !svg.contains("<script") && svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
                "{svg}"
            );
            assert_eq!(svg.contains("&lt;script&gt;"), size.is_labelled, "{svg}");
            for tint in [series(0), &GRID, &AXIS, &BAD, &ODD] {
                assert!(svg.contains(&format!("\"{}\"", tint.name())), "{tint:?} is not in {svg}");
            }
            assert!(svg.contains("99%") && svg.contains("1 ms"), "{svg}");
        }
    }

    #[test]
    fn tiles_are_beneath_the_lines_and_above_the_grid() {
        let tile = |y, tint| Tile { x: (2.0, 4.0), y, tint };
        let plot = Plot {
            tiles: vec![tile(Some((2e3, 1e4)), &HEAT[3]), tile(None, &HEAT[8])],
            row_above: "failed",
            ..plot("line")
        };
        for size in [BROAD, WIDE, NARROW] {
            let svg = draw(&plot, size);
            let at = |part: &str| svg.find(part).unwrap_or_else(|| panic!("{part} is not in {svg}"));
            assert!(at(&GRID.name()) < at(&HEAT[3].name()) && at(&HEAT[8].name()) < at(&series(0).name()));
            assert_eq!((svg.matches("<svg ").count(), svg.matches("</svg>").count()), (1, 1), "{svg}");
            assert!(at("failed") > 0 && svg.matches("<path ").count() == 2, "{svg}");
        }
    }

    #[test]
    fn arrows_in_a_row_keep_a_distance() {
        let up = |at: f64| Mark { meaning: "".into(), at: (at, 1e4), tint: series(0), shape: Shape::Up };
        let mut plot = plot("");
        plot.marks = (100..1_000).map(|tenths| up(f64::from(tenths) / 10.0)).collect();
        let arrows = draw(&plot, NARROW).matches("stroke-width=\"9\"").count();
        assert!((3..20).contains(&arrows), "{arrows}");
    }
}
