//! How a client writes due requests and checks the replies.

use rustix::io::Errno;

use super::Client;
use crate::engine::{
    bench::{Bench, Ready, wire::Received},
    failure::Failure,
    link::{LinkError, Sent},
    timestamps,
};

impl Client {
    /// Reads until the socket is drained. A read that did not fill the buffer has drained it (epoll(7), question 9),
    /// unless the connection `ended`: then an end of file or an error follows.
    #[inline]
    pub(super) fn receive(&mut self, bench: &mut Bench, ended: bool) -> Result<(), Failure> {
        loop {
            let Some(link) = self.connection.link() else { return Ok(()) };
            let Received { length, is_drained, ready_at } = match bench.wire().receive(link) {
                Ok(received) => received,
                Err(LinkError::Io(Errno::AGAIN)) => return Ok(()),
                Err(LinkError::Io(Errno::INTR)) => continue,
                Err(error) => return Err(bench.link_failed(error)),
            };
            let now_ns = bench.read_clock();
            // If a read holds several replies, the kernel's timestamp is only that of the last one.
            let is_one_reply = length <= bench.wire().size() - self.requests.reply_offset();
            let ready_at = ready_at.filter(|_| is_one_reply);
            self.requests.set_ready(ready_at.map(|at| {
                let unread_ns = timestamps::age_ns(at);
                Ready { at_ns: now_ns.saturating_sub(unread_ns), unread_ns }
            }));
            let received = bench.wire().lend_received();
            let outcome = self.check(bench, &received[..length], now_ns);
            bench.wire().return_received(received);
            outcome?;
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
    fn check(&mut self, bench: &mut Bench, mut bytes: &[u8], now_ns: u64) -> Result<(), Failure> {
        let size = bench.wire().size();
        while !bytes.is_empty() {
            let (client, number, offset) =
                (self.number, self.requests.oldest(), self.requests.reply_offset());
            let (part, rest) = bytes.split_at(bytes.len().min(self.requests.reply_bytes_expected(size)));
            if part.is_empty() {
                bench.reply_differs(|messages| messages.describe_unsolicited(client, number, bytes));
                return Err(Failure::Mismatch);
            }
            if let Err(wrong) = bench.wire().messages().check(client, number, offset, part) {
                bench.reply_differs(|messages| {
                    messages.describe(client, number, wrong, &bytes[wrong - offset..])
                });
                return Err(Failure::Mismatch);
            }
            let is_window_full = self.requests.outstanding() == bench.rules().pipeline;
            if let Some(reply) = self.requests.bytes_received(part.len(), size, now_ns) {
                if is_window_full {
                    // The reply had arrived when the thread woke. The time until here is the generator's own lateness.
                    self.free_since_ns = bench.woken_ns();
                }
                self.connection.reply_verified();
                let counted = bench.reply_verified(&reply);
                self.replies_in_window += u64::from(counted.as_reply_in_window);
                self.completed += u64::from(counted.as_completed);
                let is_owed = self.requests.outstanding() > 0;
                self.silence.replied(now_ns, is_owed, bench.paused_ns(), bench.window());
                self.schedule.ended(now_ns);
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Begins every request that is due, up to the pipeline's limit, and writes them at once.
    #[inline]
    pub(super) fn write_due(&mut self, bench: &mut Bench) -> Result<(), Failure> {
        if self.connection.is_blocked || self.connection.socket().is_none() {
            return Ok(());
        }
        let first_new = self.requests.begun();
        while self.requests.outstanding() < bench.rules().pipeline && self.may_begin_on_connection(bench) {
            let Some(due_ns) = self.schedule.peek().filter(|due_ns| bench.admits(*due_ns)) else { break };
            if due_ns > bench.now_ns() {
                self.arm_due(bench, due_ns);
                break;
            }
            self.schedule.pop();
            bench.request_begun(due_ns);
            self.requests.begin(due_ns);
            self.silence.reply_owed(due_ns.max(bench.last_pause_end_ns()), bench.paused_ns());
        }
        if self.requests.unwritten().is_empty() { Ok(()) } else { self.write(bench, first_new) }
    }

    /// Writes as much of the begun requests as the socket takes. Requests from `first_new` on are tried for the first
    /// time: their lateness is the generator's own.
    #[inline]
    fn write(&mut self, bench: &mut Bench, first_new: u64) -> Result<(), Failure> {
        let now_ns = bench.read_clock();
        let free_since_ns = self.free_since_ns;
        let is_open_loop = bench.rules().open_loop;
        self.requests.write_begins(now_ns, |number, due_ns| {
            if number >= first_new && is_open_loop {
                bench.request_written(due_ns, now_ns - due_ns.max(free_since_ns).min(now_ns));
            }
        });
        self.arm_timeout(bench, now_ns + bench.rules().timeout_ns);
        let size = bench.wire().size();
        loop {
            let unwritten = self.requests.unwritten();
            let Some(link) = self.connection.link().filter(|_| !unwritten.is_empty()) else {
                return Ok(());
            };
            match bench.wire().send(link, self.number, unwritten, self.requests.request_offset()) {
                Ok(Sent { taken, is_short }) => {
                    self.requests.bytes_written(taken, size);
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
    pub(super) fn unblock(&mut self, bench: &mut Bench) -> Result<(), Failure> {
        let Some(link) = self.connection.link() else { return Ok(()) };
        if link.flush().map_err(|error| bench.link_failed(error))? {
            self.connection.is_blocked = false;
            self.free_since_ns = bench.read_clock();
        }
        Ok(())
    }

    /// Whether the connection may carry another request.
    #[inline]
    fn may_begin_on_connection(&self, bench: &Bench) -> bool {
        self.requests.begun_on_connection() < bench.rules().requests_per_connection
    }
}
