//! The load: its plan, and the times at which requests are due. No socket.

pub(crate) mod abort;
pub(crate) mod clients;
pub(crate) mod limits;
pub(crate) mod part;
pub(crate) mod plan;
pub(crate) mod rate;
pub(crate) mod request;
pub(crate) mod schedule;
pub(crate) mod slo;
pub(crate) mod stages;
pub(crate) mod start_at;
#[cfg(test)]
mod texts;
pub(crate) mod tls;
pub(crate) mod until;
