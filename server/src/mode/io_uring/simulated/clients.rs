//! Clients: each sends bytes that its number names, and checks the echo.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::LazyLock,
};

use rand::{RngExt, SeedableRng};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::Random;

/// The most bytes that a client sends.
const BYTES_MAX: usize = 500_000;
/// The most bytes that it reads at once.
const READ_MAX: usize = 64 * 1024;

/// What the clients send, each from the position that is its number, and the echo of it.
static BYTES: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789.\n";
    let mut random = Random::seed_from_u64(0);
    let sent = (0..2 * BYTES_MAX).map(|_| LETTERS[random.random_range(0..LETTERS.len())]);
    let sent: Vec<_> = sent.collect();
    let echo = sent.to_ascii_uppercase();
    (sent, echo)
});

/// The clients of a schedule.
pub(super) struct Clients {
    path: PathBuf,
    clients: Vec<Client>,
    /// How many clients connect in all.
    pub(super) wanted: usize,
    /// The longest message, in bytes.
    pub(super) message_max: usize,
    /// One of how many actions is a reset; 0 for none.
    pub(super) reset_one_in: u32,
    /// Whether a client may be closed before all is echoed: the server is full, or has begun to shut down.
    pub(super) may_be_cut: bool,
    /// Whether each client now sends its rest, half-closes, and reads to the end.
    pub(super) finish: bool,
}

struct Client {
    number: usize,
    stream: Option<UnixStream>,
    to_send: usize,
    sent: usize,
    received: usize,
    is_half_closed: bool,
    /// Whether the client has reset the connection.
    is_reset: bool,
}

impl Clients {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            clients: Vec::new(),
            wanted: 0,
            message_max: 1,
            reset_one_in: 0,
            may_be_cut: false,
            finish: false,
        }
    }

    /// Whether every client is done.
    pub(super) fn are_done(&self) -> bool {
        self.clients.len() == self.wanted && self.clients.iter().all(|client| client.stream.is_none())
    }

    /// How far they are, for the message of a failure.
    pub(super) fn describe(&self) -> String {
        let open = self.clients.iter().filter(|client| client.stream.is_some());
        let open = open.map(|client| {
            format!(
                "client {}: {} of {} sent, {} received",
                client.number, client.sent, client.to_send, client.received
            )
        });
        open.collect::<Vec<_>>().join("\n")
    }

    /// One client does something. Returns whether it has got further.
    pub(super) fn act(&mut self, random: &mut Random) -> bool {
        let can_connect = self.clients.len() < self.wanted;
        if can_connect && (self.clients.is_empty() || random.random_ratio(1, 4)) {
            return self.connect(random);
        }
        let open: Vec<_> =
            (0..self.clients.len()).filter(|index| self.clients[*index].stream.is_some()).collect();
        if open.is_empty() {
            return false;
        }
        let client = &mut self.clients[open[random.random_range(0..open.len())]];
        if self.reset_one_in > 0 && random.random_ratio(1, self.reset_one_in) {
            client.is_reset = true;
            client.stream = None;
            return true;
        }
        let message_max = self.message_max;
        match random.random_range(0..8) {
            0..3 if client.sent < client.to_send => client.write(random.random_range(1..=message_max)),
            3..7 => client.read(random.random_range(1..=2 * message_max), self.may_be_cut),
            _ if client.sent == client.to_send => client.half_close(),
            _ if self.finish => client.write(message_max) | client.read(1 << 20, self.may_be_cut),
            _ => false,
        }
    }

    fn connect(&mut self, random: &mut Random) -> bool {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .expect("there are descriptors");
        let address = SocketAddrUnix::new(&self.path).expect("the path is short");
        let stream = match rustix::net::connect(&socket, &address) {
            Ok(()) => Some(UnixStream::from(socket)),
            // The accept queue is full.
            Err(rustix::io::Errno::AGAIN) => return false,
            Err(error) if self.may_be_cut => {
                assert!(
                    matches!(error, rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT),
                    "{error}"
                );
                None
            }
            Err(error) => panic!("a client cannot connect: {error}"),
        };
        let messages = random.random_range(0..12_usize).min(BYTES_MAX / self.message_max);
        self.clients.push(Client {
            number: self.clients.len(),
            is_reset: stream.is_none(),
            stream,
            to_send: (0..messages).map(|_| random.random_range(1..=self.message_max)).sum(),
            sent: 0,
            received: 0,
            is_half_closed: false,
        });
        true
    }
}

impl Client {
    fn write(&mut self, len: usize) -> bool {
        let Some(mut stream) = self.stream.as_ref() else { return false };
        let end = self.to_send.min(self.sent + len);
        match stream.write(&BYTES.0[self.number..][self.sent..end]) {
            Ok(count) => {
                self.sent += count;
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_closed_by_the_server) => {
                // The next read says how far the echo came.
                self.to_send = self.sent;
                false
            }
        }
    }

    fn read(&mut self, len: usize, may_be_cut: bool) -> bool {
        let Some(mut stream) = self.stream.as_ref() else { return false };
        let mut bytes = vec![0; len.min(READ_MAX)];
        match stream.read(&mut bytes) {
            Ok(0) => self.end(may_be_cut),
            Ok(count) => {
                let expected = &BYTES.1[self.number..][self.received..][..count];
                assert!(bytes[..count] == *expected, "client {}'s echo from {}", self.number, self.received);
                self.received += count;
                assert!(self.received <= self.sent, "client {} got more than it sent", self.number);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => {
                assert!(may_be_cut, "client {}: {error}", self.number);
                self.end(may_be_cut)
            }
        }
    }

    fn end(&mut self, may_be_cut: bool) -> bool {
        let is_complete = self.is_half_closed && self.received == self.sent;
        assert!(
            is_complete || may_be_cut,
            "client {} was cut off: {} sent, {} received",
            self.number,
            self.sent,
            self.received
        );
        self.stream = None;
        true
    }

    fn half_close(&mut self) -> bool {
        if self.is_half_closed {
            return false;
        }
        self.is_half_closed = true;
        let stream = self.stream.as_ref().expect("it is open");
        // It fails if the server has closed the connection; the next read says so.
        _ = stream.shutdown(Shutdown::Write);
        true
    }
}
