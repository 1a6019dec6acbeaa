//! A client's connection: attempts, further source addresses, and the wait after a failure.

use std::{mem, os::fd::OwnedFd};

use rustix::io::Errno;

use super::Client;
use crate::{
    engine::{
        bench::Bench,
        failure::Failure,
        link::{Link, tls::TlsLink},
        poller::Interest,
        socket::Attempt,
        timers::Wake,
        tls::TlsClient,
    },
    protocol::{exchange::Exchange, random::mix},
};

/// The longest wait after the first failure. It doubles with each further one.
const BACKOFF_NS_MIN: u64 = 10_000_000;
/// The longest wait between two attempts.
const BACKOFF_NS_MAX: u64 = 1_000_000_000;
/// The wait before the next attempt if the backlog of a unix socket is full: the kernel reports no event for it.
const BACKLOG_RETRY_NS: u64 = 1_000_000;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) state: State,
    /// The index of the target.
    target: u32,
    /// The number of the source address.
    source: u8,
    /// Its TLS, with the client's own sessions. None: without TLS.
    tls: Option<Box<TlsClient>>,
    /// The last write was short, and the socket has not become writable since.
    pub(super) is_blocked: bool,
    /// The poller reports when the socket becomes writable.
    is_writable_watched: bool,
    timeout_armed: bool,
    /// The client's first attempt has ended.
    is_attempted: bool,
    /// The current attempt waits for room in the backlog of a unix socket.
    is_backlog_full: bool,
    /// Failures since the last reply.
    failures: u32,
    /// When the current attempt began.
    attempt_since_ns: u64,
}

#[derive(Debug)]
pub(super) enum State {
    Down,
    Connecting(OwnedFd),
    /// The socket is connected, since this moment, and the TLS handshake is not over.
    Handshaking(Box<TlsLink>, u64),
    Up(Link),
}

impl Connection {
    pub(super) fn new(target: u32, source: u8, tls: Option<TlsClient>) -> Self {
        Self {
            state: State::Down,
            target,
            source,
            tls: tls.map(Box::new),
            is_blocked: false,
            is_writable_watched: false,
            timeout_armed: false,
            is_attempted: false,
            is_backlog_full: false,
            failures: 0,
            attempt_since_ns: 0,
        }
    }

    /// The socket, if the connection is established.
    #[inline]
    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        match &self.state {
            State::Up(link) => Some(link.socket()),
            State::Down | State::Connecting(_) | State::Handshaking(..) => None,
        }
    }

    /// The connection, if it is established.
    #[inline]
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Up(link) => Some(link),
            State::Down | State::Connecting(_) | State::Handshaking(..) => None,
        }
    }

    /// When the current attempt began.
    pub(super) fn attempt_since_ns(&self) -> u64 {
        self.attempt_since_ns
    }

    /// The client has no further use for the connection.
    pub(super) fn close(&mut self) {
        if let State::Up(mut link) = mem::replace(&mut self.state, State::Down) {
            link.close();
        }
    }

    /// The server replies. The next failure counts as the first one again.
    #[inline]
    pub(super) fn replied(&mut self) {
        self.failures = 0;
    }

    /// The last write was short. The thread wakes when the socket becomes writable again.
    pub(super) fn block<X: Exchange>(&mut self, bench: &Bench<X>, place: u32) -> Result<(), Failure> {
        self.is_blocked = true;
        let State::Up(link) = &self.state else { return Ok(()) };
        if !mem::replace(&mut self.is_writable_watched, true) {
            let poller = bench.poller();
            poller
                .modify(link.socket(), place.into(), Interest::ReadableAndWritable)
                .map_err(Failure::of_transfer)?;
        }
        Ok(())
    }

    /// The ports of the source address are used up. Takes the next address, if there is one.
    fn take_next_source<X: Exchange>(&mut self, bench: &Bench<X>) -> bool {
        let has_next = bench.has_source(self.target, u64::from(self.source) + 1);
        self.source += u8::from(has_next);
        has_next
    }

    fn deadline_ns<X: Exchange>(&self, bench: &Bench<X>) -> u64 {
        self.attempt_since_ns + bench.rules().connect_timeout_ns
    }

    fn first_attempt_ended<X: Exchange>(&mut self, bench: &mut Bench<X>) {
        if !mem::replace(&mut self.is_attempted, true) {
            bench.connections_mut().first_attempt_ended();
        }
    }
}

impl<X: Exchange> Client<X> {
    /// Begins to connect.
    pub(crate) fn connect(&mut self, bench: &mut Bench<X>) {
        let now_ns = bench.read_clock();
        if !mem::take(&mut self.connection.is_backlog_full) {
            self.connection.attempt_since_ns = now_ns;
        }
        self.attempt(bench);
    }

    fn attempt(&mut self, bench: &mut Bench<X>) {
        let deadline_ns = self.connection.deadline_ns(bench);
        match bench.connect(self.connection.target, self.connection.source) {
            // A unix socket. It is watched for becoming writable only after it was full.
            Ok(Attempt::Connected(socket)) => {
                let interest = match self.connection.tls {
                    None => Interest::Readable,
                    Some(_) => Interest::ReadableAndWritable,
                };
                if self.attempt_begun(bench, socket, interest) {
                    self.connected(bench);
                }
            }
            // The socket stays registered for both: TCP reports that it is writable only after it was full.
            Ok(Attempt::InProgress(socket)) => {
                if self.attempt_begun(bench, socket, Interest::ReadableAndWritable) {
                    self.arm_connect_timeout(bench, deadline_ns);
                }
            }
            Err(Errno::ADDRNOTAVAIL) if self.connection.take_next_source(bench) => self.attempt(bench),
            Err(Errno::AGAIN) if bench.now_ns() < deadline_ns => {
                self.connection.is_backlog_full = true;
                bench.wake(bench.now_ns() + BACKLOG_RETRY_NS, self.place, Wake::Reconnect);
            }
            Err(Errno::AGAIN) => self.attempt_failed(bench, Errno::TIMEDOUT),
            Err(error) => self.attempt_failed(bench, error),
        }
    }

    /// Watches the socket of a new attempt. Returns false if that fails.
    fn attempt_begun(&mut self, bench: &mut Bench<X>, socket: OwnedFd, interest: Interest) -> bool {
        self.connection.is_writable_watched = matches!(interest, Interest::ReadableAndWritable);
        match bench.watch(&socket, self.place, interest) {
            Ok(()) => {
                self.connection.state = State::Connecting(socket);
                bench.connections_mut().attempt_begun();
                true
            }
            Err(error) => {
                self.attempt_failed(bench, error);
                false
            }
        }
    }

    pub(super) fn connected(&mut self, bench: &mut Bench<X>) {
        let connection = &mut self.connection;
        let State::Connecting(socket) = mem::replace(&mut connection.state, State::Down) else { return };
        let now_ns = bench.read_clock();
        if let Some(client) = connection.tls.as_deref().cloned() {
            return self.begin_handshake(bench, socket, client, now_ns);
        }
        bench.connection_established(now_ns - connection.attempt_since_ns);
        self.established(bench, Link::Plain(socket), now_ns);
        self.carry_on(bench, Ok(()));
    }

    /// The connection is ready for requests.
    pub(super) fn established(&mut self, bench: &mut Bench<X>, link: Link, now_ns: u64) {
        let connection = &mut self.connection;
        connection.state = State::Up(link);
        bench.connections_mut().attempt_ended();
        connection.first_attempt_ended(bench);
        connection.is_blocked = false;
        self.free_since_ns = now_ns;
        self.requests.connection_established();
    }

    pub(super) fn connect_failed(&mut self, bench: &mut Bench<X>, error: Errno) {
        self.connection.state = State::Down;
        bench.connections_mut().attempt_ended();
        self.attempt_failed(bench, error);
    }

    fn attempt_failed(&mut self, bench: &mut Bench<X>, error: Errno) {
        bench.connection_attempt_failed(error);
        self.attempt_over(bench);
    }

    /// An attempt has failed, and its failure is counted.
    pub(super) fn attempt_over(&mut self, bench: &mut Bench<X>) {
        self.connection.first_attempt_ended(bench);
        self.back_off(bench);
    }

    /// The timer of a connection attempt has run out.
    pub(super) fn on_connect_timeout(&mut self, bench: &mut Bench<X>) {
        self.connection.timeout_armed = false;
        if matches!(self.connection.state, State::Connecting(_) | State::Handshaking(..)) {
            let deadline_ns = self.connection.deadline_ns(bench);
            if deadline_ns <= bench.now_ns() {
                self.connect_failed(bench, Errno::TIMEDOUT);
            } else {
                self.arm_connect_timeout(bench, deadline_ns);
            }
        }
    }

    /// Waits before the next attempt, exponentially longer after each failure. The jitter, from half to the whole of that
    /// time, spreads clients that failed together.
    pub(super) fn back_off(&mut self, bench: &mut Bench<X>) {
        let failures = self.connection.failures;
        let longest_ns = BACKOFF_NS_MIN.saturating_mul(1 << failures.min(16)).min(BACKOFF_NS_MAX);
        let number = u64::from(self.number) << 32 | u64::from(failures);
        let wait_ns = longest_ns / 2 + mix(bench.rules().seed, number) % (longest_ns / 2);
        self.connection.failures = failures.saturating_add(1);
        bench.wake(bench.now_ns() + wait_ns, self.place, Wake::Reconnect);
    }

    /// The connection has served its requests. The client makes a new one at once.
    pub(super) fn renew(&mut self, bench: &mut Bench<X>) {
        self.connection.close();
        bench.connections_mut().closed();
        bench.connections_mut().push(self.place);
    }

    /// The connect timeout also limits the handshake.
    pub(super) fn limit_attempt(&mut self, bench: &mut Bench<X>) {
        let deadline_ns = self.connection.deadline_ns(bench);
        self.arm_connect_timeout(bench, deadline_ns);
    }

    fn arm_connect_timeout(&mut self, bench: &mut Bench<X>, at_ns: u64) {
        if !mem::replace(&mut self.connection.timeout_armed, true) {
            bench.wake(at_ns, self.place, Wake::ConnectTimeout);
        }
    }
}
