//! What a ring needs of the kernel: a queue of requests, a wait, and the completions.
//!
//! The server has one implementation, [`Uring`]. The tests have another one, which chooses the order of completions, the
//! length of receives and sends, and the moment of each cancellation.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    ptr,
    time::{Duration, Instant},
};

use io_uring::{
    IoUring, opcode,
    squeue::Flags,
    types::{CancelBuilder, Fd, SubmitArgs, Timespec},
};
use rustix::{event::PollFlags, net::SocketFlags};

use super::{Until, blocks::Registration};

/// Requests that fit in one submission. When it is full, it is submitted early.
const SUBMISSIONS: u32 = 512;
/// Completions that the kernel keeps until they are fetched. One wait brings far fewer: the kernel handles about twenty
/// connections at once.
const COMPLETIONS: u32 = 4096;
/// The buffer group of the blocks. The ring has only this one.
const GROUP: u16 = 0;
/// A flag of io_uring_register_buf_ring(3): a receive consumes only a part of a block. Since Linux 6.12.
const IOU_PBUF_RING_INC: u16 = 2;
/// A flag of io_uring_enter(2): make completions.
const ENTER_GETEVENTS: u32 = 1;
/// Not in rustix: send(2) ignores it, io_uring does not (io_uring_prep_send(3)).
const MSG_WAITALL: u32 = 0x100;

/// A request, as the kernel sees it.
#[derive(Clone, Copy, Debug)]
pub(in crate::mode::io_uring) enum Operation<'a> {
    /// Accepts every connection of a listener, until cancelled.
    Accept(BorrowedFd<'a>),
    /// Reports once when one of the events has occurred.
    Poll(BorrowedFd<'a>, PollFlags),
    /// Receives into lent memory until cancelled, the end of the stream or an error.
    Receive(BorrowedFd<'a>),
    /// Receives once into lent memory, at most this many bytes.
    ReceiveOnce(BorrowedFd<'a>, u32),
    /// Sends what the socket takes at once. Only a short or failed send has a completion.
    Send(BorrowedFd<'a>, *const u8, u32),
    /// Adds a completion with this user data to another ring. Only a failure has a completion of its own.
    Message(RawFd, u64),
    /// Cancels the request with this user data.
    Cancel(u64),
}

/// A completion, as the kernel makes it.
#[derive(Clone, Copy, Debug)]
pub(in crate::mode::io_uring) struct Outcome {
    pub(in crate::mode::io_uring) user_data: u64,
    /// A count or a descriptor, or the negated number of an error.
    pub(in crate::mode::io_uring) result: i32,
    /// The flags of `io_uring_cqe`.
    pub(in crate::mode::io_uring) flags: u32,
}

/// The kernel's side of a ring.
pub(in crate::mode::io_uring) trait Kernel {
    /// Makes this thread the one that uses the ring.
    fn enable(&mut self);

    /// The ring's descriptor, for messages to it.
    fn descriptor(&self) -> RawFd;

    /// Queues a request, which the next submission submits. Returns false if the queue is full.
    ///
    /// # Safety
    /// The bytes of a [`Operation::Send`] must be readable and unchanged until the submission has returned.
    unsafe fn push(&mut self, operation: Operation<'_>, user_data: u64) -> bool;

    /// How many requests are queued.
    fn queued(&mut self) -> usize;

    /// Submits the queued requests. It may stop early.
    fn submit(&mut self) -> io::Result<usize>;

    /// Submits the queued requests, and waits. It may stop early.
    fn submit_and_wait(&mut self, until: Until) -> io::Result<usize>;

    /// The completions that are there.
    fn outcomes(&mut self) -> impl Iterator<Item = Outcome>;
}

/// An io_uring of the real kernel.
pub(in crate::mode::io_uring) struct Uring(IoUring);

impl Uring {
    /// Makes a ring that is not enabled yet.
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        // One thread submits and waits. The kernel makes completions while it waits, and never interrupts it. A request
        // that fails at its submission does not stop the others.
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(COMPLETIONS);
        builder.setup_r_disabled().build(SUBMISSIONS).map(Self)
    }

    /// Lends the kernel the memory of the blocks.
    pub(super) fn register(&self, blocks: Registration) -> io::Result<()> {
        let (address, entries) = (blocks.address(), blocks.entries());
        // SAFETY: By the contract of Registration, the memory begins at a page, holds that many entries, and is never
        // freed.
        unsafe { self.0.submitter().register_buf_ring_with_flags(address, entries, GROUP, IOU_PBUF_RING_INC) }
    }
}

impl Kernel for Uring {
    fn enable(&mut self) {
        self.0.submitter().register_enable_rings().expect("a ring that is not enabled yet can be enabled");
    }

    fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    // Each caller names one operation, so inlined, nothing is left of the match.
    #[inline(always)]
    unsafe fn push(&mut self, operation: Operation<'_>, user_data: u64) -> bool {
        let entry = match operation {
            Operation::Accept(listener) => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                opcode::AcceptMulti::new(fd(listener)).flags(flags.bits() as i32).build()
            }
            Operation::Poll(descriptor, events) => {
                opcode::PollAdd::new(fd(descriptor), events.bits().into()).build()
            }
            Operation::Receive(socket) => opcode::RecvMulti::new(fd(socket), GROUP).build(),
            Operation::ReceiveOnce(socket, bytes_max) => {
                let receive = opcode::Recv::new(fd(socket), ptr::null_mut(), bytes_max);
                receive.buf_group(GROUP).build().flags(Flags::BUFFER_SELECT)
            }
            Operation::Send(socket, bytes, len) => {
                use rustix::net::SendFlags;
                // With WAITALL, a short send is a failure, and a failure has a completion.
                let flags = SendFlags::NOSIGNAL.bits() | SendFlags::DONTWAIT.bits() | MSG_WAITALL;
                let send = opcode::Send::new(fd(socket), bytes, len).flags(flags as i32).build();
                send.flags(Flags::SKIP_SUCCESS)
            }
            Operation::Message(ring, data) => {
                opcode::MsgRingData::new(Fd(ring), 0, data, None).build().flags(Flags::SKIP_SUCCESS)
            }
            Operation::Cancel(target) => {
                let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(target)).build();
                cancel.flags(Flags::SKIP_SUCCESS)
            }
        };
        // SAFETY: The only requests with pointers are sends, whose bytes the caller vouches for. The kernel looks
        // descriptors up, and answers a wrong one with an error.
        unsafe { self.0.submission().push(&entry.user_data(user_data)) }.is_ok()
    }

    fn queued(&mut self) -> usize {
        self.0.submission().len()
    }

    fn submit(&mut self) -> io::Result<usize> {
        self.0.submit()
    }

    fn submit_and_wait(&mut self, until: Until) -> io::Result<usize> {
        match until {
            Until::Now => {
                let submitted = self.queued() as u32;
                // SAFETY: The call takes no pointer. The crate's own call would not set GETEVENTS without waiting, and a
                // ring with DEFER_TASKRUN makes completions only with that flag.
                unsafe { self.0.submitter().enter::<()>(submitted, 0, ENTER_GETEVENTS, None) }
            }
            Until::Completion => self.0.submitter().submit_and_wait(1),
            Until::At(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
                let timeout = Timespec::from(left);
                self.0.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        }
    }

    fn outcomes(&mut self) -> impl Iterator<Item = Outcome> {
        self.0.completion().map(|entry| Outcome {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        })
    }
}

fn fd(descriptor: impl AsFd) -> Fd {
    Fd(descriptor.as_fd().as_raw_fd())
}
