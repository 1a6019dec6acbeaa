//! N threads on one shared ready queue. A connection occupies a thread only while it has bytes to process.
//!
//! The threads take turns as the *watcher*: the watcher waits in epoll for all connections and fills the queue; the other
//! threads work on the queue or sleep. A thread that finds the queue empty and no watcher becomes the watcher. So one event
//! wakes one thread, and no other thread wakes up while the watcher alone keeps up. A client that sends without end would
//! keep the queue from becoming empty: after a visit that reached its maximum of reads, a thread polls epoll once.
//!
//! Every socket is registered once, edge-triggered. The lock keeps two threads from serving one connection: a connection is
//! at rest in its slot or one thread serves it, and an event that arrives meanwhile is noted in the slot.

use std::{io, os::fd::AsFd, sync::Arc, time::Instant};

use anyhow::Context;
use rustix::net::SocketFlags;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{
        acceptor::{Acceptor, Admitted},
        listener::Listener,
    },
    connection::{
        echo::{BUFFER_BYTES, Connection, Next, SleepOn},
        readiness::{self, Events, Readiness},
        session::End,
    },
    daemon::{service::Service, workers::Worker},
    kernel::Event,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, thread},
};

mod state;

use state::{Accepting, Activity, Slot, State, Task, Watcher};

pub(super) const MODE: Mode = Mode {
    name: "thread-pool",
    summary: "some threads on one shared ready queue",
    threads: Threads::Workers,
    connections_stay: false,
    start,
};

/// The length of the queue at which a sleeping thread is notified. An echo costs less than a wake-up, so the running
/// threads work off a shorter queue faster.
const QUEUE_MAX_ALONE: usize = 8;

/// Enough for an echo and a log line; the buffer is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// Event tokens. Every other token is a connection's key.
const SHUTDOWN: u64 = u64::MAX;
const FREED: u64 = u64::MAX - 1;
const LISTENER: u64 = u64::MAX - 2;
const NEW_DEADLINE: u64 = u64::MAX - 3;

struct Pool {
    service: Arc<Service>,
    readiness: Readiness,
    /// Makes the watcher look at the deadlines again.
    new_deadline: Event,
    state: Mutex<State>,
    /// Notifies a sleeping thread.
    task_queued: Condvar,
}

/// How a thread fetches events.
#[derive(Clone, Copy)]
enum Fetch {
    /// Wait for an event or the next deadline.
    Wait,
    /// Take the events that are there: the thread has tasks to do.
    Poll,
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let pool = Arc::new(Pool::new(listeners, service)?);
    for number in 0..service.config.threads {
        let (pool, worker) = (Arc::clone(&pool), service.workers.add());
        thread::Builder::new()
            .name(format!("pool-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || pool.work(&worker))
            .with_context(|| format!("cannot start thread {number}"))?;
    }
    let service = Arc::clone(service);
    Ok(Box::new(move || service.wait_until_drained()))
}

impl Pool {
    fn new(listeners: Vec<Listener>, service: &Arc<Service>) -> io::Result<Self> {
        let readiness = Readiness::new()?;
        let new_deadline = Event::new()?;
        readiness.watch(service.shutdown.as_fd(), SHUTDOWN, false)?;
        readiness.watch(service.connections.freed_event(), FREED, false)?;
        readiness.watch(new_deadline.as_fd(), NEW_DEADLINE, false)?;
        for listener in &listeners {
            readiness.watch(listener.as_fd(), LISTENER, false)?;
        }
        let state = Mutex::new(State::new(Acceptor::new(service, listeners)));
        let service = Arc::clone(service);
        Ok(Self { service, readiness, new_deadline, state, task_queued: Condvar::new() })
    }

    /// Runs until the process ends.
    fn work(&self, worker: &Arc<Worker>) {
        worker.run_on_this_thread();
        let mut buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        let mut events = readiness::events();
        let mut state = self.lock();
        let mut has_polled = false;
        loop {
            let must_poll = state.is_heavy && !has_polled && state.watcher == Watcher::None;
            has_polled = must_poll;
            state = if must_poll {
                self.fetch_events(worker, state, &mut events, Fetch::Poll)
            } else if let Some(task) = state.queue.pop_front() {
                self.notify_another_if_needed(&mut state);
                match task {
                    Task::Serve(key) => self.serve(worker, state, key, &mut buffer),
                    Task::Accept => self.accept(worker, state),
                }
            } else if state.watcher == Watcher::None {
                self.fetch_events(worker, state, &mut events, Fetch::Wait)
            } else {
                self.sleep(worker, state)
            };
        }
    }

    /// Before this thread works on a task: notifies another thread, if it should help or become the watcher.
    fn notify_another_if_needed(&self, state: &mut State) {
        let is_needed = match self.service.config.work.holds_the_thread() {
            true => state.watcher == Watcher::None || !state.queue.is_empty(),
            false => state.queue.len() > QUEUE_MAX_ALONE || state.is_heavy && !state.queue.is_empty(),
        };
        if is_needed && state.asleep > 0 && !state.is_waking {
            state.asleep -= 1;
            state.is_waking = true;
            self.task_queued.notify_one();
        }
    }

    fn sleep<'a>(&'a self, worker: &Worker, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.asleep += 1;
        let wait = || self.task_queued.wait_while(state, |state| !state.is_waking);
        state = worker.wait(&self.service.workers, wait).unwrap_or_else(PoisonError::into_inner);
        state.is_waking = false;
        state
    }

    /// Fetches events and queues their tasks. With [`Fetch::Wait`], this thread is the watcher meanwhile.
    fn fetch_events<'a>(
        &'a self,
        worker: &Worker,
        mut state: MutexGuard<'a, State>,
        events: &mut Events,
        fetch: Fetch,
    ) -> MutexGuard<'a, State> {
        let deadline = match fetch {
            Fetch::Wait => state.next_deadline().into_iter().chain(self.service.watchdog_due()).min(),
            Fetch::Poll => Some(Instant::now()),
        };
        state.watcher = Watcher::until(deadline);
        drop(state);
        worker.wait(&self.service.workers, || self.readiness.wait(events, deadline));
        let mut state = self.lock();
        state.watcher = Watcher::None;
        for event in events.drain(..) {
            match event.data.u64() {
                NEW_DEADLINE => {}
                SHUTDOWN => state = self.drain(state),
                FREED | LISTENER => state.queue_accept(),
                key => state.note_event(key as usize, &event),
            }
        }
        if state.next_deadline().is_some() {
            self.time_out(&mut state, Instant::now());
        }
        state
    }

    /// Wakes the watcher if it waits past the next deadline.
    fn wake_watcher_if_needed(&self, state: &State) {
        if state.next_deadline().is_some_and(|deadline| state.watcher.misses(deadline)) {
            self.new_deadline.notify();
        }
    }

    fn serve<'a>(
        &'a self,
        worker: &Worker,
        mut state: MutexGuard<'a, State>,
        key: usize,
        buffer: &mut [u8],
    ) -> MutexGuard<'a, State> {
        let slot = &mut state.slots[key];
        let mut connection = slot.connection.take().expect("a queued connection is in its slot");
        slot.activity = Activity::Served;
        let (short_read, watches_writable) = (slot.short_read, slot.watches_writable);
        drop(state);
        worker.next_turn(&self.service.workers);
        let next = connection.visit(buffer, short_read, SleepOn::Thread);
        let end = match next {
            Next::End(end) => Some(end),
            Next::Writable if !watches_writable => {
                self.readiness.watch_writable(&connection.socket, key).err().map(End::Failed)
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
        // Checked under the lock: either this thread sees the shutdown, or the drain finds the connection in its slot.
        let must_drain = self.service.shutdown.begun().is_some() && connection.echo.drain();
        state.is_heavy = next == Next::Turn;
        let slot = &mut state.slots[key];
        slot.connection = Some(connection);
        slot.watches_writable |= next == Next::Writable;
        if must_drain || next == Next::Turn || slot.activity == Activity::ServedEventPending {
            state.enqueue(key);
        } else {
            slot.activity = Activity::AtRest;
            state.arm(key);
            self.wake_watcher_if_needed(&state);
        }
        state
    }

    fn accept<'a>(&'a self, worker: &Worker, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(acceptor) = state.acceptor.take() else { return state };
        // Events that arrived while the task was queued are covered by this batch.
        state.accepting = Accepting::Busy;
        drop(state);
        worker.next_turn(&self.service.workers);
        let next = acceptor.accept_batch(|| false, |admitted| self.add(&mut self.lock(), admitted));
        state = self.lock();
        state.acceptor = Some(acceptor);
        // Checked under the lock: either this thread sees the shutdown, or the drain finds the acceptor.
        if self.service.shutdown.begun().is_some() {
            return self.drain(state);
        }
        state.end_batch(next);
        self.wake_watcher_if_needed(&state);
        state
    }

    /// Adds a connection. If it has sent bytes already, its registration makes the first event.
    fn add(&self, state: &mut State, admitted: Admitted) {
        let connection = Connection::new(admitted);
        let entry = state.slots.vacant_entry();
        let key = entry.key();
        if let Err(error) = self.readiness.add(&connection.socket, key) {
            return connection.end(End::Failed(error));
        }
        entry.insert(Slot::new(connection));
        state.arm(key);
    }

    /// Begins the drain: accepts for the last time, and has every connection finish what it has received.
    fn drain<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // A thread that accepts at this moment drains afterwards.
        let Some(acceptor) = state.acceptor.take() else { return state };
        drop(state);
        acceptor.listeners().for_each(|listener| self.readiness.unwatch(listener));
        let last = acceptor.accept_last(SocketFlags::NONBLOCK);
        drop(acceptor);
        state = self.lock();
        for admitted in last {
            self.add(&mut state, admitted);
        }
        let keys: Vec<_> = state.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            // A connection that is being served is told by its thread.
            let slot = &mut state.slots[key];
            let must_visit = slot.connection.as_mut().is_some_and(|connection| connection.echo.drain());
            if must_visit && slot.activity == Activity::AtRest {
                state.enqueue(key);
            }
        }
        state
    }

    /// Ends connections whose deadline has passed, and ends a pause in accepting.
    fn time_out(&self, state: &mut State, now: Instant) {
        state.end_pause(now);
        while let Some(key) = state.take_due(now) {
            let slot = &mut state.slots[key];
            // A served or queued connection gets a new deadline when it comes to rest.
            if slot.activity != Activity::AtRest {
                continue;
            }
            let connection = slot.connection.as_mut().expect("a connection at rest is in its slot");
            match connection.time_out(now) {
                None => state.arm(key),
                Some(Next::End(end)) => {
                    let connection = state.slots.remove(key).connection.expect("it was there above");
                    connection.end(end);
                }
                Some(_) => state.enqueue(key),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock cannot be seen: a panic ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
