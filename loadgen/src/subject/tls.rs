//! TLS with a server before its load: one handshake, and a blocking stream for one exchange.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::engine::{
    link::{LinkError, tls::TlsLink},
    tls::TlsClient,
};

/// The longest wait without a check whether to give up.
const SLICE: Duration = Duration::from_millis(100);
/// How long a server with TLS 1.3 may take to reject the client's certificate after the client's handshake is over.
const REJECTION_TIMEOUT: Duration = Duration::from_millis(500);
/// The error for a server that ends the connection because of the client's certificate, and does not say so.
const NO_GOOD_IDENTITY: &str = "the server asked for a client certificate and closed the connection after the handshake: it \
                                accepts only certain certificates; use --tls-cert and --tls-key";
/// The size of the buffer for bytes of messages before the load.
const PLAINTEXT_BYTES: usize = 64 * 1024;

/// Why there is no TLS with a server. The text is for people.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The connection ended, or nothing came in time: the server may still be starting.
    Ended(String),
    /// The server's TLS is not as requested.
    Tls(String),
}

/// Makes a handshake on a connected socket, and ends the connection.
///
/// # Errors
/// When the handshake fails, or is not over in time, or `give_up` returns true.
pub(crate) fn try_handshake(
    socket: OwnedFd,
    client: &TlsClient,
    timeout: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<(), HandshakeError> {
    rustix::io::ioctl_fionbio(&socket, true).map_err(|error| HandshakeError::Ended(error.to_string()))?;
    let mut link = TlsLink::new(socket, client.clone()).map_err(handshake_error)?;
    handshake(&mut link, timeout, give_up)?;
    if client.is_asked_for_identity() {
        await_rejection(&mut link)?;
    }
    link.close();
    Ok(())
}

/// A blocking stream with TLS. One thread may read while another one writes. A read waits for at most [`SLICE`].
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: TcpStream,
    link: Mutex<TlsLink>,
}

impl TlsStream {
    /// Makes the handshake on a connected socket.
    ///
    /// # Errors
    /// When the handshake fails, or is not over in time, or `give_up` returns true.
    pub(crate) fn establish(
        socket: TcpStream,
        client: &TlsClient,
        timeout: Duration,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Self, HandshakeError> {
        let ended = |error: io::Error| HandshakeError::Ended(error.to_string());
        socket.set_nonblocking(true).map_err(ended)?;
        let own = socket.try_clone().map_err(ended)?;
        let mut link = TlsLink::new(own.into(), client.clone()).map_err(handshake_error)?;
        handshake(&mut link, timeout, give_up)?;
        Ok(Self { socket, link: Mutex::new(link) })
    }

    /// Ends both directions, and wakes the threads that wait.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }

    fn link(&self) -> MutexGuard<'_, TlsLink> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn await_writable(&self) -> io::Result<()> {
        await_event(&self.socket, PollFlags::OUT, SLICE).map(drop)
    }
}

impl Read for &TlsStream {
    /// `buffer` has room for a whole record.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ciphertext = vec![0; TlsLink::ciphertext_bytes(buffer.len())];
        loop {
            // The lock is free while this thread waits.
            let received = self.link().receive(&mut ciphertext, buffer);
            match received {
                Ok(received) if received.length > 0 => return Ok(received.length),
                Ok(_) => {}
                Err(LinkError::Closed) => return Ok(0),
                Err(LinkError::Io(Errno::AGAIN)) => {
                    if !await_event(&self.socket, PollFlags::IN, SLICE)? {
                        return Err(ErrorKind::WouldBlock.into());
                    }
                }
                Err(error) => return Err(io_error(error)),
            }
        }
    }
}

impl Write for &TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let sent = self.link().send(bytes);
            match sent {
                Ok(sent) => return Ok(sent.taken),
                Err(LinkError::Io(Errno::AGAIN)) => self.await_writable()?,
                Err(error) => return Err(io_error(error)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            let is_flushed = self.link().flush().map_err(io_error)?;
            if is_flushed {
                return Ok(());
            }
            self.await_writable()?;
        }
    }
}

fn handshake(
    link: &mut TlsLink,
    timeout: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<(), HandshakeError> {
    let deadline = Instant::now() + timeout;
    let mut buffer = vec![0; PLAINTEXT_BYTES];
    while !link.handshake(&mut buffer).map_err(handshake_error)? {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() || give_up() {
            let waited = common::units::format_duration(timeout);
            return Err(HandshakeError::Ended(format!(
                "no TLS handshake within {waited}; does it speak TLS on this port?"
            )));
        }
        let events = if link.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        await_event(link.socket(), events, rest.min(SLICE))
            .map_err(|error| HandshakeError::Ended(error.to_string()))?;
    }
    Ok(())
}

/// With TLS 1.3, the server sees the client's certificate only after the client's handshake is over. A rejection is an alert, or
/// the end of the connection. Some servers send tickets for the next session first.
fn await_rejection(link: &mut TlsLink) -> Result<(), HandshakeError> {
    let mut plaintext = vec![0; PLAINTEXT_BYTES];
    let mut ciphertext = vec![0; TlsLink::ciphertext_bytes(PLAINTEXT_BYTES)];
    let deadline = Instant::now() + REJECTION_TIMEOUT;
    loop {
        match link.receive(&mut ciphertext, &mut plaintext) {
            Ok(_) => {}
            Err(LinkError::Io(Errno::AGAIN)) => {
                let rest = deadline.saturating_duration_since(Instant::now());
                if rest.is_zero() {
                    return Ok(());
                }
                await_event(link.socket(), PollFlags::IN, rest)
                    .map_err(|error| HandshakeError::Ended(error.to_string()))?;
            }
            Err(LinkError::Closed | LinkError::Io(_)) => {
                return Err(HandshakeError::Tls(NO_GOOD_IDENTITY.into()));
            }
            Err(error) => return Err(handshake_error(error)),
        }
    }
}

/// Waits for one of these events, or for the end of the connection. Returns false if nothing happens in time.
fn await_event(socket: impl AsFd, events: PollFlags, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(timeout).map_err(|_| ErrorKind::InvalidInput)?;
    match poll(&mut [PollFd::new(&socket, events)], Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn handshake_error(error: LinkError) -> HandshakeError {
    match error {
        LinkError::Tls(text) => HandshakeError::Tls(text.into()),
        LinkError::HandshakeEnded(text) => HandshakeError::Ended(text.into()),
        LinkError::Io(error) => HandshakeError::Ended(error.to_string()),
        LinkError::Closed => HandshakeError::Ended("the server closed the connection".to_owned()),
    }
}

fn io_error(error: LinkError) -> io::Error {
    match error {
        LinkError::Io(error) => error.into(),
        LinkError::Closed => ErrorKind::ConnectionReset.into(),
        LinkError::Tls(text) | LinkError::HandshakeEnded(text) => io::Error::other(String::from(text)),
    }
}
