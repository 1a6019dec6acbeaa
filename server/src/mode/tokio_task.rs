//! A tokio task for each connection.
//!
//! Each thread has its own current-thread runtime, and a connection stays with one runtime. tokio's multi-thread runtime
//! moves tasks between threads. It is unfair when more than about 256 tasks of one worker are ready at once, as in any busy
//! echo server.
//!
//! A task receives in the poll that found its socket readable, into the buffer of its thread. So it needs no buffer while it
//! waits, and no second receive for each echo.

use std::{
    cell::RefCell,
    future::Future,
    io,
    num::NonZero,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker, ready},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use rustix::{io::Errno, net::SocketFlags};
use slab::Slab;
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::{Builder, Handle},
    time::{Sleep, sleep_until},
};

use super::{Mode, Serving, Threads};
use crate::{
    admission::{
        acceptor::{Acceptor, Admitted},
        listener::Listener,
    },
    connection::{
        echo::{BUFFER_BYTES, Echo, Next, ShortRead, SleepOn},
        session::End,
    },
    daemon::{
        service::Service,
        workers::{Worker, with_worker},
    },
};

pub(super) const MODE: Mode = Mode {
    name: "tokio-task",
    summary: "a tokio task for each connection",
    threads: Threads::Workers,
    connections_stay: true,
    start,
};

/// Enough for a task and a log line; the buffer is on the heap.
const STACK_BYTES: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
    /// The wakers of this thread's tasks, for the drain. One of tokio's futures would be the largest part of each task.
    static WAKERS: RefCell<Slab<Waker>> = const { RefCell::new(Slab::new()) };
}

/// A thread and its runtime.
struct Thread {
    runtime: Handle,
    worker: Arc<Worker>,
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let start = |number| start_thread(number, service.workers.add());
    let threads = (0..service.config.threads).map(start).collect::<anyhow::Result<Vec<_>>>()?;
    let (acceptor, service) = (Acceptor::new(service, listeners), Arc::clone(service));
    Ok(Box::new(move || {
        accept_all(&threads, acceptor);
        service.wait_until_drained();
    }))
}

/// Accepts until the shutdown, and assigns each connection to the thread with the fewest. Then begins the drain.
fn accept_all(threads: &[Thread], acceptor: Acceptor) {
    acceptor.run(SocketFlags::NONBLOCK, |_, admitted| {
        let thread = threads
            .iter()
            .min_by_key(|thread| thread.worker.connections.load(Relaxed))
            .expect("a configuration has at least one thread");
        thread.spawn(admitted);
    });
    for thread in threads {
        // Each woken task sees that the shutdown has begun. A task that has no waker yet sees it in its first poll.
        thread.runtime.spawn(async {
            WAKERS.with_borrow(|wakers| wakers.iter().for_each(|(_, waker)| waker.wake_by_ref()));
        });
    }
}

/// Starts a thread whose runtime runs until the process ends.
fn start_thread(number: usize, worker: Arc<Worker>) -> anyhow::Result<Thread> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot make a tokio runtime")?;
    let started = Thread { runtime: runtime.handle().clone(), worker: Arc::clone(&worker) };
    thread::Builder::new()
        .name(format!("tokio-{number}"))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            worker.run_on_this_thread();
            runtime.block_on(std::future::pending::<()>());
        })
        .with_context(|| format!("cannot start thread {number}"))?;
    Ok(started)
}

impl Thread {
    /// Starts a connection's task on this thread.
    fn spawn(&self, admitted: Admitted) {
        let Admitted { socket, session } = admitted;
        join_fragments();
        let _runtime = self.runtime.enter();
        let socket = match Socket::register(socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "cannot register a socket with tokio"),
        };
        self.worker.connections.fetch_add(1, Relaxed);
        let parts = Box::new(Parts { socket, echo: Echo::new(session) });
        self.runtime.spawn(Task { parts, deadline: None, waker: None, next: Next::Readable });
    }
}

/// Makes glibc's allocator merge adjacent free chunks.
///
/// tokio aligns a task's cell and a socket's registration to two cache lines, which leaves gaps of about a hundred bytes.
/// glibc does not merge small chunks until a large request (malloc_consolidate in malloc.c). A merged gap fits the next
/// connection's [`Parts`], which saves 120 of 790 bytes for each connection.
fn join_fragments() {
    const LARGE: usize = 2048;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// A socket that the task's runtime watches. Urgent data is watched as well, which tokio's own sockets do not do: a read stops
/// at it, and the bytes after it make no event of their own.
struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    #[expect(
        deprecated,
        reason = "its replacement is unsafe code; an OwnedFd holds its descriptor open until its drop"
    )]
    fn register(socket: OwnedFd) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        AsyncFd::with_interest(socket, interest).map(Self)
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        match interest.is_readable() {
            true => self.0.poll_read_ready(cx).map_ok(drop),
            false => self.0.poll_write_ready(cx).map_ok(drop),
        }
    }

    fn try_io(&self, interest: Interest, io: impl FnOnce() -> io::Result<Next>) -> io::Result<Next> {
        self.0.try_io(interest, |_| io())
    }

    /// What a short read means. Once there was urgent data, there may be more.
    fn short_read(&self) -> ShortRead {
        match self.0.try_io(Interest::PRIORITY, |_| Ok(())) {
            Ok(()) => ShortRead::MayLeaveMore,
            Err(_not_reported) => ShortRead::MeansEmpty,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connection's task. With at most 24 bytes, its cell in the runtime takes two cache lines and not four.
struct Task {
    parts: Box<Parts>,
    /// Fires at the connection's deadline or earlier: if the deadline moves to a later moment, this moves when it fires.
    deadline: Option<Pin<Box<Sleep>>>,
    /// `None` until the first poll.
    waker: Option<WakerKey>,
    next: Next,
}

/// The index of a task's waker in [`WAKERS`], plus one, so that an `Option` of it takes four bytes.
#[derive(Clone, Copy)]
struct WakerKey(NonZero<u32>);

impl WakerKey {
    fn insert(waker: Waker) -> Self {
        let key = WAKERS.with_borrow_mut(|wakers| wakers.insert(waker)) + 1;
        Self(u32::try_from(key).ok().and_then(NonZero::new).expect("there are fewer sockets than 2^32"))
    }

    fn remove(self) {
        WAKERS.with_borrow_mut(|wakers| wakers.remove(self.0.get() as usize - 1));
    }
}

/// A connection. The alignment rounds its size from 88 up to 96 bytes, which is exactly the size of the gap beside a task's
/// cell ([`join_fragments`]). A box of 88 bytes would not use that gap.
#[repr(align(16))]
struct Parts {
    // Before the echo: its drop counts the connection as ended, and the socket must be closed by then.
    socket: Socket,
    echo: Echo,
}

const _: () = assert!(size_of::<Parts>() <= 96, "a connection takes more memory than its gap has");

impl Future for Task {
    type Output = ();

    /// A poll is a turn of the thread: nothing else of it can take long.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        with_worker(Worker::begin_turn);
        let polled = self.poll_connection(cx);
        self.parts.echo.service().workers.end_turn();
        polled
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        with_worker(|worker| _ = worker.connections.fetch_sub(1, Relaxed));
        if let Some(key) = self.waker {
            key.remove();
        }
    }
}

impl Task {
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.get_or_insert_with(|| WakerKey::insert(cx.waker().clone()));
        let Parts { echo, .. } = &mut *self.parts;
        if echo.shutdown_has_begun() && echo.drain() {
            self.next = Next::Turn;
        }
        let end = match self.poll_echo(cx) {
            Poll::Ready(end) => end,
            Poll::Pending => ready!(self.poll_deadline(cx)),
        };
        let Parts { socket, echo } = &*self.parts;
        echo.end(end, socket.as_fd());
        Poll::Ready(())
    }

    /// Echoes until the connection must wait, or has ended.
    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            self.next = match self.next {
                Next::End(end) => return Poll::Ready(end),
                Next::Readable => ready!(self.visit_when(Interest::READABLE, cx)),
                Next::Writable => ready!(self.visit_when(Interest::WRITABLE, cx)),
                Next::Turn | Next::Sleep => self.parts.visit(),
            };
            match self.next {
                Next::Sleep => return Poll::Pending,
                Next::Turn => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                _ => {}
            }
        }
    }

    /// Visits the connection once tokio reports its socket as ready, and clears tokio's readiness when the visit ends.
    ///
    /// Without urgent data, a short read means an empty socket, as in tokio's own reads: tokio keeps reporting the end of the
    /// stream. So no second receive is needed.
    fn visit_when(&mut self, interest: Interest, cx: &mut Context<'_>) -> Poll<Next> {
        let awaited = if interest.is_readable() { Next::Readable } else { Next::Writable };
        if ready!(self.parts.socket.poll_ready(cx, interest)).is_err() {
            // The runtime shuts down, which happens only at the end of the process.
            return Poll::Ready(Next::End(End::Failed(Errno::SHUTDOWN)));
        }
        let Parts { socket, echo } = &mut *self.parts;
        let visited = socket.try_io(interest, || match visit(echo, socket) {
            next if next == awaited => Err(io::ErrorKind::WouldBlock.into()),
            next => Ok(next),
        });
        Poll::Ready(visited.unwrap_or(awaited))
    }

    /// Waits for the deadline, and then ends or visits the connection.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(deadline) = self.parts.echo.deadline() else {
            self.deadline = None;
            return Poll::Pending;
        };
        let deadline = deadline.into();
        let timer = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            match self.parts.time_out(Instant::now()) {
                None => {}
                Some(Next::End(end)) => return Poll::Ready(end),
                Some(next) => {
                    self.next = next;
                    cx.waker().wake_by_ref();
                    // The next poll visits the connection, and sets the timer again.
                    return Poll::Pending;
                }
            }
            let Some(deadline) = self.parts.echo.deadline() else { break };
            timer.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

impl Parts {
    fn visit(&mut self) -> Next {
        visit(&mut self.echo, &self.socket)
    }

    fn time_out(&mut self, now: Instant) -> Option<Next> {
        self.echo.time_out(self.socket.as_fd(), now)
    }
}

/// [`Echo::visit`], with the buffer of this thread.
fn visit(echo: &mut Echo, socket: &Socket) -> Next {
    BUFFER.with_borrow_mut(|buffer| echo.visit(socket.as_fd(), buffer, socket.short_read(), SleepOn::Timer))
}
