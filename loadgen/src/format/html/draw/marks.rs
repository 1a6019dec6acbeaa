//! Draws the marks of a plot so that none covers another.

use plotters::{
    coord::Shift,
    prelude::{Circle, Color, Cross, DrawingArea, PathElement, SVGBackend, TriangleMarker},
};

use super::{Chart, Outcome, UNITS, stroke};
use crate::format::html::{
    palette::Tint,
    plot::{Mark, Shape},
};

/// Half of the size of a mark, in CSS pixels.
const MARK: i32 = 7;
/// The width of an arrow's stroke, in the picture's units. No line has this width, so the style of the page can leave arrows
/// undashed.
const ARROW_STROKE: u32 = 2 * UNITS + 1;
/// How much larger a mark is than the mark inside it.
const RING_STEP: i32 = 4;
/// How far an arrow upwards moves to the left if it would cover another.
const UP_STEP: i32 = 8;
/// The least distance between arrows upwards of one line, in CSS pixels. Closer ones are omitted, since there may be one for
/// each interval.
const UP_GAP: i32 = 24;
/// How far a triangle moves up if it would cover another.
const TRIANGLE_STEP: i32 = 13;

/// Draws the marks.
pub(super) fn draw(marks: &[Mark], chart: &Chart, area: &DrawingArea<SVGBackend, Shift>) -> Outcome {
    let unit = UNITS as i32;
    let at = |mark: &Mark| {
        let (x, y) = chart.backend_coord(&mark.at);
        (x / unit, y / unit)
    };
    let mut shown: Vec<(&Mark, (i32, i32))> = Vec::new();
    for mark in marks {
        let (x, y) = at(mark);
        let is_same = |other: &Mark| other.shape == mark.shape && other.tint.name() == mark.tint.name();
        let has_room =
            shown.iter().all(|(other, (other_x, _))| !is_same(other) || (x - other_x).abs() >= UP_GAP);
        if mark.shape != Shape::Up || has_room {
            shown.push((mark, (x, y)));
        }
    }
    let points: Vec<_> = shown.iter().map(|(mark, at)| (mark.shape, *at)).collect();
    for (((Mark { tint, .. }, _), (shape, (x, y))), place) in shown.iter().zip(&points).zip(beside(&points)) {
        let middle = (x * unit, y * unit);
        let size = (MARK + place * RING_STEP) * unit;
        match shape {
            Shape::Ring => area.draw(&Circle::new(middle, size, stroke(tint, 2)))?,
            Shape::Right => area.draw(&arrow(middle, size, tint))?,
            Shape::Left => area.draw(&arrow(middle, -size, tint))?,
            Shape::Triangle => {
                let above = (x * unit, (y - place * TRIANGLE_STEP) * unit);
                area.draw(&TriangleMarker::new(above, MARK * unit, tint.light.filled()))?;
            }
            Shape::Up => area.draw(&upwards((x - place * UP_STEP) * unit, y * unit, tint))?,
            Shape::Cross => area.draw(&Cross::new(middle, (MARK - 2) * unit, stroke(tint, 2)))?,
        }
    }
    Ok(())
}

/// An arrowhead around a point: to the right if its length is positive, else to the left.
fn arrow((x, y): (i32, i32), length: i32, tint: &Tint) -> PathElement<(i32, i32)> {
    let half = length.abs();
    let corners = [(x - length, y - half), (x + length, y), (x - length, y + half), (x - length, y - half)];
    PathElement::new(corners.to_vec(), tint.light.stroke_width(ARROW_STROKE))
}

/// An arrow upwards around a point.
fn upwards(x: i32, y: i32, tint: &Tint) -> PathElement<(i32, i32)> {
    let (half, head) = (MARK * UNITS as i32, 4 * UNITS as i32);
    let tip = (x, y - half);
    let corners = [(x - head, tip.1 + head), tip, (x + head, tip.1 + head), tip, (x, y + half)];
    PathElement::new(corners.to_vec(), tint.light.stroke_width(ARROW_STROKE))
}

/// How many earlier marks each mark would cover. It is then drawn around them, above them, or to the left of them,
/// depending on its shape.
fn beside(marks: &[(Shape, (i32, i32))]) -> Vec<i32> {
    let width = |shape: Shape| if shape == Shape::Up { UP_STEP } else { 2 * MARK };
    let is_knee = |shape: Shape| matches!(shape, Shape::Ring | Shape::Right | Shape::Left);
    let mut placed: Vec<i32> = Vec::new();
    for (number, (shape, (x, y))) in marks.iter().enumerate() {
        let near = marks[..number].iter().zip(&placed).filter(|((other, (other_x, other_y)), _)| {
            (*shape == *other || (is_knee(*shape) && is_knee(*other)))
                && (x - other_x).abs() < width(*shape)
                && (y - other_y).abs() < 2 * MARK
        });
        let place = match shape {
            Shape::Cross => 0,
            _ => near.map(|(_, place)| place + 1).max().unwrap_or(0),
        };
        placed.push(place);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_hides_another() {
        let knee = (100, 50);
        for (marks, places) in [
            (vec![(Shape::Ring, knee), (Shape::Ring, knee), (Shape::Right, knee)], vec![0, 1, 2]),
            (vec![(Shape::Ring, knee), (Shape::Ring, (200, 50))], vec![0, 0]),
            (
                vec![(Shape::Triangle, (100, 300)), (Shape::Triangle, (106, 300)), (Shape::Ring, (100, 300))],
                vec![0, 1, 0],
            ),
            (vec![(Shape::Cross, knee), (Shape::Cross, knee)], vec![0, 0]),
            (
                vec![(Shape::Up, knee), (Shape::Up, knee), (Shape::Up, (124, 50)), (Shape::Ring, knee)],
                vec![0, 1, 0, 0],
            ),
        ] {
            assert_eq!(beside(&marks), places, "{marks:?}");
        }
    }
}
