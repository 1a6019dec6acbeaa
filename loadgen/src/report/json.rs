//! The report as JSON: the contract for machines.

use std::io;

use super::Report;

/// Prints the report as one JSON object.
pub fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}

/// Reads a report back.
///
/// # Errors
/// When the text is not a report of this contract.
pub fn read(text: &str) -> serde_json::Result<Report> {
    serde_json::from_str(text)
}
