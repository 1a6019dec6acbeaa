//! The TLS handshake of a client, between the connection of its socket and its first request.

use std::{mem, os::fd::OwnedFd};

use super::{Client, connection::State};
use crate::{
    engine::{
        bench::Bench,
        link::{Link, LinkError, tls::TlsLink},
        tls::TlsClient,
    },
    protocol::exchange::Exchange,
};

impl<X: Exchange> Client<X> {
    /// The socket is connected since `now_ns`. The connection is established after the handshake.
    pub(super) fn begin_handshake(
        &mut self,
        bench: &mut Bench<X>,
        socket: OwnedFd,
        client: TlsClient,
        now_ns: u64,
    ) {
        bench.socket_connected(now_ns - self.connection.attempt_since_ns());
        match TlsLink::new(socket, client) {
            Ok(link) => {
                self.connection.state = State::Handshaking(Box::new(link), now_ns);
                self.limit_attempt(bench);
                self.go_on_with_handshake(bench);
            }
            Err(error) => self.handshake_failed(bench, error),
        }
    }

    /// The socket has events in the handshake.
    pub(super) fn go_on_with_handshake(&mut self, bench: &mut Bench<X>) {
        let State::Handshaking(link, _) = &mut self.connection.state else { return };
        match link.handshake(bench.wire().ciphertext()) {
            Ok(true) => self.handshake_over(bench),
            Ok(false) => {}
            Err(error) => self.handshake_failed(bench, error),
        }
    }

    fn handshake_over(&mut self, bench: &mut Bench<X>) {
        let now_ns = bench.read_clock();
        let State::Handshaking(link, since_ns) = mem::replace(&mut self.connection.state, State::Down) else {
            return;
        };
        bench.handshake_over(now_ns - since_ns, link.is_resumed(), || link.agreed());
        // Bytes that arrived with the server's last message cause no further event.
        self.established(bench, Link::Tls(link), now_ns);
        let outcome = self.receive(bench, false);
        self.carry_on(bench, outcome);
    }

    fn handshake_failed(&mut self, bench: &mut Bench<X>, error: LinkError) {
        match error {
            LinkError::Io(error) => self.connect_failed(bench, error),
            error => {
                self.connection.state = State::Down;
                bench.connections_mut().attempt_ended();
                bench.handshake_failed(error);
                self.attempt_over(bench);
            }
        }
    }
}
