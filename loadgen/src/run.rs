//! Conducts a run: pre-flight, the server, the load threads, the end, and the report.

use std::{
    slice,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use common::signal::Termination;
use rustix::io::Errno;

use crate::{
    calibrate,
    clock::{Clock, nanoseconds},
    control::Control,
    cpus::{self, Division},
    error::RunError,
    failure::{Failure, FailureCounts},
    human::duration_ns,
    interruption::Interruption,
    limits,
    metrics::{Endpoint, Exposed},
    own_server::{self, Log},
    plan::{Against, Plan},
    probes,
    progress::Progress,
    reach::find_target,
    recording::Recording,
    report::Report,
    server_process::ServerProcess,
    socket::Target,
    start_at::{self, Beginning},
    tally::{Cost, Machine, Setting, Tally},
    worker::{News, Ready, Task, Worker, window},
};

/// From the order to begin until the load begins: the threads need a moment to prepare their schedules.
const LEAD: Duration = Duration::from_millis(2);
const LEAD_PER_CLIENT: Duration = Duration::from_micros(1);
/// How often the progress is shown to move, and the threads are looked after.
const TICK: Duration = Duration::from_millis(200);
/// Before a moment to start at, the load threads are given their orders so long ahead that a busy machine's delay in
/// waking the conductor does not make them late.
const LAST_MOMENT: Duration = Duration::from_millis(100);
/// A shorter wait for that moment is not worth a line.
const SAY_WAITING_FROM: Duration = Duration::from_millis(200);

/// A run that was made, perhaps not to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its result.
    pub report: Report,
    /// The signal that ended it before its time.
    pub signal: Option<Termination>,
}

/// Makes a run, with a server of its own if the plan says so, and serves its metrics if there is an endpoint for them.
///
/// # Errors
/// When it cannot be made. Requests that fail are counted, and no error.
pub fn run(plan: Plan, metrics: Option<Endpoint>, progress: &mut dyn Progress) -> anyhow::Result<Finished> {
    let plan = Arc::new(plan);
    if let Against::OwnServer(own) = &plan.against {
        own_server::config(own)?;
    }
    let mut machine = Machine::prepare(&plan)?;
    let interruption = Interruption::install()?;
    if let Against::OwnServer(_) = &plan.against {
        machine.division = cpus::usable().ok().and_then(|cpus| Division::of(&cpus, plan.threads));
    }
    let server = match &plan.against {
        Against::OwnServer(own) => {
            let server = start_divided(&mut machine.division, || own_server::start(own, Log::Stderr))?;
            progress.say(&format!("started a server of its own: {} on {}", own.mode, server.address()));
            Some(server)
        }
        Against::Targets(_) => None,
    };
    let calibrate = || calibrate::floor(&plan, &machine, &interruption, progress);
    let floor = plan.calibrate.then(calibrate).transpose()?;
    let mut finished = match metrics {
        None => conduct(&plan, machine, server.as_ref(), &interruption, progress)?,
        Some(endpoint) => {
            // Not before the CPUs are divided: those that serve the metrics are not the server's.
            let mut exposed = Exposed::start(endpoint, &plan, progress)?;
            conduct(&plan, machine, server.as_ref(), &interruption, &mut exposed)?
        }
    };
    if let Some(floor) = floor {
        let calibration = calibrate::calibration(&floor, &finished.report);
        finished.report.notes.extend(calibrate::notes(&calibration, finished.report.plan.r#loop));
        finished.report.calibration = Some(calibration);
    }
    Ok(finished)
}

/// Makes a run against a server that is there: the one that was started for it, or else the plan's targets.
///
/// # Errors
/// When it cannot be made.
pub fn conduct(
    plan: &Arc<Plan>,
    machine: Machine,
    server: Option<&ServerProcess>,
    interruption: &Interruption,
    progress: &mut dyn Progress,
) -> anyhow::Result<Finished> {
    let addresses = match (server, &plan.against) {
        (Some(server), _) => slice::from_ref(server.address()),
        (None, Against::Targets(addresses)) => addresses.as_slice(),
        (None, Against::OwnServer(_)) => &[],
    };
    let targets = addresses
        .iter()
        .map(|address| find_target(address, plan.wait_for_server, &|| interruption.signal(), progress))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let sources = sources(plan, &targets)?;

    let names = addresses.iter().map(ToString::to_string).collect();
    let setting = Setting::new(plan, names, server.map(|server| server.identity().clone()), machine);
    let crew = Crew::assemble(plan, &targets, sources, interruption)?;
    let tally = crew.conduct(plan, &setting, server, interruption, progress);
    progress.finish();
    let signal = interruption.signal();
    let report = tally?.into_report(plan, setting, signal.is_some());
    Ok(Finished { report, signal })
}

/// Starts a server on its CPUs, and keeps this thread, and the load threads that it starts, to the others. The
/// division is dropped where the system does not allow it.
///
/// # Errors
/// When the server cannot be started.
pub fn start_divided(
    division: &mut Option<Division>,
    start: impl FnOnce() -> anyhow::Result<ServerProcess>,
) -> anyhow::Result<ServerProcess> {
    if division.as_ref().is_some_and(|division| cpus::keep_to(&division.server).is_err()) {
        *division = None;
    }
    let server = start()?;
    if let Some(division) = division {
        cpus::keep_to(&division.load).context("the load cannot be kept to its CPUs")?;
    }
    Ok(server)
}

/// The load threads and the ways to talk with them.
struct Crew {
    handles: Vec<JoinHandle<()>>,
    news: Receiver<News>,
    recycling: Vec<Sender<Box<Recording>>>,
    clock: Clock,
    control: Arc<Control>,
}

impl Crew {
    fn assemble(
        plan: &Arc<Plan>,
        targets: &[Target],
        sources: u64,
        interruption: &Interruption,
    ) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let control = Arc::new(Control::new(plan.threads).context("the load threads cannot be woken")?);
        interruption.end_with_signal(&control, clock);
        let (sender, news) = mpsc::channel();
        let (mut workers, mut recycling) = (Vec::new(), Vec::new());
        for thread in 0..plan.threads {
            let (recycle, recycled) = mpsc::channel();
            recycling.push(recycle);
            let (plan, targets, control) = (plan.clone(), targets.to_vec(), control.clone());
            let task =
                Task { thread, plan, targets, sources, clock, control, news: sender.clone(), recycled };
            workers.push(Worker::new(task).context("a load thread cannot be prepared")?);
        }
        let spawn = |worker: Worker| thread::Builder::new().name("load".to_owned()).spawn(|| worker.run());
        let handles = workers.into_iter().map(spawn).collect::<Result<_, _>>();
        let handles = handles.context("the load threads cannot be started: use fewer --threads")?;
        Ok(Self { handles, news, recycling, clock, control })
    }

    fn conduct(
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
        let lead = LEAD + LEAD_PER_CLIENT * plan.connections;
        let beginning = match plan.start_at {
            Some(at) => self.await_moment(at, lead, interruption, progress),
            None => Ok(Beginning { start_ns: self.clock.now_ns() + nanoseconds(lead), late_ns: 0 }),
        };
        let Beginning { start_ns, late_ns } = match beginning {
            Ok(beginning) => beginning,
            Err(error) => {
                self.join()?;
                return Err(error.into());
            }
        };
        self.control.start(start_ns);
        let mut tally = self.listen(plan, start_ns, server, progress);
        tally.set_late_start(late_ns);
        self.join()?;
        Ok(tally)
    }

    /// Waits until every client has tried to connect.
    fn await_clients(
        &mut self,
        plan: &Plan,
        setting: &Setting,
        interruption: &Interruption,
    ) -> anyhow::Result<()> {
        let (mut connected, mut failures, mut last_error) = (0, FailureCounts::default(), None);
        for _ in 0..plan.threads {
            // A thread that was interrupted ends without having been ready.
            let Ok(News::Ready(Ready { connected: more, failures: seen, error })) = self.news.recv() else {
                break;
            };
            connected += more;
            failures.merge(&seen);
            last_error = last_error.or(error);
        }
        interruption.check()?;
        if connected == 0 {
            return Err(nobody_connected(plan, setting, &failures, last_error).into());
        }
        Ok(())
    }

    /// Waits until it is almost `at`, with every client connected. The clock on the wall is asked again and again, as
    /// it may be set while this waits; only the last moment is counted by the run's own.
    ///
    /// # Errors
    /// When a signal came. The load threads end by it.
    fn await_moment(
        &mut self,
        at: SystemTime,
        lead: Duration,
        interruption: &Interruption,
        progress: &mut dyn Progress,
    ) -> Result<Beginning, RunError> {
        let until = |at: SystemTime| at.duration_since(SystemTime::now());
        if until(at).is_ok_and(|rest| rest > lead + SAY_WAITING_FROM) {
            progress.say(&format!("connected; waiting until {} to begin", start_at::format(at)));
        }
        while let Ok(rest) = until(at)
            && let Some(rest) = rest.checked_sub(lead + LAST_MOMENT)
        {
            interruption.check()?;
            // No news are due, but the end of the threads by a signal; or late ones, that do not matter any more.
            if let Err(RecvTimeoutError::Disconnected) = self.news.recv_timeout(rest.min(TICK)) {
                thread::sleep(rest.min(TICK));
            }
        }
        interruption.check()?;
        let beginning = Beginning::at(until(at).map_err(|past| past.duration()), self.clock.now_ns(), lead);
        if beginning.late_ns > 0 {
            let late = duration_ns(beginning.late_ns);
            progress.say(&format!(
                "the load begins {late} later than --start-at asked: not everything was ready by then"
            ));
        }
        Ok(beginning)
    }

    /// Takes the threads' news to the end of the load.
    fn listen(
        &mut self,
        plan: &Plan,
        start_ns: u64,
        server: Option<&ServerProcess>,
        progress: &mut dyn Progress,
    ) -> Tally {
        let mut window = window(plan, start_ns);
        let mut tally = Tally::new(plan, window);
        tally.set_clocks(
            SystemTime::now() + self.clock.until(window.start_ns),
            probes::clock_step_ns(self.clock),
        );
        let (mut before, mut after) = (None, None);
        loop {
            let now_ns = self.clock.now_ns();
            if let Some(stop_ns) = self.control.stop_ns() {
                window.end_ns = window.end_ns.min(stop_ns);
                window.start_ns = window.start_ns.min(window.end_ns);
            }
            if before.is_none() && now_ns >= window.start_ns {
                before = Some(Cost::now(server));
            }
            if after.is_none() && now_ns >= window.end_ns {
                after = Some(Cost::now(server));
            }
            progress.tick(now_ns, window);
            // Where the run's own server is gone, nobody is left to be asked.
            if after.is_none() && server.is_some_and(ServerProcess::has_ended) {
                self.control.stop(now_ns);
            }
            let mark_ns = match (before, after) {
                (None, _) => window.start_ns,
                (_, None) => window.end_ns,
                _ => u64::MAX,
            };
            match self.news.recv_timeout(self.clock.until(mark_ns).min(TICK)) {
                Ok(News::Interval { index, recording }) => {
                    tally.add_interval(index, &recording);
                    self.recycle(recording);
                }
                Ok(News::Ended(ended)) => tally.add_ended(*ended),
                // A late one: the load began without its slowest clients.
                Ok(News::Ready(_)) => {}
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let finished = tally.finished_intervals();
            finished.iter().for_each(|interval| progress.interval(interval));
            if !finished.is_empty() {
                progress.total(tally.total());
            }
        }
        let after = after.unwrap_or_else(|| Cost::now(server));
        tally.set_cost(before.unwrap_or(after), after);
        tally
    }

    /// Gives a recording back to be used again; to whom does not matter.
    fn recycle(&mut self, mut recording: Box<Recording>) {
        recording.clear();
        if let Some(next) = self.recycling.pop() {
            let _ended = next.send(recording);
            self.recycling.insert(0, next);
        }
    }

    fn join(&mut self) -> anyhow::Result<()> {
        for handle in self.handles.drain(..) {
            handle.join().map_err(|_| anyhow::anyhow!("a load thread panicked; this is a bug"))?;
        }
        Ok(())
    }
}

fn nobody_connected(
    plan: &Plan,
    setting: &Setting,
    failures: &FailureCounts,
    error: Option<Errno>,
) -> RunError {
    let most = Failure::ALL.iter().max_by_key(|(kind, ..)| failures.get(*kind));
    let (kind, _, text) = most.expect("there are kinds of failure");
    let reason = match (kind, error) {
        _ if failures.sum() == 0 => "no connection was established in time".to_owned(),
        (Failure::ConnectOther, Some(error)) => Failure::connect_reason(error),
        _ => (*text).to_owned(),
    };
    let targets = setting.targets().join(", ");
    RunError::NobodyConnected { targets, reason, count: failures.get(*kind), clients: plan.connections }
}

/// How many source addresses the clients need.
fn sources(plan: &Plan, targets: &[Target]) -> anyhow::Result<u64> {
    let ports = limits::local_ports();
    let mut sources = 1;
    for target in targets.iter().filter(|target| target.takes_port()) {
        let (clients, targets) = (u64::from(plan.connections), targets.len() as u64);
        let needed = limits::sources_needed(clients, targets, ports, target.is_loopback_v4())?;
        sources = sources.max(needed);
    }
    Ok(sources)
}
