//! The layout of a table on a screen: the widths of its columns, and its parts.

use common::human::words;

use super::{GAP, Table};
use crate::format::screen::width;

/// A name that is longer than the screen's width divided by this has its own line.
const NAME_SHARE: usize = 2;

impl Table {
    /// The two lines of a column's head in a part of the table.
    pub(super) fn head(&self, column: usize, part: &[usize]) -> [String; 2] {
        let (first, second) = self.head_lines(column);
        let is_first_of_part = part.iter().position(|of| *of == column) == Some(1);
        let first = if is_first_of_part { self.shared_head(column) } else { first };
        [first.to_owned(), second.to_owned()]
    }

    /// The first line of a column's head, which the column may share with a column before it.
    fn shared_head(&self, column: usize) -> &str {
        let begin = (0..=column).rev().find(|before| !self.is_sharing(*before)).unwrap_or(column);
        self.head_lines(begin).0
    }

    fn head_lines(&self, column: usize) -> (&str, &str) {
        let head = &self.heads[column].0;
        head.split_once('\n').unwrap_or((head, ""))
    }

    /// Whether a column shares the first line of its head with the column before it.
    fn is_sharing(&self, column: usize) -> bool {
        matches!(self.head_lines(column), ("", second) if !second.is_empty())
    }

    /// The width of each column. The cells of a column are wrapped if it has no room beside the first column. The cells of
    /// the last column are also wrapped if the table then fits.
    pub(super) fn widths(&self, columns: usize) -> Vec<usize> {
        let last = self.heads.len() - 1;
        let name_max = columns / NAME_SHARE;
        let names = self.cells(0).map(width).filter(|name| *name <= name_max).max().unwrap_or(0);
        let mut widths = vec![names.max(self.head_width(0)).max(self.indent)];
        let room = columns.saturating_sub(widths[0] + GAP);
        widths.extend((1..=last).map(|column| {
            let longest = self.cells(column).map(width).max().unwrap_or(0).max(self.head_width(column));
            longest.min(room.max(self.least_width(column)))
        }));
        let others = widths[..last].iter().sum::<usize>() + GAP * last;
        if last > 0 && (others + self.least_width(last)..others + widths[last]).contains(&columns) {
            widths[last] = columns - others;
        }
        widths
    }

    /// The cells of a column, without headings.
    fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        let rows = self.rows.iter().filter(|row| row.len() > 1);
        rows.filter_map(move |row| row.get(column)).map(String::as_str)
    }

    fn head_width(&self, column: usize) -> usize {
        let (first, second) = self.head_lines(column);
        width(first).max(width(second))
    }

    /// The width of the longest word of a column.
    fn least_width(&self, column: usize) -> usize {
        // A number and its unit are one word.
        let words = self.cells(column).flat_map(words).map(|word| width(&word));
        words.max().unwrap_or(0).max(self.head_width(column))
    }

    /// The columns of each part: as few parts as possible, of about the same width. Columns that share a head stay together
    /// if a part has room for them.
    pub(super) fn parts(&self, widths: &[usize], columns: usize) -> Vec<Vec<usize>> {
        let room = columns.saturating_sub(widths[0]);
        let groups = self.groups(widths, room);
        let fewest = self.fill(&groups, widths, room);
        let widest = groups.iter().map(|group| taken(group, widths)).max().unwrap_or(0);
        let mut narrower = (widest..room).map(|room| self.fill(&groups, widths, room));
        narrower.find(|parts| parts.len() == fewest.len()).unwrap_or(fewest)
    }

    /// The columns after the first one. Columns that share a head form a group if a part has room for them.
    fn groups(&self, widths: &[usize], room: usize) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for column in 1..self.heads.len() {
            match groups.last_mut() {
                Some(group) if self.is_sharing(column) => group.push(column),
                _ => groups.push(vec![column]),
            }
        }
        let split = |group: Vec<usize>| match taken(&group, widths) <= room {
            true => vec![group],
            false => group.into_iter().map(|column| vec![column]).collect(),
        };
        groups.into_iter().flat_map(split).collect()
    }

    /// Fills each part with as many groups as fit beside the first column, and at least one.
    fn fill(&self, groups: &[Vec<usize>], widths: &[usize], room: usize) -> Vec<Vec<usize>> {
        let (mut parts, mut left) = (vec![vec![0]], room);
        for group in groups {
            let wanted = taken(group, widths);
            match parts.last_mut() {
                Some(part) if wanted <= left || part.len() == 1 => {
                    part.extend(group);
                    left = left.saturating_sub(wanted);
                }
                _ => {
                    // The first column of a part shows the shared line of its head.
                    let longer = width(self.shared_head(group[0])).saturating_sub(widths[group[0]]);
                    parts.push(std::iter::once(0).chain(group.iter().copied()).collect());
                    left = room.saturating_sub(wanted + longer);
                }
            }
        }
        parts
    }
}

/// The width of these columns, with a gap before each.
fn taken(group: &[usize], widths: &[usize]) -> usize {
    group.iter().map(|column| GAP + widths[*column]).sum()
}
