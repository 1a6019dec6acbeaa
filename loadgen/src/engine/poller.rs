//! The edge-triggered epoll instance of a load thread.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};

/// The most events that one wait returns.
pub(crate) const EVENTS_MAX: usize = 256;

/// The edge-triggered epoll instance of a load thread.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
}

/// The events of a socket that wake the thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    /// It becomes readable, or the connection ends.
    Readable,
    /// It becomes writable too.
    ReadableAndWritable,
}

impl Poller {
    /// # Errors
    /// When no file descriptor is free.
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Registers a file. Its events carry `data`.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn add(&self, file: impl AsFd, data: u64, interest: Interest) -> Result<(), Errno> {
        epoll::add(&self.epoll, file, EventData::new_u64(data), interest.flags())
    }

    /// Changes the interest of a registered file.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn modify(&self, file: impl AsFd, data: u64, interest: Interest) -> Result<(), Errno> {
        epoll::modify(&self.epoll, file, EventData::new_u64(data), interest.flags())
    }

    /// Waits for events, for at most `wait_ns` if that is given. Replaces the content of `events`, which has the capacity
    /// [`EVENTS_MAX`].
    #[inline]
    pub(crate) fn wait(&self, events: &mut Vec<Event>, wait_ns: Option<u64>) {
        events.clear();
        let timeout = wait_ns.map(timespec);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => unreachable!("epoll_wait with valid arguments fails only by a signal: {error}"),
        }
    }
}

impl Interest {
    fn flags(self) -> EventFlags {
        let readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        match self {
            Interest::Readable => readable,
            Interest::ReadableAndWritable => readable | EventFlags::OUT,
        }
    }
}

fn timespec(wait_ns: u64) -> Timespec {
    Timespec {
        tv_sec: (wait_ns / 1_000_000_000).try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: (wait_ns % 1_000_000_000) as _,
    }
}
