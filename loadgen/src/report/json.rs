//! A result as JSON: the contract for machines.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// Prints a result as one JSON object.
pub fn write<T: Serialize>(result: &T, out: &mut dyn io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, result)?;
    out.write_all(b"\n")
}

/// Reads a result back.
///
/// # Errors
/// When the text is not a result of this contract.
pub fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text)
}
