//! Draws the tiles of a plot: one path for each tint, as there may be thousands of them.

use std::fmt::Write;

use super::{Chart, ROW_ABOVE, UNITS};
use crate::format::html::{palette::Tint, plot::Tile};

/// The paths of the tiles, in the order in which their tints come first.
pub(super) fn paths(tiles: &[Tile], chart: &Chart) -> String {
    let mut paths: Vec<(&Tint, String)> = Vec::new();
    for tile in tiles {
        let place = paths.iter().position(|(tint, _)| tint.name() == tile.tint.name());
        let place = place.unwrap_or_else(|| {
            paths.push((tile.tint, String::new()));
            paths.len() - 1
        });
        let (left, right, top, bottom) = corners(tile, chart);
        let (width, height) = ((right - left).max(1), (bottom - top).max(1));
        let _ = write!(paths[place].1, "M{left} {top}h{width}v{height}h-{width}z");
    }
    // Without smooth edges, no gap shows between two tiles side by side.
    paths.iter().fold(String::new(), |mut all, (tint, path)| {
        let _ = writeln!(all, "<path fill=\"{}\" shape-rendering=\"crispEdges\" d=\"{path}\"/>", tint.name());
        all
    })
}

/// The upper and the lower end of the row above the plot, in the picture's units.
pub(super) fn row_above(chart: &Chart) -> (i32, i32) {
    let (height, distance) = ROW_ABOVE;
    let ends = chart.plotting_area().get_pixel_range().1;
    let bottom = ends.start.min(ends.end) - distance * UNITS as i32;
    (bottom - height * UNITS as i32, bottom)
}

/// The left, right, upper and lower end of a tile, in the picture's units.
fn corners(tile: &Tile, chart: &Chart) -> (i32, i32, i32, i32) {
    let at = |x, y| chart.backend_coord(&(x, y));
    let (low, high) = tile.y.unwrap_or_default();
    let ((left, bottom), (right, top)) = (at(tile.x.0, low), at(tile.x.1, high));
    let (top, bottom) = if tile.y.is_some() { (top, bottom) } else { row_above(chart) };
    (left, right, top, bottom)
}
