//! `loadgen show`: prints stored results.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use crate::{
    command::{
        delivery::{Delivery, DeliveryRequest},
        stored,
    },
    result::{Document, Report},
};

/// Why stored results cannot be printed as requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShowError {
    /// A comparison among several results.
    #[error("{} is a result of 'loadgen compare', which can only be shown alone", .0.display())]
    ComparisonAmongOthers(PathBuf),
    /// A sweep among several results.
    #[error("{} is a result of 'loadgen sweep', which can only be shown alone", .0.display())]
    SweepAmongOthers(PathBuf),
    /// A format that prints one result only.
    #[error(
        "--format {0} prints one result only: use text or csv for several results, or show one at a time"
    )]
    SeveralFormatted(&'static str),
    /// Histograms of several results.
    #[error("--hdr writes the histograms of one run: show one result at a time")]
    SeveralHdr,
    /// Histograms of a comparison or a sweep.
    #[error("{} holds several runs, and --hdr writes the histograms of one run: the histograms of each run are in the JSON result", .0.display())]
    NoRunForHdr(PathBuf),
}

/// Carries out `loadgen show`.
///
/// # Errors
/// When a file cannot be read, or the results cannot be shown as `request` says.
pub(crate) fn execute(files: &[PathBuf], request: DeliveryRequest<'_>) -> anyhow::Result<ExitCode> {
    let has_hdr = request.hdr.is_some();
    let delivery = Delivery::prepare(request)?;
    let documents = files.iter().map(|file| stored::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    match <[Document; 1]>::try_from(documents) {
        Ok([Document::Comparison(_) | Document::Sweep(_)]) if has_hdr => {
            return Err(ShowError::NoRunForHdr(files[0].clone()).into());
        }
        Ok([document]) => delivery.deliver(&document)?,
        Err(_) if has_hdr => return Err(ShowError::SeveralHdr.into()),
        Err(several) => {
            let format = delivery.format();
            let write = format.write_several.ok_or(ShowError::SeveralFormatted(format.name))?;
            let reports = side_by_side(files, several)?;
            delivery.deliver_text(|screen, out| write(&reports, screen, out))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The reports in these files, each with a name for its column.
fn side_by_side(files: &[PathBuf], several: Vec<Document>) -> Result<Vec<(String, Report)>, ShowError> {
    let report = |(file, document): (&PathBuf, _)| match document {
        Document::Run(report) => Ok(*report),
        Document::Comparison(_) => Err(ShowError::ComparisonAmongOthers(file.clone())),
        Document::Sweep(_) => Err(ShowError::SweepAmongOthers(file.clone())),
    };
    let reports = files.iter().zip(several).map(report).collect::<Result<Vec<_>, _>>()?;
    Ok(names(files, &reports).into_iter().zip(reports).collect())
}

/// Names that differ: the modes of the servers if they are known, else the names of the files, else their paths.
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
    use crate::result::tests::example;

    #[test]
    fn each_result_has_a_different_name() {
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
