//! The knee of a load curve. Pure.
//!
//! Kleinrock's power is the throughput divided by the mean response time (L. Kleinrock, "Power and deterministic rules of
//! thumb for probabilistic problems in computer communications", ICC 1979). The knee is the level with the highest power:
//! there, more load raises the response time by the same share as the throughput. In an M/M/1 queue, the knee is at half the
//! capacity, with one request in the system on average.

use crate::result::sweep::{Beyond, CurvePoint, Knee};

/// Replies per second, divided by the mean response time in seconds.
pub(crate) fn power(achieved_per_s: f64, mean_ns: f64) -> Option<f64> {
    (mean_ns > 0.0).then(|| achieved_per_s / (mean_ns / 1e9))
}

/// The point with the highest power, of the points that keep up and have a mean response time. The mean is unknown if
/// requests failed: see [`without_mean`]. `curve` is in ascending order of levels.
pub(crate) fn knee(curve: &[CurvePoint]) -> Option<Knee> {
    let of = |point: &CurvePoint| {
        let (mean_ns, power) = point.mean_ns.zip(point.power)?;
        Some(Knee { level: point.level, achieved_per_s: point.achieved_per_s, mean_ns, power, beyond: None })
    };
    let points: Vec<_> = curve.iter().filter(|point| point.keeps_up).filter_map(of).collect();
    let (place, knee) =
        points.iter().enumerate().max_by(|(_, one), (_, other)| one.power.total_cmp(&other.power))?;
    let beyond = match place {
        place if place + 1 == points.len() => Some(Beyond::Above),
        // No level lies below one client.
        0 if knee.level > 1 => Some(Beyond::Below),
        _ => None,
    };
    Some(Knee { beyond, ..*knee })
}

/// The levels that keep up but cannot be the knee, because requests failed there.
pub(crate) fn without_mean(curve: &[CurvePoint]) -> impl Iterator<Item = u64> {
    let failed = |point: &&CurvePoint| point.keeps_up && point.power.is_none() && point.failed_tail.is_some();
    curve.iter().filter(failed).map(|point| point.level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{FailedTail, Status};

    fn point(level: u64, mean_ns: Option<f64>, keeps_up: bool) -> CurvePoint {
        CurvePoint {
            level,
            runs: 1,
            offered_per_s: Some(level as f64),
            achieved_per_s: level as f64,
            mean_ns,
            p50_ns: None,
            p90_ns: None,
            p99_ns: None,
            p99_9_ns: None,
            max_ns: None,
            failed_tail: None,
            power: mean_ns.and_then(|mean_ns| power(level as f64, mean_ns)),
            keeps_up,
            trouble: None,
            verdict: Status::Valid,
            reasons: Vec::new(),
            holds: None,
        }
    }

    /// The mean response time of an M/M/1 queue: 1 / (mu - lambda).
    fn mm1(mu: u64, levels: &[u64]) -> Option<Knee> {
        let mean = |level: u64| Some(1e9 / (mu as f64 - level as f64)).filter(|mean| *mean > 0.0);
        let curve: Vec<_> = levels.iter().map(|level| point(*level, mean(*level), *level < mu)).collect();
        knee(&curve)
    }

    #[test]
    fn the_knee_of_a_queue_is_at_half_its_capacity() {
        for mu in [1_000, 20_000] {
            let levels: Vec<_> = (1..20).map(|part| mu * part / 20).collect();
            let knee = mm1(mu, &levels).unwrap();
            assert_eq!((knee.level, knee.beyond), (mu / 2, None));
            // One request in the system on average: the rate times the mean response time.
            assert!((knee.achieved_per_s * knee.mean_ns / 1e9 - 1.0).abs() < 1e-9);
            assert!((knee.power - (mu as f64 / 2.0).powi(2)).abs() < 1.0);
        }
    }

    #[test]
    fn a_level_with_failed_requests_is_not_the_knee_and_is_listed() {
        let mut curve: Vec<_> = [100, 500, 900].map(|level| point(level, Some(1e6), true)).into();
        curve[2].mean_ns = None;
        curve[2].power = None;
        curve[2].failed_tail = Some(FailedTail { count: 1, ..FailedTail::default() });
        let knee = knee(&curve).unwrap();
        assert_eq!((knee.level, knee.beyond), (500, Some(Beyond::Above)));
        assert_eq!(without_mean(&curve).collect::<Vec<_>>(), [900]);
        curve[2].keeps_up = false;
        assert_eq!(without_mean(&curve).count(), 0);
    }

    #[test]
    fn a_knee_at_an_end_may_lie_beyond_it() {
        let beyond = |levels: &[u64]| mm1(1_000, levels).map(|knee| (knee.level, knee.beyond));
        assert_eq!(beyond(&[100, 200, 300]), Some((300, Some(Beyond::Above))));
        assert_eq!(beyond(&[700, 800, 900]), Some((700, Some(Beyond::Below))));
        assert_eq!(beyond(&[500]), Some((500, Some(Beyond::Above))));
        // Levels that do not keep up are ignored.
        assert_eq!(beyond(&[250, 400, 1_000, 2_000]), Some((400, Some(Beyond::Above))));
        assert_eq!(beyond(&[1_000, 2_000]), None);
        assert_eq!(beyond(&[]), None);
        // No level lies below one client.
        let clients =
            [(1, 1e6), (2, 1e7), (3, 1e8)].map(|(level, mean_ns)| point(level, Some(mean_ns), true));
        assert_eq!(knee(&clients).map(|knee| (knee.level, knee.beyond)), Some((1, None)));
        assert_eq!((power(5.0, 2e9), power(5.0, 0.0)), (Some(2.5), None));
    }
}
