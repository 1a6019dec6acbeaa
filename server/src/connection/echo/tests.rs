//! An echo against a model of its bytes, over a pair of unix sockets with small buffers: the kernel moves their bytes within the
//! calls, so each run of a case is the same. An echo belongs to one thread at a time, so no schedule of threads is involved.

use std::{os::fd::OwnedFd, sync::Arc};

use proptest::{collection::vec, prelude::*};
use rustix::{
    io::{Errno, ioctl_fionread},
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown as How, SocketFlags, SocketType, socketpair, sockopt,
    },
};

use super::*;
use crate::{Config, Shutdown as Handle};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// The client sends so many bytes, as far as its socket takes them.
    Send(usize),
    /// The client reads so many bytes at most.
    Read(usize),
    /// The mode visits the connection.
    Visit,
    /// The shutdown begins.
    Drain,
    /// The client half-closes the connection.
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..40_000_usize).prop_map(Step::Send),
        8 => (1..40_000_usize).prop_map(Step::Read),
        8 => Just(Step::Visit),
        1 => Just(Step::Drain),
        1 => Just(Step::Close),
    ]
}

/// A connection and its client.
struct Bed {
    service: Arc<Service>,
    connection: Connection,
    client: OwnedFd,
    buffer: Vec<u8>,
    /// Bytes that the client has sent, and that it has read.
    sent: usize,
    read: usize,
    is_closed: bool,
    /// What the last visit returned.
    next: Next,
}

impl Bed {
    fn new() -> Self {
        let service = Arc::new(Service::new(Config::for_tests(), Handle::new().unwrap()).unwrap());
        assert!(service.connections.acquire());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, client) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        for end in [&socket, &client] {
            sockopt::set_socket_send_buffer_size(end, 4096).unwrap();
        }
        let session = Session::new(Arc::clone(&service), socket.as_fd(), None);
        let connection = Connection::new(Admitted { socket, session });
        let (sent, read, is_closed, next) = (0, 0, false, Next::Readable);
        // So small that a visit often ends at its maximum number of reads.
        Self { service, connection, client, buffer: vec![0; 200], sent, read, is_closed, next }
    }

    /// The byte at this place of the client's stream: no two places near each other have the same.
    fn byte(place: usize) -> u8 {
        (place % 251) as u8
    }

    fn unread_by_server(&self) -> u64 {
        ioctl_fionread(&self.connection.socket).unwrap()
    }

    fn unread_by_client(&self) -> u64 {
        ioctl_fionread(&self.client).unwrap()
    }

    fn kept(&self) -> usize {
        self.connection.echo.outbox.unsent().map_or(0, <[u8]>::len)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Send(count) if !self.is_closed => {
                let bytes: Vec<_> = (self.sent..self.sent + count).map(Self::byte).collect();
                match send(&self.client, &bytes, SendFlags::NOSIGNAL) {
                    Ok(sent) => self.sent += sent,
                    Err(error) => assert_eq!(error, Errno::AGAIN),
                }
            }
            Step::Read(count) => _ = self.read(count),
            Step::Visit => self.visit(),
            Step::Drain => {
                self.service.shutdown.begin("test");
                self.connection.echo.drain();
            }
            Step::Close if !self.is_closed => {
                shutdown(&self.client, How::Write).unwrap();
                self.is_closed = true;
            }
            Step::Send(_) | Step::Close => {}
        }
    }

    /// The client reads. Returns false at the end of the stream.
    fn read(&mut self, count: usize) -> bool {
        let mut bytes = vec![0; count];
        match recv(&self.client, &mut *bytes, RecvFlags::empty()) {
            Ok((count, _)) => {
                for (offset, byte) in bytes[..count].iter().enumerate() {
                    assert_eq!(*byte, Self::byte(self.read + offset).to_ascii_uppercase(), "a wrong byte");
                }
                self.read += count;
                count > 0
            }
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                true
            }
        }
    }

    fn visit(&mut self) {
        if matches!(self.next, Next::End(_)) {
            return;
        }
        let (unread, unread_echo, kept) = (self.unread_by_server(), self.unread_by_client(), self.kept());
        self.next = self.connection.visit(&mut self.buffer, ShortRead::MeansEmpty, SleepOn::Timer);
        assert!(self.kept() <= self.buffer.len(), "it keeps more than a buffer");
        match self.next {
            Next::Readable => assert_eq!((self.unread_by_server(), self.kept()), (0, 0), "it has more to do"),
            Next::Writable => {
                assert!(self.kept() > 0, "it has nothing to write");
                let socket = &self.connection.socket;
                assert_eq!(send(socket, b"x", SendFlags::NOSIGNAL), Err(Errno::AGAIN), "there is room");
                if kept > 0 && unread_echo == self.unread_by_client() {
                    assert_eq!(unread, self.unread_by_server(), "it received although the client is slow");
                }
            }
            Next::Turn => {}
            Next::Sleep => panic!("there is no simulated work"),
            Next::End(end) => {
                assert_eq!((self.unread_by_server(), self.kept()), (0, 0), "it ended early");
                let expected =
                    if self.service.shutdown.begun().is_some() { End::Drained } else { End::Closed };
                assert_eq!((end, self.is_closed), (expected, true));
            }
        }
    }
}

proptest! {
    /// The client reads exactly the echo of what it sent before the half-close, and a visit never stops with work left.
    #[test]
    fn the_echo_is_the_bytes_in_upper_case(steps in vec(step(), 1..120)) {
        let mut bed = Bed::new();
        let mut sent_before_half_close = None;
        for step in &steps {
            bed.take(step);
            if bed.connection.echo.stage == Stage::HalfClosed {
                // What arrives later is discarded.
                sent_before_half_close.get_or_insert(bed.sent);
            }
        }
        // The client reads all and closes.
        bed.take(&Step::Close);
        let mut quiet = 0;
        while quiet < 3 {
            let before = (bed.read, bed.next);
            bed.visit();
            bed.read(10_000);
            quiet = if (bed.read, bed.next) == before { quiet + 1 } else { 0 };
        }
        prop_assert!(matches!(bed.next, Next::End(_)), "{:?}", bed.next);
        prop_assert_eq!(bed.read, sent_before_half_close.unwrap_or(bed.sent));
        drop(bed.connection);
        prop_assert_eq!(bed.service.connections.open(), 0);
    }
}
