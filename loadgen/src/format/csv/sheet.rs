//! Writes a spreadsheet: a line of column names, then rows.

use std::io;

use csv::Writer;

use super::columns::{COLUMNS_OF_A_PART, Cell, Column, columns};
use crate::result::Report;

/// A spreadsheet that is being written.
pub(super) struct Sheet<'a> {
    columns: Vec<Column>,
    writer: Writer<&'a mut dyn io::Write>,
}

impl<'a> Sheet<'a> {
    /// Writes the names of the columns. `front` are columns before those that every sheet has.
    pub(super) fn begin(front: &[&str], out: &'a mut dyn io::Write) -> io::Result<Self> {
        let mut sheet = Self { columns: columns(), writer: Writer::from_writer(out) };
        let names = sheet.columns.iter().map(|column| column.name.as_str());
        sheet.writer.write_record(front.iter().copied().chain(COLUMNS_OF_A_PART).chain(names))?;
        Ok(sheet)
    }

    /// Writes the row of a whole run.
    pub(super) fn write_total(&mut self, front: &[&str], report: &Report) -> io::Result<()> {
        let part = ["total".to_owned(), "0".to_owned(), report.elapsed_s.to_string()];
        self.write(front, part, |column| (column.of)(report))
    }

    /// Writes a row.
    pub(super) fn write(
        &mut self,
        front: &[&str],
        part: [String; COLUMNS_OF_A_PART.len()],
        cell: impl Fn(&Column) -> Cell,
    ) -> io::Result<()> {
        let front = front.iter().map(|text| (*text).to_owned());
        let cells = self.columns.iter().map(|column| cell(column).unwrap_or_default());
        Ok(self.writer.write_record(front.chain(part).chain(cells))?)
    }

    /// Writes the rows that are still in memory.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
