//! A link against a rustls server that the test drives: it decides how many bytes arrive when.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
};

use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::*;
use crate::load::tls::TlsRequest;

const PLAINTEXT: usize = 64 * 1024;

/// A link and its server, at the two ends of a socket.
struct Pair {
    link: TlsLink,
    server: ServerConnection,
    peer: UnixStream,
    /// Everything that the server has decrypted.
    server_text: Vec<u8>,
}

impl Pair {
    fn new(client: &TlsClient) -> Self {
        let (ours, peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let link = TlsLink::new(ours.into(), client.clone()).unwrap();
        let mut server = ServerConnection::new(server_config()).unwrap();
        // The test sends more than a server would buffer.
        server.set_buffer_limit(None);
        Self { link, server, peer, server_text: Vec::new() }
    }

    /// After the handshake.
    fn established() -> Self {
        let mut pair = Self::new(&client());
        while !pair.step() {}
        pair
    }

    /// The link and the server take their turns. Returns whether the handshake is over.
    fn step(&mut self) -> bool {
        let mut is_over = self.link.handshake(&mut [0; PLAINTEXT]).unwrap();
        self.server_reads();
        for byte in self.server_bytes() {
            self.peer.write_all(&[byte]).unwrap();
            is_over = is_over || self.link.handshake(&mut [0; PLAINTEXT]).unwrap();
        }
        is_over && !self.server.is_handshaking()
    }

    /// The server takes what has arrived.
    fn server_reads(&mut self) {
        while let Ok(1..) = self.server.read_tls(&mut self.peer) {
            self.server.process_new_packets().unwrap();
            let _would_block = self.server.reader().read_to_end(&mut self.server_text);
        }
    }

    /// What the server has to send, encrypted.
    fn server_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Reads until the socket is empty, as a client does after an event.
    fn receive_all(&mut self) -> Result<Vec<u8>, LinkError> {
        let (mut ciphertext, mut plaintext) =
            (vec![0; TlsLink::ciphertext_bytes(PLAINTEXT)], vec![0; PLAINTEXT]);
        let mut received = Vec::new();
        loop {
            match self.link.receive(&mut ciphertext, &mut plaintext) {
                Ok(TlsReceived { length, is_drained }) => {
                    received.extend_from_slice(&plaintext[..length]);
                    if is_drained {
                        return Ok(received);
                    }
                }
                Err(LinkError::Io(Errno::AGAIN)) => return Ok(received),
                Err(error) => return Err(error),
            }
        }
    }
}

fn client() -> TlsClient {
    let plan = TlsRequest { is_insecure: true, resumption: true, ..TlsRequest::default() }.plan().unwrap();
    TlsClient::new(&plan, &"localhost:443".parse().unwrap()).unwrap().with_own_sessions()
}

/// One for all servers: a session can only be resumed where it was made.
fn server_config() -> Arc<ServerConfig> {
    static CONFIG: std::sync::OnceLock<Arc<ServerConfig>> = std::sync::OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let certificate =
                CertificateDer::from_pem_slice(include_bytes!("tests/certificate.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/key.pem")).unwrap();
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
                .unwrap();
            Arc::new(config)
        })
        .clone()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn every_chunking_of_the_servers_bytes_gives_the_same_text() {
    let text = pattern(100_000);
    for chunk in [1, 7, 4096, 16_384, 40_000, 200_000] {
        let mut pair = Pair::established();
        pair.receive_all().unwrap();
        pair.server.writer().write_all(&text).unwrap();
        let mut received = Vec::new();
        for part in pair.server_bytes().chunks(chunk) {
            pair.peer.write_all(part).unwrap();
            received.extend(pair.receive_all().unwrap());
        }
        assert!(received == text, "chunks of {chunk}");
    }
}

#[test]
fn after_the_socket_is_drained_no_text_is_left_in_the_link() {
    let mut pair = Pair::established();
    pair.receive_all().unwrap();
    // More records than one read takes.
    pair.server.writer().write_all(&pattern(80_000)).unwrap();
    let bytes = pair.server_bytes();
    pair.peer.write_all(&bytes).unwrap();
    assert_eq!(pair.receive_all().unwrap().len(), 80_000);
    assert_eq!(pair.link.read_decrypted(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn text_that_arrives_with_the_end_of_the_handshake_is_not_lost() {
    let mut pair = Pair::new(&client());
    pair.link.handshake(&mut [0; PLAINTEXT]).unwrap();
    pair.server_reads();
    pair.server.writer().write_all(b"welcome").unwrap();
    let bytes = pair.server_bytes();
    pair.peer.write_all(&bytes).unwrap();
    while !pair.link.handshake(&mut [0; PLAINTEXT]).unwrap() {}
    pair.server_reads();
    let rest = pair.server_bytes();
    pair.peer.write_all(&rest).unwrap();
    assert_eq!(pair.receive_all().unwrap(), b"welcome");
}

#[test]
fn a_full_socket_blocks_the_link_until_a_flush_has_written_everything() {
    let mut pair = Pair::established();
    let text = pattern(2_000_000);
    let (mut sent, mut blocks) = (0, 0);
    while sent < text.len() {
        match pair.link.send(&text[sent..]) {
            Ok(Sent { taken, is_short }) => {
                assert!(taken <= SENDABLE_BYTES_MAX);
                sent += taken;
                if !is_short {
                    continue;
                }
            }
            Err(error) => panic!("{error:?}"),
        }
        blocks += 1;
        assert!(matches!(pair.link.send(b"x"), Err(LinkError::Io(Errno::AGAIN))));
        while !pair.link.flush().unwrap() {
            pair.server_reads();
        }
    }
    pair.server_reads();
    assert!(blocks > 0 && pair.server_text == text, "{blocks} blocks");
}

#[test]
fn a_close_notify_and_a_truncation_end_the_stream_after_its_text() {
    for is_orderly in [true, false] {
        let mut pair = Pair::established();
        pair.server.writer().write_all(b"last").unwrap();
        if is_orderly {
            pair.server.send_close_notify();
        }
        let bytes = pair.server_bytes();
        pair.peer.write_all(&bytes).unwrap();
        if !is_orderly {
            pair.peer.shutdown(std::net::Shutdown::Both).unwrap();
        }
        let (mut ciphertext, mut plaintext) =
            (vec![0; TlsLink::ciphertext_bytes(PLAINTEXT)], vec![0; PLAINTEXT]);
        let mut received = Vec::new();
        let end = loop {
            match pair.link.receive(&mut ciphertext, &mut plaintext) {
                Ok(part) => received.extend_from_slice(&plaintext[..part.length]),
                Err(error) => break error,
            }
        };
        assert!(matches!(end, LinkError::Closed), "{end:?}");
        assert_eq!(received, b"last");
    }
}

#[test]
fn the_end_of_a_link_is_an_orderly_one_for_the_server() {
    let mut pair = Pair::established();
    pair.link.send(b"bye").unwrap();
    pair.link.close();
    pair.server_reads();
    // An end without `close_notify` would be an error here.
    assert_eq!(pair.server.reader().read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(pair.server_text, b"bye");
}

#[test]
fn a_client_resumes_its_own_session_and_no_other_ones() {
    let (one, other) = (client(), client());
    let mut kinds = Vec::new();
    for client in [&one, &one, &other] {
        let mut pair = Pair::new(client);
        while !pair.step() {}
        // The tickets for the next session come after the handshake.
        pair.receive_all().unwrap();
        kinds.push(pair.link.is_resumed());
        assert_eq!(pair.link.agreed().version, "TLS 1.3");
    }
    assert_eq!(kinds, [false, true, false]);
}

#[test]
fn bytes_of_another_protocol_and_changed_records_are_errors_of_tls() {
    let mut pair = Pair::new(&client());
    pair.peer.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    let Err(LinkError::Tls(text)) = pair.link.handshake(&mut [0; PLAINTEXT]) else { panic!("no error") };
    assert!(text.starts_with("the server's first bytes are no TLS (\"220 mail.example\""), "{text}");

    let mut pair = Pair::established();
    pair.receive_all().unwrap();
    pair.server.writer().write_all(b"text").unwrap();
    let mut bytes = pair.server_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    pair.peer.write_all(&bytes).unwrap();
    let Err(LinkError::Tls(text)) = pair.receive_all() else { panic!("no error") };
    assert!(text.contains("decrypt"), "{text}");
}

#[test]
fn a_server_that_leaves_the_handshake_is_no_error_of_certificates() {
    let mut pair = Pair::new(&client());
    pair.link.handshake(&mut [0; PLAINTEXT]).unwrap();
    pair.server_reads();
    pair.peer.shutdown(std::net::Shutdown::Both).unwrap();
    let Err(LinkError::HandshakeEnded(text)) = pair.link.handshake(&mut [0; PLAINTEXT]) else {
        panic!("no error");
    };
    assert_eq!(
        &*text,
        "the server closed the connection before it sent a byte; does it speak TLS on this port?"
    );
}
