//! How a client writes due requests and checks the replies.

use rustix::io::Errno;

use super::Client;
use crate::{
    engine::{
        bench::{Bench, Ready, Reply, wire::Received},
        failure::Failure,
        link::{LinkError, Sent},
        request_log::Ending,
        timestamps,
    },
    protocol::exchange::{Awaited, Exchange, Heard, ReplyEnd},
};

impl<X: Exchange> Client<X> {
    /// Reads until the socket is drained. A read that did not fill the buffer has drained it (epoll(7), question 9),
    /// unless the connection `ended`: then an end of file or an error follows.
    #[inline]
    pub(super) fn receive(&mut self, bench: &mut Bench<X>, ended: bool) -> Result<(), Failure> {
        loop {
            let Some(link) = self.connection.link() else { return Ok(()) };
            let Received { length, is_drained, ready_at } = match bench.wire().receive(link) {
                Ok(received) => received,
                Err(LinkError::Io(Errno::AGAIN)) => return Ok(()),
                Err(LinkError::Io(Errno::INTR)) => continue,
                Err(LinkError::Closed) => return self.stream_ended(bench),
                Err(error) => return Err(bench.link_failed(error)),
            };
            let now_ns = bench.read_clock();
            self.requests.set_ready(ready_at.map(|at| {
                let unread_ns = timestamps::age_ns(at);
                Ready { at_ns: now_ns.saturating_sub(unread_ns), unread_ns }
            }));
            let received = bench.wire().lend_received();
            let outcome = self.take_replies(bench, &received[..length], now_ns);
            bench.wire().return_received(received);
            outcome?;
            if self.connection.socket().is_none() {
                return Ok(());
            }
            if self.requests.outstanding() == 0 && !self.may_begin_on_connection(bench) {
                self.renew(bench);
                return Ok(());
            }
            if is_drained && !ended {
                return Ok(());
            }
        }
    }

    /// Checks received bytes, which may hold several replies and parts of replies.
    #[inline]
    fn take_replies(&mut self, bench: &mut Bench<X>, mut bytes: &[u8], now_ns: u64) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let awaited = self.awaited();
            match bench.wire().exchange().read(&mut self.reading, awaited, bytes) {
                Ok(Heard::Partial) => {
                    self.requests.part_received(bytes.len(), now_ns);
                    return Ok(());
                }
                Ok(Heard::Complete(end)) => {
                    let (last_piece, rest) = bytes.split_at(end.length);
                    if !rest.is_empty() {
                        // If a read holds several replies, the kernel's timestamp is only that of the last one.
                        self.requests.set_ready(None);
                    }
                    self.take_reply(bench, awaited, end, last_piece, now_ns);
                    if end.closes {
                        return self.closed_by_reply(bench);
                    }
                    bytes = rest;
                }
                Err(wrong) => {
                    bench.reply_differs(|exchange| exchange.describe(awaited, wrong, bytes));
                    return Err(Failure::Mismatch);
                }
            }
        }
        Ok(())
    }

    /// The oldest reply is complete, with this last piece.
    #[inline]
    fn take_reply(
        &mut self,
        bench: &mut Bench<X>,
        awaited: Awaited,
        end: ReplyEnd,
        last_piece: &[u8],
        now_ns: u64,
    ) {
        if self.requests.outstanding() == bench.rules().pipeline {
            // The reply had arrived when the thread woke. The time until here is the generator's own lateness.
            self.free_since_ns = bench.woken_ns();
        }
        let kind = bench.wire().exchange().kind(self.number, awaited.request);
        let reply = self.requests.reply_completed(end.length, kind, now_ns);
        self.connection.replied();
        bench.log(|| {
            let ending = if end.is_expected { Ending::Replied } else { Ending::Failed(Failure::Unexpected) };
            reply.ended(awaited.client, awaited.request, ending)
        });
        if end.is_expected {
            let counted = bench.reply_verified(&reply);
            self.replies_in_window += u64::from(counted.as_reply_in_window);
            self.completed += u64::from(counted.as_completed);
        } else {
            self.count_unexpected(bench, &reply, awaited, last_piece);
        }
        self.reading = X::Reading::default();
        let is_owed = self.requests.outstanding() > 0;
        self.silence.replied(now_ns, is_owed, bench.paused_ns(), bench.window());
        self.schedule.ended(now_ns);
    }

    #[cold]
    fn count_unexpected(&mut self, bench: &mut Bench<X>, reply: &Reply, awaited: Awaited, last_piece: &[u8]) {
        let reading = &self.reading;
        let describe = |exchange: &mut X| exchange.describe_unexpected(reading, awaited, last_piece);
        self.missed += u64::from(bench.reply_unexpected(reply, describe));
    }

    /// The server has closed the connection, or will do so, after a reply that says so: that is no failure.
    #[cold]
    fn closed_by_reply(&mut self, bench: &mut Bench<X>) -> Result<(), Failure> {
        if self.requests.outstanding() > 0 {
            return Err(Failure::Closed);
        }
        self.renew(bench);
        Ok(())
    }

    /// The server has closed the connection. That may complete a reply.
    #[cold]
    fn stream_ended(&mut self, bench: &mut Bench<X>) -> Result<(), Failure> {
        let awaited = self.awaited();
        let now_ns = bench.read_clock();
        match bench.wire().exchange().end_of_stream(&mut self.reading, awaited) {
            // A reply to a part of a request would leave the rest of the request for the next connection.
            Some(end) if self.requests.outstanding() > 0 && awaited.written == usize::MAX => {
                self.take_reply(bench, awaited, end, &[], now_ns);
                self.closed_by_reply(bench)
            }
            _ => Err(bench.link_failed(LinkError::Closed)),
        }
    }

    /// The reply that the next received bytes belong to.
    #[inline]
    fn awaited(&self) -> Awaited {
        Awaited {
            client: self.number,
            request: self.requests.oldest(),
            offset: self.requests.reply_offset(),
            written: self.requests.oldest_written_bytes(),
        }
    }

    /// Begins every request that is due, up to the pipeline's limit, and writes them at once.
    #[inline]
    pub(super) fn write_due(&mut self, bench: &mut Bench<X>) -> Result<(), Failure> {
        if self.connection.is_blocked || self.connection.socket().is_none() {
            return Ok(());
        }
        let first_new = self.requests.begun();
        while self.requests.outstanding() < bench.rules().pipeline && self.may_begin_on_connection(bench) {
            let Some(due_ns) = self.schedule.peek().filter(|due_ns| bench.admits(*due_ns, self.budget))
            else {
                break;
            };
            if due_ns > bench.now_ns() {
                self.arm_due(bench, due_ns);
                break;
            }
            self.schedule.pop();
            self.budget -= u64::from(bench.request_begun(due_ns));
            self.requests.begin(due_ns);
            self.silence.reply_owed(due_ns.max(bench.last_pause_end_ns()), bench.paused_ns());
        }
        if self.requests.unwritten().is_empty() { Ok(()) } else { self.write(bench, first_new) }
    }

    /// Writes as much of the begun requests as the socket takes. Requests from `first_new` on are tried for the first
    /// time: their lateness is the generator's own.
    #[inline]
    fn write(&mut self, bench: &mut Bench<X>, first_new: u64) -> Result<(), Failure> {
        let now_ns = bench.read_clock();
        let free_since_ns = self.free_since_ns;
        let is_open_loop = bench.rules().open_loop;
        self.requests.write_begins(now_ns, |number, due_ns| {
            if number >= first_new && is_open_loop {
                bench.request_written(due_ns, now_ns - due_ns.max(free_since_ns).min(now_ns));
            }
        });
        self.arm_timeout(bench, now_ns + bench.rules().timeout_ns);
        loop {
            let unwritten = self.requests.unwritten();
            let Some(link) = self.connection.link().filter(|_| !unwritten.is_empty()) else {
                return Ok(());
            };
            let (offset, requests) = (self.requests.request_offset(), &mut self.requests);
            let sent = bench.wire().send(link, self.number, unwritten, offset, |number, length| {
                requests.set_length(number, length);
            });
            match sent {
                Ok(Sent { taken, is_short }) => {
                    self.requests.bytes_written(taken);
                    if is_short {
                        return self.connection.block(bench, self.place);
                    }
                }
                Err(LinkError::Io(Errno::AGAIN)) => return self.connection.block(bench, self.place),
                Err(LinkError::Io(Errno::INTR)) => {}
                Err(error) => return Err(bench.link_failed(error)),
            }
        }
    }

    /// The socket takes bytes again. The client stays blocked while bytes wait in the connection.
    pub(super) fn unblock(&mut self, bench: &mut Bench<X>) -> Result<(), Failure> {
        let Some(link) = self.connection.link() else { return Ok(()) };
        if link.flush().map_err(|error| bench.link_failed(error))? {
            self.connection.is_blocked = false;
            self.free_since_ns = bench.read_clock();
        }
        Ok(())
    }

    /// Whether the connection may carry another request.
    #[inline]
    fn may_begin_on_connection(&self, bench: &Bench<X>) -> bool {
        self.requests.begun_on_connection() < bench.rules().requests_per_connection
    }
}
