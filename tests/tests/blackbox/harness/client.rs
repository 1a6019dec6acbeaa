//! A client with a bound on every wait.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::Address;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    text::{Random, expect_same, upper},
    wait::{PATIENCE, wait_for},
};

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
}

/// Bytes of one write or read.
const PART_BYTES: usize = 64 * 1024;

/// Buffers that take nothing for this long are full.
const STILL_AFTER: Duration = Duration::from_millis(300);

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(address: &Address) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects, or returns the error.
    pub(crate) fn try_connect(address: &Address) -> io::Result<Self> {
        Self::try_connect_with(address, |_| Ok(()))
    }

    /// Connects with a receive buffer of about this size, so that few bytes are in flight to a client that does not read.
    #[track_caller]
    pub(crate) fn connect_narrow(address: &Address, buffer_bytes: usize) -> Self {
        Self::try_connect_with(address, |socket| socket.set_recv_buffer_size(buffer_bytes))
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects from this address of the machine: every address of 127.0.0.0/8 is one.
    #[track_caller]
    pub(crate) fn connect_from(address: &Address, source: Ipv4Addr) -> Self {
        let source = SocketAddr::from((source, 0)).into();
        Self::try_connect_with(address, |socket| socket.bind(&source))
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    fn try_connect_with(
        address: &Address,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let peer = match address {
            Address::Tcp { .. } => SockAddr::from(address.resolve()?[0]),
            Address::Unix(path) => SockAddr::unix(path)?,
        };
        let socket = Socket::new(peer.domain(), Type::STREAM, None)?;
        prepare(&socket)?;
        if socket.domain()? == Domain::UNIX {
            socket.connect(&peer)?;
        } else {
            socket.connect_timeout(&peer, PATIENCE)?;
            socket.set_tcp_nodelay(true)?;
        }
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// Its own address, as the server sees it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().expect("a TCP client")
    }

    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8]) {
        (&self.socket).write_all(bytes).expect("the server receives the bytes");
    }

    /// Sends the bytes, or returns the error.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(bytes)
    }

    /// Sends the bytes in pieces: mostly a few of them, sometimes more than any buffer.
    #[track_caller]
    pub(crate) fn send_in_pieces(&self, bytes: &[u8], random: &mut Random) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let longest = [16, 1_000, 200_000][random.next() as usize % 3];
            let (piece, left) = rest.split_at(rest.len().min(1 + random.next() as usize % longest));
            self.send(piece);
            rest = left;
        }
    }

    /// Receives exactly `length` bytes.
    #[track_caller]
    pub(crate) fn receive(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        (&self.socket).read_exact(&mut bytes).unwrap_or_else(|error| panic!("{length} bytes: {error}"));
        bytes
    }

    /// Receives what has arrived, or waits for it. Nothing is the server's end of the stream.
    #[track_caller]
    pub(crate) fn receive_some(&self) -> Vec<u8> {
        let mut part = vec![0; PART_BYTES];
        let length = (&self.socket).read(&mut part).expect("bytes or the end come");
        part.truncate(length);
        part
    }

    /// Receives until the server's end of the stream.
    #[track_caller]
    pub(crate) fn receive_to_end(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        (&self.socket)
            .read_to_end(&mut bytes)
            .unwrap_or_else(|error| panic!("no end after {} bytes: {error}", bytes.len()));
        bytes
    }

    /// Sends the bytes and expects them in upper case.
    #[track_caller]
    pub(crate) fn exchange(&self, bytes: &[u8]) {
        self.send(bytes);
        self.expect_reply_to(bytes);
    }

    /// Sends the bytes and receives as many, or returns the error.
    pub(crate) fn try_exchange(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut reply = vec![0; bytes.len()];
        (&self.socket).write_all(bytes)?;
        (&self.socket).read_exact(&mut reply)?;
        Ok(reply)
    }

    /// Sends bytes that get no reply together with others, and receives the reply to those, or returns the error.
    pub(crate) fn try_exchange_after(&self, silent: &[u8], bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut reply = vec![0; bytes.len()];
        (&self.socket).write_all(&[silent, bytes].concat())?;
        (&self.socket).read_exact(&mut reply)?;
        Ok(reply)
    }

    /// Expects the echo of the bytes.
    #[track_caller]
    pub(crate) fn expect_reply_to(&self, bytes: &[u8]) {
        expect_same(&self.receive(bytes.len()), &upper(bytes));
    }

    /// Expects the server's end of the stream, and nothing before it.
    #[track_caller]
    pub(crate) fn expect_end(&self) {
        expect_same(&self.receive_to_end(), b"");
    }

    /// Expects the end of the stream or a reset, after any bytes.
    #[track_caller]
    pub(crate) fn expect_close_or_reset(&self) {
        let mut rest = Vec::new();
        match (&self.socket).read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("not closed: {error}"),
        }
    }

    /// Expects that no bytes and no end arrive for this long.
    #[track_caller]
    pub(crate) fn expect_silence(&self, duration: Duration) {
        self.socket.set_read_timeout(Some(duration)).unwrap();
        let outcome = (&self.socket).read(&mut [0]);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("no silence: {other:?}"),
        }
    }

    /// Whether bytes or the end of the stream have arrived and are not received yet.
    pub(crate) fn has_unread_bytes(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let outcome = self.socket.peek(&mut [std::mem::MaybeUninit::uninit()]);
        self.socket.set_nonblocking(false).unwrap();
        !matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether bytes have arrived and are not received yet.
    pub(crate) fn has_reply(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let outcome = self.socket.peek(&mut [std::mem::MaybeUninit::uninit()]);
        self.socket.set_nonblocking(false).unwrap();
        matches!(outcome, Ok(1..))
    }

    /// Waits until bytes or the end have arrived.
    #[track_caller]
    pub(crate) fn wait_until_readable(&self) {
        assert!(self.poll(PollFlags::IN, PATIENCE), "nothing arrived");
    }

    /// Whether the peer's half-close has arrived.
    pub(crate) fn is_half_closed_by_peer(&self) -> bool {
        self.poll(PollFlags::RDHUP, Duration::ZERO)
    }

    fn poll(&self, flags: PollFlags, at_most: Duration) -> bool {
        let timeout = Timespec::try_from(at_most).unwrap();
        poll(&mut [PollFd::new(&self.socket, flags)], Some(&timeout)).unwrap() > 0
    }

    /// Shuts its writing side down.
    pub(crate) fn finish_sending(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends all of it and shuts its writing side down, while it receives to the end.
    #[track_caller]
    pub(crate) fn exchange_to_end(&self, bytes: &[u8]) -> Vec<u8> {
        thread::scope(|scope| {
            scope.spawn(|| {
                self.send(bytes);
                self.finish_sending();
            });
            self.receive_to_end()
        })
    }

    /// Sends without reading until backpressure stops it. Returns the number of sent bytes.
    ///
    /// Its bytes count up: [`counting`] makes the same ones.
    #[track_caller]
    pub(crate) fn push_until_backpressure(&self, at_most: usize) -> usize {
        self.socket.set_write_timeout(Some(STILL_AFTER)).unwrap();
        let mut sent = 0;
        loop {
            assert!(sent < at_most, "no backpressure after {sent} bytes");
            match (&self.socket).write(&counting(sent, PART_BYTES)) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("closed after {sent} bytes: {error}"),
            }
        }
        self.socket.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Sends what fits at once, without reading. False if the connection is closed.
    pub(crate) fn push_what_fits(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let bytes = counting(0, PART_BYTES);
        let end = loop {
            if let Err(error) = (&self.socket).write(&bytes) {
                break error;
            }
        };
        self.socket.set_nonblocking(false).unwrap();
        end.kind() == ErrorKind::WouldBlock
    }

    /// Sends without reading until the server closes the connection or `stop` is set.
    #[track_caller]
    pub(crate) fn push_until(&self, stop: &AtomicBool) {
        let deadline = Instant::now() + PATIENCE;
        self.socket.set_write_timeout(Some(STILL_AFTER)).unwrap();
        let bytes = counting(0, PART_BYTES);
        while !stop.load(Ordering::Relaxed) {
            assert!(Instant::now() < deadline, "neither closed nor stopped within {PATIENCE:?}");
            match (&self.socket).write(&bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Receives to the end of the stream, and counts the bytes.
    #[track_caller]
    pub(crate) fn drain_counting(&self, received: &AtomicUsize) {
        let mut part = vec![0; PART_BYTES];
        loop {
            match (&self.socket).read(&mut part).expect("bytes or the end come") {
                0 => return,
                length => _ = received.fetch_add(length, Ordering::Relaxed),
            }
        }
    }

    /// Waits until all buffers are full, and the number of undelivered bytes no longer changes.
    #[track_caller]
    pub(crate) fn wait_until_buffers_are_full(&self) {
        let mut before = (0, Instant::now());
        wait_for("it is held", || {
            let undelivered = self.undelivered_bytes();
            if undelivered == 0 || undelivered != before.0 {
                before = (undelivered, Instant::now());
            }
            (before.1.elapsed() >= STILL_AFTER).then_some(())
        });
    }

    /// Waits until the server's socket has received all sent bytes (proc(5), `/proc/net/tcp`, `tx_queue`).
    #[track_caller]
    pub(crate) fn wait_until_all_is_delivered(&self) {
        wait_for("all is delivered", || (self.undelivered_bytes() == 0).then_some(()));
    }

    /// The number of sent bytes that the server's socket has not received yet.
    pub(crate) fn undelivered_bytes(&self) -> u64 {
        let port = |address: SocketAddr| format!(":{:04X}", address.port());
        let peer = self.socket.peer_addr().unwrap().as_socket().expect("a TCP client");
        let (local, remote) = (port(self.address()), port(peer));
        let table = fs::read_to_string("/proc/net/tcp").expect("there is a table of connections");
        let queue = table.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let is_it = fields.next()?.ends_with(&local) && fields.next()?.ends_with(&remote);
            if is_it { fields.nth(1) } else { None }
        });
        let (unsent, _) = queue.and_then(|queue| queue.split_once(':')).expect("an IPv4 connection");
        u64::from_str_radix(unsent, 16).expect("a number in hexadecimal")
    }
}

/// `length` bytes from `offset` on of a stream without repetitions that could hide a loss.
pub(crate) fn counting(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length).map(|position| (position % 251) as u8).collect()
}

/// Sends the bytes from every client, and waits until every client has the echo.
#[track_caller]
pub(crate) fn exchange_with_all(clients: &[Client], bytes: &[u8]) {
    for client in clients {
        client.send(bytes);
    }
    for client in clients {
        client.expect_reply_to(bytes);
    }
}

/// The time that `act` takes.
pub(crate) fn timed(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}
