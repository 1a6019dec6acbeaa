//! Socket activation: the server listens on the sockets that systemd passes.

use std::{
    net::{TcpListener, UdpSocket},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
};

use common::Address;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{Client, ServerCommand},
};

group! {
    in every mode {
        every_passed_socket_is_served_without_listen,
        a_name_selects_its_sockets,
        a_client_that_connected_before_the_start_is_served,
        clients_wait_in_the_socket_while_the_server_restarts,
        a_passed_unix_sockets_file_is_not_removed,
    }
    once {
        an_address_and_passed_sockets_are_served_together,
        an_environment_variable_names_passed_sockets,
        an_abstract_unix_socket_is_served,
        passed_sockets_get_the_options_of_listeners,
        a_name_that_no_socket_has_is_an_error_that_lists_the_names,
        a_name_without_passed_sockets_is_an_error,
        sockets_of_another_process_are_not_taken,
        a_datagram_socket_is_an_error,
        a_connected_socket_is_an_error,
        a_descriptor_that_is_not_open_is_an_error,
        more_names_than_sockets_are_an_error,
        an_empty_name_is_an_error,
    }
}

/// A socket that listens at this address, as systemd would have it.
fn tcp() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().unwrap().into();
    (listener, address)
}

fn every_passed_socket_is_served_without_listen(mode: &'static Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let ((first, first_address), (second, second_address)) = (tcp(), tcp());
    let unix = UnixListener::bind(&path).unwrap();
    let sockets: [(&str, OwnedFd); 3] =
        [("web", first.into()), ("local", unix.into()), ("web2", second.into())];
    let server = ServerCommand::new(mode).with_sockets(sockets).expect_listeners(3).start();
    assert_eq!(server.addresses(), [first_address, Address::Unix(path), second_address]);
    let clients: Vec<_> = server.addresses().iter().map(Client::connect).collect();
    for client in &clients {
        client.exchange(b"to each of them");
    }
    drop(clients);
    assert_eq!(server.stop().counted("connections"), 3);
}

fn a_name_selects_its_sockets(mode: &'static Mode) {
    let sockets: Vec<_> = (0..3).map(|_| tcp()).collect();
    let addresses: Vec<_> = sockets.iter().map(|(_, address)| address.clone()).collect();
    let named =
        ["echo", "other", "echo"].into_iter().zip(sockets.into_iter().map(|(socket, _)| socket.into()));
    let server = ServerCommand::new(mode).listen("fd:echo").with_sockets(named).expect_listeners(2).start();
    assert_eq!(server.addresses(), [addresses[0].clone(), addresses[2].clone()]);
    server.addresses().iter().for_each(|address| Client::connect(address).exchange(b"hello"));
    assert!(server.log().wait_for("are passed, but").contains("other"));
}

fn a_client_that_connected_before_the_start_is_served(mode: &'static Mode) {
    let (listener, address) = tcp();
    let early = Client::connect(&address);
    early.send(b"early");
    let server =
        ServerCommand::new(mode).with_sockets([("echo", listener.into())]).expect_listeners(1).start();
    early.expect_reply_to(b"early");
    drop(early);
    server.stop();
}

fn clients_wait_in_the_socket_while_the_server_restarts(mode: &'static Mode) {
    let (listener, address) = tcp();
    let passed = || [("echo", listener.try_clone().unwrap().into())];
    for round in 0..3 {
        let between = Client::connect(&address);
        between.send(b"nobody is here");
        let server = ServerCommand::new(mode).with_sockets(passed()).expect_listeners(1).start();
        between.expect_reply_to(b"nobody is here");
        drop(between);
        server.expect_service();
        assert_eq!(server.stop().counted("connections"), 2, "round {round}");
    }
}

fn a_passed_unix_sockets_file_is_not_removed(mode: &'static Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let passed = [("echo", listener.try_clone().unwrap().into())];
        let server = ServerCommand::new(mode).with_sockets(passed).expect_listeners(1).start();
        server.expect_service();
        server.stop();
        assert!(path.exists());
    }
}

fn an_address_and_passed_sockets_are_served_together() {
    let (listener, address) = tcp();
    let server = ServerCommand::bare()
        .listen("127.0.0.1:0")
        .listen("fd:echo")
        .with_sockets([("echo", listener.into())])
        .start();
    assert_eq!(server.addresses()[1], address);
    server.addresses().iter().for_each(|address| Client::connect(address).exchange(b"hello"));
}

fn an_environment_variable_names_passed_sockets() {
    let ((first, _), (second, address)) = (tcp(), tcp());
    let sockets = [("one", first.into()), ("two", second.into())];
    let server = ServerCommand::bare()
        .env("SERVER_LISTEN", "fd:two")
        .with_sockets(sockets)
        .expect_listeners(1)
        .start();
    assert_eq!(server.address(), &address);
}

fn an_abstract_unix_socket_is_served() {
    let name = format!("echo-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let server = ServerCommand::bare().with_sockets([("echo", listener.into())]).expect_listeners(1).start();
    assert_eq!(server.address().to_string(), format!("unix:@{name}"));
}

fn passed_sockets_get_the_options_of_listeners() {
    let (listener, address) = tcp();
    let observer = socket2::Socket::from(listener.try_clone().unwrap());
    assert!(!observer.nonblocking().unwrap());
    let _server = ServerCommand::bare().with_sockets([("echo", listener.into())]).expect_listeners(1).start();
    assert!(observer.nonblocking().unwrap(), "{address}");
    assert!(observer.tcp_nodelay().unwrap() && observer.keepalive().unwrap());
    assert!(observer.out_of_band_inline().unwrap());
}

fn a_name_that_no_socket_has_is_an_error_that_lists_the_names() {
    let sockets = ["http", "local", "http"].map(|name| (name, tcp().0.into()));
    let failed = ServerCommand::bare().listen("fd:echo").with_sockets(sockets).fail();
    failed.expect_code(2).expect_stderr(&[
        "--listen fd:echo",
        "no passed socket has this name",
        "http, local",
    ]);
}

fn a_name_without_passed_sockets_is_an_error() {
    let failed = ServerCommand::bare().listen("fd:echo").fail();
    failed.expect_code(2).expect_stderr(&["--listen fd:echo", "no socket is passed", "LISTEN_FDS"]);
}

fn sockets_of_another_process_are_not_taken() {
    // Inherited by a process that the activated one has started.
    let failed = ServerCommand::bare().listen("fd:echo").env("LISTEN_FDS", "1").env("LISTEN_PID", "1").fail();
    failed.expect_code(2).expect_stderr(&["no socket is passed to this process", "LISTEN_PID"]);
}

fn a_datagram_socket_is_an_error() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = UnixDatagram::unbound().unwrap();
    for socket in [OwnedFd::from(udp), unix.into()] {
        let failed = ServerCommand::bare().with_sockets([("echo", socket)]).fail();
        failed.expect_code(1).expect_stderr(&["cannot listen on fd:echo", "datagram", "ListenStream="]);
    }
}

fn a_connected_socket_is_an_error() {
    let (listener, address) = tcp();
    let _client = Client::connect(&address);
    let (accepted, _) = listener.accept().unwrap();
    let failed = ServerCommand::bare().with_sockets([("connection", accepted.into())]).fail();
    failed.expect_code(1).expect_stderr(&["cannot listen on fd:connection", "does not listen", "Accept=no"]);
}

fn a_descriptor_that_is_not_open_is_an_error() {
    let failed = ServerCommand::bare().with_sockets([]).env("LISTEN_FDS", "70").fail();
    failed.expect_code(1).expect_stderr(&["LISTEN_FDS=\"70\"", "open descriptor"]);
}

fn more_names_than_sockets_are_an_error() {
    let sockets = [("one", tcp().0.into())];
    let failed = ServerCommand::bare().with_sockets(sockets).env("LISTEN_FDNAMES", "one:two").fail();
    failed.expect_code(1).expect_stderr(&["LISTEN_FDNAMES=\"one:two\""]);
}

fn an_empty_name_is_an_error() {
    let failed = ServerCommand::bare().listen("fd:").fail();
    failed.expect_code(2).expect_stderr(&["fd:", "no name"]);
}
