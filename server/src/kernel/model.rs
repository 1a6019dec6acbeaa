//! The kernel of the checks. Sockets, epoll instances and eventfds are real: the model checker runs all threads on one thread of
//! the system, so each call is one step, and its result follows from the steps before it. Only the waits are replaced. A call
//! that would block makes its thread wait for the next change. So if a wake-up is lost, no thread can run, and the model checker
//! reports that.
//!
//! A timeout that is over ends a wait at once. Every other timeout never ends.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use rustix::{
    event::{
        EventfdFlags, PollFd, PollFlags, Timespec,
        epoll::{self, Event, EventData, EventFlags},
        eventfd,
    },
    fs::{OFlags, fcntl_getfl},
    io::{self, Errno, fcntl_dupfd_cloexec},
    net::{RecvFlags, SendFlags, Shutdown, SocketFlags},
};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

shuttle::lazy_static! {
    static ref KERNEL: Kernel = Kernel::default();
}

#[derive(Default)]
struct Kernel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Threads that wait in a receive, each with a copy of its socket.
    asleep: BTreeMap<i32, OwnedFd>,
    /// Epoll instances in which a thread waits.
    waiting: Vec<RawFd>,
    exclusive: Vec<Exclusive>,
}

/// An exclusive registration (`EPOLLEXCLUSIVE`).
struct Exclusive {
    instance: RawFd,
    socket: RawFd,
    /// Takes the place of the socket in the instance.
    event: OwnedFd,
}

fn lock() -> MutexGuard<'static, State> {
    KERNEL.state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One step, which nothing waits for.
fn step<T>(call: impl FnOnce(&mut State) -> T) -> T {
    call(&mut lock())
}

/// One step, which others may wait for.
fn change<T>(call: impl FnOnce(&mut State) -> T) -> T {
    let mut state = lock();
    let result = call(&mut state);
    KERNEL.changed.notify_all();
    result
}

/// Waits until a step is possible.
fn wait<T>(mut call: impl FnMut(&mut State) -> Option<T>) -> T {
    let mut state = lock();
    loop {
        if let Some(result) = call(&mut state) {
            return result;
        }
        state = KERNEL.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn is_over(timeout: Option<&Timespec>) -> bool {
    timeout.is_some_and(|timeout| *timeout == Timespec::default())
}

pub(crate) fn write(event: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    change(|_| io::write(event, bytes))
}

pub(crate) fn note_closed() {
    change(|_| ());
}

pub(crate) fn accept_with(listener: impl AsFd, flags: SocketFlags) -> io::Result<OwnedFd> {
    step(|_| rustix::net::accept_with(listener, flags))
}

pub(crate) fn recv(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<(usize, usize)> {
    let socket = socket.as_fd();
    let must_not_wait = flags.contains(RecvFlags::DONTWAIT)
        || fcntl_getfl(socket).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK));
    let thread = this_thread();
    wait(|state| {
        let received = rustix::net::recv(socket, &mut *buffer, flags | RecvFlags::DONTWAIT);
        if received == Err(Errno::AGAIN) && !must_not_wait {
            let copy = || fcntl_dupfd_cloexec(socket, 0).expect("the process may have more descriptors");
            state.asleep.entry(thread).or_insert_with(copy);
            return None;
        }
        state.asleep.remove(&thread);
        Some(received)
    })
}

pub(crate) fn send(socket: impl AsFd, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    change(|_| rustix::net::send(socket, bytes, flags | SendFlags::DONTWAIT))
}

pub(crate) fn shutdown(socket: impl AsFd, how: Shutdown) -> io::Result<()> {
    change(|_| rustix::net::shutdown(socket, how))
}

pub(crate) fn ioctl_fionread(socket: impl AsFd) -> io::Result<u64> {
    step(|_| io::ioctl_fionread(socket))
}

pub(crate) fn poll(polled: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> io::Result<usize> {
    wait(|_| match rustix::event::poll(polled, Some(&Timespec::default())) {
        Ok(0) if !is_over(timeout) => None,
        result => Some(result),
    })
}

pub(crate) fn epoll_wait(
    instance: &OwnedFd,
    events: &mut Vec<Event>,
    timeout: Option<&Timespec>,
) -> io::Result<usize> {
    let number = instance.as_raw_fd();
    wait(|state| {
        state.waiting.retain(|waiting| *waiting != number);
        match epoll::wait(instance, rustix::buffer::spare_capacity(events), Some(&Timespec::default())) {
            Ok(0) if !is_over(timeout) => {
                state.waiting.push(number);
                None
            }
            result => Some(result),
        }
    })
}

pub(crate) fn epoll_add(
    instance: &OwnedFd,
    socket: impl AsFd,
    data: EventData,
    flags: EventFlags,
) -> io::Result<()> {
    let socket = socket.as_fd();
    change(|state| {
        if !flags.contains(EventFlags::EXCLUSIVE) {
            return epoll::add(instance, socket, data, flags);
        }
        let event = eventfd(u32::from(is_readable(socket)), EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(instance, &event, data, flags - EventFlags::EXCLUSIVE)?;
        state.exclusive.push(Exclusive { instance: instance.as_raw_fd(), socket: socket.as_raw_fd(), event });
        Ok(())
    })
}

pub(crate) fn epoll_modify(
    instance: &OwnedFd,
    socket: impl AsFd,
    data: EventData,
    flags: EventFlags,
) -> io::Result<()> {
    change(|_| epoll::modify(instance, socket, data, flags))
}

pub(crate) fn epoll_delete(instance: &OwnedFd, socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    step(|state| {
        let ours = (instance.as_raw_fd(), socket.as_raw_fd());
        match state.exclusive.iter().position(|watch| (watch.instance, watch.socket) == ours) {
            Some(index) => {
                // Its close removes it from the instance.
                state.exclusive.swap_remove(index);
                Ok(())
            }
            None => epoll::delete(instance, socket),
        }
    })
}

/// The id of the calling thread.
pub(crate) fn this_thread() -> i32 {
    i32::try_from(usize::from(shuttle::current::me())).expect("there are few threads") + 1
}

/// Whether a thread waits in a receive. What its socket receives wakes it at once, before it runs.
pub(crate) fn is_asleep(thread: i32) -> bool {
    step(|state| state.asleep.get(&thread).is_some_and(|socket| !is_readable(socket.as_fd())))
}

/// What a client's `connect` does. It wakes the instances with an exclusive registration as the kernel does: in some order,
/// until it has woken one in which a thread waits.
pub(crate) fn connect(listener: RawFd, connect: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    change(|state| {
        connect()?;
        let mut watching: Vec<_> = state.exclusive.iter().filter(|watch| watch.socket == listener).collect();
        while !watching.is_empty() {
            let watch = watching.swap_remove(thread_rng().gen_range(0..watching.len()));
            io::write(&watch.event, &1_u64.to_ne_bytes())?;
            if state.waiting.contains(&watch.instance) {
                break;
            }
        }
        Ok(())
    })
}

fn is_readable(socket: BorrowedFd<'_>) -> bool {
    rustix::event::poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&Timespec::default())) == Ok(1)
}
