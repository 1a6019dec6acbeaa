//! A server that does exactly what it is told, and keeps a record of what it really did.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::Address;

use crate::harness::{load::Peer, wait_until};

/// Digits of the client's and of the request's number, each, at the beginning of a message.
const DIGITS: usize = 8;

/// A server with a thread for each connection. It ends with this value.
pub(super) struct KnownServer {
    peer: Peer,
    records: Arc<Mutex<Vec<Record>>>,
    connections: Arc<AtomicUsize>,
}

/// A request, as its message says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The client's number, from 0.
    pub(super) client: u64,
    /// The number of the client's request, from 0.
    pub(super) number: u64,
    /// When it was read.
    pub(super) received_ns: u64,
}

/// What is done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// It is answered as soon as the clock reads this.
    Answer { at_ns: u64 },
    /// It is answered at once with a wrong byte there.
    Spoil { offset: usize },
    /// The connection is closed instead.
    Close,
    /// Nothing.
    Ignore,
}

/// What was done about a request, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) request: Request,
    pub(super) deed: Deed,
    /// Before the reply was written: no client had it earlier.
    pub(super) answering_ns: u64,
    /// After it was written: from then on it could be read.
    pub(super) answered_ns: u64,
}

impl KnownServer {
    /// Receives messages of `size` bytes, and does with each what `decide` says.
    pub(super) fn start(size: usize, decide: impl Fn(Request) -> Deed + Send + Sync + 'static) -> Self {
        let records = Arc::<Mutex<Vec<Record>>>::default();
        // The clock begins before any request.
        now_ns();
        let connections = Arc::<AtomicUsize>::default();
        let peer = Peer::start({
            let (records, connections) = (Arc::clone(&records), Arc::clone(&connections));
            move |_, stream| {
                connections.fetch_add(1, Ordering::SeqCst);
                let served = serve(&stream, size, &decide, &records);
                connections.fetch_sub(1, Ordering::SeqCst);
                served
            }
        });
        Self { peer, records, connections }
    }

    pub(super) fn address(&self) -> &Address {
        self.peer.address()
    }

    /// Everything that was done, once all clients are gone.
    #[track_caller]
    pub(super) fn records(&self) -> Vec<Record> {
        wait_until("every connection has ended", || self.connections.load(Ordering::SeqCst) == 0);
        self.records.lock().unwrap().clone()
    }
}

/// The clock of the records.
fn now_ns() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    EPOCH.elapsed().as_nanos() as u64
}

fn serve(
    mut stream: &TcpStream,
    size: usize,
    decide: &dyn Fn(Request) -> Deed,
    records: &Mutex<Vec<Record>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = vec![0; size];
    loop {
        stream.read_exact(&mut message)?;
        let request = Request {
            received_ns: now_ns(),
            client: number_in(&message[..DIGITS]),
            number: number_in(&message[DIGITS..2 * DIGITS]),
        };
        let deed = decide(request);
        message.make_ascii_uppercase();
        match deed {
            Deed::Answer { at_ns } => thread::sleep(Duration::from_nanos(at_ns.saturating_sub(now_ns()))),
            Deed::Spoil { offset } => message[offset] ^= 0x80,
            Deed::Close | Deed::Ignore => {}
        }
        let answering_ns = now_ns();
        if matches!(deed, Deed::Answer { .. } | Deed::Spoil { .. }) {
            stream.write_all(&message)?;
        }
        let answered_ns = now_ns();
        records.lock().unwrap().push(Record { request, deed, answering_ns, answered_ns });
        if deed == Deed::Close {
            return Ok(());
        }
    }
}

fn number_in(digits: &[u8]) -> u64 {
    let text = std::str::from_utf8(digits).expect("a message begins with digits");
    u64::from_str_radix(text, 16).expect("a message begins with hexadecimal digits")
}
