//! What the echo server and its load generator must agree on: how an address, a duration and a count are
//! written, how the open-files limit is raised, how a program logs and how it is told to stop.

pub mod address;
pub mod generate;
pub mod limits;
pub mod log;
pub mod signal;
pub mod units;

pub use address::Address;
