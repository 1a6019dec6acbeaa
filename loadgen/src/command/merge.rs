//! `loadgen merge`: adds the results of several generators that put one load on the same server at the same time.
//!
//! Requests, errors, rates and histograms are added, and percentiles are computed from the summed histograms. Nothing is
//! averaged. A value that cannot be added, such as the calibration of one generator, is left out, and a note says so.

mod cost;
mod course;
mod error;
mod fit;
mod identity;
mod notes;
mod stages;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use hdrhistogram::Histogram;

pub(crate) use self::{error::MergeError, fit::differences};
use crate::{
    command::{
        delivery::DeliveryRequest,
        exit::FailOn,
        outcome::{self, Outcome},
        stored,
    },
    engine::{latency, window::Stall},
    judge,
    load::slo::{Slo, SloError},
    result::{
        Connections, Document, Fairness, Latencies, Latency, Merged, Rate, Report, Requests, SCHEMA, Status,
        Tail, Tls, Verdict, fairness,
        recovery::recovery,
        summary::{self, Unanswered},
    },
};

/// A result to merge.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its name in errors and notes: its file.
    pub name: String,
    /// The result.
    pub report: Report,
}

/// Carries out `loadgen merge`.
///
/// # Errors
/// When a file cannot be read, the results cannot be added, or the report cannot be delivered.
pub(crate) fn execute(
    files: &[PathBuf],
    delivery: DeliveryRequest<'_>,
    fail_on: FailOn,
) -> anyhow::Result<ExitCode> {
    outcome::deliver(delivery, fail_on, || {
        let parts = files.iter().map(|file| part(file)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Outcome { document: Document::Run(Box::new(merge(&parts)?)), signal: None })
    })
}

fn part(file: &Path) -> anyhow::Result<Part> {
    let name = file.display().to_string();
    match stored::read(file)? {
        Document::Run(report) => Ok(Part { name, report: *report }),
        Document::Comparison(_) | Document::Sweep(_) => Err(MergeError::NotARun(name).into()),
    }
}

/// Merges results. The first result gives the values that all have in common. A merged result counts as the runs that it
/// holds.
///
/// # Errors
/// When there are no results, when they are not parts of one load, or when one of them lacks a necessary value.
fn merge(parts: &[Part]) -> Result<Report, MergeError> {
    if parts.is_empty() {
        return Err(MergeError::Nothing);
    }
    fit::check(parts)?;
    let runs = identity::runs(parts)?;
    let course = course::course(parts)?;
    let fairness = fairness(parts)?;
    let response = histogram(parts, "latency_ns.response", |report| Some(&report.latency_ns.response.hdr))?;
    let latency_ns = latencies(parts, &response)?;
    let any = |is: fn(&Report) -> bool| parts.iter().any(|part| is(&part.report));
    let mut report = Report {
        schema: SCHEMA,
        verdict: Verdict { status: Status::Valid, reasons: Vec::new() },
        interrupted: any(|report| report.interrupted),
        aborted: parts.iter().find_map(|part| part.report.aborted.clone()),
        command: None,
        plan: fit::plan(parts),
        environment: cost::environment(parts),
        started_at_unix_ms: least(parts, |report| Some(report.started_at_unix_ms)).unwrap_or(0),
        window_started_at_unix_us: course.window_started_at_unix_us,
        late_start_ns: most(parts, |report| Some(report.late_start_ns)).unwrap_or(0),
        elapsed_s: course.elapsed_s,
        requests: requests(parts),
        rate: rate(parts),
        errors: errors(parts, |report| &report.errors),
        errors_before_window: errors(parts, |report| &report.errors_before_window),
        first_mismatch: parts.iter().find_map(|part| part.report.first_mismatch.clone()),
        first_unexpected: parts.iter().find_map(|part| part.report.first_unexpected.clone()),
        connections: connections(parts),
        kinds: stages::kinds(parts)?,
        stages: stages::stages(parts)?,
        recovery: None,
        tls: tls(parts),
        latency_ns,
        response_histogram: summary::bars(&response),
        generator: cost::generator(parts, fairness.replies_sum),
        network: cost::network(parts),
        server: cost::server(parts, fairness.replies_sum),
        server_ended_early: any(|report| report.server_ended_early),
        server_gone_at_ns: server_gone_at_ns(parts),
        fairness,
        slo: Vec::new(),
        calibration: None,
        merged: Some(Merged {
            generators: course.generators,
            start_skew_ns: course.start_skew_ns,
            parts: runs,
        }),
        notes: notes::notes(parts, &course),
        intervals: course.intervals,
        tail: tail(parts),
        log: None,
    };
    report.recovery = recovery(&report);
    // The outcomes of the parts cannot be added: the objectives are checked against the merged report.
    let objectives = objectives(&report)?;
    judge::complete(&mut report, &objectives);
    Ok(report)
}

fn connections(parts: &[Part]) -> Connections {
    Connections {
        established: sum(parts, |report| report.connections.established),
        lost: sum(parts, |report| report.connections.lost),
    }
}

/// What the handshakes agreed on is that of the first part with TLS.
fn tls(parts: &[Part]) -> Option<Tls> {
    let known: Vec<_> = parts.iter().filter_map(|part| part.report.tls.as_ref()).collect();
    let add = |get: fn(&Tls) -> u64| known.iter().fold(0, |sum: u64, tls| sum.saturating_add(get(tls)));
    Some(Tls {
        full_handshakes: add(|tls| tls.full_handshakes),
        resumed_handshakes: add(|tls| tls.resumed_handshakes),
        first_failure: known.iter().find_map(|tls| tls.first_failure.clone()),
        ..(*known.first()?).clone()
    })
}

fn tail(parts: &[Part]) -> Tail {
    Tail {
        length_s: most(parts, |report| Some(report.tail.length_s)).unwrap_or(0.0),
        completed: sum(parts, |report| report.tail.completed),
        failed: sum(parts, |report| report.tail.failed),
    }
}

/// The objectives of all parts.
fn objectives(report: &Report) -> Result<Vec<Slo>, MergeError> {
    let read = |text: &String| {
        text.parse()
            .map_err(|error: SloError| MergeError::Objective { slo: text.clone(), reason: error.to_string() })
    };
    report.plan.slo.iter().map(read).collect()
}

fn requests(parts: &[Part]) -> Requests {
    Requests {
        due: sum(parts, |report| report.requests.all()),
        sent: sum(parts, |report| report.requests.sent),
        completed: sum(parts, |report| report.requests.completed),
        completed_after_window: sum(parts, |report| report.requests.completed_after_window),
        failed: sum(parts, |report| report.requests.failed),
        unsent: sum(parts, |report| report.requests.unsent),
        cut_off: sum(parts, |report| report.requests.cut_off),
        replies_in_window: sum(parts, |report| report.requests.replies_in_window),
        verified: sum(parts, |report| report.requests.verified),
        delayed_rests: sum(parts, |report| report.requests.delayed_rests),
        bytes_sent: sum(parts, |report| report.requests.bytes_sent),
        bytes_received: sum(parts, |report| report.requests.bytes_received),
    }
}

/// Each rate is that of the generator's own window: the sum is the rate while all generators ran.
fn rate(parts: &[Part]) -> Rate {
    let offered: Option<Vec<f64>> = parts.iter().map(|part| part.report.rate.offered_per_s).collect();
    Rate {
        offered_per_s: offered.map(|rates| rates.iter().sum()),
        achieved_per_s: parts.iter().map(|part| part.report.rate.achieved_per_s).sum(),
    }
}

fn errors(parts: &[Part], of: fn(&Report) -> &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for (kind, count) in parts.iter().flat_map(|part| of(&part.report)) {
        let known: &mut u64 = errors.entry(kind.clone()).or_default();
        *known = known.saturating_add(*count);
    }
    errors
}

/// The time from the start of the first window until the last generator lost the server. None if a generator kept it.
fn server_gone_at_ns(parts: &[Part]) -> Option<u64> {
    let start_us = |part: &Part| part.report.window_started_at_unix_us;
    let origin_us = parts.iter().map(start_us).min()?;
    let of = |part: &Part| {
        let offset_ns = (start_us(part) - origin_us).saturating_mul(1_000);
        Some(offset_ns.saturating_add(part.report.server_gone_at_ns?))
    };
    parts.iter().map(of).collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn latencies(parts: &[Part], response: &Histogram<u64>) -> Result<Latencies, MergeError> {
    let needed = |what: &'static str, get: fn(&Latencies) -> &Latency| {
        let histogram = histogram(parts, what, |report| Some(&get(&report.latency_ns).hdr))?;
        Ok::<_, MergeError>(summary::distribution(&histogram, Unanswered::default()))
    };
    // A distribution that only some generators have does not describe the whole load.
    let optional = |what: &'static str, get: fn(&Latencies) -> Option<&Latency>| {
        if parts.iter().any(|part| get(&part.report.latency_ns).is_none()) {
            return Ok(None);
        }
        let histogram =
            histogram(parts, what, |report| get(&report.latency_ns).map(|latency| latency.hdr.as_str()))?;
        Ok::<_, MergeError>(Some(summary::distribution(&histogram, Unanswered::default())))
    };
    let unanswered = parts.iter().map(|part| Unanswered::of_report(&part.report));
    let unanswered = unanswered.fold(Unanswered::default(), Unanswered::and);
    Ok(Latencies {
        response: summary::distribution(response, unanswered),
        successful: summary::distribution(response, Unanswered::default()),
        service: needed("latency_ns.service", |latencies| &latencies.service)?,
        schedule_lag: optional("latency_ns.schedule_lag", |latencies| latencies.schedule_lag.as_ref())?,
        connect: needed("latency_ns.connect", |latencies| &latencies.connect)?,
        handshake: optional("latency_ns.handshake", |latencies| latencies.handshake.as_ref())?,
        due_to_written: needed("latency_ns.due_to_written", |latencies| &latencies.due_to_written)?,
        written_to_ready: optional("latency_ns.written_to_ready", |latencies| {
            latencies.written_to_ready.as_ref()
        })?,
        ready_to_read: optional("latency_ns.ready_to_read", |latencies| latencies.ready_to_read.as_ref())?,
    })
}

fn fairness(parts: &[Part]) -> Result<Fairness, MergeError> {
    let of = |get: fn(&Fairness) -> u64| sum(parts, |report| get(&report.fairness));
    let float = |get: fn(&Fairness) -> Option<f64>| {
        let known: Vec<_> = parts.iter().filter_map(|part| get(&part.report.fairness)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>())
    };
    let (clients, replies_sum) = (of(|fairness| fairness.clients), of(|fairness| fairness.replies_sum));
    let replies_sum_of_squares = float(|fairness| Some(fairness.replies_sum_of_squares)).unwrap_or(0.0);
    let stall = longest_stall(parts);
    let replies = histogram(parts, "fairness.replies_hdr", |report| Some(&report.fairness.replies_hdr))?;
    Ok(Fairness {
        clients,
        asked: of(|fairness| fairness.asked),
        starved: of(|fairness| fairness.starved),
        served: of(|fairness| fairness.served),
        jain: fairness::jain_of_sums(clients, replies_sum as f64, replies_sum_of_squares),
        requests_min: least(parts, |report| Some(report.fairness.requests_min)).unwrap_or(0),
        requests_max: most(parts, |report| Some(report.fairness.requests_max)).unwrap_or(0),
        longest_silence_ns: most(parts, |report| Some(report.fairness.longest_silence_ns)).unwrap_or(0),
        longest_stall_ns: stall.length_ns(),
        longest_stall_at_ns: (stall.length_ns() > 0).then_some(stall.from_ns),
        // Little's law holds for the window of each generator, so the concurrencies are added. The summed rate times the
        // common mean would be wrong if the windows differ in length.
        effective_concurrency: float(|fairness| fairness.effective_concurrency),
        service_concurrency: float(|fairness| fairness.service_concurrency),
        replies_sum,
        replies_sum_of_squares,
        replies_hdr: summary::serialise(&replies),
    })
}

/// The longest stall that all generators have in common, after the start of the first window: a stall of the server
/// affects all generators.
fn longest_stall(parts: &[Part]) -> Stall {
    let origin_us = parts.iter().map(|part| part.report.window_started_at_unix_us).min().unwrap_or(0);
    let of = |part: &Part| {
        let offset_ns = (part.report.window_started_at_unix_us - origin_us).saturating_mul(1_000);
        let Fairness { longest_stall_ns, longest_stall_at_ns, .. } = part.report.fairness;
        let from_ns = offset_ns.saturating_add(longest_stall_at_ns?);
        Some(Stall { from_ns, to_ns: from_ns.saturating_add(longest_stall_ns) })
    };
    // A generator without a stall has none in common with the others.
    let stalls: Option<Vec<_>> = parts.iter().map(of).collect();
    stalls.and_then(|stalls| stalls.into_iter().reduce(Stall::common)).unwrap_or_default()
}

/// The sum of one histogram of each part. Parts without it are ignored.
fn histogram(
    parts: &[Part],
    what: &'static str,
    get: impl Fn(&Report) -> Option<&str>,
) -> Result<Histogram<u64>, MergeError> {
    let mut total = latency::Latency::default().histogram().clone();
    for part in parts {
        if let Some(hdr) = get(&part.report) {
            add(&mut total, hdr, &part.name, what)?;
        }
    }
    Ok(total)
}

/// Adds the samples of a serialised histogram.
fn add(total: &mut Histogram<u64>, hdr: &str, name: &str, what: &'static str) -> Result<(), MergeError> {
    if hdr.is_empty() {
        return Err(MergeError::Older { name: name.to_owned(), what });
    }
    let unusable = || MergeError::Unusable { name: name.to_owned(), what };
    let samples = summary::deserialise(hdr).ok_or_else(unusable)?;
    // The addition fails only if samples are beyond the range of loadgen's histograms.
    total.add(&samples).map_err(|_| unusable())
}

/// A sum that saturates, because a file may hold any number.
fn sum(parts: &[Part], get: impl Fn(&Report) -> u64) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(get(&part.report)))
}

/// The smallest known value.
fn least<T: PartialOrd>(parts: &[Part], get: impl Fn(&Report) -> Option<T>) -> Option<T> {
    let known = parts.iter().filter_map(|part| get(&part.report));
    known.reduce(|least, value| if value < least { value } else { least })
}

/// The largest known value.
fn most<T: PartialOrd>(parts: &[Part], get: impl Fn(&Report) -> Option<T>) -> Option<T> {
    let known = parts.iter().filter_map(|part| get(&part.report));
    known.reduce(|most, value| if value > most { value } else { most })
}

#[cfg(test)]
mod tests;
