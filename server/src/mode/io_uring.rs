//! Completions instead of readiness, with one io_uring per thread. The kernel accepts and receives on its own. One system
//! call submits every send of a round and waits for the next completions.
//!
//! A connection's receive is multishot: one request, many completions. That gives no backpressure. So the mode cancels it
//! as soon as a client does not read its echo at once, or sends far more in one round than fits in a block of memory. What
//! arrived meanwhile waits in the connection's inbox. From then on, each receive is a single request, made when everything
//! is sent. So a connection holds at most the blocks lent to the kernel before the cancellation takes effect, and one
//! buffer later.
//!
//! A round waits, handles the sends that were short, handles the other completions, and submits sends with the next wait. A
//! connection has at most one send in a round, which keeps its bytes in order. Until the wait after a send, the mode does
//! not touch its bytes and the connection does not end.
//!
//! The first thread accepts, and assigns each connection to the thread with the fewest connections.

use std::{
    collections::VecDeque,
    mem,
    os::fd::{AsFd, RawFd},
    sync::{Arc, Barrier, atomic::Ordering::SeqCst},
    thread,
    time::Instant,
};

use anyhow::Context;
use rustix::io::Errno;
use slab::Slab;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{
        acceptor::{Acceptor, Admitted},
        listener::Listener,
    },
    connection::{
        deadlines::Deadlines,
        echo::{BUFFER_BYTES, Connection, Next, Received, SleepOn},
        session::End,
        work::Work,
    },
    daemon::{service::Service, workers::Worker},
};

mod accepting;
pub(crate) mod handover;
// The kernel reads and writes memory that Rust's borrow checker cannot see it use.
#[allow(unsafe_code)]
mod ring;
#[cfg(test)]
#[allow(unsafe_code, reason = "a kernel writes to the memory that it was lent")]
mod simulated;
mod slot;
mod unavailable;

use accepting::RingAcceptor;
use handover::Handover;
use ring::{Chunk, Completion, Kernel, Request, Ring, Until, Uring};
use slot::{Receive, Slot};

pub(super) const MODE: Mode = Mode {
    name: "io-uring",
    summary: "completions: one io_uring per thread (Linux 6.12; Docker's default profile denies it)",
    threads: Threads::Workers,
    connections_stay: true,
    start,
};

/// Enough for an echo and a log line; the blocks are on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// A second chunk in one round that is longer than this is no rest of a message: the client sends in bulk, and its multishot
/// receive is cancelled.
const BULK_BYTES: usize = BUFFER_BYTES / 2;

/// The initial capacity of the slots. An allocation of this size has its own mapping: unused pages cost nothing, and it grows
/// by remapping. A smaller one would be copied when it grows, and the allocator would keep its old pages.
const SLOTS_AT_FIRST: usize = 4096;

/// The numbers of the watched descriptors that are not sockets.
const SHUTDOWN: usize = 0;
const FREED: usize = 1;

/// The state that all threads share.
struct Shared {
    service: Arc<Service>,
    handles: Vec<RingHandle>,
    /// A ring takes messages once it is enabled, so each thread waits for all rings.
    enabled: Barrier,
}

/// The part of a thread that the accepting thread sees.
struct RingHandle {
    worker: Arc<Worker>,
    assigned: Handover<Admitted>,
    ring: RawFd,
}

struct Loop<K = Uring> {
    shared: Arc<Shared>,
    number: usize,
    worker: Arc<Worker>,
    ring: Ring<K>,
    slots: Slab<Slot>,
    /// This round's sends.
    sends: Vec<Send>,
    round: u32,
    /// Connections that have work without a completion.
    queue: VecDeque<usize>,
    deadlines: Deadlines,
    /// Only in the first thread, until it has accepted for the last time.
    acceptor: Option<RingAcceptor>,
}

/// A send that is submitted with the next wait.
struct Send {
    key: usize,
    chunk: Chunk,
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    Ring::probe()?;
    let rings = (0..service.config.threads).map(|_| Ring::new()).collect::<Result<Vec<_>, _>>()?;
    let shared = Arc::new(Shared {
        service: Arc::clone(service),
        handles: rings.iter().map(|ring| RingHandle::new(ring, service)).collect(),
        enabled: Barrier::new(rings.len()),
    });
    let mut acceptor = Some(RingAcceptor::new(Acceptor::new(service, listeners)));
    for (number, ring) in rings.into_iter().enumerate() {
        let mut the_loop = Loop::new(number, ring, acceptor.take(), &shared);
        thread::Builder::new()
            .name(format!("ring-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || the_loop.run())
            .with_context(|| format!("cannot start thread {number}"))?;
    }
    Ok(Box::new(move || shared.service.wait_until_drained()))
}

impl Shared {
    /// The thread with the fewest connections.
    fn least_loaded(&self) -> usize {
        let counts = self.handles.iter().map(|handle| handle.worker.connections.load(SeqCst));
        counts.enumerate().min_by_key(|(_, count)| *count).expect("there is a thread").0
    }
}

impl RingHandle {
    fn new(ring: &Ring<impl Kernel>, service: &Service) -> Self {
        Self { worker: service.workers.add(), assigned: Handover::new(), ring: ring.descriptor() }
    }
}

impl<K: Kernel> Loop<K> {
    fn new(number: usize, ring: Ring<K>, acceptor: Option<RingAcceptor>, shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            number,
            worker: Arc::clone(&shared.handles[number].worker),
            ring,
            slots: Slab::with_capacity(SLOTS_AT_FIRST),
            sends: Vec::new(),
            round: 0,
            queue: VecDeque::new(),
            deadlines: Deadlines::default(),
            acceptor,
        }
    }

    /// Runs until the process ends.
    fn run(&mut self) {
        self.ring.enable();
        let shared = Arc::clone(&self.shared);
        shared.enabled.wait();
        self.worker.run_on_this_thread();
        self.begin();
        let mut completions = Vec::new();
        loop {
            self.run_round(&mut completions);
        }
    }

    /// Makes the first requests.
    fn begin(&mut self) {
        self.ring.watch(self.shared.service.shutdown.as_fd(), SHUTDOWN);
        self.request_connections();
    }

    /// Waits, and handles what the wait has brought. `completions` is empty before and after.
    fn run_round(&mut self, completions: &mut Vec<Completion>) {
        let until = self.until();
        self.worker.wait(&self.shared.service.workers, || self.ring.wait(completions, until));
        self.settle_sends(completions);
        self.ring.take_back_blocks();
        for completion in completions.drain(..) {
            self.handle(completion);
        }
        if self.next_deadline().is_some() {
            self.time_out(Instant::now());
        }
        if self.acceptor.is_some() {
            self.accept();
        }
        for _ in 0..self.queue.len() {
            if let Some(key) = self.queue.pop_front() {
                self.go_on(key);
            }
        }
        self.send();
    }

    fn until(&self) -> Until {
        let is_busy = !self.queue.is_empty() || self.acceptor.as_ref().is_some_and(RingAcceptor::is_busy);
        let deadlines = self.next_deadline().into_iter().chain(self.shared.service.watchdog_due());
        match deadlines.min() {
            _ if is_busy => Until::Now,
            Some(deadline) => Until::At(deadline),
            None => Until::Completion,
        }
    }

    /// Handles the sends of the last round that were short or failed. The others are complete.
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
                Err(error) => {
                    slot.connection.echo.note_unsent(chunk.len());
                    self.end(key, End::Failed(error));
                }
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
            Completion::ListenerReadable { listener } => {
                let acceptor = self.acceptor.as_mut().expect("only this thread accepts");
                acceptor.note_readable(listener);
            }
            Completion::Readable { number: SHUTDOWN } => self.drain(),
            Completion::Readable { .. } => {
                self.shared.service.connections.reset_freed_event();
                // A release is still reported after the last accept.
                if let Some(acceptor) = &mut self.acceptor {
                    acceptor.note_freed();
                }
            }
            Completion::Message => {
                let assigned = self.handle_of_this_loop().assigned.take();
                assigned.into_iter().for_each(|admitted| self.add(admitted));
            }
            Completion::MessageFailed { thread } => {
                let descriptor = self.shared.handles[thread].ring;
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
            // The receive is requested again, after those of earlier connections that found no block.
            Err(Errno::NOBUFS) => self.ring.lend_more(self.sends.len()),
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return self.end(key, End::Failed(error)),
        }
        // A connection whose echo could not be sent may have ended already.
        if !goes_on && self.slots.contains(key) {
            self.enqueue(key);
        }
    }

    fn handle_bytes(&mut self, key: usize, chunk: Chunk) {
        let slot = &mut self.slots[key];
        let bytes = self.ring.bytes(&chunk);
        if slot.connection.echo.awaits_header() {
            let Connection { socket, echo } = &mut slot.connection;
            return match echo.receive_header(socket.as_fd(), bytes, SleepOn::Timer) {
                Next::End(end) => self.end(key, end),
                Next::Sleep => self.arm(key),
                _ => self.enqueue(key),
            };
        }
        if slot.must_use_inbox() {
            slot.inbox.get_or_insert_default().bytes.extend_from_slice(bytes);
            return self.enqueue(key);
        }
        match slot.connection.echo.receive(bytes, SleepOn::Timer) {
            Received::Discard => {}
            // The next step sends it, together with the half-close if it is the last reply.
            Received::Send if slot.connection.echo.is_draining() => {
                slot.connection.echo.keep(bytes);
                self.enqueue(key);
            }
            // After long work, the echo is sent at once: it must not wait for the work of other connections.
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
                    // The rest of a message that did not fit in its block, or bulk data.
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

    /// Does all that is possible for a connection without waiting, and requests what it waits for.
    fn go_on(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.is_queued = false;
        if slot.sent_in == self.round {
            // Its send is submitted with the next wait, and the next step must follow that.
            return self.enqueue(key);
        }
        if slot.ending.is_some() {
            return self.finish(key);
        }
        match slot.send_pending() {
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
            let end = echo.end_of_stream();
            return self.end(key, end);
        }
        if slot.receive == Receive::Idle {
            slot.receive = Receive::Pending;
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

    /// Cancels the multishot receive. From now on, the connection receives one request at a time.
    fn pause(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if slot.receive == Receive::Pending && !slot.receives_once {
            slot.receive = Receive::Cancelled;
            self.ring.cancel(Request::Receive(key));
        }
        slot.receives_once = true;
    }

    /// Ends a connection as soon as none of its requests is pending.
    fn end(&mut self, key: usize, end: End) {
        let slot = &mut self.slots[key];
        if slot.ending.is_some() {
            return;
        }
        slot.ending = Some(end);
        if slot.receive == Receive::Idle
            && !slot.watches_writable
            && !slot.is_queued
            && slot.sent_in != self.round
        {
            return self.finish(key);
        }
        if slot.receive == Receive::Pending {
            slot.receive = Receive::Cancelled;
            self.ring.cancel(Request::Receive(key));
        }
        if slot.watches_writable {
            self.ring.cancel(Request::Writable(key));
        }
        self.enqueue(key);
    }

    /// Ends a connection with [`Slot::ending`], unless one of its requests is pending.
    fn finish(&mut self, key: usize) {
        let slot = &self.slots[key];
        if slot.receive == Receive::Idle && !slot.watches_writable {
            let Slot { connection, ending, .. } = self.slots.remove(key);
            connection.end(ending.expect("the caller has set it"));
            self.worker.connections.fetch_sub(1, SeqCst);
        }
    }

    fn enqueue(&mut self, key: usize) {
        if !mem::replace(&mut self.slots[key].is_queued, true) {
            self.queue.push_back(key);
        }
    }

    fn send(&mut self) {
        for (index, Send { key, chunk }) in self.sends.iter().enumerate() {
            self.ring.send(self.slots[*key].connection.socket.as_fd(), chunk, index);
        }
    }

    fn handle_of_this_loop(&self) -> &RingHandle {
        &self.shared.handles[self.number]
    }

    /// Adds a connection that this thread's handle has counted already.
    fn add(&mut self, admitted: Admitted) {
        let mut connection = Connection::new(admitted);
        let service = &self.shared.service;
        if service.shutdown.begun().is_some() {
            connection.echo.drain();
        }
        let sleeps = matches!(service.config.work, Work::Sleep(_));
        let key = self.slots.insert(Slot::new(connection, self.round.wrapping_sub(1), sleeps));
        self.enqueue(key);
    }

    /// Begins the drain: stops accepting, and has every connection finish what it has received.
    fn drain(&mut self) {
        self.cancel_accepting();
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            if self.slots[key].connection.echo.drain() {
                self.enqueue(key);
            }
        }
    }

    /// Wakes or ends connections whose deadline has passed, and ends a pause in accepting.
    fn time_out(&mut self, now: Instant) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.end_pause(now);
        }
        while let Some(key) = self.deadlines.take_due(&mut self.slots, now) {
            let slot = &mut self.slots[key];
            if slot.is_queued || slot.ending.is_some() {
                // Its next step sets the deadline again.
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
        let pause = self.acceptor.as_ref().and_then(RingAcceptor::paused_until);
        pause.into_iter().chain(self.deadlines.next()).min()
    }
}
