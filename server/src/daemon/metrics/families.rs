//! The metrics of the server: their names, their meanings and their values.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder},
    metrics::MetricType,
    registry::Unit,
};

use crate::{
    admission::{accept_error::AcceptError, refusal::Refusal},
    daemon::{
        service::{Ended, Service},
        workers::{TURN_BOUNDS, Tally},
    },
    mode::{Mode, Threads},
};

/// All metrics with the prefix `echo_`.
#[derive(Debug)]
pub(super) struct Families {
    mode: &'static Mode,
    service: Arc<Service>,
}

impl Families {
    pub(super) fn new(mode: &'static Mode, service: Arc<Service>) -> Self {
        Self { mode, service }
    }

    /// The numbers of each worker, with its label.
    fn workers(&self, total: &Tally) -> Vec<(String, Tally)> {
        match self.mode.threads {
            Threads::Workers => {
                let each = self.service.workers.each().into_iter().enumerate();
                each.map(|(number, tally)| (number.to_string(), tally)).collect()
            }
            // A label for each of some thousand threads, most of which end soon, would be of no use.
            Threads::PerConnection => vec![("all".to_owned(), total.clone())],
        }
    }
}

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        page.describe("build", "The version of the server.", None, MetricType::Info)?.encode_info(&labels)?;
        connections(&mut page, &self.service)?;
        let total = self.service.workers.total();
        bytes(&mut page, &total)?;
        accepting(&mut page, &self.service)?;
        workers(&mut page, self.mode, &self.workers(&total))
    }
}

fn connections(page: &mut Page<'_>, service: &Service) -> fmt::Result {
    page.gauge("connections", "Open connections.", service.connections.open() as u64)?;
    page.gauge(
        "connections_max",
        "Most open connections: --max-connections, or what the limits of the system allow.",
        service.connections.max() as u64,
    )?;
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    page.counter(
        "accepted_connections",
        "Connections that were accepted and served.",
        count(&service.counters.accepted),
    )?;
    let refused = Refusal::ALL.map(|refusal| (refusal.name(), service.refusals.count(refusal)));
    page.counters("refused_connections", "Connections that were turned away.", "reason", refused)?;
    let Ended { closed, drained, idle_timeout, write_timeout, reset, failed, cut_off } =
        &service.counters.ended;
    page.counters(
        "ended_connections",
        "Connections that have ended: closed by the client, drained after the shutdown has begun, closed at a timeout, \
         reset by the client, failed with another error of the socket, or cut off at the end of the drain timeout.",
        "reason",
        [
            ("closed", count(closed)),
            ("drained", count(drained)),
            ("idle_timeout", count(idle_timeout)),
            ("write_timeout", count(write_timeout)),
            ("reset", count(reset)),
            ("failed", count(failed)),
            ("cut_off", count(cut_off)),
        ],
    )
}

fn bytes(page: &mut Page<'_>, total: &Tally) -> fmt::Result {
    page.counter("reads", "Receives that returned bytes.", total.reads)?;
    let mut bytes = |name, help, value: u64| {
        page.describe(name, help, Some(&Unit::Bytes), MetricType::Counter)?
            .encode_counter::<NoLabels, _, u64>(&value, None)
    };
    bytes("received", "Bytes received, also of open connections.", total.bytes_received)?;
    bytes("sent", "Bytes echoed, also of open connections.", total.bytes_sent)
}

fn accepting(page: &mut Page<'_>, service: &Service) -> fmt::Result {
    let errors = AcceptError::ALL.map(|error| (error.label(), service.accept_errors.count(error)));
    page.counters(
        "accept_errors",
        "Failed attempts to accept, by kind: no descriptor left in the process or in the system, no memory, or an error \
         of the connection itself.",
        "kind",
        errors,
    )?;
    page.gauge(
        "accepting_paused",
        "1 while accepting pauses because the system has run out of descriptors, memory or threads.",
        u64::from(service.accept_errors.is_paused()),
    )?;
    page.gauge(
        "draining",
        "1 from the beginning of the drain on.",
        u64::from(service.shutdown.begun().is_some()),
    )
}

fn workers(page: &mut Page<'_>, mode: &Mode, workers: &[(String, Tally)]) -> fmt::Result {
    if mode.connections_stay {
        page.workers(
            ("worker_connections", None, MetricType::Gauge),
            "Open connections of each worker. Only in modes in which a connection stays with one worker.",
            workers,
            |mut metric, tally| metric.encode_gauge(&tally.connections),
        )?;
    }
    let seconds = |ns: u64| ns as f64 / 1e9;
    page.workers(
        ("worker_busy", Some(&Unit::Seconds), MetricType::Counter),
        "Time between two waits of a worker, counted at its end. In mode io-uring, the kernel's work for a request is part of \
         the wait.",
        workers,
        |mut metric, tally| metric.encode_counter::<NoLabels, _, u64>(&seconds(tally.busy_ns), None),
    )?;
    page.workers(
        ("worker_running_turn", Some(&Unit::Seconds), MetricType::Gauge),
        "How long each worker's present turn has lasted; 0 while it waits. A worker that hangs shows here.",
        workers,
        |mut metric, tally| metric.encode_gauge(&seconds(tally.turn_ns)),
    )?;
    let bounds = TURN_BOUNDS.iter().map(|bound| bound.as_secs_f64()).chain([f64::INFINITY]);
    page.workers(
        ("worker_turn", Some(&Unit::Seconds), MetricType::Histogram),
        "Time from the end of a worker's wait to its next wait, to the kernel's tick (1 to 10 ms): a loop that was blocked \
         shows here.",
        workers,
        |mut metric, tally| {
            let buckets: Vec<_> = bounds.clone().zip(tally.turns).collect();
            let count = tally.turns.iter().sum();
            metric.encode_histogram::<NoLabels>(seconds(tally.busy_ns), count, &buckets, None)
        },
    )
}

type NoLabels = prometheus_client::encoding::NoLabelSet;

/// The text in progress.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.describe(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.describe(name, help, None, MetricType::Counter)?.encode_counter::<NoLabels, _, u64>(&value, None)
    }

    /// A metric of each worker.
    fn workers(
        &mut self,
        (name, unit, kind): (&str, Option<&Unit>, MetricType),
        help: &str,
        workers: &[(String, Tally)],
        encode: impl Fn(MetricEncoder<'_>, &Tally) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, unit, kind)?;
        workers
            .iter()
            .try_for_each(|(worker, tally)| encode(metric.encode_family(&[("worker", worker)])?, tally))
    }

    /// Counters, one for each value of a label.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, None, MetricType::Counter)?;
        values.into_iter().try_for_each(|(value, count)| {
            metric.encode_family(&[(label, value)])?.encode_counter::<NoLabels, _, u64>(&count, None)
        })
    }
}
