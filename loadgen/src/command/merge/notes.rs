//! The notes of a merged result.

use common::human::duration_ns;

use super::{Part, cost, course::Course};
use crate::{
    load::schedule::Arrival,
    result::{Report, SLO_OF_WHOLE},
};

/// The share by which the rates and window lengths of generators may differ without a note.
const SHARE_MAX: f64 = 0.05;

/// The maximum of names in front of a note.
const NAMES_MAX: usize = 4;

/// The notes of the parts, each once, and those of the merged result.
pub(super) fn notes(parts: &[Part], course: &Course) -> Vec<String> {
    let mut notes = of_parts(parts);
    notes.extend(aligned(parts, course));
    notes.extend(lengths(parts));
    notes.extend(same_seed(parts));
    notes.extend(uneven_rates(parts));
    // The stages of a part are written with the rates of the whole load.
    let is_whole = |part: &Part| part.report.plan.part.is_none();
    if parts.len() > 1 && !parts[0].report.plan.stages.is_empty() && parts.iter().any(is_whole) {
        let text =
            "the rates of --stages are those of one generator; the offered and the achieved rates are sums";
        notes.push(text.to_owned());
    }
    notes.extend(machines(parts));
    notes.extend(cost::no_server(parts));
    let first = |is: fn(&Report) -> bool| parts.iter().find(|part| is(&part.report)).map(|part| &part.name);
    if let Some(name) = first(|report| report.calibration.is_some()) {
        notes.push(format!("the calibration of {name} is left out: it is the floor of one generator only"));
    }
    let stamped = |report: &Report| report.latency_ns.written_to_ready.is_some();
    if let Some(name) = first(stamped)
        && !parts.iter().all(|part| stamped(&part.report))
    {
        notes.push(format!("the kernel's time stamps of {name} are left out: not all generators have them"));
    }
    if parts.len() > 1
        && let Some(name) = first(|report| report.first_mismatch.is_some())
    {
        notes.push(format!("the first wrong reply is that of {name}"));
    }
    notes
}

/// The notes of the parts, each with the names of its parts, or with their number if they are many.
fn of_parts(parts: &[Part]) -> Vec<String> {
    let mut known: Vec<(&str, Vec<&str>)> = Vec::new();
    for Part { name, report, .. } in parts {
        // The objectives are held against the whole now.
        for note in report.notes.iter().filter(|note| *note != SLO_OF_WHOLE) {
            match known.iter_mut().find(|(text, _)| text == note) {
                Some((_, names)) => names.push(name),
                None => known.push((note, vec![name])),
            }
        }
    }
    let names = |names: &[&str]| match names.len() {
        ..=NAMES_MAX => names.join(", "),
        all if all == parts.len() => format!("all {all} results"),
        many => format!("{} and {} others", names[..NAMES_MAX].join(", "), many - NAMES_MAX),
    };
    known.into_iter().map(|(note, of)| format!("{}: {note}", names(&of))).collect()
}

fn aligned(parts: &[Part], course: &Course) -> Option<String> {
    (parts.len() > 1).then(|| {
        format!(
            "intervals are aligned by wall clock to within {}, plus the difference of the generators' clocks",
            duration_ns(course.moved_ns_max)
        )
    })
}

fn lengths(parts: &[Part]) -> Option<String> {
    let [shortest, longest] = range(parts.iter().map(|part| part.report.elapsed_s))?;
    (longest - shortest > longest * SHARE_MAX).then(|| {
        let [shortest, longest] = [shortest, longest].map(|time_s| duration_ns((time_s * 1e9) as u64));
        format!(
            "windows were from {shortest} to {longest} long: the rate is the sum of the rates in these windows"
        )
    })
}

/// Poisson generators with the same seed send at the same times. Shares of one load have different clients of the same seed.
fn same_seed(parts: &[Part]) -> Option<String> {
    let is_poisson = |part: &&Part| {
        let plan = &part.report.plan;
        plan.arrival == Some(Arrival::Poisson) && plan.part.is_none()
    };
    let mut seeds: Vec<_> = parts.iter().filter(is_poisson).collect();
    seeds.sort_by_key(|part| part.report.plan.seed);
    let twins = seeds.windows(2).find(|pair| pair[0].report.plan.seed == pair[1].report.plan.seed)?;
    Some(format!(
        "{} and {} have the same --seed, so their Poisson arrivals are identical and not independent: use a different \
         seed for each generator",
        twins[0].name, twins[1].name
    ))
}

/// Clients with a higher rate get more replies, even from a fair server.
fn uneven_rates(parts: &[Part]) -> Option<String> {
    let each =
        |part: &Part| Some(part.report.plan.rate_per_s? / f64::from(part.report.plan.connections.max(1)));
    let [least, most] = range(parts.iter().filter_map(each))?;
    (most - least > most * SHARE_MAX).then(|| {
        format!(
            "the rates per client differ, from {least:.3} to {most:.3} requests per second: this also lowers Jain's index \
             over all clients"
        )
    })
}

fn machines(parts: &[Part]) -> Option<String> {
    let (first, others) = parts.split_first()?;
    let machine = |part: &Part| cost::machine(&part.report.environment);
    let other = others.iter().find(|part| machine(part) != machine(first))?;
    Some(format!(
        "the reported machine is that of {}; {} is from another machine or another version of loadgen",
        first.name, other.name
    ))
}

/// The smallest and the largest.
fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |range, value| {
        let [least, most] = range.unwrap_or([value, value]);
        Some([f64::min(least, value), f64::max(most, value)])
    })
}
