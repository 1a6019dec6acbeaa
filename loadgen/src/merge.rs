//! Adds the results of several generators that loaded the same server at the same time into one report. Pure.
//!
//! What can be added is added: requests, errors, rates, and above all the histograms, from which every percentile is
//! taken anew. Nothing is averaged. What cannot be added, as the calibration of one generator, is left out, and a note
//! says so.

mod cost;
mod course;
mod error;
mod fit;
mod notes;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

pub use self::error::MergeError;
use crate::{
    bench::Stall,
    fairness, recording,
    report::{
        Connections, Fairness, Latencies, Latency, Merged, Rate, Report, Requests, SCHEMA, Status, Verdict,
    },
    slo::{self, Slo, SloError},
    summary, verdict,
};

/// One of the results.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it goes by in errors and notes: its file.
    pub name: String,
    /// The result.
    pub report: Report,
}

/// Adds results up, of which the first gives what all have in common. One that is a sum itself counts as what it is
/// the sum of.
///
/// # Errors
/// When there is none, when they are not of one load, or when one of them lacks what a sum needs.
pub fn merge(parts: &[Part]) -> Result<Report, MergeError> {
    if parts.is_empty() {
        return Err(MergeError::Nothing);
    }
    fit::check(parts)?;
    let course = course::course(parts)?;
    let fairness = fairness(parts)?;
    let latency_ns = latencies(parts)?;
    let response = histogram(parts, "latency_ns.response", |report| Some(&report.latency_ns.response.hdr))?;
    let any = |is: fn(&Report) -> bool| parts.iter().any(|part| is(&part.report));
    let mut report = Report {
        schema: SCHEMA,
        verdict: Verdict { status: Status::Valid, reasons: Vec::new() },
        interrupted: any(|report| report.interrupted),
        plan: fit::plan(parts),
        environment: cost::environment(parts),
        started_at_unix_ms: least(parts, |report| Some(report.started_at_unix_ms)).unwrap_or(0),
        window_started_at_unix_us: course.window_started_at_unix_us,
        late_start_ns: most(parts, |report| Some(report.late_start_ns)).unwrap_or(0),
        elapsed_s: course.elapsed_s,
        requests: requests(parts),
        rate: rate(parts),
        errors: errors(parts),
        first_mismatch: parts.iter().find_map(|part| part.report.first_mismatch.clone()),
        connections: Connections {
            established: sum(parts, |report| report.connections.established),
            lost: sum(parts, |report| report.connections.lost),
        },
        latency_ns,
        response_histogram: summary::bars(&response),
        generator: cost::generator(parts, fairness.replies_sum),
        network: cost::network(parts),
        server: cost::server(parts, fairness.replies_sum),
        server_ended_early: any(|report| report.server_ended_early),
        fairness,
        slo: Vec::new(),
        calibration: None,
        merged: Some(Merged { generators: course.generators, start_skew_ns: course.start_skew_ns }),
        notes: notes::notes(parts, &course),
        intervals: course.intervals,
    };
    report.verdict = verdict::judge(&report);
    // A sum of outcomes is not the outcome of the sum.
    report.slo = slo::judge(&objectives(&report)?, &report);
    Ok(report)
}

/// What was asked of any part is asked of the whole.
fn objectives(report: &Report) -> Result<Vec<Slo>, MergeError> {
    let read = |text: &String| {
        text.parse()
            .map_err(|error: SloError| MergeError::Objective { slo: text.clone(), reason: error.to_string() })
    };
    report.plan.slo.iter().map(read).collect()
}

fn requests(parts: &[Part]) -> Requests {
    Requests {
        sent: sum(parts, |report| report.requests.sent),
        completed: sum(parts, |report| report.requests.completed),
        failed: sum(parts, |report| report.requests.failed),
        verified: sum(parts, |report| report.requests.verified),
        delayed_rests: sum(parts, |report| report.requests.delayed_rests),
        bytes_sent: sum(parts, |report| report.requests.bytes_sent),
        bytes_received: sum(parts, |report| report.requests.bytes_received),
    }
}

/// Each generator's rate is that of its own window: the sum is the rate while all of them ran.
fn rate(parts: &[Part]) -> Rate {
    let offered: Option<Vec<f64>> = parts.iter().map(|part| part.report.rate.offered_per_s).collect();
    Rate {
        offered_per_s: offered.map(|rates| rates.iter().sum()),
        achieved_per_s: parts.iter().map(|part| part.report.rate.achieved_per_s).sum(),
    }
}

fn errors(parts: &[Part]) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for (kind, count) in parts.iter().flat_map(|part| &part.report.errors) {
        let known: &mut u64 = errors.entry(kind.clone()).or_default();
        *known = known.saturating_add(*count);
    }
    errors
}

fn latencies(parts: &[Part]) -> Result<Latencies, MergeError> {
    let needed = |what: &'static str, get: fn(&Latencies) -> &Latency| {
        let histogram = histogram(parts, what, |report| Some(&get(&report.latency_ns).hdr))?;
        Ok::<_, MergeError>(summary::distribution(&histogram))
    };
    // A distribution that only some generators know is not that of all.
    let optional = |what: &'static str, get: fn(&Latencies) -> Option<&Latency>| {
        if parts.iter().any(|part| get(&part.report.latency_ns).is_none()) {
            return Ok(None);
        }
        let histogram =
            histogram(parts, what, |report| get(&report.latency_ns).map(|latency| latency.hdr.as_str()))?;
        Ok::<_, MergeError>(Some(summary::distribution(&histogram)))
    };
    Ok(Latencies {
        response: needed("latency_ns.response", |latencies| &latencies.response)?,
        service: needed("latency_ns.service", |latencies| &latencies.service)?,
        schedule_lag: optional("latency_ns.schedule_lag", |latencies| latencies.schedule_lag.as_ref())?,
        connect: needed("latency_ns.connect", |latencies| &latencies.connect)?,
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
        // Little's law holds for each generator's own window, and requests under way are added up. The summed rate
        // times the mean of all would be the same only where all windows are of one length.
        effective_concurrency: float(|fairness| fairness.effective_concurrency),
        service_concurrency: float(|fairness| fairness.service_concurrency),
        replies_sum,
        replies_sum_of_squares,
        replies_hdr: summary::serialise(&replies),
    })
}

/// A server that stands still does so for all generators at once, as it does for all load threads of one. After the
/// beginning of the first window.
fn longest_stall(parts: &[Part]) -> Stall {
    let origin_us = parts.iter().map(|part| part.report.window_started_at_unix_us).min().unwrap_or(0);
    let of = |part: &Part| {
        let offset_ns = (part.report.window_started_at_unix_us - origin_us).saturating_mul(1_000);
        let Fairness { longest_stall_ns, longest_stall_at_ns, .. } = part.report.fairness;
        let from_ns = offset_ns.saturating_add(longest_stall_at_ns?);
        Some(Stall { from_ns, to_ns: from_ns.saturating_add(longest_stall_ns) })
    };
    // One that saw no stall has nothing in common with the others.
    let stalls: Option<Vec<_>> = parts.iter().map(of).collect();
    stalls.and_then(|stalls| stalls.into_iter().reduce(Stall::common)).unwrap_or_default()
}

/// The sum of the parts' histograms of one kind; those that have none are passed over.
fn histogram(
    parts: &[Part],
    what: &'static str,
    get: impl Fn(&Report) -> Option<&str>,
) -> Result<Histogram<u64>, MergeError> {
    let mut total = recording::Latency::default().histogram().clone();
    for part in parts {
        if let Some(hdr) = get(&part.report) {
            add(&mut total, hdr, &part.name, what)?;
        }
    }
    Ok(total)
}

/// Adds a serialised histogram's samples.
fn add(total: &mut Histogram<u64>, hdr: &str, name: &str, what: &'static str) -> Result<(), MergeError> {
    if hdr.is_empty() {
        return Err(MergeError::Older { name: name.to_owned(), what });
    }
    let unusable = || MergeError::Unusable { name: name.to_owned(), what };
    let samples = summary::deserialise(hdr).ok_or_else(unusable)?;
    // Only samples beyond the range that all of loadgen's histograms have cannot be added.
    total.add(&samples).map_err(|_| unusable())
}

/// A file may hold any number: a sum of two of them ends at the largest.
fn sum(parts: &[Part], get: impl Fn(&Report) -> u64) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(get(&part.report)))
}

/// The smallest of those that are known.
fn least<T: PartialOrd>(parts: &[Part], get: impl Fn(&Report) -> Option<T>) -> Option<T> {
    let known = parts.iter().filter_map(|part| get(&part.report));
    known.reduce(|least, value| if value < least { value } else { least })
}

/// The largest of those that are known.
fn most<T: PartialOrd>(parts: &[Part], get: impl Fn(&Report) -> Option<T>) -> Option<T> {
    let known = parts.iter().filter_map(|part| get(&part.report));
    known.reduce(|most, value| if value > most { value } else { most })
}

#[cfg(test)]
mod tests;
