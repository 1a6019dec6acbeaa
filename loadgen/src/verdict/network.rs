//! What the network did to the load.

use super::Finding;
use crate::{
    failure::Failure,
    human::{count, percent},
    report::{Report, Status},
    summary,
};

/// Where replies lie that wait for a delayed acknowledgement: the kernel sends one after 40 ms at the earliest
/// (`TCP_DELACK_MIN`), up to a step of its timer later, and the reply's rest takes its time.
const DELAYED_ACK_NS: [u64; 2] = [38_000_000, 56_000_000];
/// The part of all replies that makes a plateau there.
const PLATEAU_SHARE_MIN: f64 = 0.01;
/// A plateau holds so many times more replies than lie in an equally wide range on either side of it.
const PLATEAU_STEEPNESS: f64 = 5.0;
/// The part of the requests that may be sent again.
const RETRANSMITTED_SHARE_MAX: f64 = 0.000_1;
/// What others do in the same network namespace is counted too, so it takes more of it.
const RETRANSMITTED_BY_ALL_SHARE_MAX: f64 = 0.001;
/// The part of the clients that may lose their connection.
const LOST_SHARE_MAX: f64 = 0.01;

/// A server that writes a reply in two parts without `TCP_NODELAY` waits with the second for an acknowledgement of the
/// first (Nagle's algorithm, RFC 896), which the client delays (RFC 1122, 4.2.3.2).
pub(super) fn delayed_ack(report: &Report) -> Option<Finding> {
    let histogram = summary::deserialise(&report.latency_ns.service.hdr)?;
    let [from, to] = DELAYED_ACK_NS;
    let width = to - from;
    let within = |from: u64, to: u64| histogram.count_between(from, to) as f64;
    let plateau = within(from, to);
    let beside = within(from - width, from - 1).max(within(to + 1, to + width));
    let share = plateau / (histogram.len() as f64).max(1.0);
    (share > PLATEAU_SHARE_MIN && plateau > beside * PLATEAU_STEEPNESS).then(|| Finding {
        status: Status::Suspect,
        value: share,
        bound: PLATEAU_SHARE_MIN,
        message: format!(
            "{} of the replies took 38 to 56 ms and few a little less or more: that is what a delayed acknowledgement \
             takes",
            percent(share)
        ),
        advice: "does the server write a reply in parts, or without TCP_NODELAY? if it means to take 40 ms, ignore this",
    })
}

pub(super) fn retransmissions(report: &Report) -> Option<Finding> {
    let network = report.network?;
    let requests = report.requests.sent.max(1) as f64;
    let by = |segments: u64, bound: f64, whose: &str| {
        let share = segments as f64 / requests;
        (share > bound).then(|| Finding {
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
    fn a_plateau_at_40_ms_is_seen_and_a_slope_is_not() {
        let times = |replies: &[(u64, u64)]| {
            let mut service = Latency::default();
            for (count, time_us) in replies {
                (0..*count).for_each(|_| service.record(time_us * 1_000));
            }
            move |report: &mut Report| report.latency_ns.service = summary::latency(&service)
        };
        assert_eq!(codes(times(&[(9_900, 100), (100, 41_000)])), [""; 0]);
        assert_eq!(codes(times(&[(9_880, 100), (120, 41_000)])), ["delayed_ack"]);
        assert_eq!(codes(times(&[(1_000, 40_100)])), ["delayed_ack"]);
        // An exponential tail passes through there as well.
        let slope: Vec<_> = (1..200).map(|ms| (20_000 / (ms + 1), ms * 1_000)).collect();
        assert_eq!(codes(times(&slope)), [""; 0]);
        assert_eq!(codes(times(&[(9_000, 30_000), (900, 35_000), (200, 42_000)])), [""; 0]);
    }
}
