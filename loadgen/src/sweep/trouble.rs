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
/// Reasons that say of the load that it was not what was asked for: where they make the verdict invalid, nothing can
/// be said of the server.
static OF_THE_GENERATOR: &[&str] = &["generator_saturated", "late"];

/// What was wrong with a run, if the server did not do all that was asked. That less was achieved than offered is left
/// to the verdict: it knows how many requests were due by chance.
pub fn of(report: &Report) -> Option<Trouble> {
    let reasons = &report.verdict.reasons;
    let is_generator = |code: &str, status| status == Status::Invalid && OF_THE_GENERATOR.contains(&code);
    if reasons.iter().any(|reason| is_generator(&reason.code, reason.status)) {
        return Some(Trouble::GeneratorSaturated);
    }
    MEANINGS
        .iter()
        .find(|(code, _)| reasons.iter().any(|reason| reason.code == *code))
        .map(|(_, trouble)| *trouble)
}

/// Whether a run holds: the server kept up and met all that was asked. None where that cannot be said: too few replies
/// stand behind what was asked, or the generator itself was the limit.
pub fn holds(report: &Report) -> Option<bool> {
    let missed = || report.slo.iter().filter(|outcome| !outcome.met);
    match of(report) {
        Some(Trouble::GeneratorSaturated) => None,
        Some(_) => Some(false),
        None if missed().any(|outcome| outcome.actual.is_some()) => Some(false),
        None if missed().count() > 0 => None,
        None => Some(true),
    }
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
            (&[("cannot_keep_up", invalid), ("late", invalid)], Some(Trouble::GeneratorSaturated)),
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
