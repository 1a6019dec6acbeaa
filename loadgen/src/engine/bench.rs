//! The state that the clients of one load thread share, and the events that they report to it.

pub(crate) mod connections;
mod outcome;
mod rules;
mod stage_clock;
mod thread_clock;
mod window_requests;
pub(crate) mod wire;

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use self::{
    connections::Connections, stage_clock::StageClock, thread_clock::ThreadClock,
    window_requests::WindowRequests, wire::Wire,
};
pub(crate) use self::{
    outcome::{Counted, LostRequest, Ready, Reply},
    rules::Rules,
};
use crate::{
    engine::{
        clock::Clock,
        failure::Failure,
        link::LinkError,
        pauses::Pauses,
        poller::{Interest, Poller},
        recording::Recording,
        request_log::{EndedRequest, RequestLog},
        slice::Slice,
        socket::{Attempt, Target},
        sources::Sources,
        timers::{Timers, Wake},
        tls::facts::{Agreed, TlsFacts},
        window::{Stall, Window},
    },
    load::plan::Plan,
    protocol::exchange::{Exchange, Mismatch},
};

/// The state that the clients of one load thread share.
#[derive(Debug)]
pub(crate) struct Bench<X> {
    clock: ThreadClock,
    poller: Poller,
    rules: Rules,
    targets: Vec<Target>,
    sources: Sources,
    wire: Wire<X>,
    timers: Timers,
    window: Window,
    requests: WindowRequests,
    stages: StageClock,
    /// The number of kinds of requests, if there are several; else 0.
    kinds: usize,
    connections: Connections,
    /// The recording of the current interval.
    recording: Box<Recording>,
    /// The recording of the time after the window.
    tail: Box<Recording>,
    /// The first reply that broke the protocol.
    mismatch: Option<Mismatch>,
    /// The first complete reply that was not expected.
    unexpected: Option<Mismatch>,
    /// What the thread has learned of TLS.
    tls: TlsFacts,
    /// The request log, if there is one.
    log: Option<RequestLog>,
}

/// The totals of a bench at the end of the load.
#[derive(Debug)]
pub(crate) struct Totals {
    /// The recording of the time after the window.
    pub tail: Box<Recording>,
    /// The longest time in the window without a reply while requests were outstanding.
    pub longest_stall: Stall,
    /// The pauses of the thread.
    pub pauses: Pauses,
    /// When the last reply was complete; 0 without a reply.
    pub last_reply_ns: u64,
    /// The first reply that broke the protocol.
    pub mismatch: Option<Mismatch>,
    /// The first complete reply that was not expected.
    pub unexpected: Option<Mismatch>,
    /// What the thread has learned of TLS.
    pub tls: TlsFacts,
}

impl<X: Exchange> Bench<X> {
    /// A bench for `clients` clients of a thread that may begin `budget` requests of the window.
    pub(crate) fn new(
        plan: &Plan,
        exchange: X,
        budget: u64,
        clients: usize,
        targets: Vec<Target>,
        clock: Clock,
        poller: Poller,
    ) -> Self {
        let clock = ThreadClock::new(clock);
        let stages = StageClock::new(plan);
        let kinds = plan.dialogue.kinds.len();
        let kinds = if kinds > 1 { kinds } else { 0 };
        let empty = || Box::new(Recording::with_slices(stages.count(), kinds));
        Self {
            recording: empty(),
            tail: empty(),
            poller,
            rules: Rules::new(plan),
            targets,
            sources: Sources::new(&plan.connecting.sources),
            wire: Wire::new(plan, exchange),
            timers: Timers::default(),
            window: Window::NEVER,
            requests: WindowRequests::new(budget),
            connections: Connections::new(plan, clients, clock.now_ns()),
            stages,
            kinds,
            mismatch: None,
            unexpected: None,
            tls: TlsFacts::default(),
            log: None,
            clock,
        }
    }

    /// The plan in the units of the clock.
    #[inline]
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The poller of the thread's sockets.
    #[inline]
    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// The exchange and the buffers.
    #[inline]
    pub(crate) fn wire(&mut self) -> &mut Wire<X> {
        &mut self.wire
    }

    /// The thread's connections.
    #[inline]
    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The thread's connections, to report a change.
    #[inline]
    pub(crate) fn connections_mut(&mut self) -> &mut Connections {
        &mut self.connections
    }

    /// The target with this index.
    pub(crate) fn target(&self, index: u32) -> &Target {
        &self.targets[index as usize]
    }

    /// Whether there is a source address with this number for a target.
    pub(crate) fn has_source(&self, target: u32, number: u64) -> bool {
        number < self.sources.count(self.target(target))
    }

    /// Starts a connection attempt, see [`Target::connect`].
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn connect(&self, target: u32, source: u8) -> Result<Attempt, Errno> {
        self.target(target).connect(self.sources.address(source), self.rules.kernel_timestamps)
    }

    /// Registers the socket of the client at `place`.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn watch(&self, socket: &OwnedFd, place: u32, interest: Interest) -> Result<(), Errno> {
        self.poller.add(socket, place.into(), interest)
    }
}

/// Time.
impl<X: Exchange> Bench<X> {
    /// Reads the clock, and detects whether the thread was paused since the last reading.
    #[inline]
    pub(crate) fn read_clock(&mut self) -> u64 {
        if let Some(pause) = self.clock.read() {
            self.clock.note_pause(pause, self.window);
            // The thread could not read replies during the pause, so this time is not the server's.
            self.requests.delay(pause.length_ns(), pause.to_ns);
        }
        self.clock.now_ns()
    }

    /// The last reading of the clock.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// When the thread's last wait ended. All events that it handles now had happened by that moment.
    #[inline]
    pub(crate) fn woken_ns(&self) -> u64 {
        self.clock.woken_ns()
    }

    /// The thread waits, and asks to run again after `wait_ns`; without a bound if that is None.
    #[inline]
    pub(crate) fn wait_begins(&mut self, wait_ns: Option<u64>) {
        self.clock.wait_begins(wait_ns);
    }

    /// The thread's wait has ended.
    #[inline]
    pub(crate) fn wait_ended(&mut self) {
        self.read_clock();
        self.clock.wait_ended();
    }

    /// The sum of all pauses so far, also of those before the window.
    #[inline]
    pub(crate) fn paused_ns(&self) -> u64 {
        self.clock.paused_ns()
    }

    /// When the last pause ended; 0 without one.
    #[inline]
    pub(crate) fn last_pause_end_ns(&self) -> u64 {
        self.clock.pauses().last.to_ns
    }

    /// Wakes the client at `place` when the clock reads `at_ns`.
    #[inline]
    pub(crate) fn wake(&mut self, at_ns: u64, place: u32, why: Wake) {
        self.timers.wake(at_ns, place, why);
    }

    /// Takes the next timer that is due: the client's place, and the reason.
    #[inline]
    pub(crate) fn pop_due_timer(&mut self) -> Option<(u32, Wake)> {
        self.timers.pop_due(self.clock.now_ns())
    }

    /// When the next timer is due.
    #[inline]
    pub(crate) fn next_timer_ns(&self) -> Option<u64> {
        self.timers.next_ns()
    }
}

/// The window and its recordings.
impl<X: Exchange> Bench<X> {
    /// The measured window.
    #[inline]
    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// The load begins, with this window.
    pub(crate) fn load_begins(&mut self, window: Window) {
        self.window = window;
        self.stages.load_begins(window);
        if let Some(log) = &mut self.log {
            log.load_begins(window.start_ns);
        }
    }

    /// The window ends at `at_ns` at the latest.
    pub(crate) fn end_window_by(&mut self, at_ns: u64) {
        self.window = self.window.ending_by(at_ns);
    }

    /// Takes the recording of the interval that ends now. `empty` records the next one.
    pub(crate) fn take_recording(&mut self, mut empty: Box<Recording>) -> Box<Recording> {
        empty.stages.resize_with(self.stages.count(), Slice::default);
        empty.kinds.resize_with(self.kinds, Slice::default);
        std::mem::replace(&mut self.recording, empty)
    }

    /// The recording of the current interval.
    pub(crate) fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The recording that events of this moment belong to: the current interval's, or the tail's after the window.
    #[inline]
    fn record(&mut self) -> &mut Recording {
        if self.clock.now_ns() < self.window.end_ns { &mut self.recording } else { &mut self.tail }
    }

    /// The slice of the stage in which a moment of the window lies. None without stages.
    #[inline]
    fn record_stage(&mut self, at_ns: u64) -> Option<&mut Slice> {
        let stage = self.stages.stage_at(at_ns)?;
        self.record().stages.get_mut(stage)
    }
}

/// Requests.
impl<X: Exchange> Bench<X> {
    /// Whether a client may begin a request that is due at `due_ns`. The budgets count only requests of the window; `own_budget` is
    /// the client's.
    #[inline]
    pub(crate) fn admits(&self, due_ns: u64, own_budget: u64) -> bool {
        due_ns < self.window.start_ns
            || due_ns < self.window.end_ns && own_budget > 0 && self.requests.has_budget()
    }

    /// Whether every request of the planned number has an outcome.
    pub(crate) fn is_spent(&self) -> bool {
        !self.requests.has_budget() && self.requests.outstanding() == 0
    }

    /// How many requests of the window are outstanding.
    pub(crate) fn outstanding(&self) -> u64 {
        self.requests.outstanding()
    }

    /// How many requests of the window may still begin.
    pub(crate) fn budget(&self) -> u64 {
        self.requests.budget()
    }

    /// When the last reply was complete; 0 without a reply.
    pub(crate) fn last_reply_ns(&self) -> u64 {
        self.requests.last_reply_ns()
    }

    /// A client has begun a request. Returns whether it is one of the window.
    #[inline]
    pub(crate) fn request_begun(&mut self, due_ns: u64) -> bool {
        let is_counted = self.window.contains(due_ns);
        if is_counted {
            self.requests.begun(self.clock.now_ns());
        }
        is_counted
    }

    /// The client was free to send an open loop's request, and tries to write it for the first time `lag_ns` later.
    #[inline]
    pub(crate) fn request_written(&mut self, due_ns: u64, lag_ns: u64) {
        if self.window.contains(due_ns) {
            self.record().schedule_lag.record(lag_ns);
        }
    }

    /// A client has received a complete reply and verified it.
    #[inline]
    pub(crate) fn reply_verified(&mut self, reply: &Reply) -> Counted {
        let now_ns = self.clock.now_ns();
        let counted = Counted {
            as_completed: self.window.contains(reply.due_ns),
            as_reply_in_window: self.window.contains(now_ns),
        };
        self.requests.replied(now_ns, self.window);
        let in_pause = reply.due_ns < self.last_pause_end_ns();
        let recording = if now_ns < self.window.end_ns { &mut self.recording } else { &mut self.tail };
        if counted.as_completed {
            self.requests.ended();
            recording.counts.completed += 1;
            recording.counts.in_pauses += u64::from(in_pause);
            recording.counts.delayed_rests += u64::from(reply.is_rest_delayed);
            recording.counts.bytes_sent += reply.bytes_sent as u64;
            recording.counts.bytes_received += reply.bytes_received as u64;
            recording.response.record(now_ns - reply.due_ns);
            recording.service.record(now_ns.saturating_sub(reply.written_ns));
            recording.due_to_written.record(reply.written_ns.saturating_sub(reply.due_ns));
            if let Some(Ready { at_ns, unread_ns }) = reply.ready {
                recording.written_to_ready.record(at_ns.saturating_sub(reply.written_ns));
                recording.ready_to_read.record(unread_ns);
            }
        }
        recording.counts.replies_in_window += u64::from(counted.as_reply_in_window);
        if self.stages.count() > 0 {
            self.reply_in_stages(reply.due_ns, counted);
        }
        if self.kinds > 0 {
            self.reply_of_kind(reply, counted);
        }
        counted
    }

    /// A reply counts as completed in the stage in which its request was due, and as a reply in the stage in which it arrives.
    fn reply_in_stages(&mut self, due_ns: u64, counted: Counted) {
        let now_ns = self.clock.now_ns();
        if let Some(slice) = self.record_stage(due_ns).filter(|_| counted.as_completed) {
            slice.completed(now_ns - due_ns);
        }
        if let Some(slice) = self.record_stage(now_ns).filter(|_| counted.as_reply_in_window) {
            slice.counts.replies_in_window += 1;
        }
    }

    /// A reply counts for the kind of its request.
    fn reply_of_kind(&mut self, reply: &Reply, counted: Counted) {
        let response_ns = self.clock.now_ns() - reply.due_ns;
        if let Some(slice) = self.record().kinds.get_mut(reply.kind) {
            slice.counts.replies_in_window += u64::from(counted.as_reply_in_window);
            if counted.as_completed {
                slice.completed(response_ns);
            }
        }
    }

    /// Whether there are several kinds of requests.
    #[inline]
    pub(crate) fn has_kinds(&self) -> bool {
        self.kinds > 0
    }

    /// A request of this kind is never sent.
    pub(crate) fn kind_unsent(&mut self, kind: usize, waited_ns: u64) {
        if let Some(slice) = self.record().kinds.get_mut(kind) {
            slice.unsent(1, waited_ns);
        }
    }

    /// A reply is wrong. Only the first one of the thread is described.
    pub(crate) fn reply_differs(&mut self, describe: impl FnOnce(&mut X) -> Mismatch) {
        if self.mismatch.is_none() {
            self.mismatch = Some(describe(self.wire.exchange()));
        }
    }

    /// A complete reply is not the expected one: its request fails. Only the first one of the thread is described.
    /// Returns whether the request was due in the window.
    pub(crate) fn reply_unexpected(
        &mut self,
        reply: &Reply,
        describe: impl FnOnce(&mut X) -> Mismatch,
    ) -> bool {
        if self.unexpected.is_none() {
            self.unexpected = Some(describe(self.wire.exchange()));
        }
        let now_ns = self.clock.now_ns();
        self.requests.replied(now_ns, self.window);
        let lost = LostRequest {
            due_ns: reply.due_ns,
            kind: reply.kind,
            written_ns: Some(reply.written_ns),
            bytes_sent: reply.bytes_sent,
            bytes_received: reply.bytes_received,
        };
        self.request_failed(Failure::Unexpected, lost)
    }

    /// The current stall ends: outstanding requests have failed, or the load is over.
    pub(crate) fn stall_ended(&mut self) {
        self.requests.stall_ended(self.clock.now_ns(), self.window);
    }

    /// A request has failed. Returns whether it was due in the window.
    pub(crate) fn request_failed(&mut self, failure: Failure, request: LostRequest) -> bool {
        self.count_failure(failure, request.due_ns);
        let is_counted = self.give_up(request);
        self.record().counts.failed += u64::from(is_counted);
        let waited_ns = self.clock.now_ns().saturating_sub(request.due_ns);
        if let Some(slice) = self.record_stage(request.due_ns).filter(|_| is_counted) {
            slice.failed(waited_ns);
        }
        if let Some(slice) = self.record().kinds.get_mut(request.kind).filter(|_| is_counted) {
            slice.failed(waited_ns);
            slice.failures.add(failure, 1);
        }
        is_counted
    }

    /// The end of the run has cut off a request before its timeout. Returns whether it was due in the window.
    pub(crate) fn request_cut_off(&mut self, request: LostRequest) -> bool {
        let is_counted = self.give_up(request);
        self.record().counts.cut_off += u64::from(is_counted);
        let waited_ns = self.clock.now_ns().saturating_sub(request.due_ns);
        if let Some(slice) = self.record_stage(request.due_ns).filter(|_| is_counted) {
            slice.cut_off(waited_ns);
        }
        if let Some(slice) = self.record().kinds.get_mut(request.kind).filter(|_| is_counted) {
            slice.cut_off(waited_ns);
        }
        is_counted
    }

    /// `count` requests of the window are never sent. The last of them was due `waited_ns` ago.
    pub(crate) fn requests_unsent(&mut self, count: u64, waited_ns: u64) {
        if count > 0 {
            self.requests.unsent(count);
            let recording = self.record();
            recording.counts.unsent += count;
            recording.counts.give_up(waited_ns);
            recording.failures.add(Failure::Unsent, count);
        }
    }

    /// The clients have ended: hands over the totals, and the rest of the log.
    pub(crate) fn into_totals(mut self) -> Totals {
        if let Some(log) = self.log.take() {
            log.finish();
        }
        Totals {
            tail: self.tail,
            longest_stall: self.requests.longest_stall(),
            last_reply_ns: self.requests.last_reply_ns(),
            pauses: self.clock.into_pauses(),
            mismatch: self.mismatch,
            unexpected: self.unexpected,
            tls: self.tls,
        }
    }

    fn give_up(&mut self, request: LostRequest) -> bool {
        if !self.window.contains(request.due_ns) {
            return false;
        }
        self.requests.ended();
        let waited_ns = self.clock.now_ns().saturating_sub(request.due_ns);
        let in_pause = request.due_ns < self.last_pause_end_ns();
        let counts = &mut self.record().counts;
        counts.give_up(waited_ns);
        counts.in_pauses += u64::from(in_pause);
        counts.bytes_sent += request.bytes_sent as u64;
        counts.bytes_received += request.bytes_received as u64;
        true
    }

    fn count_failure(&mut self, failure: Failure, due_ns: u64) {
        let is_before_window = due_ns < self.window.start_ns;
        let recording = self.record();
        match is_before_window {
            true => recording.failures_before_window.add(failure, 1),
            false => recording.failures.add(failure, 1),
        }
        if let Some(slice) = self.record_stage(due_ns).filter(|_| !is_before_window) {
            slice.failures.add(failure, 1);
        }
    }
}

/// The request log.
impl<X: Exchange> Bench<X> {
    /// Sets the log. None: there is no log.
    pub(crate) fn set_log(&mut self, log: Option<RequestLog>) {
        self.log = log;
    }

    /// A request has ended, by its reply or without one. Without a log, this costs one branch.
    #[inline]
    pub(crate) fn log(&mut self, ended: impl FnOnce() -> EndedRequest) {
        if self.log.is_some() {
            self.append_to_log(&ended());
        }
    }

    /// Hands the entries so far over to the writer.
    pub(crate) fn hand_over_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.hand_over();
        }
    }

    #[inline(never)]
    fn append_to_log(&mut self, ended: &EndedRequest) {
        let kind = self.wire.exchange().kind(ended.client, ended.request);
        if let Some(log) = &mut self.log {
            log.append(ended, kind, self.clock.now_ns());
        }
    }
}

/// Connections.
impl<X: Exchange> Bench<X> {
    /// A connection attempt has succeeded after `took_ns`.
    pub(crate) fn connection_established(&mut self, took_ns: u64) {
        self.connections.established();
        self.record().connect.record(took_ns);
    }

    /// The socket of an attempt is connected after `took_ns`; its TLS handshake begins.
    pub(crate) fn socket_connected(&mut self, took_ns: u64) {
        self.record().connect.record(took_ns);
    }

    /// The TLS handshake of an attempt has succeeded after `took_ns`.
    pub(crate) fn handshake_over(&mut self, took_ns: u64, is_resumed: bool, agreed: impl FnOnce() -> Agreed) {
        self.connections.established();
        self.tls.agreed.get_or_insert_with(agreed);
        let recording = self.record();
        recording.handshake.record(took_ns);
        recording.counts.resumed_handshakes += u64::from(is_resumed);
    }

    /// The TLS handshake of an attempt has failed.
    pub(crate) fn handshake_failed(&mut self, error: LinkError) {
        self.connections.attempt_failed(Errno::PROTO);
        let failure = self.link_failed(error);
        self.idle_connection_failed(failure);
    }

    /// The kind of a connection's error. Only the first failure of TLS is described.
    #[cold]
    pub(crate) fn link_failed(&mut self, error: LinkError) -> Failure {
        match error {
            LinkError::Io(error) => Failure::of_transfer(error),
            LinkError::Closed => Failure::Closed,
            LinkError::Tls(text) | LinkError::HandshakeEnded(text) => {
                self.tls.failure.get_or_insert(text);
                Failure::Tls
            }
        }
    }

    /// The first failure of TLS.
    pub(crate) fn tls_failure(&self) -> Option<&str> {
        self.tls.failure.as_deref()
    }

    /// A connection attempt has failed.
    pub(crate) fn connection_attempt_failed(&mut self, error: Errno) {
        self.connections.attempt_failed(error);
        self.idle_connection_failed(Failure::of_connect(error));
    }

    /// A connection without outstanding requests has failed. The failure belongs to the period in which it happens.
    pub(crate) fn idle_connection_failed(&mut self, failure: Failure) {
        self.count_failure(failure, self.clock.now_ns());
    }

    /// A failure has ended an established connection. `is_needed`: the client had outstanding requests, or had more to send.
    pub(crate) fn connection_lost(&mut self, is_needed: bool) {
        self.connections.closed();
        let is_measured = self.clock.now_ns() >= self.window.start_ns;
        self.record().counts.connections_lost += u64::from(is_needed && is_measured);
    }
}
