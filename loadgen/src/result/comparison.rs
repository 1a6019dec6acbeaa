//! The result of a comparison: one plain value with everything that a format prints.

pub(crate) mod against;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::against::Against;
use super::{Environment, PlanSummary, Reason, Report, Status};

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The kind of the result. A run's result has none.
    pub kind: Kind,
    /// A signal ended it early. The rounds in it are complete.
    pub interrupted: bool,
    /// The command line in shell syntax, with the environment variables that loadgen's own server reads. None in older results.
    #[serde(default)]
    pub command: Option<String>,
    /// The plan.
    pub plan: ComparisonPlan,
    /// The machine and the program.
    pub environment: Environment,
    /// When it began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// The duration.
    pub elapsed_s: f64,
    /// The servers, in the order of the command line.
    pub subjects: Vec<Subject>,
    /// The same, held against an earlier result. None without `--against`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Box<Against>>,
    /// Further remarks for a reader.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The kind of a result. A run's result has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Several servers under the same load.
    Comparison,
    /// Several servers at several levels of load.
    Sweep,
}

/// The plan of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComparisonPlan {
    /// The number of rounds. In each, every server has one turn.
    pub rounds: usize,
    /// The name of the server that the others are compared with.
    pub baseline: String,
    /// The servers and the load had separate CPUs.
    pub pinned: bool,
    /// The seed of all random numbers: for the order, the load and the confidence intervals.
    pub seed: u64,
    /// The names of the servers in each round, in the order of their turns.
    pub order: Vec<Vec<String>>,
    /// The load, which is the same for each server. Each round has its own seed.
    pub load: PlanSummary,
    /// The load of each server that has requests and replies of its own (`--dialogue`), by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own_loads: BTreeMap<String, PlanSummary>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// The name.
    pub name: String,
    /// The concurrency model of loadgen's own server.
    pub mode: Option<String>,
    /// The command that started the server, if it is not loadgen's own.
    pub command: Option<String>,
    /// The address of a server that was already running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The outcome in one word.
    pub status: SubjectStatus,
    /// Whether the numbers of its complete rounds are trustworthy.
    #[serde(default)]
    pub verdict: RoundsVerdict,
    /// The reasons why it is not compared although it ran.
    pub marks: Vec<Reason>,
    /// The failure that prevented or ended its turns.
    pub failure: Option<Failure>,
    /// The complete rounds.
    pub rounds: Vec<Round>,
    /// Each metric over the complete rounds. A metric that a round lacks is absent.
    pub summary: BTreeMap<String, Spread>,
    /// The comparison with the baseline. Empty for the baseline itself.
    pub against_baseline: BTreeMap<String, Ratio>,
    /// The SLOs, and how many rounds meet them.
    #[serde(default)]
    pub slo: Vec<SloRounds>,
}

/// The verdicts of several rounds as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundsVerdict {
    /// The worst verdict.
    pub status: Status,
    /// The number of complete rounds.
    pub rounds: usize,
    /// The number of rounds with that status.
    pub count: usize,
    /// Each reason of any of them once, the worst first.
    pub reasons: Vec<RoundsReason>,
}

/// A reason, and the rounds that have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundsReason {
    /// The reason, with the values of the first round in which it was worst.
    #[serde(flatten)]
    pub reason: Reason,
    /// The rounds, from 1.
    pub rounds: Vec<usize>,
}

/// An SLO over all rounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SloRounds {
    /// The SLO, as it was given.
    pub slo: String,
    /// The number of complete rounds.
    pub rounds: usize,
    /// The number of rounds that meet it.
    pub held: usize,
    /// Whether more than half of the rounds meet it.
    pub met: bool,
}

/// The outcome of a server in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SubjectStatus {
    /// It is compared.
    Ok,
    /// It starved clients, made errors or could not keep up. So its speed cannot be compared.
    Marked,
    /// It did not start, died or does not speak the protocol.
    Failed,
    /// None of its rounds was complete when the comparison ended.
    Unmeasured,
}

/// A failure that prevented or ended the turns of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The observed behaviour.
    pub message: String,
    /// The last lines that the server printed.
    pub output: Vec<String>,
}

/// A complete round of one server: the report of a run, with the round's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// The round, from 1.
    pub round: usize,
    /// The report of the run.
    #[serde(flatten)]
    pub report: Report,
}

/// A metric over several rounds. If a percentile falls among the failed requests of a round, the value of that round is
/// unknown, and higher than every known one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The median. None if it is an unknown value.
    pub median: Option<f64>,
    /// The smallest value. None if every value is unknown.
    pub min: Option<f64>,
    /// The largest value. None if any value is unknown.
    pub max: Option<f64>,
    /// The rounds with an unknown value. None without such rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedRounds>,
}

/// Rounds in which a percentile falls among the failed requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailedRounds {
    /// Their number.
    pub rounds: usize,
    /// A lower bound of the percentile in each of them, in nanoseconds.
    pub longer_than_ns: f64,
}

/// A metric as a multiple of the baseline's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// The ratio of the medians, over the rounds that are complete for both.
    pub ratio: Option<f64>,
    /// The lower end of its 95% confidence interval.
    pub low: Option<f64>,
    /// The upper end of its 95% confidence interval.
    pub high: Option<f64>,
    /// The meaning of both.
    pub verdict: Difference,
    /// The reason why it is not compared.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The meaning of a ratio and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Difference {
    /// The whole interval is below 1.
    #[serde(rename = "lower")]
    Lower,
    /// The whole interval is above 1.
    #[serde(rename = "higher")]
    Higher,
    /// The interval contains 1.
    #[serde(rename = "no detectable difference")]
    None,
    /// There is no comparison.
    #[serde(rename = "not compared")]
    NotCompared,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        command::compare::{
            against::tests::held,
            plan::{ComparePlan, CompareRequest},
            results::{Record, subjects},
        },
        format::json,
        load::request::tests::request,
        result::{Document, SCHEMA, tests::example as report},
        subject::candidate::ServerSelection,
    };

    /// Four servers: one of them starved clients, and one did not start.
    pub(crate) fn example() -> Comparison {
        let servers = ["a-long-name-of-server", "twin", "starving", "absent"];
        let request = CompareRequest {
            load: request(),
            servers: ServerSelection {
                servers: servers
                    .iter()
                    .map(|name| format!("{name}=serve {{port}}").parse().unwrap())
                    .collect(),
                ..ServerSelection::default()
            },
            baseline: None,
            rounds: 3,
            pin: false,
            against: None,
            tolerance: None,
        };
        let record = |factor: f64, served: u64| {
            let round = |round: usize| {
                let mut report = report();
                let server = report.server.as_mut().unwrap();
                server.cpu_ns_per_request = Some(factor * (15_000.0 + round as f64));
                report.fairness.served = served;
                report.fairness.starved = 50 - served;
                report.verdict = crate::judge::verdict::judge(&report);
                Round { round, report }
            };
            Record { rounds: (1..=3).map(round).collect(), failures: Vec::new() }
        };
        let failure = Failure {
            message: "did not start: it ended before it answered (exit status: 3)".to_owned(),
            output: vec!["the port is too high".to_owned()],
        };
        let absent = Record { rounds: Vec::new(), failures: vec![(1, failure)] };
        let records = vec![record(1.0, 50), record(1.5, 50), record(1.0, 47), absent];
        let subjects = subjects(&ComparePlan::new(request, 2).unwrap(), records);
        let order = vec![servers.iter().map(|name| (*name).to_owned()).collect(); 3];
        let report = report();
        Comparison {
            schema: SCHEMA,
            kind: Kind::Comparison,
            interrupted: false,
            command: None,
            plan: ComparisonPlan {
                own_loads: BTreeMap::new(),
                rounds: 3,
                baseline: servers[0].to_owned(),
                pinned: true,
                seed: 1,
                order,
                load: PlanSummary { targets: Vec::new(), ..report.plan },
            },
            environment: report.environment,
            started_at_unix_ms: report.started_at_unix_ms,
            elapsed_s: 40.0,
            subjects,
            against: None,
            notes: vec!["with 3 rounds an interval is narrower than it should be".to_owned()],
        }
    }

    #[test]
    fn a_printed_result_can_be_read_again() {
        for comparison in [example(), held()] {
            let mut text = Vec::new();
            let document = Document::Comparison(Box::new(comparison));
            json::write(&document, &mut text).unwrap();
            assert_eq!(json::read(std::str::from_utf8(&text).unwrap()).unwrap(), document);
        }
    }
}
