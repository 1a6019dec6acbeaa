//! Whether a run was one that the server carried: from the reasons of its verdict to what a ladder and a search need to
//! know. Pure.

use crate::report::{Report, Status, sweep::Trouble};

/// What the reasons of a verdict mean here, in the order in which they are asked: what is wrong first explains the
/// rest. A rate that is not reached leaves requests behind, which then are errors and silences.
static MEANINGS: &[(&str, Trouble)] = &[
    ("mismatch", Trouble::Errors),
    ("server_ended", Trouble::Failed),
    ("starved", Trouble::Starved),
    ("cannot_keep_up", Trouble::CannotKeepUp),
    ("silence", Trouble::Starved),
    ("errors", Trouble::Errors),
    ("no_replies", Trouble::Errors),
];
/// Makes the verdict invalid where the generator kept the offered rate from being reached: then nothing can be said of
/// the server.
const GENERATOR: &str = "generator_saturated";
/// Makes the verdict invalid where the response times are more the generator's lateness than the server's.
const LATE: &str = "late";

/// What was wrong with a run, if the server did not do all that was asked. That less was achieved than offered is left
/// to the verdict: it knows how many requests were due by chance.
pub fn of(report: &Report) -> Option<Trouble> {
    if is_invalid_for(report, GENERATOR) {
        return Some(Trouble::GeneratorSaturated);
    }
    let reasons = &report.verdict.reasons;
    MEANINGS
        .iter()
        .find(|(code, _)| reasons.iter().any(|reason| reason.code == *code))
        .map(|(_, trouble)| *trouble)
}

/// Whether a run holds: the server kept up and met all that was asked. None where that cannot be said: too few replies
/// stand behind what was asked, or the generator itself was the limit, or was late. Both only make a response time longer,
/// so what is met in spite of it is met.
pub fn holds(report: &Report) -> Option<bool> {
    let missed = || report.slo.iter().filter(|outcome| !outcome.met);
    match of(report) {
        Some(Trouble::GeneratorSaturated) => None,
        Some(_) => Some(false),
        None if missed().count() > 0 && (is_invalid_for(report, LATE) || is_told(report, GENERATOR)) => None,
        None if missed().any(|outcome| outcome.actual.is_some()) => Some(false),
        None if missed().count() > 0 => None,
        None => Some(true),
    }
}

fn is_told(report: &Report, code: &str) -> bool {
    report.verdict.reasons.iter().any(|reason| reason.code == code)
}

fn is_invalid_for(report: &Report, code: &str) -> bool {
    report.verdict.reasons.iter().any(|reason| reason.code == code && reason.status == Status::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Reason, SloOutcome, tests::example};

    #[test]
    fn what_explains_the_rest_is_what_was_wrong() {
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
            // Never the server is blamed for it.
            (
                &[("cannot_keep_up", invalid), ("generator_saturated", invalid)],
                Some(Trouble::GeneratorSaturated),
            ),
            // A late generator has sent all that was asked.
            (&[("late", invalid)], None),
            // Of a closed loop, and of a load that is only a little late.
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
    fn what_a_late_generator_makes_the_server_miss_is_not_known() {
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
            let outcome = SloOutcome { slo: String::new(), met, actual: Some(1.0), message: String::new() };
            report.slo = vec![outcome];
            assert_eq!(holds(&report), held);
        }
        report.verdict.reasons[0].status = Status::Suspect;
        assert_eq!(holds(&report), Some(false));
    }

    #[test]
    fn a_run_holds_when_it_keeps_up_and_meets_everything() {
        let met = SloOutcome { slo: String::new(), met: true, actual: Some(1.0), message: String::new() };
        let missed = SloOutcome { met: false, ..met.clone() };
        let withheld = SloOutcome { actual: None, ..missed.clone() };
        let slow = |report: &mut Report| report.rate.achieved_per_s = 970.0;
        let fast = |_: &mut Report| ();
        for (slo, change, held) in [
            (vec![], fast as fn(&mut Report), Some(true)),
            (vec![&met, &met], fast, Some(true)),
            (vec![&met, &missed], fast, Some(false)),
            // It is not known to miss it.
            (vec![&met, &withheld], fast, None),
            (vec![&missed, &withheld], fast, Some(false)),
            (vec![&met], slow, Some(false)),
            (vec![&withheld], slow, Some(false)),
        ] {
            let mut report = example();
            report.slo = slo.into_iter().cloned().collect();
            change(&mut report);
            report.verdict = crate::verdict::judge(&report);
            assert_eq!(holds(&report), held, "{:?}", report.slo);
        }
    }
}
