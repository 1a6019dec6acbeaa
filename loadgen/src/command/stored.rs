//! Stored results: what `--format json` and `--format jsonl` wrote.

mod stream;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, anyhow};

pub(crate) use self::stream::{Foreign, Found, Results};
use crate::{
    format::json::{self, ReadError},
    result::{Document, verdicts},
};

/// The size of a read.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads a stored result.
///
/// # Errors
/// When the file cannot be read, or holds no result that this version can read.
pub(crate) fn read(path: &Path) -> anyhow::Result<Document> {
    let bytes = bytes_of(path)?;
    let read = str::from_utf8(&bytes).map_err(|_| ReadError::NotJson).and_then(json::read);
    Ok(completed(read.with_context(|| cannot_use(path))?))
}

/// Reads all stored results of a file, each with the number of its first line.
///
/// # Errors
/// When the file cannot be read, holds no result, or holds one that this version cannot read.
pub(crate) fn read_all(path: &Path) -> anyhow::Result<Vec<(u64, Document)>> {
    let bytes = bytes_of(path)?;
    let error = match str::from_utf8(&bytes).map_err(|_| ReadError::NotJson).and_then(json::read) {
        Ok(document) => return Ok(vec![(1, completed(document))]),
        Err(error @ (ReadError::NotJson | ReadError::Truncated)) => error,
        Err(error) => return Err(error).with_context(|| cannot_use(path)),
    };
    let (mut results, mut documents) = (Results::new(bytes.as_slice()), Vec::new());
    while let Some(Found { line, document }) = results.next()? {
        match document {
            Ok(document) => documents.push((line, document)),
            Err(_) if line == 1 && documents.is_empty() => {
                return Err(error).with_context(|| cannot_use(path));
            }
            Err(error) => {
                return Err(anyhow!(error)
                    .context(format!("{}, line {line}: the result cannot be used", path.display())));
            }
        }
    }
    if documents.is_empty() { Err(error).with_context(|| cannot_use(path)) } else { Ok(documents) }
}

/// Opens a file with results. `-` is standard input.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<Results<Box<dyn BufRead>>> {
    let input: Box<dyn BufRead> = match path == Path::new("-") {
        true => Box::new(BufReader::with_capacity(BUFFER_BYTES, io::stdin())),
        false => Box::new(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?)),
    };
    Ok(Results::new(input))
}

fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn cannot_use(path: &Path) -> String {
    format!("{} cannot be used", path.display())
}

/// Adds what a result of an older version lacks.
fn completed(mut document: Document) -> Document {
    if let Document::Comparison(comparison) = &mut document {
        verdicts::complete(comparison);
    }
    document
}
