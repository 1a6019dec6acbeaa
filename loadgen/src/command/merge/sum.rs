//! The sum of results, which are added one at a time.
//!
//! Of each part, only its numbers are kept: a few kilobytes. Its histograms and intervals are added to those of the sum.

use super::{
    MergeError, Part, cost, course, course::Grid, distributions::Distributions, fields, fit, identity,
    missing, notes, stages,
};
use crate::{
    judge,
    load::slo::{Slo, SloError},
    result::{
        Latency, Merged, Report, SCHEMA, Status, Verdict,
        recovery::recovery,
        summary::{self, Unanswered},
    },
};

/// The results so far.
#[derive(Debug, Default)]
pub(super) struct Sum {
    parts: Vec<Part>,
    grid: Grid,
    distributions: Distributions,
}

/// What a sum is held against.
#[derive(Clone, Debug, Default)]
pub(super) struct Expectations {
    /// The number of parts.
    pub(super) parts: Option<u32>,
    /// Objectives besides those of the parts.
    pub(super) slo: Vec<Slo>,
    /// Notes about the input.
    pub(super) notes: Vec<String>,
}

impl Sum {
    /// The number of results.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// What is kept of the results.
    #[cfg(test)]
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Renames a result.
    pub(super) fn rename(&mut self, index: usize, name: String) {
        self.parts[index].name = name;
    }

    /// Adds a result. The name stands for it in errors and notes.
    ///
    /// # Errors
    /// When it is not a part of the load of the results before it, or lacks a necessary value.
    pub(super) fn add(&mut self, name: String, report: Report) -> Result<(), MergeError> {
        let id = identity::of_run(&report);
        let mut part = Part { name, id, report };
        fit::check(self.parts.first().unwrap_or(&part), &part)?;
        if part.report.elapsed_s <= 0.0 {
            return Err(MergeError::NothingMeasured(part.name));
        }
        stages::check_kinds(self.parts.first().unwrap_or(&part), &part)?;
        let Part { name, report, .. } = &mut part;
        self.grid.take(name, report)?;
        self.distributions.take(name, report)?;
        strip(report);
        self.parts.push(part);
        Ok(())
    }

    /// The sum. The first result gives the values that all have in common. A merged result counts as the runs that it holds.
    ///
    /// # Errors
    /// When there are no results, or when they are not parts of one load.
    pub(super) fn finish(mut self, expectations: &Expectations) -> Result<Report, MergeError> {
        if self.parts.is_empty() {
            return Err(MergeError::Nothing);
        }
        // The order of results in a stream is that in which generators ended.
        self.parts.sort_by_key(|part| part.report.plan.part.as_ref().map(|part| part.number));
        let Self { parts, grid, distributions } = self;
        let parts = parts.as_slice();
        let runs = identity::runs(parts)?;
        let course = course::course(parts, grid)?;
        let missing::Completeness { expected, missing } =
            missing::completeness(parts, &runs, course.generators, expectations.parts)?;
        let fairness = fields::fairness(parts, distributions.replies());
        let any = |is: fn(&Report) -> bool| parts.iter().any(|part| is(&part.report));
        let merged = Merged {
            generators: course.generators,
            start_skew_ns: course.start_skew_ns,
            expected,
            missing,
            parts: runs,
        };
        let mut report = Report {
            schema: SCHEMA,
            verdict: Verdict { status: Status::Valid, reasons: Vec::new() },
            interrupted: any(|report| report.interrupted),
            // The blocks of a load that changes have nothing in common.
            precision: match parts[0].report.plan.stages.as_slice() {
                [] => course.blocks.precision(parts[0].report.plan.interval_s),
                _ => None,
            },
            aborted: parts.iter().find_map(|part| part.report.aborted.clone()),
            command: None,
            plan: fit::plan(parts, merged.is_partial()),
            environment: cost::environment(parts),
            started_at_unix_ms: fields::least(parts, |report| Some(report.started_at_unix_ms)).unwrap_or(0),
            window_started_at_unix_us: course.window_started_at_unix_us,
            late_start_ns: fields::most(parts, |report| Some(report.late_start_ns)).unwrap_or(0),
            elapsed_s: course.elapsed_s,
            requests: fields::requests(parts),
            rate: fields::rate(parts),
            errors: fields::errors(parts, |report| &report.errors),
            errors_before_window: fields::errors(parts, |report| &report.errors_before_window),
            first_mismatch: parts.iter().find_map(|part| part.report.first_mismatch.clone()),
            first_unexpected: parts.iter().find_map(|part| part.report.first_unexpected.clone()),
            connections: fields::connections(parts),
            kinds: stages::kinds(parts, &distributions),
            stages: stages::stages(parts, &distributions),
            recovery: None,
            tls: fields::tls(parts),
            latency_ns: distributions.latencies(unanswered(parts)),
            response_histogram: summary::bars(&distributions.response().histogram()),
            generator: cost::generator(parts, fairness.replies_sum),
            network: cost::network(parts),
            server: cost::server(parts, fairness.replies_sum),
            server_ended_early: any(|report| report.server_ended_early),
            server_gone_at_ns: fields::server_gone_at_ns(parts),
            fairness,
            slo: Vec::new(),
            calibration: None,
            merged: Some(merged),
            notes: notes::notes(parts, &course),
            intervals: course.intervals,
            tail: fields::tail(parts),
            log: None,
        };
        report.notes.extend_from_slice(&expectations.notes);
        report.recovery = recovery(&report);
        // The outcomes of the parts cannot be added: the objectives are checked against the merged report.
        let objectives = objectives(&mut report, &expectations.slo)?;
        judge::complete(&mut report, &objectives);
        Ok(report)
    }
}

/// Removes what a sum does not need of a part, after its histograms and intervals.
fn strip(report: &mut Report) {
    report.response_histogram = Vec::new();
    report.slo = Vec::new();
    report.verdict.reasons = Vec::new();
    // A note says whether the part had one.
    if let Some(calibration) = &mut report.calibration {
        (calibration.response, calibration.service) = (Latency::default(), Latency::default());
        (calibration.verdict.reasons, calibration.floor) = (Vec::new(), Vec::new());
    }
}

fn unanswered(parts: &[Part]) -> Unanswered {
    let unanswered = parts.iter().map(|part| Unanswered::of_report(&part.report));
    unanswered.fold(Unanswered::default(), Unanswered::and)
}

/// The objectives of all parts, and further ones, which are added to the plan.
fn objectives(report: &mut Report, further: &[Slo]) -> Result<Vec<Slo>, MergeError> {
    for slo in further.iter().map(ToString::to_string) {
        if !report.plan.slo.contains(&slo) {
            report.plan.slo.push(slo);
        }
    }
    let read = |text: &String| {
        text.parse()
            .map_err(|error: SloError| MergeError::Objective { slo: text.clone(), reason: error.to_string() })
    };
    report.plan.slo.iter().map(read).collect()
}
