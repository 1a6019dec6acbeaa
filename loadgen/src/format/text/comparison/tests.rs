use super::*;
use crate::{
    command::compare::against::tests::held,
    format::{
        screen::{Screen, width},
        text,
    },
    judge::verdict,
    result::{
        Document,
        comparison::{Difference, FailedRounds, Ratio, Spread, tests::example},
        verdicts::complete,
    },
};

fn text(comparison: &Comparison, columns: usize) -> String {
    let mut text = Vec::new();
    let document = Document::Comparison(Box::new(comparison.clone()));
    text::write(&document, Screen { columns, has_colour: false }, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The hypervisor took CPU time in two rounds of one server and in one round of another.
fn doubtful() -> Comparison {
    let mut comparison = example();
    for (place, rounds) in [(0, 2), (1, 1)] {
        for round in &mut comparison.subjects[place].rounds[..rounds] {
            round.report.generator.steal_share = Some(0.25);
            round.report.verdict = verdict::judge(&round.report);
        }
    }
    complete(&mut comparison);
    comparison
}

#[test]
fn the_conclusion_is_first_then_every_server_then_the_differences() {
    insta::assert_snapshot!(text(&example(), 120), @r"
    verdict    SUSPECT: no detectable difference from a-long-name-of-server
               response p99 against a-long-name-of-server: no detectable difference: twin; not compared:
               starving, absent
               CPU per request against a-long-name-of-server: twin +50.0%
               of 9 rounds, 3 invalid: starved
    compared   3 rounds; each turn is a new server process, 1.00 s of warm-up and 2.00 s measured
               the order of the turns is shuffled with seed 1; 40.0 s in total
    load       open loop of 1,000/s, Poisson arrivals, 50 clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux 6.18.0

                           verdict  replies   resp.          serv.         served   Jain  errs     CPU  switch   memory
                                         /s     p50     p99    p50    p99                         /req    /req
    ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
    a-long-name-of-server  valid      1,000  1.04ms  3.96ms  138µs  236µs      50  0.999     0  15.0µs   0.500  4.00MiB
    twin                   valid      1,000  1.04ms  3.96ms  138µs  236µs      50  0.999     0  22.5µs   0.500  4.00MiB
    starving               MARKED     1,000  1.04ms  3.96ms  138µs  236µs   47/50  0.999     0  15.0µs   0.500  4.00MiB
    absent                 FAILED         -       -       -      -      -       -      -     -       -       -        -
               medians of the rounds, but the worst round for served, Jain's index and errors; response:
               since the request was due; service: since it was written; CPU, context switches and
               memory: of the server

    MARKED     starving starved: 3 of 50 clients got no reply (round 1; in 3 of 3 rounds)

    FAILED     absent did not start: it ended before it answered (exit status: 3)
               | the port is too high

    compared with a-long-name-of-server, the baseline:
                        ratio   95% interval  difference       median  baseline
    ───────────────────────────────────────────────────────────────────────────
    twin
      response p50      1.000  1.000 – 1.000  none detected   1.04 ms   1.04 ms
      response p99      1.000  1.000 – 1.000  none detected   3.96 ms   3.96 ms
      CPU/request       1.500  1.500 – 1.500  higher          22.5 µs   15.0 µs
      switches/request  1.000  1.000 – 1.000  none detected     0.500     0.500
      memory            1.000  1.000 – 1.000  none detected  4.00 MiB  4.00 MiB
               not compared because it is marked: starving
               not compared because it failed: absent

    note       with 3 rounds an interval is narrower than it should be

    verdict    SUSPECT: no detectable difference from a-long-name-of-server
    ");
}

#[test]
fn a_percentile_among_failed_requests_is_marked_and_has_no_ratio() {
    let mut comparison = example();
    let failed = Some(FailedRounds { rounds: 2, longer_than_ns: 500e6 });
    let twin = &mut comparison.subjects[1];
    let p99 = twin.summary.get_mut("response_p99_ns").unwrap();
    *p99 = Spread { median: None, max: None, failed, ..*p99 };
    let reason = "its p99 falls among failed requests in 2 of 3 rounds".to_owned();
    let ratio = twin.against_baseline.get_mut("response_p99_ns").unwrap();
    *ratio =
        Ratio { ratio: None, low: None, high: None, verdict: Difference::NotCompared, reason: Some(reason) };
    let text_120 = text(&comparison, 120);
    let lines = text_120.lines().filter(|line| line.contains("failed") || line.contains("response p99"));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    verdict    SUSPECT: no response p99 to compare with a-long-name-of-server's: it falls among failed
               response p99 against a-long-name-of-server: among failed requests, so not compared: twin;
    twin                   valid      1,000  1.04ms  >500ms (failed)  138µs  236µs
      response p99          -              -  its p99 falls among failed requests in 2 of 3 rounds
      response p99      > 500 ms (failed)   3.96 ms
               not compared because it failed: absent
    verdict    SUSPECT: no response p99 to compare with a-long-name-of-server's: it falls among failed requests
    ");
    for columns in 60..=130 {
        let text = text(&comparison, columns);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
    }
}

#[test]
fn rounds_that_are_not_valid_are_counted_and_their_reasons_printed() {
    insta::assert_snapshot!(text(&doubtful(), 80), @r"
    verdict    SUSPECT: no detectable difference from a-long-name-of-server
               response p99 against a-long-name-of-server: no detectable difference:
               twin; not compared: starving, absent
               CPU per request against a-long-name-of-server: twin +50.0%
               of 9 rounds, 3 invalid and 3 suspect: starved, steal
    compared   3 rounds; each turn is a new server process, 1.00 s of warm-up and
               2.00 s measured
               the order of the turns is shuffled with seed 1; 40.0 s in total
    load       open loop of 1,000/s, Poisson arrivals, 50 clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux 6.18.0

                           verdict      replies   resp.          serv.
                                             /s     p50     p99    p50    p99
    ─────────────────────────────────────────────────────────────────────────
    a-long-name-of-server  SUSPECT 2/3    1,000  1.04ms  3.96ms  138µs  236µs
    twin                   SUSPECT 1/3    1,000  1.04ms  3.96ms  138µs  236µs
    starving               MARKED         1,000  1.04ms  3.96ms  138µs  236µs
    absent                 FAILED             -       -       -      -      -

                           served   Jain  errs     CPU  switch   memory
                                                  /req    /req
    ───────────────────────────────────────────────────────────────────
    a-long-name-of-server      50  0.999     0  15.0µs   0.500  4.00MiB
    twin                       50  0.999     0  22.5µs   0.500  4.00MiB
    starving                47/50  0.999     0  15.0µs   0.500  4.00MiB
    absent                      -      -     -       -       -        -
               medians of the rounds, but the worst round for served, Jain's index
               and errors; response: since the request was due; service: since it
               was written; CPU, context switches and memory: of the server

    MARKED     starving starved: 3 of 50 clients got no reply (round 1; in 3 of 3
               rounds)

    FAILED     absent did not start: it ended before it answered (exit status: 3)
               | the port is too high

    SUSPECT    steal: a-long-name-of-server 2/3, twin 1/3
               a-long-name-of-server: the hypervisor gave 25.0% of this machine's
               CPU time to other machines (limit: 5.0%)
               → use a dedicated machine, or measure when the other machines are
               idle

    compared with a-long-name-of-server, the baseline:
                        ratio   95% interval  difference       median  baseline
    ───────────────────────────────────────────────────────────────────────────
    twin
      response p50      1.000  1.000 – 1.000  none detected   1.04 ms   1.04 ms
      response p99      1.000  1.000 – 1.000  none detected   3.96 ms   3.96 ms
      CPU/request       1.500  1.500 – 1.500  higher          22.5 µs   15.0 µs
      switches/request  1.000  1.000 – 1.000  none detected     0.500     0.500
      memory            1.000  1.000 – 1.000  none detected  4.00 MiB  4.00 MiB
               not compared because it is marked: starving
               not compared because it failed: absent

    note       with 3 rounds an interval is narrower than it should be

    verdict    SUSPECT: no detectable difference from a-long-name-of-server
    ");
    insta::assert_snapshot!(text(&doubtful(), 60), @r"
    verdict    SUSPECT: no detectable difference from
               a-long-name-of-server
               response p99 against a-long-name-of-server: no
               detectable difference: twin; not compared:
               starving, absent
               CPU per request against a-long-name-of-server:
               twin +50.0%
               of 9 rounds, 3 invalid and 3 suspect: starved,
               steal
    compared   3 rounds; each turn is a new server process,
               1.00 s of warm-up and 2.00 s measured
               the order of the turns is shuffled with seed 1;
               40.0 s in total
    load       open loop of 1,000/s, Poisson arrivals, 50
               clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux
               6.18.0

                           verdict      replies   resp.
                                             /s     p50     p99
    ───────────────────────────────────────────────────────────
    a-long-name-of-server  SUSPECT 2/3    1,000  1.04ms  3.96ms
    twin                   SUSPECT 1/3    1,000  1.04ms  3.96ms
    starving               MARKED         1,000  1.04ms  3.96ms
    absent                 FAILED             -       -       -

                           serv.         served   Jain  errs
                             p50    p99
    ────────────────────────────────────────────────────────
    a-long-name-of-server  138µs  236µs      50  0.999     0
    twin                   138µs  236µs      50  0.999     0
    starving               138µs  236µs   47/50  0.999     0
    absent                     -      -       -      -     -

                              CPU  switch   memory
                             /req    /req
    ──────────────────────────────────────────────
    a-long-name-of-server  15.0µs   0.500  4.00MiB
    twin                   22.5µs   0.500  4.00MiB
    starving               15.0µs   0.500  4.00MiB
    absent                      -       -        -
               medians of the rounds, but the worst round for
               served, Jain's index and errors; response: since
               the request was due; service: since it was
               written; CPU, context switches and memory: of the
               server

    MARKED     starving starved: 3 of 50 clients got no reply
               (round 1; in 3 of 3 rounds)

    FAILED     absent did not start: it ended before it answered
               (exit status: 3)
               | the port is too high

    SUSPECT    steal: a-long-name-of-server 2/3, twin 1/3
               a-long-name-of-server: the hypervisor gave 25.0%
               of this machine's CPU time to other machines
               (limit: 5.0%)
               → use a dedicated machine, or measure when the
               other machines are idle

    compared with a-long-name-of-server, the baseline:
                        ratio   95% interval
    ────────────────────────────────────────
    twin
      response p50      1.000  1.000 – 1.000
      response p99      1.000  1.000 – 1.000
      CPU/request       1.500  1.500 – 1.500
      switches/request  1.000  1.000 – 1.000
      memory            1.000  1.000 – 1.000

                        difference       median  baseline
    ─────────────────────────────────────────────────────
    twin
      response p50      none detected   1.04 ms   1.04 ms
      response p99      none detected   3.96 ms   3.96 ms
      CPU/request       higher          22.5 µs   15.0 µs
      switches/request  none detected     0.500     0.500
      memory            none detected  4.00 MiB  4.00 MiB
               not compared because it is marked: starving
               not compared because it failed: absent

    note       with 3 rounds an interval is narrower than it
               should be

    verdict    SUSPECT: 1 alike, 2 not compared
    ");
}

#[test]
fn no_line_is_longer_than_the_screen() {
    for columns in 60..=130 {
        let text = text(&doubtful(), columns);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
    }
}

#[test]
fn servers_that_are_held_against_an_earlier_result_have_a_table_of_their_own() {
    let text = text(&held(), 120);
    let parts: Vec<_> = text.split("\n\n").collect();
    let conclusion = parts[0].lines().skip_while(|line| !line.starts_with("against")).take(4);
    let table = parts.iter().find(|part| part.starts_with("held against")).unwrap();
    let shown = [&conclusion.collect::<Vec<_>>().join("\n"), *table, parts[parts.len() - 1]].join("\n\n");
    insta::assert_snapshot!(shown, @r"
    against    REGRESSION: worse than in kept.json (tolerance: 5%)
               twin: CPU/request +100.0%
               starving: kept.json has no server with this name
               absent: kept.json has no server with this name

    held against kept.json:
                        ratio   95% interval  change                  today      kept
    ─────────────────────────────────────────────────────────────────────────────────
    a-long-name-of-server
      response p50      1.000  1.000 – 1.000  no difference shown   1.04 ms   1.04 ms
      response p99      1.000  1.000 – 1.000  no difference shown   3.96 ms   3.96 ms
      CPU/request       1.000  1.000 – 1.000  no difference shown   15.0 µs   15.0 µs
      switches/request  1.000  1.000 – 1.000  no difference shown     0.500     0.500
      memory            1.000  1.000 – 1.000  no difference shown  4.00 MiB  4.00 MiB
    twin
      response p50      1.000  1.000 – 1.000  no difference shown   1.04 ms   1.04 ms
      response p99      1.000  1.000 – 1.000  no difference shown   3.96 ms   3.96 ms
      CPU/request       2.000  2.000 – 2.000  REGRESSION: more      22.5 µs   11.3 µs
      switches/request  1.000  1.000 – 1.000  no difference shown     0.500     0.500
      memory            1.000  1.000 – 1.000  no difference shown  4.00 MiB  4.00 MiB
    kept       2027-01-15T08:00:00Z: a-long-name-of-server in 3 rounds, twin in 3 rounds
               loadgen compare
               a-long-name-of-server: serve {port}
               twin: serve {port}
               kept, and not measured today: gone
               a regression is an interval wholly beyond the tolerance of 5%, of the response times, the
               CPU per request or, in a closed loop, the replies per second
               starving: kept.json has no server with this name
               absent: kept.json has no server with this name
    WARNING    the machine is not the same

    verdict    SUSPECT: no detectable difference from a-long-name-of-server
    against    REGRESSION: worse than in kept.json (tolerance: 5%)
    ");
    for columns in 60..=130 {
        let text = super::tests::text(&held(), columns);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
    }
}
