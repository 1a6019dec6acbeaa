//! The result of a comparison: one plain value that holds everything a format prints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Environment, PlanSummary, Reason, Report};

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// What tells it from a run's result.
    pub kind: Kind,
    /// It was ended before its time; what is there is complete.
    pub interrupted: bool,
    /// What it was to do.
    pub plan: ComparisonPlan,
    /// Where it was made.
    pub environment: Environment,
    /// When it began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// How long it took.
    pub elapsed_s: f64,
    /// The servers, in the order in which they were named.
    pub subjects: Vec<Subject>,
    /// What a reader should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What a result is of. A run's result does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of several servers, one after the other.
    Comparison,
    /// Of servers at one level of load after the other.
    Sweep,
}

/// What the comparison was to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonPlan {
    /// In each, every server has its turn.
    pub rounds: usize,
    /// The name of the server that the others are compared with.
    pub baseline: String,
    /// Servers and load had CPUs of their own.
    pub pinned: bool,
    /// What everything random was drawn from: the order, the load, the intervals.
    pub seed: u64,
    /// The names of the servers in each round, in the order of their turns.
    pub order: Vec<Vec<String>>,
    /// The load, the same for each server. Each round has a seed of its own.
    pub load: PlanSummary,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// The concurrency model of loadgen's own server.
    pub mode: Option<String>,
    /// What somebody's server was started with.
    pub command: Option<String>,
    /// How it did, in a word.
    pub status: SubjectStatus,
    /// Why it is not compared although it ran.
    pub marks: Vec<Reason>,
    /// Why it has not run, or not to the end.
    pub failure: Option<Failure>,
    /// The rounds that are complete.
    pub rounds: Vec<Round>,
    /// Of the complete rounds; what one of them does not know is not there.
    pub summary: BTreeMap<String, Spread>,
    /// How it compares with the baseline, which has none of it.
    pub against_baseline: BTreeMap<String, Ratio>,
    /// What was asked of every round, and in how many it holds.
    #[serde(default)]
    pub slo: Vec<SloRounds>,
}

/// Something that was asked of every round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SloRounds {
    /// As it was asked.
    pub slo: String,
    /// The complete rounds.
    pub rounds: usize,
    /// How many of them it holds in.
    pub held: usize,
    /// Whether that is more than half of them.
    pub met: bool,
}

/// How a server did, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectStatus {
    /// It may be compared.
    Ok,
    /// It starved clients, erred or could not keep up: what it does faster, it does not do right.
    Marked,
    /// It did not start, died or does not speak the protocol.
    Failed,
    /// No round of it was complete when the comparison was ended.
    Unmeasured,
}

/// Why a server has not run, or not to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it did instead.
    pub message: String,
    /// The last lines that it printed.
    pub output: Vec<String>,
}

/// A complete round of one server: the report of a run, with the round's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// From 1.
    pub round: usize,
    /// What was measured.
    #[serde(flatten)]
    pub report: Report,
}

/// What the rounds say of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// A metric as a multiple of the baseline's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of the medians over those rounds that are complete for both.
    pub ratio: Option<f64>,
    /// Where its 95% confidence interval begins.
    pub low: Option<f64>,
    /// Where its 95% confidence interval ends.
    pub high: Option<f64>,
    /// What that means.
    pub verdict: Difference,
    /// Why it is not compared.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a ratio and its interval mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Difference {
    /// The whole interval is under 1.
    #[serde(rename = "lower")]
    Lower,
    /// The whole interval is over 1.
    #[serde(rename = "higher")]
    Higher,
    /// The interval holds 1.
    #[serde(rename = "no detectable difference")]
    None,
    /// It cannot or must not be said.
    #[serde(rename = "not compared")]
    NotCompared,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        compare::{
            plan::{ComparePlan, CompareRequest},
            results::{Record, subjects},
        },
        contestant::Invitation,
        plan::{Plan, tests::request},
        report::{Document, SCHEMA, json, tests::example as report},
    };

    /// Four servers, of which one starved a client and one did not start.
    pub(crate) fn example() -> Comparison {
        let servers = ["a-long-name-of-server", "twin", "starving", "absent"];
        let plan = ComparePlan::new(CompareRequest {
            load: Plan::new(request(), 2).unwrap(),
            servers: Invitation {
                servers: servers
                    .iter()
                    .map(|name| format!("{name}=serve {{port}}").parse().unwrap())
                    .collect(),
                ..Invitation::default()
            },
            baseline: None,
            rounds: 3,
            pin: false,
        });
        let record = |factor: f64, served: u64| {
            let round = |round: usize| {
                let mut report = report();
                let server = report.server.as_mut().unwrap();
                server.cpu_ns_per_request = Some(factor * (15_000.0 + round as f64));
                report.fairness.served = served;
                report.fairness.starved = 50 - served;
                report.verdict = crate::verdict::judge(&report);
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
        let subjects = subjects(&plan.unwrap(), records);
        let order = vec![servers.iter().map(|name| (*name).to_owned()).collect(); 3];
        let report = report();
        Comparison {
            schema: SCHEMA,
            kind: Kind::Comparison,
            interrupted: false,
            plan: ComparisonPlan {
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
            notes: vec!["with 3 rounds an interval is narrower than it should be".to_owned()],
        }
    }

    #[test]
    fn what_is_printed_as_json_can_be_read_again() {
        let comparison = example();
        let mut text = Vec::new();
        let document = Document::Comparison(Box::new(comparison));
        json::write(&document, &mut text).unwrap();
        assert_eq!(json::read(std::str::from_utf8(&text).unwrap()).unwrap(), document);
    }
}
