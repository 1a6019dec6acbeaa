//! The bytes of requests and replies: the messages, and the buffers for sending and receiving.

use std::{mem, ops::Range, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use crate::{
    engine::timestamps::{self, ReceivedAt},
    load::{message::Messages, plan::Plan},
};

/// The most bytes of one read or write.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// The messages and buffers of one load thread.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The message, patched for one client after the other.
    messages: Messages,
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

impl Wire {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            messages: plan.messages.clone(),
            kernel_timestamps: plan.measuring.kernel_timestamps,
            received: vec![0; BUFFER_BYTES],
            control: timestamps::buffer(),
            batch: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// The length of a request, and of a reply.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.messages.size()
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

    /// Writes requests of a client, as many as the buffer holds, without the first `offset` bytes.
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
    ) -> Result<Sent, Errno> {
        let size = self.messages.size();
        let bytes = if numbers.end - numbers.start == 1 || size > BUFFER_BYTES / 2 {
            &self.messages.request(client, numbers.start)[offset..]
        } else {
            self.batch.clear();
            for number in numbers.start..numbers.end.min(numbers.start + (BUFFER_BYTES / size) as u64) {
                self.batch.extend_from_slice(self.messages.request(client, number));
            }
            &self.batch[offset..]
        };
        let length = bytes.len();
        let taken = send(socket, bytes, SendFlags::NOSIGNAL)?;
        Ok(Sent { taken, is_short: taken < length })
    }

    /// The messages, to check and to describe replies.
    #[inline]
    pub(crate) fn messages(&mut self) -> &mut Messages {
        &mut self.messages
    }
}
