//! Whether the generators of one load began together.

use super::Finding;
use crate::{
    human::duration_ns,
    report::{Report, Status},
};

/// The part of the window by which generators may begin apart. While not all of them run, the load is another one.
const SKEW_SHARE_MAX: f64 = 0.05;

pub(super) fn late_start(report: &Report) -> Option<Finding> {
    (report.late_start_ns > 0).then(|| Finding {
        status: Status::Suspect,
        value: report.late_start_ns as f64,
        bound: 0.0,
        message: format!("the load began {} later than --start-at asked", duration_ns(report.late_start_ns)),
        advice: "others that were to start then were alone for that time: give a later --start-at, so that every \
                 client is connected by then",
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
            "the generators' windows began {} apart; at most {} may be",
            duration_ns(skew_ns),
            duration_ns(bound as u64)
        ),
        advice: "for that time the load was less than the whole: start them together with --start-at, on machines \
                 whose clocks agree",
    })
}

#[cfg(test)]
mod tests {
    use crate::{report::Merged, verdict::tests::codes};

    #[test]
    fn each_rule_applies_on_its_side_of_the_line() {
        assert_eq!(codes(|report| report.late_start_ns = 0), [""; 0]);
        assert_eq!(codes(|report| report.late_start_ns = 1), ["late_start"]);
        // 5% of a window of 2 s.
        for (start_skew_ns, found) in [(100_000_000, &[][..]), (100_000_001, &["windows_apart"])] {
            let merged = Some(Merged { generators: 2, start_skew_ns });
            assert_eq!(codes(|report| report.merged = merged), found);
        }
    }
}
