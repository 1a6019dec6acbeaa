//! One load thread: it waits for sockets and timers, and drives its clients.

use std::{
    collections::VecDeque,
    mem,
    num::NonZeroU64,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
    time::Duration,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};

use crate::{
    bench::{BUFFER_BYTES, Bench, Rules, Stall, Window},
    client::{Client, Served},
    clock::{Clock, nanoseconds},
    control::Control,
    failure::FailureCounts,
    message::Mismatch,
    plan::Plan,
    probes::ThreadProbe,
    recording::Recording,
    schedule::{Place, Schedule},
    socket::Target,
    timers::Timers,
    timestamps,
};

/// After an interruption, replies are awaited for at most so long.
const INTERRUPTED_GRACE: Duration = Duration::from_millis(500);
/// Connection attempts that a thread has under way at once: enough to hide the time they take, few enough for
/// a server's backlog.
const CONNECTING_MAX: usize = 128;
/// Events that are taken from the kernel at once.
const EVENTS_MAX: usize = 256;
/// Not a client's place: the thread's own waker.
const WAKER: u64 = u64::MAX;
const NEVER: u64 = u64::MAX;

/// What a load thread tells the conductor.
#[derive(Debug)]
pub enum News {
    /// Each client of the thread has tried to connect, or has had the time to.
    Ready(Ready),
    /// An interval is over.
    Interval {
        /// Which one, from 0.
        index: usize,
        /// What was seen in it.
        recording: Box<Recording>,
    },
    /// The thread is done.
    Ended(Box<Ended>),
}

/// How the first connection attempts of a thread went.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Clients that are connected.
    pub connected: usize,
    /// The failures so far.
    pub failures: FailureCounts,
    /// The last connection attempt's error.
    pub error: Option<Errno>,
}

/// What remains of a load thread.
#[derive(Debug)]
pub struct Ended {
    /// The last interval.
    pub index: usize,
    /// What was seen in it.
    pub recording: Box<Recording>,
    /// How its clients were served.
    pub clients: Vec<Served>,
    /// The longest time in the window for which replies were owed and none came.
    pub longest_stall: Stall,
    /// What the thread has used in the window.
    pub usage: ThreadProbe,
    /// Segments that its clients' connections had to send again, of those that lived at the end.
    pub retransmissions: u64,
    /// When its part of the window ended.
    pub ended_ns: u64,
    /// The first wrong reply it saw.
    pub mismatch: Option<Mismatch>,
}

/// What a load thread is given.
#[derive(Debug)]
pub struct Task {
    /// Its number, from 0.
    pub thread: usize,
    /// What the run does.
    pub plan: Arc<Plan>,
    /// Where clients connect to.
    pub targets: Vec<Target>,
    /// How many source addresses the clients use.
    pub sources: u64,
    /// The run's clock.
    pub clock: Clock,
    /// Where the conductor's orders come from.
    pub control: Arc<Control>,
    /// Where the news go.
    pub news: Sender<News>,
    /// Recordings that may be used again.
    pub recycled: Receiver<Box<Recording>>,
}

/// One load thread.
#[derive(Debug)]
pub struct Worker {
    task: Task,
    bench: Bench,
    clients: Vec<Client>,
    phase: Phase,
    /// The interval that is being recorded.
    index: usize,
    /// What the thread had used when the window began, and what it used in the window.
    usage_at_start: ThreadProbe,
    usage: ThreadProbe,
    /// When the next connection may be begun, by the connect rate.
    next_connect_ns: u64,
    /// Since when no connection has been up.
    alone_since_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connecting. By that moment the thread reports that it is ready.
    Connecting {
        until_ns: u64,
    },
    /// Waiting for the conductor to say when the load begins.
    Ready,
    WarmUp,
    Measuring,
    /// The window is over; replies are awaited.
    Grace {
        until_ns: u64,
    },
}

impl Worker {
    /// Prepares the thread's clients.
    ///
    /// # Errors
    /// When there are not enough file descriptors.
    pub fn new(task: Task) -> Result<Self, Errno> {
        let plan = &*task.plan;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let news = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, task.control.waker(task.thread), EventData::new_u64(WAKER), news)?;
        let targets = task.targets.len();
        let numbers = (task.thread as u32..plan.connections).step_by(plan.threads);
        let clients: Vec<_> = numbers
            .enumerate()
            .map(|(place, number)| {
                let target = number as usize % targets;
                let source = match task.targets[target].is_loopback_v4() {
                    true => number as u64 / targets as u64 % task.sources,
                    false => 0,
                };
                Client::new(number, place as u32, target, source as u8, plan.pipeline)
            })
            .collect();
        let bench = Bench {
            clock: task.clock,
            now_ns: task.clock.now_ns(),
            woken_ns: 0,
            epoll,
            rules: Rules::new(plan),
            targets: task.targets.clone(),
            messages: plan.messages.clone(),
            received: vec![0; BUFFER_BYTES],
            control: timestamps::buffer(),
            batch: Vec::with_capacity(BUFFER_BYTES),
            timers: Timers::default(),
            window: Window::NEVER,
            budget: plan.requests.map_or(u64::MAX, |requests| share(requests, task.thread, plan.threads)),
            pending: 0,
            waiting_since_ns: 0,
            longest_stall: Stall::default(),
            to_connect: (0..clients.len() as u32).collect::<VecDeque<_>>(),
            connecting: 0,
            connected: 0,
            unattempted: clients.len(),
            connect_error: None,
            recording: Box::default(),
            mismatch: None,
        };
        let now_ns = bench.now_ns;
        let pace_ns = connect_gap_ns(plan).saturating_mul(clients.len() as u64);
        let until_ns = now_ns.saturating_add(pace_ns).saturating_add(nanoseconds(plan.connect_timeout));
        Ok(Self {
            task,
            bench,
            clients,
            phase: Phase::Connecting { until_ns },
            index: 0,
            usage_at_start: ThreadProbe::default(),
            usage: ThreadProbe::default(),
            next_connect_ns: now_ns,
            alone_since_ns: now_ns,
        })
    }

    /// Runs to the load's end and sends what was seen.
    pub fn run(mut self) {
        // A timer is late by its slack, 50 us by default (prctl(2), PR_SET_TIMERSLACK). Where that cannot be
        // changed, the lateness is in the report.
        let _slack = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.bench.read_clock();
            self.connect_next();
            self.fire_timers();
            self.pass_marks();
            if self.is_over() {
                break;
            }
            let timeout = self.timeout();
            events.clear();
            let waited =
                epoll::wait(&self.bench.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref());
            match waited {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => unreachable!("epoll_wait with valid arguments fails only by a signal: {error}"),
            }
            self.bench.woken_ns = self.bench.read_clock();
            for event in &events {
                self.on_event(*event);
            }
        }
        self.end();
    }

    #[inline]
    fn on_event(&mut self, event: Event) {
        let (data, flags) = (event.data.u64(), event.flags);
        if data == WAKER {
            return self.obey();
        }
        self.clients[data as usize].on_event(flags, &mut self.bench);
        // A request that got due meanwhile does not wait for the rest of the events.
        if self.bench.rules.open_loop {
            self.fire_timers();
        }
    }

    #[inline]
    fn fire_timers(&mut self) {
        while let Some((place, why)) = self.bench.timers.pop_due(self.bench.now_ns) {
            self.clients[place as usize].on_timer(why, &mut self.bench);
        }
    }

    fn connect_next(&mut self) {
        let gap_ns = connect_gap_ns(&self.task.plan);
        while !self.bench.to_connect.is_empty() && self.bench.connecting < CONNECTING_MAX {
            if gap_ns > 0 {
                if self.next_connect_ns > self.bench.now_ns {
                    break;
                }
                // What was missed is not made up for: the rate is an upper limit.
                self.next_connect_ns = (self.next_connect_ns + gap_ns).max(self.bench.now_ns);
            }
            if let Some(place) = self.bench.to_connect.pop_front() {
                self.clients[place as usize].connect(&mut self.bench);
            }
        }
    }

    /// Carries out what the conductor has ordered.
    fn obey(&mut self) {
        self.bench.read_clock();
        if let (Some(start_ns), Phase::Connecting { .. } | Phase::Ready) =
            (self.task.control.start_ns(), self.phase)
        {
            self.start(start_ns);
        }
        if let Some(stop_ns) = self.task.control.stop_ns() {
            let window = &mut self.bench.window;
            // Not before now: what was due since the order came has been begun, and belongs to the window.
            window.end_ns = window.end_ns.min(stop_ns.max(self.bench.now_ns));
            window.start_ns = window.start_ns.min(window.end_ns);
        }
    }

    fn start(&mut self, start_ns: u64) {
        let plan = self.task.plan.clone();
        self.bench.window = window(&plan, start_ns);
        self.phase = Phase::WarmUp;
        for client in &mut self.clients {
            let place = Place {
                client: client.number(),
                clients: plan.connections,
                pipeline: plan.pipeline,
                seed: plan.seed,
            };
            client.start(Schedule::new(plan.load, place, start_ns), &mut self.bench);
        }
    }

    /// Passes from one phase, and one interval, to the next.
    fn pass_marks(&mut self) {
        let now_ns = self.bench.now_ns;
        if let Phase::Connecting { until_ns } = self.phase
            && (self.bench.unattempted == 0 || now_ns >= until_ns)
        {
            self.phase = Phase::Ready;
            let Bench { connected, connect_error, .. } = self.bench;
            let ready = Ready { connected, failures: self.bench.recording.failures, error: connect_error };
            self.tell(News::Ready(ready));
        }
        if self.phase == Phase::WarmUp && now_ns >= self.bench.window.start_ns {
            self.phase = Phase::Measuring;
            self.usage_at_start = ThreadProbe::now();
        }
        if self.phase == Phase::Measuring {
            while now_ns >= self.next_interval_ns() {
                self.cut_interval();
            }
            if now_ns >= self.bench.window.end_ns || self.is_spent() {
                self.usage = ThreadProbe::now().since(self.usage_at_start);
                let timeout = self.task.plan.timeout;
                let is_interrupted = self.task.control.stop_ns().is_some();
                let grace = if is_interrupted { timeout.min(INTERRUPTED_GRACE) } else { timeout };
                let grace_ns = nanoseconds(grace);
                self.phase = Phase::Grace { until_ns: now_ns.saturating_add(grace_ns) };
            }
        }
        if self.bench.connected > 0 {
            self.alone_since_ns = now_ns;
        }
    }

    /// Whether the requests that were asked for have all ended, or nobody is there any more to answer them.
    fn is_spent(&self) -> bool {
        let done = self.bench.budget == 0 && self.bench.pending == 0;
        let alone = self.task.plan.duration.is_none()
            && self.bench.now_ns.saturating_sub(self.alone_since_ns) >= self.bench.rules.timeout_ns;
        done || alone
    }

    /// Whether nothing more can come that the report needs.
    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Connecting { .. } | Phase::Ready => self.bench.window.end_ns != NEVER,
            Phase::Grace { until_ns } => {
                self.bench.now_ns >= until_ns
                    || self.is_spent()
                    // Nobody is there to be asked any more, or nothing is owed.
                    || self.bench.pending == 0
                        && (self.bench.connected == 0
                            || !self.clients.iter().any(|client| client.owes(&self.bench)))
            }
            Phase::WarmUp | Phase::Measuring => false,
        }
    }

    /// When the interval ends that is being recorded; the last one ends with the thread.
    fn next_interval_ns(&self) -> u64 {
        let length_ns = nanoseconds(self.task.plan.interval);
        let offset_ns = length_ns.saturating_mul(self.index as u64 + 1);
        let end_ns = self.bench.window.start_ns.saturating_add(offset_ns);
        if end_ns < self.bench.window.end_ns { end_ns } else { NEVER }
    }

    fn cut_interval(&mut self) {
        let fresh = self.task.recycled.try_recv().unwrap_or_default();
        let recording = mem::replace(&mut self.bench.recording, fresh);
        self.tell(News::Interval { index: self.index, recording });
        self.index += 1;
    }

    /// How long there is nothing to do unless a socket says so.
    #[inline]
    fn timeout(&self) -> Option<Timespec> {
        let mark_ns = match self.phase {
            Phase::Connecting { until_ns } | Phase::Grace { until_ns } => until_ns,
            Phase::Ready => NEVER,
            Phase::WarmUp => self.bench.window.start_ns,
            Phase::Measuring => self.next_interval_ns().min(self.bench.window.end_ns),
        };
        let connect_ns = match self.bench.to_connect.is_empty() || self.bench.connecting >= CONNECTING_MAX {
            true => NEVER,
            false => self.next_connect_ns,
        };
        let next_ns = self.bench.timers.next_ns().unwrap_or(NEVER).min(mark_ns).min(connect_ns);
        if next_ns == NEVER {
            return None;
        }
        let wait_ns = next_ns.saturating_sub(self.bench.now_ns);
        Some(Timespec {
            tv_sec: (wait_ns / 1_000_000_000).try_into().unwrap_or(i32::MAX.into()),
            tv_nsec: (wait_ns % 1_000_000_000) as _,
        })
    }

    /// Tells the conductor what was seen.
    fn end(mut self) {
        let ended_ns = self.bench.read_clock();
        self.bench.note_stall(ended_ns);
        let retransmissions = self.clients.iter().map(Client::retransmissions).sum();
        let clients: Vec<_> = self.clients.iter_mut().map(|client| client.finish(&mut self.bench)).collect();
        if self.task.plan.requests.is_some() && self.is_spent() {
            let counts = &mut self.bench.recording.counts;
            counts.unsent += self.bench.budget;
            self.bench.recording.failures.add(crate::failure::Failure::Unsent, self.bench.budget);
        }
        let ended = Ended {
            index: self.index,
            recording: mem::take(&mut self.bench.recording),
            clients,
            longest_stall: self.bench.longest_stall,
            usage: self.usage,
            retransmissions,
            ended_ns: ended_ns.min(self.bench.window.end_ns),
            mismatch: self.bench.mismatch.take(),
        };
        self.tell(News::Ended(Box::new(ended)));
    }

    fn tell(&self, news: News) {
        // Nobody listens any more when the run was given up.
        let _given_up = self.task.news.send(news);
    }
}

/// The measured window of a load that begins at `start_ns`.
pub fn window(plan: &Plan, start_ns: u64) -> Window {
    let start_ns = start_ns.saturating_add(nanoseconds(plan.warmup));
    let end_ns = plan.duration.map_or(NEVER, |duration| start_ns.saturating_add(nanoseconds(duration)));
    Window { start_ns, end_ns }
}

/// What thread number `thread` does of a work that `threads` share evenly.
fn share(whole: u64, thread: usize, threads: usize) -> u64 {
    whole / threads as u64 + u64::from((thread as u64) < whole % threads as u64)
}

/// The time between two connections of one thread by the connect rate; zero without one.
fn connect_gap_ns(plan: &Plan) -> u64 {
    plan.connect_rate_per_s.map_or(0, |rate| (1_000_000_000 * plan.threads as u64 / rate).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_shares_add_up() {
        assert_eq!([0, 1, 2].map(|thread| share(11, thread, 3)), [4, 4, 3]);
        assert_eq!([0, 1].map(|thread| share(1, thread, 2)), [1, 0]);
    }
}
