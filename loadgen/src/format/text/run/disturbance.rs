//! Disturbances of a run on the generator's side: pauses, other processes, the network.

use std::io;

use common::human::{count, duration_ns, percent, plural, rate};

use crate::{
    format::text::page::{Page, line},
    result::Report,
};

/// Prints the disturbances.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    if let Some(pauses) = pauses(report) {
        line(out, "paused", &pauses)?;
    }
    let generator = &report.generator;
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let preemptions = generator.preemptions_per_s_max.map_or("-".to_owned(), rate);
    line(
        out,
        "disturbed",
        &format!(
            "a load thread waited for a CPU for {} of the time, and was preempted {preemptions} times per second; the \
             hypervisor gave {} of the CPU time to other machines",
            share(generator.cpu_wait_share_max),
            share(generator.steal_share)
        ),
    )?;
    let Some(network) = report.network else { return Ok(()) };
    let (clients, all) = (plural(network.client_retransmissions, "segment"), count(network.retransmissions));
    let overflows = plural(network.listen_overflows, "overflow");
    line(
        out,
        "",
        &format!(
            "{clients} retransmitted by the clients, {all} on this machine; {overflows} of an accept queue"
        ),
    )
}

/// The pauses of the load threads. None without a pause.
fn pauses(report: &Report) -> Option<String> {
    /// The number of pauses that are printed with their time.
    const SHOWN_MAX: usize = 3;
    let pauses = &report.generator.pauses;
    if pauses.count == 0 {
        return None;
    }
    let at = |t_s: f64| match t_s {
        t_s if t_s <= 0.0 => "at the start of the window".to_owned(),
        t_s => format!("{} into the window", duration_ns((t_s * 1e9) as u64)),
    };
    let longest = pauses.longest.iter().take(SHOWN_MAX);
    let longest: Vec<_> =
        longest.map(|pause| format!("{}, {}", duration_ns(pause.length_ns), at(pause.t_s))).collect();
    let which = if pauses.count as usize > SHOWN_MAX { "the longest: " } else { "" };
    let share = percent(pauses.requests as f64 / report.requests.all().max(1) as f64);
    let longest =
        if longest.is_empty() { String::new() } else { format!(" ({which}{})", longest.join("; ")) };
    Some(format!(
        "{} of the load threads{longest}; {share} of the requests were due or outstanding then",
        plural(pauses.count, "pause")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Pause, Pauses, tests::example};

    #[test]
    fn pauses_are_printed_with_their_time() {
        let mut report = example();
        assert_eq!(pauses(&report), None);
        let pause = |t_s, length_ns| Pause { t_s, length_ns };
        report.generator.pauses = Pauses {
            count: 5,
            requests: 500,
            longest: vec![
                pause(0.52, 1_000_000_000),
                pause(0.0, 300_000_000),
                pause(1.9, 20_000_000),
                pause(1.0, 6_000_000),
            ],
            ..Pauses::default()
        };
        insta::assert_snapshot!(pauses(&report).unwrap(), @"5 pauses of the load threads (the longest: 1.00 s, 520 ms into the window; 300 ms, at the start of the window; 20.0 ms, 1.90 s into the window); 25.0% of the requests were due or outstanding then");
    }
}
