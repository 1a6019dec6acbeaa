//! The admission of a connection: listeners, accepting, and the limit on open connections.

pub(crate) mod accept_error;
pub(crate) mod acceptor;
pub(crate) mod access;
pub(crate) mod connection_limit;
pub(crate) mod gate;
pub(crate) mod listener;
pub(crate) mod log_limit;
pub(crate) mod per_ip;
pub(crate) mod proxy_header;
pub(crate) mod refusal;
