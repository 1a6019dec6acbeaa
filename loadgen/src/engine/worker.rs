//! One load thread: it waits for sockets and timers, and drives its clients.

use std::{
    mem,
    num::NonZeroU64,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
    time::Duration,
};

use common::units::nanoseconds;
use rustix::{event::epoll::Event, io::Errno};

use crate::{
    engine::{
        bench::{Bench, Totals},
        client::Client,
        clock::Clock,
        control::{Control, LoadStart},
        failure::Failure,
        notice::{Ended, Notice, Ready},
        pauses::HEARTBEAT_NS,
        poller::{EVENTS_MAX, Interest, Poller},
        probes::WindowUsage,
        recording::Recording,
        request_log::RequestLog,
        socket::Target,
        sources::Sources,
        tls::TlsClient,
    },
    load::{
        plan::Plan,
        schedule::{Schedule, budget::Budget},
    },
    protocol::exchange::{Exchange, Visitor},
};

/// The longest wait for replies after an interruption.
const INTERRUPTED_GRACE: Duration = Duration::from_millis(500);
/// The event data of the thread's own waker. No client has this place.
const WAKER: u64 = u64::MAX;
const NEVER: u64 = u64::MAX;

/// The input of a load thread.
#[derive(Debug)]
pub(crate) struct Task {
    /// The thread's number, from 0.
    pub thread: usize,
    /// The plan of the run.
    pub plan: Arc<Plan>,
    /// The addresses that the clients connect to.
    pub targets: Vec<Target>,
    /// The TLS of each target; empty without TLS.
    pub tls: Vec<TlsClient>,
    /// The number of source addresses that the clients use.
    pub sources: u64,
    /// The run's clock.
    pub clock: Clock,
    /// The conductor's orders.
    pub control: Arc<Control>,
    /// The thread's messages to the conductor.
    pub notices: Sender<Notice>,
    /// Recordings that can be used again.
    pub recycled: Receiver<Box<Recording>>,
    /// What the thread may begin in the window.
    pub budget: Budget,
    /// The thread's request log, if there is one.
    pub log: Option<RequestLog>,
}

/// One load thread, with one kind of exchange.
#[derive(Debug)]
struct Worker<X: Exchange> {
    task: Task,
    bench: Bench<X>,
    clients: Vec<Client<X>>,
    phase: Phase,
    /// The index of the interval that is being recorded.
    interval: usize,
    usage: WindowUsage,
    /// Whether the server was gone when the window ended.
    server_is_gone: bool,
    /// The conductor knows that the target does not speak the protocol.
    wrong_protocol_reported: bool,
    /// When a client was last connected.
    last_connected_ns: u64,
    /// When the last request of the planned number is due, if that is known.
    last_due_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The clients connect. At `until_ns` the thread reports that it is ready.
    Connecting {
        until_ns: u64,
    },
    /// The thread waits for the start of the load.
    Ready,
    WarmUp,
    Measuring,
    /// The window is over. The thread awaits replies.
    Grace {
        until_ns: u64,
    },
}

/// Prepares a load thread and its clients. The returned function runs to the end of the load, and sends the notices.
///
/// # Errors
/// When there are not enough file descriptors.
pub(crate) fn prepare(task: Task) -> Result<Box<dyn FnOnce() + Send>, Errno> {
    struct Prepare(Task);

    impl Visitor for Prepare {
        type Output = Result<Box<dyn FnOnce() + Send>, Errno>;

        fn visit<X: Exchange>(self, exchange: X) -> Self::Output {
            let worker = Worker::new(self.0, exchange)?;
            Ok(Box::new(|| worker.run()))
        }
    }
    let plan = task.plan.clone();
    plan.dialogue.accept(plan.seed, plan.clients.whole, Prepare(task))
}

impl<X: Exchange> Worker<X> {
    fn new(mut task: Task, exchange: X) -> Result<Self, Errno> {
        let plan = task.plan.clone();
        let poller = Poller::new()?;
        poller.add(task.control.waker(task.thread), WAKER, Interest::Readable)?;
        let clients = clients(&task);
        let requests = task.budget.requests;
        let log = task.log.take();
        let mut bench =
            Bench::new(&plan, exchange, requests, clients.len(), task.targets.clone(), task.clock, poller);
        bench.set_log(log);
        let until_ns = bench
            .now_ns()
            .saturating_add(bench.connections().first_attempts_ns())
            .saturating_add(nanoseconds(plan.timeouts.connect));
        Ok(Self {
            task,
            last_connected_ns: bench.now_ns(),
            last_due_ns: None,
            bench,
            clients,
            phase: Phase::Connecting { until_ns },
            interval: 0,
            usage: WindowUsage::default(),
            server_is_gone: false,
            wrong_protocol_reported: false,
        })
    }

    fn run(mut self) {
        // A timer is late by its slack, 50 us by default (prctl(2), PR_SET_TIMERSLACK). If the slack cannot be changed,
        // the report shows the lateness.
        let _slack = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
        self.usage = WindowUsage::of_this_thread();
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.bench.read_clock();
            self.connect_next();
            self.fire_timers();
            self.update_phase();
            if self.is_over() {
                break;
            }
            if self.polls() {
                self.poll(&mut events);
            } else {
                self.wait(&mut events, self.wait_ns());
            }
            for event in &events {
                self.on_event(*event);
            }
        }
        self.end();
    }

    #[inline]
    fn wait(&mut self, events: &mut Vec<Event>, wait_ns: Option<u64>) {
        self.bench.wait_begins(wait_ns);
        self.bench.poller().wait(events, wait_ns);
        self.bench.wait_ended();
    }

    /// Looks for events, and counts the time if there are none. The time since the last reading of the clock was spent with work.
    #[inline]
    fn poll(&mut self, events: &mut Vec<Event>) {
        let began_ns = self.bench.read_clock();
        self.wait(events, Some(0));
        if events.is_empty() {
            self.usage.polled_in_vain(self.bench.now_ns() - began_ns);
        }
    }

    /// Whether the thread polls instead of sleeping. It sleeps until the load begins.
    #[inline]
    fn polls(&self) -> bool {
        self.task.plan.measuring.busy_poll
            && matches!(self.phase, Phase::WarmUp | Phase::Measuring | Phase::Grace { .. })
    }

    #[inline]
    fn on_event(&mut self, event: Event) {
        let (data, flags) = (event.data.u64(), event.flags);
        if data == WAKER {
            return self.follow_control();
        }
        self.clients[data as usize].on_event(flags, &mut self.bench);
        // A request that is due by now does not wait for the other events.
        if self.bench.rules().open_loop {
            self.fire_timers();
        }
    }

    #[inline]
    fn fire_timers(&mut self) {
        while let Some((place, why)) = self.bench.pop_due_timer() {
            self.clients[place as usize].on_timer(why, &mut self.bench);
        }
    }

    fn connect_next(&mut self) {
        loop {
            let now_ns = self.bench.now_ns();
            let Some(place) = self.bench.connections_mut().pop(now_ns) else { break };
            self.clients[place as usize].connect(&mut self.bench);
        }
    }

    /// Carries out the conductor's orders.
    fn follow_control(&mut self) {
        self.bench.read_clock();
        if let (Some(start), Phase::Connecting { .. } | Phase::Ready) =
            (self.task.control.load_start(), self.phase)
        {
            self.start(start);
        }
        if let Some(stop_ns) = self.task.control.stop_ns() {
            // The window ends now, not earlier: requests that were due since the order have begun, and belong to it.
            self.bench.end_window_by(stop_ns.max(self.bench.now_ns()));
        }
    }

    fn start(&mut self, LoadStart { at_ns, window }: LoadStart) {
        let plan = self.task.plan.clone();
        self.bench.load_begins(window);
        self.phase = Phase::WarmUp;
        self.last_due_ns =
            self.task.budget.division.as_ref().map(|division| at_ns.saturating_add(division.last_due_ns));
        for (place, client) in self.clients.iter_mut().enumerate() {
            let schedule = Schedule::new(&plan.load, plan.place(client.number()), at_ns);
            client.start(schedule, self.task.budget.of_client(place), &mut self.bench);
        }
    }

    /// Passes from one phase, and one interval, to the next.
    fn update_phase(&mut self) {
        let now_ns = self.bench.now_ns();
        if let Phase::Connecting { until_ns } = self.phase
            && (self.bench.connections().are_all_attempted() || now_ns >= until_ns)
        {
            self.report_ready();
        }
        if self.phase == Phase::WarmUp && now_ns >= self.bench.window().start_ns {
            self.phase = Phase::Measuring;
            self.usage.window_started();
        }
        if self.phase == Phase::Measuring {
            while now_ns >= self.next_interval_ns() {
                self.cut_interval(self.next_interval_ns());
            }
            if now_ns >= self.bench.window().end_ns || self.is_done() {
                self.end_window(now_ns);
            }
        }
        self.check_protocol();
        if self.bench.connections().count() > 0 {
            self.last_connected_ns = now_ns;
        }
    }

    fn report_ready(&mut self) {
        self.phase = Phase::Ready;
        let ready = Ready {
            failures: self.bench.recording().failures_before_window,
            connected: self.bench.connections().count(),
            error: self.bench.connections().last_error(),
            tls_failure: self.bench.tls_failure().map(Box::from),
        };
        self.notify(Notice::Ready(ready));
    }

    /// Reports a target whose replies all break the protocol. The warm-up does not count: a server may need it to get ready.
    fn check_protocol(&mut self) {
        if self.phase == Phase::Measuring
            && self.bench.last_reply_ns() == 0
            && self.bench.recording().failures.get(Failure::Mismatch) > 0
            && !mem::replace(&mut self.wrong_protocol_reported, true)
        {
            self.notify(Notice::WrongProtocol);
        }
    }

    /// Ends the window. Outcomes from now on belong to the tail.
    fn end_window(&mut self, now_ns: u64) {
        self.usage.window_ended();
        self.bench.end_window_by(now_ns);
        // Clients without a connection keep trying: due requests of the window still have to be sent.
        let connections = self.bench.connections();
        self.server_is_gone = connections.count() == 0 && connections.last_error().is_some();
        self.cut_interval(self.bench.window().end_ns);
        let timeout = self.task.plan.timeouts.reply;
        let is_interrupted = self.task.control.stop_ns().is_some();
        let grace = if is_interrupted { timeout.min(INTERRUPTED_GRACE) } else { timeout };
        self.phase = Phase::Grace { until_ns: now_ns.saturating_add(nanoseconds(grace)) };
    }

    /// Whether every request of the planned number has an outcome. A run without a duration is also done when the server has been
    /// unreachable for the timeout, or when all requests are due and no reply has arrived for the timeout: a client without a
    /// connection may have requests left, which no other client sends for it.
    fn is_done(&self) -> bool {
        let is_past =
            |since_ns: u64| self.bench.now_ns().saturating_sub(since_ns) >= self.bench.rules().timeout_ns;
        let is_silent =
            || self.last_due_ns.is_some_and(|due_ns| is_past(due_ns.max(self.bench.last_reply_ns())));
        let is_abandoned =
            self.task.plan.timing.duration.is_none() && (is_past(self.last_connected_ns) || is_silent());
        self.bench.is_spent() || is_abandoned
    }

    /// Whether the thread has nothing more to wait for.
    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Connecting { .. } | Phase::Ready => self.bench.window().end_ns != NEVER,
            Phase::Grace { until_ns } => {
                self.bench.now_ns() >= until_ns
                    || self.is_done()
                    // No client has a connection, or no client has a request to send.
                    || self.bench.outstanding() == 0
                        && (self.bench.connections().count() == 0
                            || !self.clients.iter().any(|client| client.owes(&self.bench)))
            }
            Phase::WarmUp | Phase::Measuring => false,
        }
    }

    /// When the current interval ends. The last one ends with the window.
    fn next_interval_ns(&self) -> u64 {
        let window = self.bench.window();
        let length_ns = nanoseconds(self.task.plan.measuring.interval);
        let offset_ns = length_ns.saturating_mul(self.interval as u64 + 1);
        let end_ns = window.start_ns.saturating_add(offset_ns);
        if end_ns < window.end_ns { end_ns } else { NEVER }
    }

    fn cut_interval(&mut self, end_ns: u64) {
        let empty = self.task.recycled.try_recv().unwrap_or_default();
        let recording = self.bench.take_recording(empty);
        self.notify(Notice::Interval { index: self.interval, end_ns, recording });
        self.bench.hand_over_log();
        self.interval += 1;
    }

    /// How long the thread waits for events, in nanoseconds; None without a limit. While the load runs, the limit is a
    /// heartbeat: so the thread detects its pauses. And the kernel hardly delays the wake-up, which it may do by 0.1% of a
    /// wait (`select_estimate_accuracy` in fs/select.c).
    #[inline]
    fn wait_ns(&self) -> Option<u64> {
        let phase_ns = match self.phase {
            Phase::Connecting { until_ns } | Phase::Grace { until_ns } => until_ns,
            Phase::Ready => NEVER,
            Phase::WarmUp => self.bench.window().start_ns,
            Phase::Measuring => self.next_interval_ns().min(self.bench.window().end_ns),
        };
        let connect_ns = self.bench.connections().next_ns();
        let next_ns = self.bench.next_timer_ns().unwrap_or(NEVER).min(phase_ns).min(connect_ns);
        let wait_ns = next_ns.saturating_sub(self.bench.now_ns());
        match self.phase {
            Phase::Connecting { .. } | Phase::Ready => (next_ns != NEVER).then_some(wait_ns),
            Phase::WarmUp | Phase::Measuring | Phase::Grace { .. } => Some(wait_ns.min(HEARTBEAT_NS)),
        }
    }

    /// Ends the clients, and reports to the conductor.
    fn end(mut self) {
        let ended_ns = self.bench.read_clock();
        self.bench.stall_ended();
        if self.interval == 0 {
            // Interrupted before the window began: there is one empty interval.
            self.bench.end_window_by(ended_ns);
            self.cut_interval(self.bench.window().end_ns);
        }
        let retransmissions = self.clients.iter().map(|client| client.retransmissions()).sum();
        let clients: Vec<_> = self.clients.iter_mut().map(|client| client.finish(&mut self.bench)).collect();
        if self.task.plan.timing.requests.is_some() && self.is_done() {
            self.bench.requests_unsent(self.bench.budget(), 0);
        }
        let window_ended_ns = self.bench.window().end_ns;
        let Totals { tail, longest_stall, pauses, last_reply_ns, mismatch, unexpected, tls } =
            self.bench.into_totals();
        let ended = Ended {
            intervals: self.interval,
            tail,
            clients,
            longest_stall,
            usage: self.usage.in_window(),
            retransmissions,
            window_ended_ns,
            ended_ns,
            pauses,
            server_is_gone: self.server_is_gone,
            last_reply_ns,
            mismatch,
            unexpected,
            tls,
        };
        notify(&self.task.notices, Notice::Ended(Box::new(ended)));
    }

    fn notify(&self, notice: Notice) {
        notify(&self.task.notices, notice);
    }
}

fn notify(notices: &Sender<Notice>, notice: Notice) {
    // The conductor no longer listens if it has given up the run.
    let _given_up = notices.send(notice);
}

/// The clients of a thread. The clients of a load are spread over the targets in turn, and those of this generator over its threads
/// and its source addresses.
fn clients<X: Exchange>(task: &Task) -> Vec<Client<X>> {
    let (plan, targets) = (&*task.plan, task.targets.len());
    // This many clients in a row have different targets, so they may have the same source address.
    let in_row = plan.clients.targets(targets as u64);
    let sources = Sources::new(&plan.connecting.sources);
    let numbers = plan.clients.of_thread(task.thread, plan.threads);
    let client = |(place, number): (usize, u32)| {
        let target = number as usize % targets;
        // A target that is no loopback has only given addresses.
        let in_turn = task.sources.min(sources.count(&task.targets[target]));
        let source = u64::from(plan.clients.place(number)) / in_row % in_turn;
        let tls = task.tls.get(target).map(TlsClient::with_own_sessions);
        Client::new(number, place as u32, target as u32, source as u8, plan.pipeline, tls)
    };
    numbers.enumerate().map(client).collect()
}
