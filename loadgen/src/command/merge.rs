//! `loadgen merge`: adds the results of several generators that put one load on the same server at the same time.
//!
//! Requests, errors, rates and histograms are added, and percentiles are computed from the summed histograms. Nothing is
//! averaged. A value that cannot be added, such as the calibration of one generator, is left out, and a note says so.

mod cost;
mod course;
mod distributions;
mod error;
mod fields;
mod fit;
mod identity;
pub(crate) mod input;
mod missing;
mod notes;
mod stages;
mod sum;

use std::{path::PathBuf, process::ExitCode};

use common::log;

pub(crate) use self::{error::MergeError, fit::differences};
use self::{
    input::{Input, Reading},
    sum::{Expectations, Sum},
};
use crate::{
    command::{
        delivery::DeliveryRequest,
        exit::{FAILED, FailOn},
        outcome::{self, Outcome},
    },
    load::slo::Slo,
    result::{Document, Merged, Report},
};

/// A result to merge, without its histograms and intervals.
#[derive(Clone, Debug)]
struct Part {
    /// Its name in errors and notes: its file.
    name: String,
    /// The identity of the run.
    id: String,
    /// The result.
    report: Report,
}

/// What to merge, and what the sum is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeRequest<'a> {
    /// The files with results. Empty: standard input.
    pub files: &'a [PathBuf],
    /// The number of parts of the load. If it is given, broken results and files without a result count as missing parts.
    pub expected: Option<u32>,
    /// Objectives besides those of the parts.
    pub slo: &'a [Slo],
}

/// Carries out `loadgen merge`.
///
/// # Errors
/// When the input cannot be read, the results cannot be added, or the report cannot be delivered.
pub(crate) fn execute(
    request: MergeRequest<'_>,
    delivery: DeliveryRequest<'_>,
    fail_on: FailOn,
) -> anyhow::Result<ExitCode> {
    let mut is_short = false;
    let code = outcome::deliver(delivery, fail_on, || {
        let report = merge(request)?;
        let missing = report.merged.as_ref().and_then(Merged::missing_parts);
        if let Some(missing) = missing.filter(|_| request.expected.is_some()) {
            is_short = true;
            log::say(format_args!("loadgen: {missing}; the report covers the others"));
        }
        Ok(Outcome { document: Document::Run(Box::new(report)), signal: None })
    })?;
    Ok(if is_short { ExitCode::from(FAILED) } else { code })
}

/// Reads all results, and adds them.
fn merge(request: MergeRequest<'_>) -> anyhow::Result<Report> {
    let mut sum = Sum::default();
    let mut input = Input::open(request.files, request.expected.is_some())?;
    while let Some(reading) = input.next()? {
        match reading {
            Reading::Result { name, document } => match document {
                Document::Run(report) => sum.add(name, *report)?,
                Document::Comparison(_) | Document::Sweep(_) => return Err(MergeError::NotARun(name).into()),
            },
            // The source of the last result holds several: their names need lines.
            Reading::Rename(name) => sum.rename(sum.len() - 1, name),
        }
    }
    let notes = input.finish(sum.len())?;
    notes.iter().for_each(|note| log::say(format_args!("loadgen: {note}")));
    Ok(sum.finish(&Expectations { parts: request.expected, slo: request.slo.to_vec(), notes })?)
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
