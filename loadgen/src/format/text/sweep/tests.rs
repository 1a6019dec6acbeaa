use super::*;
use crate::{
    format::{
        screen::{Screen, width},
        text,
    },
    judge::verdict,
    result::{Document, FailedTail, sweep::tests::example},
};

fn text(sweep: &Sweep, columns: usize) -> String {
    let mut text = Vec::new();
    let document = Document::Sweep(Box::new(sweep.clone()));
    text::write(&document, Screen { columns, has_colour: false }, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The hypervisor took CPU time at three levels of two servers.
fn doubtful() -> Sweep {
    let mut sweep = example();
    for (place, level) in [(0, 2_000), (0, 4_000), (1, 1_000)] {
        let subject = &mut sweep.subjects[place];
        let report = &mut subject.points.iter_mut().find(|point| point.level == level).unwrap().report;
        report.generator.steal_share = Some(0.25);
        report.verdict = verdict::judge(report);
        let point = subject.curve.iter_mut().find(|point| point.level == level).unwrap();
        point.verdict = report.verdict.status;
        point.reasons = vec!["steal".to_owned()];
    }
    sweep
}

#[test]
fn the_curves_are_printed_side_by_side_with_the_capacity_of_each_server() {
    insta::assert_snapshot!(text(&example(), 80), @r"
    swept      6 levels from 1,000/s to 32,000/s; 70.0 s in total
               each run is 1.00 s of warm-up and 2.00 s measured; at each level the
               servers take turns, shuffled with seed 1
    load       open loop, Poisson arrivals, 50 clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux 6.18.0
    SLO        p99<5ms, in addition to keeping up

                    keeps        knee     mean        holds the
                    up to              at knee        SLO up to
    ───────────────────────────────────────────────────────────
    thread-pool   8,000/s     4,000/s    167µs  8,724 – 9,514/s
    event-loop   32,000/s  ≥ 32,000/s   14.7µs       ≥ 32,000/s
    mortal        2,000/s   ≥ 2,000/s   55.5µs  2,000 – 4,000/s

    ladder     thread-pool cannot keep up from 16,000/s on: 10,000/s of 16,000/s
               offered
    capacity   thread-pool holds p99<5ms up to 8,724/s, and not from 9,514/s on; in
               between its runs disagree

    ladder     event-loop kept up to the last level, 32,000/s
    capacity   event-loop holds p99<5ms at every level, up to 32,000/s

    FAILED     mortal died at 4,000/s (signal: 9 (SIGKILL)); it failed again at
               8,000/s
               | goodbye
    capacity   mortal holds p99<5ms up to 2,000/s, and not from 4,000/s on; the
               search was not made

    response p50  thread-pool  event-loop  mortal
    ─────────────────────────────────────────────
    1,000/s            77.0µs      7.00µs  36.5µs
    2,000/s            86.6µs      7.07µs  38.5µs
    4,000/s             115µs      7.21µs
    8,000/s             346µs      7.53µs
    16,000/s          ✗ 600ms      8.25µs
    32,000/s          ✗ 2.20s      10.2µs

    response p99  thread-pool  event-loop  mortal
    ─────────────────────────────────────────────
    1,000/s             509µs      46.3µs   241µs
    2,000/s             573µs      46.8µs   255µs
    4,000/s             764µs      47.7µs
    8,000/s            2.29ms      49.8µs
    16,000/s          ✗ 1.19s      54.6µs
    32,000/s          ✗ 4.36s      67.4µs
               ✗: the server did not keep up; empty: not run; -: too few samples

    note       the knee of event-loop may lie over 32,000/s: --rates goes further

    verdict    3 servers swept; 1 FAILED
    ");
}

#[test]
fn one_server_is_printed_in_more_detail_and_a_level_in_doubt_has_a_footnote() {
    let mut sweep = doubtful();
    sweep.subjects.truncate(1);
    let curve = |columns| {
        let text = text(&sweep, columns);
        text[text.find("\n\n                ").unwrap()..].to_owned()
    };
    insta::assert_snapshot!(curve(120), @r"
                              offered  achieved  response
                                   /s        /s      mean     p50     p90     p99     max
    ─────────────────────────────────────────────────────────────────────────────────────
    1,000/s   keeps up          1,000     1,000     111µs  77.0µs   256µs   509µs   922µs
    2,000/s   suspect [1]       2,000     2,000     125µs  86.6µs   288µs   573µs  1.04ms
    4,000/s   suspect [1]       4,000     4,000     167µs   115µs   383µs   764µs  1.38ms
    8,000/s   keeps up          8,000     8,000     500µs   346µs  1.15ms  2.29ms  4.15ms
    16,000/s  CANNOT KEEP UP   16,000    10,000     600ms   600ms   1.08s   1.19s   1.20s
    32,000/s  CANNOT KEEP UP   32,000    10,000     2.20s   2.20s   3.96s   4.36s   4.40s

    [1]        steal: at 2 levels, first at 2,000/s: the hypervisor gave 25.0% of this machine's CPU
               time to other machines (limit: 5.0%)
               → use a dedicated machine, or measure when the other machines are idle

    note       the knee of event-loop may lie over 32,000/s: --rates goes further

    verdict    holds p99<5ms up to: thread-pool 8,724 – 9,514/s; 2 levels in doubt
    ");
    insta::assert_snapshot!(curve(60), @r"
                              offered  achieved
                                   /s        /s
    ───────────────────────────────────────────
    1,000/s   keeps up          1,000     1,000
    2,000/s   suspect [1]       2,000     2,000
    4,000/s   suspect [1]       4,000     4,000
    8,000/s   keeps up          8,000     8,000
    16,000/s  CANNOT KEEP UP   16,000    10,000
    32,000/s  CANNOT KEEP UP   32,000    10,000

              response
                  mean     p50     p90     p99     max
    ──────────────────────────────────────────────────
    1,000/s      111µs  77.0µs   256µs   509µs   922µs
    2,000/s      125µs  86.6µs   288µs   573µs  1.04ms
    4,000/s      167µs   115µs   383µs   764µs  1.38ms
    8,000/s      500µs   346µs  1.15ms  2.29ms  4.15ms
    16,000/s     600ms   600ms   1.08s   1.19s   1.20s
    32,000/s     2.20s   2.20s   3.96s   4.36s   4.40s

    [1]        steal: at 2 levels, first at 2,000/s: the
               hypervisor gave 25.0% of this machine's CPU time
               to other machines (limit: 5.0%)
               → use a dedicated machine, or measure when the
               other machines are idle

    note       the knee of event-loop may lie over 32,000/s:
               --rates goes further

    verdict    1 server swept; 2 levels in doubt
    ");
}

#[test]
fn failed_requests_are_shown_at_their_level() {
    let mut sweep = example();
    let point = &mut sweep.subjects[0].curve[2];
    (point.mean_ns, point.power, point.p99_ns, point.p99_9_ns, point.max_ns) = (None, None, None, None, None);
    let percentiles = ["p99", "p99_9", "max"].map(str::to_owned).to_vec();
    point.failed_tail = Some(FailedTail { count: 75, longer_than_ns: 500_000_000, percentiles });
    let several = text(&sweep, 80);
    insta::assert_snapshot!(&several[several.find("response p99").unwrap()..], @r"
    response p99      thread-pool  event-loop  mortal
    ─────────────────────────────────────────────────
    1,000/s                 509µs      46.3µs   241µs
    2,000/s                 573µs      46.8µs   255µs
    4,000/s       >500ms (failed)      47.7µs
    8,000/s                2.29ms      49.8µs
    16,000/s              ✗ 1.19s      54.6µs
    32,000/s              ✗ 4.36s      67.4µs

    no reply  thread-pool  event-loop  mortal
    ─────────────────────────────────────────
    1,000/s             0           0       0
    2,000/s             0           0       0
    4,000/s            75           0
    8,000/s             0           0
    16,000/s          ✗ 0           0
    32,000/s          ✗ 0           0
               ✗: the server did not keep up; empty: not run; -: too few samples;
               (failed): among the requests without a reply

    note       the knee of event-loop may lie over 32,000/s: --rates goes further

    verdict    3 servers swept; 1 FAILED
    ");
    sweep.subjects.truncate(1);
    let one = text(&sweep, 80);
    let from = one.find("capacity  ").unwrap();
    insta::assert_snapshot!(&one[from..one.find("\nverdict  ").unwrap()], @r"
    capacity   thread-pool holds p99<5ms up to 8,724/s, and not from 9,514/s on; in
               between its runs disagree

                              offered  achieved  response
                                   /s        /s      mean     p50     p90
    ─────────────────────────────────────────────────────────────────────
    1,000/s   keeps up          1,000     1,000     111µs  77.0µs   256µs
    2,000/s   keeps up          2,000     2,000     125µs  86.6µs   288µs
    4,000/s   keeps up          4,000     4,000         -   115µs   383µs
    8,000/s   keeps up          8,000     8,000     500µs   346µs  1.15ms
    16,000/s  CANNOT KEEP UP   16,000    10,000     600ms   600ms   1.08s
    32,000/s  CANNOT KEEP UP   32,000    10,000     2.20s   2.20s   3.96s

                     response                                       no
                          p99            p99.9              max  reply
    ──────────────────────────────────────────────────────────────────
    1,000/s             509µs                -            922µs      -
    2,000/s             573µs                -           1.04ms      -
    4,000/s   >500ms (failed)  >500ms (failed)  >500ms (failed)     75
    8,000/s            2.29ms                -           4.15ms      -
    16,000/s            1.19s                -            1.20s      -
    32,000/s            4.36s                -            4.40s      -

    note       the knee of event-loop may lie over 32,000/s: --rates goes further
    ");
}

#[test]
fn several_servers_share_their_footnotes_at_every_width() {
    insta::assert_snapshot!(text(&doubtful(), 120), @r"
    swept      6 levels from 1,000/s to 32,000/s; 70.0 s in total
               each run is 1.00 s of warm-up and 2.00 s measured; at each level the servers take turns,
               shuffled with seed 1
    load       open loop, Poisson arrivals, 50 clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux 6.18.0
    SLO        p99<5ms, in addition to keeping up

                    keeps        knee     mean        holds the
                    up to              at knee        SLO up to
    ───────────────────────────────────────────────────────────
    thread-pool   8,000/s     4,000/s    167µs  8,724 – 9,514/s
    event-loop   32,000/s  ≥ 32,000/s   14.7µs       ≥ 32,000/s
    mortal        2,000/s   ≥ 2,000/s   55.5µs  2,000 – 4,000/s

    ladder     thread-pool cannot keep up from 16,000/s on: 10,000/s of 16,000/s offered
    capacity   thread-pool holds p99<5ms up to 8,724/s, and not from 9,514/s on; in between its runs
               disagree

    ladder     event-loop kept up to the last level, 32,000/s
    capacity   event-loop holds p99<5ms at every level, up to 32,000/s

    FAILED     mortal died at 4,000/s (signal: 9 (SIGKILL)); it failed again at 8,000/s
               | goodbye
    capacity   mortal holds p99<5ms up to 2,000/s, and not from 4,000/s on; the search was not made

    response p50  thread-pool  event-loop  mortal
    ─────────────────────────────────────────────
    1,000/s            77.0µs  [1] 7.00µs  36.5µs
    2,000/s        [1] 86.6µs      7.07µs  38.5µs
    4,000/s         [1] 115µs      7.21µs
    8,000/s             346µs      7.53µs
    16,000/s          ✗ 600ms      8.25µs
    32,000/s          ✗ 2.20s      10.2µs

    response p99  thread-pool  event-loop  mortal
    ─────────────────────────────────────────────
    1,000/s             509µs  [1] 46.3µs   241µs
    2,000/s         [1] 573µs      46.8µs   255µs
    4,000/s         [1] 764µs      47.7µs
    8,000/s            2.29ms      49.8µs
    16,000/s          ✗ 1.19s      54.6µs
    32,000/s          ✗ 4.36s      67.4µs
               ✗: the server did not keep up; empty: not run; -: too few samples

    [1]        steal: at 3 levels, first at 2,000/s of thread-pool: the hypervisor gave 25.0% of this
               machine's CPU time to other machines (limit: 5.0%)
               → use a dedicated machine, or measure when the other machines are idle

    note       the knee of event-loop may lie over 32,000/s: --rates goes further

    verdict    3 servers swept; 1 FAILED, 3 levels in doubt
    ");
    insta::assert_snapshot!(text(&doubtful(), 60), @r"
    swept      6 levels from 1,000/s to 32,000/s; 70.0 s in
               total
               each run is 1.00 s of warm-up and 2.00 s
               measured; at each level the servers take turns,
               shuffled with seed 1
    load       open loop, Poisson arrivals, 50 clients, 1 load
               thread
    message    64 bytes; expected reply: the same in upper case
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux
               6.18.0
    SLO        p99<5ms, in addition to keeping up

                    keeps        knee     mean        holds the
                    up to              at knee        SLO up to
    ───────────────────────────────────────────────────────────
    thread-pool   8,000/s     4,000/s    167µs  8,724 – 9,514/s
    event-loop   32,000/s  ≥ 32,000/s   14.7µs       ≥ 32,000/s
    mortal        2,000/s   ≥ 2,000/s   55.5µs  2,000 – 4,000/s

    ladder     thread-pool cannot keep up from 16,000/s on:
               10,000/s of 16,000/s offered
    capacity   thread-pool holds p99<5ms up to 8,724/s, and not
               from 9,514/s on; in between its runs disagree

    ladder     event-loop kept up to the last level, 32,000/s
    capacity   event-loop holds p99<5ms at every level, up to
               32,000/s

    FAILED     mortal died at 4,000/s (signal: 9 (SIGKILL)); it
               failed again at 8,000/s
               | goodbye
    capacity   mortal holds p99<5ms up to 2,000/s, and not from
               4,000/s on; the search was not made

    response p50  thread-pool  event-loop  mortal
    ─────────────────────────────────────────────
    1,000/s            77.0µs  [1] 7.00µs  36.5µs
    2,000/s        [1] 86.6µs      7.07µs  38.5µs
    4,000/s         [1] 115µs      7.21µs
    8,000/s             346µs      7.53µs
    16,000/s          ✗ 600ms      8.25µs
    32,000/s          ✗ 2.20s      10.2µs

    response p99  thread-pool  event-loop  mortal
    ─────────────────────────────────────────────
    1,000/s             509µs  [1] 46.3µs   241µs
    2,000/s         [1] 573µs      46.8µs   255µs
    4,000/s         [1] 764µs      47.7µs
    8,000/s            2.29ms      49.8µs
    16,000/s          ✗ 1.19s      54.6µs
    32,000/s          ✗ 4.36s      67.4µs
               ✗: the server did not keep up; empty: not run; -:
               too few samples

    [1]        steal: at 3 levels, first at 2,000/s of
               thread-pool: the hypervisor gave 25.0% of this
               machine's CPU time to other machines (limit:
               5.0%)
               → use a dedicated machine, or measure when the
               other machines are idle

    note       the knee of event-loop may lie over 32,000/s:
               --rates goes further

    verdict    3 servers swept; 1 FAILED, 3 levels in doubt
    ");
    for columns in 60..=130 {
        let text = text(&doubtful(), columns);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
    }
}
