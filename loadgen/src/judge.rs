//! The verdict and the SLOs: whether the numbers of a result deserve trust, and whether they meet the objectives. Pure
//! functions over results.

pub(crate) mod slo;
pub(crate) mod verdict;

use crate::{load::slo::Slo, result::Report};

/// Adds the verdict and the outcomes of the SLOs to a report.
pub(crate) fn complete(report: &mut Report, objectives: &[Slo]) {
    report.verdict = verdict::judge(report);
    // Those of --until come after them.
    report.slo.splice(0..0, slo::judge(objectives, report));
}
