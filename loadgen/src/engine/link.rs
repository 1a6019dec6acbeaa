//! An established connection: its socket, plain or with TLS.

pub(crate) mod tls;

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{SendFlags, send},
};

use self::tls::TlsLink;

/// An established connection.
#[derive(Debug)]
pub(crate) enum Link {
    /// The bytes of the messages are the bytes of the socket.
    Plain(OwnedFd),
    /// With TLS, after the handshake.
    Tls(Box<TlsLink>),
}

/// Why a connection cannot go on, or not now.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The kernel's error. `AGAIN` and `INTR` are no failures.
    Io(Errno),
    /// The server has closed the connection.
    Closed,
    /// TLS failed. The text is for people.
    Tls(Box<str>),
    /// The connection ended before the handshake was over. The text is for people.
    HandshakeEnded(Box<str>),
}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Bytes of the messages that the connection took.
    pub taken: usize,
    /// Whether this was a short write: the socket is full.
    pub is_short: bool,
}

impl Link {
    /// The socket.
    #[inline]
    pub(crate) fn socket(&self) -> &OwnedFd {
        match self {
            Link::Plain(socket) => socket,
            Link::Tls(link) => link.socket(),
        }
    }

    /// Writes bytes of messages.
    ///
    /// # Errors
    /// The kernel's error, or one of TLS.
    #[inline]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<Sent, LinkError> {
        match self {
            Link::Plain(socket) => {
                let taken = send(socket, bytes, SendFlags::NOSIGNAL)?;
                Ok(Sent { taken, is_short: taken < bytes.len() })
            }
            Link::Tls(link) => link.send(bytes),
        }
    }

    /// The socket has become writable: writes the bytes that wait in the connection. Returns whether none is left.
    ///
    /// # Errors
    /// The kernel's error.
    #[inline]
    pub(crate) fn flush(&mut self) -> Result<bool, LinkError> {
        match self {
            Link::Plain(_) => Ok(true),
            Link::Tls(link) => link.flush(),
        }
    }

    /// The client ends the connection: tells the server, as far as the protocol has a way to.
    pub(crate) fn close(&mut self) {
        if let Link::Tls(link) = self {
            link.close();
        }
    }
}

impl From<Errno> for LinkError {
    fn from(error: Errno) -> Self {
        LinkError::Io(error)
    }
}
