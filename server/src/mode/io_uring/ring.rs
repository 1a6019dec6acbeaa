//! One thread's io_uring: what is asked of the kernel, and what it answers. All that is unsafe about it is here.
//!
//! Bytes are received into blocks of memory that the ring owns and lends to the kernel. Of each block, the kernel takes
//! only as much as a receive needs (`IOU_PBUF_RING_INC`), so that the messages of many connections lie packed together,
//! and a block serves small messages and large ones alike. A block that is used up goes back to the kernel once what was
//! received into it has been sent.

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

use super::refusal::{Refusal, Step};

mod blocks;

pub(super) use blocks::Chunk;
use blocks::{Blocks, GROUP};

/// Requests that one submission takes. More are submitted in between.
const SUBMISSIONS: u32 = 512;
/// Answers that the kernel keeps until they are fetched. One wait brings far fewer: the kernel does the work of some
/// twenty connections at once.
const COMPLETIONS: u32 = 4096;

/// A request, as its answer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Newcomers of the listener with this index, until cancelled.
    Accept(usize),
    /// Whether newcomers of the listener with this index are there.
    Newcomers(usize),
    /// What the connection with this key receives.
    Receive(usize),
    /// The send with this index. Only a failure is answered.
    Send(usize),
    /// Whether the connection's client has taken something.
    Writable(usize),
    /// Whether a descriptor of the mode's own is readable: of a number that the mode chooses.
    Readable(usize),
    /// A message to the ring of the thread with this number. Only a failure is answered.
    Message(usize),
    /// To end another request, which is answered itself.
    Cancel,
}

/// What the kernel answers.
#[derive(Debug)]
pub(super) enum Completion {
    /// Somebody came to the listener with this index. Without `more`, the request has ended.
    Accepted { listener: usize, result: Result<OwnedFd, Errno>, more: bool },
    /// Newcomers of this listener are there.
    Newcomers { listener: usize },
    /// The connection received something; nothing is the end of the stream. Without `more`, the request has ended.
    Received { key: usize, result: Result<Chunk, Errno>, more: bool },
    /// The send was short, by this result.
    SendFailed { index: usize, result: Result<usize, Errno> },
    /// The connection's client has taken something, or is gone.
    Writable { key: usize },
    /// A descriptor of the mode's own is readable.
    Readable { number: usize },
    /// Another thread has sent a message.
    Message,
    /// The message to this thread could not be delivered.
    MessageFailed { thread: usize },
}

/// One thread's ring. It is made by any thread and must be enabled by the one that will use it.
pub(super) struct Ring {
    ring: IoUring,
    blocks: Blocks,
}

impl Ring {
    /// # Errors
    /// When the kernel refuses; the error says what the cause is, as far as that can be told.
    pub(super) fn new() -> Result<Self, Refusal> {
        let ring = builder()
            .setup_r_disabled()
            .build(SUBMISSIONS)
            .map_err(|error| Refusal::new(Step::Setup, &error))?;
        let blocks = Blocks::new(&ring)?;
        Ok(Self { ring, blocks })
    }

    /// Makes a ring and uses it once, so that whatever is refused is refused before anything is served.
    ///
    /// Two receives of different kinds use one block. Kernels without the commit "io_uring: ensure deferred completions
    /// are flushed for multishot" (in 6.15, 6.14.7 and 6.12.29) may answer the second one first, and then nobody could
    /// tell whose bytes are whose.
    pub(super) fn probe() -> Result<(), Refusal> {
        let mut ring = Self::new()?;
        ring.enable();
        ring.ring.submit().map_err(|error| Refusal::new(Step::Enter, &error))?;
        let pair = || UnixStream::pair().map_err(|error| Refusal::new(Step::Sockets, &error));
        let (once, until_cancelled) = (pair()?, pair()?);
        for (mut writer, bytes) in [(&once.0, b"first"), (&until_cancelled.0, b"other")] {
            writer.write_all(bytes).map_err(|error| Refusal::new(Step::Sockets, &error))?;
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
            _ => Err(Refusal::new(Step::Order, &Errno::INVAL.into())),
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

    /// Accepts whoever comes to a listener, until cancelled.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, index: usize) {
        let flags = libc_flags(rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK);
        let accept = opcode::AcceptMulti::new(fd(listener)).flags(flags).build();
        self.push(accept, Request::Accept(index));
    }

    /// Waits for newcomers without accepting them.
    pub(super) fn watch_listener(&mut self, listener: BorrowedFd<'_>, index: usize) {
        self.poll(listener, rustix::event::PollFlags::IN, Request::Newcomers(index));
    }

    /// Waits until a descriptor of the mode's own is readable.
    pub(super) fn watch(&mut self, descriptor: BorrowedFd<'_>, number: usize) {
        self.poll(descriptor, rustix::event::PollFlags::IN, Request::Readable(number));
    }

    /// Waits until a connection's client has taken something.
    pub(super) fn watch_writable(&mut self, socket: BorrowedFd<'_>, key: usize) {
        self.poll(socket, rustix::event::PollFlags::OUT, Request::Writable(key));
    }

    /// Receives what comes, until cancelled, the end of the stream or an error.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, key: usize) {
        self.push(opcode::RecvMulti::new(fd(socket), GROUP).build(), Request::Receive(key));
    }

    /// Receives once, at most so much.
    pub(super) fn receive_once(&mut self, socket: BorrowedFd<'_>, key: usize, bytes_max: usize) {
        let len = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        let receive = opcode::Recv::new(fd(socket), ptr::null_mut(), len).buf_group(GROUP).build();
        self.push(receive.flags(Flags::BUFFER_SELECT), Request::Receive(key));
    }

    /// Sends at the next wait, as much as can be sent at once. Only if that is not all of it, there is an answer. So
    /// after that wait either all is sent, or the answer is there.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, chunk: &Chunk, index: usize) {
        use rustix::net::SendFlags;
        let bytes = self.blocks.bytes(chunk);
        // With WAITALL, a short send is a failure, and failures are answered.
        let flags = SendFlags::NOSIGNAL.bits() | SendFlags::DONTWAIT.bits() | MSG_WAITALL;
        let send =
            opcode::Send::new(fd(socket), bytes.as_ptr(), bytes.len() as u32).flags(flags as i32).build();
        self.push(send.flags(Flags::SKIP_SUCCESS), Request::Send(index));
    }

    /// Has the ring of another thread complete with [`Completion::Message`].
    pub(super) fn message(&mut self, descriptor: RawFd, thread: usize) {
        let message = opcode::MsgRingData::new(Fd(descriptor), 0, MESSAGE, None).build();
        self.push(message.flags(Flags::SKIP_SUCCESS), Request::Message(thread));
    }

    /// Ends a request, which is then answered, if it has not been yet.
    pub(super) fn cancel(&mut self, request: Request) {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(request.encode())).build();
        self.push(cancel.flags(Flags::SKIP_SUCCESS), Request::Cancel);
    }

    /// Submits what was asked, and waits for answers, at most until then.
    pub(super) fn wait(&mut self, completions: &mut Vec<Completion>, until: Until) {
        let result = match until {
            Until::Now => {
                let submitted = self.ring.submission().len() as u32;
                // SAFETY: The call takes no pointer. It is made by hand because the crate would not ask for answers
                // where it is not to wait for one, and a ring with DEFER_TASKRUN makes them only when asked.
                unsafe { self.ring.submitter().enter::<()>(submitted, 0, ENTER_GETEVENTS, None) }
            }
            Until::Answered => self.ring.submitter().submit_and_wait(1),
            Until::At(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
                let timeout = Timespec::from(left);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        tolerate(result);
        // What could not be submitted for want of memory must be, before any of it is taken for done. It ends when the
        // kernel has memory again; nothing could be sent or received without.
        while !self.ring.submission().is_empty() {
            tolerate(self.ring.submit());
        }
        self.blocks.next_round();
        let blocks = &mut self.blocks;
        completions.extend(self.ring.completion().filter_map(|entry| decode(&entry, blocks)));
    }

    /// The sends that the last wait has submitted are looked after: the blocks whose bytes they have sent are lent to the
    /// kernel again.
    pub(super) fn take_back_blocks(&mut self) {
        self.blocks.take_back();
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.blocks.bytes(chunk)
    }

    /// Lends the kernel more blocks, up to a bound, where a receive found none although no connection took more than
    /// its part: that many had something in this round.
    pub(super) fn lend_more(&mut self, connections: usize) {
        self.blocks.lend_more(connections);
    }

    fn poll(&mut self, descriptor: BorrowedFd<'_>, flags: rustix::event::PollFlags, request: Request) {
        self.push(opcode::PollAdd::new(fd(descriptor), flags.bits().into()).build(), request);
    }

    fn push(&mut self, entry: squeue::Entry, request: Request) {
        let entry = entry.user_data(request.encode());
        // SAFETY: The only requests with pointers are sends, whose bytes lie in a block. Blocks are never freed, and the
        // kernel gets one back to write to only after the wait that submits what is pushed here: a send with DONTWAIT
        // has read its bytes when its submission returns. Descriptors are looked up by the kernel; a wrong one is an
        // error that it answers.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            tolerate(self.ring.submit());
        }
    }
}

/// Until when to wait for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Not at all.
    Now,
    /// Until there is one.
    Answered,
    /// Until there is one, or this moment.
    At(Instant),
}

/// The message that other rings send.
const MESSAGE: u64 = u64::MAX;
/// Of io_uring_enter(2): asks for answers.
const ENTER_GETEVENTS: u32 = 1;
/// Not in rustix: send(2) gives it no meaning, io_uring does (io_uring_prep_send(3)).
const MSG_WAITALL: u32 = 0x100;

impl Request {
    const KIND_SHIFT: u32 = 56;

    fn encode(self) -> u64 {
        let (kind, which) = match self {
            Request::Accept(listener) => (0, listener),
            Request::Newcomers(listener) => (1, listener),
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
            1 => Request::Newcomers(which),
            2 => Request::Receive(which),
            3 => Request::Send(which),
            4 => Request::Writable(which),
            5 => Request::Readable(which),
            6 => Request::Message(which),
            _ => Request::Cancel,
        }
    }
}

/// What an answer says. None where nobody asks for it.
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
            // SAFETY: The kernel has made this descriptor for this process with this answer, and each answer is
            // decoded once: nobody else owns it.
            let socket = |descriptor: usize| unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) };
            Completion::Accepted { listener, result: result.map(socket), more }
        }
        Request::Newcomers(listener) => Completion::Newcomers { listener },
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
    // One thread submits and waits; completions are worked off when it waits and never interrupt it; a request that
    // cannot be submitted does not keep the others back.
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(COMPLETIONS);
    builder
}

fn fd(descriptor: impl AsFd) -> Fd {
    Fd(descriptor.as_fd().as_raw_fd())
}

fn libc_flags(flags: rustix::net::SocketFlags) -> i32 {
    flags.bits() as i32
}

/// A wait that was interrupted, timed out or found too many answers is simply over.
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
    fn a_request_is_known_again_by_its_answer() {
        let requests = [
            Request::Accept(1),
            Request::Newcomers(2),
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
