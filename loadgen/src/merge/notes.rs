//! What a reader should know of a sum besides its numbers.

use super::{Part, cost, course::Course};
use crate::{human::duration_ns, report::Report, schedule::Arrival};

/// By which part rates and window lengths of generators may differ without a word.
const SHARE_MAX: f64 = 0.05;

/// The parts' notes, each once, and what there is to say of the sum.
pub(super) fn notes(parts: &[Part], course: &Course) -> Vec<String> {
    let mut notes = their_own(parts);
    notes.extend(aligned(parts, course));
    notes.extend(lengths(parts));
    notes.extend(same_seed(parts));
    notes.extend(uneven_rates(parts));
    notes.extend(machines(parts));
    notes.extend(cost::no_server(parts));
    let first = |is: fn(&Report) -> bool| parts.iter().find(|part| is(&part.report)).map(|part| &part.name);
    if let Some(name) = first(|report| report.calibration.is_some()) {
        notes.push(format!("the calibration of {name} is left out: it is the floor of one generator alone"));
    }
    let stamped = |report: &Report| report.latency_ns.written_to_ready.is_some();
    if let Some(name) = first(stamped)
        && !parts.iter().all(|part| stamped(&part.report))
    {
        notes.push(format!("the kernel's timestamps of {name} are left out: not all generators have them"));
    }
    if parts.len() > 1
        && let Some(name) = first(|report| report.first_mismatch.is_some())
    {
        notes.push(format!("the first wrong reply is the first of {name}"));
    }
    notes
}

/// The parts' own notes, each with the names of those that have it.
fn their_own(parts: &[Part]) -> Vec<String> {
    let mut known: Vec<(&str, Vec<&str>)> = Vec::new();
    for Part { name, report } in parts {
        for note in &report.notes {
            match known.iter_mut().find(|(text, _)| text == note) {
                Some((_, names)) => names.push(name),
                None => known.push((note, vec![name])),
            }
        }
    }
    known.into_iter().map(|(note, names)| format!("{}: {note}", names.join(", "))).collect()
}

fn aligned(parts: &[Part], course: &Course) -> Option<String> {
    (parts.len() > 1).then(|| {
        format!(
            "intervals are aligned by the generators' wall clocks to within {}, beside what these clocks differ by",
            duration_ns(course.moved_ns_max)
        )
    })
}

fn lengths(parts: &[Part]) -> Option<String> {
    let [shortest, longest] = range(parts.iter().map(|part| part.report.elapsed_s))?;
    (longest - shortest > longest * SHARE_MAX).then(|| {
        let [shortest, longest] = [shortest, longest].map(|time_s| duration_ns((time_s * 1e9) as u64));
        format!(
            "windows were from {shortest} to {longest} long: the rate is the sum of what each generator saw in its own"
        )
    })
}

/// Generators that draw their requests' moments from the same seed send together.
fn same_seed(parts: &[Part]) -> Option<String> {
    let is_poisson = |part: &&Part| part.report.plan.arrival == Some(Arrival::Poisson);
    let mut seeds: Vec<_> = parts.iter().filter(is_poisson).collect();
    seeds.sort_by_key(|part| part.report.plan.seed);
    let twins = seeds.windows(2).find(|pair| pair[0].report.plan.seed == pair[1].report.plan.seed)?;
    Some(format!(
        "{} and {} have the same --seed: their Poisson arrivals are the same ones, not independent; give each \
         generator a seed of its own",
        twins[0].name, twins[1].name
    ))
}

/// Clients that are asked to do more than others get more replies from the fairest of servers.
fn uneven_rates(parts: &[Part]) -> Option<String> {
    let each =
        |part: &Part| Some(part.report.plan.rate_per_s? / f64::from(part.report.plan.connections.max(1)));
    let [least, most] = range(parts.iter().filter_map(each))?;
    (most - least > most * SHARE_MAX).then(|| {
        format!(
            "the plans ask for {least:.3} to {most:.3} requests a second of each client: Jain's index over all \
             clients shows that unevenness too"
        )
    })
}

fn machines(parts: &[Part]) -> Option<String> {
    let (first, others) = parts.split_first()?;
    let machine = |part: &Part| cost::machine(&part.report.environment);
    let other = others.iter().find(|part| machine(part) != machine(first))?;
    Some(format!(
        "the machine that is named is that of {}; {} is from a machine or a loadgen that differs",
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
