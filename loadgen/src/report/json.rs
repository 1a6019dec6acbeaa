//! A result as JSON: the contract for machines.

use std::io;

use serde::Deserialize;

use super::{Document, SCHEMA, comparison::Kind};

/// Why a text is not a result.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is of another version of the contract.
    #[error("it has schema {0}; this program reads schema {SCHEMA}")]
    Schema(u32),
    /// It is something else.
    #[error("it is no result that loadgen has printed with --format json")]
    NoResult(#[from] serde_json::Error),
}

/// What tells results apart.
#[derive(Deserialize)]
struct Head {
    schema: u32,
    kind: Option<Kind>,
}

/// Prints a result as one JSON object.
pub fn write(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    out.write_all(b"\n")
}

/// Reads a result back.
///
/// # Errors
/// When the text is not a result of this contract.
pub fn read(text: &str) -> Result<Document, ReadError> {
    let Head { schema, kind } = serde_json::from_str(text)?;
    if schema != SCHEMA {
        return Err(ReadError::Schema(schema));
    }
    Ok(match kind {
        None => Document::Run(serde_json::from_str(text)?),
        Some(Kind::Comparison) => Document::Comparison(serde_json::from_str(text)?),
        Some(Kind::Sweep) => Document::Sweep(serde_json::from_str(text)?),
    })
}
