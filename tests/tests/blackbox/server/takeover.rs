//! `--takeover`: a new process takes the listeners of the old one, which drains once the new one serves.

use std::{
    fs,
    io::{self, IoSlice, Read},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::AsFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
};

use common::Address;
use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::Signal,
};
use server::mode::{MODES, Mode};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{Client, Server, ServerCommand, machine, wait::PATIENCE, wait_until},
};

group! {
    in every mode {
        a_new_process_takes_the_listeners_and_the_old_one_drains,
        no_client_is_refused_while_servers_are_replaced_under_load,
        new_connections_reach_the_new_process_while_the_old_one_drains,
        a_unix_sockets_file_is_handed_over,
        clients_that_wait_at_the_old_processs_limit_are_served_by_the_new_one,
        a_server_that_ends_by_itself_removes_the_takeovers_socket,
        a_new_process_that_cannot_start_leaves_the_old_one_serving,
    }
    once {
        every_mode_can_replace_every_other,
        listeners_that_the_new_process_does_not_want_are_closed,
        addresses_that_the_old_process_did_not_have_are_bound,
        sockets_of_the_service_manager_are_handed_over_without_their_files,
        a_listener_for_ipv6_only_is_not_taken_for_one_of_both_families needs machine::ipv6,
        a_new_process_that_is_never_ready_leaves_the_old_one_serving,
        a_new_process_that_ends_before_it_is_ready_leaves_the_old_one_serving,
        the_new_process_goes_on_if_the_old_one_is_killed_meanwhile,
        a_new_process_that_is_refused_when_it_is_ready_ends,
        the_takeovers_socket_is_for_its_user_alone,
        a_process_of_another_user_is_refused needs machine::python_of_other_users,
        a_stale_socket_is_replaced,
        a_file_that_is_no_socket_is_an_error,
        a_process_that_listens_there_for_something_else_is_an_error,
        a_path_that_is_too_long_is_an_error,
        a_path_that_is_also_listened_on_is_an_error,
    }
}

/// Where servers meet.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("there is room for temporary files") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("takeover")
    }

    fn unix_address(&self) -> Address {
        Address::Unix(self.folder.path().join("echo.sock"))
    }

    /// A server that takes over here.
    fn command(&self, mode: &Mode) -> ServerCommand {
        ServerCommand::new(mode).args(&["--takeover", self.path().to_str().unwrap()])
    }

    /// Connects like a new process.
    fn connect(&self) -> Socket {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        socket.connect(&SockAddr::unix(self.path()).unwrap()).unwrap();
        socket
    }
}

/// That the old server drains because of the takeover, and ends cleanly.
#[track_caller]
fn expect_retired(old: Server) {
    old.log().wait_for("reason=\"takeover\"");
    old.wait_for_exit().finished.expect_code(0);
}

fn a_new_process_takes_the_listeners_and_the_old_one_drains(mode: &'static Mode) {
    let place = Place::new();
    let old = place.command(mode).start();
    let client = old.connect_served(1);
    // Port 0 stands for the old process's port.
    let new = place.command(mode).start();
    assert_eq!(new.addresses(), old.addresses());
    new.expect_service();
    client[0].expect_end();
    drop(client);
    expect_retired(old);
    // The new process owns the path now.
    let third = place.command(mode).start();
    assert_eq!(third.addresses(), new.addresses());
    expect_retired(new);
    third.expect_service();
    third.stop();
    assert!(!place.path().exists());
}

fn no_client_is_refused_while_servers_are_replaced_under_load(mode: &'static Mode) {
    const CLIENTS: usize = 4;
    const REPLACEMENTS: usize = 5;
    let place = Place::new();
    let mut server = place.command(mode).start();
    let address = server.address().clone();
    let (stop, connections, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    match Client::try_connect(&address) {
                        // Whether a drain answers each first request is a matter of the drain.
                        Ok(client) => drop(client.try_exchange(b"once")),
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                            refused.fetch_add(1, SeqCst);
                        }
                        Err(error) => panic!("{error}"),
                    }
                    connections.fetch_add(1, SeqCst);
                }
            });
        }
        for _ in 0..REPLACEMENTS {
            let before = connections.load(SeqCst);
            wait_until("the clients go on", || connections.load(SeqCst) > before + 100);
            let new = place.command(mode).start();
            expect_retired(std::mem::replace(&mut server, new));
        }
        stop.store(true, SeqCst);
    });
    assert_eq!(refused.load(SeqCst), 0, "of {} connections", connections.load(SeqCst));
    server.stop();
}

fn new_connections_reach_the_new_process_while_the_old_one_drains(mode: &'static Mode) {
    let place = Place::new();
    let old = place.command(mode).args(&["--drain-timeout", "1h", "--threads", "3"]).start();
    let held = old.connect_served(1);
    let new = place.command(mode).args(&["--threads", "3"]).start();
    old.log().wait_for("draining");
    // One by one: a connection that wakes the old process only would wait for ever.
    for _ in 0..100 {
        new.expect_service();
    }
    drop(held);
    expect_retired(old);
    // The old process logs the drain before it accepts for the last time.
    let reached = new.stop().counted("connections");
    assert!(reached >= 90, "{reached} of 100 connections");
}

fn a_unix_sockets_file_is_handed_over(mode: &'static Mode) {
    let place = Place::new();
    let address = place.unix_address();
    let Address::Unix(path) = &address else { unreachable!() };
    let old = place.command(mode).listen(&address).start();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(path);
    let new = place.command(mode).listen(&address).start();
    expect_retired(old);
    assert_eq!(inode(path), before);
    new.expect_service();
    new.stop();
    assert!(!path.exists() && !place.path().exists());
}

fn clients_that_wait_at_the_old_processs_limit_are_served_by_the_new_one(mode: &'static Mode) {
    let place = Place::new();
    let old = place.command(mode).args(&["--max-connections", "1", "--drain-timeout", "1h"]).start();
    let first = old.connect_served(1);
    let waiting: Vec<_> = (0..5).map(|_| old.connect()).collect();
    waiting.iter().for_each(|client| client.send(b"at last"));
    let new = place.command(mode).start();
    for client in &waiting {
        client.expect_reply_to(b"at last");
    }
    drop((first, waiting));
    expect_retired(old);
    new.stop();
}

fn a_server_that_ends_by_itself_removes_the_takeovers_socket(mode: &'static Mode) {
    let place = Place::new();
    let server = place.command(mode).start();
    assert!(place.path().exists());
    server.stop();
    assert!(!place.path().exists());
    place.command(mode).start().stop();
}

fn a_new_process_that_cannot_start_leaves_the_old_one_serving(mode: &'static Mode) {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let old = place.command(mode).listen("127.0.0.1:0").listen(place.unix_address()).start();
    let client = old.connect_served(1);
    for _ in 0..2 {
        let failed = place
            .command(mode)
            .listen(old.address())
            .listen(place.unix_address())
            .listen(taken.local_addr().unwrap())
            .fail();
        failed.expect_code(1).expect_stderr(&["cannot listen on"]);
        old.log().wait_for("still serving");
        client[0].exchange(b"still here");
        old.addresses().iter().for_each(|address| Client::connect(address).exchange(b"hello"));
    }
    drop(client);
    // It can hand over again.
    let new = place.command(mode).listen(old.address()).listen(place.unix_address()).start();
    expect_retired(old);
    new.addresses().iter().for_each(|address| Client::connect(address).exchange(b"hello"));
}

fn every_mode_can_replace_every_other() {
    let place = Place::new();
    let mut server = place.command(&MODES[0]).start();
    let modes = MODES.iter().flat_map(|from| MODES.iter().flat_map(move |to| [from, to]));
    for mode in modes {
        let new = place.command(mode).args(&["--threads", "2"]).start();
        assert_eq!(new.addresses(), server.addresses());
        expect_retired(std::mem::replace(&mut server, new));
        server.expect_service();
    }
}

fn listeners_that_the_new_process_does_not_want_are_closed() {
    let place = Place::new();
    let mode = &MODES[0];
    let old =
        place.command(mode).listen("127.0.0.1:0").listen("127.0.0.1:0").listen(place.unix_address()).start();
    let addresses = old.addresses().to_vec();
    let new = place.command(mode).listen(&addresses[1]).start();
    expect_retired(old);
    new.expect_service();
    for gone in [&addresses[0], &addresses[2]] {
        assert!(Client::try_connect(gone).is_err(), "{gone}");
    }
    let Address::Unix(path) = &addresses[2] else { unreachable!() };
    assert!(!path.exists(), "the file of a socket that is closed is left");
}

fn addresses_that_the_old_process_did_not_have_are_bound() {
    let place = Place::new();
    let old = place.command(&MODES[0]).start();
    let new = place
        .command(&MODES[0])
        .listen(old.address())
        .listen(place.unix_address())
        .listen("127.0.0.1:0")
        .start();
    expect_retired(old);
    new.addresses().iter().for_each(|address| Client::connect(address).exchange(b"hello"));
}

fn sockets_of_the_service_manager_are_handed_over_without_their_files() {
    let place = Place::new();
    let address = place.unix_address();
    let Address::Unix(path) = &address else { unreachable!() };
    let listener = UnixListener::bind(path).unwrap();
    let old = place.command(&MODES[0]).with_sockets([("echo", listener.into())]).expect_listeners(1).start();
    let new = place.command(&MODES[0]).listen(&address).start();
    expect_retired(old);
    new.expect_service();
    new.stop();
    assert!(path.exists());
}

fn a_listener_for_ipv6_only_is_not_taken_for_one_of_both_families() {
    let place = Place::new();
    let old = place.command(&MODES[0]).listen("[::]:0").start();
    let Address::Tcp { port, .. } = old.address() else { unreachable!() };
    let v4 = format!("127.0.0.1:{port}");
    let failed = place.command(&MODES[0]).listen(old.address()).listen(v4).fail();
    failed.expect_code(1).expect_stderr(&["IPv4 as well", "stop it first"]);
    old.expect_service();
}

fn a_new_process_that_is_never_ready_leaves_the_old_one_serving() {
    let place = Place::new();
    let old = place.command(&MODES[0]).start();
    let never_ready = place.connect();
    // Served in turn: this one waits until the old process has given up the other.
    let new = place.command(&MODES[1]).start();
    old.log().wait_for("was not ready within");
    drop(never_ready);
    expect_retired(old);
    new.expect_service();
}

fn a_new_process_that_ends_before_it_is_ready_leaves_the_old_one_serving() {
    let place = Place::new();
    let old = place.command(&MODES[0]).start();
    drop(place.connect());
    old.log().wait_for("still serving");
    let liar = place.connect();
    liar.send(b"nonsense").unwrap();
    old.log().wait_for("does not speak");
    old.expect_service();
    old.stop();
}

fn the_new_process_goes_on_if_the_old_one_is_killed_meanwhile() {
    let place = Place::new();
    let old = OldProcess::new(&place);
    let new = thread::scope(|scope| {
        let new = scope.spawn(|| place.command(&MODES[0]).start());
        drop(old.hand_over());
        new.join().unwrap()
    });
    new.log().wait_for("has ended during the takeover");
    assert_eq!(new.address(), &old.address);
    new.expect_service();
    new.stop();
    assert!(!place.path().exists());
}

fn a_new_process_that_is_refused_when_it_is_ready_ends() {
    let place = Place::new();
    let old = OldProcess::new(&place);
    let failed = thread::scope(|scope| {
        let failed = scope.spawn(|| place.command(&MODES[0]).listen("127.0.0.1:0").fail());
        old.hand_over().send(br#"{"refused": "too late"}"#).unwrap();
        failed.join().unwrap()
    });
    failed.expect_code(1).expect_stderr(&["continues to serve: too late", "failed takeover"]);
    assert_eq!(failed.stdout, "");
    assert!(place.path().exists(), "the path is the old process's");
}

/// An old process that this test is.
struct OldProcess {
    takeover: Socket,
    listener: TcpListener,
    address: Address,
}

impl OldProcess {
    fn new(place: &Place) -> Self {
        let takeover = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        takeover.bind(&SockAddr::unix(place.path()).unwrap()).unwrap();
        takeover.listen(1).unwrap();
        takeover.set_read_timeout(Some(PATIENCE)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().into();
        Self { takeover, listener, address }
    }

    /// Sends the listener to a new process, and waits until that one is ready.
    fn hand_over(&self) -> Socket {
        let (connection, _) = self.takeover.accept().unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let message = br#"{"sockets": [{"is_any_port": true, "path": null, "owns_file": false}]}"#;
        let sockets = [self.listener.as_fd(), self.takeover.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)));
        sendmsg(&connection, &[IoSlice::new(message)], &mut control, SendFlags::empty()).unwrap();
        let mut ready = [0; 64];
        let length = (&connection).read(&mut ready).unwrap();
        assert_eq!(&ready[..length], b"\"ready\"");
        connection
    }
}

fn the_takeovers_socket_is_for_its_user_alone() {
    let place = Place::new();
    let _server = place.command(&MODES[0]).start();
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

fn a_process_of_another_user_is_refused() {
    let place = Place::new();
    let old = place.command(&MODES[0]).start();
    // Even where the file's permissions would let it in.
    fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let connect = "import socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); \
                   print(s.recv(4096).decode())";
    let mut command = std::process::Command::new(machine::SYSTEM_PYTHON);
    command.args(["-c", connect]).arg(place.path());
    let output = machine::as_another_user(&mut command).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("refused") && said.contains("different users"), "{output:?}");
    old.log().wait_for("different users");
    old.expect_service();
}

fn a_stale_socket_is_replaced() {
    let place = Place::new();
    let killed = place.command(&MODES[0]).start();
    killed.signal(Signal::KILL);
    drop(killed);
    assert!(place.path().exists());
    let server = place.command(&MODES[0]).start();
    server.expect_service();
    server.stop();
}

fn a_file_that_is_no_socket_is_an_error() {
    let place = Place::new();
    fs::write(place.path(), "precious").unwrap();
    let failed = place.command(&MODES[0]).fail();
    failed.expect_code(1).expect_stderr(&["takeover", "is no socket"]);
    assert_eq!(fs::read_to_string(place.path()).unwrap(), "precious");
}

fn a_process_that_listens_there_for_something_else_is_an_error() {
    let place = Place::new();
    let _other = UnixListener::bind(place.path()).unwrap();
    let failed = place.command(&MODES[0]).fail();
    failed.expect_code(1).expect_stderr(&[
        "cannot take over at",
        "not for a takeover",
        "choose another path",
    ]);
    assert!(UnixStream::connect(place.path()).is_ok());
}

fn a_path_that_is_too_long_is_an_error() {
    let path = format!("/tmp/{}", "x".repeat(110));
    let failed = ServerCommand::bare().args(&["--takeover", &path]).fail();
    failed.expect_code(2).expect_stderr(&["--takeover", "115 bytes"]);
}

fn a_path_that_is_also_listened_on_is_an_error() {
    let failed = ServerCommand::bare().args(&["--takeover", "/tmp/one"]).listen("unix:/tmp/one").fail();
    failed.expect_code(2).expect_stderr(&["--takeover /tmp/one", "choose another path"]);
}
