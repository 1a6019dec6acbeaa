//! A client that follows a script on a real socket, and never blocks. It records what the reference model must know.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{getsockopt_impl, libc, sockopt_impl};
use rustix::{
    event::PollFlags,
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use socket2::{Domain, Socket, Type};

use super::{
    program::{Ending, Script, Step},
    reference::{Answer, End, Moments},
    stream::{EchoCheck, Stream, URGENT},
};

/// How long a connection attempt may take. On the loopback interface, it takes less than a millisecond.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How much a client does in one turn, so that the others of its thread get theirs.
const CALLS_PER_TURN: usize = 16;

/// The bytes of one call.
pub(super) const CALL_BYTES: usize = 256 * 1024;

/// The first part of `struct tcp_info` (linux/tcp.h). The kernel returns as many bytes as the caller asks for.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(unreachable_pub, reason = "a public trait is implemented for it by the macro below")]
pub struct TcpInfoHead {
    before: [u64; 15],
    /// Bytes that the peer has acknowledged, with the one of the SYN.
    acknowledged_bytes: u64,
}

sockopt_impl!(
    /// The kernel's information about a TCP connection.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfoHead
);

pub(super) struct Client {
    script: Script,
    server: SocketAddr,
    connects_at: Instant,
    socket: Option<Socket>,
    stream: Stream,
    check: EchoCheck,
    /// The bytes of the PROXY header that are not sent yet, in pieces.
    header: Vec<Vec<u8>>,
    header_bytes: u64,
    /// The number of the current step, and what is left of its writes.
    step: usize,
    writes_left: Option<(u16, u32)>,
    paused_until: Option<Instant>,
    is_blocked: bool,
    has_half_closed: bool,
    resets_at: Option<Instant>,
    /// The next read, if it is not due at once.
    reads_at: Option<Instant>,
    reads_slowly: Option<(usize, Duration)>,
    sent: u64,
    at_eof: bool,
    was_reset: bool,
    last_write: Instant,
    last_look: Instant,
    last_progress: Instant,
    moments: Moments,
    outcome: Option<Result<Answer, String>>,
}

/// What a client waits for.
pub(super) struct Wait {
    pub(super) flags: PollFlags,
    pub(super) until: Option<Instant>,
}

impl Client {
    pub(super) fn new(script: &Script, server: SocketAddr, number: usize, begin: Instant) -> Self {
        let stream = Stream::of(script, number as u64);
        let mut client = Self {
            check: EchoCheck::new(stream.clone()),
            stream,
            server,
            connects_at: begin + Duration::from_micros(script.connects_after_us.into()),
            socket: None,
            header: Vec::new(),
            header_bytes: 0,
            step: 0,
            writes_left: None,
            paused_until: None,
            is_blocked: false,
            has_half_closed: false,
            resets_at: None,
            reads_at: None,
            reads_slowly: None,
            sent: 0,
            at_eof: false,
            was_reset: false,
            last_write: begin,
            last_look: begin,
            last_progress: begin,
            moments: Moments::default(),
            outcome: None,
            script: script.clone(),
        };
        if let Some(header) = &client.script.header {
            let mut bytes = header.bytes();
            client.header_bytes = bytes.len() as u64;
            for piece in &header.pieces {
                let rest = bytes.split_off(bytes.len().min(usize::from(*piece)));
                client.header.push(std::mem::replace(&mut bytes, rest));
            }
            client.header.push(bytes);
            client.header.retain(|piece| !piece.is_empty());
            client.header.reverse();
        }
        client
    }

    /// What it saw, once it has ended.
    pub(super) fn outcome(&self) -> Option<&Result<Answer, String>> {
        self.outcome.as_ref()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// What it waits for; `None` if it has ended.
    pub(super) fn wait(&self) -> Option<Wait> {
        if self.outcome.is_some() {
            return None;
        }
        if self.socket.is_none() {
            return Some(Wait { flags: PollFlags::empty(), until: Some(self.connects_at) });
        }
        let mut flags = PollFlags::empty();
        if self.reads_at.is_none() && !self.at_eof {
            flags |= PollFlags::IN;
        }
        if self.is_blocked {
            flags |= PollFlags::OUT;
        }
        let times = [self.reads_at, self.paused_until, self.resets_at];
        Some(Wait { flags, until: times.into_iter().flatten().min() })
    }

    /// Whether it has made no progress for so long that it may be stuck.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        now.duration_since(self.last_progress) > Duration::from_secs(1)
    }

    /// Notes that the socket holds nothing to read.
    pub(super) fn note_empty(&mut self, now: Instant) {
        self.last_look = now;
    }

    /// Notes how much the server has acknowledged. The drain begins afterwards.
    pub(super) fn note_drain(&mut self) {
        let Some(socket) = &self.socket else {
            self.moments.connected_after_drain = true;
            return;
        };
        // A socket that was reset has no such information.
        let acknowledged = nix::sys::socket::getsockopt(socket, TcpInfo)
            .map_or(0, |info| info.acknowledged_bytes.saturating_sub(1 + self.header_bytes));
        self.moments.acknowledged_before_drain = Some(acknowledged.min(self.sent));
    }

    /// Does all that is possible without waiting. `now` was read just before, so a measured time is rather too long than too
    /// short. Ends if nothing was possible for as long as `patience`.
    pub(super) fn go_on(&mut self, now: Instant, patience: Duration, buffer: &mut [u8]) {
        if self.outcome.is_some() || !self.is_up(now) {
            return;
        }
        if let Err(difference) = self.read(now, buffer) {
            self.outcome = Some(Err(difference));
        } else if self.outcome.is_none() {
            self.write(now, buffer);
        }
        if self.outcome.is_none() && now.duration_since(self.last_progress) > patience {
            self.end(End::Stuck);
        }
        if self.outcome.is_some() {
            self.socket = None;
        }
    }

    /// Whether it is connected. Connects if that is due.
    fn is_up(&mut self, now: Instant) -> bool {
        if self.socket.is_some() {
            return true;
        }
        if now < self.connects_at {
            return false;
        }
        let connected = self.connect();
        (self.last_write, self.last_look, self.last_progress) = (now, now, now);
        match connected {
            Ok(socket) => self.socket = Some(socket),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.end(End::Refused),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.end(End::Reset),
            Err(error) => self.outcome = Some(Err(format!("cannot connect: {error}"))),
        }
        self.socket.is_some()
    }

    fn connect(&self) -> io::Result<Socket> {
        /// Each source address has its own ports, which stay in TIME-WAIT for a minute.
        static SOURCE: AtomicU32 = AtomicU32::new(0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(bytes) = self.script.receive_buffer {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = self.script.send_buffer {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        let [_, _, third, fourth] = SOURCE.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 1, third, fourth.clamp(1, 254)), 0)).into())?;
        socket.connect_timeout(&self.server.into(), CONNECT_TIMEOUT)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn read(&mut self, now: Instant, buffer: &mut [u8]) -> Result<(), String> {
        if self.reads_at.is_some_and(|at| now < at && !self.was_reset) {
            return Ok(());
        }
        self.reads_at = None;
        for _ in 0..CALLS_PER_TURN {
            if self.at_eof {
                return Ok(());
            }
            let most = self.reads_slowly.map_or(buffer.len(), |(bytes, _)| bytes.min(buffer.len()));
            let socket = self.socket.as_ref().expect("it is connected");
            let received = recv(socket, &mut buffer[..most], RecvFlags::empty());
            let is_news = !matches!(received, Err(Errno::AGAIN | Errno::INTR));
            if is_news {
                let unread = self.last_look.elapsed();
                self.moments.longest_unread = self.moments.longest_unread.max(unread);
                self.last_progress = now;
            }
            self.last_look = now;
            match received {
                Ok((0, _)) => {
                    self.at_eof = true;
                    match self.was_reset {
                        true => self.end(End::Reset),
                        false if self.has_half_closed || !self.script.ignores_the_end => {
                            self.end(End::Eof);
                        }
                        false => {}
                    }
                    return Ok(());
                }
                Ok((count, _)) => {
                    self.check.receive(&buffer[..count], self.sent)?;
                    if let Some((_, every)) = self.reads_slowly {
                        self.reads_at = Some(now + every);
                        return Ok(());
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNRESET | Errno::PIPE) => {
                    self.end(End::Reset);
                    return Ok(());
                }
                Err(error) => return Err(format!("cannot receive: {error}")),
            }
        }
        Ok(())
    }

    fn write(&mut self, now: Instant, buffer: &mut [u8]) {
        self.is_blocked = false;
        if self.has_half_closed {
            if self.resets_at.is_some_and(|at| at <= now) {
                self.reset();
            }
            return;
        }
        if self.paused_until.take_if(|until| *until <= now).is_some() {
            self.last_progress = now;
        }
        for _ in 0..CALLS_PER_TURN {
            if self.paused_until.is_some() || self.is_blocked || self.was_reset || self.outcome.is_some() {
                return;
            }
            if !self.header.is_empty() {
                self.write_header(now);
            } else if let Some(step) = self.script.steps.get(self.step).copied() {
                if !self.take_step(step, now, buffer) {
                    return;
                }
            } else {
                return self.finish(now);
            }
        }
        // There is more to do after the others' turns.
        self.paused_until = Some(now);
    }

    fn write_header(&mut self, now: Instant) {
        let piece = self.header.pop().expect("it is not empty");
        let socket = self.socket.as_ref().expect("it is connected");
        // A new socket has room for a whole header.
        match send(socket, &piece, SendFlags::NOSIGNAL) {
            Ok(_) => self.note_written(0, now),
            Err(error) => self.note_write_error(error),
        }
        if !self.header.is_empty() {
            self.paused_until = Some(now + Duration::from_micros(300));
        }
    }

    /// Returns false if the step must wait.
    fn take_step(&mut self, step: Step, now: Instant, buffer: &mut [u8]) -> bool {
        match step {
            Step::Write { times, bytes } => {
                let (times_left, left) = self.writes_left.unwrap_or((times, bytes));
                if times_left == 0 || bytes == 0 {
                    self.writes_left = None;
                    self.step += 1;
                    return true;
                }
                let part = &mut buffer[..CALL_BYTES.min(left as usize)];
                self.stream.fill(self.sent, part);
                let socket = self.socket.as_ref().expect("it is connected");
                match send(socket, part, SendFlags::NOSIGNAL) {
                    Ok(count) => {
                        self.note_written(count, now);
                        let left = left - u32::try_from(count).expect("no more than was asked for");
                        self.writes_left =
                            Some(if left == 0 { (times_left - 1, bytes) } else { (times_left, left) });
                    }
                    Err(error) => self.note_write_error(error),
                }
            }
            Step::WriteUrgent => {
                let socket = self.socket.as_ref().expect("it is connected");
                match send(socket, &[URGENT], SendFlags::NOSIGNAL | SendFlags::OOB) {
                    Ok(count) => {
                        self.note_written(count, now);
                        self.step += 1;
                    }
                    Err(error) => self.note_write_error(error),
                }
            }
            Step::Pause { us } => {
                self.paused_until = Some(now + Duration::from_micros(us.into()));
                self.step += 1;
            }
            Step::StopReading { ms } => {
                self.reads_at = Some(now + Duration::from_millis(ms.into()));
                self.step += 1;
            }
            Step::ReadSlowly { bytes, every_ms } => {
                self.reads_slowly = Some((bytes.max(1) as usize, Duration::from_millis(every_ms.into())));
                self.step += 1;
            }
            Step::AwaitEcho => {
                if self.check.echoed() < self.sent && !self.at_eof {
                    return false;
                }
                self.step += 1;
            }
        }
        true
    }

    fn note_written(&mut self, bytes: usize, now: Instant) {
        self.moments.longest_silence = self.moments.longest_silence.max(self.last_write.elapsed());
        self.sent += bytes as u64;
        (self.last_write, self.last_progress) = (now, now);
    }

    fn note_write_error(&mut self, error: Errno) {
        match error {
            Errno::AGAIN => self.is_blocked = true,
            Errno::INTR => {}
            // What arrived before the reset can still be read.
            Errno::PIPE | Errno::CONNRESET if !self.at_eof => {
                self.was_reset = true;
                self.reads_at = None;
            }
            Errno::PIPE | Errno::CONNRESET => self.end(End::Reset),
            error => self.outcome = Some(Err(format!("cannot send: {error}"))),
        }
    }

    /// All steps are taken.
    fn finish(&mut self, now: Instant) {
        match self.script.ending {
            Ending::HalfClose | Ending::HalfCloseAndReset { .. } => {
                let socket = self.socket.as_ref().expect("it is connected");
                // It fails if the connection was reset, which the next read reports.
                _ = socket.shutdown(Shutdown::Write);
                self.has_half_closed = true;
                self.last_progress = now;
                if let Ending::HalfCloseAndReset { after_us } = self.script.ending {
                    self.resets_at = Some(now + Duration::from_micros(after_us.into()));
                }
                if self.at_eof {
                    self.end(End::Eof);
                }
            }
            Ending::Reset => self.reset(),
            Ending::Close => self.end(End::ByClient),
            Ending::WaitForEnd if self.at_eof => self.end(End::Eof),
            Ending::WaitForEnd => {}
        }
    }

    fn reset(&mut self) {
        let socket = self.socket.as_ref().expect("it is connected");
        // It fails if the connection was reset already.
        _ = socket.set_linger(Some(Duration::ZERO));
        self.end(End::ByClient);
    }

    fn end(&mut self, end: End) {
        let silence = self.last_write.elapsed();
        self.moments.longest_silence = self.moments.longest_silence.max(silence);
        let (sent, echoed) = (self.sent, self.check.echoed());
        self.outcome = Some(Ok(Answer { end, sent, echoed, moments: self.moments }));
    }
}
