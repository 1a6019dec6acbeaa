//! Stored results: files that `--format json` wrote.

use std::{fs, path::Path};

use anyhow::Context;

use crate::{
    format::json::{self, ReadError},
    result::{Document, verdicts},
};

/// Reads a stored result.
///
/// # Errors
/// When the file cannot be read, or holds no result that this version can read.
pub(crate) fn read(path: &Path) -> anyhow::Result<Document> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let read = str::from_utf8(&bytes).map_err(|_| ReadError::NotJson).and_then(json::read);
    let mut document = read.with_context(|| format!("{} cannot be used", path.display()))?;
    if let Document::Comparison(comparison) = &mut document {
        verdicts::complete(comparison);
    }
    Ok(document)
}
