//! The bytes of requests and replies: the exchange, and the buffers for sending and receiving.

use std::{mem, ops::Range};

use rustix::net::{RecvFlags, recv};

use crate::{
    engine::{
        link::{
            Link, LinkError, Sent,
            tls::{TlsLink, TlsReceived},
        },
        timestamps::{self, ReceivedAt},
    },
    load::plan::Plan,
    protocol::exchange::Exchange,
};

/// The most bytes of one read or write.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// The exchange and the buffers of one load thread.
#[derive(Debug)]
pub(crate) struct Wire<X> {
    /// The requests and the check of replies, of one client after the other.
    exchange: X,
    kernel_timestamps: bool,
    /// The bytes of the last read.
    received: Vec<u8>,
    /// The encrypted bytes of the last read; empty without TLS.
    ciphertext: Vec<u8>,
    /// The control messages of the last read.
    control: Vec<u8>,
    /// Several requests, for one write.
    batch: Vec<u8>,
}

/// One read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Bytes in the buffer.
    pub length: usize,
    /// The read has emptied the socket: it did not fill the buffer.
    pub is_drained: bool,
    /// When the last byte was ready, if the kernel says so.
    pub ready_at: Option<ReceivedAt>,
}

impl<X: Exchange> Wire<X> {
    pub(super) fn new(plan: &Plan, exchange: X) -> Self {
        Self {
            exchange,
            kernel_timestamps: plan.measuring.kernel_timestamps,
            received: vec![0; BUFFER_BYTES],
            ciphertext: match plan.tls {
                None => Vec::new(),
                Some(_) => vec![0; TlsLink::ciphertext_bytes(BUFFER_BYTES)],
            },
            control: timestamps::buffer(),
            batch: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Reads into the buffer.
    ///
    /// # Errors
    /// The kernel's error, the end of the connection, or one of TLS.
    #[inline]
    pub(crate) fn receive(&mut self, link: &mut Link) -> Result<Received, LinkError> {
        let (length, ready_at) = match link {
            Link::Plain(socket) if self.kernel_timestamps => {
                timestamps::receive(socket, &mut self.received, &mut self.control)?
            }
            Link::Plain(socket) => {
                let (_, length) = recv(socket, &mut self.received[..], RecvFlags::empty())?;
                (length, None)
            }
            Link::Tls(link) => {
                let TlsReceived { length, is_drained } =
                    link.receive(&mut self.ciphertext, &mut self.received)?;
                return Ok(Received { length, is_drained, ready_at: None });
            }
        };
        match length {
            0 => Err(LinkError::Closed),
            _ => Ok(Received { length, is_drained: length < BUFFER_BYTES, ready_at }),
        }
    }

    /// The buffer for encrypted bytes.
    pub(crate) fn ciphertext(&mut self) -> &mut [u8] {
        &mut self.ciphertext
    }

    /// Lends the buffer of the last read, so that its bytes can be checked while other parts of the bench change.
    #[inline]
    pub(crate) fn lend_received(&mut self) -> Vec<u8> {
        mem::take(&mut self.received)
    }

    /// Takes the lent buffer back.
    #[inline]
    pub(crate) fn return_received(&mut self, received: Vec<u8>) {
        self.received = received;
    }

    /// Writes requests of a client, as many as the buffer holds, without the first `offset` bytes. Calls `each` with the number
    /// and the length of each of them before it writes.
    ///
    /// # Errors
    /// The kernel's error, or one of TLS.
    #[inline]
    pub(crate) fn send(
        &mut self,
        link: &mut Link,
        client: u32,
        numbers: Range<u64>,
        offset: usize,
        mut each: impl FnMut(u64, usize),
    ) -> Result<Sent, LinkError> {
        let first = self.exchange.request(client, numbers.start);
        each(numbers.start, first.len());
        let bytes = if numbers.end - numbers.start == 1 || first.len() > BUFFER_BYTES / 2 {
            &first[offset..]
        } else {
            self.batch.clear();
            self.batch.extend_from_slice(first);
            for number in numbers.start + 1..numbers.end {
                let request = self.exchange.request(client, number);
                if self.batch.len() + request.len() > BUFFER_BYTES {
                    break;
                }
                each(number, request.len());
                self.batch.extend_from_slice(request);
            }
            &self.batch[offset..]
        };
        link.send(bytes)
    }

    /// The exchange, to check and to describe replies.
    #[inline]
    pub(crate) fn exchange(&mut self) -> &mut X {
        &mut self.exchange
    }
}
