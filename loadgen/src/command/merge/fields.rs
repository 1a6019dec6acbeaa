//! The numbers that are added, and those of which the worst counts.

use std::collections::BTreeMap;

use super::Part;
use crate::{
    engine::window::Stall,
    result::{Connections, Fairness, Rate, Report, Requests, Tail, Tls, fairness},
};

pub(super) fn connections(parts: &[Part]) -> Connections {
    Connections {
        established: sum(parts, |report| report.connections.established),
        lost: sum(parts, |report| report.connections.lost),
    }
}

/// What the handshakes agreed on is that of the first part with TLS.
pub(super) fn tls(parts: &[Part]) -> Option<Tls> {
    let known: Vec<_> = parts.iter().filter_map(|part| part.report.tls.as_ref()).collect();
    let add = |get: fn(&Tls) -> u64| known.iter().fold(0, |sum: u64, tls| sum.saturating_add(get(tls)));
    Some(Tls {
        full_handshakes: add(|tls| tls.full_handshakes),
        resumed_handshakes: add(|tls| tls.resumed_handshakes),
        first_failure: known.iter().find_map(|tls| tls.first_failure.clone()),
        ..(*known.first()?).clone()
    })
}

pub(super) fn tail(parts: &[Part]) -> Tail {
    Tail {
        length_s: most(parts, |report| Some(report.tail.length_s)).unwrap_or(0.0),
        completed: sum(parts, |report| report.tail.completed),
        failed: sum(parts, |report| report.tail.failed),
    }
}

pub(super) fn requests(parts: &[Part]) -> Requests {
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
pub(super) fn rate(parts: &[Part]) -> Rate {
    let offered: Option<Vec<f64>> = parts.iter().map(|part| part.report.rate.offered_per_s).collect();
    Rate {
        offered_per_s: offered.map(|rates| rates.iter().sum()),
        achieved_per_s: parts.iter().map(|part| part.report.rate.achieved_per_s).sum(),
    }
}

pub(super) fn errors(parts: &[Part], of: fn(&Report) -> &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for (kind, count) in parts.iter().flat_map(|part| of(&part.report)) {
        let known: &mut u64 = errors.entry(kind.clone()).or_default();
        *known = known.saturating_add(*count);
    }
    errors
}

/// The time from the start of the first window until the last generator lost the server. None if a generator kept it.
pub(super) fn server_gone_at_ns(parts: &[Part]) -> Option<u64> {
    let start_us = |part: &Part| part.report.window_started_at_unix_us;
    let origin_us = parts.iter().map(start_us).min()?;
    let of = |part: &Part| {
        let offset_ns = (start_us(part) - origin_us).saturating_mul(1_000);
        Some(offset_ns.saturating_add(part.report.server_gone_at_ns?))
    };
    parts.iter().map(of).collect::<Option<Vec<_>>>()?.into_iter().max()
}

pub(super) fn fairness(parts: &[Part], replies_hdr: String) -> Fairness {
    let of = |get: fn(&Fairness) -> u64| sum(parts, |report| get(&report.fairness));
    let float = |get: fn(&Fairness) -> Option<f64>| {
        let known: Vec<_> = parts.iter().filter_map(|part| get(&part.report.fairness)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>())
    };
    let (clients, replies_sum) = (of(|fairness| fairness.clients), of(|fairness| fairness.replies_sum));
    let replies_sum_of_squares = float(|fairness| Some(fairness.replies_sum_of_squares)).unwrap_or(0.0);
    let stall = longest_stall(parts);
    Fairness {
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
        replies_hdr,
    }
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

/// A sum that saturates, because a file may hold any number.
pub(super) fn sum(parts: &[Part], get: impl Fn(&Report) -> u64) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(get(&part.report)))
}

/// The smallest known value.
pub(super) fn least<T: PartialOrd>(parts: &[Part], get: impl Fn(&Report) -> Option<T>) -> Option<T> {
    let known = parts.iter().filter_map(|part| get(&part.report));
    known.reduce(|least, value| if value < least { value } else { least })
}

/// The largest known value.
pub(super) fn most<T: PartialOrd>(parts: &[Part], get: impl Fn(&Report) -> Option<T>) -> Option<T> {
    let known = parts.iter().filter_map(|part| get(&part.report));
    known.reduce(|most, value| if value > most { value } else { most })
}
