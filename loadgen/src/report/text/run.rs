//! The report of a run for people.

use std::io;

use super::{LABEL, line, load, machine, message, plural};
use crate::{
    failure::Failure,
    human::{bytes, count, duration_ns, percent, rate},
    report::{Bar, Floor, Latencies, Latency, Merged, Report, Server, Status},
};

/// The longest bar, in characters.
const BAR_CHARS: f64 = 30.0;

/// Prints the report.
pub fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    write_verdict(report, out)?;
    write_slo(report, out)?;
    write_what(report, out)?;
    write_rate(report, out)?;
    write_latencies(report, out)?;
    write_decomposition(report, out)?;
    write_floor(report, out)?;
    write_histogram(report, out)?;
    write_errors(report, out)?;
    write_fairness(report, out)?;
    write_cost(report, out)?;
    write_disturbance(report, out)
}

fn write_verdict(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let status = match report.verdict.status {
        Status::Valid => "valid",
        Status::Suspect => "SUSPECT",
        Status::Invalid => "INVALID",
    };
    let part =
        if report.interrupted { ", interrupted: these are the numbers of the part that was run" } else { "" };
    line(out, "verdict", &format!("{status}{part}"))?;
    for reason in &report.verdict.reasons {
        line(out, "", &format!("{}: {}", reason.code, reason.message))?;
        line(out, "", &format!("→ {}", reason.advice))?;
    }
    for note in &report.notes {
        line(out, "note", note)?;
    }
    Ok(())
}

fn write_slo(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    for (index, outcome) in report.slo.iter().enumerate() {
        let (label, word) = (if index == 0 { "SLO" } else { "" }, if outcome.met { "met" } else { "MISSED" });
        line(out, label, &format!("{word} {}", outcome.message))?;
    }
    Ok(())
}

fn write_what(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let plan = &report.plan;
    let targets = plan.targets.join(", ");
    match report.server.as_ref().and_then(own_server) {
        Some(what) => line(out, "against", &format!("a server of its own: {what} on {targets}"))?,
        None => line(out, "against", &targets)?,
    }
    line(out, "load", &load(plan))?;
    line(out, "message", &message(plan))?;
    let warmup = duration_ns((plan.warmup_s * 1e9) as u64);
    let elapsed = duration_ns((report.elapsed_s * 1e9) as u64);
    line(out, "measured", &format!("{elapsed}, after {warmup} of warm-up"))?;
    if let Some(Merged { generators, start_skew_ns }) = &report.merged {
        let (generators, skew) = (plural(*generators as u64, "generator"), duration_ns(*start_skew_ns));
        line(out, "", &format!("added up from {generators}, whose windows began within {skew}"))?;
    }
    let environment = &report.environment;
    line(out, "on", &machine(environment))?;
    writeln!(out)
}

/// What there is to say of loadgen's own server.
pub(in crate::report) fn own_server(server: &Server) -> Option<String> {
    let mut what = server.mode.clone()?;
    if let Some(threads) = server.threads {
        what += &format!(", {}", plural(threads, "thread"));
    }
    if let Some(work) = &server.work {
        what += &format!(", work {work}");
    }
    Some(what)
}

fn write_rate(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let achieved = rate(report.rate.achieved_per_s);
    match report.rate.offered_per_s {
        Some(offered) => line(out, "rate", &format!("{achieved}/s achieved of {}/s offered", rate(offered)))?,
        None => line(out, "rate", &format!("{achieved}/s achieved"))?,
    }
    let requests = &report.requests;
    let verified = match requests.verified {
        0 => "no reply was checked".to_owned(),
        verified if verified == requests.completed => "every reply verified".to_owned(),
        verified => format!("{} verified", count(verified)),
    };
    let (completed, failed) = (count(requests.completed), count(requests.failed));
    line(out, "requests", &format!("{completed} completed, {failed} failed; {verified}"))?;
    writeln!(out)
}

/// Reads one number of a distribution.
type Get = fn(&Latency) -> Option<u64>;

/// The rows of a table of distributions.
static ROWS: [(&str, Get); 9] = [
    ("min", |latency| latency.min),
    ("mean", |latency| latency.mean.map(|mean| mean.round() as u64)),
    ("p50", |latency| latency.p50),
    ("p90", |latency| latency.p90),
    ("p99", |latency| latency.p99),
    ("p99.9", |latency| latency.p99_9),
    ("p99.99", |latency| latency.p99_99),
    ("max", |latency| latency.max),
    ("stdev", |latency| latency.stdev.map(|stdev| stdev.round() as u64)),
];

fn write_latencies(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let latencies = &report.latency_ns;
    let mut columns = vec![("response", &latencies.response), ("service", &latencies.service)];
    columns.extend(latencies.schedule_lag.as_ref().map(|lag| ("schedule lag", lag)));
    columns.push(("connect", &latencies.connect));
    write_columns(&columns, out)?;
    let lag = if latencies.schedule_lag.is_some() { "; lag: the generator's own" } else { "" };
    line(out, "", &format!("response: from due; service: from written{lag}"))?;
    if latencies.response.count > 0 && latencies.response.p99_99.is_none() {
        line(out, "", "-: too few samples to say")?;
    }
    writeln!(out)
}

/// Where a response's time went, as far as the kernel tells.
fn write_decomposition(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let Latencies { due_to_written, written_to_ready, ready_to_read, .. } = &report.latency_ns;
    let (Some(written_to_ready), Some(ready_to_read)) = (written_to_ready, ready_to_read) else {
        return Ok(());
    };
    let columns =
        [("due→written", due_to_written), ("written→ready", written_to_ready), ("ready→read", ready_to_read)];
    write_columns(&columns, out)?;
    line(
        out,
        "",
        "until written: the generator's lateness and the client's own queue; until ready: network and server; until \
         read: the generator's own delay",
    )?;
    writeln!(out)
}

/// What the generator and the kernel take by themselves.
fn write_floor(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let Some(calibration) = &report.calibration else { return Ok(()) };
    writeln!(out, "{:LABEL$}{:>14}{:>14}{:>14}", "", "floor", "response", "its part")?;
    for Floor { percentile, floor_ns, response_ns, share } in &calibration.floor {
        let [floor, response] = [floor_ns, response_ns].map(|time| time.map_or("-".to_owned(), duration_ns));
        let share = share.map_or("-".to_owned(), percent);
        writeln!(out, "{:>LABEL$}{floor:>14}{response:>14}{share:>14}", percentile.replace('_', "."))?;
    }
    let per_s = rate(calibration.achieved_per_s);
    line(
        out,
        "",
        &format!(
            "floor: the same load against an echo inside the generator, which answered {per_s}/s over loopback"
        ),
    )?;
    writeln!(out)
}

fn write_columns(columns: &[(&str, &Latency)], out: &mut dyn io::Write) -> io::Result<()> {
    let heads: String = columns.iter().map(|(head, _)| format!("{head:>14}")).collect();
    writeln!(out, "{:LABEL$}{heads}", "")?;
    for (name, get) in &ROWS {
        let cell = |latency| get(latency).map_or("-".to_owned(), duration_ns);
        let cells: String = columns.iter().map(|(_, latency)| format!("{:>14}", cell(latency))).collect();
        writeln!(out, "{name:>LABEL$}{cells}")?;
    }
    Ok(())
}

fn write_histogram(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let Some(most) = report.response_histogram.iter().map(|bar| bar.count).max() else { return Ok(()) };
    writeln!(out, "{:>17}{:>44}{:>9}{:>10}", "response time", "requests", "share", "up to it")?;
    for row in &report.response_histogram {
        let range = range(row);
        let drawn = draw(row.count as f64 / most as f64);
        let (share, cumulative) = (percent(row.share), percent(row.cumulative_share));
        let samples = count(row.count);
        writeln!(out, "{range:>17} {drawn:<30}{samples:>13}{share:>9}{cumulative:>10}")?;
    }
    writeln!(out)
}

/// Both ends of a row, the unit once where they share it.
fn range(row: &Bar) -> String {
    let end = |time_ns: u64| {
        let text = duration_ns(time_ns);
        let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
        // The edges are round numbers: what follows the point is zeros or one digit.
        let number = match number.contains('.') {
            true => number.trim_end_matches('0').trim_end_matches('.'),
            false => number,
        };
        (number.to_owned(), unit.to_owned())
    };
    if row.to_ns == u64::MAX {
        return format!("from {}", duration_ns(row.from_ns));
    }
    let ((from, from_unit), (to, to_unit)) = (end(row.from_ns), end(row.to_ns));
    match from_unit == to_unit {
        true => format!("{from} – {to} {to_unit}"),
        false => format!("{from} {from_unit} – {to} {to_unit}"),
    }
}

/// What disturbed the run, on the generator's side.
fn write_disturbance(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let generator = &report.generator;
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let preemptions = generator.preemptions_per_s_max.map_or("-".to_owned(), rate);
    line(
        out,
        "disturbed",
        &format!(
            "a load thread waited for a CPU for {} of the time, and was taken off one {preemptions} times a second; {} of \
             the machine's time went to others",
            share(generator.cpu_wait_share_max),
            share(generator.steal_share)
        ),
    )?;
    let Some(network) = report.network else { return Ok(()) };
    let [clients, all] = [network.client_retransmissions, network.retransmissions].map(count);
    let overflows = plural(network.listen_overflows, "full listen queue");
    line(
        out,
        "",
        &format!("{clients} segments sent again by the clients, {all} on this machine; {overflows}"),
    )
}

/// A bar in steps of an eighth of a character; what is there at all is seen.
fn draw(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * BAR_CHARS * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn write_errors(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut seen = false;
    for (_, name, text) in Failure::ALL {
        let failures = report.errors.get(name).copied().unwrap_or(0);
        if failures > 0 {
            let label = if seen { "" } else { "errors" };
            line(out, label, &format!("{} {name}: {text}", count(failures)))?;
            seen = true;
        }
    }
    if !seen {
        line(out, "errors", "none")?;
    }
    if let Some(wrong) = &report.first_mismatch {
        let (client, request, offset) = (wrong.client, wrong.request, wrong.offset);
        line(out, "mismatch", &format!("first at byte {offset} of client {client}'s request {request}"))?;
        line(out, "", &format!("expected \"{}\"", wrong.expected))?;
        line(out, "", &format!("got      \"{}\"", wrong.got))?;
    }
    Ok(())
}

fn write_fairness(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let fairness = &report.fairness;
    let jain = fairness.jain.map_or("-".to_owned(), |jain| format!("{jain:.3}"));
    let (served, clients) = (count(fairness.served), count(fairness.clients));
    let (least, most) = (count(fairness.requests_min), count(fairness.requests_max));
    let concurrency = fairness.effective_concurrency.map_or("-".to_owned(), rate);
    let silence = duration_ns(fairness.longest_silence_ns);
    line(
        out,
        "fairness",
        &format!("{served} of {clients} clients served; {least} to {most} replies each; Jain's index {jain}"),
    )?;
    line(out, "", &format!("longest silence {silence}; {concurrency} requests under way on average"))
}

fn write_cost(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let each =
        |cpu_ns: Option<f64>| cpu_ns.map_or("-".to_owned(), |cpu_ns| duration_ns(cpu_ns.round() as u64));
    let generator = &report.generator;
    let (cpu, busy) = (each(generator.cpu_ns_per_request), percent(generator.busiest_thread_share));
    line(out, "generator", &format!("{cpu} of CPU per request; its busiest thread ran {busy} of the time"))?;
    let Some(server) = &report.server else { return Ok(()) };
    let switches = server.context_switches_per_request.map_or("-".to_owned(), |each| format!("{each:.3}"));
    let cpu = each(server.cpu_ns_per_request);
    line(out, "server", &format!("{cpu} of CPU and {switches} context switches per request"))?;
    let memory = bytes(server.rss_bytes);
    match server.pss_bytes {
        Some(own) => line(out, "", &format!("{memory} of memory, {} without what others share", bytes(own))),
        None => line(out, "", &format!("{memory} of memory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::Mismatch, report::tests::example};

    fn text(report: &Report) -> String {
        let mut text = Vec::new();
        write(report, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_person_sees_the_verdict_first_and_then_everything_else() {
        insta::assert_snapshot!(text(&example()), @r#"
        verdict    valid
        against    a server of its own: tokio-task, 1 thread, work cpu:50us on
                   127.0.0.1:40123
        load       open loop of 1,000/s, Poisson arrivals, 50 clients, 1 load thread
        message    64 bytes; expected back: the same in upper case
        measured   2.00 s, after 1.00 s of warm-up
        on         Some CPU, 2 CPUs (the server's: 0; the load's: 1), Linux 6.18.0

        rate       1,000/s achieved of 1,000/s offered
        requests   2,000 completed, 0 failed; every reply verified

                         response       service  schedule lag       connect
                min       40.0 µs       38.0 µs        900 ns             -
               mean       1.37 ms        138 µs       1.90 µs             -
                p50       1.04 ms        138 µs       1.90 µs             -
                p90       3.28 ms        218 µs       2.70 µs             -
                p99       3.96 ms        236 µs       2.88 µs             -
              p99.9             -             -             -             -
             p99.99             -             -             -             -
                max       4.04 ms        238 µs       2.90 µs             -
              stdev       1.19 ms       57.7 µs        578 ns             -
                   response: from due; service: from written; lag: the generator's own
                   -: too few samples to say

            response time                                    requests    share  up to it
               30 – 50 µs █████████▍                              100     5.0%      5.0%
               50 – 70 µs ██████▉                                  74     3.7%      8.7%
              70 – 100 µs ██████▋                                  71     3.5%     12.2%
             100 – 150 µs ████████▏                                87     4.3%     16.6%
             150 – 200 µs ██████▍                                  68     3.4%     20.0%
             200 – 300 µs ██████████▎                             110     5.5%     25.5%
             300 – 500 µs ███████████████▊                        169     8.5%     34.0%
             500 – 700 µs ████████████▌                           134     6.7%     40.6%
            700 µs – 1 ms ███████████████▋                        167     8.3%     49.0%
               1 – 1.5 ms █████████████████████▍                  229    11.5%     60.5%
               1.5 – 2 ms █████████████████▉                      191     9.6%     70.0%
                 2 – 3 ms ██████████████████████████████          321    16.1%     86.1%
                 3 – 5 ms ██████████████████████████▏             279    14.0%    100.0%

        errors     none
        fairness   50 of 50 clients served; 31 to 52 replies each; Jain's index 0.999
                   longest silence 4.10 ms; 1.37 requests under way on average
        generator  10.0 µs of CPU per request; its busiest thread ran 1.0% of the time
        server     15.0 µs of CPU and 0.500 context switches per request
                   6.00 MiB of memory, 4.00 MiB without what others share
        disturbed  a load thread waited for a CPU for 0.2% of the time, and was taken
                   off one 1.50 times a second; 0.1% of the machine's time went to
                   others
                   0 segments sent again by the clients, 0 on this machine; 0 full
                   listen queues
        "#);
    }

    #[test]
    fn a_sum_says_what_it_is_the_sum_of() {
        let mut report = example();
        report.merged = Some(Merged { generators: 3, start_skew_ns: 1_200_000 });
        let text = text(&report);
        assert!(text.contains("added up from 3 generators, whose windows began within 1.20 ms"), "{text}");
    }

    #[test]
    fn what_went_wrong_is_said() {
        let mut report = example();
        report.errors.insert("mismatch".to_owned(), 1);
        report.requests.failed = 1;
        report.first_mismatch = Some(Mismatch {
            client: 7,
            request: 12,
            offset: 16,
            expected: "THE".to_owned(),
            got: "The".to_owned(),
        });
        report.verdict = crate::verdict::judge(&report);
        let text = text(&report);
        let said: Vec<_> = text
            .lines()
            .filter(|line| ["mismatch", "\"", "→"].iter().any(|part| line.contains(part)))
            .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
                   mismatch: 1 reply was not what the request asked for
                   → is this an echo in upper case? see --expect, and the first wrong
        errors     1 mismatch: reply other than expected
        mismatch   first at byte 16 of client 7's request 12
                   expected "THE"
                   got      "The"
        "#);
    }

    #[test]
    fn no_line_is_longer_than_a_terminal() {
        for line in text(&example()).lines() {
            assert!(line.chars().count() <= super::super::WIDTH, "{line}");
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_never_quite_gone() {
        assert_eq!(draw(1.0).chars().count(), BAR_CHARS as usize);
        assert_eq!([draw(0.0), draw(1e-9), draw(0.05)], ["", "▏", "█▌"]);
    }
}
