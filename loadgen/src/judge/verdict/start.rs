//! Whether the generators of one load started together.

use common::human::duration_ns;

use super::Finding;
use crate::result::{Report, Status};

/// The share of the window by which the starts of the generators may differ. While one of them is missing, the load is
/// smaller.
const SKEW_SHARE_MAX: f64 = 0.05;

pub(super) fn late_start(report: &Report) -> Option<Finding> {
    (report.late_start_ns > 0).then(|| Finding {
        status: Status::Suspect,
        value: report.late_start_ns as f64,
        bound: 0.0,
        message: format!("the load began {} after the time of --start-at", duration_ns(report.late_start_ns)),
        advice: "other generators of this load ran alone meanwhile: give a later --start-at, so that every client has \
                 connected by then",
    })
}

pub(super) fn windows_apart(report: &Report) -> Option<Finding> {
    let skew_ns = report.merged.as_ref()?.start_skew_ns;
    let bound = report.elapsed_s * 1e9 * SKEW_SHARE_MAX;
    (skew_ns as f64 > bound).then(|| Finding {
        status: Status::Suspect,
        value: skew_ns as f64,
        bound,
        message: format!(
            "the windows of the generators began {} apart (limit: {})",
            duration_ns(skew_ns),
            duration_ns(bound as u64)
        ),
        advice: "meanwhile the load was smaller than planned: start the generators together with --start-at, on \
                 machines with synchronized clocks",
    })
}

pub(super) fn missing_parts(report: &Report) -> Option<Finding> {
    let merged = report.merged.as_ref()?;
    Some(Finding {
        status: Status::Invalid,
        value: merged.missing_count() as f64,
        bound: 0.0,
        message: merged.missing_parts()?,
        advice: "the numbers cover only a part of the load: look in the logs of the other generators for their results, or \
                 repeat the run",
    })
}

#[cfg(test)]
mod tests {
    use crate::{judge::verdict::tests::codes, result::Merged};

    #[test]
    fn each_rule_applies_beyond_its_bound() {
        assert_eq!(codes(|report| report.late_start_ns = 0), [""; 0]);
        assert_eq!(codes(|report| report.late_start_ns = 1), ["late_start"]);
        // 5% of a window of 2 s.
        for (start_skew_ns, found) in [(100_000_000, &[][..]), (100_000_001, &["windows_apart"])] {
            let merged = Some(Merged { generators: 2, start_skew_ns, ..Merged::default() });
            assert_eq!(codes(|report| report.merged = merged), found);
        }
        for (expected, found) in [(None, &[][..]), (Some(2), &[]), (Some(3), &["missing_parts"])] {
            let merged = Some(Merged { generators: 2, expected, ..Merged::default() });
            assert_eq!(codes(|report| report.merged = merged), found);
        }
    }
}
