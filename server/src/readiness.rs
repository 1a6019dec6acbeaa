//! Readiness of many sockets: epoll as the modes use it that keep their connections in it.
//!
//! Every socket is registered once, edge-triggered. A visit that has received or sent all that it could then knows
//! that an event will tell of more, so an echo costs no call beside its receive and its send.

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

/// How many events one wait brings.
const EVENTS: usize = 256;

/// What a connection's registration asks for. Urgent data stops a read short, so it is asked for as well.
const READABLE: EventFlags =
    EventFlags::IN.union(EventFlags::PRI).union(EventFlags::RDHUP).union(EventFlags::ET);

/// After these, a short read may leave more: an end of the stream, or what follows urgent data.
const MAY_LEAVE_MORE: EventFlags =
    EventFlags::PRI.union(EventFlags::RDHUP).union(EventFlags::HUP).union(EventFlags::ERR);

/// An epoll instance over connections, each known by a key, and over descriptors of the mode's own.
pub(crate) struct Readiness {
    epoll: OwnedFd,
}

/// What a wait brings.
pub(crate) type Events = Vec<Event>;

/// Room for what a wait brings.
pub(crate) fn events() -> Events {
    Vec::with_capacity(EVENTS)
}

/// Whether a read of this event's connection that stops short may leave something, from now on.
pub(crate) fn may_leave_more(event: &Event) -> bool {
    let flags = event.flags;
    flags.intersects(MAY_LEAVE_MORE)
}

impl Readiness {
    /// # Errors
    /// When the kernel gives none, or lacks what a wait needs.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot have an epoll instance: {error}"))
        })?;
        // Tried once, so that nothing is served where waiting would fail.
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events()), Some(&Timespec::default()))
            .map_err(|error| match error {
                Errno::NOSYS | Errno::PERM => io::Error::other(format!(
                    "cannot wait with a timeout in nanoseconds (epoll_pwait2: {error}): it takes Linux 5.11 or newer, \
                     and a system call filter that allows it"
                )),
                _ => error.into(),
            })?;
        Ok(Self { epoll })
    }

    /// Watches a descriptor of the mode's own, edge-triggered. With `exclusive`, an event wakes only one of the
    /// instances that watch it so.
    pub(crate) fn watch(&self, descriptor: BorrowedFd<'_>, token: u64, exclusive: bool) -> io::Result<()> {
        let mut flags = EventFlags::IN | EventFlags::ET;
        flags.set(EventFlags::EXCLUSIVE, exclusive);
        Ok(epoll::add(&self.epoll, descriptor, EventData::new_u64(token), flags)?)
    }

    /// Watches a connection for what it receives. If something is there already, that makes the first event.
    pub(crate) fn add(&self, socket: impl AsFd, key: usize) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, EventData::new_u64(key as u64), READABLE)
    }

    /// Asks to be told as well when the client has taken something. It stays so: clients that are slow once are
    /// slow again.
    pub(crate) fn ask_writable(&self, socket: impl AsFd, key: usize) -> rustix::io::Result<()> {
        epoll::modify(&self.epoll, socket, EventData::new_u64(key as u64), READABLE | EventFlags::OUT)
    }

    /// Waits for events, at most until then.
    pub(crate) fn wait(&self, events: &mut Events, until: Option<Instant>) {
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec::try_from(left).expect("no configured time is longer than a year")
        });
        self.wait_at_most(events, timeout.as_ref());
    }

    /// Takes the events that are there.
    pub(crate) fn poll(&self, events: &mut Events) {
        self.wait_at_most(events, Some(&Timespec::default()));
    }

    fn wait_at_most(&self, events: &mut Events, timeout: Option<&Timespec>) {
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => unreachable!("epoll_wait takes a valid queue and timeout: {error}"),
        }
    }
}
