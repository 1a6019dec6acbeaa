//! The histograms of a run as files that HdrHistogram's tools read. They are as fine as they were recorded: nothing is
//! withheld, as whoever reads them sees how many samples there are.

mod log;
mod percentiles;

use std::path::{Path, PathBuf};

use anyhow::Context;
use hdrhistogram::Histogram;

use super::Report;
use crate::summary;

/// A file: how its name ends, and what is in it.
struct File {
    suffix: &'static str,
    write: fn(&Report) -> anyhow::Result<Vec<u8>>,
}

static FILES: &[File] = &[
    File { suffix: ".hgrm", write: |report| percentiles_of(&report.latency_ns.response.hdr, "response") },
    File {
        suffix: ".service.hgrm",
        write: |report| percentiles_of(&report.latency_ns.service.hdr, "service"),
    },
    File { suffix: ".hlog", write: log::write },
];

/// The files whose names begin with `prefix`.
pub fn paths(prefix: &Path) -> impl Iterator<Item = PathBuf> {
    FILES.iter().map(move |file| path(prefix, file))
}

/// The files whose names begin with `prefix`, with what is in them.
///
/// # Errors
/// When the report lacks a histogram, as one can that was read.
pub fn files(prefix: &Path, report: &Report) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    FILES.iter().map(|file| Ok((path(prefix, file), (file.write)(report)?))).collect()
}

fn path(prefix: &Path, file: &File) -> PathBuf {
    // Not `with_extension`: what stands after a dot in the prefix is not ours to replace.
    let mut path = prefix.as_os_str().to_owned();
    path.push(file.suffix);
    path.into()
}

fn percentiles_of(hdr: &str, times: &str) -> anyhow::Result<Vec<u8>> {
    let histogram = histogram(hdr, || format!("its {times} times"))?;
    let mut text = Vec::new();
    percentiles::write(&histogram, &mut text)?;
    Ok(text)
}

fn histogram(hdr: &str, of: impl Fn() -> String) -> anyhow::Result<Histogram<u64>> {
    let missing = || format!("the result has no histogram of {} for --hdr: is it of an older loadgen?", of());
    summary::deserialise(hdr).with_context(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn a_prefix_with_a_dot_is_kept() {
        let names: Vec<_> = paths(Path::new("results/v1.2")).collect();
        let expected = ["results/v1.2.hgrm", "results/v1.2.service.hgrm", "results/v1.2.hlog"];
        assert_eq!(names, expected.map(PathBuf::from));
    }

    #[test]
    fn what_a_result_lacks_is_named() {
        let mut report = example();
        assert_eq!(files(Path::new("a"), &report).unwrap().len(), 3);
        report.latency_ns.service.hdr = String::new();
        let said = files(Path::new("a"), &report).unwrap_err().to_string();
        assert!(said.contains("its service times"), "{said}");
    }
}
