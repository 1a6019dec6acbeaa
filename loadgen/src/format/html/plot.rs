//! A plot as data.

use std::borrow::Cow;

use super::{
    axis::Axis,
    curve::Segment,
    palette::{self, Tint},
};

/// A plot.
#[derive(Debug)]
pub(super) struct Plot {
    /// The quantity that it shows.
    pub(super) title: String,
    /// An explanation in a sentence or two.
    pub(super) caption: String,
    /// The content in words, for screen readers.
    pub(super) in_words: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Marked points.
    pub(super) marks: Vec<Mark>,
    /// Filled rectangles, beneath the lines. Later tints cover earlier ones.
    pub(super) tiles: Vec<Tile>,
    /// The meaning of the tints of the tiles, after a title for all of them, which may be empty.
    pub(super) scale: (&'static str, Vec<(&'static Tint, Cow<'static, str>)>),
    /// The name of the row above the plot. Empty without one.
    pub(super) row_above: &'static str,
    /// Parts of the horizontal axis in which requests failed, from and to.
    pub(super) failures: Vec<(f64, f64)>,
    /// What `failures` are, for the key.
    pub(super) failures_are: &'static str,
    /// Parts of the horizontal axis in which the load generator paused, from and to.
    pub(super) pauses: Vec<(f64, f64)>,
    /// A remark below the plot. Empty without one.
    pub(super) remark: String,
    /// Whether it takes the whole width of the page.
    pub(super) is_broad: bool,
}

/// A filled rectangle.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    /// Its left and its right end.
    pub(super) x: (f64, f64),
    /// Its lower and its upper end. None for a place in the row above the plot.
    pub(super) y: Option<(f64, f64)>,
    pub(super) tint: &'static Tint,
}

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    /// The name. Empty if the plot has one line, which its title names.
    pub(super) name: String,
    pub(super) tint: &'static Tint,
    pub(super) segments: Vec<Segment>,
    /// Whether its points are drawn as well, since they are the measured values.
    pub(super) has_dots: bool,
}

/// A marked point.
#[derive(Debug)]
pub(super) struct Mark {
    /// The meaning, which is the same for all marks of a shape.
    pub(super) meaning: Cow<'static, str>,
    pub(super) at: (f64, f64),
    pub(super) tint: &'static Tint,
    pub(super) shape: Shape,
}

/// The shape of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A circle around the point.
    Ring,
    /// An arrowhead around the point: the true value is here or further right.
    Right,
    /// An arrowhead to the left: the true value is here or further left.
    Left,
    /// A triangle.
    Triangle,
    /// Two lines through the point.
    Cross,
    /// An arrow upwards: the true time is longer, as requests got no reply.
    Up,
}

impl Plot {
    /// A plot of lines alone, without words.
    pub(super) fn new(x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        Self {
            title: String::new(),
            caption: String::new(),
            in_words: String::new(),
            x,
            y,
            lines,
            marks: Vec::new(),
            tiles: Vec::new(),
            scale: ("", Vec::new()),
            row_above: "",
            failures: Vec::new(),
            failures_are: "requests failed",
            pauses: Vec::new(),
            remark: String::new(),
            is_broad: false,
        }
    }
}

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
