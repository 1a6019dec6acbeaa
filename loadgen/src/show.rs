//! `loadgen show`: prints results that were kept as JSON.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::report::{self, Document, Format, Report, json};

/// Why kept results cannot be shown together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// A comparison has a table of its own.
    #[error("{} is a result of 'loadgen compare', which is shown alone: its table is of several servers already", .0.display())]
    ComparisonAmongOthers(PathBuf),
    /// A sweep has tables of its own.
    #[error("{} is a result of 'loadgen sweep', which is shown alone: it is of many runs already", .0.display())]
    SweepAmongOthers(PathBuf),
    /// A table has no other format.
    #[error(
        "several results are shown as a table, which is text: leave --format {0} out, or show one at a time"
    )]
    SeveralFormatted(&'static str),
}

/// Reads a result.
///
/// # Errors
/// When the file cannot be read or holds no result of this contract.
pub fn read(path: &Path) -> anyhow::Result<Document> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    json::read(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// The reports of several runs from these files, each with the name it goes by in a table.
///
/// # Errors
/// When a comparison or a sweep is among them, or the format is not that of a table.
pub fn side_by_side(
    files: &[PathBuf],
    several: Vec<Document>,
    format: &Format,
) -> Result<Vec<(String, Report)>, ShowError> {
    let report = |(file, document): (&PathBuf, _)| match document {
        Document::Run(report) => Ok((name(file, &report), *report)),
        Document::Comparison(_) => Err(ShowError::ComparisonAmongOthers(file.clone())),
        Document::Sweep(_) => Err(ShowError::SweepAmongOthers(file.clone())),
    };
    let reports = files.iter().zip(several).map(report).collect::<Result<_, _>>()?;
    if format.name != report::FORMATS[0].name {
        return Err(ShowError::SeveralFormatted(format.name));
    }
    Ok(reports)
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
