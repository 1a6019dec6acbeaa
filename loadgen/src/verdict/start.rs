//! Whether the load began when it was to.

use super::Finding;
use crate::{
    human::duration_ns,
    report::{Report, Status},
};

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

#[cfg(test)]
mod tests {
    use crate::verdict::tests::codes;

    #[test]
    fn each_rule_applies_on_its_side_of_the_line() {
        assert_eq!(codes(|report| report.late_start_ns = 0), [""; 0]);
        assert_eq!(codes(|report| report.late_start_ns = 1), ["late_start"]);
    }
}
