//! Tables that fit the screen. A wider table is split between its columns. Each part repeats the first column, which names
//! the rows. No word is broken.

mod layout;

use std::io::{self, Write};

use super::page::{FAINT, Page, paint, tint};
use crate::format::screen::{width, wrap};

/// A column: its head, and the cell of a row; None if the row does not know the value. A head has up to two lines. A column
/// with an empty first line shares the first line of the column before it.
pub(crate) struct Column<T> {
    pub(crate) head: &'static str,
    pub(crate) cell: fn(&T) -> Option<String>,
}

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    heads: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
    is_ruled: bool,
    /// The least width of the first column.
    indent: usize,
}

/// Between two columns.
const GAP: usize = 2;
/// The cell of an unknown value.
const UNKNOWN: &str = "-";

/// Prints the rows, each with its name. Omits a column without any value. The first column holds words.
pub(super) fn write_rows<T>(columns: &[Column<T>], rows: &[(&str, &T)], out: &mut Page) -> io::Result<()> {
    let known = |column: &&Column<T>| rows.iter().any(|(_, row)| (column.cell)(row).is_some());
    let columns: Vec<_> = columns.iter().filter(known).collect();
    let side = |index| if index == 0 { Side::Left } else { Side::Right };
    let heads = columns.iter().enumerate().map(|(index, column)| (column.head, side(index)));
    let mut table = Table::new([("", Side::Left)].into_iter().chain(heads));
    for (name, row) in rows {
        let cells =
            columns.iter().map(|column| (column.cell)(row).map_or(UNKNOWN.to_owned(), |cell| tint(&cell)));
        table.row(std::iter::once((*name).to_owned()).chain(cells));
    }
    table.write(out)
}

impl Table {
    /// A table with these heads and a rule below them.
    pub(super) fn new<'a>(heads: impl IntoIterator<Item = (&'a str, Side)>) -> Self {
        let heads = heads.into_iter().map(|(head, side)| (head.to_owned(), side)).collect();
        Self { heads, rows: Vec::new(), is_ruled: true, indent: 0 }
    }

    /// A table without a rule, whose first column has at least this width.
    pub(super) fn plain<'a>(indent: usize, heads: impl IntoIterator<Item = (&'a str, Side)>) -> Self {
        Self { is_ruled: false, indent, ..Self::new(heads) }
    }

    /// Adds a row. A single cell is a heading, and may be longer than its column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints the table.
    pub(super) fn write(&self, out: &mut Page) -> io::Result<()> {
        let columns = out.columns();
        let widths = self.widths(columns);
        for (index, part) in self.parts(&widths, columns).into_iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            self.write_part(&part, &widths, out)?;
        }
        Ok(())
    }

    fn write_part(&self, part: &[usize], widths: &[usize], out: &mut Page) -> io::Result<()> {
        let heads: Vec<_> = part.iter().map(|column| self.head(*column, part)).collect();
        // The first column of a part may show a head that it shares elsewhere.
        let widths: Vec<_> = part
            .iter()
            .zip(&heads)
            .map(|(column, [first, second])| widths[*column].max(width(first)).max(width(second)))
            .collect();
        let lines = if heads.iter().any(|[_, second]| !second.is_empty()) { 2 } else { 1 };
        for at in 0..lines {
            self.write_line(
                part,
                &widths,
                &heads.iter().map(|head| head[at].as_str()).collect::<Vec<_>>(),
                out,
            )?;
        }
        if self.is_ruled {
            let rule = "─".repeat(widths.iter().sum::<usize>() + GAP * (part.len() - 1));
            writeln!(out, "{}", paint(FAINT, &rule))?;
        }
        for row in &self.rows {
            self.write_row(row, part, &widths, out)?;
        }
        Ok(())
    }

    fn write_row(&self, row: &[String], part: &[usize], widths: &[usize], out: &mut Page) -> io::Result<()> {
        let name = row.first().map_or("", String::as_str);
        let is_heading = row.len() == 1;
        if is_heading || width(name) > widths[0] {
            for line in wrap(name, out.columns()) {
                writeln!(out, "{line}")?;
            }
        }
        if is_heading {
            return Ok(());
        }
        let cells = part.iter().zip(widths).map(|(column, room)| match row.get(*column) {
            Some(name) if *column == 0 && width(name) > *room => vec![String::new()],
            Some(cell) => wrap(cell, *room),
            None => vec![String::new()],
        });
        let cells: Vec<_> = cells.collect();
        for at in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let line: Vec<_> = cells.iter().map(|cell| cell.get(at).map_or("", String::as_str)).collect();
            self.write_line(part, widths, &line, out)?;
        }
        Ok(())
    }

    fn write_line(&self, part: &[usize], widths: &[usize], cells: &[&str], out: &mut Page) -> io::Result<()> {
        let mut line = String::new();
        for ((column, room), cell) in part.iter().zip(widths).zip(cells) {
            let space = " ".repeat(room.saturating_sub(width(cell)));
            if *column != part[0] {
                line.push_str(&" ".repeat(GAP));
            }
            match self.heads[*column].1 {
                Side::Left => line.extend([cell, space.as_str()]),
                Side::Right => line.extend([space.as_str(), cell]),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::screen::Screen;

    fn text(table: &Table, columns: usize) -> String {
        let mut page = Page::new(Screen { columns, has_colour: false });
        table.write(&mut page).unwrap();
        let mut text = Vec::new();
        page.print(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn table() -> Table {
        let right = ["replies\n/s", "response\np50", "\np99", "memory"].map(|head| (head, Side::Right));
        let mut table = Table::new([("", Side::Left), ("verdict", Side::Left)].into_iter().chain(right));
        table.row(["event-loop", "valid", "1,000", "1.04ms", "3.96ms", "4.00MiB"]);
        table.row(["tokio-task", "SUSPECT 3/5", "999", "900µs", "-", "4.00MiB"]);
        table
    }

    #[test]
    fn columns_that_do_not_fit_are_printed_below_with_names_and_heads() {
        insta::assert_snapshot!(text(&table(), 80), @r"
                    verdict      replies  response           memory
                                      /s       p50     p99
        ───────────────────────────────────────────────────────────
        event-loop  valid          1,000    1.04ms  3.96ms  4.00MiB
        tokio-task  SUSPECT 3/5      999     900µs       -  4.00MiB
        ");
        insta::assert_snapshot!(text(&table(), 46), @r"
                    verdict      replies
                                      /s
        ────────────────────────────────
        event-loop  valid          1,000
        tokio-task  SUSPECT 3/5      999

                    response           memory
                         p50     p99
        ─────────────────────────────────────
        event-loop    1.04ms  3.96ms  4.00MiB
        tokio-task     900µs       -  4.00MiB
        ");
        insta::assert_snapshot!(text(&table(), 26), @r"
                    verdict
        ───────────────────────
        event-loop  valid
        tokio-task  SUSPECT 3/5

                    replies
                         /s
        ───────────────────
        event-loop    1,000
        tokio-task      999

                    response
                         p50
        ────────────────────
        event-loop    1.04ms
        tokio-task     900µs

                    response
                         p99
        ────────────────────
        event-loop    3.96ms
        tokio-task         -

                     memory
        ───────────────────
        event-loop  4.00MiB
        tokio-task  4.00MiB
        ");
    }

    #[test]
    fn a_long_name_has_its_own_line() {
        let mut table = table();
        table.row(["/a/path/that/is/longer/than/half/of/the/line.json", "valid", "1", "1µs", "1µs", "1MiB"]);
        table.row(["a heading that is longer than its column"]);
        insta::assert_snapshot!(text(&table, 64), @r"
                    verdict      replies  response           memory
                                      /s       p50     p99
        ───────────────────────────────────────────────────────────
        event-loop  valid          1,000    1.04ms  3.96ms  4.00MiB
        tokio-task  SUSPECT 3/5      999     900µs       -  4.00MiB
        /a/path/that/is/longer/than/half/of/the/line.json
                    valid              1       1µs     1µs     1MiB
        a heading that is longer than its column
        ");
    }

    #[test]
    fn the_last_column_is_wrapped_if_the_table_then_fits() {
        let mut table = Table::new([("", Side::Left), ("ratio", Side::Right), ("", Side::Left)]);
        table.row(["response p99", "1.000", "no detectable difference"]);
        insta::assert_snapshot!(text(&table, 40), @r"
                      ratio
        ────────────────────────────────────────
        response p99  1.000  no detectable
                             difference
        ");
        insta::assert_snapshot!(text(&table, 24), @r"
                      ratio
        ───────────────────
        response p99  1.000


        ────────────────────────
        response p99  no
                      detectable
                      difference
        ");
    }

    #[test]
    fn no_line_is_longer_than_the_screen_and_no_word_is_broken() {
        for columns in 26..130 {
            let text = text(&table(), columns);
            assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
            for word in ["event-loop", "SUSPECT 3/5", "response", "4.00MiB"] {
                assert!(text.contains(word), "{columns}:\n{text}");
            }
        }
    }
}
