//! The outstanding requests of a client, and the progress of their writes and replies. Pure.

use std::{num::NonZeroU64, ops::RangeInclusive};

use crate::engine::bench::{LostRequest, Ready, Reply};

/// The time between the first and the last part of a reply that waited for a delayed acknowledgement. The kernel sends
/// the acknowledgement after 40 ms at the earliest (`TCP_DELACK_MIN`) and up to a timer step later. The transfer of the
/// last part adds to this time.
pub(crate) const DELAYED_ACK_NS: RangeInclusive<u64> = 38_000_000..=56_000_000;

/// The outstanding requests of a client.
///
/// Requests are numbered from 0, with `replied <= written <= begun <= replied + pipeline`: requests below `replied` have
/// their complete reply, those below `written` are written, those below `begun` are due.
#[derive(Debug)]
pub(super) struct Requests {
    /// Request `k` is at `k & (length - 1)`. The length is a power of two.
    ring: Box<[Outstanding]>,
    replied: u64,
    written: u64,
    begun: u64,
    /// Bytes of request `written` that are written.
    request_offset: usize,
    /// Bytes of the reply to request `replied` that have arrived.
    reply_offset: usize,
    /// When the first part of the reply to request `replied` was read. None before that, and for a reply in one part.
    first_part_ns: Option<NonZeroU64>,
    /// When the reply to request `replied` was ready to be read, if the kernel says so.
    ready: Option<Ready>,
    /// The first request of the current connection.
    connection_first: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Outstanding {
    due_ns: u64,
    written_ns: u64,
    /// Bytes of the request, once it is tried to be written.
    length: u32,
}

impl Requests {
    /// At most `pipeline` requests can be outstanding.
    pub(super) fn new(pipeline: usize) -> Self {
        Self {
            ring: vec![Outstanding::default(); pipeline.next_power_of_two()].into(),
            replied: 0,
            written: 0,
            begun: 0,
            request_offset: 0,
            reply_offset: 0,
            first_part_ns: None,
            ready: None,
            connection_first: 0,
        }
    }

    /// How many are outstanding.
    #[inline]
    pub(super) fn outstanding(&self) -> u64 {
        self.begun - self.replied
    }

    /// The number of the next request to begin.
    #[inline]
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The number of the oldest outstanding request.
    #[inline]
    pub(super) fn oldest(&self) -> u64 {
        self.replied
    }

    /// When the oldest outstanding request was written.
    #[inline]
    pub(super) fn oldest_written_ns(&self) -> u64 {
        self.ring[self.index(self.replied)].written_ns
    }

    /// How many requests have begun on the current connection.
    #[inline]
    pub(super) fn begun_on_connection(&self) -> u64 {
        self.begun - self.connection_first
    }

    /// Requests from now on belong to a new connection.
    pub(super) fn connection_established(&mut self) {
        self.connection_first = self.begun;
    }

    /// The next request begins. It was due at `due_ns`.
    #[inline]
    pub(super) fn begin(&mut self, due_ns: u64) {
        let index = self.index(self.begun);
        self.ring[index].due_ns = due_ns;
        self.begun += 1;
    }

    /// Requests that are not written, or only in part.
    #[inline]
    pub(super) fn unwritten(&self) -> std::ops::Range<u64> {
        self.written..self.begun
    }

    /// Bytes of the first unwritten request that are written.
    #[inline]
    pub(super) fn request_offset(&self) -> usize {
        self.request_offset
    }

    /// The client starts to write each request that has no written byte. Calls `each` with its number and its due time.
    #[inline]
    pub(super) fn write_begins(&mut self, now_ns: u64, mut each: impl FnMut(u64, u64)) {
        let first_untouched = self.written + u64::from(self.request_offset > 0);
        for number in first_untouched..self.begun {
            let index = self.index(number);
            let request = &mut self.ring[index];
            request.written_ns = now_ns;
            each(number, request.due_ns);
        }
    }

    /// An unwritten request has this length in bytes, at least 1.
    #[inline]
    pub(super) fn set_length(&mut self, number: u64, length: usize) {
        let index = self.index(number);
        self.ring[index].length = u32::try_from(length).expect("a message has at most 64 MiB");
    }

    /// The socket took `taken` bytes of unwritten requests, whose lengths are set.
    #[inline]
    pub(super) fn bytes_written(&mut self, taken: usize) {
        self.request_offset += taken;
        while self.request_offset > 0 && self.request_offset >= self.length(self.written) {
            self.request_offset -= self.length(self.written);
            self.written += 1;
        }
    }

    /// Bytes of the oldest reply that have arrived.
    #[inline]
    pub(super) fn reply_offset(&self) -> usize {
        self.reply_offset
    }

    /// Bytes of the oldest request that are written; `usize::MAX` if all of them are.
    #[inline]
    pub(super) fn oldest_written_bytes(&self) -> usize {
        if self.replied < self.written { usize::MAX } else { self.request_offset }
    }

    /// The kernel's timestamp of the last read, if it belongs to the oldest reply.
    #[inline]
    pub(super) fn set_ready(&mut self, ready: Option<Ready>) {
        self.ready = ready;
    }

    /// `length` bytes of the oldest reply have arrived, and it goes on.
    #[inline]
    pub(super) fn part_received(&mut self, length: usize, now_ns: u64) {
        self.reply_offset += length;
        self.first_part_ns = self.first_part_ns.or(NonZeroU64::new(now_ns));
    }

    /// The oldest reply is complete, with its last `length` bytes.
    #[inline]
    pub(super) fn reply_completed(&mut self, length: usize, now_ns: u64) -> Reply {
        let Outstanding { due_ns, written_ns, length: request_bytes } = self.ring[self.index(self.replied)];
        let first_part_ns = self.first_part_ns.take();
        let is_rest_delayed =
            first_part_ns.is_some_and(|first_ns| DELAYED_ACK_NS.contains(&(now_ns - first_ns.get())));
        let bytes_received = self.reply_offset + length;
        self.replied += 1;
        self.reply_offset = 0;
        Reply {
            due_ns,
            written_ns,
            is_rest_delayed,
            ready: self.ready.take(),
            bytes_sent: request_bytes as usize,
            bytes_received,
        }
    }

    /// An outstanding request that gets no reply.
    pub(super) fn lost(&self, number: u64) -> LostRequest {
        let Outstanding { due_ns, written_ns, .. } = self.ring[self.index(number)];
        let bytes_sent = match number {
            number if number < self.written => self.length(number),
            number if number == self.written => self.request_offset,
            _ => 0,
        };
        LostRequest {
            due_ns,
            written_ns: (bytes_sent > 0).then_some(written_ns),
            bytes_sent,
            bytes_received: if number == self.replied { self.reply_offset } else { 0 },
        }
    }

    /// Removes all outstanding requests.
    pub(super) fn forget(&mut self) {
        self.replied = self.begun;
        self.written = self.begun;
        self.request_offset = 0;
        self.reply_offset = 0;
        self.first_part_ns = None;
        self.ready = None;
    }

    #[inline]
    fn length(&self, number: u64) -> usize {
        self.ring[self.index(number)].length as usize
    }

    #[inline]
    fn index(&self, number: u64) -> usize {
        number as usize & (self.ring.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_are_written_and_replied_to_in_parts() {
        let mut requests = Requests::new(3);
        requests.begin(5);
        requests.begin(6);
        requests.write_begins(7, |_, _| {});
        requests.set_length(0, 10);
        requests.set_length(1, 20);
        requests.bytes_written(14);
        assert_eq!((requests.unwritten(), requests.request_offset()), (1..2, 4));
        assert_eq!(requests.oldest_written_bytes(), usize::MAX);
        requests.part_received(3, 20);
        let reply = requests.reply_completed(7, 20 + DELAYED_ACK_NS.start());
        assert_eq!((reply.due_ns, reply.written_ns, reply.is_rest_delayed), (5, 7, true));
        assert_eq!((reply.bytes_sent, reply.bytes_received), (10, 10));
        assert_eq!((requests.outstanding(), requests.oldest_written_bytes()), (1, 4));
        let lost = requests.lost(1);
        assert_eq!((lost.due_ns, lost.bytes_sent, lost.bytes_received), (6, 4, 0));
        assert_eq!(lost.written_ns, Some(7));
        requests.forget();
        assert_eq!((requests.outstanding(), requests.oldest(), requests.unwritten()), (0, 2, 2..2));
    }

    #[test]
    fn a_request_that_is_partly_written_keeps_its_time() {
        let mut requests = Requests::new(1);
        requests.begin(5);
        requests.write_begins(7, |_, _| {});
        requests.set_length(0, 10);
        requests.bytes_written(4);
        requests.write_begins(9, |_, _| {});
        assert_eq!(requests.oldest_written_ns(), 7);
    }

    #[test]
    fn the_length_of_an_earlier_request_in_the_same_place_does_not_count() {
        let mut requests = Requests::new(1);
        requests.begin(1);
        requests.set_length(0, 3);
        requests.bytes_written(3);
        requests.reply_completed(5, 2);
        requests.begin(2);
        assert_eq!(requests.unwritten(), 1..2);
        requests.set_length(1, 30);
        assert_eq!(requests.lost(1).written_ns, None);
        requests.bytes_written(29);
        assert_eq!(requests.unwritten(), 1..2);
    }
}
