//! Exit codes, and the code of a result.

use common::signal::Termination;

use crate::result::{
    Document, Status,
    comparison::{Comparison, against},
    sweep::Sweep,
};

/// Success.
pub(crate) const DONE: u8 = 0;
/// Failure: no result, or the report could not be written as requested.
pub(crate) const FAILED: u8 = 1;
/// Bad usage: an invalid command line.
pub const BAD_USAGE: u8 = 2;
/// A missed SLO, a load that `--abort-on` ended, or a server that is worse than it was.
pub(crate) const SLO_MISSED: u8 = 3;
/// A verdict that `--fail-on` names, or a worse one.
pub(crate) const VERDICT: u8 = 4;

/// The verdicts that cause exit code 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FailOn {
    /// 'suspect' and 'invalid'
    Suspect,
    /// 'invalid' only
    Invalid,
    /// None
    Never,
}

impl FailOn {
    fn fails(self, verdict: Status) -> bool {
        match self {
            Self::Suspect => verdict >= Status::Suspect,
            Self::Invalid => verdict >= Status::Invalid,
            Self::Never => false,
        }
    }
}

/// The exit code after the report of `document` is delivered. A signal takes precedence, then a failed server, then
/// `--abort-on`, then the verdict, then a missed SLO or a regression: these say nothing about numbers that cannot be trusted,
/// while a condition of `--abort-on` did what it was for.
pub(crate) fn code(document: &Document, signal: Option<Termination>, fail_on: FailOn) -> u8 {
    let (has_failed, verdict, slo_missed) = match document {
        Document::Run(report) => (false, report.verdict.status, report.slo.iter().any(|slo| !slo.met)),
        Document::Comparison(comparison) => of_comparison(comparison),
        Document::Sweep(sweep) => of_sweep(sweep),
    };
    let is_aborted = matches!(document, Document::Run(report) if report.aborted.is_some());
    match signal {
        Some(signal) => signal.exit_code(),
        None if has_failed => FAILED,
        None if is_aborted => SLO_MISSED,
        None if fail_on.fails(verdict) => VERDICT,
        None if slo_missed => SLO_MISSED,
        None => DONE,
    }
}

/// Whether a server failed or nothing is known of the change, the worst verdict of all rounds, and whether an SLO was missed or
/// a server is worse than it was.
fn of_comparison(comparison: &Comparison) -> (bool, Status, bool) {
    let subjects = &comparison.subjects;
    let rounds = subjects.iter().flat_map(|subject| &subject.rounds);
    let against = comparison.against.as_ref().map(|against| against.outcome);
    (
        subjects.iter().any(|subject| subject.failure.is_some())
            || against == Some(against::Outcome::Unknown),
        rounds.map(|round| round.report.verdict.status).max().unwrap_or(Status::Valid),
        subjects.iter().flat_map(|subject| &subject.slo).any(|slo| !slo.met)
            || against == Some(against::Outcome::Regression),
    )
}

/// The same for a sweep. A sweep has no verdict of its own: it looks for the levels that make a run invalid.
fn of_sweep(sweep: &Sweep) -> (bool, Status, bool) {
    let mut capacities = sweep.subjects.iter().filter_map(|subject| subject.capacity.as_ref());
    (
        sweep.subjects.iter().any(|subject| subject.failure.is_some()),
        Status::Valid,
        capacities.any(|capacity| capacity.low.is_none()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::compare::against::tests::held;
    use crate::result::{Aborted, SloOutcome, comparison, sweep, tests::example};

    #[test]
    fn a_signal_precedes_the_verdict_and_the_verdict_precedes_a_missed_slo() {
        use FailOn::{Invalid, Never, Suspect};
        use Status::{Invalid as Bad, Suspect as Odd, Valid as Good};
        let run = |status, met| {
            let mut report = example();
            report.verdict.status = status;
            let (slo, message) = ("p99<1ms".to_owned(), String::new());
            report.slo.push(SloOutcome { slo, met, actual: None, failed: false, message });
            Document::Run(Box::new(report))
        };
        for (status, met, fail_on, expected) in [
            (Good, true, Suspect, 0),
            (Odd, true, Suspect, 4),
            (Odd, true, Invalid, 0),
            (Odd, false, Invalid, 3),
            (Odd, false, Suspect, 4),
            (Bad, false, Invalid, 4),
            (Bad, false, Never, 3),
            (Bad, true, Never, 0),
        ] {
            assert_eq!(code(&run(status, met), None, fail_on), expected, "{status:?} {met} {fail_on:?}");
        }
        assert_eq!(code(&run(Bad, false), Some(Termination::Interrupt), Invalid), 130);
        let mut aborted = run(Bad, true);
        let Document::Run(report) = &mut aborted else { unreachable!("it is a run") };
        report.aborted = Some(Aborted {
            condition: "p99>1ms/1s".to_owned(),
            at_s: 1.0,
            value: None,
            message: String::new(),
        });
        assert_eq!(code(&aborted, None, Invalid), SLO_MISSED);
        assert_eq!(code(&aborted, Some(Termination::Interrupt), Invalid), 130);
    }

    #[test]
    fn all_rounds_of_a_comparison_count() {
        let mut comparison = comparison::tests::example();
        let code = |comparison: &Comparison, fail_on| {
            code(&Document::Comparison(Box::new(comparison.clone())), None, fail_on)
        };
        assert_eq!(code(&comparison, FailOn::Suspect), FAILED, "one of the servers failed");
        comparison.subjects.retain(|subject| subject.failure.is_none());
        let rounds = |comparison: &mut Comparison, status| {
            let rounds = comparison.subjects.iter_mut().flat_map(|subject| &mut subject.rounds);
            rounds.for_each(|round| round.report.verdict.status = status);
        };
        rounds(&mut comparison, Status::Valid);
        assert_eq!(code(&comparison, FailOn::Suspect), DONE);
        comparison.subjects[0].rounds[1].report.verdict.status = Status::Suspect;
        assert_eq!((code(&comparison, FailOn::Suspect), code(&comparison, FailOn::Invalid)), (VERDICT, DONE));
        use against::Outcome::{None as Same, Regression, Unknown};
        for (outcome, fail_on, expected) in [
            (Same, FailOn::Never, DONE),
            (Regression, FailOn::Never, SLO_MISSED),
            (Regression, FailOn::Suspect, VERDICT),
            (Unknown, FailOn::Never, FAILED),
        ] {
            comparison.against = held().against;
            comparison.against.as_mut().unwrap().outcome = outcome;
            assert_eq!(code(&comparison, fail_on), expected, "{outcome:?} {fail_on:?}");
        }
    }

    #[test]
    fn a_sweep_has_no_verdict() {
        let mut sweep = sweep::tests::example();
        sweep.subjects.retain(|subject| subject.failure.is_none());
        let mut invalid = sweep.subjects.iter().flat_map(|subject| &subject.points);
        assert!(invalid.any(|point| point.report.verdict.status == Status::Invalid));
        assert_eq!(code(&Document::Sweep(Box::new(sweep)), None, FailOn::Suspect), DONE);
    }
}
