//! N threads on one shared ready queue. A connection holds a thread only while it has bytes to process.
//!
//! The threads take turns at watching: one waits in epoll for all connections and fills the queue, the others
//! work it off or sleep. Whoever finds the queue empty and nobody watching watches next. So one event wakes one
//! thread, and while the watcher alone keeps up, which is where servers live, nobody else is woken at all. A
//! connection whose turn is over before its bytes are would keep the queue from being empty for as long as its
//! client goes on: after such a turn, a thread glances at the others' events.
//!
//! Every socket is registered once, edge-triggered. What a re-armed one-shot registration would give, that no
//! two threads serve one connection, the queue's own lock gives: a connection is either at rest in its slot or
//! in the hands of one thread, and an event that comes meanwhile is noted in its slot.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::Context;
use rustix::{
    event::{EventfdFlags, epoll::Event, eventfd},
    net::SocketFlags,
};
use slab::Slab;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{Accepted, Acceptor, Newcomer, REST},
    deadlines::{Armed, Deadlines, Timed},
    echo::{BUFFER_BYTES, Connection, Next, ShortRead, Sleeper},
    listen::Listener,
    readiness::{self, Events, Readiness},
    service::Service,
    session::End,
};

pub(super) const MODE: Mode = Mode {
    name: "thread-pool",
    summary: "some threads on one shared ready queue",
    threads: Threads::Workers,
    start,
};

/// How long the queue may get before a sleeping thread is woken to help. An echo costs less than a wake-up does,
/// so short queues are worked off faster by the threads that are awake.
const SPILL: usize = 8;

/// How many newcomers are accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// A thread runs echoes and log lines on its stack; the buffer is not there.
const STACK_BYTES: usize = 256 * 1024;

/// What an event is about: a connection's key, or one of these.
const SHUTDOWN: u64 = u64::MAX;
const ROOM: u64 = u64::MAX - 1;
const LISTENER: u64 = u64::MAX - 2;
const NUDGE: u64 = u64::MAX - 3;

struct Pool {
    service: Arc<Service>,
    readiness: Readiness,
    /// Makes the watcher look at the deadlines again.
    nudge: OwnedFd,
    state: Mutex<State>,
    /// Where threads sleep that have nothing to do while another watches.
    work_left: Condvar,
}

struct State {
    queue: VecDeque<Task>,
    slots: Slab<Slot>,
    deadlines: Deadlines,
    /// Absent while a thread accepts, and gone once one has accepted for the last time.
    acceptor: Option<Acceptor>,
    accepting: Accepting,
    /// Whether the last visit used up its reads: a short queue is then long in work.
    heavy: bool,
    /// Present while a thread waits in epoll: until when, if not for ever.
    watched: Option<Option<Instant>>,
    /// Threads that sleep, less those that have been woken but do not run yet.
    asleep: usize,
    /// Whether a woken thread does not run yet. One is woken at a time, and wakes the next if need be.
    waking: bool,
}

/// What a thread takes from the queue.
enum Task {
    Serve(usize),
    Accept,
}

/// How a thread watches.
#[derive(Clone, Copy)]
enum Watch {
    /// Until there is an event, or the next deadline.
    Wait,
    /// Without waiting: it has tasks to do.
    Glance,
}

/// Who, if anybody, is about to accept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    /// Nobody: the next event will make it a task.
    AtRest,
    /// A thread will, or does; `again` if an event has come since it began.
    Busy { again: bool },
    /// Nobody, until this moment or an event.
    Resting(Instant),
}

/// A connection's place in the pool.
struct Slot {
    /// Absent while a thread serves it.
    connection: Option<Connection>,
    activity: Activity,
    /// What events have said about short reads. It is never taken back: after an end of the stream or urgent
    /// data, a read that finds nothing costs less than an edge that was missed.
    short_read: ShortRead,
    /// Whether its registration asks for writability, which it does from its first short write on.
    asks_writable: bool,
    armed: Armed,
}

/// What is done about a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Nothing, until an event.
    AtRest,
    /// It is in the queue.
    Queued,
    /// A thread serves it.
    Served,
    /// A thread serves it, and an event has come since: it goes to the queue again.
    ServedAgain,
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let pool = Arc::new(Pool::new(listeners, service)?);
    for number in 0..service.config.threads {
        let pool = Arc::clone(&pool);
        thread::Builder::new()
            .name(format!("pool-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || pool.work())
            .with_context(|| format!("cannot start thread {number}"))?;
    }
    let service = Arc::clone(service);
    Ok(Box::new(move || service.wait_until_drained()))
}

impl Pool {
    fn new(listeners: Vec<Listener>, service: &Arc<Service>) -> io::Result<Self> {
        let readiness = Readiness::new()?;
        let nudge = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        readiness.watch(service.shutdown.as_fd(), SHUTDOWN, false)?;
        readiness.watch(service.places.room(), ROOM, false)?;
        readiness.watch(nudge.as_fd(), NUDGE, false)?;
        for listener in &listeners {
            readiness.watch(listener.as_fd(), LISTENER, false)?;
        }
        let state = State {
            queue: VecDeque::new(),
            slots: Slab::new(),
            deadlines: Deadlines::default(),
            acceptor: Some(Acceptor::new(service, listeners)),
            accepting: Accepting::AtRest,
            heavy: false,
            watched: None,
            asleep: 0,
            waking: false,
        };
        let service = Arc::clone(service);
        Ok(Self { service, readiness, nudge, state: Mutex::new(state), work_left: Condvar::new() })
    }

    /// What each thread does for as long as the process lives.
    fn work(&self) {
        let mut buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        let mut events = readiness::events();
        let mut state = self.lock();
        let mut has_glanced = false;
        loop {
            let must_glance = state.heavy && !has_glanced && state.watched.is_none();
            has_glanced = must_glance;
            state = if must_glance {
                self.watch(state, &mut events, Watch::Glance)
            } else if let Some(task) = state.queue.pop_front() {
                self.wake_another_if_needed(&mut state);
                match task {
                    Task::Serve(key) => self.serve(state, key, &mut buffer),
                    Task::Accept => self.accept(state),
                }
            } else if state.watched.is_none() {
                self.watch(state, &mut events, Watch::Wait)
            } else {
                self.sleep(state)
            };
        }
    }

    /// This thread is about to work on a task. Is another to help, or to watch meanwhile?
    fn wake_another_if_needed(&self, state: &mut State) {
        let help_is_wanted = match self.service.config.work.holds_the_thread() {
            true => state.watched.is_none() || !state.queue.is_empty(),
            false => state.queue.len() > SPILL || state.heavy && !state.queue.is_empty(),
        };
        if help_is_wanted && state.asleep > 0 && !state.waking {
            state.asleep -= 1;
            state.waking = true;
            self.work_left.notify_one();
        }
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.asleep += 1;
        state =
            self.work_left.wait_while(state, |state| !state.waking).unwrap_or_else(PoisonError::into_inner);
        state.waking = false;
        state
    }

    /// Waits for events, or takes those that are there, and queues what they are about.
    fn watch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        events: &mut Events,
        watch: Watch,
    ) -> MutexGuard<'a, State> {
        let deadline = match watch {
            Watch::Wait => state.next_deadline(),
            Watch::Glance => Some(Instant::now()),
        };
        state.watched = Some(deadline);
        drop(state);
        self.readiness.wait(events, deadline);
        let mut state = self.lock();
        state.watched = None;
        for event in events.drain(..) {
            match event.data.u64() {
                NUDGE => {}
                SHUTDOWN => state = self.drain(state),
                ROOM | LISTENER => state.queue_accept(),
                key => state.note_event(key as usize, &event),
            }
        }
        if state.next_deadline().is_some() {
            self.time_out(&mut state, Instant::now());
        }
        state
    }

    /// Tells the watcher, if there is one, of a deadline that is earlier than the one it waits for.
    fn nudge_watcher_if_needed(&self, state: &State) {
        if let (Some(deadline), Some(until)) = (state.next_deadline(), state.watched)
            && until.is_none_or(|until| deadline < until)
        {
            // A full counter would have been a nudge as well.
            _ = rustix::io::write(&self.nudge, &1_u64.to_ne_bytes());
        }
    }

    fn serve<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        key: usize,
        buffer: &mut [u8],
    ) -> MutexGuard<'a, State> {
        let slot = &mut state.slots[key];
        let mut connection = slot.connection.take().expect("a queued connection is in its slot");
        slot.activity = Activity::Served;
        let (short_read, asks_writable) = (slot.short_read, slot.asks_writable);
        drop(state);
        let next = connection.visit(buffer, short_read, Sleeper::Thread);
        let end = match next {
            Next::End(end) => Some(end),
            Next::Writable if !asks_writable => {
                self.readiness.ask_writable(&connection.socket, key).err().map(End::Failed)
            }
            _ => None,
        };
        if let Some(end) = end {
            connection.end(end);
            state = self.lock();
            state.slots.remove(key);
            return state;
        }
        state = self.lock();
        // Looked for under the lock: either it is seen here, or the drain finds the connection in its slot.
        let must_drain = self.service.shutdown.begun().is_some() && connection.echo.drain();
        state.heavy = next == Next::Turn;
        let slot = &mut state.slots[key];
        slot.connection = Some(connection);
        slot.asks_writable |= next == Next::Writable;
        if must_drain || next == Next::Turn || slot.activity == Activity::ServedAgain {
            state.enqueue(key);
        } else {
            slot.activity = Activity::AtRest;
            state.arm(key);
            self.nudge_watcher_if_needed(&state);
        }
        state
    }

    fn accept<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(acceptor) = state.acceptor.take() else { return state };
        state.accepting = Accepting::Busy { again: false };
        drop(state);
        let outcome = self.accept_some(&acceptor);
        state = self.lock();
        state.acceptor = Some(acceptor);
        // Looked for under the lock: either it is seen here, or the drain finds the acceptor in its place.
        if self.service.shutdown.begun().is_some() {
            return self.drain(state);
        }
        let event_since = state.accepting == Accepting::Busy { again: true };
        state.accepting = outcome;
        if event_since || outcome == (Accepting::Busy { again: true }) {
            state.accepting = Accepting::AtRest;
            state.queue_accept();
        }
        self.nudge_watcher_if_needed(&state);
        state
    }

    /// Accepts from every listener until nobody is there or others should have their turn.
    fn accept_some(&self, acceptor: &Acceptor) -> Accepting {
        let mut turns = 0..ACCEPTS_PER_TURN;
        for listener in acceptor.in_turn() {
            loop {
                if turns.next().is_none() {
                    return Accepting::Busy { again: true };
                }
                match acceptor.accept(listener, SocketFlags::NONBLOCK) {
                    Accepted::Newcomer(newcomer) => self.add(&mut self.lock(), newcomer),
                    Accepted::TurnedAway => {}
                    Accepted::Nobody => break,
                    // The event of room will tell.
                    Accepted::Full => return Accepting::AtRest,
                    Accepted::Exhausted => return Accepting::Resting(Instant::now() + REST),
                }
            }
        }
        Accepting::AtRest
    }

    /// Takes a newcomer in. If its bytes are there already, its registration makes the first event.
    fn add(&self, state: &mut State, newcomer: Newcomer) {
        let connection = Connection::new(newcomer);
        let entry = state.slots.vacant_entry();
        let key = entry.key();
        if let Err(error) = self.readiness.add(&connection.socket, key) {
            return connection.end(End::Failed(error));
        }
        entry.insert(Slot {
            connection: Some(connection),
            activity: Activity::AtRest,
            short_read: ShortRead::Empties,
            asks_writable: false,
            armed: Armed::default(),
        });
        state.arm(key);
    }

    /// The shutdown has begun: accepts for the last time, and has every connection finish what it has received.
    fn drain<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // Whoever accepts at this moment drains when it is done.
        let Some(acceptor) = state.acceptor.take() else { return state };
        drop(state);
        let last = acceptor.accept_last(SocketFlags::NONBLOCK);
        drop(acceptor);
        state = self.lock();
        for newcomer in last {
            self.add(&mut state, newcomer);
        }
        let keys: Vec<_> = state.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            // One that is served is told by the thread that serves it.
            let slot = &mut state.slots[key];
            let must_visit = slot.connection.as_mut().is_some_and(|connection| connection.echo.drain());
            if must_visit && slot.activity == Activity::AtRest {
                state.enqueue(key);
            }
        }
        state
    }

    /// Ends connections whose deadline has passed, and has accepting go on that has rested.
    fn time_out(&self, state: &mut State, now: Instant) {
        if matches!(state.accepting, Accepting::Resting(until) if until <= now) {
            state.queue_accept();
        }
        while let Some(key) = state.take_due(now) {
            let slot = &mut state.slots[key];
            // One that is served or queued is armed again when it comes to rest.
            if slot.activity != Activity::AtRest {
                continue;
            }
            let connection = slot.connection.as_mut().expect("a connection at rest is in its slot");
            match connection.time_out(now) {
                None => state.arm(key),
                Some(Next::End(end)) => {
                    let connection = state.slots.remove(key).connection.expect("seen above");
                    connection.end(end);
                }
                Some(_) => state.enqueue(key),
            }
        }
    }

    /// No panic leaves the state half-done: a panic ends the process.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues the connection that an event is about. A key without a slot is that of one that ended after the
    /// event was fetched.
    fn note_event(&mut self, key: usize, event: &Event) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if readiness::may_leave_more(event) {
            slot.short_read = ShortRead::MayLeaveMore;
        }
        match slot.activity {
            Activity::AtRest => self.enqueue(key),
            Activity::Served => slot.activity = Activity::ServedAgain,
            Activity::Queued | Activity::ServedAgain => {}
        }
    }

    fn enqueue(&mut self, key: usize) {
        self.slots[key].activity = Activity::Queued;
        self.queue.push_back(Task::Serve(key));
    }

    fn queue_accept(&mut self) {
        self.accepting = match self.accepting {
            Accepting::Busy { .. } => Accepting::Busy { again: true },
            Accepting::AtRest | Accepting::Resting(_) => {
                self.queue.push_back(Task::Accept);
                Accepting::Busy { again: false }
            }
        };
    }

    /// [`Deadlines::arm`], for a connection at rest.
    fn arm(&mut self, key: usize) {
        self.deadlines.arm(&mut self.slots, key);
    }

    /// [`Deadlines::take_due`].
    fn take_due(&mut self, now: Instant) -> Option<usize> {
        self.deadlines.take_due(&mut self.slots, now)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let resting = match self.accepting {
            Accepting::Resting(until) => Some(until),
            _ => None,
        };
        resting.into_iter().chain(self.deadlines.next()).min()
    }
}

impl Timed for Slot {
    fn deadline(&self) -> Option<Instant> {
        self.connection.as_ref()?.echo.deadline()
    }

    fn armed(&mut self) -> &mut Armed {
        &mut self.armed
    }
}
