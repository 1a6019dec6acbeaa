//! The metrics that every exporter has of its process, with the names of Prometheus's client libraries.

use std::fmt;

use procfs::{
    ProcResult, WithCurrentSystemInfo,
    process::{LimitValue, Process},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

/// The metrics with the prefix `process_`.
#[derive(Debug)]
pub(super) struct ProcessFamilies;

/// The values of this process.
struct Values {
    cpu_s: f64,
    start_s: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    open_files: u64,
    open_files_max: Option<u64>,
}

impl Values {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let open_files_max = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(files) => Some(files),
            LimitValue::Unlimited => None,
        };
        let ticks = procfs::ticks_per_second() as f64;
        Ok(Self {
            cpu_s: (stat.utime + stat.stime) as f64 / ticks,
            start_s: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
            resident_bytes: stat.rss_bytes().get(),
            virtual_bytes: stat.vsize,
            threads: stat.num_threads.unsigned_abs(),
            open_files: process.fd_count()? as u64,
            open_files_max,
        })
    }
}

impl Collector for ProcessFamilies {
    /// Writes nothing if the values cannot be read: /proc may not be mounted.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(values) = Values::read() else { return Ok(()) };
        encoder
            .encode_descriptor(
                "process_cpu_seconds",
                "CPU time used, in seconds.",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&values.cpu_s, None)?;
        let mut gauge = |name, help, value: f64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("process_start_time_seconds", "Start time, in seconds since the Unix epoch.", values.start_s)?;
        gauge("process_resident_memory_bytes", "Resident memory.", values.resident_bytes as f64)?;
        gauge("process_virtual_memory_bytes", "Virtual memory.", values.virtual_bytes as f64)?;
        gauge("process_threads", "Threads.", values.threads as f64)?;
        gauge("process_open_fds", "Open descriptors.", values.open_files as f64)?;
        match values.open_files_max {
            Some(max) => gauge("process_max_fds", "The soft limit on open descriptors.", max as f64),
            None => Ok(()),
        }
    }
}
