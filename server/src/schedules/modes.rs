//! Whole modes with real sockets: acceptor, limit, connections and drain.

use std::{
    os::fd::{AsRawFd, OwnedFd, RawFd},
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen,
        socket_with,
    },
};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::mpsc,
    thread,
};

use super::check;
use crate::{
    Config, Listener, Shutdown,
    connection::work::Work,
    daemon::service::Service,
    kernel::{self, model},
    mode::Mode,
};

macro_rules! modes {
    ($($module:ident: $mode:literal $($deadlines:ident)?),+) => {$(
        mod $module {
            use super::*;

            #[test]
            fn every_client_gets_a_place_at_the_limit() {
                check(|| limit($mode));
            }

            #[test]
            fn the_drain_answers_every_request_that_came_before_it() {
                check(|| requests_before_the_drain($mode));
            }

            #[test]
            fn the_drain_answers_one_more_request() {
                check(|| requests_in_the_drain($mode));
            }

            #[test]
            fn the_drain_ends_every_connection() {
                check(|| drain_at_any_moment($mode));
            }

            $(
                // The deadlines of the other modes are those of the kernel (SO_RCVTIMEO).
                #[test]
                fn $deadlines() {
                    check(|| deadlines($mode));
                }
            )?
        }
    )+};
}

modes! {
    thread_per_connection: "thread-per-connection",
    thread_pool: "thread-pool" a_connection_at_rest_ends_at_its_deadline,
    event_loop: "event-loop" a_connection_at_rest_ends_at_its_deadline
}

/// More clients than places. Each gets its reply: no freed place is lost, and no wake-up of the acceptor.
fn limit(mode: &str) {
    let server = Server::new(Config { max_connections: thread_rng().gen_range(1..=2), ..config() });
    let clients: Vec<_> = (0..3).map(|_| server.client(Conduct::Ask)).collect();
    server.stop_after(clients, |heard| assert_eq!(heard, "A", "a client got no reply"));
    server.run(mode);
}

/// The shutdown begins after every client has sent its request. Each gets its reply, and then the end.
fn requests_before_the_drain(mode: &str) {
    let server = Server::new(config());
    let (sender, sent) = mpsc::channel();
    let clients: Vec<_> = (0..3).map(|_| server.client(Conduct::AskAndStay(sender.clone()))).collect();
    server.stop_after_messages(sent, 3);
    server.run(mode);
    clients.into_iter().for_each(|client| assert_eq!(client.join().expect("it ends"), "A"));
}

/// The clients send their request after the shutdown has begun. Each gets its reply, as the grace period is long. The end need not
/// follow it: a connection that has not seen the shutdown yet waits for one more request.
fn requests_in_the_drain(mode: &str) {
    let server = Server::new(Config { drain_grace: Duration::MAX, ..config() });
    let (sender, connected) = mpsc::channel();
    let shutdown = &server.service.shutdown;
    let conduct = || Conduct::AskInDrain(sender.clone(), shutdown.clone());
    let clients: Vec<_> = (0..3).map(|_| server.client(conduct())).collect();
    server.stop_after_messages(connected, 3);
    server.run(mode);
    clients.into_iter().for_each(|client| assert_eq!(client.join().expect("it ends"), "A"));
}

/// The shutdown begins at any moment. Every client hears its end, and no connection is left.
fn drain_at_any_moment(mode: &str) {
    let server = Server::new(Config { max_connections: thread_rng().gen_range(2..=3), ..config() });
    // One client is enough for a race with the drain, and then few steps lie between its two sides.
    let (sender, _receiver) = mpsc::channel();
    let shutdown = &server.service.shutdown;
    let conduct = || match thread_rng().gen_range(0..3) {
        0 => Conduct::Ask,
        1 => Conduct::AskInDrain(sender.clone(), shutdown.clone()),
        _ => Conduct::Stay,
    };
    let clients: Vec<_> = (0..thread_rng().gen_range(1..=3)).map(|_| server.client(conduct())).collect();
    server.stop_after(Vec::new(), |_| ());
    server.run(mode);
    for client in clients {
        let heard = client.join().expect("it ends");
        assert!(["", "A"].contains(&heard.as_str()), "{heard}");
    }
}

/// Every deadline is over as soon as it is set. The clients wait for the end.
fn deadlines(mode: &str) {
    let server = Server::new(Config { idle_timeout: Some(Duration::ZERO), ..config() });
    let clients = (0..2).map(|_| server.client(Conduct::Stay)).collect();
    server.stop_after(clients, |heard| assert_eq!(heard, ""));
    server.run(mode);
}

fn config() -> Config {
    // Work that takes no time. But a thread with work to do first wakes another one.
    let work = if thread_rng().gen_bool(0.5) { Work::Block(Duration::ZERO) } else { Work::None };
    Config { threads: thread_rng().gen_range(2..=3), work, ..Config::for_tests() }
}

/// A server, and the address for its clients.
struct Server {
    service: Arc<Service>,
    listener: OwnedFd,
    address: SocketAddrUnix,
}

/// What a client does.
enum Conduct {
    /// Sends a request, awaits the reply, and closes.
    Ask,
    /// Sends a request, says so, and stays until the end.
    AskAndStay(mpsc::Sender<()>),
    /// Connects, says so, sends a request when the shutdown has begun, awaits the reply, and closes.
    AskInDrain(mpsc::Sender<()>, Shutdown),
    /// Stays until the end.
    Stay,
}

/// Ends with all bytes that the client has received.
type Client = thread::JoinHandle<String>;

impl Server {
    fn new(config: Config) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("schedules-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("the name is short");
        let listener = unix_socket(SocketFlags::NONBLOCK);
        bind(&listener, &address).expect("the name is new");
        listen(&listener, config.backlog).expect("it is bound");
        let shutdown = Shutdown::new().expect("the kernel makes an eventfd");
        let service = Arc::new(Service::new(config, shutdown).expect("the kernel makes an eventfd"));
        Self { service, listener, address }
    }

    fn client(&self, conduct: Conduct) -> Client {
        let (listener, address) = (self.listener.as_raw_fd(), self.address.clone());
        thread::spawn(move || converse(listener, &address, conduct))
    }

    /// Begins the shutdown once these clients have ended.
    fn stop_after(&self, clients: Vec<Client>, judge: fn(&str)) {
        let shutdown = self.service.shutdown.clone();
        thread::spawn(move || {
            for client in clients {
                judge(&client.join().expect("it ends"));
            }
            shutdown.begin("check");
        });
    }

    /// Begins the shutdown after so many messages of clients.
    fn stop_after_messages(&self, messages: mpsc::Receiver<()>, count: usize) {
        let shutdown = self.service.shutdown.clone();
        thread::spawn(move || {
            (0..count).for_each(|_| messages.recv().expect("each client sends one"));
            shutdown.begin("check");
        });
    }

    /// Runs until the drain is over.
    fn run(self, mode: &str) {
        let mode = Mode::by_name(mode).expect("the mode exists");
        let serving = mode.start(vec![Listener::of_unix_socket(self.listener)], &self.service);
        serving.expect("the mode starts")();
        let summary = self.service.finish();
        assert!(summary.is_clean(), "connections are left");
        assert!(
            self.service.connections.wait_until_drained(std::time::Instant::now()),
            "an acceptor is left"
        );
        let accepted = self.service.counters.accepted.load(Relaxed);
        let ended = &self.service.counters.ended;
        let ends = [&ended.closed, &ended.drained, &ended.idle_timeout];
        let ends: u64 = ends.iter().map(|count| count.load(Relaxed)).sum();
        assert_eq!(accepted, ends, "a connection has failed, or ended twice, or without a count");
    }
}

fn converse(listener: RawFd, address: &SocketAddrUnix, conduct: Conduct) -> String {
    let socket = unix_socket(SocketFlags::empty());
    if let Err(error) = model::connect(listener, || connect(&socket, address)) {
        assert_eq!(error, Errno::CONNREFUSED);
        return String::new();
    }
    if let Conduct::AskInDrain(connected, shutdown) = &conduct {
        connected.send(()).expect("the receiver waits for all clients");
        kernel::poll(&mut [PollFd::new(shutdown, PollFlags::IN)], None).expect("the event can be polled");
    }
    let mut heard = String::new();
    if !matches!(conduct, Conduct::Stay) {
        // It fails if the server has closed already.
        _ = kernel::send(&socket, b"a", SendFlags::NOSIGNAL);
    }
    if let Conduct::AskAndStay(sent) = &conduct {
        sent.send(()).expect("the receiver waits for all clients");
    }
    let mut byte = [0];
    while let Ok((1.., _)) = kernel::recv(&socket, &mut byte, RecvFlags::empty()) {
        heard.push(char::from(byte[0]));
        if matches!(conduct, Conduct::Ask | Conduct::AskInDrain(..)) {
            break;
        }
    }
    drop(socket);
    kernel::note_closed();
    heard
}

fn unix_socket(flags: SocketFlags) -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags | SocketFlags::CLOEXEC, None)
        .expect("the kernel makes a socket")
}
