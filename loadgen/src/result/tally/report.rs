//! Makes the report of a run from its closed tally.

use std::{cmp::Reverse, collections::BTreeMap};

use common::human::{bytes, count, duration_ns, plural, were};

use super::{Tally, kept, per};
use crate::{
    engine::{
        client::Served,
        failure::{Failure, FailureCounts},
        latency::{LATENCY_NS_MAX, Latency},
        pauses::{KEPT_MAX, Pause},
        probes::{MachineProbe, ThreadProbe},
    },
    load::{plan::Plan, start_at, tls::Trust},
    protocol::expect::Expect,
    result::{
        self, Connections, Fairness, Generator, Kind, Latencies, Network, Rate, Report, Requests, SCHEMA,
        Server, SloOutcome, Status, Tls, Verdict, fairness, precision,
        recovery::recovery,
        setting::Setting,
        summary::{self, Unanswered},
    },
    subject::server_process::{Identity, usage::Reading},
};

impl Tally {
    /// The report of a closed tally. It is not judged yet.
    pub(crate) fn into_report(self, plan: &Plan, setting: Setting, interrupted: bool) -> Report {
        let elapsed_s = self.elapsed_s();
        let achieved_per_s = self.achieved_per_s(plan, elapsed_s);
        let mut report = Report {
            schema: SCHEMA,
            verdict: Verdict { status: Status::Valid, reasons: Vec::new() },
            interrupted,
            aborted: self.aborted.clone(),
            // The blocks of a load that changes have nothing in common.
            precision: match plan.stages {
                Some(_) => None,
                None => self.blocks.precision(self.interval_ns as f64 / 1e9),
            },
            command: None,
            environment: setting.environment.clone(),
            started_at_unix_ms: setting.started_at_unix_ms,
            window_started_at_unix_us: self.window_started_at_unix_us,
            late_start_ns: self.late_start_ns,
            elapsed_s,
            requests: self.requests(plan),
            rate: Rate { offered_per_s: plan.mean_rate_per_s(self.elapsed_ns()), achieved_per_s },
            errors: errors(&self.total.failures),
            errors_before_window: errors(&self.total.failures_before_window),
            connections: self.connections(plan),
            tls: plan.tls.is_some().then(|| self.tls()),
            kinds: self.kinds(plan, achieved_per_s),
            stages: self.stages(plan),
            recovery: None,
            first_mismatch: self.mismatch.clone(),
            first_unexpected: self.unexpected.clone(),
            response_histogram: summary::bars(self.total.response.histogram()),
            fairness: self.fairness(achieved_per_s),
            generator: self.generator(),
            network: self.network(&setting),
            server: setting.server.as_ref().and_then(|identity| self.server(identity)),
            server_ended_early: setting.server.is_some() && self.server_is_gone(),
            server_gone_at_ns: self.server_gone_at_ns(),
            slo: self.precision_outcomes(plan),
            calibration: None,
            merged: None,
            log: None,
            notes: self.notes(plan),
            latency_ns: self.latencies(plan),
            intervals: self.intervals.into_intervals(),
            tail: self.after_window,
            plan: setting.plan,
        };
        report.recovery = recovery(&report);
        report
    }

    /// Whether each percentile of `--until` is known as precisely as it was asked for.
    fn precision_outcomes(&self, plan: &Plan) -> Vec<SloOutcome> {
        let of = |until| precision::outcome(until, &self.blocks, self.elapsed_s());
        plan.measuring.until.iter().map(of).collect()
    }

    pub(super) fn elapsed_ns(&self) -> u64 {
        self.window_ended_ns.saturating_sub(self.window.start_ns)
    }

    /// The length of the window. It is 0 if an interrupted run ended before the window began.
    fn elapsed_s(&self) -> f64 {
        self.elapsed_ns() as f64 / 1e9
    }

    /// Replies per second. If the number of requests ends the window, it ends with a reply. Then replies to other requests,
    /// at the edges of the window, would make the rate too high.
    fn achieved_per_s(&self, plan: &Plan, elapsed_s: f64) -> f64 {
        let counts = self.total.counts;
        let ended_by_requests = plan.timing.requests.is_some() && self.window_ended_ns < self.window.end_ns;
        if !ended_by_requests {
            return per(counts.replies_in_window as f64, elapsed_s).unwrap_or(0.0);
        }
        let completed = (counts.completed - self.after_window.completed) as f64;
        // In an open loop, the last request also takes the time until the next one would be due.
        let scheduled_s = plan.rate_per_s().map_or(0.0, |rate| counts.completed as f64 / rate);
        per(completed, elapsed_s.max(scheduled_s)).unwrap_or(0.0)
    }

    fn requests(&self, plan: &Plan) -> Requests {
        let counts = self.total.counts;
        Requests {
            due: counts.completed + counts.unanswered(),
            sent: counts.completed + counts.failed + counts.cut_off,
            completed: counts.completed,
            completed_after_window: self.after_window.completed,
            failed: counts.failed + counts.unsent,
            unsent: counts.unsent,
            cut_off: counts.cut_off,
            replies_in_window: counts.replies_in_window,
            verified: if plan.dialogue.expect == Expect::None { 0 } else { counts.completed },
            delayed_rests: counts.delayed_rests,
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
        }
    }

    fn kinds(&self, plan: &Plan, achieved_per_s: f64) -> Vec<Kind> {
        // The time in which the whole has its rate, so that the rates of the kinds add up to it.
        let length_s = per(self.total.counts.replies_in_window as f64, achieved_per_s).unwrap_or(0.0);
        let slices = plan.dialogue.kinds.iter().zip(&self.total.kinds);
        slices
            .map(|(kind, slice)| Kind { kind: kind.clone(), outcomes: summary::outcomes(slice, length_s) })
            .collect()
    }

    fn connections(&self, plan: &Plan) -> Connections {
        let last_step = if plan.tls.is_some() { &self.total.handshake } else { &self.total.connect };
        Connections { established: last_step.histogram().len(), lost: self.total.counts.connections_lost }
    }

    fn tls(&self) -> Tls {
        let resumed_handshakes = self.total.counts.resumed_handshakes;
        let agreed = self.tls.agreed.clone();
        Tls {
            full_handshakes: self.total.handshake.histogram().len() - resumed_handshakes,
            resumed_handshakes,
            version: agreed.as_ref().map(|agreed| agreed.version.clone()),
            cipher_suite: agreed.as_ref().map(|agreed| agreed.cipher_suite.clone()),
            alpn: agreed.and_then(|agreed| agreed.alpn),
            first_failure: self.tls.failure.clone().map(String::from),
        }
    }

    fn latencies(&self, plan: &Plan) -> Latencies {
        let open = plan.is_open_loop();
        // A unix socket gives no timestamps.
        let stamped = !self.total.ready_to_read.histogram().is_empty();
        Latencies {
            response: summary::distribution(
                self.total.response.histogram(),
                Unanswered::of(&self.total.counts),
            ),
            successful: summary::latency(&self.total.response),
            service: summary::latency(&self.total.service),
            schedule_lag: open.then(|| summary::latency(&self.total.schedule_lag)),
            connect: summary::latency(&self.total.connect),
            handshake: plan.tls.is_some().then(|| summary::latency(&self.total.handshake)),
            due_to_written: summary::latency(&self.total.due_to_written),
            written_to_ready: stamped.then(|| summary::latency(&self.total.written_to_ready)),
            ready_to_read: stamped.then(|| summary::latency(&self.total.ready_to_read)),
        }
    }

    fn fairness(&self, achieved_per_s: f64) -> Fairness {
        let replies = || self.clients.iter().map(|client| client.replies);
        let concurrency = |latency: &Latency| {
            let histogram = latency.histogram();
            let any = !histogram.is_empty();
            any.then(|| fairness::effective_concurrency(achieved_per_s, histogram.mean()))
        };
        let stall = self.longest_stall.unwrap_or_default();
        let of = |is: fn(&Served) -> bool| self.clients.iter().filter(|client| is(client)).count() as u64;
        Fairness {
            clients: self.clients.len() as u64,
            asked: of(|client| client.was_owed),
            starved: of(|client| client.was_owed && client.completed + client.replies == 0),
            served: replies().filter(|replies| *replies > 0).count() as u64,
            jain: fairness::jain(replies()),
            requests_min: replies().min().unwrap_or(0),
            requests_max: replies().max().unwrap_or(0),
            longest_silence_ns: self.clients.iter().map(|client| client.silence_ns_max).max().unwrap_or(0),
            longest_stall_ns: stall.length_ns(),
            longest_stall_at_ns: (stall.length_ns() > 0).then(|| stall.from_ns - self.window.start_ns),
            effective_concurrency: concurrency(&self.total.response),
            service_concurrency: concurrency(&self.total.service),
            replies_sum: replies().sum(),
            replies_sum_of_squares: replies().map(|replies| (replies as f64).powi(2)).sum(),
            replies_hdr: summary::replies(replies()),
        }
    }

    fn generator(&self) -> Generator {
        let cpu_ns = self.cost.map_or(0, |(before, after)| after.generator_cpu_ns - before.generator_cpu_ns);
        let replies = self.total.counts.replies_in_window as f64;
        let throttling = self.cost.and_then(|(before, after)| after.quotas.since(&before.quotas));
        Generator {
            cpu_s: cpu_ns as f64 / 1e9,
            cpu_ns_per_request: per(cpu_ns as f64, replies).filter(|_| cpu_ns > 0),
            busiest_thread_share: self.most_of(|usage| Some(usage.busy_ns() as f64 / 1e9)).unwrap_or(0.0),
            idle_share_min: self
                .most_of(|usage| Some((usage.busy_ns() + usage.waited_ns?) as f64 / 1e9))
                .map(|busy| (1.0 - busy).max(0.0)),
            cpu_wait_share_max: self.most_of(|usage| Some(usage.waited_ns? as f64 / 1e9)),
            preemptions_per_s_max: self.most_of(|usage| Some(usage.preemptions? as f64)),
            steal_share: self
                .cost
                .and_then(|(before, after)| after.machine.steal_share_since(&before.machine)),
            pauses: self.pauses(),
            cpu_quota: throttling.map(|throttling| throttling.cpus),
            throttled_share: throttling.map(|throttling| throttling.share),
            throttled_s: throttling.map(|throttling| throttling.throttled_s),
            clock_step_ns: self.clock_step_ns,
        }
    }

    fn pauses(&self) -> result::Pauses {
        let mut longest: Vec<_> = self.pauses.iter().flat_map(|thread| &thread.longest).collect();
        longest.sort_by_key(|pause| Reverse(pause.length_ns()));
        longest.truncate(KEPT_MAX);
        let pause = |pause: &&Pause| result::Pause {
            t_s: pause.from_ns.saturating_sub(self.window.start_ns) as f64 / 1e9,
            length_ns: pause.length_ns(),
        };
        result::Pauses {
            count: self.pauses.iter().map(|thread| thread.count).sum(),
            total_ns_max: self.pauses.iter().map(|thread| thread.total_ns).max().unwrap_or(0),
            requests: self.total.counts.in_pauses,
            longest: longest.iter().map(pause).collect(),
        }
    }

    /// The largest usage of any load thread, per second of its part of the window.
    fn most_of(&self, of: fn(&ThreadProbe) -> Option<f64>) -> Option<f64> {
        let each = |(usage, window_s): &(ThreadProbe, f64)| per(of(usage)?, *window_s);
        self.usages.iter().filter_map(each).reduce(f64::max)
    }

    fn network(&self, setting: &Setting) -> Option<Network> {
        let (before, after) = self.cost?;
        network(setting.machine_at_start, before.machine, after.machine, self.client_retransmissions)
    }

    fn server(&self, identity: &Identity) -> Option<Server> {
        let (before, after) = self.cost?;
        let (Reading::Known(before), Reading::Known(after)) = (before.server?, after.server?) else {
            return None;
        };
        let replies = self.total.counts.replies_in_window as f64;
        let cpu_ns = after.cpu_ns.saturating_sub(before.cpu_ns) as f64;
        // The counts of threads that ended in the window are lost.
        let switches = after.context_switches.saturating_sub(before.context_switches) as f64;
        Some(Server {
            mode: identity.mode.map(str::to_owned),
            threads: identity.threads,
            work: identity.work.clone(),
            cpu_s: cpu_ns / 1e9,
            // A time below one step of the clock is unknown.
            cpu_ns_per_request: per(cpu_ns, replies).filter(|_| cpu_ns > 0.0),
            rss_bytes: after.rss_bytes,
            pss_bytes: after.pss_bytes,
            context_switches_per_request: per(switches, replies),
        })
    }

    fn server_is_gone(&self) -> bool {
        self.cost.is_some_and(|(before, after)| before.server.and(after.server).is_none())
    }

    /// When the last reply arrived, if every thread had lost the server when its window ended.
    fn server_gone_at_ns(&self) -> Option<u64> {
        (self.servers_gone == self.threads).then(|| self.last_reply_ns.saturating_sub(self.window.start_ns))
    }

    fn notes(&self, plan: &Plan) -> Vec<String> {
        let closed_loop = (!plan.is_open_loop()).then(|| result::CLOSED_LOOP.to_owned());
        let notes = [
            closed_loop,
            insecure_note(plan),
            slo_note(plan),
            self.late_start_note(plan),
            self.in_turn_note(),
            self.clamped_note(),
            self.joined_note(),
            self.timestamps_note(plan),
            self.early_errors_note(),
        ];
        notes.into_iter().flatten().collect()
    }

    fn late_start_note(&self, plan: &Plan) -> Option<String> {
        let at = plan.timing.start_at.filter(|_| self.late_start_ns > 0)?;
        let (at, late) = (start_at::format(at), duration_ns(self.late_start_ns));
        Some(format!("the load began {late} later than planned ({at})"))
    }

    fn in_turn_note(&self) -> Option<String> {
        let since_ns = self.in_turn_since_ns.filter(|since_ns| *since_ns < self.window_ended_ns)?;
        let since_ns = since_ns.saturating_sub(self.window.start_ns);
        Some(format!(
            "from {} on, gathering the intervals took time from the load: the load's CPUs had no idle time",
            duration_ns(since_ns)
        ))
    }

    fn joined_note(&self) -> Option<String> {
        let joins = Some(self.intervals.joins()).filter(|joins| *joins > 0)?;
        Some(format!(
            "the intervals took {}: {} joined with a neighbour, the oldest first; use a longer --interval",
            bytes(kept::BYTES_MAX as u64),
            format_args!("{} {}", plural(joins, "interval"), were(joins)),
        ))
    }

    fn clamped_note(&self) -> Option<String> {
        let clamped = Some(self.total.clamped()).filter(|clamped| *clamped > 0)?;
        let most_s = LATENCY_NS_MAX / 1_000_000_000;
        let times = plural(clamped, "time");
        Some(format!("{times} {} longer than {most_s} s, and counted as {most_s} s", were(clamped)))
    }

    fn timestamps_note(&self, plan: &Plan) -> Option<String> {
        let stamped = self.total.ready_to_read.histogram().len();
        let unstamped = self.total.counts.completed - stamped;
        (plan.measuring.kernel_timestamps && unstamped > 0).then(|| {
            let replies = plural(unstamped, "reply");
            format!("the kernel gave no timestamp for {replies}: it gives one for TCP, and for a read with a single reply")
        })
    }

    fn early_errors_note(&self) -> Option<String> {
        let failures = &self.total.failures_before_window;
        let kinds = Failure::ALL.iter().filter(|(kind, ..)| failures.get(*kind) > 0);
        let kinds: Vec<_> =
            kinds.map(|(kind, _, text)| format!("{} x {text}", count(failures.get(*kind)))).collect();
        (!kinds.is_empty()).then(|| {
            format!("errors before the window, which no other number includes: {}", kinds.join(", "))
        })
    }
}

/// A part is not held against the objectives of the whole load.
fn slo_note(plan: &Plan) -> Option<String> {
    (plan.clients.part.is_some() && !plan.measuring.slo.is_empty()).then(|| result::SLO_OF_WHOLE.to_owned())
}

fn insecure_note(plan: &Plan) -> Option<String> {
    let is_insecure = plan.tls.as_ref().is_some_and(|tls| matches!(tls.trust, Trust::Anything));
    is_insecure
        .then(|| "--tls-insecure: no certificate was checked, so any server may have answered".to_owned())
}

/// The count of each kind of failure, by the name of the kind.
fn errors(failures: &FailureCounts) -> BTreeMap<String, u64> {
    Failure::ALL.iter().map(|(kind, name, _)| ((*name).to_owned(), failures.get(*kind))).collect()
}

/// The counters of the network stack. The machine's are known before the first connection, at the start of the window and at its end.
///
/// The counters of the clients begin with their connections, in the warm-up or before it. To read all of them at the start of the
/// window would delay the load; the machine's own counter, which counts the same segments, bounds those of the window.
fn network(
    at_start: MachineProbe,
    before: MachineProbe,
    after: MachineProbe,
    client_retransmissions: u64,
) -> Option<Network> {
    let retransmissions = after.retransmissions?.saturating_sub(before.retransmissions?);
    Some(Network {
        client_retransmissions: client_retransmissions.min(retransmissions),
        retransmissions,
        // A client that connects may overflow the queue, too.
        listen_overflows: after.listen_overflows?.saturating_sub(at_start.listen_overflows?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_of_a_long_warm_up_are_none_of_the_window() {
        let probe = |retransmissions, listen_overflows| MachineProbe {
            retransmissions: Some(retransmissions),
            listen_overflows: Some(listen_overflows),
            ..MachineProbe::default()
        };
        let (start, before, after) = (probe(100, 7), probe(5_000, 9), probe(5_003, 12));
        let of = |clients| network(start, before, after, clients).unwrap();
        let expected = |client_retransmissions| Network {
            client_retransmissions,
            retransmissions: 3,
            listen_overflows: 5,
        };
        // Of the clients' 4,000 segments since they connected, at most three are of the window.
        assert_eq!(of(4_000), expected(3));
        assert_eq!(of(2), expected(2));
        let unknown = MachineProbe { retransmissions: None, ..before };
        assert_eq!(network(start, unknown, after, 0), None);
    }
}
