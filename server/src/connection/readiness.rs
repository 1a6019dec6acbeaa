//! Edge-triggered epoll, for the modes that keep their connections in it.
//!
//! Every socket is registered once. After a visit has received or sent all that is possible, the next event reports that more
//! is possible. So an echo costs one receive, one send and no other call.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};

use crate::kernel::{epoll_add, epoll_delete, epoll_modify, epoll_wait};

/// How many events one wait returns at most.
const EVENTS: usize = 256;

/// The events of a connection. Urgent data is one of them, because a read stops at it.
const READABLE: EventFlags =
    EventFlags::IN.union(EventFlags::PRI).union(EventFlags::RDHUP).union(EventFlags::ET);

/// After one of these events, a short read may leave more: the end of the stream, or the bytes after urgent data.
const SHORT_READ_MAY_LEAVE_MORE: EventFlags =
    EventFlags::PRI.union(EventFlags::RDHUP).union(EventFlags::HUP).union(EventFlags::ERR);

/// An epoll instance. It watches connections, each with its key, and other descriptors of the mode.
pub(crate) struct Readiness {
    epoll: OwnedFd,
}

/// The events of one wait.
pub(crate) type Events = Vec<Event>;

/// Room for the events of one wait.
pub(crate) fn events() -> Events {
    Vec::with_capacity(EVENTS)
}

/// Whether a short read of this event's connection may leave more, from now on.
pub(crate) fn short_read_may_leave_more(event: &Event) -> bool {
    let flags = event.flags;
    flags.intersects(SHORT_READ_MAY_LEAVE_MORE)
}

impl Readiness {
    /// # Errors
    /// When the kernel makes no epoll instance, or does not support `epoll_pwait2`.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot make an epoll instance: {error}"))
        })?;
        // Tries once, so that the server does not start on a kernel where each wait fails.
        epoll_wait(&epoll, &mut events(), Some(&Timespec::default()))
            .map_err(|error| match error {
                Errno::NOSYS | Errno::PERM => io::Error::other(format!(
                    "cannot wait with a timeout in nanoseconds (epoll_pwait2: {error}); use Linux 5.11 or newer, and \
                     a system call filter that allows this call"
                )),
                _ => error.into(),
            })?;
        Ok(Self { epoll })
    }

    /// Watches a descriptor that is no connection. If several instances watch it as `exclusive`, an event wakes one of them.
    pub(crate) fn watch(&self, descriptor: BorrowedFd<'_>, token: u64, exclusive: bool) -> io::Result<()> {
        let mut flags = EventFlags::IN | EventFlags::ET;
        flags.set(EventFlags::EXCLUSIVE, exclusive);
        Ok(epoll_add(&self.epoll, descriptor, EventData::new_u64(token), flags)?)
    }

    /// Watches a listener no more. Closing it would not be enough if another process has the same socket: its connections
    /// would go on to wake this instance, and not that process.
    pub(crate) fn unwatch(&self, listener: BorrowedFd<'_>) {
        // It fails if the listener is not watched, which is what is wanted.
        _ = epoll_delete(&self.epoll, listener);
    }

    /// Watches a connection for bytes to receive. If it has some already, they make the first event.
    pub(crate) fn add(&self, socket: impl AsFd, key: usize) -> rustix::io::Result<()> {
        epoll_add(&self.epoll, socket, EventData::new_u64(key as u64), READABLE)
    }

    /// Watches the connection for room to send as well, until its end: a client that was slow once is slow again.
    pub(crate) fn watch_writable(&self, socket: impl AsFd, key: usize) -> rustix::io::Result<()> {
        epoll_modify(&self.epoll, socket, EventData::new_u64(key as u64), READABLE | EventFlags::OUT)
    }

    /// Waits for events, until the deadline at most.
    pub(crate) fn wait(&self, events: &mut Events, deadline: Option<Instant>) {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left).expect("no configured time is longer than a year")
        });
        self.wait_at_most(events, timeout.as_ref());
    }

    /// Fetches pending events without waiting.
    pub(crate) fn poll(&self, events: &mut Events) {
        self.wait_at_most(events, Some(&Timespec::default()));
    }

    fn wait_at_most(&self, events: &mut Events, timeout: Option<&Timespec>) {
        match epoll_wait(&self.epoll, events, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => unreachable!("epoll_pwait2 has a valid descriptor and timeout: {error}"),
        }
    }
}
