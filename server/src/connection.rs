//! One connection: its echo, its simulated work, its deadlines and its end.

pub(crate) mod deadlines;
pub(crate) mod echo;
pub(crate) mod grace;
pub(crate) mod moment;
mod outbox;
pub(crate) mod readiness;
pub(crate) mod session;
pub(crate) mod work;
