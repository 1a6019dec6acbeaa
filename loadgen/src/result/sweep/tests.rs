use super::*;
use crate::{
    engine::latency,
    format::json,
    judge::verdict,
    result::{Document, SCHEMA, SloOutcome, summary, tests::example as report},
};

const LADDER: [u64; 6] = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000];
const SLO: &str = "p99<5ms";

/// Three servers: the first fails in the ladder and has a capacity, the second keeps up at every level, and the third dies
/// early.
pub(crate) fn example() -> Sweep {
    let report = report();
    let mut load = report.plan;
    (load.rate_per_s, load.targets) = (Some(1_000.0), Vec::new());
    Sweep {
        schema: SCHEMA,
        kind: Kind::Sweep,
        interrupted: false,
        command: None,
        plan: SweepPlan {
            own_loads: BTreeMap::new(),
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

/// A queue (M/M/1) that serves 10,000 requests per second.
fn breaking() -> SweepSubject {
    let mu = 10_000;
    let mut points: Vec<_> = LADDER.iter().map(|level| point(*level, mu, Purpose::Ladder)).collect();
    let curve = points.iter().map(curve_point).collect();
    for level in [11_314, 9_514, 8_724, 9_110] {
        points.extend((0..3).map(|_| point(level, mu, Purpose::Search)));
    }
    let tried = [(8_000, 1, 1), (8_724, 3, 3), (9_110, 3, 1), (9_514, 3, 0), (11_314, 3, 0), (16_000, 1, 0)];
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

/// A server that serves 100,000 requests per second.
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

/// A server that dies at the third level.
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
/// and grow during the run if that is not positive.
fn point(level: u64, mu: u64, purpose: Purpose) -> Point {
    let mut report = report();
    let (samples, mut response) = (2_000, latency::Latency::default());
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
        failed: false,
        message: format!("p99 is {}", common::human::duration_ns(p99)),
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
        failed_tail: response.failed_tail.clone(),
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
fn a_printed_result_can_be_read_again() {
    let document = Document::Sweep(Box::new(example()));
    let mut text = Vec::new();
    json::write(&document, &mut text).unwrap();
    assert_eq!(json::read(std::str::from_utf8(&text).unwrap()).unwrap(), document);
}
