//! How a client writes what is due and checks what comes back.

use std::mem;

use rustix::{
    event::epoll::{self, EventFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::{Client, DELAYED_ACK_NS, NOT_OWED, Outstanding, Ready, State};
use crate::{
    bench::{BUFFER_BYTES, Bench},
    failure::Failure,
    timestamps,
};

impl Client {
    /// Reads what has come. The socket is drained when less came than there was room for (epoll(7), question 9),
    /// unless the connection `ended`: then there may be an end of file or an error to be read.
    #[inline]
    pub(super) fn receive(&mut self, bench: &mut Bench, ended: bool) -> Result<(), Failure> {
        loop {
            let State::Up(socket) = &self.state else { return Ok(()) };
            let received = match bench.rules.kernel_timestamps {
                false => recv(socket, &mut bench.received[..], RecvFlags::empty())
                    .map(|(_, length)| (length, None)),
                true => timestamps::receive(socket, &mut bench.received, &mut bench.control),
            };
            let (length, ready_at) = match received {
                Ok((0, _)) => return Err(Failure::Closed),
                Ok(received) => received,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Failure::of_transfer(error)),
            };
            let now_ns = bench.read_clock();
            // Of several replies in one read, only the last one's moment would be known.
            let alone = ready_at.filter(|_| length <= bench.messages.size() - self.reply_offset);
            self.ready = alone.map(|at| {
                let unread_ns = timestamps::age_ns(at);
                Ready { at_ns: now_ns.saturating_sub(unread_ns), unread_ns }
            });
            let received = mem::take(&mut bench.received);
            let outcome = self.take(bench, &received[..length], now_ns);
            bench.received = received;
            outcome?;
            if self.replied == self.begun && self.replied - self.connection_first >= self.requests_here(bench)
            {
                self.renew(bench);
                return Ok(());
            }
            if length < BUFFER_BYTES && !ended {
                return Ok(());
            }
        }
    }

    /// Checks received bytes, which may hold several replies and parts of some.
    #[inline]
    fn take(&mut self, bench: &mut Bench, mut bytes: &[u8], now_ns: u64) -> Result<(), Failure> {
        let size = bench.messages.size();
        while !bytes.is_empty() {
            // A reply cannot be longer than what has been written of its request.
            let limit = if self.replied < self.written { size } else { self.request_offset };
            let (part, rest) = bytes.split_at(bytes.len().min(limit - self.reply_offset));
            if part.is_empty() {
                if bench.mismatch.is_none() {
                    bench.mismatch =
                        Some(bench.messages.describe_unsolicited(self.number, self.replied, bytes));
                }
                return Err(Failure::Mismatch);
            }
            if let Err(wrong) = bench.messages.check(self.number, self.replied, self.reply_offset, part) {
                if bench.mismatch.is_none() {
                    let got = &bytes[wrong - self.reply_offset..];
                    bench.mismatch = Some(bench.messages.describe(self.number, self.replied, wrong, got));
                }
                return Err(Failure::Mismatch);
            }
            self.reply_offset += part.len();
            if self.reply_offset == size {
                self.complete(bench, now_ns);
            } else if self.first_part_ns == 0 {
                self.first_part_ns = now_ns;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The oldest outstanding request's reply is complete.
    #[inline]
    fn complete(&mut self, bench: &mut Bench, now_ns: u64) {
        let Outstanding { due_ns, written_ns } = *self.oldest();
        if self.begun - self.replied == bench.rules.pipeline {
            // The reply was there when the thread woke. What it did before it came to this one is its own lateness.
            self.free_since_ns = bench.woken_ns;
        }
        self.replied += 1;
        self.reply_offset = 0;
        self.attempts_failed = 0;
        bench.note_stall(now_ns);
        let recording = &mut *bench.recording;
        if bench.window.contains(due_ns) {
            bench.pending -= 1;
            self.completed += 1;
            recording.counts.completed += 1;
            recording.response.record(now_ns - due_ns);
            if self.first_part_ns > 0 && DELAYED_ACK_NS.contains(&(now_ns - self.first_part_ns)) {
                recording.counts.delayed_rests += 1;
            }
            recording.service.record(now_ns.saturating_sub(written_ns));
            recording.due_to_written.record(written_ns.saturating_sub(due_ns));
            if let Some(Ready { at_ns, unread_ns }) = self.ready {
                recording.written_to_ready.record(at_ns.saturating_sub(written_ns));
                recording.ready_to_read.record(unread_ns);
            }
        }
        self.ready = None;
        self.first_part_ns = 0;
        if bench.window.contains(now_ns) {
            recording.counts.replies_in_window += 1;
            self.replies_in_window += 1;
        }
        self.note_silence(bench, now_ns);
        self.owed_since_ns = if self.replied < self.begun { now_ns } else { NOT_OWED };
        self.last_reply_ns = now_ns;
        self.schedule.ended(now_ns);
    }

    #[inline]
    pub(super) fn note_silence(&mut self, bench: &Bench, until_ns: u64) {
        let silence_ns = bench.window.overlap_ns(self.owed_since_ns, until_ns);
        self.silence_ns_max = self.silence_ns_max.max(silence_ns);
    }

    /// Begins every request that is due and has a place, and writes them at once.
    #[inline]
    pub(super) fn write_due(&mut self, bench: &mut Bench) -> Result<(), Failure> {
        if self.blocked || !matches!(self.state, State::Up(_)) {
            return Ok(());
        }
        let first_new = self.begun;
        while self.begun - self.replied < bench.rules.pipeline
            && self.begun - self.connection_first < self.requests_here(bench)
        {
            let Some(due_ns) = self.schedule.peek().filter(|due_ns| bench.admits(*due_ns)) else { break };
            if due_ns > bench.now_ns {
                self.arm_due(bench, due_ns);
                break;
            }
            self.schedule.pop();
            bench.begin(due_ns);
            self.ring[self.begun as usize & (self.ring.len() - 1)].due_ns = due_ns;
            self.begun += 1;
            if self.owed_since_ns == NOT_OWED {
                self.owed_since_ns = due_ns.max(self.last_reply_ns);
            }
        }
        if self.written < self.begun { self.write(bench, first_new) } else { Ok(()) }
    }

    /// Writes what was begun, as far as the socket takes it. Requests from `first_new` on are tried for the
    /// first time: how late they are is the generator's own lateness.
    #[inline]
    fn write(&mut self, bench: &mut Bench, first_new: u64) -> Result<(), Failure> {
        let now_ns = bench.read_clock();
        let first_untouched = self.written + u64::from(self.request_offset > 0);
        for number in first_untouched..self.begun {
            let mask = self.ring.len() - 1;
            let request = &mut self.ring[number as usize & mask];
            request.written_ns = now_ns;
            if number >= first_new && bench.rules.open_loop && bench.window.contains(request.due_ns) {
                let lag_ns = now_ns - request.due_ns.max(self.free_since_ns).min(now_ns);
                bench.recording.schedule_lag.record(lag_ns);
            }
        }
        if !self.timeout_armed {
            self.arm_timeout(bench, now_ns + bench.rules.timeout_ns);
        }
        let size = bench.messages.size();
        while self.written < self.begun {
            let State::Up(socket) = &self.state else { return Ok(()) };
            let bytes = if self.begun - self.written == 1 || size > BUFFER_BYTES / 2 {
                &bench.messages.request(self.number, self.written)[self.request_offset..]
            } else {
                bench.batch.clear();
                for number in self.written..self.begun.min(self.written + (BUFFER_BYTES / size) as u64) {
                    bench.batch.extend_from_slice(bench.messages.request(self.number, number));
                }
                &bench.batch[self.request_offset..]
            };
            let length = bytes.len();
            match send(socket, bytes, SendFlags::NOSIGNAL) {
                Ok(taken) => {
                    self.request_offset += taken;
                    self.written += (self.request_offset / size) as u64;
                    self.request_offset %= size;
                    if taken < length {
                        return self.await_writable(bench);
                    }
                }
                Err(Errno::AGAIN) => return self.await_writable(bench),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Failure::of_transfer(error)),
            }
        }
        Ok(())
    }

    fn await_writable(&mut self, bench: &mut Bench) -> Result<(), Failure> {
        self.blocked = true;
        let State::Up(socket) = &self.state else { return Ok(()) };
        if !mem::replace(&mut self.awaits_writable, true) {
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::modify(&bench.epoll, socket, self.event_data(), flags).map_err(Failure::of_transfer)?;
        }
        Ok(())
    }

    /// How many requests this connection may carry.
    #[inline]
    pub(super) fn requests_here(&self, bench: &Bench) -> u64 {
        bench.rules.requests_per_connection
    }

    #[inline]
    pub(super) fn oldest(&self) -> &Outstanding {
        &self.ring[self.replied as usize & (self.ring.len() - 1)]
    }
}
