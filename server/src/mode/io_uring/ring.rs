//! One thread's io_uring: requests and completions. All `unsafe` code of the mode is here and in the parts of this module.
//!
//! The ring owns blocks of memory and lends them to the kernel, which receives into them. A receive uses only as much of a
//! block as it needs (`IOU_PBUF_RING_INC`). So the messages of many connections lie side by side, and a block serves small
//! and large messages. A used-up block is lent again once its bytes have been sent.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    time::Instant,
};

use io_uring::cqueue;
use rustix::{event::PollFlags, io::Errno};

use super::unavailable::{Step, Unavailable};

mod blocks;
mod kernel;
mod ledger;

use blocks::Blocks;
#[cfg(test)]
pub(super) use blocks::Registration;
pub(super) use kernel::{Kernel, Operation, Outcome, Uring};
pub(super) use ledger::Chunk;

/// A request. Its completion carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Accepts every connection of the listener with this index, until cancelled.
    Accept(usize),
    /// Reports that a connection waits at the listener with this index.
    WatchListener(usize),
    /// Receives for the connection with this key.
    Receive(usize),
    /// The send with this index. Only a short or failed send has a completion.
    Send(usize),
    /// Reports that the connection with this key is writable.
    Writable(usize),
    /// Reports that another descriptor is readable; the mode chooses its number.
    Readable(usize),
    /// A message to the ring of the thread with this number. Only a failure has a completion.
    Message(usize),
    /// Cancels another request, which then completes.
    Cancel,
}

/// A decoded completion.
#[derive(Debug)]
pub(super) enum Completion {
    /// A connection of the listener with this index. Without `more`, the request has ended.
    Accepted { listener: usize, result: Result<OwnedFd, Errno>, more: bool },
    /// A connection waits at this listener.
    ListenerReadable { listener: usize },
    /// Bytes of the connection; an empty chunk is the end of the stream. Without `more`, the request has ended.
    Received { key: usize, result: Result<Chunk, Errno>, more: bool },
    /// A send that was short or failed.
    SendFailed { index: usize, result: Result<usize, Errno> },
    /// The connection is writable, or its client is gone.
    Writable { key: usize },
    /// The descriptor with this number is readable.
    Readable { number: usize },
    /// Another thread has sent a message.
    Message,
    /// A message to this thread was not delivered.
    MessageFailed { thread: usize },
}

/// One thread's ring. Any thread may make it. The thread that uses it must enable it.
pub(super) struct Ring<K = Uring> {
    kernel: K,
    blocks: Blocks,
}

impl Ring {
    /// # Errors
    /// When the kernel refuses. The error names the cause, if it is known.
    pub(super) fn new() -> Result<Self, Unavailable> {
        let kernel = Uring::new().map_err(|error| Unavailable::new(Step::Setup, &error))?;
        let blocks = Blocks::new();
        kernel.register(blocks.registration()).map_err(|error| Unavailable::new(Step::Blocks, &error))?;
        Ok(Self { kernel, blocks })
    }

    /// Makes a ring and uses it once, so that the server does not start on a kernel that refuses io_uring.
    ///
    /// Two receives of different kinds use one block. Kernels without the commit "io_uring: ensure deferred completions
    /// are flushed for multishot" (in 6.15, 6.14.7 and 6.12.29) may complete the second one first. Then the bytes could not
    /// be assigned to their connections.
    pub(super) fn probe() -> Result<(), Unavailable> {
        let mut ring = Self::new()?;
        ring.enable();
        ring.kernel.submit().map_err(|error| Unavailable::new(Step::Enter, &error))?;
        let pair = || UnixStream::pair().map_err(|error| Unavailable::new(Step::Sockets, &error));
        let (once, until_cancelled) = (pair()?, pair()?);
        for (mut writer, bytes) in [(&once.0, b"first"), (&until_cancelled.0, b"other")] {
            writer.write_all(bytes).map_err(|error| Unavailable::new(Step::Sockets, &error))?;
        }
        ring.receive_once(once.1.as_fd(), 0, 64);
        ring.receive(until_cancelled.1.as_fd(), 1);
        let mut completions = Vec::new();
        ring.wait(&mut completions, Until::Now);
        let mut is = |completion: &Completion, number: usize, bytes: &[u8]| match completion {
            Completion::Received { key, result: Ok(chunk), .. } => {
                *key == number && ring.bytes(chunk) == bytes
            }
            _ => false,
        };
        match &completions[..] {
            [first, other] if is(first, 0, b"first") && is(other, 1, b"other") => Ok(()),
            _ => Err(Unavailable::new(Step::Order, &Errno::INVAL.into())),
        }
    }
}

impl<K: Kernel> Ring<K> {
    /// Makes this thread the one that uses the ring.
    pub(super) fn enable(&mut self) {
        self.kernel.enable();
    }

    /// The ring's descriptor, for messages to it.
    pub(super) fn descriptor(&self) -> RawFd {
        self.kernel.descriptor()
    }

    /// Accepts every connection of a listener, until cancelled.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, index: usize) {
        self.push(Operation::Accept(listener), Request::Accept(index));
    }

    /// Reports when a connection waits at a listener.
    pub(super) fn watch_listener(&mut self, listener: BorrowedFd<'_>, index: usize) {
        self.push(Operation::Poll(listener, PollFlags::IN), Request::WatchListener(index));
    }

    /// Reports when a descriptor is readable.
    pub(super) fn watch(&mut self, descriptor: BorrowedFd<'_>, number: usize) {
        self.push(Operation::Poll(descriptor, PollFlags::IN), Request::Readable(number));
    }

    /// Reports when a connection is writable.
    pub(super) fn watch_writable(&mut self, socket: BorrowedFd<'_>, key: usize) {
        self.push(Operation::Poll(socket, PollFlags::OUT), Request::Writable(key));
    }

    /// Receives until cancelled, the end of the stream or an error.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, key: usize) {
        self.push(Operation::Receive(socket), Request::Receive(key));
    }

    /// Receives once, at most `bytes_max`.
    pub(super) fn receive_once(&mut self, socket: BorrowedFd<'_>, key: usize, bytes_max: usize) {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        self.push(Operation::ReceiveOnce(socket, bytes_max), Request::Receive(key));
    }

    /// Sends with the next wait, as much as the socket takes at once. Only a short or failed send has a completion. So after
    /// that wait, either all is sent or the completion is there.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, chunk: &Chunk, index: usize) {
        let bytes = self.blocks.bytes(chunk);
        let send = Operation::Send(socket, bytes.as_ptr(), bytes.len() as u32);
        self.push(send, Request::Send(index));
    }

    /// Sends a [`Completion::Message`] to the ring of another thread.
    pub(super) fn message(&mut self, descriptor: RawFd, thread: usize) {
        self.push(Operation::Message(descriptor, MESSAGE), Request::Message(thread));
    }

    /// Cancels a request, which then completes unless it has completed already.
    pub(super) fn cancel(&mut self, request: Request) {
        self.push(Operation::Cancel(request.encode()), Request::Cancel);
    }

    /// Submits all requests and waits for completions.
    pub(super) fn wait(&mut self, completions: &mut Vec<Completion>, until: Until) {
        tolerate(self.kernel.submit_and_wait(until));
        // Submission stops early if the kernel lacks memory. All sends must be submitted before they count as complete,
        // so this loop retries; without memory, nothing could be sent or received anyway.
        while self.kernel.queued() > 0 {
            tolerate(self.kernel.submit());
        }
        self.blocks.next_round();
        let blocks = &mut self.blocks;
        completions.extend(self.kernel.outcomes().filter_map(|outcome| decode(&outcome, blocks)));
    }

    /// Lends the blocks to the kernel again whose bytes the last wait has sent. Call it after every completion of a send
    /// was handled.
    pub(super) fn take_back_blocks(&mut self) {
        self.blocks.take_back();
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.blocks.bytes(chunk)
    }

    /// Lends the kernel more blocks, up to a bound, if more connections had bytes in this round than there are blocks.
    pub(super) fn lend_more(&mut self, connections: usize) {
        self.blocks.lend_more(connections);
    }

    /// A ring over a kernel that the tests make.
    #[cfg(test)]
    pub(super) fn over(make_kernel: impl FnOnce(Registration) -> K) -> Self {
        let blocks = Blocks::new();
        Self { kernel: make_kernel(blocks.registration()), blocks }
    }

    /// Checks the books on the blocks, and returns how many blocks are lent.
    #[cfg(test)]
    pub(super) fn check_blocks(&self) -> usize {
        self.blocks.check()
    }

    /// Frees the memory of the blocks.
    ///
    /// # Safety
    /// No kernel may use it any more.
    #[cfg(test)]
    pub(super) unsafe fn free_blocks(self) {
        // SAFETY: the caller's promise.
        unsafe { self.blocks.free() }
    }

    #[inline(always)]
    fn push(&mut self, operation: Operation<'_>, request: Request) {
        // SAFETY: The bytes of a send lie in a block. Blocks are never freed. The kernel gets a block back to write to only
        // after the wait that submits this request, and a send with DONTWAIT has read its bytes when its submission returns.
        while !unsafe { self.kernel.push(operation, request.encode()) } {
            tolerate(self.kernel.submit());
        }
    }
}

/// How long to wait for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Do not wait.
    Now,
    /// Until there is one.
    Completion,
    /// Until there is one, or until this moment.
    At(Instant),
}

/// The message that other rings send.
pub(super) const MESSAGE: u64 = u64::MAX;

impl Request {
    const KIND_SHIFT: u32 = 56;

    pub(super) fn encode(self) -> u64 {
        let (kind, which) = match self {
            Request::Accept(listener) => (0, listener),
            Request::WatchListener(listener) => (1, listener),
            Request::Receive(key) => (2, key),
            Request::Send(index) => (3, index),
            Request::Writable(key) => (4, key),
            Request::Readable(number) => (5, number),
            Request::Message(thread) => (6, thread),
            Request::Cancel => (7, 0),
        };
        kind << Self::KIND_SHIFT | which as u64
    }

    pub(super) fn decode(user_data: u64) -> Self {
        let which = (user_data & ((1 << Self::KIND_SHIFT) - 1)) as usize;
        match user_data >> Self::KIND_SHIFT {
            0 => Request::Accept(which),
            1 => Request::WatchListener(which),
            2 => Request::Receive(which),
            3 => Request::Send(which),
            4 => Request::Writable(which),
            5 => Request::Readable(which),
            6 => Request::Message(which),
            _ => Request::Cancel,
        }
    }
}

/// Decodes a completion; `None` for a request whose completion has no use.
fn decode(outcome: &Outcome, blocks: &mut Blocks) -> Option<Completion> {
    if outcome.user_data == MESSAGE {
        return Some(Completion::Message);
    }
    let more = cqueue::more(outcome.flags);
    let result = match outcome.result {
        error @ ..0 => Err(Errno::from_raw_os_error(-error)),
        result => Ok(result as usize),
    };
    Some(match Request::decode(outcome.user_data) {
        Request::Accept(listener) => {
            // SAFETY: The kernel has made this descriptor for this process with this completion, and each completion is
            // decoded once, so nothing else owns it.
            let socket = |descriptor: usize| unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) };
            Completion::Accepted { listener, result: result.map(socket), more }
        }
        Request::WatchListener(listener) => Completion::ListenerReadable { listener },
        Request::Receive(key) => {
            let block = cqueue::buffer_select(outcome.flags);
            let result = result.map(|len| blocks.received(block, len, cqueue::buffer_more(outcome.flags)));
            Completion::Received { key, result, more }
        }
        Request::Send(index) => Completion::SendFailed { index, result },
        Request::Writable(key) => Completion::Writable { key },
        Request::Readable(number) => Completion::Readable { number },
        Request::Message(thread) => Completion::MessageFailed { thread },
        Request::Cancel => return None,
    })
}

/// A wait that was interrupted, timed out or found too many completions needs no handling.
fn tolerate(result: io::Result<usize>) {
    if let Err(error) = result {
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        if !matches!(code, Some(Errno::INTR | Errno::TIME | Errno::BUSY | Errno::AGAIN)) {
            panic!("io_uring_enter failed on a ring that works: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_names_its_request() {
        let requests = [
            Request::Accept(1),
            Request::WatchListener(2),
            Request::Receive(20_000),
            Request::Send(3),
            Request::Writable(4),
            Request::Readable(5),
            Request::Message(6),
            Request::Cancel,
        ];
        for request in requests {
            assert_eq!(Request::decode(request.encode()), request);
            assert_ne!(request.encode(), MESSAGE);
        }
    }
}
