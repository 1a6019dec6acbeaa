//! A connection with TLS on a non-blocking socket: the handshake, and the bytes of messages in records.

#[cfg(test)]
mod tests;

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg},
};
use rustls::{ClientConnection, HandshakeKind, IoState};

use super::{LinkError, Sent};
use crate::engine::tls::{FirstBytes, TlsClient, facts::Agreed};

/// The most bytes that wait in a connection to be written.
const SENDABLE_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of one read in a handshake: rustls takes as many at once.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;
/// The most bytes of messages that a record can add to those of a read, if the read completes it (RFC 8446, 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// A connection with TLS.
#[derive(Debug)]
pub(crate) struct TlsLink {
    socket: OwnedFd,
    connection: ClientConnection,
    /// The client that made the connection, which explains its errors.
    client: TlsClient,
    first_bytes: FirstBytes,
    /// The handshake is over.
    is_established: bool,
    /// The server has ended its stream in order (`close_notify`).
    is_closed: bool,
}

/// Bytes of messages from one read of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsReceived {
    /// Their number. 0 if the read held only a part of a record, or a message of TLS itself.
    pub length: usize,
    /// The read has emptied the socket, so only another event can bring more.
    pub is_drained: bool,
}

impl TlsLink {
    /// How many bytes of `plaintext` a read of the socket may use, so that the bytes of its messages fit in `plaintext`.
    pub(crate) const fn ciphertext_bytes(plaintext: usize) -> usize {
        plaintext - RECORD_BYTES_MAX
    }

    /// TLS on a connected socket. [`handshake`](Self::handshake) begins it.
    ///
    /// # Errors
    /// When no connection can be made for the name of the server.
    pub(crate) fn new(socket: OwnedFd, client: TlsClient) -> Result<Self, LinkError> {
        let mut connection = client.connection().map_err(|text| LinkError::Tls(text.into()))?;
        connection.set_buffer_limit(Some(SENDABLE_BYTES_MAX));
        let first_bytes = FirstBytes::default();
        Ok(Self { socket, connection, client, first_bytes, is_established: false, is_closed: false })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Whether the client resumed a session. Only after the handshake.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What the handshake agreed on. Only after it.
    pub(crate) fn agreed(&self) -> Agreed {
        Agreed::of(&self.connection)
    }

    /// Goes on with the handshake as far as the socket allows. Returns whether it is over. `buffer` is for the received bytes.
    ///
    /// # Errors
    /// The kernel's error, the end of the connection, or one of TLS.
    pub(crate) fn handshake(&mut self, buffer: &mut [u8]) -> Result<bool, LinkError> {
        loop {
            let is_flushed = self.flush()?;
            if !self.connection.is_handshaking() {
                self.is_established |= is_flushed;
                return Ok(is_flushed);
            }
            let part = buffer.len().min(HANDSHAKE_READ_BYTES);
            match recv(&self.socket, &mut buffer[..part], RecvFlags::empty()) {
                Ok((_, 0)) => return Err(self.ended_in_handshake("closed the connection")),
                Ok((_, length)) => {
                    let mut rest = &buffer[..length];
                    while !rest.is_empty() {
                        rest = &rest[self.take(rest)?..];
                    }
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET | Errno::PIPE) => {
                    return Err(self.ended_in_handshake("reset the connection"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads once from the socket, and decrypts all complete records into `plaintext`. `ciphertext` has
    /// [`ciphertext_bytes`](Self::ciphertext_bytes) of it, so nothing is left in the connection: an event of the socket would
    /// not report it.
    ///
    /// # Errors
    /// The kernel's error, the end of the connection, or one of TLS.
    pub(crate) fn receive(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut [u8],
    ) -> Result<TlsReceived, LinkError> {
        // The server may have sent bytes together with its last message of the handshake.
        let early = self.read_decrypted(plaintext)?;
        if early > 0 {
            return Ok(TlsReceived { length: early, is_drained: false });
        }
        if self.is_closed {
            return Err(LinkError::Closed);
        }
        let received = match recv(&self.socket, &mut *ciphertext, RecvFlags::empty())? {
            // The end of the stream without `close_notify`: a truncation, or a server that saves the message.
            (_, 0) => return Err(LinkError::Closed),
            (_, received) => received,
        };
        let (mut rest, mut length) = (&ciphertext[..received], 0);
        while !rest.is_empty() && !self.is_closed {
            let taken = self.take(rest)?;
            rest = &rest[taken..];
            length += self.read_decrypted(&mut plaintext[length..])?;
        }
        if self.connection.wants_write() {
            // An answer to a message of TLS itself. If the socket is full, the next write takes it along.
            let _is_flushed = self.flush()?;
        }
        Ok(TlsReceived { length, is_drained: received < ciphertext.len() && !self.is_closed })
    }

    /// Encrypts bytes and writes them. It takes at most as many as the connection may hold.
    ///
    /// # Errors
    /// The kernel's error, or `AGAIN` if earlier bytes wait and the socket is full.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<Sent, LinkError> {
        if !self.flush()? {
            return Err(Errno::AGAIN.into());
        }
        let taken = self.connection.writer().write(bytes).map_err(|error| self.broken(&error))?;
        Ok(Sent { taken, is_short: !self.flush()? })
    }

    /// Writes the encrypted bytes that wait. Returns whether none is left.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn flush(&mut self) -> Result<bool, LinkError> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(&self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    return match self.is_established {
                        true => Err(errno.into()),
                        false => Err(self.ended_in_handshake("closed the connection")),
                    };
                }
            }
        }
        Ok(true)
    }

    /// Whether encrypted bytes wait to be written.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Tells the server that the stream ends here. It does not wait: the connection ends in any case.
    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
        let _ending = self.flush();
    }

    /// Gives received bytes to rustls. Returns how many it took.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        if !self.is_established {
            self.first_bytes.keep(bytes);
        }
        let mut rest = bytes;
        let taken = self.connection.read_tls(&mut rest).map_err(|error| self.broken(&error))?;
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.note_end(&state);
                Ok(taken)
            }
            Err(error) => {
                let text = self.client.describe(&error, &self.first_bytes);
                // The server learns why: rustls has prepared the alert.
                let _ending = self.flush();
                Err(LinkError::Tls(text.into()))
            }
        }
    }

    fn note_end(&mut self, state: &IoState) {
        self.is_closed |= state.peer_has_closed();
    }

    /// Takes decrypted bytes out of the connection, as many as fit.
    fn read_decrypted(&mut self, plaintext: &mut [u8]) -> Result<usize, LinkError> {
        let mut length = 0;
        while length < plaintext.len() {
            match self.connection.reader().read(&mut plaintext[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(self.broken(&error)),
            }
        }
        Ok(length)
    }

    fn ended_in_handshake(&self, how: &str) -> LinkError {
        let (advice, received) = match self.first_bytes.get() {
            [] => ("; does it speak TLS on this port?", "before it sent a byte"),
            _ => ("", "in the TLS handshake"),
        };
        LinkError::HandshakeEnded(format!("the server {how} {received}{advice}").into())
    }

    fn broken(&self, error: &io::Error) -> LinkError {
        LinkError::Tls(format!("TLS cannot go on: {error}").into())
    }
}

/// The socket as rustls writes to it.
struct Socket<'a>(&'a OwnedFd);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let no_control = &mut SendAncillaryBuffer::default();
        Ok(sendmsg(self.0.as_fd(), parts, no_control, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
