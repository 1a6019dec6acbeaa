//! What the network did to the load.

use super::Finding;
use crate::{
    client::DELAYED_ACK_NS,
    failure::Failure,
    human::{count, percent},
    report::{Report, Status},
    summary,
};

/// The part of all replies from which on delayed acknowledgements are no accident.
const DELAYED_SHARE_MAX: f64 = 0.01;
/// A plateau holds so many times more replies than lie in an equally wide range on either side of it.
const PLATEAU_STEEPNESS: f64 = 5.0;
/// The part of the requests that may be sent again.
const RETRANSMITTED_SHARE_MAX: f64 = 0.000_1;
/// What others do in the same network namespace is counted too, so it takes more of it.
const RETRANSMITTED_BY_ALL_SHARE_MAX: f64 = 0.001;
/// What is less is told by nothing: a single segment is lost anywhere, and by anybody on this machine.
const RETRANSMITTED_MIN: u64 = 10;
/// The part of the clients that may lose their connection.
const LOST_SHARE_MAX: f64 = 0.01;

/// A server that writes a reply in two parts without `TCP_NODELAY` waits with the second for an acknowledgement of the
/// first (Nagle's algorithm, RFC 896), which the client delays (RFC 1122, 4.2.3.2).
pub(super) fn delayed_ack(report: &Report) -> Option<Finding> {
    let delayed = report.requests.delayed_rests.max(in_plateau(report));
    let share = delayed as f64 / report.requests.completed.max(1) as f64;
    (share > DELAYED_SHARE_MAX).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: DELAYED_SHARE_MAX,
        message: format!(
            "{} of the replies came 38 to 56 ms late, whole or with their rest: as long as a delayed acknowledgement takes \
             (at most {} may be)",
            percent(share),
            percent(DELAYED_SHARE_MAX)
        ),
        advice: "the server writes in parts, or without TCP_NODELAY; if the way to it takes as long, ignore this",
    })
}

/// Replies that wait for the acknowledgement of the one before them, which only a pipeline's do, have no part that came
/// earlier: they make a plateau in the service times.
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
    let by = |segments: u64, bound: f64, whose: &str| {
        let share = segments as f64 / requests;
        (share > bound && segments >= RETRANSMITTED_MIN).then(|| Finding {
            status: Status::Suspect,
            value: share,
            bound,
            message: format!(
                "{} segments were sent again {whose}, {} of the requests (at most {} may be)",
                count(segments),
                percent(share),
                percent(bound)
            ),
            advice: "a lost segment costs 200 ms and more: look for drops (ip -s link, nstat), and for full queues",
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
        message: format!("{} connections found a full listen queue on this machine", count(overflows)),
        advice: "such a connection takes a second and more: raise the server's --backlog and net.core.somaxconn, or \
                 use --connect-rate",
    })
}

pub(super) fn local_ports(report: &Report) -> Option<Finding> {
    let failures = report.errors.get(Failure::NoLocalPort.name()).copied().unwrap_or(0);
    (failures > 0).then(|| Finding {
        status: Status::Suspect,
        value: failures as f64,
        bound: 0.0,
        message: format!("{} connections could not be made for want of a local port", count(failures)),
        advice: "widen net.ipv4.ip_local_port_range, use more targets, or fewer new connections (-c, \
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
            "{} connections of {} clients were lost and made anew: a client that connects asks nothing meanwhile",
            count(lost),
            count(clients)
        ),
        advice: "see the errors below for how they were lost, and the server's log for why",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{recording::Latency, report::Network, verdict::tests::codes};

    #[test]
    fn each_rule_applies_on_its_side_of_the_line() {
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
    fn a_plateau_at_40_ms_or_a_rest_that_comes_so_late_is_seen_and_a_slope_is_not() {
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
        // Without a pipeline, the rest would come later than the first part.
        assert_eq!(codes(times(1, &[(9_880, 100), (120, 41_000)])), [""; 0]);
        // A server that takes 50 ms for each is slow, and nothing else.
        assert_eq!(codes(times(2, &[(10_000, 50_000)])), [""; 0]);
        // An exponential tail passes through there as well.
        let slope: Vec<_> = (1..200).map(|ms| (20_000 / (ms + 1), ms * 1_000)).collect();
        assert_eq!(codes(times(2, &slope)), [""; 0]);
        let rests = |delayed_rests| {
            move |report: &mut Report| {
                report.requests.delayed_rests = delayed_rests;
            }
        };
        assert_eq!(codes(rests(20)), [""; 0]);
        assert_eq!(codes(rests(21)), ["delayed_ack"]);
    }
}
