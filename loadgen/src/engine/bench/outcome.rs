//! The outcomes of requests, as clients report them to the bench.

use crate::engine::request_log::{EndedRequest, Ending};

/// A complete reply. All moments are readings of the run's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// When its request was due.
    pub due_ns: u64,
    /// When its request was written.
    pub written_ns: u64,
    /// Whether its last part arrived later than its first one by the time of a delayed acknowledgement.
    pub is_rest_delayed: bool,
    /// When the kernel had it ready, if that is known.
    pub ready: Option<Ready>,
    /// Bytes of its request.
    pub bytes_sent: usize,
    /// Bytes of the reply.
    pub bytes_received: usize,
}

/// When a reply was ready to be read, according to the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The moment, by the run's clock.
    pub at_ns: u64,
    /// The time from that moment until the client read the reply.
    pub unread_ns: u64,
}

/// A request that gets no reply, and how much of the exchange took place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LostRequest {
    /// When it was due.
    pub due_ns: u64,
    /// When the client began to write it. None if no byte was written.
    pub written_ns: Option<u64>,
    /// Bytes of the request that were written.
    pub bytes_sent: usize,
    /// Bytes of its reply that were received.
    pub bytes_received: usize,
}

/// The totals of the window in which a reply counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// Its request was due in the window.
    pub as_completed: bool,
    /// It was complete inside the window.
    pub as_reply_in_window: bool,
}

impl Reply {
    /// The entry of the log for its request, which has this number.
    #[inline]
    pub(crate) fn ended(&self, client: u32, request: u64, ending: Ending) -> EndedRequest {
        EndedRequest { client, request, due_ns: self.due_ns, written_ns: Some(self.written_ns), ending }
    }
}

impl LostRequest {
    /// The entry of the log for the request, which has this number.
    #[inline]
    pub(crate) fn ended(&self, client: u32, request: u64, ending: Ending) -> EndedRequest {
        EndedRequest { client, request, due_ns: self.due_ns, written_ns: self.written_ns, ending }
    }
}
