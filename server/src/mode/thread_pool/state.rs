//! The state that the pool's threads share under one lock: the ready queue, the connections and their deadlines.

use std::{collections::VecDeque, time::Instant};

use rustix::event::epoll::Event;
use slab::Slab;

use crate::{
    admission::acceptor::{Acceptor, NextAccept},
    connection::{
        deadlines::{ArmedAt, Deadlines, Timed},
        echo::{Connection, ShortRead},
        readiness,
    },
};

pub(super) struct State {
    pub(super) queue: VecDeque<Task>,
    pub(super) slots: Slab<Slot>,
    deadlines: Deadlines,
    /// `None` while a thread accepts, and after a thread has accepted for the last time.
    pub(super) acceptor: Option<Acceptor>,
    pub(super) accepting: Accepting,
    /// Whether the last visit ended at its maximum number of reads. Then even a short queue is much work.
    pub(super) is_heavy: bool,
    pub(super) watcher: Watcher,
    /// Sleeping threads, without those that have been notified but do not run yet.
    pub(super) asleep: usize,
    /// Whether a notified thread does not run yet. Only one thread is notified at a time; it notifies the next.
    pub(super) is_waking: bool,
}

/// A task of the ready queue.
pub(super) enum Task {
    Serve(usize),
    Accept,
}

/// The thread that waits in epoll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Watcher {
    /// No thread waits in epoll.
    None,
    /// A thread waits for events, without a timeout.
    Waits,
    /// A thread waits for events until this moment.
    WaitsUntil(Instant),
}

/// The state of accepting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepting {
    /// The next event queues a [`Task::Accept`].
    AtRest,
    /// The task is queued, or a thread accepts.
    Busy,
    /// The same, and an event has arrived since: it must be queued again.
    BusyEventPending,
    /// Accepting pauses until this moment or an event.
    PausedUntil(Instant),
}

/// A connection of the pool.
pub(super) struct Slot {
    /// `None` while a thread serves it.
    pub(super) connection: Option<Connection>,
    pub(super) activity: Activity,
    /// The meaning of a short read, as events have reported it. It never goes back to [`ShortRead::MeansEmpty`]: after the end of the stream
    /// or urgent data, a read that finds nothing costs less than a missed edge.
    pub(super) short_read: ShortRead,
    /// Whether it is registered for writability, which happens at its first short write.
    pub(super) watches_writable: bool,
    armed_at: ArmedAt,
}

/// The present activity of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// It waits for an event.
    AtRest,
    /// It is in the queue.
    Queued,
    /// A thread serves it.
    Served,
    /// A thread serves it, and an event has arrived since: it must be queued again.
    ServedEventPending,
}

impl State {
    pub(super) fn new(acceptor: Acceptor) -> Self {
        Self {
            queue: VecDeque::new(),
            slots: Slab::new(),
            deadlines: Deadlines::default(),
            acceptor: Some(acceptor),
            accepting: Accepting::AtRest,
            is_heavy: false,
            watcher: Watcher::None,
            asleep: 0,
            is_waking: false,
        }
    }

    /// Queues the connection of an event. A connection that has ended since the event was fetched has no slot.
    pub(super) fn note_event(&mut self, key: usize, event: &Event) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if readiness::short_read_may_leave_more(event) {
            slot.short_read = ShortRead::MayLeaveMore;
        }
        match slot.activity {
            Activity::AtRest => self.enqueue(key),
            Activity::Served => slot.activity = Activity::ServedEventPending,
            Activity::Queued | Activity::ServedEventPending => {}
        }
    }

    /// Queues a connection.
    pub(super) fn enqueue(&mut self, key: usize) {
        self.slots[key].activity = Activity::Queued;
        self.queue.push_back(Task::Serve(key));
    }

    /// Queues a [`Task::Accept`], unless one is queued or a thread accepts.
    pub(super) fn queue_accept(&mut self) {
        self.accepting = match self.accepting {
            Accepting::Busy | Accepting::BusyEventPending => Accepting::BusyEventPending,
            Accepting::AtRest | Accepting::PausedUntil(_) => {
                self.queue.push_back(Task::Accept);
                Accepting::Busy
            }
        };
    }

    /// A thread has accepted a batch.
    pub(super) fn end_batch(&mut self, next: NextAccept) {
        let must_go_on = self.accepting == Accepting::BusyEventPending || next == NextAccept::Soon;
        self.accepting = match next {
            NextAccept::At(moment) if !must_go_on => Accepting::PausedUntil(moment),
            _ => Accepting::AtRest,
        };
        if must_go_on {
            self.queue_accept();
        }
    }

    /// Ends a pause in accepting that is over.
    pub(super) fn end_pause(&mut self, now: Instant) {
        if matches!(self.accepting, Accepting::PausedUntil(moment) if moment <= now) {
            self.queue_accept();
        }
    }

    /// [`Deadlines::arm`], for a connection at rest.
    pub(super) fn arm(&mut self, key: usize) {
        self.deadlines.arm(&mut self.slots, key);
    }

    /// [`Deadlines::take_due`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        self.deadlines.take_due(&mut self.slots, now)
    }

    /// The earliest deadline of a connection or of a pause in accepting.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let pause = match self.accepting {
            Accepting::PausedUntil(moment) => Some(moment),
            Accepting::AtRest | Accepting::Busy | Accepting::BusyEventPending => None,
        };
        pause.into_iter().chain(self.deadlines.next()).min()
    }
}

impl Watcher {
    /// A watcher that waits until then, or without a timeout.
    pub(super) fn until(deadline: Option<Instant>) -> Self {
        deadline.map_or(Self::Waits, Self::WaitsUntil)
    }

    /// Whether a thread waits in epoll and would miss this deadline.
    pub(super) fn misses(self, deadline: Instant) -> bool {
        match self {
            Self::None => false,
            Self::Waits => true,
            Self::WaitsUntil(until) => deadline < until,
        }
    }
}

impl Slot {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: Some(connection),
            activity: Activity::AtRest,
            short_read: ShortRead::MeansEmpty,
            watches_writable: false,
            armed_at: ArmedAt::default(),
        }
    }
}

impl Timed for Slot {
    fn deadline(&self) -> Option<Instant> {
        self.connection.as_ref()?.echo.deadline()
    }

    fn armed_at(&mut self) -> &mut ArmedAt {
        &mut self.armed_at
    }
}
