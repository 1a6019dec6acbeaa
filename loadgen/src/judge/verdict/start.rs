//! Whether the generators of one load started together.

use std::collections::BTreeMap;

use common::human::duration_ns;

use super::Finding;
use crate::result::{MergedPart, Report, Status};

/// The share of the window by which the starts of the generators may differ. While one of them is missing, the load is
/// smaller.
const SKEW_SHARE_MAX: f64 = 0.05;
/// The share of the window by which the clocks of two machines may differ. A fifth of [`SKEW_SHARE_MAX`]: so the rule about the
/// starts, which compares wall clocks, can be trusted.
const CLOCKS_SHARE_MAX: f64 = 0.01;
/// The share of an interval by which the clocks of two machines may differ. The intervals of the generators are aligned by wall
/// clock: beyond half an interval, the wrong ones are added.
const CLOCKS_INTERVAL_MAX: f64 = 0.5;

pub(super) fn late_start(report: &Report) -> Option<Finding> {
    (report.late_start_ns > 0).then(|| Finding {
        status: of_generators(report),
        value: report.late_start_ns as f64,
        bound: 0.0,
        message: format!("the load began {} after the time of --start-at", duration_ns(report.late_start_ns)),
        advice: "other generators of this load ran alone meanwhile: give a later --start-at, so that every client has \
                 connected by then",
    })
}

pub(super) fn windows_apart(report: &Report) -> Option<Finding> {
    let skew_ns = report.merged.as_ref()?.start_skew_ns;
    let bound = report.elapsed_s * 1e9 * SKEW_SHARE_MAX;
    (skew_ns as f64 > bound).then(|| Finding {
        status: of_generators(report),
        value: skew_ns as f64,
        bound,
        message: format!(
            "the windows of the generators began {} apart (limit: {})",
            duration_ns(skew_ns),
            duration_ns(bound as u64)
        ),
        advice: "meanwhile the load was smaller than planned: start the generators together with --start-at, on \
                 machines with synchronized clocks",
    })
}

/// The result of one generator describes its own load well, even if it began late. The sum of generators that did not run
/// together describes no load that existed.
fn of_generators(report: &Report) -> Status {
    if report.merged.is_some() { Status::Invalid } else { Status::Suspect }
}

/// The clock of a machine, as its generators have reported it.
#[derive(Clone, Copy)]
enum Error {
    /// It may be wrong by so much, in nanoseconds.
    Known(u64),
    /// No time service keeps it right.
    Unsynchronised,
    /// The kernel does not say.
    Unknown,
}

/// Whether the clocks of the generators' machines may differ by more than a bound. A machine has one clock, whatever the number
/// of its generators.
pub(super) fn clock_skew(report: &Report) -> Option<Finding> {
    let machines = machines(&report.merged.as_ref()?.parts);
    if machines.len() < 2 {
        return None;
    }
    let (window_ns, interval_ns) = (report.elapsed_s * 1e9, report.plan.interval_s * 1e9);
    let bound = (window_ns * CLOCKS_SHARE_MAX).min(interval_ns * CLOCKS_INTERVAL_MAX);
    let limit = duration_ns(bound as u64);
    let count = |is: fn(&Error) -> bool| machines.values().filter(|(_, error)| is(error)).count();
    let name = |is: fn(&Error) -> bool| machines.values().find(|(_, error)| is(error)).map(|(name, _)| *name);
    let finding = |value: f64, message: String| Finding {
        status: Status::Suspect,
        value,
        bound,
        message,
        advice: "the start and the intervals of the generators may not match: synchronise the clocks of their machines with chrony or \
                 systemd-timesyncd, all from the same near time server",
    };
    let is_unsynchronised = |error: &Error| matches!(error, Error::Unsynchronised);
    let is_unknown = |error: &Error| matches!(error, Error::Unknown);
    for (is, what) in [
        (is_unsynchronised as fn(&Error) -> bool, "no time service keeps the clock right"),
        (is_unknown, "the kernel does not say how right the clock is"),
    ] {
        if let Some(name) = name(is) {
            let (some, all) = (count(is), machines.len());
            let text = format!(
                "the clocks of the generators' machines may differ by any time (limit: {limit}): {what} on {some} of {all} machines, \
                 first that of {name}"
            );
            return Some(finding(some as f64, text));
        }
    }
    let mut errors: Vec<_> = machines
        .values()
        .map(|(_, error)| match error {
            Error::Known(error_ns) => *error_ns,
            Error::Unsynchronised | Error::Unknown => u64::MAX,
        })
        .collect();
    errors.sort_unstable();
    let apart_ns = errors.iter().rev().take(2).fold(0, |sum: u64, error_ns| sum.saturating_add(*error_ns));
    (apart_ns as f64 > bound).then(|| {
        let text = format!(
            "the clocks of the generators' machines may differ by {}: the sum of the two largest errors that their kernels allow for \
             (limit: {limit})",
            duration_ns(apart_ns)
        );
        finding(apart_ns as f64, text)
    })
}

/// The machines, each with its first generator and the worst that its generators say of its clock. A generator without a known
/// machine, in a result of an older version, is left out.
fn machines(parts: &[MergedPart]) -> BTreeMap<&str, (&str, Error)> {
    let mut machines: BTreeMap<&str, (&str, Error)> = BTreeMap::new();
    for part in parts {
        let Some(machine) = &part.boot_id else { continue };
        let error = match part.clock {
            None => Error::Unknown,
            Some(clock) if !clock.synchronised => Error::Unsynchronised,
            Some(clock) => clock.max_error_ns.map_or(Error::Unknown, Error::Known),
        };
        let known = machines.entry(machine).or_insert((&part.name, error));
        known.1 = match (known.1, error) {
            (Error::Known(one), Error::Known(other)) => Error::Known(one.max(other)),
            (Error::Unsynchronised, _) | (_, Error::Unsynchronised) => Error::Unsynchronised,
            // Only some containers of a machine may ask the kernel.
            (Error::Unknown, known) | (known, Error::Unknown) => known,
        };
    }
    machines
}

pub(super) fn missing_parts(report: &Report) -> Option<Finding> {
    let merged = report.merged.as_ref()?;
    Some(Finding {
        status: Status::Invalid,
        value: merged.missing_count() as f64,
        bound: 0.0,
        message: merged.missing_parts()?,
        advice: "the numbers cover only a part of the load: look in the logs of the other generators for their results, or \
                 repeat the run",
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        engine::wall_clock::ClockQuality,
        judge::verdict::{judge, tests::codes},
        result::{Merged, MergedPart, Status, tests::example},
    };

    #[test]
    fn each_rule_applies_beyond_its_bound() {
        assert_eq!(codes(|report| report.late_start_ns = 0), [""; 0]);
        assert_eq!(codes(|report| report.late_start_ns = 1), ["late_start"]);
        // 5% of a window of 2 s.
        for (start_skew_ns, found) in [(100_000_000, &[][..]), (100_000_001, &["windows_apart"])] {
            let merged = Some(Merged { generators: 2, start_skew_ns, ..Merged::default() });
            assert_eq!(codes(|report| report.merged = merged), found);
        }
        for (expected, found) in [(None, &[][..]), (Some(2), &[]), (Some(3), &["missing_parts"])] {
            let merged = Some(Merged { generators: 2, expected, ..Merged::default() });
            assert_eq!(codes(|report| report.merged = merged), found);
        }
    }
    #[test]
    fn generators_that_did_not_run_together_make_a_merged_result_invalid() {
        let verdict = |late_start_ns, start_skew_ns, merged: bool| {
            let mut report = example();
            report.late_start_ns = late_start_ns;
            report.merged = merged.then(|| Merged { generators: 2, start_skew_ns, ..Merged::default() });
            judge(&report).status
        };
        assert_eq!(verdict(1, 0, false), Status::Suspect);
        assert_eq!(verdict(1, 0, true), Status::Invalid);
        assert_eq!(verdict(0, 100_000_001, true), Status::Invalid);
        assert_eq!(verdict(0, 100_000_000, true), Status::Valid);
    }

    /// A generator on a machine, with the error of its clock: None if the kernel does not say, and below 0 if it is unbounded.
    fn part(machine: &str, error_ms: Option<i64>) -> MergedPart {
        let clock = error_ms.map(|error_ms| ClockQuality {
            synchronised: error_ms >= 0,
            max_error_ns: u64::try_from(error_ms).ok().map(|error_ms| error_ms * 1_000_000),
        });
        let boot_id = (!machine.is_empty()).then(|| machine.to_owned());
        MergedPart { name: format!("{machine}.json"), boot_id, clock, ..MergedPart::default() }
    }

    #[test]
    fn clocks_of_different_machines_must_agree() {
        // 1% of a window of 2 s is 20 ms.
        for (parts, found) in [
            (vec![part("a", Some(12)), part("b", Some(8))], false),
            (vec![part("a", Some(12)), part("b", Some(9))], true),
            // The two largest errors count.
            (vec![part("a", Some(1)), part("b", Some(12)), part("c", Some(9))], true),
            (vec![part("a", Some(1)), part("b", Some(2)), part("c", Some(18))], false),
            // A machine has one clock.
            (vec![part("a", Some(12)), part("a", Some(13))], false),
            (vec![part("a", Some(-1)), part("a", Some(-1))], false),
            (vec![part("a", Some(1)), part("a", Some(12)), part("b", Some(9))], true),
            (vec![part("a", Some(1)), part("b", Some(-1))], true),
            (vec![part("a", Some(1)), part("b", None)], true),
            (vec![part("a", Some(1)), part("b", None), part("b", Some(1))], false),
            // An older version does not name the machine.
            (vec![part("a", Some(1)), part("", None)], false),
            (vec![part("", None), part("", None)], false),
        ] {
            let merged = Merged { generators: parts.len(), parts: parts.clone(), ..Merged::default() };
            let codes = codes(|report| report.merged = Some(merged));
            assert_eq!(codes, if found { vec!["clock_skew"] } else { vec![] }, "{parts:?}");
        }
    }

    #[test]
    fn short_intervals_need_better_clocks() {
        let parts = vec![part("a", Some(6)), part("b", Some(5))];
        let codes = |interval_s| {
            let merged = Merged { generators: 2, parts: parts.clone(), ..Merged::default() };
            codes(|report| {
                report.merged = Some(merged);
                report.plan.interval_s = interval_s;
            })
        };
        // Half of 22 ms is 11 ms.
        assert_eq!(codes(0.022), [""; 0]);
        assert_eq!(codes(0.021), ["clock_skew"]);
    }

    #[test]
    fn the_message_names_a_machine_without_a_right_clock() {
        let mut report = example();
        let parts = vec![part("a", Some(1)), part("b", Some(-1)), part("c", Some(-1))];
        report.merged = Some(Merged { generators: 3, parts, ..Merged::default() });
        let reason = judge(&report).reasons.remove(0);
        assert_eq!(reason.status, Status::Suspect);
        assert!(reason.message.contains("2 of 3 machines, first that of b.json"), "{}", reason.message);
        assert!(reason.message.contains("limit: 20"), "{}", reason.message);
    }
}
