//! How a client gets its connection: attempts, further source addresses, and waiting after a failure.

use std::mem;

use rustix::{
    event::epoll::{self, EventFlags},
    io::Errno,
};

use super::{Client, State};
use crate::{
    bench::Bench, failure::Failure, limits::SOURCES_MAX, schedule::mix, socket::Attempt, timers::Wake,
};

/// After the first failure a client waits so long, and twice as long after each further one.
const BACKOFF_NS_MIN: u64 = 10_000_000;
/// The longest wait between two attempts.
const BACKOFF_NS_MAX: u64 = 1_000_000_000;
/// A unix socket's full backlog is tried again after so long: there is nothing to wait for.
const BACKLOG_RETRY_NS: u64 = 1_000_000;
impl Client {
    /// Begins to connect.
    pub fn connect(&mut self, bench: &mut Bench) {
        let now_ns = bench.read_clock();
        if !mem::take(&mut self.backlog_was_full) {
            self.connecting_since_ns = now_ns;
        }
        self.attempt(bench);
    }

    fn attempt(&mut self, bench: &mut Bench) {
        match bench.targets[self.target].connect(self.source, bench.rules.kernel_timestamps) {
            Ok(Attempt::Connected(socket)) => {
                // A unix socket, which need not be watched for becoming writable until it is full.
                let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
                self.awaits_writable = false;
                match epoll::add(&bench.epoll, &socket, self.event_data(), flags) {
                    Ok(()) => {
                        self.state = State::Connecting(socket);
                        bench.connecting += 1;
                        self.connected(bench);
                    }
                    Err(error) => self.attempt_failed(bench, error),
                }
            }
            Ok(Attempt::UnderWay(socket)) => {
                // Stays registered for both: TCP reports "writable" by itself only after it was full.
                let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                self.awaits_writable = true;
                match epoll::add(&bench.epoll, &socket, self.event_data(), flags) {
                    Ok(()) => {
                        self.state = State::Connecting(socket);
                        bench.connecting += 1;
                        let deadline_ns = self.connecting_since_ns + bench.rules.connect_timeout_ns;
                        self.arm_connect_timeout(bench, deadline_ns);
                    }
                    Err(error) => self.attempt_failed(bench, error),
                }
            }
            Err(Errno::ADDRNOTAVAIL) if self.take_next_source(bench) => self.attempt(bench),
            Err(Errno::AGAIN) if !self.attempt_is_over(bench) => {
                self.backlog_was_full = true;
                bench.timers.wake(bench.now_ns + BACKLOG_RETRY_NS, self.place, Wake::Reconnect);
            }
            Err(Errno::AGAIN) => self.attempt_failed(bench, Errno::TIMEDOUT),
            Err(error) => self.attempt_failed(bench, error),
        }
    }

    /// The ports of this source address are used up; on the loopback network there are others.
    fn take_next_source(&mut self, bench: &Bench) -> bool {
        let another = bench.targets[self.target].is_loopback_v4() && u64::from(self.source) + 1 < SOURCES_MAX;
        self.source += u8::from(another);
        another
    }

    /// Whether the attempt has lasted too long.
    fn attempt_is_over(&self, bench: &Bench) -> bool {
        bench.now_ns >= self.connecting_since_ns + bench.rules.connect_timeout_ns
    }

    pub(super) fn connected(&mut self, bench: &mut Bench) {
        let State::Connecting(socket) = mem::replace(&mut self.state, State::Down) else { return };
        let now_ns = bench.read_clock();
        self.state = State::Up(socket);
        bench.connecting -= 1;
        bench.connected += 1;
        bench.recording.connect.record(now_ns - self.connecting_since_ns);
        self.attempt_ended(bench);
        self.blocked = false;
        self.free_since_ns = now_ns;
        self.connection_first = self.begun;
        self.carry_on(bench, Ok(()));
    }

    pub(super) fn connect_failed(&mut self, bench: &mut Bench, error: Errno) {
        self.state = State::Down;
        bench.connecting -= 1;
        self.attempt_failed(bench, error);
    }

    fn attempt_failed(&mut self, bench: &mut Bench, error: Errno) {
        bench.connect_error = Some(error);
        bench.recording.failures.add(Failure::of_connect(error), 1);
        self.attempt_ended(bench);
        self.back_off(bench);
    }

    fn attempt_ended(&mut self, bench: &mut Bench) {
        if !mem::replace(&mut self.attempted, true) {
            bench.unattempted -= 1;
        }
    }

    /// Waits exponentially longer after each failure, from half to the whole of that time, so that clients that
    /// failed together do not come back together.
    pub(super) fn back_off(&mut self, bench: &mut Bench) {
        let longest_ns = BACKOFF_NS_MIN.saturating_mul(1 << self.attempts_failed.min(16)).min(BACKOFF_NS_MAX);
        let number = u64::from(self.number) << 32 | u64::from(self.attempts_failed);
        let wait_ns = longest_ns / 2 + mix(bench.rules.seed, number) % (longest_ns / 2);
        self.attempts_failed = self.attempts_failed.saturating_add(1);
        bench.timers.wake(bench.now_ns + wait_ns, self.place, Wake::Reconnect);
    }

    /// This connection has served its requests; the client makes a new one at once.
    pub(super) fn renew(&mut self, bench: &mut Bench) {
        self.state = State::Down;
        bench.connected -= 1;
        bench.to_connect.push_back(self.place);
    }
}
