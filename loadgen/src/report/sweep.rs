//! The result of a sweep: one plain value that holds everything a format prints.

use serde::{Deserialize, Serialize};

use super::{
    Environment, PlanSummary, Report, Status,
    comparison::{Failure, Kind},
};

/// The result of a sweep: the same servers under one level of load after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// What tells it from a run's result.
    pub kind: Kind,
    /// It was ended before its time; the runs that are there are complete.
    pub interrupted: bool,
    /// What it was to do.
    pub plan: SweepPlan,
    /// Where it was made.
    pub environment: Environment,
    /// When it began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// How long it took.
    pub elapsed_s: f64,
    /// The servers, in the order in which they were named.
    pub subjects: Vec<SweepSubject>,
    /// What a reader should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What the sweep was to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// What the levels are.
    pub axis: Axis,
    /// The levels of the ladder that some server has climbed to, from the lowest up.
    pub levels: Vec<u64>,
    /// How many runs decide on each level that the search for the capacity tries.
    pub repeats: usize,
    /// What a level must do to hold, besides keeping up. Empty: no capacity was searched for.
    pub slo: Vec<String>,
    /// The search ends where the lowest level that does not hold is at most so much over the highest that does, as a
    /// part of it: 0.05 is 5%.
    pub tolerance: f64,
    /// Servers and load had CPUs of their own.
    pub pinned: bool,
    /// What everything random was drawn from: the order, the load.
    pub seed: u64,
    /// The load of the lowest level. What the axis changes is another one at each level, and so is the seed.
    pub load: PlanSummary,
}

/// What the levels of a sweep are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// Offered requests a second.
    Rate,
    /// Clients, each with a connection of its own.
    Connections,
}

/// One server, and how far it carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSubject {
    /// What it is called.
    pub name: String,
    /// The concurrency model of loadgen's own server.
    pub mode: Option<String>,
    /// What somebody's server was started with.
    pub command: Option<String>,
    /// Where the server is that was there already.
    pub target: Option<String>,
    /// Why it has not run, or not to the end.
    pub failure: Option<Failure>,
    /// Every complete run, in the order in which they were made.
    pub points: Vec<Point>,
    /// The load curve: a point for each level of the ladder that was run, from the lowest up.
    pub curve: Vec<CurvePoint>,
    /// Why its ladder ended where it did. None where the sweep was interrupted before that.
    pub end: Option<End>,
    /// Where more load costs more than it brings. None where no level kept up.
    pub knee: Option<Knee>,
    /// The highest level that holds. None where nothing was asked of it.
    pub capacity: Option<Capacity>,
}

/// A complete run of one server: its report, with the level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Requests a second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// What it was made for.
    pub purpose: Purpose,
    /// What was measured.
    #[serde(flatten)]
    pub report: Report,
}

/// What a run of a sweep was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A step of the ladder.
    Ladder,
    /// A step of the search for the capacity.
    Search,
}

/// A point of the load curve: what the runs of one level of the ladder say together. Rates are medians of the runs;
/// times are of all their samples, as histograms are added and percentiles are never averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Requests a second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// How many runs it is made of.
    pub runs: usize,
    /// Of the open loop.
    pub offered_per_s: Option<f64>,
    /// Replies a second.
    pub achieved_per_s: f64,
    /// The mean response time, in nanoseconds. None without a sample, as all that follow.
    pub mean_ns: Option<f64>,
    /// The median response time. What has not enough samples behind it is None, as all that follow.
    pub p50_ns: Option<u64>,
    /// 90% of the response times are not longer.
    pub p90_ns: Option<u64>,
    /// 99% of the response times are not longer.
    pub p99_ns: Option<u64>,
    /// 99.9% of the response times are not longer.
    pub p99_9_ns: Option<u64>,
    /// The longest response time.
    pub max_ns: Option<u64>,
    /// Kleinrock's power: replies a second for each second of the mean response time.
    pub power: Option<f64>,
    /// The server did all of what was asked, in most of the runs.
    pub keeps_up: bool,
    /// What was wrong where it did not keep up.
    pub trouble: Option<Trouble>,
    /// The worst verdict of its runs.
    pub verdict: Status,
    /// The codes of that verdict's reasons.
    pub reasons: Vec<String>,
    /// Whether the level holds: most of its runs kept up and met every SLO. None where nothing was asked.
    pub holds: Option<bool>,
}

/// Why a level is one that a server does not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The server died, did not start or could not be reached.
    Failed,
    /// The generator itself kept the offered rate from being reached: it says nothing of the server.
    GeneratorSaturated,
    /// Wrong replies, or too many errors.
    Errors,
    /// Clients without a single reply, or with one long silence.
    Starved,
    /// Less was achieved than was offered.
    CannotKeepUp,
}

/// Why a ladder ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// What was wrong at the end. None: the server kept up to the last level.
    pub trouble: Option<Trouble>,
    /// The level from which on it was wrong, or else the last one.
    pub level: u64,
    /// For people.
    pub message: String,
}

/// The level of the ladder with the most power, of those that keep up (L. Kleinrock, "Power and deterministic rules of
/// thumb for probabilistic problems in computer communications", ICC 1979): below it, more load brings more than it
/// costs in response time, and above it less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// Requests a second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// Replies a second there.
    pub achieved_per_s: f64,
    /// The mean response time there, in nanoseconds.
    pub mean_ns: f64,
    /// Replies a second for each second of the mean response time.
    pub power: f64,
    /// It stands at an end of the levels that keep up, so the true one may lie beyond it.
    pub beyond: Option<Beyond>,
}

/// On which side of the levels the knee may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beyond {
    /// Under the lowest.
    Below,
    /// Over the highest that keeps up.
    Above,
}

/// The highest level that keeps up and meets every SLO, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// What was asked of each level.
    pub slo: Vec<String>,
    /// It holds at this level. None where no level holds.
    pub low: Option<u64>,
    /// It does not hold at this level. None where every level holds.
    pub high: Option<u64>,
    /// Whether the search came to its end: where it did not, the bracket is wider than it was to be.
    pub complete: bool,
    /// Every level that was tried, from the lowest up.
    pub tried: Vec<Tried>,
    /// For people.
    pub message: String,
}

/// What the runs of one level say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Requests a second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// The runs.
    pub runs: usize,
    /// How many of them held; the level holds where that is more than half.
    pub held: usize,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        recording,
        report::{Document, SCHEMA, SloOutcome, json, tests::example as report},
        summary, verdict,
    };

    const LADDER: [u64; 6] = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000];
    const SLO: &str = "p99<5ms";

    /// Three servers: one that breaks in the ladder and has a capacity, one that carries all of it, and one that dies
    /// early.
    pub(crate) fn example() -> Sweep {
        let report = report();
        let mut load = report.plan;
        (load.rate_per_s, load.targets) = (Some(1_000.0), Vec::new());
        Sweep {
            schema: SCHEMA,
            kind: Kind::Sweep,
            interrupted: false,
            plan: SweepPlan {
                axis: Axis::Rate,
                levels: LADDER.to_vec(),
                repeats: 3,
                slo: vec![SLO.to_owned()],
                tolerance: 0.05,
                pinned: true,
                seed: 1,
                load,
            },
            environment: report.environment,
            started_at_unix_ms: report.started_at_unix_ms,
            elapsed_s: 70.0,
            subjects: vec![breaking(), carrying(), dying()],
            notes: vec!["the knee of event-loop may lie over 32,000/s: --rates goes further".to_owned()],
        }
    }

    /// A queue (M/M/1) that serves 10,000 requests a second.
    fn breaking() -> SweepSubject {
        let mu = 10_000;
        let mut points: Vec<_> = LADDER.iter().map(|level| point(*level, mu, Purpose::Ladder)).collect();
        let curve = points.iter().map(curve_point).collect();
        for level in [11_314, 9_514, 8_724, 9_110] {
            points.extend((0..3).map(|_| point(level, mu, Purpose::Search)));
        }
        let tried =
            [(8_000, 1, 1), (8_724, 3, 3), (9_110, 3, 1), (9_514, 3, 0), (11_314, 3, 0), (16_000, 1, 0)];
        let tried = tried.map(|(level, runs, held)| Tried { level, runs, held });
        SweepSubject {
            end: Some(End {
                trouble: Some(Trouble::CannotKeepUp),
                level: 16_000,
                message: "cannot keep up from 16,000/s on: 10,000/s of 16,000/s offered".to_owned(),
            }),
            knee: Some(knee(&points[2], None)),
            capacity: Some(Capacity {
                slo: vec![SLO.to_owned()],
                low: Some(8_724),
                high: Some(9_514),
                complete: true,
                tried: tried.to_vec(),
                message: "holds p99<5ms up to 8,724/s, and not from 9,514/s on; in between its runs disagree"
                    .to_owned(),
            }),
            curve,
            points,
            ..subject("thread-pool")
        }
    }

    /// One that serves 100,000.
    fn carrying() -> SweepSubject {
        let points: Vec<_> = LADDER.iter().map(|level| point(*level, 100_000, Purpose::Ladder)).collect();
        SweepSubject {
            curve: points.iter().map(curve_point).collect(),
            end: Some(End {
                trouble: None,
                level: 32_000,
                message: "kept up to the last level, 32,000/s".to_owned(),
            }),
            knee: Some(knee(&points[5], Some(Beyond::Above))),
            capacity: Some(Capacity {
                slo: vec![SLO.to_owned()],
                low: Some(32_000),
                high: None,
                complete: true,
                tried: vec![Tried { level: 32_000, runs: 1, held: 1 }],
                message: "holds p99<5ms at every level, up to 32,000/s".to_owned(),
            }),
            points,
            ..subject("event-loop")
        }
    }

    /// One that dies at the third level.
    fn dying() -> SweepSubject {
        let points: Vec<_> = LADDER[..2].iter().map(|level| point(*level, 20_000, Purpose::Ladder)).collect();
        let message = "died at 4,000/s (signal: 9 (SIGKILL)); it failed again at 8,000/s";
        SweepSubject {
            mode: None,
            command: Some("./mortal --port {port}".to_owned()),
            failure: Some(Failure { message: message.to_owned(), output: vec!["goodbye".to_owned()] }),
            curve: points.iter().map(curve_point).collect(),
            end: Some(End {
                trouble: Some(Trouble::Failed),
                level: 4_000,
                message: "failed from 4,000/s on".to_owned(),
            }),
            knee: Some(knee(&points[1], Some(Beyond::Above))),
            capacity: Some(Capacity {
                slo: vec![SLO.to_owned()],
                low: Some(2_000),
                high: Some(4_000),
                complete: false,
                tried: [(2_000, 1), (4_000, 0)].map(|(level, held)| Tried { level, runs: 1, held }).to_vec(),
                message: "holds p99<5ms up to 2,000/s, and not from 4,000/s on; the search was not made"
                    .to_owned(),
            }),
            points,
            ..subject("mortal")
        }
    }

    fn subject(name: &str) -> SweepSubject {
        SweepSubject {
            name: name.to_owned(),
            mode: Some(name.to_owned()),
            command: None,
            target: None,
            failure: None,
            points: Vec::new(),
            curve: Vec::new(),
            end: None,
            knee: None,
            capacity: None,
        }
    }

    /// A run of two seconds: the response times of a queue are exponentially distributed with a rate of `mu - level`,
    /// and grow with the run where that is not positive.
    fn point(level: u64, mu: u64, purpose: Purpose) -> Point {
        let mut report = report();
        let (samples, mut response) = (2_000, recording::Latency::default());
        for number in 0..samples {
            let quantile = (f64::from(number) + 0.5) / f64::from(samples);
            let seconds = match level < mu {
                true => -(1.0 - quantile).ln() / (mu - level) as f64,
                false => quantile * 2.0 * (level as f64 / mu as f64 - 1.0) + 1e-4,
            };
            response.record((seconds * 1e9) as u64);
        }
        report.plan.rate_per_s = Some(level as f64);
        report.rate.offered_per_s = Some(level as f64);
        report.rate.achieved_per_s = level.min(mu) as f64;
        report.requests.completed = 2 * level;
        report.requests.sent = 2 * level;
        report.latency_ns.response = summary::latency(&response);
        report.response_histogram = summary::bars(response.histogram());
        report.verdict = verdict::judge(&report);
        let p99 = report.latency_ns.response.p99.expect("there are enough samples");
        report.slo = vec![SloOutcome {
            slo: SLO.to_owned(),
            met: p99 < 5_000_000,
            actual: Some(p99 as f64),
            message: format!("p99 is {}", crate::human::duration_ns(p99)),
        }];
        Point { level, purpose, report }
    }

    fn curve_point(Point { level, report, .. }: &Point) -> CurvePoint {
        let response = &report.latency_ns.response;
        let keeps_up = report.rate.achieved_per_s >= 0.98 * *level as f64;
        CurvePoint {
            level: *level,
            runs: 1,
            offered_per_s: report.rate.offered_per_s,
            achieved_per_s: report.rate.achieved_per_s,
            mean_ns: response.mean,
            p50_ns: response.p50,
            p90_ns: response.p90,
            p99_ns: response.p99,
            p99_9_ns: response.p99_9,
            max_ns: response.max,
            power: response.mean.map(|mean| report.rate.achieved_per_s / (mean / 1e9)),
            keeps_up,
            trouble: (!keeps_up).then_some(Trouble::CannotKeepUp),
            verdict: report.verdict.status,
            reasons: report.verdict.reasons.iter().map(|reason| reason.code.clone()).collect(),
            holds: Some(keeps_up && report.slo.iter().all(|slo| slo.met)),
        }
    }

    fn knee(point: &Point, beyond: Option<Beyond>) -> Knee {
        let of = curve_point(point);
        let (mean_ns, power) = of.mean_ns.zip(of.power).expect("there are samples");
        Knee { level: of.level, achieved_per_s: of.achieved_per_s, mean_ns, power, beyond }
    }

    #[test]
    fn what_is_printed_as_json_can_be_read_again() {
        let document = Document::Sweep(Box::new(example()));
        let mut text = Vec::new();
        json::write(&document, &mut text).unwrap();
        assert_eq!(json::read(std::str::from_utf8(&text).unwrap()).unwrap(), document);
    }
}
