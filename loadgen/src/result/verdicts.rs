//! Combines the verdicts of several rounds, and the reasons of several servers. Pure.

use crate::result::{
    Reason, Report, Status,
    comparison::{Comparison, RoundsReason, RoundsVerdict},
};

/// Adds the verdicts that a result of an older version of this program lacks.
pub(crate) fn complete(comparison: &mut Comparison) {
    for subject in &mut comparison.subjects {
        subject.verdict = of_rounds(subject.rounds.iter().map(|round| (round.round, &round.report)));
    }
}

/// Combines the verdicts of numbered rounds: the worst one, and each reason once.
pub(crate) fn of_rounds<'a>(rounds: impl Iterator<Item = (usize, &'a Report)>) -> RoundsVerdict {
    let mut all = RoundsVerdict::default();
    for (round, report) in rounds {
        all.rounds += 1;
        if report.verdict.status > all.status {
            (all.status, all.count) = (report.verdict.status, 0);
        }
        all.count += usize::from(report.verdict.status == all.status);
        for reason in &report.verdict.reasons {
            add(&mut all.reasons, round, reason);
        }
    }
    // The worst first. The sort is stable.
    all.reasons.sort_by_key(|found| std::cmp::Reverse(found.reason.status));
    all
}

/// Adds a reason. It keeps the values of the first round in which it was worst.
fn add(reasons: &mut Vec<RoundsReason>, round: usize, reason: &Reason) {
    match reasons.iter_mut().find(|known| known.reason.code == reason.code) {
        Some(known) => {
            known.rounds.push(round);
            if reason.status > known.reason.status {
                known.reason = reason.clone();
            }
        }
        None => reasons.push(RoundsReason { reason: reason.clone(), rounds: vec![round] }),
    }
}

/// A reason that several servers have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared<'a> {
    /// The reason, as the first server has it.
    pub reason: &'a Reason,
    /// Each server's name, the number of its rounds with the reason, and the number of all its rounds.
    pub servers: Vec<(&'a str, usize, usize)>,
}

impl Shared<'_> {
    /// The servers and their counts: `event-loop 5/5, io-uring 1/5`. A single round has no count.
    pub(crate) fn names(&self) -> String {
        let name = |(name, count, rounds): &(&str, usize, usize)| match rounds {
            1 => (*name).to_owned(),
            rounds => format!("{name} {count}/{rounds}"),
        };
        self.servers.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// The reasons of several named servers: each once, the worst first, without those for which `is_reported` holds: these are
/// reported elsewhere.
pub(crate) fn shared<'a>(
    servers: impl Iterator<Item = (&'a str, &'a RoundsVerdict)>,
    is_reported: impl Fn(&str, &Reason) -> bool,
) -> Vec<Shared<'a>> {
    let mut all: Vec<Shared<'a>> = Vec::new();
    for (name, verdict) in servers {
        for RoundsReason { reason, rounds } in
            verdict.reasons.iter().filter(|found| !is_reported(name, &found.reason))
        {
            let server = (name, rounds.len(), verdict.rounds);
            match all.iter_mut().find(|known| known.reason.code == reason.code) {
                Some(known) => {
                    known.servers.push(server);
                    if reason.status > known.reason.status {
                        known.reason = reason;
                    }
                }
                None => all.push(Shared { reason, servers: vec![server] }),
            }
        }
    }
    all.sort_by_key(|shared| std::cmp::Reverse(shared.reason.status));
    all
}

impl Default for RoundsVerdict {
    /// The verdict without a round.
    fn default() -> Self {
        Self { status: Status::Valid, rounds: 0, count: 0, reasons: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    fn report(reasons: &[(&str, Status)]) -> Report {
        let mut report = example();
        report.verdict.status = reasons.iter().map(|(_, status)| *status).max().unwrap_or(Status::Valid);
        let reason = |(code, status): &(&str, Status)| Reason {
            code: (*code).to_owned(),
            status: *status,
            message: format!("{code} is {status:?}"),
            value: 0.0,
            bound: 0.0,
            advice: String::new(),
        };
        report.verdict.reasons = reasons.iter().map(reason).collect();
        report
    }

    fn of(rounds: &[&[(&str, Status)]]) -> RoundsVerdict {
        let reports: Vec<_> = rounds.iter().map(|reasons| report(reasons)).collect();
        of_rounds((1..).zip(&reports))
    }

    #[test]
    fn the_worst_round_is_the_verdict_and_each_reason_is_reported_once() {
        use Status::{Invalid, Suspect, Valid};
        for (rounds, expected, reasons) in [
            (&[][..], (Valid, 0, 0), ""),
            (&[&[][..], &[]], (Valid, 2, 2), ""),
            (&[&[], &[("late", Suspect)], &[]], (Suspect, 1, 3), "late is Suspect [2]"),
            (
                &[&[("late", Suspect), ("drift", Suspect)], &[("late", Invalid)], &[("late", Suspect)]],
                (Invalid, 1, 3),
                "late is Invalid [1, 2, 3]; drift is Suspect [1]",
            ),
        ] {
            let verdict = of(rounds);
            assert_eq!((verdict.status, verdict.count, verdict.rounds), expected);
            let listed =
                verdict.reasons.iter().map(|found| format!("{} {:?}", found.reason.message, found.rounds));
            assert_eq!(listed.collect::<Vec<_>>().join("; "), reasons);
        }
    }

    #[test]
    fn what_several_servers_have_is_reported_once_with_all_their_names() {
        use Status::{Invalid, Suspect};
        let (one, two) = (of(&[&[("steal", Suspect)], &[]]), of(&[&[("late", Invalid), ("steal", Suspect)]]));
        let servers = || [("one", &one), ("two", &two)].into_iter();
        let listed = |shared: &[Shared<'_>]| {
            shared
                .iter()
                .map(|shared| format!("{}: {}", shared.reason.code, shared.names()))
                .collect::<Vec<_>>()
        };
        assert_eq!(listed(&shared(servers(), |_, _| false)), ["late: two", "steal: one 1/2, two"]);
        assert_eq!(listed(&shared(servers(), |name, _| name == "two")), ["steal: one 1/2"]);
    }

    #[test]
    fn the_values_are_those_of_the_first_case_that_was_worst() {
        use Status::{Invalid, Suspect};
        let statuses = [Suspect, Invalid, Invalid, Suspect];
        let mut reports = statuses.map(|status| report(&[("late", status)]));
        for (number, report) in (1..).zip(&mut reports) {
            report.verdict.reasons[0].value = f64::from(number);
        }
        let rounds = of_rounds((1..).zip(&reports));
        assert_eq!(
            (rounds.reasons[0].reason.value, rounds.reasons[0].rounds.as_slice()),
            (2.0, &[1, 2, 3, 4][..])
        );
        let servers: Vec<_> = reports.iter().map(|report| of_rounds([(1, report)].into_iter())).collect();
        let shared = shared(["a", "b", "c", "d"].into_iter().zip(&servers), |_, _| false);
        assert_eq!((shared.len(), shared[0].reason.value, shared[0].servers.len()), (1, 2.0, 4));
    }
}
