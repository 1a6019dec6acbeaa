//! The trouble in a run, and its vote in a search, derived from the reasons of its verdict. Pure.

use crate::result::{Report, Status, sweep::Trouble};

/// The trouble that each reason of a verdict means, in order of precedence: an earlier reason explains later ones. For
/// example, a server that cannot keep up also causes errors and silences.
static MEANINGS: &[(&str, Trouble)] = &[
    ("mismatch", Trouble::Errors),
    ("server_ended", Trouble::Failed),
    ("starved", Trouble::Starved),
    ("cannot_keep_up", Trouble::CannotKeepUp),
    ("silence", Trouble::Starved),
    ("errors", Trouble::Errors),
    ("no_replies", Trouble::Errors),
];
/// Reasons that make the verdict invalid because the generator or its CPU quota limited the rate. Such a run says nothing
/// about the server.
const GENERATOR: [&str; 2] = ["generator_saturated", "throttled"];
/// The reason that makes the verdict invalid because the delay of the generator dominates the response times.
const LATE: &str = "late";

/// The trouble in a run, if any. The verdict decides whether the server kept up, since the number of due requests is
/// random.
pub(crate) fn of(report: &Report) -> Option<Trouble> {
    if GENERATOR.iter().any(|code| is_invalid_for(report, code)) {
        return Some(Trouble::GeneratorSaturated);
    }
    let reasons = &report.verdict.reasons;
    MEANINGS
        .iter()
        .find(|(code, _)| reasons.iter().any(|reason| reason.code == *code))
        .map(|(_, trouble)| *trouble)
}

/// Whether a run holds: the server kept up and met all SLOs. None if that is unknown: there were too few replies, or the
/// generator was the limit or late. A late generator only makes response times longer, so an SLO that is met anyway counts
/// as met.
pub(crate) fn holds(report: &Report) -> Option<bool> {
    let missed = || report.slo.iter().filter(|outcome| !outcome.met);
    match of(report) {
        Some(Trouble::GeneratorSaturated) => None,
        Some(_) => Some(false),
        None if missed().count() > 0 && may_be_due_to_generator(report) => None,
        None if missed().any(|outcome| outcome.actual.is_some() || outcome.failed) => Some(false),
        None if missed().count() > 0 => None,
        None => Some(true),
    }
}

/// Whether the generator may be the cause of long response times.
fn may_be_due_to_generator(report: &Report) -> bool {
    is_invalid_for(report, LATE) || GENERATOR.iter().any(|code| has_reason(report, code))
}

fn has_reason(report: &Report, code: &str) -> bool {
    report.verdict.reasons.iter().any(|reason| reason.code == code)
}

fn is_invalid_for(report: &Report, code: &str) -> bool {
    report.verdict.reasons.iter().any(|reason| reason.code == code && reason.status == Status::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Reason, SloOutcome, tests::example};

    #[test]
    fn the_reason_that_explains_the_others_is_the_trouble() {
        let invalid = Status::Invalid;
        for (reasons, trouble) in [
            (&[][..], None),
            (&[("unfair", Status::Suspect)], None),
            (&[("starved", invalid)], Some(Trouble::Starved)),
            (&[("cannot_keep_up", Status::Suspect)], Some(Trouble::CannotKeepUp)),
            (
                &[("errors", invalid), ("silence", invalid), ("cannot_keep_up", invalid)],
                Some(Trouble::CannotKeepUp),
            ),
            (&[("starved", invalid), ("cannot_keep_up", invalid)], Some(Trouble::Starved)),
            (&[("errors", invalid), ("mismatch", invalid)], Some(Trouble::Errors)),
            // The generator takes precedence: the server is not the cause.
            (
                &[("cannot_keep_up", invalid), ("generator_saturated", invalid)],
                Some(Trouble::GeneratorSaturated),
            ),
            // A late generator has sent all requests.
            (&[("late", invalid)], None),
            // In a closed loop, and with a slightly late generator.
            (&[("throttled", invalid)], Some(Trouble::GeneratorSaturated)),
            (&[("generator_saturated", Status::Suspect), ("late", Status::Suspect)], None),
        ] {
            let mut report = example();
            report.verdict.reasons = reasons
                .iter()
                .map(|(code, status)| Reason {
                    code: (*code).to_owned(),
                    status: *status,
                    message: String::new(),
                    value: 0.0,
                    bound: 0.0,
                    advice: String::new(),
                })
                .collect();
            assert_eq!(of(&report), trouble, "{reasons:?}");
        }
    }

    #[test]
    fn an_slo_missed_with_a_late_generator_is_unknown() {
        let mut report = example();
        let late = Reason {
            code: LATE.to_owned(),
            status: Status::Invalid,
            message: String::new(),
            value: 0.0,
            bound: 0.0,
            advice: String::new(),
        };
        report.verdict.reasons = vec![late];
        for (met, held) in [(true, Some(true)), (false, None)] {
            let outcome = SloOutcome {
                slo: String::new(),
                met,
                actual: Some(1.0),
                failed: false,
                message: String::new(),
            };
            report.slo = vec![outcome];
            assert_eq!(holds(&report), held);
        }
        report.verdict.reasons[0].status = Status::Suspect;
        assert_eq!(holds(&report), Some(false));
        // A generator that was nearly the limit may have been the cause.
        report.verdict.reasons[0].code = GENERATOR[0].to_owned();
        assert_eq!(holds(&report), None);
    }

    #[test]
    fn a_run_holds_if_it_keeps_up_and_meets_all_slos() {
        let met = SloOutcome {
            slo: String::new(),
            met: true,
            actual: Some(1.0),
            failed: false,
            message: String::new(),
        };
        let missed = SloOutcome { met: false, ..met.clone() };
        let withheld = SloOutcome { actual: None, ..missed.clone() };
        let failed = SloOutcome { failed: true, ..withheld.clone() };
        let slow = |report: &mut Report| report.rate.achieved_per_s = 970.0;
        let fast = |_: &mut Report| ();
        for (slo, change, held) in [
            (vec![], fast as fn(&mut Report), Some(true)),
            (vec![&met, &met], fast, Some(true)),
            (vec![&met, &missed], fast, Some(false)),
            // Without a value, a miss is unknown.
            (vec![&met, &withheld], fast, None),
            // A percentile among the failed requests misses every bound.
            (vec![&met, &failed], fast, Some(false)),
            (vec![&missed, &withheld], fast, Some(false)),
            (vec![&met], slow, Some(false)),
            (vec![&withheld], slow, Some(false)),
        ] {
            let mut report = example();
            report.slo = slo.into_iter().cloned().collect();
            change(&mut report);
            report.verdict = crate::judge::verdict::judge(&report);
            assert_eq!(holds(&report), held, "{:?}", report.slo);
        }
    }
}
