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
        "--format {0} prints one result only: use text, csv or jsonl for several results, or show one at a time"
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
    let (mut names, mut documents) = (Vec::new(), Vec::new());
    for file in files {
        let results = stored::read_all(file)?;
        let is_alone = results.len() == 1;
        for (line, document) in results {
            names.push(Name { file: file.clone(), line: (!is_alone).then_some(line) });
            documents.push(document);
        }
    }
    match <[Document; 1]>::try_from(documents) {
        Ok([Document::Comparison(_) | Document::Sweep(_)]) if has_hdr => {
            return Err(ShowError::NoRunForHdr(files[0].clone()).into());
        }
        Ok([document]) => delivery.deliver(&document)?,
        Err(_) if has_hdr => return Err(ShowError::SeveralHdr.into()),
        Err(several) => {
            let format = delivery.format();
            let write = format.write_several.ok_or(ShowError::SeveralFormatted(format.name))?;
            let reports = side_by_side(&names, several)?;
            delivery.deliver_text(|screen, out| write(&reports, screen, out))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The place of a result.
#[derive(Clone, Debug)]
struct Name {
    file: PathBuf,
    /// Its first line, if the file holds several results.
    line: Option<u64>,
}

/// The reports at these places, each with a name for its column.
fn side_by_side(places: &[Name], several: Vec<Document>) -> Result<Vec<(String, Report)>, ShowError> {
    let report = |(place, document): (&Name, _)| match document {
        Document::Run(report) => Ok(*report),
        Document::Comparison(_) => Err(ShowError::ComparisonAmongOthers(place.file.clone())),
        Document::Sweep(_) => Err(ShowError::SweepAmongOthers(place.file.clone())),
    };
    let reports = places.iter().zip(several).map(report).collect::<Result<Vec<_>, _>>()?;
    Ok(names(places, &reports).into_iter().zip(reports).collect())
}

/// Names that differ: the modes of the servers if they are known, else the names of the files, else their paths.
fn names(places: &[Name], reports: &[Report]) -> Vec<String> {
    let with_line = |name: String, place: &Name| match place.line {
        Some(line) => format!("{name}:{line}"),
        None => name,
    };
    let path = |place: &Name| with_line(place.file.display().to_string(), place);
    let stem = |place: &Name| match place.file.file_stem() {
        Some(stem) => with_line(stem.to_string_lossy().into_owned(), place),
        None => path(place),
    };
    let mode = |(place, report): (_, &Report)| {
        let mode = report.server.as_ref().and_then(|server| server.mode.clone());
        mode.unwrap_or_else(|| stem(place))
    };
    let by_mode: Vec<_> = places.iter().zip(reports).map(mode).collect();
    let by_stem: Vec<_> = places.iter().map(stem).collect();
    [by_mode, by_stem]
        .into_iter()
        .find(|names| all_differ(names))
        .unwrap_or_else(|| places.iter().map(path).collect())
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
            let places = results.map(|(file, _)| Name { file: PathBuf::from(file), line: None });
            assert_eq!(names(&places, &results.map(|(_, mode)| report(mode))), expected);
        }
    }
}
