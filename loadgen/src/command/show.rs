//! `loadgen show`: prints stored results.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use crate::{
    command::{
        delivery::{Delivery, DeliveryRequest},
        stored,
    },
    format::Names,
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
        "--format {0} prints one result only: use text, csv, jsonl or html for several results, or show one at a time"
    )]
    SeveralFormatted(&'static str),
    /// More results than a format prints side by side.
    #[error(
        "--format {format} prints at most {max} results side by side, and these are {results}: show fewer, or use text, csv or \
         jsonl"
    )]
    TooMany {
        /// The format.
        format: &'static str,
        /// The most results that it prints.
        max: usize,
        /// The results that were asked for.
        results: usize,
    },
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
            let print = format.several.as_ref().ok_or(ShowError::SeveralFormatted(format.name))?;
            if let Some(max) = print.runs_max.filter(|max| several.len() > *max) {
                return Err(ShowError::TooMany { format: format.name, max, results: several.len() }.into());
            }
            let reports = side_by_side(&names, several, print.names)?;
            delivery.deliver_text(|screen, out| (print.write)(&reports, screen, out))?;
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

impl Name {
    fn path(&self) -> String {
        self.with_line(self.file.display().to_string())
    }

    /// The name of the file.
    fn file_name(&self) -> String {
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned());
        name.map_or_else(|| self.path(), |name| self.with_line(name))
    }

    /// The name of the file without its ending.
    fn stem(&self) -> String {
        let stem = self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.map_or_else(|| self.path(), |stem| self.with_line(stem))
    }

    fn with_line(&self, name: String) -> String {
        match self.line {
            Some(line) => format!("{name}:{line}"),
            None => name,
        }
    }
}

/// The reports at these places, each with a name.
fn side_by_side(
    places: &[Name],
    several: Vec<Document>,
    names: Names,
) -> Result<Vec<(String, Report)>, ShowError> {
    let report = |(place, document): (&Name, _)| match document {
        Document::Run(report) => Ok(*report),
        Document::Comparison(_) => Err(ShowError::ComparisonAmongOthers(place.file.clone())),
        Document::Sweep(_) => Err(ShowError::SweepAmongOthers(place.file.clone())),
    };
    let reports = places.iter().zip(several).map(report).collect::<Result<Vec<_>, _>>()?;
    let names = match names {
        Names::Mode => modes(places, &reports),
        Names::File => files(places),
    };
    Ok(names.into_iter().zip(reports).collect())
}

/// Names that differ: the modes of the servers if they are known, else the names of the files, else their paths.
fn modes(places: &[Name], reports: &[Report]) -> Vec<String> {
    let mode = |(place, report): (&Name, &Report)| {
        let mode = report.server.as_ref().and_then(|server| server.mode.clone());
        mode.unwrap_or_else(|| place.stem())
    };
    let by_mode: Vec<_> = places.iter().zip(reports).map(mode).collect();
    let by_stem: Vec<_> = places.iter().map(Name::stem).collect();
    [by_mode, by_stem]
        .into_iter()
        .find(|names| all_differ(names))
        .unwrap_or_else(|| places.iter().map(Name::path).collect())
}

/// Names that differ: those of the files, else their paths.
fn files(places: &[Name]) -> Vec<String> {
    let by_name: Vec<_> = places.iter().map(Name::file_name).collect();
    if all_differ(&by_name) { by_name } else { places.iter().map(Name::path).collect() }
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
            assert_eq!(modes(&places, &results.map(|(_, mode)| report(mode))), expected);
        }
    }

    #[test]
    fn each_file_has_a_different_name() {
        for (results, expected) in [
            ([("x/a.json", None), ("b.json", None)], ["a.json", "b.json"]),
            ([("x/a.json", None), ("y/a.json", None)], ["x/a.json", "y/a.json"]),
            ([("x/a.jsonl", Some(1)), ("x/a.jsonl", Some(3))], ["a.jsonl:1", "a.jsonl:3"]),
        ] {
            let places = results.map(|(file, line)| Name { file: PathBuf::from(file), line });
            assert_eq!(files(&places), expected);
        }
    }
}
