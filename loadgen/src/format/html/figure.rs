//! A plot on the page: once for wide screens and once for phones, with its key.

use maud::{Markup, PreEscaped, html};

use super::{
    draw::{self, BROAD, NARROW, WIDE},
    parts::prose,
    plot::{Line, Plot, Shape},
};

/// The shapes, and their signs in the key.
static SHAPES: [(Shape, &str); 6] = [
    (Shape::Ring, "◯"),
    (Shape::Right, "▷"),
    (Shape::Left, "◁"),
    (Shape::Triangle, "▲"),
    (Shape::Cross, "×"),
    (Shape::Up, "↑"),
];

impl Plot {
    /// The plot on the page. Empty without a point, a mark and a tile.
    pub(super) fn figure(&self) -> Markup {
        let has_points = self.lines.iter().any(|line| line.points().next().is_some());
        if self.marks.is_empty() && self.tiles.is_empty() && !has_points {
            return html! {};
        }
        let sizes: &[_] = match self.is_broad {
            true => &[("broad", BROAD), ("wide", WIDE), ("narrow", NARROW)],
            false => &[("wide", WIDE), ("narrow", NARROW)],
        };
        html! {
            figure.plot.whole-row[self.is_broad] {
                figcaption {
                    h3 { (self.title) }
                    p { (prose(&self.caption)) }
                }
                (self.key())
                (self.key_of_tints())
                @for (class, size) in sizes {
                    // plotters has escaped the names in it.
                    div class=(class) role="img" aria-label=(self.in_words) {
                        (PreEscaped(draw::draw(self, *size)))
                    }
                }
                @if !self.remark.is_empty() { p.small { (prose(&self.remark)) } }
            }
        }
    }

    /// Whether only the marks of a line are visible.
    fn has_marks_alone(&self, line: &Line) -> bool {
        line.points().next().is_none() && self.marks.iter().any(|mark| mark.tint.name() == line.tint.name())
    }

    /// The key. Wide plots have the names of the lines beside the lines instead.
    fn key(&self) -> Markup {
        let (width, middle, stroke) = (34 * draw::UNITS, 5 * draw::UNITS, 2 * draw::UNITS);
        html! {
            ul.key {
                @for line in self.lines.iter().filter(|line| !line.name.is_empty()) {
                    // A line without a point has no end for its name.
                    li class=[(!self.has_marks_alone(line)).then_some("narrow")] {
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
                    li { span.sign.bad aria-hidden="true" { "×" } " " (self.failures_are) }
                }
                @if !self.pauses.is_empty() {
                    li { span.sign.odd aria-hidden="true" { "‖" } " the load generator paused" }
                }
            }
        }
    }

    /// The key of the tints of the tiles.
    fn key_of_tints(&self) -> Markup {
        let (title, tints) = &self.scale;
        html! {
            @if !tints.is_empty() {
                ul.key {
                    @if !title.is_empty() { li { (title) } }
                    @for (tint, meaning) in tints {
                        li {
                            svg.tint viewBox="0 0 1 1" aria-hidden="true" {
                                rect width="1" height="1" fill=(tint.name()) {}
                            }
                            (meaning)
                        }
                    }
                }
            }
        }
    }
}
