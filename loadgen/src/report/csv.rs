//! A result as CSV: rows for its parts and for the whole, in the same columns. What is withheld or unknown is an empty
//! cell.

mod columns;

use std::io;

use csv::Writer;

use self::columns::{COLUMNS_OF_A_PART, Cell, Column, columns, metric_name, number, of_curve, of_interval};
use super::{
    Document, Report,
    comparison::{Comparison, Subject, SubjectStatus},
    sweep::{Point, Purpose, Sweep},
};

/// A spreadsheet under way.
struct Sheet<'a> {
    columns: Vec<Column>,
    writer: Writer<&'a mut dyn io::Write>,
}

/// Prints a result.
pub fn write(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    match document {
        Document::Run(report) => write_run(report, out),
        Document::Comparison(comparison) => write_comparison(comparison, out),
        Document::Sweep(sweep) => write_sweep(sweep, out),
    }
}

/// Prints the results of several runs, a row for each with its name in front.
pub fn write_several(reports: &[(String, Report)], out: &mut dyn io::Write) -> io::Result<()> {
    let mut sheet = Sheet::begin(&["name"], out)?;
    for (name, report) in reports {
        sheet.write_total(&[name], report)?;
    }
    sheet.end()
}

/// A row for each interval, and one for the whole.
fn write_run(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut sheet = Sheet::begin(&[], out)?;
    for (interval, length_s) in report.intervals_with_length_s() {
        let part = ["interval".to_owned(), interval.t_s.to_string(), length_s.to_string()];
        sheet.write(&[], part, |column| of_interval(&column.name, interval))?;
    }
    sheet.write_total(&[], report)?;
    sheet.end()
}

/// For each server a row for each of its rounds, and one for their medians.
fn write_comparison(comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
    let mut sheet = Sheet::begin(&["server", "status", "round"], out)?;
    for subject in &comparison.subjects {
        let status = status(subject);
        for round in &subject.rounds {
            sheet.write_total(&[&subject.name, status, &round.round.to_string()], &round.report)?;
        }
        let part = ["median".to_owned(), String::new(), String::new()];
        sheet.write(&[&subject.name, status, ""], part, |column| {
            number(subject.summary.get(metric_name(&column.name))?.median)
        })?;
    }
    sheet.end()
}

/// For each server a row for each of its runs, and one for each point of its load curve.
fn write_sweep(sweep: &Sweep, out: &mut dyn io::Write) -> io::Result<()> {
    let mut sheet = Sheet::begin(&["server", "level", "purpose", "keeps_up", "holds"], out)?;
    for subject in &sweep.subjects {
        for Point { level, purpose, report } in &subject.points {
            let purpose = match purpose {
                Purpose::Ladder => "ladder",
                Purpose::Search => "search",
            };
            sheet.write_total(&[&subject.name, &level.to_string(), purpose, "", ""], report)?;
        }
        for point in &subject.curve {
            let holds = point.holds.map_or_else(String::new, |holds| holds.to_string());
            let (level, keeps_up) = (point.level.to_string(), point.keeps_up.to_string());
            let part = ["level".to_owned(), String::new(), String::new()];
            sheet.write(&[&subject.name, &level, "", &keeps_up, &holds], part, |column| {
                of_curve(&column.name, point)
            })?;
        }
    }
    sheet.end()
}

fn status(subject: &Subject) -> &'static str {
    match subject.status {
        SubjectStatus::Ok => "ok",
        SubjectStatus::Marked => "marked",
        SubjectStatus::Failed => "failed",
        SubjectStatus::Unmeasured => "unmeasured",
    }
}

impl<'a> Sheet<'a> {
    fn begin(front: &[&str], out: &'a mut dyn io::Write) -> io::Result<Self> {
        let mut sheet = Self { columns: columns(), writer: Writer::from_writer(out) };
        let names = sheet.columns.iter().map(|column| column.name.as_str());
        sheet.writer.write_record(front.iter().copied().chain(COLUMNS_OF_A_PART).chain(names))?;
        Ok(sheet)
    }

    /// The row of a whole run.
    fn write_total(&mut self, front: &[&str], report: &Report) -> io::Result<()> {
        let part = ["total".to_owned(), "0".to_owned(), report.elapsed_s.to_string()];
        self.write(front, part, |column| (column.of)(report))
    }

    fn write(
        &mut self,
        front: &[&str],
        part: [String; COLUMNS_OF_A_PART.len()],
        cell: impl Fn(&Column) -> Cell,
    ) -> io::Result<()> {
        let front = front.iter().map(|text| (*text).to_owned());
        let cells = self.columns.iter().map(|column| cell(column).unwrap_or_default());
        Ok(self.writer.write_record(front.chain(part).chain(cells))?)
    }

    fn end(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::{
        SloOutcome, comparison, sweep,
        tests::{example, with_intervals},
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

    /// These cells of each row.
    fn cells(rows: &[BTreeMap<String, String>], names: &[&str]) -> Vec<String> {
        let of =
            |row: &BTreeMap<String, String>| names.iter().map(|name| row[*name].clone()).collect::<Vec<_>>();
        rows.iter().map(|row| of(row).join(",")).collect()
    }

    #[test]
    fn a_run_is_a_row_for_each_interval_and_one_for_the_whole() {
        let rows = rows_of(&Document::Run(Box::new(with_intervals())));
        let names = ["scope", "t_s", "length_s", "completed", "achieved_per_s", "response_p99_ns", "verdict"];
        insta::assert_snapshot!(cells(&rows, &names).join("\n"), @r"
        interval,0,1,1000,1000,1989631,
        interval,1,0.5,500,1000,,
        total,0,1.5,2000,999.5,3956735,valid
        ");
    }

    #[test]
    fn what_is_withheld_or_was_not_asked_is_empty() {
        let mut report = example();
        let total = |report: &Report| rows_of(&Document::Run(Box::new(report.clone()))).remove(0);
        let row = total(&report);
        for name in ["response_p99_99_ns", "connect_p50_ns", "ready_to_read_p50_ns", "slo_met", "reasons"] {
            assert_eq!(row[name], "", "{name}");
        }
        let slo =
            |slo: &str, met| SloOutcome { slo: slo.to_owned(), met, actual: None, message: String::new() };
        report.slo = vec![slo("p99<5ms", true), slo("jain>=0.9", false), slo("errors<1%", false)];
        let row = total(&report);
        assert_eq!((row["slo_met"].as_str(), row["slo_missed"].as_str()), ("false", "jain>=0.9;errors<1%"));
        report.slo.truncate(1);
        let row = total(&report);
        assert_eq!((row["slo_met"].as_str(), row["slo_missed"].as_str()), ("true", ""));
    }

    #[test]
    fn a_comparison_is_a_row_for_each_round_and_the_medians_of_each_server() {
        let mut comparison = comparison::tests::example();
        comparison.subjects[1].name = "twin, \"quoted\"".to_owned();
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
        ];
        insta::assert_snapshot!(cells(&rows, &names).join("\n"), @r#"
        a-long-name-of-server,ok,1,total,999.5,1038335,15001,50
        a-long-name-of-server,ok,2,total,999.5,1038335,15002,50
        a-long-name-of-server,ok,3,total,999.5,1038335,15003,50
        a-long-name-of-server,ok,,median,999.5,1038335,15002,50
        twin, "quoted",ok,1,total,999.5,1038335,22501.5,50
        twin, "quoted",ok,2,total,999.5,1038335,22503,50
        twin, "quoted",ok,3,total,999.5,1038335,22504.5,50
        twin, "quoted",ok,,median,999.5,1038335,22503,50
        starving,marked,1,total,999.5,1038335,15001,47
        starving,marked,2,total,999.5,1038335,15002,47
        starving,marked,3,total,999.5,1038335,15003,47
        starving,marked,,median,999.5,1038335,15002,47
        absent,failed,,median,,,,
        "#);
    }

    #[test]
    fn a_sweep_is_a_row_for_each_run_and_each_point_of_the_curves() {
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
    fn several_runs_are_a_row_each() {
        let mut text = Vec::new();
        write_several(&[("a".to_owned(), example()), ("b".to_owned(), with_intervals())], &mut text).unwrap();
        assert_eq!(
            cells(&rows(&text), &["name", "scope", "t_s", "length_s"]),
            ["a,total,0,2", "b,total,0,1.5"]
        );
    }

    #[test]
    fn the_columns_are_a_contract() {
        let mut text = Vec::new();
        write(&Document::Run(Box::new(example())), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let names: Vec<_> = text.lines().next().unwrap().split(',').collect();
        let lines: Vec<_> = names.chunks(4).map(|names| names.join(" ")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        scope t_s length_s verdict
        reasons interrupted slo_met slo_missed
        server_mode loop connections offered_per_s
        achieved_per_s sent completed failed
        verified errors bytes_sent bytes_received
        response_count response_min_ns response_mean_ns response_stdev_ns
        response_p50_ns response_p90_ns response_p99_ns response_p99_9_ns
        response_p99_99_ns response_max_ns service_count service_min_ns
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
        ready_to_read_p99_99_ns ready_to_read_max_ns clients clients_served
        clients_starved jain client_requests_min client_requests_max
        longest_silence_ns longest_stall_ns effective_concurrency service_concurrency
        generator_cpu_ns_per_request generator_busiest_thread_share generator_idle_share_min generator_cpu_wait_share_max
        steal_share retransmissions listen_overflows server_cpu_ns_per_request
        context_switches_per_request memory_bytes
        ");
    }
}
