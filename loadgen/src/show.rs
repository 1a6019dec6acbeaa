//! `loadgen show`: prints results that were kept as JSON.

use std::{fs, path::Path};

use anyhow::Context;

use crate::report::{Report, SCHEMA, json};

/// Reads a result and the name it goes by in a table.
///
/// # Errors
/// When the file cannot be read or holds no result of this contract.
pub fn read(path: &Path) -> anyhow::Result<(String, Report)> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let report = json::read(&text)
        .with_context(|| format!("{} is no result of 'loadgen run --format json'", path.display()))?;
    if report.schema != SCHEMA {
        anyhow::bail!("{} has schema {}; this program reads schema {SCHEMA}", path.display(), report.schema);
    }
    Ok((name(path, &report), report))
}

/// The server's model where it is known, else what the file is called.
fn name(path: &Path, report: &Report) -> String {
    let mode = report.server.as_ref().and_then(|server| server.mode.as_ref());
    match (mode, path.file_stem()) {
        (Some(mode), _) => mode.clone(),
        (None, Some(stem)) => stem.to_string_lossy().into_owned(),
        (None, None) => report.plan.targets.join(", "),
    }
}
