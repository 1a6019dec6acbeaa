//! The load: its plan, its requests and replies, and the times at which requests are due. No socket.

pub(crate) mod abort;
pub(crate) mod dialogue;
pub(crate) mod exchange;
pub(crate) mod expect;
pub(crate) mod framed;
pub(crate) mod limits;
pub(crate) mod message;
pub(crate) mod mix;
pub(crate) mod plan;
pub(crate) mod protocol;
pub(crate) mod rate;
pub(crate) mod recorded;
pub(crate) mod request;
pub(crate) mod requests;
pub(crate) mod schedule;
pub(crate) mod slo;
pub(crate) mod stages;
pub(crate) mod start_at;
pub(crate) mod template;
pub(crate) mod tls;
