use std::collections::BTreeMap;

use super::*;
use crate::{
    command::compare::against::tests::held,
    judge::verdict,
    result::{
        Merged, SloOutcome, comparison, sweep,
        tests::{example, with_failures, with_intervals},
        verdicts::complete,
    },
};

/// The rows, by the names of their columns.
fn rows(text: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text);
    reader.deserialize().map(Result::unwrap).collect()
}

fn rows_of(document: &Document) -> Vec<BTreeMap<String, String>> {
    let mut text = Vec::new();
    write(document, &mut text).unwrap();
    rows(&text)
}

/// The cells in these columns, row by row.
fn cells(rows: &[BTreeMap<String, String>], names: &[&str]) -> Vec<String> {
    let line =
        |row: &BTreeMap<String, String>| names.iter().map(|name| row[*name].clone()).collect::<Vec<_>>();
    rows.iter().map(|row| line(row).join(",")).collect()
}

#[test]
fn a_run_has_a_row_for_each_interval_and_one_for_the_whole() {
    let rows = rows_of(&Document::Run(Box::new(with_intervals())));
    let names = ["scope", "t_s", "length_s", "completed", "achieved_per_s", "response_p99_ns", "verdict"];
    insta::assert_snapshot!(cells(&rows, &names).join("\n"), @r"
    interval,0,1,1000,1000,1989631,
    interval,1,0.5,500,1000,,
    tail,1.5,0.0002,1,,,
    total,0,1.5,2000,999.5,3956735,valid
    ");
}

#[test]
fn a_partial_sum_names_the_missing_parts() {
    let mut report = with_intervals();
    report.merged =
        Some(Merged { generators: 2, expected: Some(4), missing: vec![0, 3], ..Merged::default() });
    let rows = rows_of(&Document::Run(Box::new(report)));
    let names = ["scope", "partial", "missing_parts"];
    assert_eq!(cells(&rows, &names), ["interval,,", "interval,,", "tail,,", "total,true,0;3"]);
}

#[test]
fn intervals_and_the_tail_add_up_to_the_whole_with_the_failed_requests() {
    let rows = rows_of(&Document::Run(Box::new(with_failures())));
    let names = [
        "scope",
        "t_s",
        "length_s",
        "due",
        "sent",
        "unsent",
        "completed",
        "completed_after_window",
        "failed",
        "cut_off",
        "replies_in_window",
        "error_rate",
    ];
    insta::assert_snapshot!(cells(&rows, &names).join("\n"), @r"
    interval,0,2,,,,1999,,20,,,
    tail,2,0.5,,,,1,,9,,,
    total,0,2,2030,2029,1,2000,1,29,1,1999,0.014285714285714285
    ");
    let names = [
        "scope",
        "response_count",
        "response_p90_ns",
        "response_p99_ns",
        "response_mean_ns",
        "response_max_ns",
        "response_failed",
        "response_failed_longer_than_ns",
        "successful_count",
        "successful_p99_ns",
    ];
    insta::assert_snapshot!(cells(&rows, &names).join("\n"), @r"
    interval,,3342335,4036607,,,20,500000000,,
    tail,,,,,,10,500000000,,
    total,2030,3375103,,,,30,500000000,2000,3956735
    ");
}

#[test]
fn a_withheld_value_or_a_missing_slo_is_an_empty_cell() {
    let mut report = example();
    let total = |report: &Report| rows_of(&Document::Run(Box::new(report.clone()))).remove(0);
    let row = total(&report);
    for name in ["response_p99_99_ns", "connect_p50_ns", "ready_to_read_p50_ns", "slo_met", "reasons"] {
        assert_eq!(row[name], "", "{name}");
    }
    let slo = |slo: &str, met| SloOutcome {
        slo: slo.to_owned(),
        met,
        actual: None,
        failed: false,
        message: String::new(),
    };
    report.slo = vec![slo("p99<5ms", true), slo("jain>=0.9", false), slo("errors<1%", false)];
    let row = total(&report);
    assert_eq!((row["slo_met"].as_str(), row["slo_missed"].as_str()), ("false", "jain>=0.9;errors<1%"));
    report.slo.truncate(1);
    let row = total(&report);
    assert_eq!((row["slo_met"].as_str(), row["slo_missed"].as_str()), ("true", ""));
}

#[test]
fn a_comparison_has_a_row_for_each_round_and_the_medians_of_each_server() {
    let mut comparison = comparison::tests::example();
    comparison.subjects[1].name = "twin, \"quoted\"".to_owned();
    let round = &mut comparison.subjects[0].rounds[1].report;
    round.generator.steal_share = Some(0.25);
    round.verdict = verdict::judge(round);
    complete(&mut comparison);
    let rows = rows_of(&Document::Comparison(Box::new(comparison)));
    let names = [
        "server",
        "status",
        "round",
        "scope",
        "achieved_per_s",
        "response_p50_ns",
        "server_cpu_ns_per_request",
        "clients_served",
        "verdict",
        "reasons",
    ];
    insta::assert_snapshot!(cells(&rows, &names).join("\n"), @r#"
    a-long-name-of-server,ok,1,total,999.5,1038335,15001,50,valid,
    a-long-name-of-server,ok,2,total,999.5,1038335,15002,50,suspect,steal
    a-long-name-of-server,ok,3,total,999.5,1038335,15003,50,valid,
    a-long-name-of-server,ok,,median,999.5,1038335,15002,50,suspect,steal
    twin, "quoted",ok,1,total,999.5,1038335,22501.5,50,valid,
    twin, "quoted",ok,2,total,999.5,1038335,22503,50,valid,
    twin, "quoted",ok,3,total,999.5,1038335,22504.5,50,valid,
    twin, "quoted",ok,,median,999.5,1038335,22503,50,valid,
    starving,marked,1,total,999.5,1038335,15001,47,invalid,starved
    starving,marked,2,total,999.5,1038335,15002,47,invalid,starved
    starving,marked,3,total,999.5,1038335,15003,47,invalid,starved
    starving,marked,,median,999.5,1038335,15002,47,invalid,starved
    absent,failed,,median,,,,,,
    "#);
}

#[test]
fn a_sweep_has_a_row_for_each_run_and_each_point_of_the_curves() {
    let mut sweep = sweep::tests::example();
    sweep.subjects[0].points.drain(1..6);
    sweep.subjects[0].points.truncate(2);
    sweep.subjects.truncate(1);
    let rows = rows_of(&Document::Sweep(Box::new(sweep)));
    let names = [
        "server",
        "level",
        "purpose",
        "scope",
        "keeps_up",
        "holds",
        "offered_per_s",
        "achieved_per_s",
        "response_p99_ns",
        "verdict",
        "reasons",
        "slo_met",
    ];
    insta::assert_snapshot!(cells(&rows, &names).join("\n"), @r"
    thread-pool,1000,ladder,total,,,1000,1000,509183,valid,,true
    thread-pool,11314,search,total,,,11314,10000,260308991,invalid,cannot_keep_up,false
    thread-pool,1000,,level,true,true,1000,1000,509183,valid,,
    thread-pool,2000,,level,true,true,2000,2000,572927,valid,,
    thread-pool,4000,,level,true,true,4000,4000,763903,valid,,
    thread-pool,8000,,level,true,true,8000,8000,2291711,valid,,
    thread-pool,16000,,level,false,false,16000,10000,1188036607,invalid,cannot_keep_up,
    thread-pool,32000,,level,false,false,32000,10000,4357881855,invalid,cannot_keep_up,
    ");
}

#[test]
fn several_runs_have_a_row_each() {
    let mut text = Vec::new();
    write_several(&[("a".to_owned(), example()), ("b".to_owned(), with_intervals())], &mut text).unwrap();
    assert_eq!(cells(&rows(&text), &["name", "scope", "t_s", "length_s"]), ["a,total,0,2", "b,total,0,1.5"]);
}

#[test]
fn the_names_of_the_columns_do_not_change() {
    let mut text = Vec::new();
    write(&Document::Run(Box::new(example())), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let names: Vec<_> = text.lines().next().unwrap().split(',').collect();
    let lines: Vec<_> = names.chunks(4).map(|names| names.join(" ")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    scope t_s length_s verdict
    reasons interrupted slo_met slo_missed
    server_mode loop connections offered_per_s
    achieved_per_s due sent unsent
    completed completed_after_window failed cut_off
    replies_in_window error_rate verified errors
    bytes_sent bytes_received response_count response_min_ns
    response_mean_ns response_stdev_ns response_p50_ns response_p90_ns
    response_p99_ns response_p99_9_ns response_p99_99_ns response_max_ns
    successful_count successful_min_ns successful_mean_ns successful_stdev_ns
    successful_p50_ns successful_p90_ns successful_p99_ns successful_p99_9_ns
    successful_p99_99_ns successful_max_ns service_count service_min_ns
    service_mean_ns service_stdev_ns service_p50_ns service_p90_ns
    service_p99_ns service_p99_9_ns service_p99_99_ns service_max_ns
    schedule_lag_count schedule_lag_min_ns schedule_lag_mean_ns schedule_lag_stdev_ns
    schedule_lag_p50_ns schedule_lag_p90_ns schedule_lag_p99_ns schedule_lag_p99_9_ns
    schedule_lag_p99_99_ns schedule_lag_max_ns connect_count connect_min_ns
    connect_mean_ns connect_stdev_ns connect_p50_ns connect_p90_ns
    connect_p99_ns connect_p99_9_ns connect_p99_99_ns connect_max_ns
    due_to_written_count due_to_written_min_ns due_to_written_mean_ns due_to_written_stdev_ns
    due_to_written_p50_ns due_to_written_p90_ns due_to_written_p99_ns due_to_written_p99_9_ns
    due_to_written_p99_99_ns due_to_written_max_ns written_to_ready_count written_to_ready_min_ns
    written_to_ready_mean_ns written_to_ready_stdev_ns written_to_ready_p50_ns written_to_ready_p90_ns
    written_to_ready_p99_ns written_to_ready_p99_9_ns written_to_ready_p99_99_ns written_to_ready_max_ns
    ready_to_read_count ready_to_read_min_ns ready_to_read_mean_ns ready_to_read_stdev_ns
    ready_to_read_p50_ns ready_to_read_p90_ns ready_to_read_p99_ns ready_to_read_p99_9_ns
    ready_to_read_p99_99_ns ready_to_read_max_ns handshake_count handshake_min_ns
    handshake_mean_ns handshake_stdev_ns handshake_p50_ns handshake_p90_ns
    handshake_p99_ns handshake_p99_9_ns handshake_p99_99_ns handshake_max_ns
    response_failed response_failed_longer_than_ns clients clients_served
    clients_starved jain client_requests_min client_requests_max
    longest_silence_ns longest_stall_ns effective_concurrency service_concurrency
    generator_cpu_ns_per_request generator_busiest_thread_share generator_idle_share_min generator_cpu_wait_share_max
    steal_share retransmissions listen_overflows server_cpu_ns_per_request
    context_switches_per_request memory_bytes stage kind
    aborted_by recovered_after_ns full_handshakes resumed_handshakes
    partial missing_parts
    ");
}

#[test]
fn a_held_comparison_has_a_row_for_each_metric_and_loses_nothing() {
    let rows = rows_of(&Document::Comparison(Box::new(held())));
    let held: Vec<_> =
        rows.into_iter().filter(|row| ["against", "warning"].contains(&&*row["scope"])).collect();
    let names = ["server", "status", "metric", "ratio", "change", "regression", "kept", "reason"];
    insta::assert_snapshot!(cells(&held, &names).join("\n"), @r"
    a-long-name-of-server,ok,response_p50_ns,1,no difference shown,false,1038335,
    a-long-name-of-server,ok,response_p99_ns,1,no difference shown,false,3956735,
    a-long-name-of-server,ok,server_cpu_ns_per_request,1,no difference shown,false,15002,
    a-long-name-of-server,ok,context_switches_per_request,1,no difference shown,false,0.5,
    a-long-name-of-server,ok,memory_bytes,1,no difference shown,false,4194304,
    twin,ok,response_p50_ns,1,no difference shown,false,1038335,
    twin,ok,response_p99_ns,1,no difference shown,false,3956735,
    twin,ok,server_cpu_ns_per_request,2,more,true,11251.5,
    twin,ok,context_switches_per_request,1,no difference shown,false,0.5,
    twin,ok,memory_bytes,1,no difference shown,false,4194304,
    starving,marked,,,not compared,false,,kept.json has no server with this name
    absent,failed,,,not compared,false,,kept.json has no server with this name
    gone,,,,not measured today,,,
    ,,,,,,,the machine is not the same
    ");
    assert!(held.iter().all(|row| row["tolerance"] == "0.05" && row["kept_file"] == "kept.json"));
}
