//! A thread for each connection, which waits in a blocking read: the simplest model.
//!
//! A blocked read cannot be told to drain, and need not be: the acceptor's thread half-closes an idle connection
//! from outside, and its thread stays where it is until the client's end wakes it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionread},
    net::{RecvFlags, SendFlags, Shutdown as ShutdownHow, SocketFlags, recv, send, shutdown, sockopt},
};
use slab::Slab;

use super::{Mode, Threads};
use crate::{
    admission::{Acceptor, Newcomer},
    args::WhenFull,
    listen::Listener,
    service::Service,
    session::{End, Session},
};

pub(super) const MODE: Mode = Mode {
    name: "thread-per-connection",
    summary: "a blocking read in a thread of its own, with a small stack",
    threads: Threads::PerConnection,
    run,
};

/// The buffer that each thread begins with, on its stack: most messages are small, and the pages of a large frame
/// are touched when it is entered.
const SMALL_BUFFER_BYTES: usize = 2 * 1024;

/// The buffer of a thread whose client has once sent more than the small one holds.
const LARGE_BUFFER_BYTES: usize = 64 * 1024;

/// The stack in bytes: the small buffer, and what a log line needs to be formatted.
const STACK_BYTES: usize = 128 * 1024;

/// The connections, so that the drain finds them.
type Registry = Mutex<Slab<Arc<Connection>>>;

struct Connection {
    socket: OwnedFd,
    stage: Mutex<Stage>,
    /// Here until the thread takes it. Its place must not be given to another before the socket is closed.
    session: Mutex<Option<Session>>,
}

/// Who may half-close the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its thread waits for bytes: the drain may.
    Waiting,
    /// Its thread has bytes to echo: only the thread may.
    Busy,
    /// It has been half-closed. What the client still sends is thrown away.
    HalfClosed,
}

fn run(listeners: Vec<Listener>, service: &Arc<Service>) -> io::Result<()> {
    let registry = Arc::default();
    Acceptor::new(service, listeners).run(SocketFlags::empty(), |acceptor, newcomer| {
        start_or_wait(Connection::new(newcomer), &registry, acceptor, service);
    });
    let connections: Vec<_> = lock(&registry).iter().map(|(_, connection)| Arc::clone(connection)).collect();
    for connection in connections {
        connection.drain();
    }
    service.wait_until_drained();
    Ok(())
}

/// Starts the connection's thread. Where there is none to be had, the server is full.
fn start_or_wait(
    mut connection: Arc<Connection>,
    registry: &Arc<Registry>,
    acceptor: &Acceptor,
    service: &Service,
) {
    while let Err((back, error)) = start(connection, registry) {
        acceptor.exhausted(error, "cannot start a thread: raise the limits on threads");
        if service.config.when_full == WhenFull::Reject || service.shutdown.begun().is_some() {
            return acceptor.turn_away("no thread");
        }
        acceptor.rest();
        connection = back;
    }
}

/// Starts the connection's thread. Without one, the connection comes back.
fn start(connection: Arc<Connection>, registry: &Arc<Registry>) -> Result<(), (Arc<Connection>, io::Error)> {
    let key = lock(registry).insert(Arc::clone(&connection));
    let serve = {
        let (connection, registry) = (Arc::clone(&connection), Arc::clone(registry));
        move || {
            let mut session = lock(&connection.session).take().expect("only this thread takes the session");
            let end = connection.serve(&mut session);
            session.end(end, connection.socket.as_fd());
            lock(&registry).remove(key);
            drop(connection);
            drop(session);
        }
    };
    match thread::Builder::new().stack_size(STACK_BYTES).spawn(serve) {
        Ok(_detached) => Ok(()),
        Err(error) => {
            lock(registry).remove(key);
            Err((connection, error))
        }
    }
}

impl Connection {
    fn new(newcomer: Newcomer) -> Arc<Self> {
        Arc::new(Self {
            socket: newcomer.socket,
            stage: Mutex::new(Stage::Busy),
            session: Mutex::new(Some(newcomer.session)),
        })
    }

    /// Half-closes the connection if it is idle: everything that was received has been echoed. Its thread does
    /// so itself if it is not, since it looks for the shutdown after it has said that it waits.
    fn drain(&self) {
        let mut stage = lock(&self.stage);
        if *stage == Stage::Waiting && ioctl_fionread(&self.socket).is_ok_and(|unread| unread == 0) {
            // Where it fails the client is gone, which wakes the thread as well.
            _ = shutdown(&self.socket, ShutdownHow::Write);
            *stage = Stage::HalfClosed;
        }
    }

    /// Echoes until the end.
    fn serve(&self, session: &mut Session) -> End {
        let service = Arc::clone(session.service());
        if let Some(idle_timeout) = service.config.idle_timeout {
            // The kernel keeps the time: a read that has waited for so long fails with AGAIN (socket(7)). Its
            // timeouts are in microseconds, and 0 is none.
            let timeout = Some(idle_timeout.max(Duration::from_micros(1)));
            if let Err(error) = sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, timeout) {
                return End::Failed(error);
            }
        }
        let mut buffer = Buffer::new();
        loop {
            *lock(&self.stage) = Stage::Waiting;
            // Looked for after the thread has said that it waits: either it sees the shutdown here, or the drain
            // sees it waiting.
            if service.shutdown.begun().is_some() {
                return self.finish(&mut buffer, session);
            }
            let received = match recv(&self.socket, buffer.space(), RecvFlags::empty()) {
                Ok((received, _)) => buffer.received(received),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return End::IdleTimeout,
                Err(error) => return End::Failed(error),
            };
            match (self.take_over(), received.is_empty()) {
                (Stage::HalfClosed, true) => return End::Drained,
                (Stage::HalfClosed, false) => return self.wait_for_end(&mut buffer),
                (_, true) => return End::Closed,
                (_, false) => {
                    if let Err(end) = self.echo(received, session) {
                        return end;
                    }
                }
            }
        }
    }

    /// From now on, the drain leaves the connection to its thread. Returns how far it had come.
    fn take_over(&self) -> Stage {
        std::mem::replace(&mut *lock(&self.stage), Stage::Busy)
    }

    /// The shutdown has begun: echoes what has been received, half-closes, and waits for the client's end.
    fn finish(&self, buffer: &mut Buffer, session: &mut Session) -> End {
        if self.take_over() == Stage::HalfClosed {
            return self.wait_for_end(buffer);
        }
        loop {
            match recv(&self.socket, buffer.space(), RecvFlags::DONTWAIT) {
                Ok((0, _)) => return End::Drained,
                Ok((received, _)) => {
                    if let Err(end) = self.echo(buffer.received(received), session) {
                        return end;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return End::Failed(error),
            }
        }
        // Where it fails the client is gone, which the next read will tell.
        _ = shutdown(&self.socket, ShutdownHow::Write);
        self.wait_for_end(buffer)
    }

    /// Throws away what the client still sends after the half-close, until its end.
    fn wait_for_end(&self, buffer: &mut Buffer) -> End {
        loop {
            match recv(&self.socket, buffer.space(), RecvFlags::empty()) {
                Ok((0, _)) => return End::Drained,
                // An idle timeout (AGAIN) ends nothing here: the drain's own time bounds the wait.
                Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return End::Failed(error),
            }
        }
    }

    fn echo(&self, bytes: &mut [u8], session: &mut Session) -> Result<(), End> {
        session.received += bytes.len() as u64;
        bytes.make_ascii_uppercase();
        if let Some(duration) = session.service().config.work.start() {
            thread::sleep(duration);
        }
        let mut unsent = &bytes[..];
        while !unsent.is_empty() {
            match send(&self.socket, unsent, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => {
                    session.sent += sent as u64;
                    unsent = &unsent[sent..];
                }
                Err(Errno::AGAIN) => self.wait_until_writable(session.service().config.write_timeout)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(End::Failed(error)),
            }
        }
        Ok(())
    }

    /// A blocking send would do as well, but for its timeout: it starts again for what is left over.
    fn wait_until_writable(&self, write_timeout: Duration) -> Result<(), End> {
        let timeout = Timespec::try_from(write_timeout).expect("no configured time is longer than a year");
        loop {
            match poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&timeout)) {
                Ok(0) => return Err(End::WriteTimeout),
                Ok(_) => return Ok(()),
                // The server's own signals: the first begins the drain, the second ends the process.
                Err(Errno::INTR) => {}
                Err(error) => return Err(End::Failed(error)),
            }
        }
    }
}

/// A thread's buffer, which grows once.
struct Buffer {
    small: [u8; SMALL_BUFFER_BYTES],
    /// Empty until the small one was filled.
    large: Vec<u8>,
}

impl Buffer {
    fn new() -> Self {
        Self { small: [0; SMALL_BUFFER_BYTES], large: Vec::new() }
    }

    /// Where the next read goes.
    fn space(&mut self) -> &mut [u8] {
        if self.large.is_empty() { &mut self.small } else { &mut self.large }
    }

    /// What a read has brought. If it filled the buffer, the next one gets the larger one.
    fn received(&mut self, bytes: usize) -> &mut [u8] {
        if self.large.is_empty() && bytes == SMALL_BUFFER_BYTES {
            self.large = vec![0; LARGE_BUFFER_BYTES];
            return &mut self.small;
        }
        &mut self.space()[..bytes]
    }
}

/// No panic leaves what these locks guard half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
