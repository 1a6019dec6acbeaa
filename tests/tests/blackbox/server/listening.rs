//! The addresses: IPv4, IPv6, both, unix sockets, and several at once; their cleanup and their errors.

use std::{fs, os::unix::net::UnixListener, path::Path};

use common::Address;
use server::mode::Mode;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        Client, Server, ServerCommand,
        machine::{ipv6, privileged_ports},
    },
};

group! {
    in every mode {
        ipv4_is_served,
        ipv6_is_served needs ipv6,
        a_dual_stack_listener_serves_both_families needs ipv6,
        a_name_is_served,
        a_unix_socket_is_served,
        several_listeners_are_served_at_once,
        a_unix_sockets_file_is_removed_at_the_end,
        a_stale_unix_socket_is_taken_over,
        a_live_unix_socket_is_refused,
        a_file_that_is_not_a_socket_is_kept,
        a_port_can_be_bound_again_at_once,
        two_servers_with_reuse_port_share_a_port,
    }
    once {
        a_port_in_use_is_an_error_that_says_what_to_do,
        an_address_of_another_host_is_an_error,
        a_port_under_1024_without_the_right_is_an_error needs privileged_ports,
    }
}

fn ipv4_is_served(mode: &'static Mode) {
    let server = ServerCommand::new(mode).listen("127.0.0.1:0").start();
    assert!(server.address().to_string().starts_with("127.0.0.1:"));
    server.expect_service();
}

fn ipv6_is_served(mode: &'static Mode) {
    let server = ServerCommand::new(mode).listen("[::1]:0").start();
    assert!(server.address().to_string().starts_with("[::1]:"));
    server.expect_service();
}

fn a_dual_stack_listener_serves_both_families(mode: &'static Mode) {
    let server = ServerCommand::new(mode).listen("[::]:0").start();
    let port = port(server.address());
    for host in ["127.0.0.1", "[::1]"] {
        Client::connect(&format!("{host}:{port}").parse().unwrap()).exchange(b"both");
    }
}

fn a_name_is_served(mode: &'static Mode) {
    // The name may have several addresses on this machine. The first one is printed first.
    let server = ServerCommand::new(mode).listen("localhost:0").start();
    server.expect_service();
}

fn a_unix_socket_is_served(mode: &'static Mode) {
    let folder = folder();
    let server = ServerCommand::new(mode).listen(socket_in(&folder)).start();
    let clients = server.connect_served(10);
    clients[0].finish_sending();
    clients[0].expect_end();
    drop(clients);
    assert_eq!(server.stop().counted("connections"), 10);
}

fn several_listeners_are_served_at_once(mode: &'static Mode) {
    let folder = folder();
    let server = ServerCommand::new(mode)
        .listen("127.0.0.1:0")
        .listen(socket_in(&folder))
        .listen("127.0.0.1:0")
        .start();
    let clients: Vec<_> = server.addresses().iter().map(Client::connect).collect();
    assert_eq!(clients.len(), 3);
    for _ in 0..3 {
        for client in &clients {
            client.exchange(b"from everywhere");
        }
    }
    let addresses: Vec<_> =
        server.addresses().iter().map(|address| format!("listening on {address}\n")).collect();
    drop(clients);
    assert_eq!(server.stop().finished.stdout, addresses.concat());
}

fn a_unix_sockets_file_is_removed_at_the_end(mode: &'static Mode) {
    let folder = folder();
    let server = ServerCommand::new(mode).listen(socket_in(&folder)).start();
    assert!(path_in(&folder).exists());
    server.stop();
    assert!(!path_in(&folder).exists());
}

fn a_stale_unix_socket_is_taken_over(mode: &'static Mode) {
    let folder = folder();
    // A listener of the standard library leaves its file behind.
    drop(UnixListener::bind(path_in(&folder)).unwrap());
    assert!(path_in(&folder).exists());
    let server = ServerCommand::new(mode).listen(socket_in(&folder)).start();
    server.expect_service();
}

fn a_live_unix_socket_is_refused(mode: &'static Mode) {
    let folder = folder();
    let first = ServerCommand::new(mode).listen(socket_in(&folder)).start();
    let second = ServerCommand::new(mode).listen(socket_in(&folder)).fail();
    second.expect_code(1).expect_stderr(&["cannot listen on unix:", "another process listens there"]);
    first.expect_service();
}

fn a_file_that_is_not_a_socket_is_kept(mode: &'static Mode) {
    let folder = folder();
    fs::write(path_in(&folder), "precious").unwrap();
    let failed = ServerCommand::new(mode).listen(socket_in(&folder)).fail();
    failed.expect_code(1).expect_stderr(&["no socket"]);
    assert_eq!(fs::read_to_string(path_in(&folder)).unwrap(), "precious");
}

fn a_port_can_be_bound_again_at_once(mode: &'static Mode) {
    let first = Server::start(mode, &[]);
    let address = first.address().clone();
    let client = first.connect();
    client.exchange(b"the first");
    // The server closes first, so the server's port enters TIME_WAIT.
    first.terminate();
    client.expect_end();
    drop(client);
    first.wait_for_exit().finished.expect_code(0);
    let second = ServerCommand::new(mode).listen(&address).start();
    assert_eq!(second.address(), &address);
    second.expect_service();
}

fn two_servers_with_reuse_port_share_a_port(mode: &'static Mode) {
    let first = Server::start(mode, &["--reuse-port"]);
    let address = first.address().clone();
    let second = ServerCommand::new(mode).args(&["--reuse-port"]).listen(&address).start();
    // The kernel chooses the server by a hash of the addresses.
    let clients: Vec<_> = (0..64).map(|_| Client::connect(&address)).collect();
    for client in &clients {
        client.exchange(b"to either server");
    }
    drop(clients);
    let (first, second) = (first.stop().counted("connections"), second.stop().counted("connections"));
    assert_eq!(first + second, 64);
    assert!(first > 0 && second > 0, "{first} and {second}");
}

fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let holder = ServerCommand::bare().listen("127.0.0.1:0").start();
    let failed = ServerCommand::bare().listen(holder.address()).fail();
    failed.expect_code(1).expect_stderr(&[
        &format!("cannot listen on {}", holder.address()),
        "another process listens there",
        "--reuse-port",
    ]);
    assert_eq!(failed.stdout, "");
}

fn an_address_of_another_host_is_an_error() {
    // A network that exists in documentation only (RFC 5737).
    let failed = ServerCommand::bare().listen("192.0.2.1:0").fail();
    failed.expect_code(1).expect_stderr(&["cannot listen on 192.0.2.1:0", "does not have that address"]);
}

fn a_port_under_1024_without_the_right_is_an_error() {
    let failed = ServerCommand::bare().listen("127.0.0.1:1").without_privileged_ports().fail();
    failed.expect_code(1).expect_stderr(&["cannot listen on 127.0.0.1:1", "CAP_NET_BIND_SERVICE"]);
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

fn path_in(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("echo.sock")
}

fn socket_in(folder: &TempDir) -> Address {
    Address::Unix(Path::to_owned(&path_in(folder)))
}

fn port(address: &Address) -> u16 {
    match address {
        Address::Tcp { port, .. } => *port,
        Address::Unix(_) => panic!("{address} has no port"),
    }
}
