//! `loadgen show`: prints results that were kept as JSON.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::report::{Document, Report, json};

/// Why kept results cannot be shown as it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// A comparison has a table of its own.
    #[error("{} is a result of 'loadgen compare', which is shown alone: its table is of several servers already", .0.display())]
    ComparisonAmongOthers(PathBuf),
    /// A sweep has tables of its own.
    #[error("{} is a result of 'loadgen sweep', which is shown alone: it is of many runs already", .0.display())]
    SweepAmongOthers(PathBuf),
    /// The format is of one result.
    #[error(
        "several results are shown side by side, as text or csv: leave --format {0} out, or show one at a time"
    )]
    SeveralFormatted(&'static str),
    /// Several results have no distribution in common.
    #[error("--hdr writes the distributions of one run: show one result at a time")]
    SeveralHdr,
    /// A result of several runs has no distribution of its own.
    #[error("{} is not the result of one run, whose distributions --hdr writes: --format json has those of each run in it", .0.display())]
    NoRunForHdr(PathBuf),
}

/// Reads a result.
///
/// # Errors
/// When the file cannot be read or holds no result of this contract.
pub fn read(path: &Path) -> anyhow::Result<Document> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    json::read(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// The reports of several runs from these files, each with the name it goes by where they stand side by side.
///
/// # Errors
/// When a comparison or a sweep is among them.
pub fn side_by_side(files: &[PathBuf], several: Vec<Document>) -> Result<Vec<(String, Report)>, ShowError> {
    let report = |(file, document): (&PathBuf, _)| match document {
        Document::Run(report) => Ok(*report),
        Document::Comparison(_) => Err(ShowError::ComparisonAmongOthers(file.clone())),
        Document::Sweep(_) => Err(ShowError::SweepAmongOthers(file.clone())),
    };
    let reports = files.iter().zip(several).map(report).collect::<Result<Vec<_>, _>>()?;
    Ok(names(files, &reports).into_iter().zip(reports).collect())
}

/// The servers' models where they are known, else what the files are called; what tells them apart in any case.
fn names(files: &[PathBuf], reports: &[Report]) -> Vec<String> {
    let path = |file: &PathBuf| file.display().to_string();
    let stem = |file: &PathBuf| {
        file.file_stem().map_or_else(|| path(file), |stem| stem.to_string_lossy().into_owned())
    };
    let mode = |(file, report): (_, &Report)| {
        let mode = report.server.as_ref().and_then(|server| server.mode.clone());
        mode.unwrap_or_else(|| stem(file))
    };
    let by_mode: Vec<_> = files.iter().zip(reports).map(mode).collect();
    let by_stem: Vec<_> = files.iter().map(stem).collect();
    [by_mode, by_stem]
        .into_iter()
        .find(|names| all_differ(names))
        .unwrap_or_else(|| files.iter().map(path).collect())
}

fn all_differ(names: &[String]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn a_name_tells_a_result_from_every_other() {
        let report = |mode: Option<&str>| {
            let mut report = example();
            report.server = report.server.filter(|_| mode.is_some());
            report.server.iter_mut().for_each(|server| server.mode = mode.map(str::to_owned));
            report
        };
        for (results, expected) in [
            ([("a.json", Some("pool")), ("b.json", Some("task"))], ["pool", "task"]),
            ([("a.json", Some("pool")), ("b.json", None)], ["pool", "b"]),
            ([("before.json", Some("pool")), ("after.json", Some("pool"))], ["before", "after"]),
            ([("x/a.json", None), ("y/a.json", None)], ["x/a.json", "y/a.json"]),
        ] {
            let files = results.map(|(file, _)| PathBuf::from(file));
            assert_eq!(names(&files, &results.map(|(_, mode)| report(mode))), expected);
        }
    }
}
