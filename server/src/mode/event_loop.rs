//! One readiness loop per thread. A connection stays with the loop that accepted it.
//!
//! A loop shares nothing with the others while it echoes: one wait brings the events of all its connections, and each
//! connection is visited on the loop's own thread, which costs one receive and one send.
//!
//! The loops share the listeners. Whoever is woken by a newcomer accepts, unless it is ahead of another loop by more
//! than a little: then it knocks at the one that has the fewest, which accepts in its place. So connections spread
//! evenly, however few loops were awake when they came, and none is ever handed over.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use anyhow::Context;
use rustix::{
    event::{EventfdFlags, eventfd},
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
    name: "event-loop",
    summary: "one readiness loop (epoll) per thread",
    threads: Threads::Workers,
    start,
};

/// A loop runs echoes and log lines on its stack; the buffer is not there.
const STACK_BYTES: usize = 256 * 1024;

/// How many newcomers a loop accepts before its connections have their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// What an event is about: a connection's key, or one of these.
const SHUTDOWN: u64 = u64::MAX;
const ROOM: u64 = u64::MAX - 1;
const LISTENER: u64 = u64::MAX - 2;
const KNOCK: u64 = u64::MAX - 3;

/// What the loops share.
struct Shared {
    service: Arc<Service>,
    /// Gone once the drain has begun.
    acceptor: RwLock<Option<Acceptor>>,
    doors: Vec<Door>,
}

/// What a loop shows to the others.
struct Door {
    connections: AtomicUsize,
    /// Makes the loop accept.
    knock: OwnedFd,
}

struct Loop {
    shared: Arc<Shared>,
    number: usize,
    readiness: Readiness,
    slots: Slab<Slot>,
    /// Connections that have something to do without an event.
    queue: VecDeque<usize>,
    deadlines: Deadlines,
    accepting: Accepting,
    buffer: Box<[u8]>,
}

/// When the loop looks for newcomers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    /// At the next event.
    AtEvent,
    /// Once its connections have had their turn.
    Soon,
    /// At this moment, or at an event.
    Resting(Instant),
}

/// A connection's place in its loop.
struct Slot {
    connection: Connection,
    short_read: ShortRead,
    /// Whether its registration asks for writability, which it does from its first short write on.
    asks_writable: bool,
    /// Whether it is in the queue.
    queued: bool,
    armed: Armed,
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let threads = 0..service.config.threads;
    let readinesses =
        threads.clone().map(|_| readiness(&listeners, service)).collect::<anyhow::Result<Vec<_>>>()?;
    let doors = threads.clone().map(|_| Door::new()).collect::<anyhow::Result<Vec<_>>>()?;
    let acceptor = RwLock::new(Some(Acceptor::new(service, listeners)));
    let shared = Arc::new(Shared { service: Arc::clone(service), acceptor, doors });
    for (number, readiness) in threads.zip(readinesses) {
        let mut the_loop = Loop::new(number, readiness, &shared)?;
        thread::Builder::new()
            .name(format!("loop-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || the_loop.run())
            .with_context(|| format!("cannot start thread {number}"))?;
    }
    Ok(Box::new(move || shared.service.wait_until_drained()))
}

/// One loop's epoll instance, which watches what all of them watch.
fn readiness(listeners: &[Listener], service: &Service) -> anyhow::Result<Readiness> {
    let readiness = Readiness::new()?;
    readiness.watch(service.shutdown.as_fd(), SHUTDOWN, false)?;
    readiness.watch(service.places.room(), ROOM, false)?;
    for listener in listeners {
        // A newcomer wakes one loop and not all.
        readiness.watch(listener.as_fd(), LISTENER, true)?;
    }
    Ok(readiness)
}

impl Shared {
    /// Whether this loop has so many more connections than another one that it should leave a newcomer to it. A
    /// sixteenth is little: were it nothing, every second newcomer would have to be knocked for.
    fn is_ahead(&self, number: usize) -> bool {
        let fewest = self.doors.iter().map(|door| door.connections.load(SeqCst)).min().unwrap_or(0);
        self.doors[number].connections.load(SeqCst) > fewest + fewest / 16
    }

    /// Has the loop accept that has the fewest connections.
    fn knock(&self) {
        let door = self.doors.iter().min_by_key(|door| door.connections.load(SeqCst));
        // A full counter would have been a knock as well.
        _ = rustix::io::write(&door.expect("there is a loop").knock, &1_u64.to_ne_bytes());
    }
}

impl Door {
    fn new() -> anyhow::Result<Self> {
        let knock =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("cannot have an eventfd")?;
        Ok(Self { connections: AtomicUsize::new(0), knock })
    }
}

impl Loop {
    fn new(number: usize, readiness: Readiness, shared: &Arc<Shared>) -> anyhow::Result<Self> {
        readiness.watch(shared.doors[number].knock.as_fd(), KNOCK, false)?;
        Ok(Self {
            shared: Arc::clone(shared),
            number,
            readiness,
            slots: Slab::new(),
            queue: VecDeque::new(),
            deadlines: Deadlines::default(),
            accepting: Accepting::AtEvent,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    /// What the thread does for as long as the process lives.
    fn run(&mut self) {
        let mut events = readiness::events();
        loop {
            if self.queue.is_empty() && self.accepting != Accepting::Soon {
                self.readiness.wait(&mut events, self.next_deadline());
            } else {
                self.readiness.poll(&mut events);
            }
            // Before the events, so that one whose turn it is waits for no more than one round.
            for _ in 0..self.queue.len() {
                if let Some(key) = self.queue.pop_front() {
                    self.slots[key].queued = false;
                    self.visit(key);
                }
            }
            self.handle(&mut events);
            if self.next_deadline().is_some() {
                self.time_out(Instant::now());
            }
            if self.accepting == Accepting::Soon {
                self.accept();
            }
        }
    }

    fn handle(&mut self, events: &mut Events) {
        for event in events.drain(..) {
            match event.data.u64() {
                SHUTDOWN => self.drain(),
                LISTENER | ROOM | KNOCK => self.accepting = Accepting::Soon,
                key => {
                    let key = key as usize;
                    // One that ended in this round has no slot any more.
                    let Some(slot) = self.slots.get_mut(key) else { continue };
                    if readiness::may_leave_more(&event) {
                        slot.short_read = ShortRead::MayLeaveMore;
                    }
                    self.visit(key);
                }
            }
        }
    }

    /// Does what can be done at once for a connection.
    fn visit(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if slot.queued {
            return;
        }
        match slot.connection.visit(&mut self.buffer, slot.short_read, Sleeper::Timer) {
            Next::Readable | Next::Sleep => {}
            Next::Writable if slot.asks_writable => {}
            Next::Writable => match self.readiness.ask_writable(&slot.connection.socket, key) {
                Ok(()) => slot.asks_writable = true,
                Err(error) => return self.end(key, End::Failed(error)),
            },
            Next::Turn => return self.enqueue(key),
            Next::End(end) => return self.end(key, end),
        }
        self.arm(key);
    }

    fn enqueue(&mut self, key: usize) {
        self.slots[key].queued = true;
        self.queue.push_back(key);
    }

    fn end(&mut self, key: usize, end: End) {
        self.slots.remove(key).connection.end(end);
        self.door().connections.fetch_sub(1, SeqCst);
    }

    fn door(&self) -> &Door {
        &self.shared.doors[self.number]
    }

    /// Accepts from every listener until nobody is there, another loop should, or the connections should have their
    /// turn.
    fn accept(&mut self) {
        self.accepting = Accepting::AtEvent;
        let shared = Arc::clone(&self.shared);
        let acceptor = shared.acceptor.read().unwrap_or_else(PoisonError::into_inner);
        let Some(acceptor) = &*acceptor else { return };
        let mut turns = 0..ACCEPTS_PER_TURN;
        for listener in acceptor.in_turn() {
            loop {
                if shared.is_ahead(self.number) {
                    return shared.knock();
                }
                if turns.next().is_none() {
                    return self.accepting = Accepting::Soon;
                }
                match acceptor.accept(listener, SocketFlags::NONBLOCK) {
                    Accepted::Newcomer(newcomer) => self.add(newcomer),
                    Accepted::TurnedAway => {}
                    Accepted::Nobody => break,
                    // The event of room will tell.
                    Accepted::Full => return,
                    Accepted::Exhausted => return self.accepting = Accepting::Resting(Instant::now() + REST),
                }
            }
        }
    }

    /// Takes a newcomer in. If its bytes are there already, its registration makes the first event.
    fn add(&mut self, newcomer: Newcomer) {
        let connection = Connection::new(newcomer);
        let entry = self.slots.vacant_entry();
        let key = entry.key();
        if let Err(error) = self.readiness.add(&connection.socket, key) {
            return connection.end(End::Failed(error));
        }
        entry.insert(Slot {
            connection,
            short_read: ShortRead::Empties,
            asks_writable: false,
            queued: false,
            armed: Armed::default(),
        });
        self.door().connections.fetch_add(1, SeqCst);
        self.arm(key);
    }

    /// The shutdown has begun: has every connection finish what it has received. The first loop that gets here accepts
    /// for the last time, so that no loop which is busy keeps the listeners open.
    fn drain(&mut self) {
        let acceptor = self.shared.acceptor.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(acceptor) = acceptor {
            for newcomer in acceptor.accept_last(SocketFlags::NONBLOCK) {
                self.add(newcomer);
            }
        }
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            let slot = &mut self.slots[key];
            if slot.connection.echo.drain() && !slot.queued {
                self.enqueue(key);
            }
        }
    }

    /// Wakes or ends connections whose deadline has passed, and accepts again after a rest.
    fn time_out(&mut self, now: Instant) {
        if matches!(self.accepting, Accepting::Resting(until) if until <= now) {
            self.accepting = Accepting::Soon;
        }
        while let Some(key) = self.deadlines.take_due(&mut self.slots, now) {
            let slot = &mut self.slots[key];
            if slot.queued {
                // Its visit arms it again.
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
        let resting = match self.accepting {
            Accepting::Resting(until) => Some(until),
            _ => None,
        };
        resting.into_iter().chain(self.deadlines.next()).min()
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
