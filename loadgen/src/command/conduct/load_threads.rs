//! The load threads of a run: their start, the load, and their end.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use common::{human::duration_ns, units::nanoseconds};
use rustix::io::Errno;

use super::gathering::{Gathered, Gathering, Returned, Share, TICK};
use crate::{
    engine::{
        clock::Clock,
        control::{Control, LoadStart},
        error::RunError,
        failure::{Failure, FailureCounts},
        interruption::Interruption,
        notice::{Notice, Ready},
        probes,
        recording::Recording,
        request_log::RequestLog,
        socket::Target,
        tls::TlsClient,
        window::Window,
        worker::{self, Task},
    },
    live::progress::Progress,
    load::{
        plan::Plan,
        start_at::{self, Beginning},
    },
    result::{cost::Cost, precision::Goal, setting::Setting, tally::Tally, watch::Watch},
    subject::{
        cpus::Division,
        server_process::{ServerProcess, usage::Moment},
    },
};

/// The time from the start order to the start of the load: the threads prepare their schedules in it.
const LEAD: Duration = Duration::from_millis(2);
/// The additional lead for each client.
const LEAD_PER_CLIENT: Duration = Duration::from_micros(1);
/// The load threads get a start order this long before the planned start. So a late wake-up of the conductor on a busy
/// machine does not delay the load.
const ORDER_AHEAD: Duration = Duration::from_millis(100);
/// The shortest wait for the planned start that is reported.
const WAIT_REPORTED_FROM: Duration = Duration::from_millis(200);

/// The load threads, and the channels to them.
pub(super) struct LoadThreads {
    handles: Vec<JoinHandle<()>>,
    notices: Receiver<Notice>,
    /// Channels that give empty recordings back to the threads.
    recycling: Vec<Sender<Box<Recording>>>,
    clock: Clock,
    control: Arc<Control>,
}

/// The resources used until the start and until the end of the window, as far as these have passed.
#[derive(Default)]
struct WindowCost {
    before: Option<Cost>,
    after: Option<Cost>,
}

impl LoadThreads {
    /// Starts the threads. Their clients begin to connect.
    pub(super) fn start(
        plan: &Arc<Plan>,
        targets: &[Target],
        tls: &[TlsClient],
        sources: u64,
        logs: Vec<RequestLog>,
        interruption: &Interruption,
    ) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let control = Arc::new(Control::new(plan.threads).context("the load threads cannot be woken")?);
        interruption.stop_on_signal(&control, clock);
        let (sender, notices) = mpsc::channel();
        let (mut workers, mut recycling, mut logs) = (Vec::new(), Vec::new(), logs.into_iter());
        for (thread, budget) in plan.budgets().into_iter().enumerate() {
            let (recycle, recycled) = mpsc::channel();
            recycling.push(recycle);
            let task = Task {
                thread,
                plan: plan.clone(),
                targets: targets.to_vec(),
                tls: tls.to_vec(),
                sources,
                clock,
                control: control.clone(),
                notices: sender.clone(),
                recycled,
                budget,
                log: logs.next(),
            };
            workers.push(worker::prepare(task).context("a load thread cannot be prepared")?);
        }
        let spawn =
            |worker: Box<dyn FnOnce() + Send>| thread::Builder::new().name("load".to_owned()).spawn(worker);
        let handles = workers.into_iter().map(spawn).collect::<Result<_, _>>();
        let handles = handles.context("the load threads cannot be started: use fewer --threads")?;
        Ok(Self { handles, notices, recycling, clock, control })
    }

    /// Waits for the clients, runs the load, and ends the threads.
    pub(super) fn run_load(
        mut self,
        plan: &Plan,
        setting: &Setting,
        server: Option<&ServerProcess>,
        interruption: &Interruption,
        progress: &mut dyn Progress,
    ) -> anyhow::Result<Tally> {
        if let Err(error) = self.await_clients(plan, setting, interruption) {
            self.control.stop(self.clock.now_ns());
            self.join()?;
            return Err(error);
        }
        let mut tally = Tally::new(plan, probes::clock_step_ns(self.clock));
        let lead = LEAD + LEAD_PER_CLIENT * plan.connections();
        let beginning = match plan.timing.start_at {
            Some(at) => self.await_start(at, lead, interruption, progress),
            None => Ok(Beginning { start_ns: self.clock.now_ns() + nanoseconds(lead), late_ns: 0 }),
        };
        let Beginning { start_ns, late_ns } = match beginning {
            Ok(beginning) => beginning,
            Err(error) => {
                self.join()?;
                return Err(error.into());
            }
        };
        let window = Window::of(plan, start_ns);
        self.control.start(LoadStart { at_ns: start_ns, window });
        tally.begin(window, SystemTime::now() + self.clock.until(window.start_ns));
        tally.set_late_start(late_ns);
        let collected = self.collect(plan, window, setting, server, &mut tally, progress);
        if collected.is_err() {
            self.control.stop(self.clock.now_ns());
        }
        self.join()?;
        collected.context("the thread that gathers the results cannot be started: use fewer --threads")?;
        Ok(tally)
    }

    /// Waits until every client has tried to connect.
    fn await_clients(
        &mut self,
        plan: &Plan,
        setting: &Setting,
        interruption: &Interruption,
    ) -> anyhow::Result<()> {
        let (mut connected, mut failures) = (0, FailureCounts::default());
        let (mut last_error, mut tls_failure) = (None, None);
        for _ in 0..plan.threads {
            // An interrupted thread ends without this notice.
            let Ok(Notice::Ready(ready)) = self.notices.recv() else { break };
            let Ready { connected: more, failures: seen, error, tls_failure: tls } = ready;
            connected += more;
            failures.merge(&seen);
            last_error = last_error.or(error);
            tls_failure = tls_failure.or(tls);
        }
        interruption.check()?;
        if connected == 0 {
            return Err(no_client_connected(plan, setting, &failures, last_error, tls_failure).into());
        }
        Ok(())
    }

    /// Waits almost until `at`. Reads the wall clock repeatedly, as it may be set during the wait; the run's own clock
    /// measures only the last [`ORDER_AHEAD`].
    ///
    /// # Errors
    /// When a signal has arrived. The signal also ends the load threads.
    fn await_start(
        &mut self,
        at: SystemTime,
        lead: Duration,
        interruption: &Interruption,
        progress: &mut dyn Progress,
    ) -> Result<Beginning, RunError> {
        let until = |at: SystemTime| at.duration_since(SystemTime::now());
        if until(at).is_ok_and(|rest| rest > lead + WAIT_REPORTED_FROM) {
            progress.say(&format!("connected; waiting until {} to begin", start_at::format(at)));
        }
        while let Ok(rest) = until(at)
            && let Some(rest) = rest.checked_sub(lead + ORDER_AHEAD)
        {
            interruption.check()?;
            // A notice that arrives now comes from a slow thread, which was ready late. The channel is closed if no thread is left.
            if let Err(RecvTimeoutError::Disconnected) = self.notices.recv_timeout(rest.min(TICK)) {
                thread::sleep(rest.min(TICK));
            }
        }
        interruption.check()?;
        let beginning = Beginning::at(until(at).map_err(|past| past.duration()), self.clock.now_ns(), lead);
        if beginning.late_ns > 0 {
            let late = duration_ns(beginning.late_ns);
            progress
                .say(&format!("the load begins {late} after --start-at: the clients were not ready earlier"));
        }
        Ok(beginning)
    }

    /// Gathers the threads' notices until the load is over, in the CPU time that the load leaves. If it leaves none, the rest is
    /// gathered in turn with the load. Meanwhile this thread, which has little to do, reads the resources in time.
    fn collect(
        &mut self,
        plan: &Plan,
        window: Window,
        setting: &Setting,
        server: Option<&ServerProcess>,
        tally: &mut Tally,
        progress: &mut dyn Progress,
    ) -> io::Result<()> {
        let mut cost = WindowCost::default();
        let (control, clock) = (self.control.clone(), self.clock);
        let cpus = setting.environment.division.as_ref().map(Division::all);
        let gathered = Arc::new(Gathered::default());
        let gathering = Gathering {
            notices: &mut self.notices,
            recycling: &mut self.recycling,
            clock,
            control: control.clone(),
            window,
            watch: Watch::new(&plan.measuring),
            goal: Goal::new(&plan.measuring.until),
            tally,
            progress,
            gathered: gathered.clone(),
            cpus,
        };
        thread::scope(|scope| -> io::Result<()> {
            // In a closed loop no request is late, and a busy one leaves no idle time. A condition has to end the load in time.
            let has_idle_time = plan.is_open_loop() && plan.measuring.abort_on.is_empty();
            let share = if has_idle_time { Share::OfIdleTime } else { Share::InTurn };
            let mut returned = gathering.spawn(scope, share)?;
            loop {
                let window = control.stop_ns().map_or(window, |stop_ns| window.ending_by(stop_ns));
                let now_ns = clock.now_ns();
                cost.read_if_due(now_ns, window, server);
                // Without the server that loadgen started, no further request can succeed.
                if cost.after.is_none() && server.is_some_and(ServerProcess::has_ended) {
                    control.stop(now_ns);
                }
                gathered.hand_over_if_late(now_ns, window, nanoseconds(plan.measuring.interval));
                match returned.recv_timeout(clock.until(cost.next_ns(window)).min(TICK)) {
                    // It ends without a word only by a panic, which the end of the scope passes on.
                    Ok(Returned::LoadIsOver) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    Ok(Returned::HandedOver(gathering)) => {
                        gathering.tally.gathered_in_turn_from(clock.now_ns());
                        returned = gathering.spawn(scope, Share::InTurn)?;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })?;
        tally.close();
        progress.total(tally.total());
        let (before, after) = cost.at_end(server);
        tally.set_cost(before, after);
        Ok(())
    }

    fn join(&mut self) -> anyhow::Result<()> {
        for handle in self.handles.drain(..) {
            handle.join().map_err(|_| anyhow::anyhow!("a load thread panicked; this is a bug"))?;
        }
        Ok(())
    }
}

impl WindowCost {
    /// Reads the resources if the window has started or ended since the last call.
    fn read_if_due(&mut self, now_ns: u64, window: Window, server: Option<&ServerProcess>) {
        if self.before.is_none() && now_ns >= window.start_ns {
            self.before = Some(Cost::now(server, Moment::Start));
        }
        if self.after.is_none() && now_ns >= window.end_ns {
            self.after = Some(Cost::now(server, Moment::End));
        }
    }

    /// When the next reading is due.
    fn next_ns(&self, window: Window) -> u64 {
        match (self.before, self.after) {
            (None, _) => window.start_ns,
            (_, None) => window.end_ns,
            _ => u64::MAX,
        }
    }

    /// The resources used until the start and until the end of the window. The load is over: a moment that has not passed
    /// counts as now.
    fn at_end(self, server: Option<&ServerProcess>) -> (Cost, Cost) {
        let after = self.after.unwrap_or_else(|| Cost::now(server, Moment::End));
        (self.before.unwrap_or(after), after)
    }
}

fn no_client_connected(
    plan: &Plan,
    setting: &Setting,
    failures: &FailureCounts,
    error: Option<Errno>,
    tls_failure: Option<Box<str>>,
) -> RunError {
    let most = Failure::ALL.iter().max_by_key(|(kind, ..)| failures.get(*kind));
    let (kind, _, text) = most.expect("there are kinds of failure");
    let reason = match (kind, error) {
        _ if failures.sum() == 0 => "no connection was established in time".to_owned(),
        (Failure::Tls, _) => tls_failure.map_or_else(|| (*text).to_owned(), String::from),
        (Failure::ConnectOther, Some(error)) => Failure::connect_reason(error),
        _ => (*text).to_owned(),
    };
    let targets = setting.targets.join(", ");
    RunError::NoClientConnected { targets, reason, count: failures.get(*kind), clients: plan.connections() }
}
