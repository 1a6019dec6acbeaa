//! Servers that are slow, drop requests, reply wrongly for a while, or speak another protocol.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::Address;

use super::load::Peer;

/// The size of loadgen's messages by default.
const MESSAGE_BYTES: usize = 64;

/// A server that handles some of its requests wrongly, and counts them. Requests have [`MESSAGE_BYTES`]. It ends when this
/// value is dropped.
pub(crate) struct FaultyServer {
    peer: Peer,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    faults: AtomicU64,
    first_at: OnceLock<Instant>,
}

/// The fault of a server's reply.
#[derive(Clone, Copy)]
enum Fault {
    /// There is no reply, and the connection stays open.
    Dropped,
    /// The last byte of the reply is wrong.
    Wrong,
}

/// The properties of a request on which a fault depends.
struct Request {
    /// Its number among all requests to the server, from 1.
    number: u64,
    /// The time since the first request.
    after_first: Duration,
}

impl FaultyServer {
    /// A server that never answers every `n`-th request, and keeps the connection open.
    pub(crate) fn dropping_every(n: u64) -> Self {
        Self::start(move |request| request.number.is_multiple_of(n).then_some(Fault::Dropped))
    }

    /// A server whose replies are wrong for this long after its first request, and correct afterwards.
    pub(crate) fn wrong_at_first(wrong_for: Duration) -> Self {
        Self::start(move |request| (request.after_first < wrong_for).then_some(Fault::Wrong))
    }

    pub(crate) fn address(&self) -> &Address {
        self.peer.address()
    }

    /// The number of received requests.
    pub(crate) fn requests(&self) -> u64 {
        self.counts.requests.load(SeqCst)
    }

    /// The number of requests with a fault.
    pub(crate) fn faults(&self) -> u64 {
        self.counts.faults.load(SeqCst)
    }

    fn start(fault: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let counts = Arc::<Counts>::default();
        let peer = Peer::start({
            let counts = Arc::clone(&counts);
            move |_, stream| counts.serve(&stream, &fault)
        });
        Self { peer, counts }
    }
}

impl Counts {
    fn serve(&self, mut stream: &TcpStream, fault: &dyn Fn(&Request) -> Option<Fault>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut message = [0; MESSAGE_BYTES];
        loop {
            stream.read_exact(&mut message)?;
            let request = Request {
                number: self.requests.fetch_add(1, SeqCst) + 1,
                after_first: self.first_at.get_or_init(Instant::now).elapsed(),
            };
            let fault = fault(&request);
            self.faults.fetch_add(u64::from(fault.is_some()), SeqCst);
            message.make_ascii_uppercase();
            match fault {
                Some(Fault::Dropped) => continue,
                Some(Fault::Wrong) => message[MESSAGE_BYTES - 1] ^= 1,
                None => {}
            }
            stream.write_all(&message)?;
        }
    }
}

/// An upper-case echo that sends each reply exactly this long after it received the request, also with several requests
/// outstanding.
pub(crate) fn answering_after(delay: Duration) -> Peer {
    Peer::start(move |_, stream| {
        stream.set_nodelay(true)?;
        let (received, to_answer) = mpsc::channel::<(Instant, Vec<u8>)>();
        let (mut reader, mut writer) = (&stream, stream.try_clone()?);
        thread::spawn(move || -> io::Result<()> {
            for (at, bytes) in to_answer {
                thread::sleep((at + delay).saturating_duration_since(Instant::now()));
                writer.write_all(&bytes)?;
            }
            writer.shutdown(Shutdown::Write)
        });
        let mut buffer = vec![0; 64 * 1024];
        while let length @ 1.. = reader.read(&mut buffer)? {
            // The writer has ended, because the client has closed.
            if received.send((Instant::now(), buffer[..length].to_ascii_uppercase())).is_err() {
                break;
            }
        }
        Ok(())
    })
}

/// A web server that answers any bytes with 400, and closes the connection.
pub(crate) fn http_bad_request() -> Peer {
    Peer::start(|_, mut stream| {
        const REPLY: &str = "HTTP/1.1 400 Bad Request\r\nServer: peer\r\nContent-Type: text/html\r\nContent-Length: 24\r\n\
                             Connection: close\r\n\r\n<h1>400 Bad Request</h1>";
        let mut request = [0; 4096];
        if stream.read(&mut request)? > 0 {
            stream.write_all(REPLY.as_bytes())?;
        }
        stream.shutdown(Shutdown::Write)?;
        // Reads the rest, because a close with unread bytes would reset the connection and could lose the reply.
        io::copy(&mut stream, &mut io::sink()).map(drop)
    })
}
