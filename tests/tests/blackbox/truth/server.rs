//! A server with known behaviour, which records its actions and their times.

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

/// A message begins with the number of the client and the number of the request, with this many digits each.
const DIGITS: usize = 8;

/// A server with a thread for each connection. It ends when this value is dropped.
pub(super) struct KnownServer {
    peer: Peer,
    records: Arc<Mutex<Vec<Record>>>,
    connections: Arc<AtomicUsize>,
}

/// A request, read from its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The client's number, from 0.
    pub(super) client: u64,
    /// The number of the client's request, from 0.
    pub(super) number: u64,
    /// When it was read.
    pub(super) received_ns: u64,
}

/// The server's action on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Replies at this time, or at once if it has passed.
    Answer { at_ns: u64 },
    /// Replies at once, with a wrong byte at this offset.
    Corrupt { offset: usize },
    /// Closes the connection without a reply.
    Close,
    /// Does not reply.
    Ignore,
}

/// A request, with the action and its times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) request: Request,
    pub(super) action: Action,
    /// Just before the write of the reply. The client cannot read it earlier.
    pub(super) answering_ns: u64,
    /// Just after the write. The client can read the reply from then on.
    pub(super) answered_ns: u64,
}

impl KnownServer {
    /// Receives messages of `size` bytes, and takes the action that `decide` returns for each.
    pub(super) fn start(size: usize, decide: impl Fn(Request) -> Action + Send + Sync + 'static) -> Self {
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

    /// All records. Waits until all clients have closed.
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
    decide: &dyn Fn(Request) -> Action,
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
        let action = decide(request);
        message.make_ascii_uppercase();
        match action {
            Action::Answer { at_ns } => thread::sleep(Duration::from_nanos(at_ns.saturating_sub(now_ns()))),
            Action::Corrupt { offset } => message[offset] ^= 0x80,
            Action::Close | Action::Ignore => {}
        }
        let answering_ns = now_ns();
        if matches!(action, Action::Answer { .. } | Action::Corrupt { .. }) {
            stream.write_all(&message)?;
        }
        let answered_ns = now_ns();
        records.lock().unwrap().push(Record { request, action, answering_ns, answered_ns });
        if action == Action::Close {
            return Ok(());
        }
    }
}

fn number_in(digits: &[u8]) -> u64 {
    let text = std::str::from_utf8(digits).expect("a message begins with digits");
    u64::from_str_radix(text, 16).expect("a message begins with hexadecimal digits")
}
