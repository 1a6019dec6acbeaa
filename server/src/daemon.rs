//! The process: its configuration and limits, the state that all connections share, and the shutdown.

pub(crate) mod activation;
pub(crate) mod coarse_clock;
pub(crate) mod config;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod notify;
pub(crate) mod service;
pub(crate) mod setup;
pub(crate) mod shutdown;
pub(crate) mod takeover;
pub(crate) mod watchdog;
pub(crate) mod workers;
