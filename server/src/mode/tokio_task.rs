//! A tokio task for each connection.
//!
//! Each thread runs a current-thread runtime of its own, and a connection stays with the runtime that it was
//! given to. tokio's multi-thread runtime would move tasks between threads; it grows unfair when more than about
//! 256 tasks of one worker are ready at once, which is any busy echo server.
//!
//! A task receives in the same poll that found its socket readable, straight into its thread's buffer. So it
//! neither owns a buffer while it waits, nor receives twice for each echo.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use rustix::{io::Errno, net::SocketFlags};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
    runtime::{Builder, Handle},
    time::{Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

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
    let draining = CancellationToken::new();
    acceptor.run(SocketFlags::NONBLOCK, |_, newcomer| {
        let worker = workers
            .iter()
            .min_by_key(|worker| worker.connections.load(Relaxed))
            .expect("a configuration has at least one thread");
        worker.connections.fetch_add(1, Relaxed);
        let (connections, draining) = (Arc::clone(&worker.connections), draining.clone());
        worker.runtime.spawn(async move {
            serve(newcomer, draining).await;
            connections.fetch_sub(1, Relaxed);
        });
    });
    draining.cancel();
}

/// Starts a thread whose runtime runs for as long as the process lives.
fn start_worker(number: usize) -> anyhow::Result<Worker> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot make a tokio runtime")?;
    let worker = Worker { runtime: runtime.handle().clone(), connections: Arc::default() };
    thread::Builder::new()
        .name(format!("tokio-{number}"))
        .stack_size(STACK_BYTES)
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .with_context(|| format!("cannot start thread {number}"))?;
    Ok(worker)
}

/// A connection's task.
async fn serve(newcomer: Newcomer, draining: CancellationToken) {
    let Newcomer { socket, session, is_unix } = newcomer;
    let socket = match Socket::register(socket, is_unix) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "tokio cannot watch a socket"),
    };
    let mut drain = pin!(draining.cancelled());
    let echo = Echo::new(session);
    let mut task = Task { socket, echo, next: Next::Readable, deadline: None, drain: Drain::Unknown };
    let end = poll_fn(|cx| task.poll(drain.as_mut(), cx)).await;
    task.echo.end(end, task.socket.as_fd());
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

struct Task {
    // Before the echo, whose session holds the place.
    socket: Socket,
    echo: Echo,
    next: Next,
    /// Fires at the connection's deadline or before: a deadline that moves on is looked at when this fires.
    deadline: Option<Pin<Box<Sleep>>>,
    drain: Drain,
}

/// What the task knows of the drain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drain {
    /// It has not asked to be woken yet.
    Unknown,
    /// It will be woken. To ask at each wake-up would take a lock that all tasks share.
    WillWake,
    Begun,
}

impl Task {
    fn poll(&mut self, drain: Pin<&mut WaitForCancellationFuture<'_>>, cx: &mut Context<'_>) -> Poll<End> {
        if self.must_drain(drain, cx) && self.echo.drain() {
            self.next = Next::Turn;
        }
        match self.poll_echo(cx) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => self.poll_deadline(cx),
        }
    }

    fn must_drain(&mut self, drain: Pin<&mut WaitForCancellationFuture<'_>>, cx: &mut Context<'_>) -> bool {
        let ask = match self.drain {
            Drain::Unknown => true,
            Drain::WillWake => self.echo.shutdown_has_begun(),
            Drain::Begun => false,
        };
        if !ask {
            return false;
        }
        let has_begun = drain.poll(cx).is_ready();
        self.drain = if has_begun { Drain::Begun } else { Drain::WillWake };
        has_begun
    }

    /// Echoes until there is something to wait for.
    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            self.next = match self.next {
                Next::End(end) => return Poll::Ready(end),
                Next::Readable => ready!(self.visit_when(Interest::READABLE, cx)),
                Next::Writable => ready!(self.visit_when(Interest::WRITABLE, cx)),
                Next::Turn | Next::Sleep => visit(&mut self.echo, &self.socket),
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
        if ready!(self.socket.poll_ready(cx, interest)).is_err() {
            // The runtime is going down, which it does with the process.
            return Poll::Ready(Next::End(End::Failed(Errno::SHUTDOWN)));
        }
        let visited = self.socket.try_io(interest, || match visit(&mut self.echo, &self.socket) {
            next if next == waits_for => Err(io::ErrorKind::WouldBlock.into()),
            next => Ok(next),
        });
        Poll::Ready(visited.unwrap_or(waits_for))
    }

    /// Ends the connection when its deadline has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(deadline) = self.echo.deadline() else {
            self.deadline = None;
            return Poll::Pending;
        };
        let deadline = deadline.into();
        let timer = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            match self.echo.time_out(self.socket.as_fd(), Instant::now()) {
                None => {}
                Some(Next::End(end)) => return Poll::Ready(end),
                Some(next) => {
                    self.next = next;
                    cx.waker().wake_by_ref();
                }
            }
            let Some(deadline) = self.echo.deadline() else { break };
            timer.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

/// Lends the thread's buffer to the connection for a visit.
fn visit(echo: &mut Echo, socket: &Socket) -> Next {
    BUFFER.with_borrow_mut(|buffer| echo.visit(socket.as_fd(), buffer, ShortRead::Empties, Sleeper::Timer))
}
