//! The published state of a run, and its text.

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
    facts::Facts,
    families,
    page::Page,
    snapshot::{Phase, Snapshot, Totals},
};

/// The prefix of all metric names.
const PREFIX: &str = "loadgen";

/// The published state of a run.
#[derive(Debug)]
pub(super) struct Exposition {
    facts: Facts,
    /// The thread that gathers and that of the endpoint hold the lock only to copy. Load threads never take it.
    snapshot: Mutex<Snapshot>,
}

/// A registry with this exposition alone.
pub(super) fn registry(exposition: &Arc<Exposition>) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(exposition.clone()));
    registry
}

/// The current metrics as text.
pub(super) fn render(registry: &Registry) -> String {
    let mut text = String::new();
    text::encode_registry(&mut text, registry).expect("writing into memory does not fail");
    text
}

impl Exposition {
    /// The state before the run.
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

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.snapshot().clone();
        families::write(&mut Page(encoder), &self.facts, &snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{failure::Failure, recording::Recording};

    fn facts() -> Facts {
        Facts {
            against: ("targets", "localhost:8080,unix:/run/\"odd\\name\"".to_owned()),
            connections: 500,
            rate_per_s: Some(20_000.0),
            tls: false,
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
        recording.counts.bytes_sent = 266;
        recording.counts.bytes_received = 256;
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
    fn every_metric_has_a_name_a_help_text_and_a_type() {
        let page = page(facts());
        let without_buckets: Vec<_> = page.lines().filter(|line| !line.contains("_bucket{")).collect();
        insta::assert_snapshot!(without_buckets.join("\n"), @r#"
        # HELP loadgen_info The run. Counters and histograms are updated at the end of each interval.
        # TYPE loadgen_info gauge
        loadgen_info{version="0.1.0",loop="open",targets="localhost:8080,unix:/run/\"odd\\name\""} 1
        # HELP loadgen_connections_configured Clients, each with its own connection.
        # TYPE loadgen_connections_configured gauge
        loadgen_connections_configured 500
        # HELP loadgen_offered_requests_per_second Requests that become due per second, of all clients together; with --stages, the mean over the window. Open loop only.
        # TYPE loadgen_offered_requests_per_second gauge
        loadgen_offered_requests_per_second 20000.0
        # HELP loadgen_phase Phase of the run: 1 for the current phase, 0 for the others.
        # TYPE loadgen_phase gauge
        loadgen_phase{phase="connecting"} 0
        loadgen_phase{phase="warm_up"} 0
        loadgen_phase{phase="measuring"} 1
        loadgen_phase{phase="grace"} 0
        loadgen_phase{phase="ended"} 0
        # HELP loadgen_requests_total Requests that were due in the measured window, by result: completed (with the expected reply), failed, unsent, or cut off by the end of the run before their timeout.
        # TYPE loadgen_requests_total counter
        loadgen_requests_total{result="completed"} 4
        loadgen_requests_total{result="failed"} 1
        loadgen_requests_total{result="unsent"} 2
        loadgen_requests_total{result="cut_off"} 0
        # HELP loadgen_replies_total Replies that were complete in the measured window, whenever their requests were due: the achieved rate.
        # TYPE loadgen_replies_total counter
        loadgen_replies_total 3
        # HELP loadgen_errors_total Failures of the whole run, by kind: failed requests, and failed connections without a request.
        # TYPE loadgen_errors_total counter
        loadgen_errors_total{kind="connect_refused"} 0
        loadgen_errors_total{kind="connect_timeout"} 0
        loadgen_errors_total{kind="connect_other"} 0
        loadgen_errors_total{kind="no_local_port"} 0
        loadgen_errors_total{kind="tls"} 0
        loadgen_errors_total{kind="timeout"} 1
        loadgen_errors_total{kind="reset"} 0
        loadgen_errors_total{kind="closed"} 0
        loadgen_errors_total{kind="broken"} 0
        loadgen_errors_total{kind="mismatch"} 0
        loadgen_errors_total{kind="unexpected"} 0
        loadgen_errors_total{kind="abandoned"} 0
        loadgen_errors_total{kind="unsent"} 0
        # HELP loadgen_sent_bytes_total Bytes sent for requests that were due in the measured window.
        # TYPE loadgen_sent_bytes_total counter
        loadgen_sent_bytes_total 266
        # HELP loadgen_received_bytes_total Bytes received for these requests.
        # TYPE loadgen_received_bytes_total counter
        loadgen_received_bytes_total 256
        # HELP loadgen_connections_established_total Connections established in the whole run.
        # TYPE loadgen_connections_established_total counter
        loadgen_connections_established_total 1
        # HELP loadgen_connections_lost_total Connections lost to a failure since the start of the measured window.
        # TYPE loadgen_connections_lost_total counter
        loadgen_connections_lost_total 1
        # HELP loadgen_response_seconds Time from the moment when a request was due, in the measured window, to its complete reply. Requests without a reply count as slower than all others: they are in the last bucket, and not in the sum.
        # TYPE loadgen_response_seconds histogram
        loadgen_response_seconds_sum 20.03184488
        loadgen_response_seconds_count 7
        # HELP loadgen_service_seconds Time from the write of a request, due in the measured window, to its complete reply.
        # TYPE loadgen_service_seconds histogram
        loadgen_service_seconds_sum 0.0
        loadgen_service_seconds_count 0
        # HELP loadgen_schedule_lag_seconds Time from the moment when a request was due, in the measured window, to its write: the delay of the load generator. Open loop only.
        # TYPE loadgen_schedule_lag_seconds histogram
        loadgen_schedule_lag_seconds_sum 0.0
        loadgen_schedule_lag_seconds_count 0
        # HELP loadgen_connect_seconds Time to establish a connection, over the whole run.
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
        {le="+Inf"} 7
        "#);
    }

    #[test]
    fn a_closed_loop_has_no_offered_rate_and_no_schedule_lag() {
        let page = page(Facts { rate_per_s: None, against: ("mode", "event-loop".to_owned()), ..facts() });
        assert!(page.contains("loop=\"closed\",mode=\"event-loop\"} 1\n"), "{page}");
        assert!(!page.contains("offered") && !page.contains("schedule_lag"), "{page}");
    }
}
