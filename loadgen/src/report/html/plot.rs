//! A plot: what is on it, and how it stands on the page, once for wide pages and once for a phone's.

use maud::{Markup, PreEscaped, html};

use super::{
    axis::Axis,
    curve::Segment,
    draw::{self, NARROW, WIDE},
    palette::{self, Tint},
};

/// What is drawn.
#[derive(Debug)]
pub(super) struct Plot {
    /// What it shows.
    pub(super) title: String,
    /// What a reader should know of it, in a sentence or two.
    pub(super) caption: String,
    /// What it tells those who do not see it.
    pub(super) in_words: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Points that mean something.
    pub(super) marks: Vec<Mark>,
    /// Parts of the horizontal axis in which requests failed, from and to.
    pub(super) failures: Vec<(f64, f64)>,
}

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    /// What it is. Empty: the plot has no other line, and its title says it.
    pub(super) name: String,
    pub(super) tint: &'static Tint,
    pub(super) segments: Vec<Segment>,
    /// Whether each of its points is drawn, too, as they are what was measured.
    pub(super) has_dots: bool,
}

/// A point that means something.
#[derive(Debug)]
pub(super) struct Mark {
    /// What it means, which is the same for all points of a shape.
    pub(super) meaning: &'static str,
    pub(super) at: (f64, f64),
    pub(super) tint: &'static Tint,
    pub(super) shape: Shape,
}

/// What such a point looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A circle around it.
    Ring,
    /// A triangle.
    Triangle,
    /// Two lines through it.
    Cross,
}

/// The shapes, and how words show them.
static SHAPES: [(Shape, &str); 3] = [(Shape::Ring, "◯"), (Shape::Triangle, "▲"), (Shape::Cross, "×")];

impl Line {
    /// The line with this number.
    pub(super) fn new(number: usize, name: &str, segments: Vec<Segment>) -> Self {
        Self { name: name.to_owned(), tint: palette::series(number), segments, has_dots: false }
    }

    /// All of its points.
    pub(super) fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.segments.iter().flatten().copied()
    }
}

impl Plot {
    /// The plot on the page. Where no line has a point there is none.
    pub(super) fn figure(&self) -> Markup {
        if self.lines.iter().all(|line| line.points().next().is_none()) {
            return html! {};
        }
        html! {
            figure.plot {
                figcaption {
                    h3 { (self.title) }
                    p { (self.caption) }
                }
                (self.key())
                @for (class, size) in [("wide", WIDE), ("narrow", NARROW)] {
                    // The only markup that is not escaped here: plotters has escaped the names in it.
                    div class=(class) role="img" aria-label=(self.in_words) {
                        (PreEscaped(draw::draw(self, size)))
                    }
                }
            }
        }
    }

    /// What the lines are; where there is room, it is written beside them.
    fn key(&self) -> Markup {
        let (width, middle, stroke) = (34 * draw::UNITS, 5 * draw::UNITS, 2 * draw::UNITS);
        html! {
            ul.key {
                @for line in self.lines.iter().filter(|line| !line.name.is_empty()) {
                    li.narrow {
                        svg viewBox={ "0 0 " (width) " " (2 * middle) } aria-hidden="true" {
                            line x1="0" x2=(width) y1=(middle) y2=(middle)
                                stroke=(line.tint.name()) stroke-width=(stroke) {}
                        }
                        (line.name)
                    }
                }
                @for (shape, sign) in &SHAPES {
                    @if let Some(mark) = self.marks.iter().find(|mark| mark.shape == *shape) {
                        li { span.sign aria-hidden="true" { (sign) } " " (mark.meaning) }
                    }
                }
                @if !self.failures.is_empty() {
                    li { span.sign.bad aria-hidden="true" { "×" } " requests failed" }
                }
            }
        }
    }
}
