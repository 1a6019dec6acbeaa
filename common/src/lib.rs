//! The code that the echo server and its load generator share: addresses, durations and counts, the open-files limit, logs,
//! signals, usage errors, help texts, man pages, completions, and the HTTP server for metrics.

pub mod address;
pub mod generate;
pub mod http;
pub mod human;
pub mod limits;
pub mod log;
pub mod manual;
pub mod signal;
pub mod units;
pub mod usage;

pub use address::Address;
