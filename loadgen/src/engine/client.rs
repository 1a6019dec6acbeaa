//! One client: it connects, reconnects after a failure, and has outstanding requests on its connection.

mod connection;
mod handshake;
mod requests;
mod silence;
mod transfer;

use std::mem;

use rustix::{event::epoll::EventFlags, net::sockopt};

pub(crate) use self::requests::DELAYED_ACK_NS;
use self::{
    connection::{Connection, State},
    requests::Requests,
    silence::Silence,
};
use crate::{
    engine::{bench::Bench, failure::Failure, request_log::Ending, socket, timers::Wake, tls::TlsClient},
    load::schedule::Schedule,
    protocol::exchange::Exchange,
};

/// One client.
#[derive(Debug)]
pub(crate) struct Client<X: Exchange> {
    /// The client's number in the run, which its messages carry.
    number: u32,
    /// The client's place among the clients of its thread.
    place: u32,
    connection: Connection,
    schedule: Schedule,
    /// How many requests of the window the client may still begin.
    budget: u64,
    requests: Requests,
    /// The state of the oldest reply, if a part of it has arrived.
    reading: X::Reading,
    due_armed: bool,
    timeout_armed: bool,
    /// When the client could write again after it could not.
    free_since_ns: u64,
    silence: Silence,
    /// Replies that were complete inside the window.
    replies_in_window: u64,
    /// Requests of the window with a reply.
    completed: u64,
    /// Requests of the window without a reply.
    missed: u64,
}

/// A client's part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// Replies that were complete inside the window.
    pub replies: u64,
    /// Whether the client was owed a reply at any time in the window.
    pub was_owed: bool,
    /// Requests that were due in the window and got a reply.
    pub completed: u64,
    /// The longest time in the window in which the client was owed a reply and got none.
    pub silence_ns_max: u64,
}

impl<X: Exchange> Client<X> {
    /// A client without a connection.
    pub(crate) fn new(
        number: u32,
        place: u32,
        target: u32,
        source: u8,
        pipeline: usize,
        tls: Option<TlsClient>,
    ) -> Self {
        Self {
            number,
            place,
            connection: Connection::new(target, source, tls),
            schedule: Schedule::empty(),
            budget: 0,
            requests: Requests::new(pipeline),
            reading: X::Reading::default(),
            due_armed: false,
            timeout_armed: false,
            free_since_ns: 0,
            silence: Silence::new(),
            replies_in_window: 0,
            completed: 0,
            missed: 0,
        }
    }

    /// The client's number in the run.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The load begins. The client may begin `budget` requests of the window.
    pub(crate) fn start(&mut self, schedule: Schedule, budget: u64, bench: &mut Bench<X>) {
        self.schedule = schedule;
        self.budget = budget;
        self.carry_on(bench, Ok(()));
    }

    /// The kernel reports events of the client's socket.
    #[inline]
    pub(crate) fn on_event(&mut self, flags: EventFlags, bench: &mut Bench<X>) {
        const ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
        match &self.connection.state {
            State::Up(_) => {
                let mut outcome = match self.connection.is_blocked && flags.contains(EventFlags::OUT) {
                    true => self.unblock(bench),
                    false => Ok(()),
                };
                if outcome.is_ok() && flags.intersects(EventFlags::IN | ENDED) {
                    outcome = self.receive(bench, flags.intersects(ENDED));
                }
                self.carry_on(bench, outcome);
            }
            State::Handshaking(..) => self.go_on_with_handshake(bench),
            State::Connecting(socket) => match sockopt::socket_error(socket) {
                Ok(Ok(())) if flags.contains(EventFlags::OUT) => self.connected(bench),
                Ok(Ok(())) => {}
                Ok(Err(error)) | Err(error) => self.connect_failed(bench, error),
            },
            State::Down => {}
        }
    }

    /// A timer of this client has run out.
    pub(crate) fn on_timer(&mut self, why: Wake, bench: &mut Bench<X>) {
        match why {
            Wake::Due => {
                self.due_armed = false;
                self.carry_on(bench, Ok(()));
            }
            Wake::Timeout => {
                self.timeout_armed = false;
                if self.requests.outstanding() > 0 {
                    let deadline_ns = self.requests.oldest_written_ns() + bench.rules().timeout_ns;
                    if deadline_ns <= bench.now_ns() {
                        self.fail(bench, Failure::Timeout);
                    } else {
                        self.arm_timeout(bench, deadline_ns);
                    }
                }
            }
            Wake::ConnectTimeout => self.on_connect_timeout(bench),
            Wake::Reconnect => bench.connections_mut().push(self.place),
        }
    }

    /// Whether a request that was due before the window's end has not begun.
    pub(crate) fn owes(&self, bench: &Bench<X>) -> bool {
        self.schedule.peek().is_some_and(|due_ns| bench.admits(due_ns, self.budget))
    }

    /// Segments that the client's connection has retransmitted; 0 without a connection.
    pub(crate) fn retransmissions(&self) -> u64 {
        self.connection.socket().map_or(0, socket::retransmissions)
    }

    /// The run ends now: outstanding requests are cut off, and requests that are due are never sent.
    pub(crate) fn finish(&mut self, bench: &mut Bench<X>) -> Served {
        let window = bench.window();
        let end_ns = bench.now_ns().min(window.end_ns);
        if self.owes(bench) {
            self.silence.reply_owed(self.schedule.peek().unwrap_or(end_ns), bench.paused_ns());
        }
        self.silence.ended(end_ns, bench.paused_ns(), window);
        let is_spent = bench.is_spent();
        self.cut_off(bench);
        let unsent = self.schedule.due_within(window.start_ns, end_ns).min(self.budget).min(bench.budget());
        self.missed += unsent;
        // Each of these requests was due before the window's end.
        bench.requests_unsent(unsent, bench.now_ns() - end_ns);
        self.count_unsent_kinds(bench, unsent);
        self.connection.close();
        let silence_ns_max = self.silence.longest_ns();
        Served {
            replies: self.replies_in_window,
            was_owed: self.completed + self.missed > 0 || silence_ns_max > 0 && !is_spent,
            completed: self.completed,
            silence_ns_max,
        }
    }

    /// Ends the handling of any event: writes due requests, or counts the failure and reconnects.
    #[inline]
    fn carry_on(&mut self, bench: &mut Bench<X>, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome.and_then(|()| self.write_due(bench)) {
            self.fail(bench, failure);
        }
    }

    /// The connection is lost. Every outstanding request fails.
    fn fail(&mut self, bench: &mut Bench<X>, failure: Failure) {
        bench.read_clock();
        let others = match failure {
            Failure::Timeout | Failure::Mismatch => Failure::Abandoned,
            other => other,
        };
        let is_idle = self.requests.outstanding() == 0;
        let is_before_end = bench.now_ns() < bench.window().end_ns;
        self.count_failed(bench, failure, others);
        // The server may close an idle connection after the window.
        if is_idle && (is_before_end || failure == Failure::Mismatch) {
            bench.idle_connection_failed(failure);
        }
        if matches!(mem::replace(&mut self.connection.state, State::Down), State::Up(_)) {
            bench.connection_lost(!is_idle || is_before_end);
        }
        self.back_off(bench);
    }

    /// Counts the outstanding requests as failed, the oldest one as `first`.
    fn count_failed(&mut self, bench: &mut Bench<X>, first: Failure, others: Failure) {
        let outstanding = self.requests.oldest()..self.requests.begun();
        if !outstanding.is_empty() {
            bench.stall_ended();
        }
        for number in outstanding {
            let failure = if number == self.requests.oldest() { first } else { others };
            let kind = bench.wire().exchange().kind(self.number, number);
            let lost = self.requests.lost(number, kind);
            bench.log(|| lost.ended(self.number, number, Ending::Failed(failure)));
            self.missed += u64::from(bench.request_failed(failure, lost));
            self.schedule.ended(bench.now_ns());
        }
        self.requests.forget();
        self.reading = X::Reading::default();
    }

    /// Counts the outstanding requests as cut off by the end of the run, before their timeout.
    fn cut_off(&mut self, bench: &mut Bench<X>) {
        for number in self.requests.oldest()..self.requests.begun() {
            let kind = bench.wire().exchange().kind(self.number, number);
            let lost = self.requests.lost(number, kind);
            bench.log(|| lost.ended(self.number, number, Ending::CutOff));
            self.missed += u64::from(bench.request_cut_off(lost));
        }
        self.requests.forget();
        self.reading = X::Reading::default();
    }

    /// Divides the requests that are never sent by their kinds.
    fn count_unsent_kinds(&self, bench: &mut Bench<X>, unsent: u64) {
        if bench.has_kinds() {
            let waited_ns = bench.now_ns() - bench.now_ns().min(bench.window().end_ns);
            let first = self.requests.begun();
            for number in first..first + unsent {
                let kind = bench.wire().exchange().kind(self.number, number);
                bench.kind_unsent(kind, waited_ns);
            }
        }
    }

    #[inline]
    fn arm_due(&mut self, bench: &mut Bench<X>, at_ns: u64) {
        if !mem::replace(&mut self.due_armed, true) {
            bench.wake(at_ns, self.place, Wake::Due);
        }
    }

    #[inline]
    fn arm_timeout(&mut self, bench: &mut Bench<X>, at_ns: u64) {
        if !mem::replace(&mut self.timeout_armed, true) {
            bench.wake(at_ns, self.place, Wake::Timeout);
        }
    }
}
