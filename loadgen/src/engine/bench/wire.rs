//! The bytes of requests and replies: the exchange, and the buffers for sending and receiving.

use std::{mem, ops::Range, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use crate::{
    engine::timestamps::{self, ReceivedAt},
    load::exchange::Exchange,
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
    /// The control messages of the last read.
    control: Vec<u8>,
    /// Several requests, for one write.
    batch: Vec<u8>,
}

/// One write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Bytes that the socket took.
    pub taken: usize,
    /// Whether this was a short write.
    pub is_short: bool,
}

impl<X: Exchange> Wire<X> {
    pub(super) fn new(exchange: X, kernel_timestamps: bool) -> Self {
        Self {
            exchange,
            kernel_timestamps,
            received: vec![0; BUFFER_BYTES],
            control: timestamps::buffer(),
            batch: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Reads into the buffer. Returns the number of bytes, and when the last one was ready if the kernel says so.
    ///
    /// # Errors
    /// The kernel's error.
    #[inline]
    pub(crate) fn receive(&mut self, socket: &OwnedFd) -> Result<(usize, Option<ReceivedAt>), Errno> {
        match self.kernel_timestamps {
            false => {
                recv(socket, &mut self.received[..], RecvFlags::empty()).map(|(_, length)| (length, None))
            }
            true => timestamps::receive(socket, &mut self.received, &mut self.control),
        }
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
    /// The kernel's error.
    #[inline]
    pub(crate) fn send(
        &mut self,
        socket: &OwnedFd,
        client: u32,
        numbers: Range<u64>,
        offset: usize,
        mut each: impl FnMut(u64, usize),
    ) -> Result<Sent, Errno> {
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
        let length = bytes.len();
        let taken = send(socket, bytes, SendFlags::NOSIGNAL)?;
        Ok(Sent { taken, is_short: taken < length })
    }

    /// The exchange, to check and to describe replies.
    #[inline]
    pub(crate) fn exchange(&mut self) -> &mut X {
        &mut self.exchange
    }
}
