//! Completions instead of readiness: one io_uring per thread. The kernel accepts and receives by itself, as long as
//! nothing keeps it from it, and one system call submits every send of a round and waits for what comes next.
//!
//! A connection's receive is asked for once (multishot) and goes on until it is cancelled. That gives no backpressure by
//! itself: as soon as a client does not take its echo at once, or sends far more in one round than fits in one block of
//! memory, its receive is cancelled, what came meanwhile waits in the connection's inbox, and from then on it receives
//! once for each time that its client has taken everything. What one connection may keep is so bounded by the blocks
//! that are lent to the kernel before the cancellation takes effect, and by one buffer later on.
//!
//! A round is: wait, settle the sends that were short, look at what came, submit sends with the next wait. A connection
//! has one send at most in each round, so that its bytes stay in order. Nothing that a send may still read is touched,
//! and no connection ends, before the wait after it.
//!
//! The first thread accepts, and gives each newcomer to the thread with the fewest connections.

use std::{
    collections::VecDeque,
    mem,
    os::fd::{AsFd, RawFd},
    sync::{
        Arc, Barrier, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use anyhow::Context;
use rustix::io::Errno;
use slab::Slab;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{Acceptor, Newcomer},
    deadlines::{Armed, Deadlines, Timed},
    echo::{BUFFER_BYTES, Connection, Next, Received, Sleeper},
    listen::Listener,
    service::Service,
    session::End,
    work::Work,
};

mod reception;
mod refusal;
// A ring cannot be had without: the kernel reads and writes memory that it was lent, behind every borrow's back.
#[allow(unsafe_code)]
mod ring;

use reception::Reception;
use ring::{Chunk, Completion, Request, Ring, Until};

pub(super) const MODE: Mode = Mode {
    name: "io-uring",
    summary: "completions: one io_uring per thread (Linux 6.12; Docker's default profile denies it)",
    threads: Threads::Workers,
    start,
};

/// A thread runs echoes and log lines on its stack; the blocks are not there.
const STACK_BYTES: usize = 256 * 1024;

/// What is more than the rest of a message: the connection had better receive once for each time.
const BULK_BYTES: usize = BUFFER_BYTES / 2;

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
            self.ring.take_back_blocks();
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
        let is_busy = !self.queue.is_empty() || self.reception.as_ref().is_some_and(Reception::is_busy);
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
                reception.note_newcomers(listener);
            }
            Completion::Readable { number: SHUTDOWN } => self.drain(),
            Completion::Readable { .. } => {
                self.shared.service.places.reset_room();
                // Room for newcomers is still announced when the drain has closed the reception.
                if let Some(reception) = &mut self.reception {
                    reception.note_room();
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
        // Where the echo could not be sent, the connection may have ended already.
        if !goes_on && self.slots.contains(key) {
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
                    // The rest of a message that did not fit in its block, or bytes without end.
                    slot.connection.echo.keep(bytes);
                    if chunk.len() > BULK_BYTES {
                        self.pause(key);
                    }
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
                true => self.ring.receive_once(socket.as_fd(), key, BUFFER_BYTES),
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
        self.begin_to_close_reception();
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            if self.slots[key].connection.echo.drain() {
                self.enqueue(key);
            }
        }
    }

    /// Wakes or ends connections whose deadline has passed, and accepts again after a rest.
    fn time_out(&mut self, now: Instant) {
        if let Some(reception) = &mut self.reception {
            reception.time_out(now);
        }
        while let Some(key) = self.deadlines.take_due(&mut self.slots, now) {
            let slot = &mut self.slots[key];
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

    /// [`Deadlines::arm`].
    fn arm(&mut self, key: usize) {
        self.deadlines.arm(&mut self.slots, key);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let resting = self.reception.as_ref().and_then(Reception::rests_until);
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

impl Timed for Slot {
    fn deadline(&self) -> Option<Instant> {
        self.connection.echo.deadline()
    }

    fn armed(&mut self) -> &mut Armed {
        &mut self.armed
    }
}
