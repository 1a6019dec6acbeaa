//! A line of progress, and the parts of it that fit a terminal. Pure.

use anstyle::{AnsiColor, Color, Style};
use common::human::duration_ns;

use crate::format::screen::{Screen, width};

/// The style of the passed time in a bar.
const PASSED: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
/// The style of the remaining time in a bar.
const LEFT: Style = Style::new().dimmed();
/// The space between two parts.
const GAP: usize = 2;
/// The shortest bar.
const BAR_MIN: usize = 6;
/// The longest bar.
const BAR_MAX: usize = 24;

/// A part of a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    content: Content,
    /// The part with the highest rank is dropped first if the line is too long.
    rank: u8,
}

#[derive(Clone, Debug, PartialEq)]
enum Content {
    Text(String),
    /// A bar with this share filled. It takes the remaining width.
    Bar(f64),
}

impl Part {
    pub(crate) fn text(rank: u8, text: impl Into<String>) -> Self {
        Self { content: Content::Text(text.into()), rank }
    }

    /// A named response time. It has a fixed width, so that the line does not jump.
    pub(crate) fn time(rank: u8, name: &str, time_ns: Option<u64>) -> Self {
        Self::text(rank, format!("{name} {:>7}", time_ns.map_or("-".to_owned(), duration_ns)))
    }

    /// A bar with a share filled, from 0 to 1.
    pub(crate) fn bar(rank: u8, share: f64) -> Self {
        Self { content: Content::Bar(share.clamp(0.0, 1.0)), rank }
    }

    fn width_min(&self) -> usize {
        match &self.content {
            Content::Text(text) => width(text),
            Content::Bar(_) => BAR_MIN,
        }
    }
}

/// All parts except bars, for a log.
pub(crate) fn whole(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match &part.content {
        Content::Text(text) => Some(text.as_str()),
        Content::Bar(_) => None,
    });
    texts.collect::<Vec<_>>().join("  ")
}

/// The parts that fit the screen, in their order.
pub(crate) fn fit(parts: &[Part], screen: Screen) -> String {
    // Some terminals wrap a line that fills the last column.
    let mut left = screen.columns.saturating_sub(1);
    let mut order: Vec<_> = (0..parts.len()).collect();
    order.sort_by_key(|index| parts[*index].rank);
    let mut is_shown = vec![false; parts.len()];
    let mut is_any = false;
    for index in order {
        let wanted = parts[index].width_min() + if is_any { GAP } else { 0 };
        if wanted <= left {
            left -= wanted;
            (is_shown[index], is_any) = (true, true);
        }
    }
    let shown = parts.iter().zip(is_shown).filter(|(_, is_shown)| *is_shown).map(|(part, _)| part);
    let texts = shown.map(|part| match &part.content {
        Content::Text(text) => text.clone(),
        Content::Bar(share) => bar(*share, (BAR_MIN + left).min(BAR_MAX), screen.has_colour),
    });
    texts.collect::<Vec<_>>().join("  ")
}

fn bar(share: f64, length: usize, has_colour: bool) -> String {
    let filled = (share * length as f64) as usize;
    let (mut passed, left) = ("━".repeat(filled), "─".repeat(length - filled));
    if filled < length && filled > 0 {
        passed.replace_range(passed.len() - '━'.len_utf8().., "╸");
    }
    match has_colour {
        true => format!("{PASSED}{passed}{PASSED:#}{LEFT}{left}{LEFT:#}"),
        false => passed + &left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(columns: usize) -> Screen {
        Screen { columns, has_colour: false }
    }

    #[test]
    fn parts_of_the_highest_rank_are_dropped_first() {
        let parts = [
            Part::text(0, "1.0s of 9.0s"),
            Part::bar(2, 0.5),
            Part::text(1, "1,000/s"),
            Part::text(3, "failed 0"),
        ];
        for (columns, line) in [
            (60, "1.0s of 9.0s  ━━━━━━━━━━━╸────────────  1,000/s  failed 0"),
            (42, "1.0s of 9.0s  ━━━╸────  1,000/s  failed 0"),
            (39, "1.0s of 9.0s  ━━━━━━╸────────  1,000/s"),
            (30, "1.0s of 9.0s  ━━╸───  1,000/s"),
            (29, "1.0s of 9.0s  1,000/s"),
            (20, "1.0s of 9.0s"),
            (5, ""),
        ] {
            assert_eq!(fit(&parts, screen(columns)), line, "{columns}");
        }
        assert_eq!(whole(&parts), "1.0s of 9.0s  1,000/s  failed 0");
    }

    #[test]
    fn a_bar_shows_its_share_and_its_colours_have_no_width() {
        for (share, drawn) in
            [(0.0, "──────"), (0.2, "╸─────"), (0.5, "━━╸───"), (1.0, "━━━━━━"), (7.0, "━━━━━━")]
        {
            assert_eq!(fit(&[Part::bar(0, share)], screen(7)), drawn);
            let coloured = fit(&[Part::bar(0, share)], Screen { columns: 7, has_colour: true });
            assert_eq!((width(&coloured), coloured.contains('\u{1b}')), (6, true));
        }
    }
}
