//! A thread for each connection, which waits in a blocking read: the simplest model.
//!
//! A blocked read cannot be told to drain, and need not be: the acceptor's thread half-closes an idle connection
//! from outside, and its thread stays where it is until the client's end wakes it. It must not do so while the thread
//! has just received something, so it looks whether the thread is asleep in its read.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicU8, Ordering::SeqCst, fence},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionread},
    net::{RecvFlags, SendFlags, Shutdown as ShutdownHow, SocketFlags, recv, send, shutdown, sockopt},
    thread::gettid,
};
use slab::Slab;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{Acceptor, Newcomer},
    config::WhenFull,
    listen::Listener,
    service::Service,
    session::{End, Session},
};

pub(super) const MODE: Mode = Mode {
    name: "thread-per-connection",
    summary: "a blocking read in a thread of its own, with a small stack",
    threads: Threads::PerConnection,
    start,
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
    /// One of the constants below.
    stage: AtomicU8,
    /// Its thread's id; 0 until it runs.
    thread: AtomicI32,
    /// Here until the thread takes it. Its place must not be given to another before the socket is closed.
    session: Mutex<Option<Session>>,
}

/// The connection's thread waits for bytes, or is about to: the drain may claim the connection.
const WAITING: u8 = 0;
/// Its thread has bytes to echo: nobody else touches the connection.
const BUSY: u8 = 1;
/// The drain looks whether the thread is asleep. The thread waits for its answer.
const CLAIMED: u8 = 2;
/// The drain has half-closed the connection. What the client still sends is thrown away.
const HALF_CLOSED: u8 = 3;

/// How long the drain rests before it looks again at threads that were awake.
const DRAIN_REST: Duration = Duration::from_millis(1);

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let (acceptor, service) = (Acceptor::new(service, listeners), Arc::clone(service));
    Ok(Box::new(move || {
        let registry = Arc::default();
        acceptor.run(SocketFlags::empty(), |acceptor, newcomer| {
            start_or_wait(Connection::new(newcomer), &registry, acceptor, &service);
        });
        drain(&registry, &service);
        service.wait_until_drained();
    }))
}

/// Half-closes every idle connection. The threads of the others see the shutdown themselves.
fn drain(registry: &Registry, service: &Service) {
    let mut left: Vec<_> = lock(registry).iter().map(|(_, connection)| Arc::clone(connection)).collect();
    let deadline = service.drain_deadline().expect("the shutdown has begun");
    loop {
        left.retain(|connection| !connection.drain());
        if left.is_empty() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(DRAIN_REST);
    }
}

/// Starts the connection's thread. Where there is none to be had, the server is full.
fn start_or_wait(
    mut connection: Arc<Connection>,
    registry: &Arc<Registry>,
    acceptor: &Acceptor,
    service: &Service,
) {
    while let Err((back, error)) = start_thread(connection, registry) {
        acceptor.exhausted(error, "cannot start a thread: raise the limits on threads");
        if service.config.when_full == WhenFull::Reject || service.shutdown.begun().is_some() {
            return acceptor.turn_away("no thread");
        }
        acceptor.rest();
        connection = back;
    }
}

/// Starts the connection's thread. Without one, the connection comes back.
fn start_thread(
    connection: Arc<Connection>,
    registry: &Arc<Registry>,
) -> Result<(), (Arc<Connection>, io::Error)> {
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
            stage: AtomicU8::new(BUSY),
            thread: AtomicI32::new(0),
            session: Mutex::new(Some(newcomer.session)),
        })
    }

    /// Half-closes the connection if it is idle: its thread is asleep in the read, and nothing is there to be
    /// read. False if that cannot be told yet, because the thread is awake.
    fn drain(&self) -> bool {
        if self.stage.compare_exchange(WAITING, CLAIMED, SeqCst, SeqCst).is_err() {
            return true;
        }
        // A thread that has received something but not taken over yet is awake: it cannot sleep in between.
        let is_idle = is_asleep(self.thread.load(SeqCst))
            && ioctl_fionread(&self.socket).is_ok_and(|unread| unread == 0);
        if is_idle {
            // Where it fails the client is gone, which wakes the thread as well.
            _ = shutdown(&self.socket, ShutdownHow::Write);
        }
        self.stage.store(if is_idle { HALF_CLOSED } else { WAITING }, SeqCst);
        is_idle
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
        self.thread.store(gettid().as_raw_nonzero().get(), SeqCst);
        let mut buffer = Buffer::new();
        loop {
            self.stage.store(WAITING, SeqCst);
            fence(SeqCst);
            // Looked for after the thread has said that it waits: either it sees the shutdown here, or the drain
            // sees it waiting.
            if service.shutdown.begun().is_some() {
                return self.finish(&mut buffer, session);
            }
            let received = recv(&self.socket, buffer.space(), RecvFlags::empty());
            let half_closed = self.take_over();
            match received {
                Ok((0, _)) => return if half_closed { End::Drained } else { End::Closed },
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) if half_closed => {
                    return self.wait_for_end(&mut buffer);
                }
                Ok((received, _)) => {
                    if let Err(end) = self.echo(buffer.received(received), session) {
                        return end;
                    }
                    // The others first. Linux's scheduler would run the threads that have just run, as long as their
                    // slices last, and leave thousands of others waiting for seconds. And when this one's turn comes
                    // again, its client's next bytes are often there: a read that need not sleep costs half.
                    thread::yield_now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return End::IdleTimeout,
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// From now on, the drain leaves the connection to its thread, unless it has half-closed it already: true.
    fn take_over(&self) -> bool {
        loop {
            match self.stage.compare_exchange(WAITING, BUSY, SeqCst, SeqCst) {
                Err(HALF_CLOSED) => return true,
                // Not asleep: the drain would take that for a sleep in the read.
                Err(CLAIMED) => thread::yield_now(),
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// The shutdown has begun: echoes what has been received, half-closes, and waits for the client's end.
    fn finish(&self, buffer: &mut Buffer, session: &mut Session) -> End {
        if self.take_over() {
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
        let mut time_is_over = false;
        while !unsent.is_empty() {
            match send(&self.socket, unsent, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => {
                    session.sent += sent as u64;
                    unsent = &unsent[sent..];
                    time_is_over = false;
                }
                Err(Errno::AGAIN) if time_is_over => return Err(End::WriteTimeout),
                Err(Errno::AGAIN) => {
                    // A socket is reported writable only when a third of its buffer is free. A slow client may have
                    // taken less than that, and then the socket takes as much: it is tried once more.
                    time_is_over = !self.wait_until_writable(session.service().config.write_timeout)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(End::Failed(error)),
            }
        }
        Ok(())
    }

    /// False if the time was over before. A blocking send would do as well, but for its timeout: it starts again for
    /// what is left over.
    fn wait_until_writable(&self, write_timeout: Duration) -> Result<bool, End> {
        let timeout = Timespec::try_from(write_timeout).expect("no configured time is longer than a year");
        loop {
            match poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
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

/// Whether a thread of this process sleeps and can be interrupted (proc_pid_stat(5)). Where the system does not tell,
/// it is taken to.
fn is_asleep(thread: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/self/task/{thread}/stat")) else { return true };
    // The name before the state is in parentheses, and may hold some.
    stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with('S'))
}

/// No panic leaves what these locks guard half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
