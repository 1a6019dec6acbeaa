//! A tokio task for each connection.
//!
//! Each thread runs a current-thread runtime of its own, and a connection stays with the runtime that it was
//! given to. tokio's multi-thread runtime would move tasks between threads; it grows unfair when more than about
//! 256 tasks of one worker are ready at once, which is any busy echo server.
//!
//! A task receives in the same poll that found its socket readable, straight into its thread's buffer. So it
//! neither owns a buffer while it waits, nor receives twice for each echo.

use std::{
    cell::{OnceCell, RefCell},
    future::Future,
    io,
    num::NonZero,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use rustix::{io::Errno, net::SocketFlags};
use slab::Slab;
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
    runtime::{Builder, Handle},
    time::{Sleep, sleep_until},
};

use super::{Mode, Serving, Threads};
use crate::{
    admission::{Acceptor, Newcomer},
    echo::{BUFFER_BYTES, Echo, Next, ShortRead, Sleeper},
    listen::Listener,
    service::Service,
    session::End,
};

pub(super) const MODE: Mode = Mode {
    name: "tokio-task",
    summary: "a tokio task for each connection",
    threads: Threads::Workers,
    start,
};

/// A thread runs tasks and log lines on its stack; the buffer is not there.
const STACK_BYTES: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
    /// How the drain wakes the tasks of this thread. A future of tokio's that waits for it would be the largest part of
    /// a task.
    static WAKERS: RefCell<Slab<Waker>> = const { RefCell::new(Slab::new()) };
    /// This thread's [`Worker::connections`].
    static CONNECTIONS: OnceCell<Arc<AtomicUsize>> = const { OnceCell::new() };
}

/// One thread's runtime, and how many connections it has.
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let workers = (0..service.config.threads).map(start_worker).collect::<anyhow::Result<Vec<_>>>()?;
    let (acceptor, service) = (Acceptor::new(service, listeners), Arc::clone(service));
    Ok(Box::new(move || {
        serve_all(&workers, acceptor);
        service.wait_until_drained();
    }))
}

/// Gives each newcomer to the thread that has the fewest connections, and has all of them drain at the end.
fn serve_all(workers: &[Worker], acceptor: Acceptor) {
    acceptor.run(SocketFlags::NONBLOCK, |_, newcomer| {
        let worker = workers
            .iter()
            .min_by_key(|worker| worker.connections.load(Relaxed))
            .expect("a configuration has at least one thread");
        worker.spawn(newcomer);
    });
    for worker in workers {
        // Each task sees for itself that the shutdown has begun. One that came later is polled for the first time later.
        worker.runtime.spawn(async {
            WAKERS.with_borrow(|wakers| wakers.iter().for_each(|(_, waker)| waker.wake_by_ref()));
        });
    }
}

/// Starts a thread whose runtime runs for as long as the process lives.
fn start_worker(number: usize) -> anyhow::Result<Worker> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot make a tokio runtime")?;
    let worker = Worker { runtime: runtime.handle().clone(), connections: Arc::default() };
    let connections = Arc::clone(&worker.connections);
    thread::Builder::new()
        .name(format!("tokio-{number}"))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            CONNECTIONS.with(|this| this.set(connections)).expect("a thread is started once");
            runtime.block_on(std::future::pending::<()>());
        })
        .with_context(|| format!("cannot start thread {number}"))?;
    Ok(worker)
}

impl Worker {
    /// Starts the newcomer's task.
    fn spawn(&self, newcomer: Newcomer) {
        let Newcomer { socket, session, is_unix } = newcomer;
        join_fragments();
        let _runtime = self.runtime.enter();
        let socket = match Socket::register(socket, is_unix) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "tokio cannot watch a socket"),
        };
        self.connections.fetch_add(1, Relaxed);
        let parts = Box::new(Parts { socket, echo: Echo::new(session) });
        self.runtime.spawn(Task { parts, deadline: None, waker: None, next: Next::Readable });
    }
}

/// Has glibc's allocator join what lies free between its chunks.
///
/// tokio aligns a task's cell and a socket's registration to two cache lines, which leaves gaps of a hundred bytes. glibc
/// would keep each small gap by itself, to be quick, until a large request comes (malloc_consolidate in malloc.c);
/// joined, they hold the next connection's [`Parts`]. That saves 120 of 790 bytes for each connection.
fn join_fragments() {
    const LARGE: usize = 2048;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// A socket that the task's runtime watches.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn register(socket: OwnedFd, is_unix: bool) -> io::Result<Self> {
        Ok(match is_unix {
            true => Self::Unix(UnixStream::from_std(socket.into())?),
            false => Self::Tcp(TcpStream::from_std(socket.into())?),
        })
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        match (self, interest.is_readable()) {
            (Self::Tcp(socket), true) => socket.poll_read_ready(cx),
            (Self::Tcp(socket), false) => socket.poll_write_ready(cx),
            (Self::Unix(socket), true) => socket.poll_read_ready(cx),
            (Self::Unix(socket), false) => socket.poll_write_ready(cx),
        }
    }

    fn try_io(&self, interest: Interest, io: impl FnOnce() -> io::Result<Next>) -> io::Result<Next> {
        match self {
            Self::Tcp(socket) => socket.try_io(interest, io),
            Self::Unix(socket) => socket.try_io(interest, io),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A connection's task. With at most 24 bytes, the cell in which the runtime keeps it takes two cache lines and not four.
struct Task {
    parts: Box<Parts>,
    /// Fires at the connection's deadline or before: a deadline that moves on is looked at when this fires.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Its place among the thread's wakers, once it has been polled.
    waker: Option<WakerKey>,
    next: Next,
}

/// A place among the thread's wakers, counted from 1.
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

struct Parts {
    // Before the echo, whose session holds the place.
    socket: Socket,
    echo: Echo,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
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
}

impl Drop for Task {
    fn drop(&mut self) {
        CONNECTIONS.with(|this| this.get().map(|connections| connections.fetch_sub(1, Relaxed)));
        if let Some(key) = self.waker {
            key.remove();
        }
    }
}

impl Task {
    /// Echoes until there is something to wait for.
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

    /// Visits the connection once tokio holds its socket for ready, and tells tokio when it no longer is.
    ///
    /// tokio's own reads take a short read for the end of what was there, and so does a visit; the end of the
    /// stream stays reported. So no second receive is needed to find the socket empty.
    fn visit_when(&mut self, interest: Interest, cx: &mut Context<'_>) -> Poll<Next> {
        let waits_for = if interest.is_readable() { Next::Readable } else { Next::Writable };
        if ready!(self.parts.socket.poll_ready(cx, interest)).is_err() {
            // The runtime is going down, which it does with the process.
            return Poll::Ready(Next::End(End::Failed(Errno::SHUTDOWN)));
        }
        let Parts { socket, echo } = &mut *self.parts;
        let visited = socket.try_io(interest, || match visit(echo, socket) {
            next if next == waits_for => Err(io::ErrorKind::WouldBlock.into()),
            next => Ok(next),
        });
        Poll::Ready(visited.unwrap_or(waits_for))
    }

    /// Ends the connection when its deadline has passed.
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

/// Lends the thread's buffer to the connection for a visit.
fn visit(echo: &mut Echo, socket: &Socket) -> Next {
    BUFFER.with_borrow_mut(|buffer| echo.visit(socket.as_fd(), buffer, ShortRead::Empties, Sleeper::Timer))
}
