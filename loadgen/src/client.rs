//! One client: a connection that is made, used and made again, and the requests that are outstanding on it.

mod connect;
mod transfer;

use std::{mem, ops::RangeInclusive, os::fd::OwnedFd};

use rustix::{
    event::epoll::{EventData, EventFlags},
    io::Errno,
    net::sockopt,
};

use crate::{bench::Bench, failure::Failure, schedule::Schedule, timers::Wake};

/// How much later than its first part a reply's rest comes that had to wait for a delayed acknowledgement: the kernel
/// sends one after 40 ms at the earliest (`TCP_DELACK_MIN`), up to a step of its timer later, and the rest takes its time.
pub const DELAYED_ACK_NS: RangeInclusive<u64> = 38_000_000..=56_000_000;
/// Nothing is owed to the client.
const NOT_OWED: u64 = u64::MAX;

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Its number in the run, which its messages carry.
    number: u32,
    /// Its place among the clients of its thread.
    place: u32,
    /// Which of the targets it connects to.
    target: usize,
    /// Which source address it connects from.
    source: u8,
    state: State,
    schedule: Schedule,
    /// The outstanding requests; request `k` stands at `k & (length - 1)`. Its length is a power of two.
    ring: Box<[Outstanding]>,
    /// Requests are numbered from 0. `replied <= written <= begun <= replied + pipeline`: the replies of those
    /// below `replied` are complete, those below `written` are written, those below `begun` are to be written.
    replied: u64,
    written: u64,
    begun: u64,
    /// How much of the reply to request `replied` has come.
    reply_offset: usize,
    /// When the first part of the reply to request `replied` was read; 0 where it has not come, or came whole.
    first_part_ns: u64,
    /// When the reply to request `replied` was ready to be read, as far as that is known.
    ready: Option<Ready>,
    /// How much of request `written` is written.
    request_offset: usize,
    /// The first request of this connection.
    connection_first: u64,
    /// The socket took less than it was given, and has not become writable since.
    blocked: bool,
    /// The socket is registered for becoming writable.
    awaits_writable: bool,
    due_armed: bool,
    timeout_armed: bool,
    connect_timeout_armed: bool,
    attempted: bool,
    attempts_failed: u32,
    /// The connection attempt goes on after a unix socket's backlog was full.
    backlog_was_full: bool,
    /// Since when the connection attempt runs.
    connecting_since_ns: u64,
    /// When this client was last able to write again after it had not been.
    free_since_ns: u64,
    last_reply_ns: u64,
    /// Since when it has been owed a reply and got none.
    owed_since_ns: u64,
    silence_ns_max: u64,
    replies_in_window: u64,
    /// Requests of the window that were replied to.
    completed: u64,
    /// Requests of the window that were not.
    missed: u64,
}

/// What the report says of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Replies that were complete inside the window.
    pub replies: u64,
    /// Whether it was owed a reply at any time in the window.
    pub was_owed: bool,
    /// Requests that were due in the window and were replied to.
    pub completed: u64,
    /// The longest time in the window in which it was owed a reply and got none.
    pub silence_ns_max: u64,
}

#[derive(Debug)]
enum State {
    Down,
    Connecting(OwnedFd),
    Up(OwnedFd),
}

/// The kernel's word on the last read of a reply's parts.
#[derive(Clone, Copy, Debug)]
struct Ready {
    /// When it was ready, by the run's clock.
    at_ns: u64,
    /// From then until it was read.
    unread_ns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Outstanding {
    due_ns: u64,
    written_ns: u64,
}

impl Client {
    /// A client that has not begun to connect.
    pub fn new(number: u32, place: u32, target: usize, source: u8, pipeline: usize) -> Self {
        Self {
            number,
            place,
            target,
            source,
            state: State::Down,
            schedule: Schedule::empty(),
            ring: vec![Outstanding::default(); pipeline.next_power_of_two()].into(),
            replied: 0,
            written: 0,
            begun: 0,
            reply_offset: 0,
            first_part_ns: 0,
            ready: None,
            request_offset: 0,
            connection_first: 0,
            blocked: false,
            awaits_writable: false,
            due_armed: false,
            timeout_armed: false,
            connect_timeout_armed: false,
            attempted: false,
            attempts_failed: 0,
            backlog_was_full: false,
            connecting_since_ns: 0,
            free_since_ns: 0,
            last_reply_ns: 0,
            owed_since_ns: NOT_OWED,
            silence_ns_max: 0,
            replies_in_window: 0,
            completed: 0,
            missed: 0,
        }
    }

    /// Its number in the run.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The load begins.
    pub fn start(&mut self, schedule: Schedule, bench: &mut Bench) {
        self.schedule = schedule;
        self.carry_on(bench, Ok(()));
    }

    /// Something happened to its socket.
    #[inline]
    pub fn on_event(&mut self, flags: EventFlags, bench: &mut Bench) {
        const ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
        match &self.state {
            State::Up(_) => {
                if self.blocked && flags.contains(EventFlags::OUT) {
                    self.blocked = false;
                    self.free_since_ns = bench.read_clock();
                }
                let outcome = if flags.intersects(EventFlags::IN | ENDED) {
                    self.receive(bench, flags.intersects(ENDED))
                } else {
                    Ok(())
                };
                self.carry_on(bench, outcome);
            }
            State::Connecting(socket) => match sockopt::socket_error(socket) {
                Ok(Ok(())) if flags.contains(EventFlags::OUT) => self.connected(bench),
                Ok(Ok(())) => {}
                Ok(Err(error)) | Err(error) => self.connect_failed(bench, error),
            },
            State::Down => {}
        }
    }

    /// A timer of this client has run out.
    pub fn on_timer(&mut self, why: Wake, bench: &mut Bench) {
        let now_ns = bench.now_ns;
        match why {
            Wake::Due => {
                self.due_armed = false;
                self.carry_on(bench, Ok(()));
            }
            Wake::Timeout => {
                self.timeout_armed = false;
                if self.replied < self.begun {
                    let deadline_ns = self.oldest().written_ns + bench.rules.timeout_ns;
                    if deadline_ns <= now_ns {
                        self.fail(bench, Failure::Timeout);
                    } else {
                        self.arm_timeout(bench, deadline_ns);
                    }
                }
            }
            Wake::ConnectTimeout => {
                self.connect_timeout_armed = false;
                if matches!(self.state, State::Connecting(_)) {
                    let deadline_ns = self.connecting_since_ns + bench.rules.connect_timeout_ns;
                    if deadline_ns <= now_ns {
                        self.connect_failed(bench, Errno::TIMEDOUT);
                    } else {
                        self.arm_connect_timeout(bench, deadline_ns);
                    }
                }
            }
            Wake::Reconnect => bench.to_connect.push_back(self.place),
        }
    }

    /// Whether a request that was due before the window's end has not been begun.
    pub fn owes(&self, bench: &Bench) -> bool {
        self.schedule.peek().is_some_and(|due_ns| bench.admits(due_ns))
    }

    /// Segments that its connection had to send again so far; 0 where it has none.
    pub fn retransmissions(&self) -> u64 {
        match &self.state {
            State::Up(socket) => crate::socket::retransmissions(socket),
            State::Down | State::Connecting(_) => 0,
        }
    }

    /// The run is over at `bench.now_ns`: what is still outstanding or unsent has failed.
    pub fn finish(&mut self, bench: &mut Bench) -> Served {
        let end_ns = bench.now_ns.min(bench.window.end_ns);
        if self.owed_since_ns == NOT_OWED && self.owes(bench) {
            self.owed_since_ns = self.schedule.peek().unwrap_or(end_ns).max(self.last_reply_ns);
        }
        self.note_silence(bench, end_ns);
        // Where the run ends with its last request, what is still under way was of the warm-up, and had its time left.
        let is_spent = bench.budget == 0 && bench.pending == 0;
        if !is_spent {
            self.count_failed(bench, Failure::Timeout, Failure::Timeout);
        }
        let unsent = self.schedule.due_within(bench.window.start_ns, end_ns).min(bench.budget);
        bench.budget -= unsent;
        self.missed += unsent;
        bench.recording.counts.unsent += unsent;
        bench.recording.failures.add(Failure::Unsent, unsent);
        self.state = State::Down;
        Served {
            replies: self.replies_in_window,
            was_owed: self.completed + self.missed > 0 || self.silence_ns_max > 0 && !is_spent,
            completed: self.completed,
            silence_ns_max: self.silence_ns_max,
        }
    }

    /// What follows after anything happened: write what is due, or count the failure and reconnect.
    #[inline]
    fn carry_on(&mut self, bench: &mut Bench, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome.and_then(|()| self.write_due(bench)) {
            self.fail(bench, failure);
        }
    }

    /// The connection is lost, and every outstanding request with it.
    fn fail(&mut self, bench: &mut Bench, failure: Failure) {
        bench.read_clock();
        let others = match failure {
            Failure::Timeout | Failure::Mismatch => Failure::Abandoned,
            other => other,
        };
        let idle = self.replied == self.begun;
        let is_missed = !idle || bench.now_ns < bench.window.end_ns;
        self.count_failed(bench, failure, others);
        // A connection that nobody uses any more may end.
        if idle && (bench.now_ns < bench.window.end_ns || failure == Failure::Mismatch) {
            bench.recording.failures.add(failure, 1);
        }
        if matches!(mem::replace(&mut self.state, State::Down), State::Up(_)) {
            bench.connected -= 1;
            bench.recording.counts.connections_lost += u64::from(is_missed);
        }
        self.back_off(bench);
    }

    /// Counts the outstanding requests as failed, the oldest one as `first`.
    fn count_failed(&mut self, bench: &mut Bench, first: Failure, others: Failure) {
        if self.replied < self.begun {
            bench.note_stall(bench.now_ns);
        }
        for number in self.replied..self.begun {
            let due_ns = self.ring[number as usize & (self.ring.len() - 1)].due_ns;
            bench.recording.failures.add(if number == self.replied { first } else { others }, 1);
            if bench.window.contains(due_ns) {
                let counts = &mut bench.recording.counts;
                bench.pending -= 1;
                self.missed += 1;
                counts.failed += 1;
                counts.failed_bytes_sent += match number {
                    number if number < self.written => bench.messages.size(),
                    number if number == self.written => self.request_offset,
                    _ => 0,
                } as u64;
                counts.failed_bytes_received +=
                    if number == self.replied { self.reply_offset } else { 0 } as u64;
            }
            self.schedule.ended(bench.now_ns);
        }
        self.replied = self.begun;
        self.written = self.begun;
        self.reply_offset = 0;
        self.first_part_ns = 0;
        self.ready = None;
        self.request_offset = 0;
    }

    #[inline]
    fn arm_due(&mut self, bench: &mut Bench, at_ns: u64) {
        if !mem::replace(&mut self.due_armed, true) {
            bench.timers.wake(at_ns, self.place, Wake::Due);
        }
    }

    fn arm_timeout(&mut self, bench: &mut Bench, at_ns: u64) {
        if !mem::replace(&mut self.timeout_armed, true) {
            bench.timers.wake(at_ns, self.place, Wake::Timeout);
        }
    }

    fn arm_connect_timeout(&mut self, bench: &mut Bench, at_ns: u64) {
        if !mem::replace(&mut self.connect_timeout_armed, true) {
            bench.timers.wake(at_ns, self.place, Wake::ConnectTimeout);
        }
    }

    fn event_data(&self) -> EventData {
        EventData::new_u64(self.place.into())
    }
}
