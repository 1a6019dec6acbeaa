//! A thread for each connection, which waits in a blocking read: the simplest model.
//!
//! The drain does not interrupt a blocked read. The acceptor's thread half-closes each idle connection, and the
//! connection's thread stays in its read until the client's end. A connection is idle only if its thread is asleep in the
//! read: an awake thread may have received bytes that it has not echoed yet.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown as ShutdownHow, SocketFlags, sockopt},
};
use slab::Slab;

use super::{Mode, Serving, Threads};
use crate::{
    admission::{
        acceptor::{Acceptor, Admitted},
        listener::Listener,
        proxy_header,
        refusal::Refusal,
    },
    connection::{
        echo::{has_bytes, send_flags},
        grace::Grace,
        session::{End, Session},
    },
    daemon::{config::WhenFull, service::Service, workers::Workers},
    kernel::{ioctl_fionread, is_asleep, poll, recv, send, shutdown, this_thread},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicU8, Ordering::SeqCst, fence},
        thread,
    },
};

pub(super) const MODE: Mode = Mode {
    name: "thread-per-connection",
    summary: "a blocking read in a thread of its own, with a small stack",
    threads: Threads::PerConnection,
    connections_stay: false,
    start,
};

/// The first buffer of each thread. It is on the stack, and small: most messages are, and entering a function with a large
/// frame touches all pages of the frame.
const SMALL_BUFFER_BYTES: usize = 2 * 1024;

/// The buffer of a thread whose client has filled the small one.
const LARGE_BUFFER_BYTES: usize = 64 * 1024;

/// The stack in bytes: enough for the small buffer and for formatting a log line.
const STACK_BYTES: usize = 128 * 1024;

/// All connections, for the drain.
type Registry = Mutex<Slab<Arc<Connection>>>;

struct Connection {
    socket: OwnedFd,
    /// One of the constants below.
    stage: AtomicU8,
    /// The id of its thread; 0 until the thread runs.
    thread: AtomicI32,
    /// `None` once the thread has taken it. Its drop counts the connection as ended, so it must follow the socket's drop.
    session: Mutex<Option<Session>>,
}

/// The connection's thread waits for bytes, or is about to. The drain may claim the connection.
const WAITING: u8 = 0;
/// Its thread may have bytes to echo. Only this thread uses the connection.
const BUSY: u8 = 1;
/// The drain checks whether the thread is asleep. The thread waits for the result.
const CLAIMED: u8 = 2;
/// The drain has half-closed the connection. The thread discards the bytes that the client still sends.
const HALF_CLOSED: u8 = 3;

/// How long the drain waits before it checks again the threads that were awake.
const DRAIN_RETRY: Duration = Duration::from_millis(1);

fn start(listeners: Vec<Listener>, service: &Arc<Service>) -> anyhow::Result<Serving> {
    let (acceptor, service) = (Acceptor::new(service, listeners), Arc::clone(service));
    Ok(Box::new(move || {
        let registry = Arc::default();
        acceptor.run(SocketFlags::empty(), |acceptor, admitted| {
            start_or_wait(Connection::new(admitted), &registry, acceptor, &service);
        });
        // The threads that receive a request meanwhile end their connections themselves.
        service.wait_for_grace_end();
        drain(&registry, &service);
        service.wait_until_drained();
    }))
}

/// Half-closes every idle connection. The threads of the other connections see the shutdown themselves.
fn drain(registry: &Registry, service: &Service) {
    let mut awake: Vec<_> = lock(registry).iter().map(|(_, connection)| Arc::clone(connection)).collect();
    let deadline = service.drain_deadline().expect("the shutdown has begun");
    loop {
        awake.retain(|connection| !connection.drain());
        if awake.is_empty() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(DRAIN_RETRY);
    }
}

/// Starts the connection's thread. If the system has no thread left, this waits for one or refuses the connection, as
/// `--when-full` says.
fn start_or_wait(
    mut connection: Arc<Connection>,
    registry: &Arc<Registry>,
    acceptor: &Acceptor,
    service: &Service,
) {
    while let Err((returned, error)) = start_thread(connection, registry) {
        acceptor.out_of_resources(error, "cannot start a thread: raise the limits on threads");
        if service.config.when_full == WhenFull::Reject || service.shutdown.begun().is_some() {
            return acceptor.refuse(Refusal::NoThread);
        }
        acceptor.pause();
        connection = returned;
    }
}

/// Starts the connection's thread. On failure, returns the connection.
fn start_thread(
    connection: Arc<Connection>,
    registry: &Arc<Registry>,
) -> Result<(), (Arc<Connection>, io::Error)> {
    let key = lock(registry).insert(Arc::clone(&connection));
    let serve = {
        let (connection, registry) = (Arc::clone(&connection), Arc::clone(registry));
        move || {
            let mut session = lock(&connection.session).take().expect("only this thread takes the session");
            let this_thread = session.service().workers.enter();
            let end = connection.serve(&mut session);
            session.end(end, connection.socket.as_fd());
            lock(&registry).remove(key);
            drop(connection);
            drop(this_thread);
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
    fn new(admitted: Admitted) -> Arc<Self> {
        Arc::new(Self {
            socket: admitted.socket,
            stage: AtomicU8::new(BUSY),
            thread: AtomicI32::new(0),
            session: Mutex::new(Some(admitted.session)),
        })
    }

    /// Half-closes the connection if it is idle: its thread is asleep in the read, and there are no bytes to read. Returns
    /// false if the drain must check again, because the thread is awake.
    fn drain(&self) -> bool {
        if self.stage.compare_exchange(WAITING, CLAIMED, SeqCst, SeqCst).is_err() {
            return true;
        }
        // A thread that has received bytes stays awake until it leaves the stage WAITING.
        let is_idle = is_asleep(self.thread.load(SeqCst))
            && ioctl_fionread(&self.socket).is_ok_and(|unread| unread == 0);
        if is_idle {
            // It fails only if the client is gone, which wakes the thread as well.
            _ = shutdown(&self.socket, ShutdownHow::Write);
        }
        self.stage.store(if is_idle { HALF_CLOSED } else { WAITING }, SeqCst);
        is_idle
    }

    /// Echoes until the end.
    fn serve(&self, session: &mut Session) -> End {
        let service = Arc::clone(session.service());
        if let Some(idle_timeout) = service.config.idle_timeout {
            // The kernel watches the timeout: the read fails with AGAIN (socket(7), SO_RCVTIMEO). Its unit is a
            // microsecond, and 0 means no timeout.
            let timeout = Some(idle_timeout.max(Duration::from_micros(1)));
            if let Err(error) = sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, timeout) {
                return End::Failed(error);
            }
        }
        self.thread.store(this_thread(), SeqCst);
        let mut buffer = Buffer::new();
        match self.receive_header(&mut buffer, session, &service) {
            Ok(0) => {}
            Ok(received) if service.shutdown.begun().is_some() => {
                return self.finish(Some(received), &mut buffer, session);
            }
            Ok(received) => {
                let bytes = buffer.received(received);
                process(bytes, session);
                if let Err(end) = self.send(bytes, session, false) {
                    return end;
                }
            }
            Err(end) => return end,
        }
        loop {
            self.stage.store(WAITING, SeqCst);
            fence(SeqCst);
            // In this order: either this thread sees the shutdown, or the drain sees that this thread waits.
            if service.shutdown.begun().is_some() {
                return match self.stop_waiting() {
                    true => self.wait_for_end(&mut buffer, &service.workers),
                    false => self.finish(None, &mut buffer, session),
                };
            }
            let received = service.workers.wait(|| recv(&self.socket, buffer.space(), RecvFlags::empty()));
            let is_half_closed = self.stop_waiting();
            match received {
                Ok((0, _)) => return if is_half_closed { End::Drained } else { End::Closed },
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) if is_half_closed => {
                    return self.wait_for_end(&mut buffer, &service.workers);
                }
                Ok((received, _)) if service.shutdown.begun().is_some() => {
                    return self.finish(Some(received), &mut buffer, session);
                }
                Ok((received, _)) => {
                    let bytes = buffer.received(received);
                    process(bytes, session);
                    if let Err(end) = self.send(bytes, session, false) {
                        return end;
                    }
                    // Let other threads run first. Otherwise Linux's scheduler runs threads that have just run until
                    // their slices end, and thousands of others wait for seconds. And the client's next bytes have often
                    // arrived when this thread runs again: a read that does not sleep costs half as much.
                    service.workers.end_turn();
                    thread::yield_now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return End::IdleTimeout,
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// Receives the PROXY header, if the connection must begin with one. Returns how many bytes that follow it are in the buffer.
    /// The connection is BUSY meanwhile, so this looks for the shutdown itself.
    fn receive_header(
        &self,
        buffer: &mut Buffer,
        session: &mut Session,
        service: &Service,
    ) -> Result<usize, End> {
        let deadline = Instant::now() + proxy_header::timeout(service.config.idle_timeout);
        let mut left = 0;
        while session.awaits_header() {
            match recv(&self.socket, buffer.space(), RecvFlags::DONTWAIT) {
                Ok((0, _)) if service.shutdown.begun().is_some() => return Err(End::Drained),
                Ok((0, _)) => return Err(End::Closed),
                Ok((received, _)) => {
                    let bytes = &mut buffer.space()[..received];
                    if let Some(header_bytes) = session.receive_header(bytes, self.socket.as_fd())? {
                        bytes.copy_within(header_bytes.., 0);
                        left = received - header_bytes;
                    }
                }
                Err(Errno::AGAIN) => {
                    let (now, grace_end) = (Instant::now(), service.grace_end());
                    if grace_end.is_some_and(|end| end <= now) {
                        // It fails only if the client is gone, which the next read reports.
                        _ = shutdown(&self.socket, ShutdownHow::Write);
                        return Err(self.wait_for_end(buffer, &service.workers));
                    }
                    if deadline <= now {
                        return Err(End::TurnedAway(Refusal::ProxyHeader));
                    }
                    let until = grace_end.map_or(deadline, |end| end.min(deadline));
                    self.wait_for_bytes_or_shutdown(service, until - now)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(End::Failed(error)),
            }
        }
        Ok(left)
    }

    /// Waits for bytes or for the begin of the shutdown, for this long at most.
    fn wait_for_bytes_or_shutdown(&self, service: &Service, at_most: Duration) -> Result<(), End> {
        let timeout = Timespec::try_from(at_most).expect("no configured time is longer than a year");
        let mut events =
            [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&service.shutdown, PollFlags::IN)];
        // The event of the shutdown lasts, so it is awaited only once.
        let count = if service.shutdown.begun().is_none() { 2 } else { 1 };
        match service.workers.wait(|| poll(&mut events[..count], Some(&timeout))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(End::Failed(error)),
        }
    }

    /// Leaves the stage WAITING, so that the drain cannot claim the connection. Returns true if the drain has half-closed it
    /// already.
    fn stop_waiting(&self) -> bool {
        loop {
            match self.stage.compare_exchange(WAITING, BUSY, SeqCst, SeqCst) {
                Err(HALF_CLOSED) => return true,
                // This must not sleep: the drain would mistake that for a sleep in the read.
                Err(CLAIMED) => thread::yield_now(),
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Ends the connection after the shutdown has begun: echoes one more message, half-closes, and waits for the client's
    /// end. `received` bytes are in the buffer already.
    fn finish(&self, received: Option<usize>, buffer: &mut Buffer, session: &mut Session) -> End {
        let grace_end = session.service().grace_end().expect("the shutdown has begun");
        let (mut grace, mut last_bytes) = (Grace::Waiting, Instant::now());
        let mut received = received;
        loop {
            let count = match received.take() {
                Some(count) => count,
                None => match recv(&self.socket, buffer.space(), RecvFlags::DONTWAIT) {
                    Ok((0, _)) => return End::Drained,
                    Ok((count, _)) => count,
                    Err(Errno::AGAIN) => {
                        let now = Instant::now();
                        match grace.ends_at(grace_end, last_bytes).filter(|end| now < *end) {
                            None => break,
                            Some(end) => match self.wait_until(PollFlags::IN, end - now, session) {
                                Ok(_) => continue,
                                Err(end) => return end,
                            },
                        }
                    }
                    Err(Errno::INTR) => continue,
                    Err(error) => return End::Failed(error),
                },
            };
            (grace, last_bytes) = (Grace::received(count), Instant::now());
            let bytes = buffer.received(count);
            process(bytes, session);
            // After the work: another request may have arrived meanwhile.
            let is_last =
                grace.is_over(Instant::now(), grace_end, last_bytes) && !has_bytes(self.socket.as_fd());
            if let Err(end) = self.send(bytes, session, is_last) {
                return end;
            }
            last_bytes = Instant::now();
            if is_last {
                break;
            }
        }
        // It fails only if the client is gone, which the next read reports.
        _ = shutdown(&self.socket, ShutdownHow::Write);
        self.wait_for_end(buffer, &session.service().workers)
    }

    /// Discards the bytes that the client sends after the half-close, until the client's end.
    fn wait_for_end(&self, buffer: &mut Buffer, workers: &Workers) -> End {
        loop {
            match workers.wait(|| recv(&self.socket, buffer.space(), RecvFlags::empty())) {
                Ok((0, _)) => return End::Drained,
                // The idle timeout (AGAIN) does not apply here: the drain timeout bounds the wait.
                Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// Sends all bytes. `is_last`: the half-close follows at once.
    fn send(&self, bytes: &[u8], session: &mut Session, is_last: bool) -> Result<(), End> {
        let mut unsent = bytes;
        let mut timed_out = false;
        while !unsent.is_empty() {
            match send(&self.socket, unsent, send_flags(is_last) | SendFlags::DONTWAIT) {
                Ok(sent) => {
                    session.note_sent(sent);
                    unsent = &unsent[sent..];
                    timed_out = false;
                }
                Err(Errno::AGAIN) if timed_out => return Err(End::WriteTimeout),
                Err(Errno::AGAIN) => {
                    // The kernel reports a socket as writable only when a third of its buffer is free. A slow client may
                    // have taken less than that. So this tries once more after the timeout.
                    let timeout = session.service().config.write_timeout;
                    timed_out = !self.wait_until(PollFlags::OUT, timeout, session)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(End::Failed(error)),
            }
        }
        Ok(())
    }

    /// Waits until the socket is ready. Returns false after the timeout. A blocking send cannot replace this: its timeout
    /// begins anew after each part that the socket takes.
    fn wait_until(&self, ready: PollFlags, timeout: Duration, session: &Session) -> Result<bool, End> {
        let workers = &session.service().workers;
        let timeout = Timespec::try_from(timeout).expect("no configured time is longer than a year");
        loop {
            match workers.wait(|| poll(&mut [PollFd::new(&self.socket, ready)], Some(&timeout))) {
                Ok(ready) => return Ok(ready > 0),
                // SIGINT and SIGTERM do not end the wait: the first one begins the drain.
                Err(Errno::INTR) => {}
                Err(error) => return Err(End::Failed(error)),
            }
        }
    }
}

/// Turns received bytes into their echo, and does the simulated work.
fn process(bytes: &mut [u8], session: &mut Session) {
    session.note_received(bytes.len());
    bytes.make_ascii_uppercase();
    if let Some(duration) = session.service().config.work.start() {
        thread::sleep(duration);
    }
}

/// The buffer of a thread. It grows once.
struct Buffer {
    small: [u8; SMALL_BUFFER_BYTES],
    /// Empty until a read has filled the small one.
    large: Vec<u8>,
}

impl Buffer {
    fn new() -> Self {
        Self { small: [0; SMALL_BUFFER_BYTES], large: Vec::new() }
    }

    /// The space for the next read.
    fn space(&mut self) -> &mut [u8] {
        if self.large.is_empty() { &mut self.small } else { &mut self.large }
    }

    /// The bytes of the last read. If it filled the small buffer, the next read uses the large one.
    fn received(&mut self, bytes: usize) -> &mut [u8] {
        if self.large.is_empty() && bytes == SMALL_BUFFER_BYTES {
            self.large = vec![0; LARGE_BUFFER_BYTES];
            return &mut self.small;
        }
        &mut self.space()[..bytes]
    }
}

/// Locks, even after a panic: no panic can leave the guarded values inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
