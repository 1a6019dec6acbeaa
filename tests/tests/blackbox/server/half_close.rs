//! Half-close: a client shuts down its writing side, and still reads.

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server,
        text::{expect_same, noise, upper},
    },
};

group! {
    in every mode {
        a_half_closed_client_still_gets_every_byte,
        a_half_closed_client_gets_eight_mebibytes_to_the_last_byte,
        a_half_closed_client_whose_bytes_wait_for_the_work_gets_them,
        a_client_that_sends_only_its_end_gets_an_end,
        many_clients_half_close_at_once,
    }
}

fn a_half_closed_client_still_gets_every_byte(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    client.send(b"the first half, ");
    client.expect_reply_to(b"the first half, ");
    client.send(b"the second half");
    client.finish_sending();
    expect_same(&client.receive_to_end(), b"THE SECOND HALF");
}

fn a_half_closed_client_gets_eight_mebibytes_to_the_last_byte(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let bytes = noise(8 << 20);
    let narrow = Client::connect_narrow(server.address(), 64 * 1024);
    for client in [server.connect(), narrow] {
        expect_same(&client.exchange_to_end(&bytes), &upper(&bytes));
    }
    let stopped = server.stop();
    assert_eq!(stopped.counted("bytes_received"), 16 << 20);
    assert_eq!(stopped.counted("bytes_sent"), 16 << 20);
}

fn a_half_closed_client_whose_bytes_wait_for_the_work_gets_them(mode: &'static Mode) {
    let server = Server::start(mode, &["--work", "sleep:100ms"]);
    let client = server.connect();
    client.send(b"patience");
    client.finish_sending();
    expect_same(&client.receive_to_end(), b"PATIENCE");
}

fn a_client_that_sends_only_its_end_gets_an_end(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    client.finish_sending();
    client.expect_end();
    server.expect_service();
}

fn many_clients_half_close_at_once(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2"]);
    let clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let bytes = noise(10_000);
    for client in &clients {
        client.send(&bytes);
        client.finish_sending();
    }
    for client in &clients {
        expect_same(&client.receive_to_end(), &upper(&bytes));
    }
}
