//! Marks: the reasons of a verdict that bar a comparison. A marked server did not do all of the work, so its speed means
//! nothing.

use crate::{
    judge::verdict::bars_comparison,
    result::{Reason, Report},
};

/// The marks of one round.
pub(crate) fn of(report: &Report) -> impl Iterator<Item = &Reason> {
    report.verdict.reasons.iter().filter(|reason| bars_comparison(reason))
}

/// The marks of all rounds, each kind once. `rounds` has the numbers and reports.
pub(crate) fn of_all<'a>(rounds: impl Iterator<Item = (usize, &'a Report)>) -> Vec<Reason> {
    let (mut marks, mut count) = (Vec::<(Reason, Vec<usize>)>::new(), 0);
    for (round, report) in rounds {
        count += 1;
        for mark in of(report) {
            match marks.iter_mut().find(|(known, _)| known.code == mark.code) {
                Some((_, rounds)) => rounds.push(round),
                None => marks.push((mark.clone(), vec![round])),
            }
        }
    }
    let summary = |(mark, rounds): (Reason, Vec<usize>)| {
        let first = rounds[0];
        let place = match rounds.len() {
            1 => format!("round {first}"),
            marked => format!("round {first}; in {marked} of {count} rounds"),
        };
        Reason { message: format!("{} ({place})", mark.message), ..mark }
    };
    marks.into_iter().map(summary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::verdict, result::tests::example};

    #[test]
    fn only_reasons_that_bar_a_comparison_are_marks() {
        let codes = |change: fn(&mut Report)| {
            let mut report = example();
            change(&mut report);
            report.verdict = verdict::judge(&report);
            of(&report).map(|mark| mark.code.clone()).collect::<Vec<_>>()
        };
        assert_eq!(codes(|_| ()), [""; 0]);
        assert_eq!(codes(|report| report.fairness.starved = 1), ["starved"]);
        assert_eq!(codes(|report| report.fairness.jain = Some(0.5)), ["unfair"]);
        assert_eq!(codes(|report| report.rate.achieved_per_s = 970.0), ["cannot_keep_up"]);
    }

    #[test]
    fn a_mark_of_several_rounds_is_reported_once() {
        let (good, mut bad) = (example(), example());
        bad.fairness.starved = 3;
        bad.verdict = verdict::judge(&bad);
        let marks = of_all([(1, &good), (2, &bad), (4, &bad)].into_iter());
        let messages: Vec<_> = marks.iter().map(|mark| mark.message.as_str()).collect();
        assert_eq!(messages, ["3 of 50 clients got no reply (round 2; in 2 of 3 rounds)"]);
        assert_eq!(of_all(std::iter::once((1, &good))), []);
    }
}
