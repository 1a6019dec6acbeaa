use super::*;
use crate::{
    format::{
        screen::{Screen, width},
        text,
    },
    protocol::exchange::Mismatch,
    result::{
        Document, SloOutcome,
        tests::{example, with_failures},
    },
};

fn text_at(report: &Report, columns: usize) -> String {
    let mut text = Vec::new();
    let document = Document::Run(Box::new(report.clone()));
    text::write(&document, Screen { columns, has_colour: false }, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn text(report: &Report) -> String {
    text_at(report, 80)
}

#[test]
fn the_verdict_is_at_the_beginning_and_at_the_end() {
    insta::assert_snapshot!(text(&example()), @r"
    verdict    valid
    target     127.0.0.1:40123, started by loadgen: tokio-task, 1 thread, work
               cpu:50us
    load       open loop of 1,000/s, Poisson arrivals, 50 clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    measured   2.00 s, after 1.00 s of warm-up
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux 6.18.0

    rate       1,000/s achieved of 1,000/s offered
    requests   2,000 due, all sent: 1,999 completed in the window of 2.00 s, 1 in
               the 200 µs after it
               all replies verified

                 response  service  schedule lag  connect
            min   40.0 µs  38.0 µs        900 ns        -
           mean   1.37 ms   138 µs       1.90 µs        -
            p50   1.04 ms   138 µs       1.90 µs        -
            p90   3.28 ms   218 µs       2.70 µs        -
            p99   3.96 ms   236 µs       2.88 µs        -
          p99.9         -        -             -        -
         p99.99         -        -             -        -
            max   4.04 ms   238 µs       2.90 µs        -
          stdev   1.19 ms  57.7 µs        578 ns        -
               response: since the request was due; service: since it was written;
               schedule lag: the generator's own delay
               -: too few samples

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
               longest silence 4.10 ms; 1.37 requests outstanding on average
    generator  10.0 µs of CPU per request; the busiest thread ran 1.0% of the time
    server     15.0 µs of CPU per request; 0.500 context switches per request
               memory: 6.00 MiB resident (RSS), 4.00 MiB proportional (PSS)
    disturbed  a load thread waited for a CPU for 0.2% of the time, and was
               preempted 1.50 times per second; the hypervisor gave 0.1% of the CPU
               time to other machines
               0 segments retransmitted by the clients, 0 on this machine; 0
               overflows of an accept queue

    verdict    valid
    ");
}

#[test]
fn a_merged_report_names_its_generators() {
    let mut report = example();
    report.merged = Some(Merged { generators: 3, start_skew_ns: 1_200_000, ..Merged::default() });
    let text = text(&report);
    assert!(text.contains("sum of 3 generators; their windows began within 1.20 ms"), "{text}");
}

#[test]
fn a_partial_report_names_the_missing_parts_beside_its_verdict() {
    let mut report = example();
    report.merged =
        Some(Merged { generators: 2, expected: Some(4), missing: vec![0, 3], ..Merged::default() });
    report.verdict = crate::judge::verdict::judge(&report);
    let text = text(&report);
    let first: Vec<_> = text.lines().take_while(|line| !line.starts_with("target")).collect();
    insta::assert_snapshot!(first.join("\n"), @r"
    verdict    INVALID, partial: the numbers cover 2 of 4 parts
               missing_parts: 2 of 4 parts are missing: 0, 3
               → the numbers cover only a part of the load: look in the logs of the
               other generators for their results, or repeat the run
    ");
    assert!(text.ends_with("verdict    INVALID, partial: missing_parts\n"), "{text}");
}

#[test]
fn a_wrong_reply_is_shown() {
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
    report.verdict = crate::judge::verdict::judge(&report);
    let text = text(&report);
    let lines: Vec<_> =
        text.lines().filter(|line| ["mismatch", "\"", "→"].iter().any(|part| line.contains(part))).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
               mismatch: 1 reply was not the expected one
               → compare the first wrong reply below with what --expect asks for
    errors     1 mismatch: wrong reply
    mismatch   first at byte 16 of the reply to request 12 of client 7
               expected "THE"
               got      "The"
    verdict    INVALID: mismatch
    "#);
}

#[test]
fn a_report_fits_every_screen() {
    insta::assert_snapshot!(text_at(&example(), 60), @r"
    verdict    valid
    target     127.0.0.1:40123, started by loadgen: tokio-task,
               1 thread, work cpu:50us
    load       open loop of 1,000/s, Poisson arrivals, 50
               clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    measured   2.00 s, after 1.00 s of warm-up
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux
               6.18.0

    rate       1,000/s achieved of 1,000/s offered
    requests   2,000 due, all sent: 1,999 completed in the
               window of 2.00 s, 1 in the 200 µs after it
               all replies verified

                 response  service  schedule lag  connect
            min   40.0 µs  38.0 µs        900 ns        -
           mean   1.37 ms   138 µs       1.90 µs        -
            p50   1.04 ms   138 µs       1.90 µs        -
            p90   3.28 ms   218 µs       2.70 µs        -
            p99   3.96 ms   236 µs       2.88 µs        -
          p99.9         -        -             -        -
         p99.99         -        -             -        -
            max   4.04 ms   238 µs       2.90 µs        -
          stdev   1.19 ms  57.7 µs        578 ns        -
               response: since the request was due; service:
               since it was written; schedule lag: the
               generator's own delay
               -: too few samples

        response time                requests    share  up to it
           30 – 50 µs ███▏                100     5.0%      5.0%
           50 – 70 µs ██▎                  74     3.7%      8.7%
          70 – 100 µs ██▎                  71     3.5%     12.2%
         100 – 150 µs ██▊                  87     4.3%     16.6%
         150 – 200 µs ██▏                  68     3.4%     20.0%
         200 – 300 µs ███▍                110     5.5%     25.5%
         300 – 500 µs █████▎              169     8.5%     34.0%
         500 – 700 µs ████▏               134     6.7%     40.6%
        700 µs – 1 ms █████▎              167     8.3%     49.0%
           1 – 1.5 ms ███████▏            229    11.5%     60.5%
           1.5 – 2 ms ██████              191     9.6%     70.0%
             2 – 3 ms ██████████          321    16.1%     86.1%
             3 – 5 ms ████████▊           279    14.0%    100.0%

    errors     none
    fairness   50 of 50 clients served; 31 to 52 replies each;
               Jain's index 0.999
               longest silence 4.10 ms; 1.37 requests
               outstanding on average
    generator  10.0 µs of CPU per request; the busiest thread
               ran 1.0% of the time
    server     15.0 µs of CPU per request; 0.500 context
               switches per request
               memory: 6.00 MiB resident (RSS), 4.00 MiB
               proportional (PSS)
    disturbed  a load thread waited for a CPU for 0.2% of the
               time, and was preempted 1.50 times per second;
               the hypervisor gave 0.1% of the CPU time to other
               machines
               0 segments retransmitted by the clients, 0 on
               this machine; 0 overflows of an accept queue

    verdict    valid
    ");
    insta::assert_snapshot!(text_at(&example(), 120), @r"
    verdict    valid
    target     127.0.0.1:40123, started by loadgen: tokio-task, 1 thread, work cpu:50us
    load       open loop of 1,000/s, Poisson arrivals, 50 clients, 1 load thread
    message    64 bytes; expected reply: the same in upper case
    measured   2.00 s, after 1.00 s of warm-up
    machine    Some CPU, 2 CPUs (server: 0; load: 1), Linux 6.18.0

    rate       1,000/s achieved of 1,000/s offered
    requests   2,000 due, all sent: 1,999 completed in the window of 2.00 s, 1 in the 200 µs after it
               all replies verified

                 response  service  schedule lag  connect
            min   40.0 µs  38.0 µs        900 ns        -
           mean   1.37 ms   138 µs       1.90 µs        -
            p50   1.04 ms   138 µs       1.90 µs        -
            p90   3.28 ms   218 µs       2.70 µs        -
            p99   3.96 ms   236 µs       2.88 µs        -
          p99.9         -        -             -        -
         p99.99         -        -             -        -
            max   4.04 ms   238 µs       2.90 µs        -
          stdev   1.19 ms  57.7 µs        578 ns        -
               response: since the request was due; service: since it was written; schedule lag: the
               generator's own delay
               -: too few samples

        response time                                                        requests    share  up to it
           30 – 50 µs ███████████████▋                                            100     5.0%      5.0%
           50 – 70 µs ███████████▌                                                 74     3.7%      8.7%
          70 – 100 µs ███████████                                                  71     3.5%     12.2%
         100 – 150 µs █████████████▌                                               87     4.3%     16.6%
         150 – 200 µs ██████████▋                                                  68     3.4%     20.0%
         200 – 300 µs █████████████████▏                                          110     5.5%     25.5%
         300 – 500 µs ██████████████████████████▍                                 169     8.5%     34.0%
         500 – 700 µs ████████████████████▉                                       134     6.7%     40.6%
        700 µs – 1 ms ██████████████████████████                                  167     8.3%     49.0%
           1 – 1.5 ms ███████████████████████████████████▋                        229    11.5%     60.5%
           1.5 – 2 ms █████████████████████████████▊                              191     9.6%     70.0%
             2 – 3 ms ██████████████████████████████████████████████████          321    16.1%     86.1%
             3 – 5 ms ███████████████████████████████████████████▌                279    14.0%    100.0%

    errors     none
    fairness   50 of 50 clients served; 31 to 52 replies each; Jain's index 0.999
               longest silence 4.10 ms; 1.37 requests outstanding on average
    generator  10.0 µs of CPU per request; the busiest thread ran 1.0% of the time
    server     15.0 µs of CPU per request; 0.500 context switches per request
               memory: 6.00 MiB resident (RSS), 4.00 MiB proportional (PSS)
    disturbed  a load thread waited for a CPU for 0.2% of the time, and was preempted 1.50 times per
               second; the hypervisor gave 0.1% of the CPU time to other machines
               0 segments retransmitted by the clients, 0 on this machine; 0 overflows of an accept
               queue

    verdict    valid
    ");
    let mut sum = example();
    sum.merged = Some(Merged {
        generators: 3,
        start_skew_ns: 1_200_000,
        expected: Some(9),
        missing: vec![0, 2, 3, 5, 7, 8],
        ..Merged::default()
    });
    for (columns, report) in (60..=130).flat_map(|columns| [(columns, example()), (columns, sum.clone())]) {
        let text = text_at(&report, columns);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
    }
}

#[test]
fn failed_requests_are_in_the_percentiles_the_histogram_and_the_counts() {
    let mut report = with_failures();
    report.generator.cpu_ns_per_request = None;
    let text = text_at(&report, 80);
    let (from, to) = (text.find("rate  ").unwrap(), text.find("fairness").unwrap());
    insta::assert_snapshot!(&text[from..to], @r"
    rate       1,000/s achieved of 1,000/s offered
    requests   2,030 due, 2,029 sent: 1,999 completed in the window of 2.00 s, 1 in
               the 500 ms after it, 29 failed (1 of them never sent), 1 cut off by
               the end of the run
               all replies verified; error rate 1.4%

                          response  successful  service  schedule lag  connect
            min            40.0 µs     40.0 µs  38.0 µs        900 ns        -
           mean                  -     1.37 ms   138 µs       1.90 µs        -
            p50            1.07 ms     1.04 ms   138 µs       1.90 µs        -
            p90            3.38 ms     3.28 ms   218 µs       2.70 µs        -
            p99  > 500 ms (failed)     3.96 ms   236 µs       2.88 µs        -
          p99.9  > 500 ms (failed)           -        -             -        -
         p99.99  > 500 ms (failed)           -        -             -        -
            max  > 500 ms (failed)     4.04 ms   238 µs       2.90 µs        -
          stdev                  -     1.19 ms  57.7 µs        578 ns        -
               response: since the request was due; service: since it was written;
               schedule lag: the generator's own delay
               (failed): among the 30 requests without a reply, which count as the
               slowest; successful: the response times of the other requests

        response time                                    requests    share  up to it
           30 – 50 µs █████████▍                              100     4.9%      4.9%
           50 – 70 µs ██████▉                                  74     3.6%      8.6%
          70 – 100 µs ██████▋                                  71     3.5%     12.1%
         100 – 150 µs ████████▏                                87     4.3%     16.4%
         150 – 200 µs ██████▍                                  68     3.3%     19.7%
         200 – 300 µs ██████████▎                             110     5.4%     25.1%
         300 – 500 µs ███████████████▊                        169     8.3%     33.4%
         500 – 700 µs ████████████▌                           134     6.6%     40.0%
        700 µs – 1 ms ███████████████▋                        167     8.2%     48.3%
           1 – 1.5 ms █████████████████████▍                  229    11.3%     59.6%
           1.5 – 2 ms █████████████████▉                      191     9.4%     69.0%
             2 – 3 ms ██████████████████████████████          321    15.8%     84.8%
             3 – 5 ms ██████████████████████████▏             279    13.7%     98.5%
             no reply ██▊                                      30     1.5%    100.0%

    errors     28 timeout: no complete reply in time
               1 unsent: due, but never sent
    ");
    let narrow = text_at(&report, 60);
    let (from, to) = (narrow.find("   response").unwrap(), narrow.find("(failed):").unwrap());
    insta::assert_snapshot!(&narrow[from..to], @r"
    response  successful
         min            40.0 µs     40.0 µs
        mean                  -     1.37 ms
         p50            1.07 ms     1.04 ms
         p90            3.38 ms     3.28 ms
         p99  > 500 ms (failed)     3.96 ms
       p99.9  > 500 ms (failed)           -
      p99.99  > 500 ms (failed)           -
         max  > 500 ms (failed)     4.04 ms
       stdev                  -     1.19 ms

              service  schedule lag  connect
         min  38.0 µs        900 ns        -
        mean   138 µs       1.90 µs        -
         p50   138 µs       1.90 µs        -
         p90   218 µs       2.70 µs        -
         p99   236 µs       2.88 µs        -
       p99.9        -             -        -
      p99.99        -             -        -
         max   238 µs       2.90 µs        -
       stdev  57.7 µs        578 ns        -
            response: since the request was due; service:
            since it was written; schedule lag: the
            generator's own delay
    ");
    assert!(text.contains("CPU per request: - (below the resolution of the clock)"), "{text}");
    for columns in 60..=130 {
        let text = text_at(&report, columns);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
    }
    // Without any reply, the histogram still has the row of failed requests.
    report.response_histogram.clear();
    assert!(text_at(&report, 80).contains("no reply ██████"));
}

#[test]
fn the_last_line_has_the_verdict_and_as_many_reasons_as_fit() {
    let mut report = example();
    (report.fairness.starved, report.fairness.jain) = (1, Some(0.5));
    report.generator.steal_share = Some(0.5);
    report.generator.cpu_wait_share_max = Some(0.5);
    report.verdict = crate::judge::verdict::judge(&report);
    let outcome = |slo: &str, met| SloOutcome {
        slo: slo.to_owned(),
        met,
        actual: None,
        failed: false,
        message: format!("{slo}: no"),
    };
    report.slo = vec![outcome("p99<5ms", true), outcome("p99.9<20ms", false)];
    let last = |columns| text_at(&report, columns).lines().last().unwrap().to_owned();
    assert_eq!(last(100), "verdict    INVALID: starved, unfair, cpu_wait, steal; SLO MISSED p99.9<20ms");
    assert_eq!(last(70), "verdict    INVALID: starved, unfair, 2 more; SLO MISSED p99.9<20ms");
    assert_eq!(last(40), "verdict    INVALID; SLO MISSED");
    assert_eq!(text_at(&example(), 60).lines().last(), Some("verdict    valid"));
}

#[test]
fn the_verdict_is_coloured_on_a_screen_with_colours() {
    let mut text = Vec::new();
    let document = Document::Run(Box::new(example()));
    text::write(&document, Screen { columns: 80, has_colour: true }, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("verdict    \u{1b}[1m\u{1b}[32mvalid\u{1b}[0m\n"), "{text:?}");
}
