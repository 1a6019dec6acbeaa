//! Output during a run: progress on standard error, and metrics for Prometheus.

pub(crate) mod display;
pub(crate) mod line;
pub(crate) mod metrics;
pub(crate) mod progress;
