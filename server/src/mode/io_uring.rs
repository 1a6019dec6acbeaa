//! Completions instead of readiness: one io_uring per thread. The kernel accepts and receives by itself, as long as
//! nothing keeps it from it, and one system call submits every send of a round and waits for what comes next.
//!
//! A connection's receive is asked for once (multishot) and goes on until it is cancelled. That gives no backpressure by
//! itself: as soon as a client does not take its echo at once, or sends more in one round than fits in one block of
//! memory, its receive is cancelled, what came meanwhile waits in the connection's inbox, and from then on it receives
//! once for each time that its client has taken everything. What one connection may keep is so bounded by the blocks
//! that are lent to the kernel before the cancellation takes effect, and by one block later on.
//!
//! A round is: wait, settle the sends that were short, look at what came, submit sends with the next wait. A connection
//! has one send at most in each round, so that its bytes stay in order. Nothing that a send may still read is touched,
//! and no connection ends, before the wait after it.
//!
//! The first thread accepts, and gives each newcomer to the thread with the fewest connections.

use std::{
    collections::VecDeque,
    mem,
    os::fd::{AsFd, OwnedFd, RawFd},
    sync::{
        Arc, Barrier, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use anyhow::Context;
use rustix::{io::Errno, net::SocketFlags};
use slab::Slab;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{Accepted, Acceptor, Newcomer, REST},
    config::WhenFull,
    deadlines::{Armed, Deadlines},
    echo::{Connection, Next, Received, Sleeper},
    listen::Listener,
    service::Service,
    session::End,
    work::Work,
};

mod refusal;
mod ring;

use ring::{Chunk, Completion, Request, Ring, Until};

pub(super) const MODE: Mode = Mode {
    name: "io-uring",
    summary: "completions: one io_uring per thread (Linux 6.12; Docker's default profile denies it)",
    threads: Threads::Workers,
    start,
};

/// A thread runs echoes and log lines on its stack; the blocks are not there.
const STACK_BYTES: usize = 256 * 1024;

/// How many newcomers are accepted one by one before the connections have their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// The descriptors that a ring watches beside sockets.
const SHUTDOWN: usize = 0;
const ROOM: usize = 1;

/// What the threads share.
struct Shared {
    service: Arc<Service>,
    doors: Vec<Door>,
    /// Messages can be sent once all rings are enabled.
    enabled: Barrier,
}

/// What a thread shows to the one that accepts.
struct Door {
    connections: AtomicUsize,
    newcomers: Mutex<Vec<Newcomer>>,
    ring: RawFd,
}

struct Loop {
    shared: Arc<Shared>,
    number: usize,
    ring: Ring,
    slots: Slab<Slot>,
    /// This round's sends.
    sends: Vec<Send>,
    round: u32,
    /// Connections that have something to do without a completion.
    queue: VecDeque<usize>,
    deadlines: Deadlines,
    /// The first thread's.
    reception: Option<Reception>,
}

/// A connection's place in its thread.
struct Slot {
    connection: Connection,
    /// What was received while something else had to be sent or slept first.
    inbox: Vec<u8>,
    armed: Armed,
    /// The round of its last send.
    sent_in: u32,
    receive: Receive,
    /// Whether it receives once for each time, and not until cancelled: its client has been slow, or it sleeps.
    receives_once: bool,
    /// Whether it has been asked when the client has taken something.
    watches_writable: bool,
    /// Whether it is in the queue.
    queued: bool,
    /// Whether the client has shut its side down.
    at_end: bool,
    /// How it ends, once nothing that was asked for it is left unanswered.
    ending: Option<End>,
}

/// A connection's receive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receive {
    Idle,
    Asked,
    Cancelled,
}

/// What is sent with the next wait.
struct Send {
    key: usize,
    chunk: Chunk,
}

/// Who accepts.
struct Reception {
    acceptor: Acceptor,
    /// For each listener, what has been asked for it.
    asked: Vec<Asked>,
    /// Who was accepted, with the index of the listener, when the last place had just been taken.
    waiting: VecDeque<(usize, OwnedFd)>,
    /// Whether the descriptor of room is watched.
    watches_room: bool,
    accepting: Accepting,
    /// Whether the drain has begun.
    ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// To accept whoever comes, until cancelled.
    Everybody,
    /// The same, and cancelled: the answer is awaited.
    Cancelled,
    /// To tell whether somebody is there. So it is done where there are few places left: the kernel would accept more.
    Newcomers,
}

/// When newcomers are accepted one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    /// When they are reported.
    AtEvent,
    /// Once the connections have had their turn.
    Soon,
    /// At this moment, or when there is room.
    Resting(Instant),
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    Ring::probe()?;
    let rings = (0..service.config.threads).map(|_| Ring::new()).collect::<Result<Vec<_>, _>>()?;
    let shared = Arc::new(Shared {
        service: Arc::clone(service),
        doors: rings.iter().map(Door::new).collect(),
        enabled: Barrier::new(rings.len()),
    });
    let mut reception = Some(Reception::new(Acceptor::new(service, listeners)));
    for (number, ring) in rings.into_iter().enumerate() {
        let mut the_loop = Loop::new(number, ring, reception.take(), &shared);
        thread::Builder::new()
            .name(format!("ring-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || the_loop.run())
            .with_context(|| format!("cannot start thread {number}"))?;
    }
    Ok(Box::new(move || shared.service.wait_until_drained()))
}

impl Shared {
    /// The thread that has the fewest connections.
    fn least(&self) -> usize {
        let counts = self.doors.iter().map(|door| door.connections.load(SeqCst));
        counts.enumerate().min_by_key(|(_, count)| *count).expect("there is a thread").0
    }
}

impl Door {
    fn new(ring: &Ring) -> Self {
        Self { connections: AtomicUsize::new(0), newcomers: Mutex::default(), ring: ring.descriptor() }
    }
}

impl Loop {
    fn new(number: usize, ring: Ring, reception: Option<Reception>, shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            number,
            ring,
            slots: Slab::new(),
            sends: Vec::new(),
            round: 0,
            queue: VecDeque::new(),
            deadlines: Deadlines::default(),
            reception,
        }
    }

    /// What the thread does for as long as the process lives.
    fn run(&mut self) {
        self.ring.enable();
        self.shared.enabled.wait();
        self.ring.watch(self.shared.service.shutdown.as_fd(), SHUTDOWN);
        self.ask_for_newcomers();
        let mut completions = Vec::new();
        loop {
            let until = self.until();
            self.ring.wait(&mut completions, until);
            self.settle_sends(&completions);
            for completion in completions.drain(..) {
                self.handle(completion);
            }
            if self.next_deadline().is_some() {
                self.time_out(Instant::now());
            }
            if self.reception.is_some() {
                self.receive_newcomers();
            }
            for _ in 0..self.queue.len() {
                if let Some(key) = self.queue.pop_front() {
                    self.go_on(key);
                }
            }
            self.send();
        }
    }

    fn until(&self) -> Until {
        let is_busy = !self.queue.is_empty()
            || self.reception.as_ref().is_some_and(|reception| reception.accepting == Accepting::Soon);
        match self.next_deadline() {
            _ if is_busy => Until::Now,
            Some(deadline) => Until::At(deadline),
            None => Until::Answered,
        }
    }

    /// The last round's sends are over: looks after those that were short.
    fn settle_sends(&mut self, completions: &[Completion]) {
        for completion in completions {
            let Completion::SendFailed { index, result } = completion else { continue };
            let Send { key, chunk } = &self.sends[*index];
            let (key, slot) = (*key, &mut self.slots[*key]);
            match *result {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {
                    let unsent = chunk.after(result.unwrap_or(0));
                    slot.connection.echo.keep_unsent(self.ring.bytes(&unsent));
                    self.enqueue(key);
                }
                Err(error) => self.end(key, End::Failed(error)),
            }
        }
        self.sends.clear();
        self.round = self.round.wrapping_add(1);
    }

    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Received { key, result, more } => self.handle_received(key, result, more),
            Completion::SendFailed { .. } => {}
            Completion::Writable { key } => {
                self.slots[key].watches_writable = false;
                self.enqueue(key);
            }
            Completion::Accepted { listener, result, more } => self.handle_accepted(listener, result, more),
            Completion::Newcomers { listener } => {
                let reception = self.reception.as_mut().expect("only this thread accepts");
                reception.asked[listener] = Asked::Nothing;
                reception.accepting = Accepting::Soon;
            }
            Completion::Readable { number: SHUTDOWN } => self.drain(),
            Completion::Readable { .. } => {
                self.shared.service.places.reset_room();
                // Room for newcomers is still announced when the drain has closed the reception.
                if let Some(reception) = &mut self.reception {
                    reception.watches_room = false;
                    reception.accepting = Accepting::Soon;
                }
            }
            Completion::Message => {
                let door = &self.shared.doors[self.number];
                let newcomers =
                    mem::take(&mut *door.newcomers.lock().unwrap_or_else(PoisonError::into_inner));
                newcomers.into_iter().for_each(|newcomer| self.add(newcomer));
            }
            Completion::MessageFailed { thread } => {
                let descriptor = self.shared.doors[thread].ring;
                self.ring.message(descriptor, thread);
            }
        }
    }

    fn handle_received(&mut self, key: usize, result: Result<Chunk, Errno>, more: bool) {
        let slot = &mut self.slots[key];
        if !more {
            slot.receive = Receive::Idle;
        }
        let mut goes_on = more && !slot.connection.echo.is_draining();
        match result {
            _ if slot.ending.is_some() => goes_on = false,
            Ok(chunk) if chunk.is_empty() => {
                slot.at_end = true;
                goes_on = false;
            }
            Ok(chunk) => self.handle_bytes(key, chunk),
            // It is asked for again, in the order of those who found none.
            Err(Errno::NOBUFS) => self.ring.lend_more(self.sends.len()),
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return self.end(key, End::Failed(error)),
        }
        if !goes_on {
            self.enqueue(key);
        }
    }

    fn handle_bytes(&mut self, key: usize, chunk: Chunk) {
        let slot = &mut self.slots[key];
        let bytes = self.ring.bytes(&chunk);
        if slot.waits() {
            slot.inbox.extend_from_slice(bytes);
            return self.enqueue(key);
        }
        match slot.connection.echo.receive(bytes, Sleeper::Timer) {
            Received::Discard => {}
            // After long work, the echo does not wait for the others' work as well.
            Received::Send if self.shared.service.config.work.holds_the_thread() => {
                let Connection { socket, echo } = &mut slot.connection;
                match echo.send_or_keep(socket.as_fd(), bytes) {
                    None => {}
                    Some(Next::End(end)) => self.end(key, end),
                    Some(_) => self.enqueue(key),
                }
            }
            Received::Send if slot.sent_in != self.round => {
                slot.sent_in = self.round;
                slot.connection.echo.note_sent(chunk.len());
                self.sends.push(Send { key, chunk });
            }
            Received::Send => {
                let last = self.sends.last_mut().filter(|last| last.key == key);
                if last.is_some_and(|last| last.chunk.extend(&chunk)) {
                    slot.connection.echo.note_sent(chunk.len());
                } else {
                    slot.connection.echo.keep(bytes);
                    self.pause(key);
                    self.enqueue(key);
                }
            }
            Received::Sleep => self.arm(key),
        }
    }

    /// Does what can be done for a connection without waiting, and asks for what it has to wait for.
    fn go_on(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.queued = false;
        if slot.sent_in == self.round {
            // Its bytes are on their way. What follows has to wait for the wait.
            return self.enqueue(key);
        }
        if slot.ending.is_some() {
            return self.finish(key);
        }
        match slot.work_off() {
            Some(Next::Sleep) => {
                self.pause(key);
                return self.arm(key);
            }
            Some(Next::End(end)) => return self.end(key, end),
            Some(_) => {
                if !mem::replace(&mut slot.watches_writable, true) {
                    self.ring.watch_writable(slot.connection.socket.as_fd(), key);
                }
                self.pause(key);
                return self.arm(key);
            }
            None => {}
        }
        let Connection { socket, echo } = &mut slot.connection;
        if slot.at_end {
            let end = echo.client_done();
            return self.end(key, end);
        }
        if slot.receive == Receive::Idle {
            slot.receive = Receive::Asked;
            match slot.receives_once {
                true => self.ring.receive_once(socket.as_fd(), key),
                false => self.ring.receive(socket.as_fd(), key),
            }
        }
        if !echo.finish_drain(socket.as_fd()) {
            self.enqueue(key);
        }
        self.arm(key);
    }

    /// Receives nothing more until the connection goes on.
    fn pause(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if slot.receive == Receive::Asked && !slot.receives_once {
            slot.receive = Receive::Cancelled;
            self.ring.cancel(Request::Receive(key));
        }
        slot.receives_once = true;
    }

    /// Ends a connection as soon as nothing that was asked for it is left unanswered.
    fn end(&mut self, key: usize, end: End) {
        let slot = &mut self.slots[key];
        if slot.ending.is_some() {
            return;
        }
        slot.ending = Some(end);
        if slot.receive == Receive::Idle
            && !slot.watches_writable
            && !slot.queued
            && slot.sent_in != self.round
        {
            return self.finish(key);
        }
        if slot.receive == Receive::Asked {
            slot.receive = Receive::Cancelled;
            self.ring.cancel(Request::Receive(key));
        }
        if slot.watches_writable {
            self.ring.cancel(Request::Writable(key));
        }
        self.enqueue(key);
    }

    /// The connection is to end: it does, unless an answer is awaited.
    fn finish(&mut self, key: usize) {
        let slot = &self.slots[key];
        if slot.receive == Receive::Idle && !slot.watches_writable {
            let Slot { connection, ending, .. } = self.slots.remove(key);
            connection.end(ending.expect("it is to end"));
            self.door().connections.fetch_sub(1, SeqCst);
        }
    }

    fn enqueue(&mut self, key: usize) {
        if !mem::replace(&mut self.slots[key].queued, true) {
            self.queue.push_back(key);
        }
    }

    fn send(&mut self) {
        for (index, Send { key, chunk }) in self.sends.iter().enumerate() {
            self.ring.send(self.slots[*key].connection.socket.as_fd(), chunk, index);
        }
    }

    fn door(&self) -> &Door {
        &self.shared.doors[self.number]
    }

    /// Takes a newcomer in that has been counted at this door already.
    fn add(&mut self, newcomer: Newcomer) {
        let mut connection = Connection::new(newcomer);
        let service = &self.shared.service;
        if service.shutdown.begun().is_some() {
            connection.echo.drain();
        }
        let key = self.slots.insert(Slot {
            connection,
            inbox: Vec::new(),
            armed: Armed::default(),
            sent_in: self.round.wrapping_sub(1),
            receive: Receive::Idle,
            receives_once: matches!(service.config.work, Work::Sleep(_)),
            watches_writable: false,
            queued: false,
            at_end: false,
            ending: None,
        });
        self.enqueue(key);
    }

    /// The shutdown has begun: nobody new is asked for, and every connection finishes what it has received.
    fn drain(&mut self) {
        if let Some(reception) = &mut self.reception {
            reception.ends = true;
            for (listener, asked) in reception.asked.iter_mut().enumerate() {
                match asked {
                    Asked::Everybody => {
                        *asked = Asked::Cancelled;
                        self.ring.cancel(Request::Accept(listener));
                    }
                    Asked::Newcomers => self.ring.cancel(Request::Newcomers(listener)),
                    Asked::Nothing | Asked::Cancelled => {}
                }
            }
        }
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            if self.slots[key].connection.echo.drain() {
                self.enqueue(key);
            }
        }
    }

    /// Wakes or ends connections whose deadline has passed, and accepts again after a rest.
    fn time_out(&mut self, now: Instant) {
        if let Some(reception) = &mut self.reception
            && matches!(reception.accepting, Accepting::Resting(until) if until <= now)
        {
            reception.accepting = Accepting::Soon;
        }
        while let Some((due, key)) = self.deadlines.pop_due(now) {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if !slot.armed.disarm(due) {
                continue;
            }
            if slot.queued || slot.ending.is_some() {
                // It is armed again when it goes on.
                continue;
            }
            match slot.connection.time_out(now) {
                None => self.arm(key),
                Some(Next::End(end)) => self.end(key, end),
                Some(_) => self.enqueue(key),
            }
        }
    }

    /// Makes sure that the deadlines know of a connection no later than at its deadline.
    fn arm(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        self.deadlines.arm(key, &mut slot.armed, slot.connection.echo.deadline());
        if self.deadlines.outgrow(self.slots.len()) {
            self.deadlines.keep(self.slots.iter().map(|(key, slot)| (key, slot.armed)));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let resting = match self.reception.as_ref().map(|reception| reception.accepting) {
            Some(Accepting::Resting(until)) => Some(until),
            _ => None,
        };
        resting.into_iter().chain(self.deadlines.next()).min()
    }
}

impl Slot {
    /// Whether something else comes before what it receives.
    fn waits(&self) -> bool {
        !self.inbox.is_empty() || self.connection.echo.keeps()
    }

    /// Sends what is kept, and what is in the inbox after it: `None` when nothing is left.
    fn work_off(&mut self) -> Option<Next> {
        let Connection { socket, echo } = &mut self.connection;
        if let Some(next) = echo.flush(socket.as_fd()) {
            return Some(next);
        }
        if self.inbox.is_empty() {
            return None;
        }
        let mut bytes = mem::take(&mut self.inbox);
        match echo.receive(&mut bytes, Sleeper::Timer) {
            Received::Discard => None,
            Received::Send => echo.send_or_keep(socket.as_fd(), &bytes),
            Received::Sleep => Some(Next::Sleep),
        }
    }
}

/// Accepting, by the first thread.
impl Loop {
    /// Asks for whoever comes next.
    fn ask_for_newcomers(&mut self) {
        let Some(reception) = &mut self.reception else { return };
        let places = &self.shared.service.places;
        if !mem::replace(&mut reception.watches_room, true) {
            self.ring.watch(places.room(), ROOM);
        }
        // While it rests, and while there is no room, whoever comes waits in the backlog.
        if reception.accepting != Accepting::AtEvent || !reception.has_room() {
            return;
        }
        let may_take_everybody = reception.may_take_everybody();
        for (listener, asked) in reception.asked.iter_mut().enumerate() {
            if *asked == Asked::Nothing {
                let socket = reception.acceptor.listener(listener);
                *asked = match may_take_everybody {
                    true => Asked::Everybody,
                    false => Asked::Newcomers,
                };
                match may_take_everybody {
                    true => self.ring.accept(socket, listener),
                    false => self.ring.watch_listener(socket, listener),
                }
            }
        }
    }

    fn handle_accepted(&mut self, listener: usize, result: Result<OwnedFd, Errno>, more: bool) {
        let reception = self.reception.as_mut().expect("only this thread accepts");
        if !more {
            reception.asked[listener] = Asked::Nothing;
        }
        let accepted = match result {
            Ok(socket) => match reception.acceptor.admit(listener, socket) {
                Ok(accepted) => accepted,
                Err(socket) => {
                    reception.waiting.push_back((listener, socket));
                    Accepted::Full
                }
            },
            Err(Errno::CANCELED) => return,
            Err(error) => reception.acceptor.failed(error),
        };
        match accepted {
            Accepted::Newcomer(newcomer) => self.give(newcomer),
            Accepted::Exhausted => reception.accepting = Accepting::Resting(Instant::now() + REST),
            Accepted::TurnedAway | Accepted::Nobody | Accepted::Full => {}
        }
    }

    /// What the round has brought is done about: accepts one by one where that was asked for, and asks again.
    fn receive_newcomers(&mut self) {
        let Some(reception) = &mut self.reception else { return };
        if reception.ends {
            return self.close_reception();
        }
        if reception.accepting == Accepting::Soon {
            self.accept_some();
        }
        let Some(reception) = &mut self.reception else { return };
        if !reception.may_take_everybody() {
            for (listener, asked) in reception.asked.iter_mut().enumerate() {
                if *asked == Asked::Everybody {
                    *asked = Asked::Cancelled;
                    self.ring.cancel(Request::Accept(listener));
                }
            }
        }
        self.ask_for_newcomers();
    }

    /// Accepts from every listener until nobody is there or the connections should have their turn.
    fn accept_some(&mut self) {
        let Some(reception) = &mut self.reception else { return };
        let mut newcomers = Vec::new();
        reception.accepting = reception.accept_some(&mut newcomers);
        newcomers.into_iter().for_each(|newcomer| self.give(newcomer));
    }

    /// The drain has begun: once nobody is accepted any more without having been asked for, accepts for the last time.
    fn close_reception(&mut self) {
        let is_quiet =
            |reception: &mut Reception| reception.asked.iter().all(|asked| *asked == Asked::Nothing);
        if let Some(reception) = self.reception.take_if(is_quiet) {
            let Reception { acceptor, waiting, .. } = reception;
            for (listener, socket) in waiting {
                if let Ok(Accepted::Newcomer(newcomer)) = acceptor.admit(listener, socket) {
                    self.give(newcomer);
                }
            }
            let last = acceptor.accept_last(SocketFlags::NONBLOCK);
            last.into_iter().for_each(|newcomer| self.give(newcomer));
        }
    }

    /// Gives a newcomer to the thread that has the fewest connections.
    fn give(&mut self, newcomer: Newcomer) {
        let thread = self.shared.least();
        let door = &self.shared.doors[thread];
        door.connections.fetch_add(1, SeqCst);
        if thread == self.number {
            return self.add(newcomer);
        }
        let mut newcomers = door.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        newcomers.push(newcomer);
        // Where there were others, a message is on its way.
        if newcomers.len() == 1 {
            self.ring.message(door.ring, thread);
        }
    }
}

impl Reception {
    fn new(acceptor: Acceptor) -> Self {
        let asked = vec![Asked::Nothing; acceptor.listeners()];
        let waiting = VecDeque::new();
        Self { acceptor, asked, waiting, watches_room: false, accepting: Accepting::AtEvent, ends: false }
    }

    /// Whether the kernel may accept as many as there are. What it accepts it hands over however many places there are,
    /// so there must be one for each who may be in the backlog.
    fn may_take_everybody(&self) -> bool {
        let service = self.acceptor.service();
        // Linux lets one more than the backlog into a listener's queue.
        let backlogs = (service.config.backlog as usize + 1) * self.asked.len();
        service.config.when_full == WhenFull::Reject
            || self.waiting.is_empty() && service.places.left() > backlogs
    }

    /// Whether somebody can be accepted.
    fn has_room(&self) -> bool {
        let service = self.acceptor.service();
        // One that was given back before the wish was known would not be announced: look once more.
        let has_place = || service.places.left() > 0;
        service.config.when_full == WhenFull::Reject || has_place() || {
            service.places.want_room();
            has_place()
        }
    }

    fn accept_some(&mut self, newcomers: &mut Vec<Newcomer>) -> Accepting {
        while let Some((listener, socket)) = self.waiting.pop_front() {
            match self.acceptor.admit(listener, socket) {
                Ok(Accepted::Newcomer(newcomer)) => newcomers.push(newcomer),
                Ok(_) => {}
                Err(socket) => {
                    self.waiting.push_front((listener, socket));
                    return Accepting::AtEvent;
                }
            }
        }
        let mut turns = 0..ACCEPTS_PER_TURN;
        for listener in self.acceptor.in_turn() {
            loop {
                if turns.next().is_none() {
                    return Accepting::Soon;
                }
                match self.acceptor.accept(listener, SocketFlags::NONBLOCK) {
                    Accepted::Newcomer(newcomer) => newcomers.push(newcomer),
                    Accepted::TurnedAway => {}
                    Accepted::Nobody => break,
                    // The descriptor of room will tell.
                    Accepted::Full => return Accepting::AtEvent,
                    Accepted::Exhausted => return Accepting::Resting(Instant::now() + REST),
                }
            }
        }
        Accepting::AtEvent
    }
}
