//! How a load is sent and recorded: load threads, their clients, and the kernel's counters.

mod bench;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod cpu_quota;
pub(crate) mod error;
pub(crate) mod failure;
pub(crate) mod interruption;
pub(crate) mod latency;
pub(crate) mod link;
pub(crate) mod notice;
pub(crate) mod pauses;
mod poller;
pub(crate) mod probes;
pub(crate) mod recording;
pub(crate) mod request_log;
pub(crate) mod scheduling;
pub(crate) mod slice;
pub(crate) mod socket;
pub(crate) mod sources;
mod timers;
mod timestamps;
pub(crate) mod tls;
pub(crate) mod wall_clock;
pub(crate) mod window;
pub(crate) mod worker;
