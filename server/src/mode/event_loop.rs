//! One readiness loop per thread. A connection stays with the loop that accepted it.
//!
//! A loop shares nothing with the others while it echoes: one wait brings the events of all its connections, and each
//! connection is visited on the loop's own thread, which costs one receive and one send.
//!
//! The loops share the listeners. A new connection wakes one loop, which accepts. A loop that has over a sixteenth more
//! connections than another one does not accept; it wakes the loop with the fewest connections instead. So connections
//! spread evenly and never move.

use std::{collections::VecDeque, os::fd::AsFd, sync::Arc, time::Instant};

use anyhow::Context;
use rustix::net::SocketFlags;
use slab::Slab;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{
        acceptor::{Acceptor, Admitted, NextAccept},
        listener::Listener,
    },
    connection::{
        deadlines::{ArmedAt, Deadlines, Timed},
        echo::{BUFFER_BYTES, Connection, Next, ShortRead, SleepOn},
        readiness::{self, Events, Readiness},
        session::End,
    },
    daemon::{service::Service, workers::Worker},
    kernel::Event,
    sync::{PoisonError, RwLock, atomic::Ordering::SeqCst, thread},
};

pub(super) const MODE: Mode = Mode {
    name: "event-loop",
    summary: "one readiness loop (epoll) per thread",
    threads: Threads::Workers,
    connections_stay: true,
    start,
};

/// Enough for an echo and a log line; the buffer is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// Event tokens. Every other token is a connection's key.
const SHUTDOWN: u64 = u64::MAX;
const FREED: u64 = u64::MAX - 1;
const LISTENER: u64 = u64::MAX - 2;
const WAKE: u64 = u64::MAX - 3;

/// The state that all loops share.
struct Shared {
    service: Arc<Service>,
    /// `None` once the drain has begun.
    acceptor: RwLock<Option<Acceptor>>,
    handles: Vec<LoopHandle>,
}

/// The part of a loop that other loops see.
struct LoopHandle {
    worker: Arc<Worker>,
    readiness: Arc<Readiness>,
    /// Makes the loop accept.
    wake: Event,
}

struct Loop {
    shared: Arc<Shared>,
    number: usize,
    worker: Arc<Worker>,
    readiness: Arc<Readiness>,
    slots: Slab<Slot>,
    /// Connections that need a visit without an event.
    queue: VecDeque<usize>,
    deadlines: Deadlines,
    next_accept: NextAccept,
    buffer: Box<[u8]>,
}

/// A connection of this loop.
struct Slot {
    connection: Connection,
    short_read: ShortRead,
    /// Whether it is registered for writability, which happens at its first short write.
    watches_writable: bool,
    is_queued: bool,
    armed_at: ArmedAt,
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let threads = 0..service.config.threads;
    let handles = threads
        .clone()
        .map(|_| LoopHandle::new(readiness(&listeners, service)?, service))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let acceptor = RwLock::new(Some(Acceptor::new(service, listeners)));
    let shared = Arc::new(Shared { service: Arc::clone(service), acceptor, handles });
    for number in threads {
        let mut the_loop = Loop::new(number, &shared)?;
        thread::Builder::new()
            .name(format!("loop-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || the_loop.run())
            .with_context(|| format!("cannot start thread {number}"))?;
    }
    Ok(Box::new(move || shared.service.wait_until_drained()))
}

/// One loop's epoll instance, with the descriptors that every loop watches.
fn readiness(listeners: &[Listener], service: &Service) -> anyhow::Result<Readiness> {
    let readiness = Readiness::new()?;
    readiness.watch(service.shutdown.as_fd(), SHUTDOWN, false)?;
    readiness.watch(service.connections.freed_event(), FREED, false)?;
    for listener in listeners {
        // Exclusive: a new connection wakes one loop and not all.
        readiness.watch(listener.as_fd(), LISTENER, true)?;
    }
    Ok(readiness)
}

impl Shared {
    /// Whether this loop has so many more connections than another one that it should not accept. With less than a
    /// sixteenth, nearly every second connection would wake a second loop.
    fn is_ahead(&self, number: usize) -> bool {
        let fewest =
            self.handles.iter().map(|handle| handle.worker.connections.load(SeqCst)).min().unwrap_or(0);
        self.handles[number].worker.connections.load(SeqCst) > fewest + fewest / 16
    }

    /// Makes the loop with the fewest connections accept.
    fn wake_least_loaded(&self) {
        let handle = self.handles.iter().min_by_key(|handle| handle.worker.connections.load(SeqCst));
        handle.expect("there is a loop").wake.notify();
    }
}

impl LoopHandle {
    fn new(readiness: Readiness, service: &Service) -> anyhow::Result<Self> {
        let wake = Event::new().context("cannot make an eventfd")?;
        Ok(Self { worker: service.workers.add(), readiness: Arc::new(readiness), wake })
    }
}

impl Loop {
    fn new(number: usize, shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let readiness = Arc::clone(&shared.handles[number].readiness);
        readiness.watch(shared.handles[number].wake.as_fd(), WAKE, false)?;
        Ok(Self {
            shared: Arc::clone(shared),
            number,
            worker: Arc::clone(&shared.handles[number].worker),
            readiness,
            slots: Slab::new(),
            queue: VecDeque::new(),
            deadlines: Deadlines::default(),
            next_accept: NextAccept::OnEvent,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    /// Runs until the process ends.
    fn run(&mut self) {
        let mut events = readiness::events();
        let shared = Arc::clone(&self.shared);
        let service = &shared.service;
        self.worker.run_on_this_thread();
        loop {
            self.worker.wait(&service.workers, || {
                if self.queue.is_empty() && self.next_accept != NextAccept::Soon {
                    let until = self.next_deadline().into_iter().chain(service.watchdog_due()).min();
                    self.readiness.wait(&mut events, until);
                } else {
                    self.readiness.poll(&mut events);
                }
            });
            // Before the events, so that a queued connection waits for one round at most.
            for _ in 0..self.queue.len() {
                if let Some(key) = self.queue.pop_front() {
                    self.slots[key].is_queued = false;
                    self.visit(key);
                }
            }
            self.handle(&mut events);
            if self.next_deadline().is_some() {
                self.time_out(Instant::now());
            }
            if self.next_accept == NextAccept::Soon {
                self.accept();
            }
        }
    }

    fn handle(&mut self, events: &mut Events) {
        for event in events.drain(..) {
            match event.data.u64() {
                SHUTDOWN => self.drain(),
                LISTENER | FREED | WAKE => self.next_accept = NextAccept::Soon,
                key => {
                    let key = key as usize;
                    // A connection that ended in this round has no slot.
                    let Some(slot) = self.slots.get_mut(key) else { continue };
                    if readiness::short_read_may_leave_more(&event) {
                        slot.short_read = ShortRead::MayLeaveMore;
                    }
                    self.visit(key);
                }
            }
        }
    }

    /// Does all that is possible for a connection without waiting.
    fn visit(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if slot.is_queued {
            return;
        }
        match slot.connection.visit(&mut self.buffer, slot.short_read, SleepOn::Timer) {
            Next::Readable | Next::Sleep => {}
            Next::Writable if slot.watches_writable => {}
            Next::Writable => match self.readiness.watch_writable(&slot.connection.socket, key) {
                Ok(()) => slot.watches_writable = true,
                Err(error) => return self.end(key, End::Failed(error)),
            },
            Next::Turn => return self.enqueue(key),
            Next::End(end) => return self.end(key, end),
        }
        self.arm(key);
    }

    fn enqueue(&mut self, key: usize) {
        self.slots[key].is_queued = true;
        self.queue.push_back(key);
    }

    fn end(&mut self, key: usize, end: End) {
        self.slots.remove(key).connection.end(end);
        self.worker.connections.fetch_sub(1, SeqCst);
    }

    /// Accepts a batch, unless another loop should accept.
    fn accept(&mut self) {
        self.next_accept = NextAccept::OnEvent;
        let shared = Arc::clone(&self.shared);
        let acceptor = shared.acceptor.read().unwrap_or_else(PoisonError::into_inner);
        let Some(acceptor) = &*acceptor else { return };
        let (number, mut is_ahead) = (self.number, false);
        let check = || {
            is_ahead = shared.is_ahead(number);
            is_ahead
        };
        self.next_accept = acceptor.accept_batch(check, |admitted| self.add(admitted));
        if is_ahead {
            shared.wake_least_loaded();
        }
    }

    /// Adds a connection. If it has sent bytes already, its registration makes the first event.
    fn add(&mut self, admitted: Admitted) {
        let connection = Connection::new(admitted);
        let entry = self.slots.vacant_entry();
        let key = entry.key();
        if let Err(error) = self.readiness.add(&connection.socket, key) {
            return connection.end(End::Failed(error));
        }
        entry.insert(Slot {
            connection,
            short_read: ShortRead::MeansEmpty,
            watches_writable: false,
            is_queued: false,
            armed_at: ArmedAt::default(),
        });
        self.worker.connections.fetch_add(1, SeqCst);
        self.arm(key);
    }

    /// Begins the drain of every connection. The first loop that gets here accepts for the last time, so no busy loop keeps
    /// the listeners open.
    fn drain(&mut self) {
        let acceptor = self.shared.acceptor.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(acceptor) = acceptor {
            for handle in &self.shared.handles {
                acceptor.listeners().for_each(|listener| handle.readiness.unwatch(listener));
            }
            for admitted in acceptor.accept_last(SocketFlags::NONBLOCK) {
                self.add(admitted);
            }
        }
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            let slot = &mut self.slots[key];
            if slot.connection.echo.drain() && !slot.is_queued {
                self.enqueue(key);
            }
        }
    }

    /// Wakes or ends connections whose deadline has passed, and ends a pause in accepting.
    fn time_out(&mut self, now: Instant) {
        if matches!(self.next_accept, NextAccept::At(moment) if moment <= now) {
            self.next_accept = NextAccept::Soon;
        }
        while let Some(key) = self.deadlines.take_due(&mut self.slots, now) {
            let slot = &mut self.slots[key];
            if slot.is_queued {
                // Its visit sets the deadline again.
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
        let next_accept = match self.next_accept {
            NextAccept::At(moment) => Some(moment),
            NextAccept::OnEvent | NextAccept::Soon => None,
        };
        next_accept.into_iter().chain(self.deadlines.next()).min()
    }
}

impl Timed for Slot {
    fn deadline(&self) -> Option<Instant> {
        self.connection.echo.deadline()
    }

    fn armed_at(&mut self) -> &mut ArmedAt {
        &mut self.armed_at
    }
}
