//! One thread, one mio poll (edge-triggered), one buffer that all connections share.

use std::io::{ErrorKind, Read, Write};

use anyhow::Context;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use peers::{BUFFER, listen, upper};

/// The largest number of events that one wait returns.
const EVENTS: usize = 512;
const LISTENER: Token = Token(usize::MAX);

fn main() -> anyhow::Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true).context("the listener cannot be made non-blocking")?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new().context("no epoll can be made")?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut connections, mut free) = (Vec::new(), Vec::new());
    let mut events = Events::with_capacity(EVENTS);
    let mut buffer = vec![0; BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.context("the epoll cannot be waited for")?,
        }
        for event in &events {
            let Token(place) = event.token();
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut connections, &mut free)?;
            } else if let Some(connection) = &mut connections[place]
                && connection.echo(&mut buffer, event.is_read_closed()).is_none()
            {
                connections[place] = None;
                free.push(place);
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) -> anyhow::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("no connection can be accepted"),
        };
        stream.set_nodelay(true).context("TCP_NODELAY cannot be set")?;
        let place = free.pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        poll.registry().register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        connections[place] = Some(Connection { stream, rest: Vec::new() });
    }
}

/// A connection, and the rest of a reply that its socket did not accept. While there is a rest, nothing is received.
struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Connection {
    /// Echoes until it would block. None if the connection has ended.
    fn echo(&mut self, buffer: &mut [u8], read_closed: bool) -> Option<()> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.send(&rest)?;
        }
        while self.rest.is_empty() {
            let received = match self.stream.read(buffer) {
                Ok(0) => return None,
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            upper(&mut buffer[..received]);
            self.send(&buffer[..received])?;
            // A read that did not fill its buffer has emptied the socket (epoll(7), question 9). Only the end of the
            // stream can follow, and its event is not repeated.
            if received < buffer.len() && !read_closed {
                return Some(());
            }
        }
        Some(())
    }

    /// Keeps the bytes that the socket does not accept.
    fn send(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.rest = bytes.to_vec();
                    return Some(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}
