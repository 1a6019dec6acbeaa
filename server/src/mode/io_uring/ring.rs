//! One thread's io_uring: requests and completions. All `unsafe` code of the mode is here.
//!
//! The ring owns blocks of memory and lends them to the kernel, which receives into them. A receive uses only as much of a
//! block as it needs (`IOU_PBUF_RING_INC`). So the messages of many connections lie side by side, and a block serves small
//! and large messages. A used-up block is lent again once its bytes have been sent.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    ptr,
    time::{Duration, Instant},
};

use io_uring::{
    IoUring, cqueue, opcode,
    squeue::{self, Flags},
    types::{CancelBuilder, Fd, SubmitArgs, Timespec},
};
use rustix::io::Errno;

use super::unavailable::{Step, Unavailable};

mod blocks;

pub(super) use blocks::Chunk;
use blocks::{Blocks, GROUP};

/// Requests that fit in one submission. When it is full, it is submitted early.
const SUBMISSIONS: u32 = 512;
/// Completions that the kernel keeps until they are fetched. One wait brings far fewer: the kernel handles about twenty
/// connections at once.
const COMPLETIONS: u32 = 4096;

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
pub(super) struct Ring {
    ring: IoUring,
    blocks: Blocks,
}

impl Ring {
    /// # Errors
    /// When the kernel refuses. The error names the cause, if it is known.
    pub(super) fn new() -> Result<Self, Unavailable> {
        let ring = builder()
            .setup_r_disabled()
            .build(SUBMISSIONS)
            .map_err(|error| Unavailable::new(Step::Setup, &error))?;
        let blocks = Blocks::new(&ring)?;
        Ok(Self { ring, blocks })
    }

    /// Makes a ring and uses it once, so that the server does not start on a kernel that refuses io_uring.
    ///
    /// Two receives of different kinds use one block. Kernels without the commit "io_uring: ensure deferred completions
    /// are flushed for multishot" (in 6.15, 6.14.7 and 6.12.29) may complete the second one first. Then the bytes could not
    /// be assigned to their connections.
    pub(super) fn probe() -> Result<(), Unavailable> {
        let mut ring = Self::new()?;
        ring.enable();
        ring.ring.submit().map_err(|error| Unavailable::new(Step::Enter, &error))?;
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

    /// Makes this thread the one that uses the ring.
    pub(super) fn enable(&self) {
        self.ring.submitter().register_enable_rings().expect("a ring that is not enabled yet can be enabled");
    }

    /// The ring's descriptor, for messages to it.
    pub(super) fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Accepts every connection of a listener, until cancelled.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, index: usize) {
        let flags = libc_flags(rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK);
        let accept = opcode::AcceptMulti::new(fd(listener)).flags(flags).build();
        self.push(accept, Request::Accept(index));
    }

    /// Reports when a connection waits at a listener.
    pub(super) fn watch_listener(&mut self, listener: BorrowedFd<'_>, index: usize) {
        self.poll(listener, rustix::event::PollFlags::IN, Request::WatchListener(index));
    }

    /// Reports when a descriptor is readable.
    pub(super) fn watch(&mut self, descriptor: BorrowedFd<'_>, number: usize) {
        self.poll(descriptor, rustix::event::PollFlags::IN, Request::Readable(number));
    }

    /// Reports when a connection is writable.
    pub(super) fn watch_writable(&mut self, socket: BorrowedFd<'_>, key: usize) {
        self.poll(socket, rustix::event::PollFlags::OUT, Request::Writable(key));
    }

    /// Receives until cancelled, the end of the stream or an error.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, key: usize) {
        self.push(opcode::RecvMulti::new(fd(socket), GROUP).build(), Request::Receive(key));
    }

    /// Receives once, at most `bytes_max`.
    pub(super) fn receive_once(&mut self, socket: BorrowedFd<'_>, key: usize, bytes_max: usize) {
        let len = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        let receive = opcode::Recv::new(fd(socket), ptr::null_mut(), len).buf_group(GROUP).build();
        self.push(receive.flags(Flags::BUFFER_SELECT), Request::Receive(key));
    }

    /// Sends with the next wait, as much as the socket takes at once. Only a short or failed send has a completion. So after
    /// that wait, either all is sent or the completion is there.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, chunk: &Chunk, index: usize) {
        use rustix::net::SendFlags;
        let bytes = self.blocks.bytes(chunk);
        // With WAITALL, a short send is a failure, and a failure has a completion.
        let flags = SendFlags::NOSIGNAL.bits() | SendFlags::DONTWAIT.bits() | MSG_WAITALL;
        let send =
            opcode::Send::new(fd(socket), bytes.as_ptr(), bytes.len() as u32).flags(flags as i32).build();
        self.push(send.flags(Flags::SKIP_SUCCESS), Request::Send(index));
    }

    /// Sends a [`Completion::Message`] to the ring of another thread.
    pub(super) fn message(&mut self, descriptor: RawFd, thread: usize) {
        let message = opcode::MsgRingData::new(Fd(descriptor), 0, MESSAGE, None).build();
        self.push(message.flags(Flags::SKIP_SUCCESS), Request::Message(thread));
    }

    /// Cancels a request, which then completes unless it has completed already.
    pub(super) fn cancel(&mut self, request: Request) {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(request.encode())).build();
        self.push(cancel.flags(Flags::SKIP_SUCCESS), Request::Cancel);
    }

    /// Submits all requests and waits for completions.
    pub(super) fn wait(&mut self, completions: &mut Vec<Completion>, until: Until) {
        let result = match until {
            Until::Now => {
                let submitted = self.ring.submission().len() as u32;
                // SAFETY: The call takes no pointer. The crate's own call would not set GETEVENTS without waiting, and a
                // ring with DEFER_TASKRUN makes completions only with that flag.
                unsafe { self.ring.submitter().enter::<()>(submitted, 0, ENTER_GETEVENTS, None) }
            }
            Until::Completion => self.ring.submitter().submit_and_wait(1),
            Until::At(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
                let timeout = Timespec::from(left);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        tolerate(result);
        // Submission stops early if the kernel lacks memory. All sends must be submitted before they count as complete,
        // so this loop retries; without memory, nothing could be sent or received anyway.
        while !self.ring.submission().is_empty() {
            tolerate(self.ring.submit());
        }
        self.blocks.next_round();
        let blocks = &mut self.blocks;
        completions.extend(self.ring.completion().filter_map(|entry| decode(&entry, blocks)));
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

    fn poll(&mut self, descriptor: BorrowedFd<'_>, flags: rustix::event::PollFlags, request: Request) {
        self.push(opcode::PollAdd::new(fd(descriptor), flags.bits().into()).build(), request);
    }

    fn push(&mut self, entry: squeue::Entry, request: Request) {
        let entry = entry.user_data(request.encode());
        // SAFETY: The only requests with pointers are sends, whose bytes lie in a block. Blocks are never freed. The kernel
        // gets a block back to write to only after the wait that submits this request, and a send with DONTWAIT has read
        // its bytes when its submission returns. The kernel looks descriptors up, and answers a wrong one with an error.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            tolerate(self.ring.submit());
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
const MESSAGE: u64 = u64::MAX;
/// A flag of io_uring_enter(2): make completions.
const ENTER_GETEVENTS: u32 = 1;
/// Not in rustix: send(2) ignores it, io_uring does not (io_uring_prep_send(3)).
const MSG_WAITALL: u32 = 0x100;

impl Request {
    const KIND_SHIFT: u32 = 56;

    fn encode(self) -> u64 {
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

    fn decode(user_data: u64) -> Self {
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
fn decode(entry: &cqueue::Entry, blocks: &mut Blocks) -> Option<Completion> {
    if entry.user_data() == MESSAGE {
        return Some(Completion::Message);
    }
    let more = cqueue::more(entry.flags());
    let result = match entry.result() {
        error @ ..0 => Err(Errno::from_raw_os_error(-error)),
        result => Ok(result as usize),
    };
    Some(match Request::decode(entry.user_data()) {
        Request::Accept(listener) => {
            // SAFETY: The kernel has made this descriptor for this process with this completion, and each completion is
            // decoded once, so nothing else owns it.
            let socket = |descriptor: usize| unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) };
            Completion::Accepted { listener, result: result.map(socket), more }
        }
        Request::WatchListener(listener) => Completion::ListenerReadable { listener },
        Request::Receive(key) => {
            let result =
                result.map(|len| blocks.received(cqueue::buffer_select(entry.flags()), len, entry.flags()));
            Completion::Received { key, result, more }
        }
        Request::Send(index) => Completion::SendFailed { index, result },
        Request::Writable(key) => Completion::Writable { key },
        Request::Readable(number) => Completion::Readable { number },
        Request::Message(thread) => Completion::MessageFailed { thread },
        Request::Cancel => return None,
    })
}

fn builder() -> io_uring::Builder {
    let mut builder = IoUring::builder();
    // One thread submits and waits. The kernel makes completions while it waits, and never interrupts it. A request that
    // fails at its submission does not stop the others.
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(COMPLETIONS);
    builder
}

fn fd(descriptor: impl AsFd) -> Fd {
    Fd(descriptor.as_fd().as_raw_fd())
}

fn libc_flags(flags: rustix::net::SocketFlags) -> i32 {
    flags.bits() as i32
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
