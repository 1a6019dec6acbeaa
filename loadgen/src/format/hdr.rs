//! The histograms of a run as files for HdrHistogram's tools. They have the precision of the recording. No percentile is
//! withheld, since the files contain the number of samples.

mod log;
mod percentiles;

use std::path::{Path, PathBuf};

use anyhow::Context;
use hdrhistogram::Histogram;

use crate::result::{Latency, Report, summary};

/// A file: the end of its name, and its content.
struct File {
    suffix: &'static str,
    write: fn(&Report) -> anyhow::Result<Vec<u8>>,
}

static FILES: &[File] = &[
    File { suffix: ".hgrm", write: |report| percentiles_of(&report.latency_ns.response, "response") },
    // Always written, so that a file of an earlier run does not remain.
    File {
        suffix: ".successful.hgrm",
        write: |report| percentiles_of(report.latency_ns.of_completed(), "response"),
    },
    File { suffix: ".service.hgrm", write: |report| percentiles_of(&report.latency_ns.service, "service") },
    File { suffix: ".hlog", write: log::write },
];

/// The files whose names begin with `prefix`.
pub(crate) fn paths(prefix: &Path) -> impl Iterator<Item = PathBuf> {
    FILES.iter().map(move |file| path(prefix, file))
}

/// The files whose names begin with `prefix`, with their content.
///
/// # Errors
/// If the report lacks a histogram. A report that was read from a file may lack one.
pub(crate) fn files(prefix: &Path, report: &Report) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    FILES.iter().map(|file| Ok((path(prefix, file), (file.write)(report)?))).collect()
}

fn path(prefix: &Path, file: &File) -> PathBuf {
    // `with_extension` would replace what follows a dot in the prefix.
    let mut path = prefix.as_os_str().to_owned();
    path.push(file.suffix);
    path.into()
}

fn percentiles_of(latency: &Latency, times: &str) -> anyhow::Result<Vec<u8>> {
    let histogram = histogram(&latency.hdr, || format!("its {times} times"))?;
    let mut text = Vec::new();
    percentiles::write(&histogram, latency.failed_tail.as_ref(), &mut text)?;
    Ok(text)
}

fn histogram(hdr: &str, of: impl Fn() -> String) -> anyhow::Result<Histogram<u64>> {
    let missing =
        || format!("the result has no histogram of {} for --hdr: an older loadgen may have written it", of());
    summary::deserialise(hdr).with_context(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    #[test]
    fn a_prefix_with_a_dot_is_kept() {
        let names: Vec<_> = paths(Path::new("results/v1.2")).collect();
        let expected = [".hgrm", ".successful.hgrm", ".service.hgrm", ".hlog"];
        assert_eq!(names, expected.map(|suffix| PathBuf::from(format!("results/v1.2{suffix}"))));
    }

    #[test]
    fn a_missing_histogram_is_named() {
        let mut report = example();
        assert_eq!(files(Path::new("a"), &report).unwrap().len(), 4);
        report.latency_ns.service.hdr = String::new();
        let error = files(Path::new("a"), &report).unwrap_err().to_string();
        assert!(error.contains("its service times"), "{error}");
    }
}
