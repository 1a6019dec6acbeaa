//! What forbids to compare a server's speed with another's: it is fast because it does not do all of the work. These
//! marks are reasons of the verdicts on its rounds.

use crate::{
    report::{Reason, Report},
    verdict::bars_comparison,
};

/// The marks of one round.
pub fn of(report: &Report) -> impl Iterator<Item = &Reason> {
    report.verdict.reasons.iter().filter(|reason| bars_comparison(reason))
}

/// The marks of all rounds, each kind once. `rounds` are their numbers and reports.
pub fn of_all<'a>(rounds: impl Iterator<Item = (usize, &'a Report)>) -> Vec<Reason> {
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
    let told = |(mark, rounds): (Reason, Vec<usize>)| {
        let first = rounds[0];
        let more = match rounds.len() {
            1 => format!("round {first}"),
            marked => format!("round {first}, and so in {marked} of {count}"),
        };
        Reason { message: format!("{} ({more})", mark.message), ..mark }
    };
    marks.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::tests::example, verdict};

    #[test]
    fn what_bars_a_comparison_is_a_mark_and_what_is_only_odd_is_none() {
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
    fn a_mark_of_several_rounds_is_told_once() {
        let (good, mut bad) = (example(), example());
        bad.fairness.starved = 3;
        bad.verdict = verdict::judge(&bad);
        let marks = of_all([(1, &good), (2, &bad), (4, &bad)].into_iter());
        let messages: Vec<_> = marks.iter().map(|mark| mark.message.as_str()).collect();
        assert_eq!(messages, ["3 clients of 50 got no reply at all (round 2, and so in 2 of 3)"]);
        assert_eq!(of_all(std::iter::once((1, &good))), []);
    }
}
