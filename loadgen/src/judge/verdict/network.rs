//! Whether the network disturbed the load.

use common::human::{percent, plural, were};

use super::Finding;
use crate::{
    engine::{client::DELAYED_ACK_NS, failure::Failure},
    result::{Report, Status, summary},
};

/// The share of replies that chance may delay as long as an acknowledgement.
const DELAYED_SHARE_MAX: f64 = 0.01;
/// How many times more replies a plateau holds than an equally wide range on either side.
const PLATEAU_STEEPNESS: f64 = 5.0;
/// A reply that is larger than the congestion window arrives in several round trips (RFC 5681). On a network where this many of
/// them take as long as a delayed acknowledgement, they cannot be told from one.
const ROUND_TRIPS: u64 = 4;
/// The limit of retransmitted segments, as a share of the requests.
const RETRANSMITTED_SHARE_MAX: f64 = 0.000_1;
/// The limit for the whole network namespace, which also counts other processes.
const RETRANSMITTED_BY_ALL_SHARE_MAX: f64 = 0.001;
/// Fewer retransmissions are normal on any network.
const RETRANSMITTED_MIN: u64 = 10;
/// The share of the clients that may lose their connection.
const LOST_SHARE_MAX: f64 = 0.01;

/// A server that writes a reply in two parts without `TCP_NODELAY` sends the second part only after the acknowledgement of
/// the first (Nagle's algorithm, RFC 896). The client delays that acknowledgement (RFC 1122, 4.2.3.2).
pub(super) fn delayed_ack(report: &Report) -> Option<Finding> {
    // A connection takes one round trip to be established.
    let round_trip_ns = report.latency_ns.connect.min.unwrap_or(0);
    if round_trip_ns.saturating_mul(ROUND_TRIPS) >= DELAYED_ACK_NS.into_inner().0 {
        return None;
    }
    let delayed = report.requests.delayed_rests.max(in_plateau(report));
    let share = delayed as f64 / report.requests.completed.max(1) as f64;
    (share > DELAYED_SHARE_MAX).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: DELAYED_SHARE_MAX,
        message: format!(
            "{} of the replies, or their last parts, were 38 to 56 ms late (limit: {}): a delayed acknowledgement takes \
             that long",
            percent(share),
            percent(DELAYED_SHARE_MAX)
        ),
        advice: "let the server write each reply in one piece, or set TCP_NODELAY; if the network itself takes that long, ignore this",
    })
}

/// In a pipeline, a whole reply can wait for the acknowledgement of the reply before it. Such replies form a plateau in the
/// service times.
fn in_plateau(report: &Report) -> u64 {
    let (from, to) = DELAYED_ACK_NS.into_inner();
    let width = to - from;
    let is_possible =
        report.plan.pipeline > 1 && report.latency_ns.service.min.is_some_and(|min| min < from - width);
    let Some(histogram) = is_possible.then(|| summary::deserialise(&report.latency_ns.service.hdr)).flatten()
    else {
        return 0;
    };
    let within = |from: u64, to: u64| histogram.count_between(from, to);
    let beside = within(from - width, from - 1).max(within(to + 1, to + width));
    let plateau = within(from, to);
    if plateau as f64 > beside as f64 * PLATEAU_STEEPNESS { plateau } else { 0 }
}

pub(super) fn retransmissions(report: &Report) -> Option<Finding> {
    let network = report.network?;
    let requests = report.requests.sent.max(1) as f64;
    let by = |segments: u64, bound: f64, where_from: &str| {
        let share = segments as f64 / requests;
        (share > bound && segments >= RETRANSMITTED_MIN).then(|| Finding {
            status: Status::Suspect,
            value: share,
            bound,
            message: format!(
                "{} {} retransmitted {where_from}: {} of the requests (limit: {})",
                plural(segments, "segment"),
                were(segments),
                percent(share),
                percent(bound)
            ),
            advice: "a lost segment delays its reply by 200 ms or more: look for dropped packets (ip -s link, nstat) and full queues",
        })
    };
    by(network.client_retransmissions, RETRANSMITTED_SHARE_MAX, "by the clients")
        .or_else(|| by(network.retransmissions, RETRANSMITTED_BY_ALL_SHARE_MAX, "on this machine"))
}

pub(super) fn listen_overflow(report: &Report) -> Option<Finding> {
    let overflows = report.network?.listen_overflows;
    (overflows > 0).then(|| Finding {
        status: Status::Suspect,
        value: overflows as f64,
        bound: 0.0,
        message: format!("{} found a full accept queue on this machine", plural(overflows, "connection")),
        advice: "such a connection takes a second or more: raise the server's --backlog and net.core.somaxconn, or \
                 use --connect-rate",
    })
}

pub(super) fn local_ports(report: &Report) -> Option<Finding> {
    let failures = report.errors.get(Failure::NoLocalPort.name()).copied().unwrap_or(0);
    (failures > 0).then(|| Finding {
        status: Status::Suspect,
        value: failures as f64,
        bound: 0.0,
        message: format!("{} failed because no local port was free", plural(failures, "connection")),
        advice: "widen net.ipv4.ip_local_port_range, use more targets or more addresses (--source), or fewer new connections (-c, \
                 --requests-per-connection)",
    })
}

pub(super) fn reconnects(report: &Report) -> Option<Finding> {
    let (lost, clients) = (report.connections.lost, report.fairness.clients);
    let share = lost as f64 / clients.max(1) as f64;
    (share > LOST_SHARE_MAX).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: LOST_SHARE_MAX,
        message: format!(
            "{} lost {} (limit: {} of the clients): a client sends nothing while it reconnects",
            plural(clients, "client"),
            plural(lost, "connection"),
            percent(LOST_SHARE_MAX)
        ),
        advice: "the errors below say how the connections were lost; the server's log may say why",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::latency::Latency, judge::verdict::tests::codes, result::Network};

    #[test]
    fn each_rule_applies_beyond_its_bound() {
        let network = |client_retransmissions, retransmissions, listen_overflows| {
            move |report: &mut Report| {
                report.requests.sent = 100_000;
                report.network = Some(Network { client_retransmissions, retransmissions, listen_overflows });
            }
        };
        assert_eq!(codes(network(10, 100, 0)), [""; 0]);
        assert_eq!(codes(network(11, 11, 0)), ["retransmissions"]);
        assert_eq!(codes(network(0, 101, 0)), ["retransmissions"]);
        let few = |report: &mut Report| {
            network(9, 9, 0)(report);
            report.requests.sent = 100;
        };
        assert_eq!(codes(few), [""; 0]);
        assert_eq!(codes(network(0, 0, 1)), ["listen_overflow"]);
        assert_eq!(codes(|report| report.network = None), [""; 0]);
        assert_eq!(codes(|report| report.connections.lost = 0), [""; 0]);
        assert_eq!(codes(|report| report.connections.lost = 1), ["reconnects"]);
        let ports = |report: &mut Report| {
            report.requests.completed = 1_000_000;
            report.rate.achieved_per_s = 500_000.0;
            report.errors.insert("no_local_port".to_owned(), 1);
        };
        assert_eq!(codes(ports), ["local_ports"]);
    }

    #[test]
    fn a_plateau_is_five_times_as_high_as_what_lies_on_both_sides() {
        let plateau = |replies: &[(u64, u64)]| {
            let mut service = Latency::default();
            service.record(100_000);
            for (count, time_ms) in replies {
                (0..*count).for_each(|_| service.record(time_ms * 1_000_000));
            }
            let mut report = crate::result::tests::example();
            report.plan.pipeline = 2;
            report.latency_ns.service = summary::latency(&service);
            in_plateau(&report)
        };
        for beside_ms in [21, 30, 37, 57, 65, 73] {
            assert_eq!(plateau(&[(500, 41), (100, beside_ms)]), 0, "{beside_ms}");
            assert_eq!(plateau(&[(501, 41), (100, beside_ms)]), 501, "{beside_ms}");
        }
        for elsewhere_ms in [19, 75] {
            assert_eq!(plateau(&[(500, 41), (400, elsewhere_ms)]), 500, "{elsewhere_ms}");
        }
        assert_eq!(plateau(&[(100, 39), (100, 55)]), 200);
    }

    #[test]
    fn a_plateau_at_40_ms_or_a_last_part_as_late_is_found_and_a_slope_is_not() {
        let times = |pipeline: usize, replies: &[(u64, u64)]| {
            let mut service = Latency::default();
            for (count, time_us) in replies {
                (0..*count).for_each(|_| service.record(time_us * 1_000));
            }
            move |report: &mut Report| {
                report.plan.pipeline = pipeline;
                report.requests.completed = 10_000;
                report.latency_ns.service = summary::latency(&service);
                report.rate.achieved_per_s = 5_000.0;
            }
        };
        assert_eq!(codes(times(2, &[(9_900, 100), (100, 41_000)])), [""; 0]);
        assert_eq!(codes(times(2, &[(9_880, 100), (120, 41_000)])), ["delayed_ack"]);
        // Without a pipeline, only the last part of a reply can be delayed.
        assert_eq!(codes(times(1, &[(9_880, 100), (120, 41_000)])), [""; 0]);
        // A server that takes 50 ms for each request is only slow.
        assert_eq!(codes(times(2, &[(10_000, 50_000)])), [""; 0]);
        // A tail without a plateau.
        let slope: Vec<_> = (1..200).map(|ms| (20_000 / (ms + 1), ms * 1_000)).collect();
        assert_eq!(codes(times(2, &slope)), [""; 0]);
        let rests = |delayed_rests| {
            move |report: &mut Report| {
                report.requests.delayed_rests = delayed_rests;
            }
        };
        assert_eq!(codes(rests(20)), [""; 0]);
        assert_eq!(codes(rests(21)), ["delayed_ack"]);
        let far = |round_trip_us: u64| {
            move |report: &mut Report| {
                report.requests.delayed_rests = 21;
                report.latency_ns.connect.min = Some(round_trip_us * 1_000);
            }
        };
        assert_eq!(codes(far(9_400)), ["delayed_ack"]);
        assert_eq!(codes(far(9_500)), [""; 0]);
    }
}
