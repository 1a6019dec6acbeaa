//! What is published of a run, by its name and its meaning.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{
    page::Page,
    snapshot::{Phase, Snapshot, Totals},
};
use crate::{
    failure::Failure,
    plan::{Against, Plan},
};

/// What every name begins with.
const PREFIX: &str = "loadgen";

/// What is published of a run.
#[derive(Debug)]
pub(super) struct Exposition {
    facts: Facts,
    /// Locked to be copied, by the conductor and by the thread that serves it: no load thread knows of it.
    snapshot: Mutex<Snapshot>,
}

/// What is known before the run.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What it is made against, with the name of that label.
    against: (&'static str, String),
    connections: u32,
    /// None of a closed loop.
    rate_per_s: Option<u64>,
    /// Bytes of a request, and of its reply.
    message_bytes: u64,
}

/// What writes the exposition, and nothing else.
pub(super) fn registry(exposition: &Arc<Exposition>) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(exposition.clone()));
    registry
}

/// What is published at this moment, as text.
pub(super) fn render(registry: &Registry) -> String {
    let mut text = String::new();
    text::encode_registry(&mut text, registry).expect("writing into memory does not fail");
    text
}

impl Exposition {
    /// Of a run that has not begun.
    pub(super) fn new(facts: Facts) -> Self {
        Self { facts, snapshot: Mutex::default() }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.snapshot().phase = phase;
    }

    pub(super) fn set_totals(&self, totals: Totals) {
        self.snapshot().totals = totals;
    }

    fn snapshot(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    /// Of a run of this plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let against = match &plan.against {
            Against::Targets(targets) => {
                ("targets", targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Against::OwnServer(own) => ("mode", own.mode.to_owned()),
        };
        Self {
            against,
            connections: plan.connections,
            rate_per_s: plan.rate_per_s(),
            message_bytes: plan.messages.size() as u64,
        }
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot { phase, totals } = self.snapshot().clone();
        let page = &mut Page(encoder);
        self.facts(page)?;
        page.gauges(
            "phase",
            "What the run is at: 1 for that phase, 0 for the others.",
            "phase",
            Phase::ALL.map(|(each, name)| (name, u64::from(each == phase))),
        )?;
        self.requests(page, &totals)?;
        self.connections(page, &totals)?;
        self.times(page, &totals)
    }
}

impl Exposition {
    fn facts(&self, page: &mut Page<'_>) -> fmt::Result {
        let Facts { against: (label, against), connections, rate_per_s, .. } = &self.facts;
        let kind = if rate_per_s.is_some() { "open" } else { "closed" };
        let facts = [("version", env!("CARGO_PKG_VERSION")), ("loop", kind), (*label, against)];
        page.facts(
            "info",
            "What is run. Its counters and histograms are as of its last interval's end.",
            &facts,
        )?;
        page.gauge(
            "connections_configured",
            "Clients, each with a connection of its own.",
            u64::from(*connections),
        )?;
        if let Some(rate) = rate_per_s {
            let help = "Requests that become due each second, of all clients together; in an open loop only.";
            page.gauge("offered_requests_per_second", help, *rate)?;
        }
        Ok(())
    }

    fn requests(&self, page: &mut Page<'_>, Totals { counts, failures, .. }: &Totals) -> fmt::Result {
        page.counters(
            "requests_total",
            "Requests that were due in the measured window, by what became of them: a complete reply that was as \
             expected, a failure, or never written.",
            "result",
            [("completed", counts.completed), ("failed", counts.failed), ("unsent", counts.unsent)],
        )?;
        page.counter(
            "replies_total",
            "Replies that were complete in the measured window, whenever their requests were due: the achieved rate.",
            counts.replies_in_window,
        )?;
        page.counters(
            "errors_total",
            "Failures by kind, over the whole run: failed requests, and failed connections that carried none.",
            "kind",
            Failure::ALL.map(|(kind, name, _)| (name, failures.get(kind))),
        )?;
        let completed_bytes = counts.completed * self.facts.message_bytes;
        page.counter(
            "sent_bytes_total",
            "Bytes written of the requests that were due in the measured window.",
            completed_bytes + counts.failed_bytes_sent,
        )?;
        page.counter(
            "received_bytes_total",
            "Bytes read of their replies.",
            completed_bytes + counts.failed_bytes_received,
        )
    }

    fn connections(&self, page: &mut Page<'_>, totals: &Totals) -> fmt::Result {
        page.counter(
            "connections_established_total",
            "Connections that were established, over the whole run.",
            totals.connect.count(),
        )?;
        page.counter(
            "connections_lost_total",
            "Connections that a failure took, over the whole run.",
            totals.counts.connections_lost,
        )
    }

    fn times(&self, page: &mut Page<'_>, totals: &Totals) -> fmt::Result {
        page.histogram(
            "response_seconds",
            "From the moment when a request was due, in the measured window, to its complete reply.",
            &totals.response,
        )?;
        page.histogram(
            "service_seconds",
            "From the moment when a request, due in the measured window, was written to its complete reply.",
            &totals.service,
        )?;
        if self.facts.rate_per_s.is_some() {
            page.histogram(
                "schedule_lag_seconds",
                "How late the load generator itself wrote a request that was due in the measured window; in an open \
                 loop only.",
                &totals.schedule_lag,
            )?;
        }
        page.histogram(
            "connect_seconds",
            "How long connections took to be established, over the whole run.",
            &totals.connect,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Recording;

    fn facts() -> Facts {
        Facts {
            against: ("targets", "localhost:8080,unix:/run/\"odd\\name\"".to_owned()),
            connections: 500,
            rate_per_s: Some(20_000),
            message_bytes: 64,
        }
    }

    fn recording() -> Recording {
        let mut recording = Recording::default();
        for time_ns in [9_000, 12_000, 25_000_000, 20_000_000_000] {
            recording.response.record(time_ns);
        }
        recording.connect.record(40_000);
        recording.counts.completed = 4;
        recording.counts.failed = 1;
        recording.counts.unsent = 2;
        recording.counts.replies_in_window = 3;
        recording.counts.connections_lost = 1;
        recording.counts.failed_bytes_sent = 10;
        recording.failures.add(Failure::Timeout, 1);
        recording
    }

    fn page(facts: Facts) -> String {
        let exposition = Arc::new(Exposition::new(facts));
        exposition.set_phase(Phase::Measuring);
        exposition.set_totals(Totals::of(&recording()));
        render(&registry(&exposition))
    }

    #[test]
    fn every_figure_has_its_name_its_meaning_and_its_type() {
        let page = page(facts());
        let without_buckets: Vec<_> = page.lines().filter(|line| !line.contains("_bucket{")).collect();
        insta::assert_snapshot!(without_buckets.join("\n"), @r#"
        # HELP loadgen_info What is run. Its counters and histograms are as of its last interval's end.
        # TYPE loadgen_info gauge
        loadgen_info{version="0.1.0",loop="open",targets="localhost:8080,unix:/run/\"odd\\name\""} 1
        # HELP loadgen_connections_configured Clients, each with a connection of its own.
        # TYPE loadgen_connections_configured gauge
        loadgen_connections_configured 500
        # HELP loadgen_offered_requests_per_second Requests that become due each second, of all clients together; in an open loop only.
        # TYPE loadgen_offered_requests_per_second gauge
        loadgen_offered_requests_per_second 20000
        # HELP loadgen_phase What the run is at: 1 for that phase, 0 for the others.
        # TYPE loadgen_phase gauge
        loadgen_phase{phase="connecting"} 0
        loadgen_phase{phase="warm_up"} 0
        loadgen_phase{phase="measuring"} 1
        loadgen_phase{phase="grace"} 0
        loadgen_phase{phase="ended"} 0
        # HELP loadgen_requests_total Requests that were due in the measured window, by what became of them: a complete reply that was as expected, a failure, or never written.
        # TYPE loadgen_requests_total counter
        loadgen_requests_total{result="completed"} 4
        loadgen_requests_total{result="failed"} 1
        loadgen_requests_total{result="unsent"} 2
        # HELP loadgen_replies_total Replies that were complete in the measured window, whenever their requests were due: the achieved rate.
        # TYPE loadgen_replies_total counter
        loadgen_replies_total 3
        # HELP loadgen_errors_total Failures by kind, over the whole run: failed requests, and failed connections that carried none.
        # TYPE loadgen_errors_total counter
        loadgen_errors_total{kind="connect_refused"} 0
        loadgen_errors_total{kind="connect_timeout"} 0
        loadgen_errors_total{kind="connect_other"} 0
        loadgen_errors_total{kind="no_local_port"} 0
        loadgen_errors_total{kind="timeout"} 1
        loadgen_errors_total{kind="reset"} 0
        loadgen_errors_total{kind="closed"} 0
        loadgen_errors_total{kind="broken"} 0
        loadgen_errors_total{kind="mismatch"} 0
        loadgen_errors_total{kind="abandoned"} 0
        loadgen_errors_total{kind="unsent"} 0
        # HELP loadgen_sent_bytes_total Bytes written of the requests that were due in the measured window.
        # TYPE loadgen_sent_bytes_total counter
        loadgen_sent_bytes_total 266
        # HELP loadgen_received_bytes_total Bytes read of their replies.
        # TYPE loadgen_received_bytes_total counter
        loadgen_received_bytes_total 256
        # HELP loadgen_connections_established_total Connections that were established, over the whole run.
        # TYPE loadgen_connections_established_total counter
        loadgen_connections_established_total 1
        # HELP loadgen_connections_lost_total Connections that a failure took, over the whole run.
        # TYPE loadgen_connections_lost_total counter
        loadgen_connections_lost_total 1
        # HELP loadgen_response_seconds From the moment when a request was due, in the measured window, to its complete reply.
        # TYPE loadgen_response_seconds histogram
        loadgen_response_seconds_sum 20.03184488
        loadgen_response_seconds_count 4
        # HELP loadgen_service_seconds From the moment when a request, due in the measured window, was written to its complete reply.
        # TYPE loadgen_service_seconds histogram
        loadgen_service_seconds_sum 0.0
        loadgen_service_seconds_count 0
        # HELP loadgen_schedule_lag_seconds How late the load generator itself wrote a request that was due in the measured window; in an open loop only.
        # TYPE loadgen_schedule_lag_seconds histogram
        loadgen_schedule_lag_seconds_sum 0.0
        loadgen_schedule_lag_seconds_count 0
        # HELP loadgen_connect_seconds How long connections took to be established, over the whole run.
        # TYPE loadgen_connect_seconds histogram
        loadgen_connect_seconds_sum 0.000040016
        loadgen_connect_seconds_count 1
        "#);
    }

    #[test]
    fn the_buckets_of_a_histogram_are_cumulative_and_end_with_all_samples() {
        let page = page(facts());
        let buckets: Vec<_> =
            page.lines().filter_map(|line| line.strip_prefix("loadgen_response_seconds_bucket")).collect();
        insta::assert_snapshot!(buckets.join("\n"), @r#"
        {le="0.00001"} 1
        {le="0.000015"} 2
        {le="0.00002"} 2
        {le="0.00003"} 2
        {le="0.00005"} 2
        {le="0.00007"} 2
        {le="0.0001"} 2
        {le="0.00015"} 2
        {le="0.0002"} 2
        {le="0.0003"} 2
        {le="0.0005"} 2
        {le="0.0007"} 2
        {le="0.001"} 2
        {le="0.0015"} 2
        {le="0.002"} 2
        {le="0.003"} 2
        {le="0.005"} 2
        {le="0.007"} 2
        {le="0.01"} 2
        {le="0.015"} 2
        {le="0.02"} 2
        {le="0.03"} 3
        {le="0.05"} 3
        {le="0.07"} 3
        {le="0.1"} 3
        {le="0.15"} 3
        {le="0.2"} 3
        {le="0.3"} 3
        {le="0.5"} 3
        {le="0.7"} 3
        {le="1.0"} 3
        {le="1.5"} 3
        {le="2.0"} 3
        {le="3.0"} 3
        {le="5.0"} 3
        {le="7.0"} 3
        {le="10.0"} 3
        {le="+Inf"} 4
        "#);
    }

    #[test]
    fn a_closed_loop_offers_no_rate_and_is_never_late() {
        let page = page(Facts { rate_per_s: None, against: ("mode", "event-loop".to_owned()), ..facts() });
        assert!(page.contains("loop=\"closed\",mode=\"event-loop\"} 1\n"), "{page}");
        assert!(!page.contains("offered") && !page.contains("schedule_lag"), "{page}");
    }
}
