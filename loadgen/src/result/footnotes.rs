//! The reasons why levels of a load curve are not valid: each once, with a number that marks its levels. Pure.

use crate::result::{
    Reason, Status,
    sweep::{CurvePoint, SweepSubject, Trouble},
    verdicts,
};

/// A reason, with the levels that have it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Footnote {
    /// The reason, with the values of the first of these levels.
    pub reason: Reason,
    /// The indices of the servers, each with its levels from the lowest up.
    pub levels: Vec<(usize, Vec<u64>)>,
}

/// The footnotes of these servers. A valid level has none, and neither has a level whose trouble is reported instead.
pub(crate) fn footnotes(subjects: &[SweepSubject]) -> Vec<Footnote> {
    let mut notes: Vec<Footnote> = Vec::new();
    for (place, subject) in subjects.iter().enumerate() {
        for point in subject.curve.iter().filter(|point| is_in_doubt(point)) {
            let runs = subject.points.iter().filter(|run| run.level == point.level);
            for found in verdicts::of_rounds((1..).zip(runs.map(|run| &run.report))).reasons {
                add(&mut notes, place, point.level, found.reason);
            }
        }
    }
    notes
}

/// The numbers of the footnotes of a level, from 1.
pub(crate) fn numbers(notes: &[Footnote], place: usize, level: u64) -> Vec<usize> {
    let has =
        |note: &Footnote| note.levels.iter().any(|(of, levels)| *of == place && levels.contains(&level));
    (1..).zip(notes).filter(|(_, note)| has(note)).map(|(number, _)| number).collect()
}

fn is_in_doubt(point: &CurvePoint) -> bool {
    point.verdict != Status::Valid && matches!(point.trouble, None | Some(Trouble::GeneratorSaturated))
}

fn add(notes: &mut Vec<Footnote>, place: usize, level: u64, reason: Reason) {
    let Some(note) = notes.iter_mut().find(|note| note.reason.code == reason.code) else {
        notes.push(Footnote { reason, levels: vec![(place, vec![level])] });
        return;
    };
    match note.levels.last_mut() {
        Some((of, levels)) if *of == place => levels.push(level),
        _ => note.levels.push((place, vec![level])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::verdict, result::sweep::tests::example};

    #[test]
    fn a_reason_is_listed_once_and_its_number_marks_each_level() {
        let mut sweep = example();
        assert_eq!(footnotes(&sweep.subjects), []);
        for (place, level, is_late) in [(0, 2_000, false), (1, 1_000, true), (1, 4_000, false)] {
            let subject = &mut sweep.subjects[place];
            let report = &mut subject.points.iter_mut().find(|point| point.level == level).unwrap().report;
            report.generator.steal_share = Some(0.25);
            if is_late {
                report.generator.cpu_wait_share_max = Some(0.5);
            }
            report.verdict = verdict::judge(report);
            let point = subject.curve.iter_mut().find(|point| point.level == level).unwrap();
            point.verdict = report.verdict.status;
        }
        let notes = footnotes(&sweep.subjects);
        let listed: Vec<_> =
            notes.iter().map(|note| (note.reason.code.as_str(), note.levels.clone())).collect();
        let steal = vec![(0, vec![2_000]), (1, vec![1_000, 4_000])];
        assert_eq!(listed, [("steal", steal), ("cpu_wait", vec![(1, vec![1_000])])]);
        assert_eq!(numbers(&notes, 1, 1_000), [1, 2]);
        assert_eq!(numbers(&notes, 0, 2_000), [1]);
        assert_eq!(numbers(&notes, 0, 1_000), [0; 0]);
        // The trouble of this level is reported instead.
        assert_eq!(numbers(&notes, 0, 32_000), [0; 0]);
    }
}
