//! A kernel behind a ring, in one thread. It acts on real sockets, and draws from a seed what the real one decides: which
//! request completes next, how much a receive or a send takes, whether a cancellation comes before or after the bytes, and
//! when the clients act.
//!
//! It keeps what the real kernel guarantees, and nothing more:
//! * Requests are issued in the order in which they were queued. A submission may stop early (io_uring_enter(2)).
//! * Receives complete in the order in which they took memory (Linux, "io_uring: ensure deferred completions are flushed for
//!   multishot"). Any other completion may come before or after them.
//! * A receive from an empty ring of blocks ends with ENOBUFS, even if its socket has no bytes (io_recv in io_uring/net.c).
//! * A multishot request ends with its first completion without F_MORE. That may be one with a result (a full completion queue).
//! * A send with DONTWAIT and WAITALL is over when its submission returns. It completes only if it is short or failed
//!   (io_uring_prep_send(3), IOSQE_CQE_SKIP_SUCCESS).
//! * A cancelled request completes: with ECANCELED, or with a result that came earlier. A cancellation that finds no request
//!   completes with ENOENT (io_uring_prep_cancel(3)).
//! * A pending request keeps its file open.
//! * A wait may return early, without a completion (EINTR).

use std::{
    cell::RefCell,
    collections::HashMap,
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use rand::RngExt;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt},
};

use super::{Random, clients::Clients, memory::LentMemory};
use crate::mode::io_uring::ring::{Kernel, Operation, Outcome, Registration, Until};

const F_BUFFER: u32 = 1;
const F_MORE: u32 = 2;
const F_BUF_MORE: u32 = 1 << 4;

/// The descriptors of the simulated rings begin here.
const FIRST_RING: RawFd = 1 << 20;

/// A longer wait would only end because a client acts.
const SLEEP_MAX: Duration = Duration::from_millis(200);

/// All that a schedule shares: its random numbers, its clients and its rings.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) clients: Clients,
    pub(super) rings: Vec<RingState>,
    pub(super) faults: Faults,
    /// Grows whenever a client or a request gets further.
    pub(super) progress: u64,
}

/// How often something goes wrong: once in this many times, never for 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) short_send: u32,
    pub(super) accept_error: u32,
    pub(super) multishot_end: u32,
    pub(super) short_submission: u32,
    pub(super) interruption: u32,
    pub(super) lost_message: u32,
}

/// One ring, on the kernel's side.
pub(super) struct RingState {
    memory: LentMemory,
    submissions_max: usize,
    queue: Vec<Queued>,
    pending: Vec<Pending>,
    posted: Vec<Outcome>,
    /// Every request that may still complete, from its push until its last completion is fetched: the file it is for, and
    /// whether it is cancelled.
    pub(super) outstanding: HashMap<u64, Outstanding>,
}

/// A request that may still complete.
pub(super) struct Outstanding {
    pub(super) file: u64,
    pub(super) is_cancelled: bool,
}

/// A request that was not submitted yet.
struct Queued {
    user_data: u64,
    /// The descriptor at the time of the push.
    descriptor: RawFd,
    file: u64,
    kind: Kind,
}

/// A request that was issued and has not completed for the last time.
struct Pending {
    user_data: u64,
    socket: OwnedFd,
    file: u64,
    kind: Kind,
    is_cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Accept,
    Poll(PollFlags),
    Receive,
    ReceiveOnce(usize),
    Send { address: u64, len: usize },
    Message(u64),
    Cancel(u64),
}

/// One ring of the world.
pub(super) struct SimulatedKernel {
    world: Rc<RefCell<World>>,
    number: usize,
}

impl SimulatedKernel {
    /// Adds a ring to the world.
    pub(super) fn new(world: &Rc<RefCell<World>>, blocks: Registration, submissions_max: usize) -> Self {
        let rings = &mut world.borrow_mut().rings;
        rings.push(RingState {
            memory: LentMemory::new(blocks),
            submissions_max,
            queue: Vec::new(),
            pending: Vec::new(),
            posted: Vec::new(),
            outstanding: HashMap::new(),
        });
        Self { world: Rc::clone(world), number: rings.len() - 1 }
    }
}

impl Kernel for SimulatedKernel {
    fn enable(&mut self) {}

    fn descriptor(&self) -> RawFd {
        FIRST_RING + self.number as RawFd
    }

    unsafe fn push(&mut self, operation: Operation<'_>, user_data: u64) -> bool {
        let world = &mut *self.world.borrow_mut();
        if world.random.random_ratio(1, 16) {
            world.act();
        }
        let ring = &mut world.rings[self.number];
        if ring.queue.len() == ring.submissions_max {
            return false;
        }
        ring.queue(operation, user_data);
        true
    }

    fn queued(&mut self) -> usize {
        self.world.borrow().rings[self.number].queue.len()
    }

    fn submit(&mut self) -> io::Result<usize> {
        self.world.borrow_mut().submit(self.number)
    }

    fn submit_and_wait(&mut self, until: Until) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        let submitted = world.submit(self.number)?;
        if world.rings[self.number].queue.is_empty() {
            world.wait(self.number, until)?;
        }
        Ok(submitted)
    }

    fn outcomes(&mut self) -> impl Iterator<Item = Outcome> {
        let world = &mut *self.world.borrow_mut();
        let ring = &mut world.rings[self.number];
        for outcome in &ring.posted {
            if outcome.flags & F_MORE == 0 {
                ring.outstanding.remove(&outcome.user_data);
            }
        }
        mem::take(&mut ring.posted).into_iter()
    }
}

impl World {
    fn act(&mut self) -> bool {
        let got_further = self.clients.act(&mut self.random);
        self.progress += u64::from(got_further);
        got_further
    }

    fn occurs(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.random.random_ratio(1, one_in)
    }

    fn submit(&mut self, number: usize) -> io::Result<usize> {
        let queued = self.rings[number].queue.len();
        let stops_early = queued > 0 && self.occurs(self.faults.short_submission);
        let count = if stops_early { self.random.random_range(0..queued) } else { queued };
        let requests: Vec<_> = self.rings[number].queue.drain(..count).collect();
        for request in requests {
            self.issue(number, request);
        }
        if queued > 0 && count == 0 { Err(Errno::AGAIN.into()) } else { Ok(count) }
    }

    fn issue(&mut self, number: usize, request: Queued) {
        let Queued { user_data, descriptor, file, kind } = request;
        match kind {
            Kind::Message(data) => return self.deliver(number, user_data, descriptor, data),
            Kind::Cancel(target) => return self.cancel(number, target),
            _ => {}
        }
        // SAFETY: The descriptor is only looked up, as the kernel does. The next line checks that it is the same file.
        let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
        assert_eq!(
            file_of(socket),
            Some(file),
            "a request whose descriptor was closed before its submission"
        );
        if let Kind::Send { address, len } = kind {
            return self.send(number, user_data, socket, file, address, len);
        }
        let socket = socket.try_clone_to_owned().expect("there are descriptors");
        let pending = Pending { user_data, socket, file, kind, is_cancelled: false };
        let receives = matches!(kind, Kind::Receive | Kind::ReceiveOnce(_));
        if receives && self.rings[number].memory.room().is_none() {
            return self.rings[number].post_in_order(user_data, -Errno::NOBUFS.raw_os_error(), 0);
        }
        self.rings[number].pending.push(pending);
        if self.random.random_ratio(1, 2) {
            let last = self.rings[number].pending.len() - 1;
            if self.rings[number].pending[last].is_ready() {
                self.perform(number, last);
            }
        }
    }

    fn send(
        &mut self,
        number: usize,
        user_data: u64,
        socket: BorrowedFd<'_>,
        file: u64,
        at: u64,
        len: usize,
    ) {
        let bytes = self.rings[number].memory.read_sent(at, len, file);
        let is_interrupted = self.faults.short_send > 0 && self.random.random_ratio(1, 64);
        let limit = match self.occurs(self.faults.short_send) {
            true => self.random.random_range(0..len),
            false => len,
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let result = match limit {
            _ if is_interrupted => Err(Errno::INTR),
            0 => Err(Errno::AGAIN),
            _ => send(socket, &bytes[..limit], flags),
        };
        match result {
            Ok(sent) if sent == len => {
                self.rings[number].outstanding.remove(&user_data);
                self.progress += 1;
            }
            Ok(sent) => self.post(number, user_data, sent as i32, 0),
            Err(error) => self.post(number, user_data, -error.raw_os_error(), 0),
        }
    }

    fn deliver(&mut self, number: usize, user_data: u64, descriptor: RawFd, data: u64) {
        if self.occurs(self.faults.lost_message) {
            return self.post(number, user_data, -Errno::OVERFLOW.raw_os_error(), 0);
        }
        self.rings[number].outstanding.remove(&user_data);
        let target = usize::try_from(descriptor - FIRST_RING).expect("a ring's descriptor");
        assert!(target != number, "a message to the ring itself");
        self.post(target, data, 0, 0);
    }

    fn cancel(&mut self, number: usize, target: u64) {
        let find = |ring: &RingState| ring.pending.iter().position(|pending| pending.user_data == target);
        // What has happened already comes first.
        if let Some(index) = find(&self.rings[number])
            && self.rings[number].pending[index].is_ready()
            && self.random.random_ratio(1, 2)
        {
            self.perform(number, index);
        }
        match find(&self.rings[number]) {
            Some(index) => {
                self.rings[number].pending[index].is_cancelled = true;
                if self.random.random_ratio(1, 2) {
                    self.perform(number, index);
                }
            }
            None => {
                let cancel = crate::mode::io_uring::ring::Request::Cancel.encode();
                self.post(number, cancel, -Errno::NOENT.raw_os_error(), 0);
            }
        }
    }

    fn wait(&mut self, number: usize, until: Until) -> io::Result<()> {
        if self.occurs(self.faults.interruption) {
            return Err(Errno::INTR.into());
        }
        let tries = if until == Until::Now { 1 } else { 64 };
        for _ in 0..tries {
            for _ in 0..self.random.random_range(0..4) {
                self.act();
            }
            self.complete_some(number, until != Until::Now);
            if !self.rings[number].posted.is_empty() {
                return Ok(());
            }
            if matches!(until, Until::At(deadline) if deadline <= Instant::now()) {
                return Err(Errno::TIME.into());
            }
        }
        match until {
            Until::At(deadline) if deadline <= Instant::now() + SLEEP_MAX => {
                thread::sleep(deadline.saturating_duration_since(Instant::now()));
                self.progress += 1;
                Err(Errno::TIME.into())
            }
            Until::Now => Ok(()),
            // Another ring or a client may have to act first.
            _ => Err(Errno::INTR.into()),
        }
    }

    /// Completes some of the requests that can complete, in any order; at least one, if `waits`.
    fn complete_some(&mut self, number: usize, waits: bool) {
        let ready: Vec<_> = self.rings[number]
            .pending
            .iter()
            .filter(|pending| pending.is_cancelled || pending.is_ready())
            .map(|pending| pending.user_data)
            .collect();
        let at_least = usize::from(waits && !ready.is_empty());
        let count = self.random.random_range(at_least..=ready.len());
        for _ in 0..count {
            let target = ready[self.random.random_range(0..ready.len())];
            let index = self.rings[number].pending.iter().position(|pending| pending.user_data == target);
            if let Some(index) = index {
                self.perform(number, index);
            }
        }
    }

    /// Does what a request waits for, as it is possible now.
    fn perform(&mut self, number: usize, index: usize) {
        let request = self.rings[number].pending.swap_remove(index);
        let is_receive = matches!(request.kind, Kind::Receive | Kind::ReceiveOnce(_));
        if request.is_cancelled {
            let canceled = -Errno::CANCELED.raw_os_error();
            match is_receive {
                true => self.rings[number].post_in_order(request.user_data, canceled, 0),
                false => self.post(number, request.user_data, canceled, 0),
            }
            return;
        }
        let goes_on = match request.kind {
            Kind::Accept => self.accept(number, &request),
            Kind::Poll(_) => {
                self.post(number, request.user_data, i32::from(request.events().bits() as i16), 0);
                false
            }
            Kind::Receive => {
                let times = self.random.random_range(1..=3);
                (0..times).all(|_| !request.is_ready() || self.receive(number, &request, usize::MAX))
            }
            Kind::ReceiveOnce(bytes_max) => self.receive(number, &request, bytes_max),
            Kind::Send { .. } | Kind::Message(_) | Kind::Cancel(_) => unreachable!("it never waits"),
        };
        if goes_on {
            self.rings[number].pending.push(request);
        }
    }

    fn accept(&mut self, number: usize, request: &Pending) -> bool {
        if self.occurs(self.faults.accept_error) {
            let errors =
                [Errno::CONNABORTED, Errno::CONNABORTED, Errno::CONNABORTED, Errno::MFILE, Errno::NOMEM];
            let error = errors[self.random.random_range(0..errors.len())];
            self.post(number, request.user_data, -error.raw_os_error(), 0);
            return false;
        }
        match accept_with(&request.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => {
                // So that a slow client is noticed soon.
                let bytes = 1 << self.random.random_range(11..18);
                sockopt::set_socket_send_buffer_size(&socket, bytes).expect("a socket has a buffer");
                let more = !self.occurs(self.faults.multishot_end);
                self.progress += 1;
                self.post(number, request.user_data, socket.into_raw_fd(), if more { F_MORE } else { 0 });
                more
            }
            Err(Errno::AGAIN) => true,
            Err(error) => {
                self.post(number, request.user_data, -error.raw_os_error(), 0);
                false
            }
        }
    }

    /// Receives once. Returns whether the request goes on.
    fn receive(&mut self, number: usize, request: &Pending, bytes_max: usize) -> bool {
        let Some(room) = self.rings[number].memory.room() else {
            self.rings[number].post_in_order(request.user_data, -Errno::NOBUFS.raw_os_error(), 0);
            return false;
        };
        let room = room.min(bytes_max);
        // Bytes that are not taken have not arrived yet.
        let arrived = match self.random.random_range(0..4) {
            0 => self.random.random_range(1..=room),
            1 => self.random.random_range(1..=room.min(2048)),
            _ => room,
        };
        let mut bytes = vec![0; arrived];
        let more_requests = request.kind == Kind::Receive && !self.occurs(self.faults.multishot_end);
        match recv(&request.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.progress += 1;
                self.rings[number].post_in_order(request.user_data, 0, 0);
                false
            }
            Ok((count, _)) => {
                self.progress += 1;
                let ring = &mut self.rings[number];
                let placed = ring.memory.place(&bytes[..count], request.file);
                let mut flags = F_BUFFER | u32::from(placed.block) << 16;
                flags |= if placed.more { F_BUF_MORE } else { 0 } | if more_requests { F_MORE } else { 0 };
                ring.post_in_order(request.user_data, count as i32, flags);
                more_requests
            }
            Err(Errno::AGAIN) => true,
            Err(error) => {
                self.rings[number].post_in_order(request.user_data, -error.raw_os_error(), 0);
                false
            }
        }
    }

    /// Posts a completion that may come before others.
    fn post(&mut self, number: usize, user_data: u64, result: i32, flags: u32) {
        let posted = &mut self.rings[number].posted;
        // A request's own completions keep their order.
        let first = posted.iter().rposition(|other| other.user_data == user_data).map_or(0, |last| last + 1);
        let at = self.random.random_range(first..=posted.len());
        posted.insert(at, Outcome { user_data, result, flags });
    }
}

impl RingState {
    fn queue(&mut self, operation: Operation<'_>, user_data: u64) {
        let (descriptor, kind) = match operation {
            Operation::Accept(listener) => (listener.as_raw_fd(), Kind::Accept),
            Operation::Poll(descriptor, events) => (descriptor.as_raw_fd(), Kind::Poll(events)),
            Operation::Receive(socket) => (socket.as_raw_fd(), Kind::Receive),
            Operation::ReceiveOnce(socket, bytes_max) => {
                (socket.as_raw_fd(), Kind::ReceiveOnce(bytes_max as usize))
            }
            Operation::Send(socket, bytes, len) => {
                (socket.as_raw_fd(), Kind::Send { address: bytes as u64, len: len as usize })
            }
            Operation::Message(ring, data) => (ring, Kind::Message(data)),
            Operation::Cancel(target) => (-1, Kind::Cancel(target)),
        };
        let file = match kind {
            Kind::Message(_) => 0,
            Kind::Cancel(target) => {
                if let Some(target) = self.outstanding.get_mut(&target) {
                    assert!(!target.is_cancelled, "a request was cancelled twice");
                    target.is_cancelled = true;
                }
                0
            }
            // SAFETY: The descriptor is borrowed from the operation.
            _ => file_of(unsafe { BorrowedFd::borrow_raw(descriptor) }).expect("it is borrowed"),
        };
        if !matches!(kind, Kind::Message(_) | Kind::Cancel(_)) {
            let before = self.outstanding.insert(user_data, Outstanding { file, is_cancelled: false });
            assert!(before.is_none(), "two requests of one kind and key are pending: {user_data:#x}");
        }
        self.queue.push(Queued { user_data, descriptor, file, kind });
    }

    fn post_in_order(&mut self, user_data: u64, result: i32, flags: u32) {
        self.posted.push(Outcome { user_data, result, flags });
    }

    /// How many blocks the mode must believe to be lent: those with room, and those whose last receive it has not fetched.
    pub(super) fn lent_count(&mut self) -> usize {
        let used_up = |outcome: &&Outcome| outcome.flags & (F_BUFFER | F_BUF_MORE) == F_BUFFER;
        self.memory.lent_count() + self.posted.iter().filter(used_up).count()
    }
}

impl Pending {
    /// The events that have occurred.
    fn events(&self) -> PollFlags {
        let wanted = match self.kind {
            Kind::Poll(events) => events,
            _ => PollFlags::IN,
        };
        let mut polled = [PollFd::new(&self.socket, wanted)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("it polls a valid descriptor");
        polled[0].revents()
    }

    fn is_ready(&self) -> bool {
        !self.events().is_empty()
    }
}

/// The number of an open file, which no other open file has; `None` if the descriptor is closed.
pub(super) fn file_of(descriptor: impl AsFd) -> Option<u64> {
    rustix::fs::fstat(descriptor).ok().map(|status| status.st_ino)
}
