//! The load: its plan, its messages and the schedule of its requests. No socket.

pub(crate) mod limits;
pub(crate) mod message;
pub(crate) mod mix;
pub(crate) mod plan;
pub(crate) mod rate;
pub(crate) mod recorded;
pub(crate) mod request;
pub(crate) mod schedule;
pub(crate) mod slo;
pub(crate) mod start_at;
pub(crate) mod template;
