//! The system calls through which threads wake each other, or wait for each other or for clients.
//!
//! They are rustix's, except in the checks of `schedules.rs`: there, a wait blocks the thread in the model checker, which then
//! runs another one.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::event::{EventfdFlags, eventfd};

#[cfg(all(test, shuttle))]
pub(crate) mod model;

#[cfg(all(test, shuttle))]
pub(crate) use self::model::{
    accept_with, epoll_add, epoll_delete, epoll_modify, epoll_wait, ioctl_fionread, is_asleep, note_closed,
    poll, recv, send, shutdown, this_thread, write,
};
#[cfg(not(all(test, shuttle)))]
pub(crate) use self::system::{epoll_wait, is_asleep, note_closed, this_thread};
#[cfg(not(all(test, shuttle)))]
pub(crate) use rustix::{
    event::{
        epoll::{add as epoll_add, delete as epoll_delete, modify as epoll_modify},
        poll,
    },
    io::{ioctl_fionread, write},
    net::{accept_with, recv, send, shutdown},
};

/// An event that a thread or a ring can wait for, together with sockets: an eventfd.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    /// An event that has not occurred.
    ///
    /// # Errors
    /// When the kernel makes no eventfd.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes its descriptor readable. Each call is a new edge.
    pub(crate) fn notify(&self) {
        // A write to a full counter fails, but then the descriptor is readable already.
        _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes its descriptor unreadable again, for level-triggered waits.
    pub(crate) fn reset(&self) {
        _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(not(all(test, shuttle)))]
mod system {
    use std::{fs, os::fd::OwnedFd};

    use rustix::{
        event::{
            Timespec,
            epoll::{self, Event},
        },
        io, thread,
    };

    /// Waits for events of an epoll instance, and adds them to the list as far as it has room.
    pub(crate) fn epoll_wait(
        instance: &OwnedFd,
        events: &mut Vec<Event>,
        timeout: Option<&Timespec>,
    ) -> io::Result<usize> {
        epoll::wait(instance, rustix::buffer::spare_capacity(events), timeout)
    }

    /// The id of the calling thread.
    pub(crate) fn this_thread() -> i32 {
        thread::gettid().as_raw_nonzero().get()
    }

    /// Whether a thread of this process is in an interruptible sleep (proc_pid_stat(5)). If that is unknown, it counts as asleep.
    pub(crate) fn is_asleep(thread: i32) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/self/task/{thread}/stat")) else { return true };
        // The state follows the name, which is in parentheses and may contain parentheses.
        stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with('S'))
    }

    /// A socket was closed. Only a check must be told.
    pub(crate) fn note_closed() {}
}
