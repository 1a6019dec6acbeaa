//! Conducts a run: pre-flight, the server, the load threads, the end, and the report.

use std::{
    sync::{
        Arc, OnceLock,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use common::signal::Termination;
use rustix::io::Errno;

use crate::{
    clock::Clock,
    control::Control,
    cpus::{self, Division},
    error::RunError,
    failure::{Failure, FailureCounts},
    limits,
    own_server::OwnServer,
    plan::{Against, OwnServerPlan, Plan},
    progress::Progress,
    reach::find_target,
    recording::Recording,
    report::Report,
    socket::Target,
    tally::{Cost, Machine, Setting, Tally},
    worker::{News, Ready, Task, Worker, window},
};

/// From the order to begin until the load begins: the threads need a moment to prepare their schedules.
const LEAD: Duration = Duration::from_millis(2);
const LEAD_PER_CLIENT: Duration = Duration::from_micros(1);
/// How often the progress is shown to move, and the threads are looked after.
const TICK: Duration = Duration::from_millis(200);

/// A run that was made, perhaps not to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its result.
    pub report: Report,
    /// The signal that ended it before its time.
    pub signal: Option<Termination>,
}

/// Makes a run.
///
/// # Errors
/// When it cannot be made. Requests that fail are counted, and no error.
pub fn run(plan: Plan, progress: &mut Progress) -> anyhow::Result<Finished> {
    let plan = Arc::new(plan);
    let open_files_limit = check_open_files(&plan)?;
    let mut machine = Machine { open_files_limit, cpus: common::limits::usable_cpus(), division: None };
    let interruption = Interruption::install(&plan)?;
    let server = match &plan.against {
        Against::OwnServer(own) => {
            machine.division = cpus::usable().ok().and_then(|cpus| Division::of(&cpus, plan.threads));
            Some(start_server(own, &mut machine.division)?)
        }
        Against::Targets(_) => None,
    };
    let addresses = match (&plan.against, &server) {
        (Against::Targets(addresses), _) => addresses.clone(),
        (_, server) => server.iter().map(|server| server.address().clone()).collect(),
    };
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if let Some(server) = &server {
        progress.say(&format!("started a server of its own: {} on {}", server.mode(), server.address()));
    }
    let targets = addresses
        .iter()
        .map(|address| find_target(address, plan.wait_for_server, &|| interruption.signal(), progress))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let sources = sources(&plan, &targets)?;

    let setting = Setting::new(&plan, names, server.as_ref().map(OwnServer::mode), machine);
    let crew = Crew::assemble(&plan, &targets, sources, &interruption)?;
    let tally = crew.conduct(&plan, &setting, server.as_ref(), &interruption, progress);
    progress.finish();
    let signal = interruption.signal();
    let report = tally?.into_report(&plan, setting, signal.is_some());
    Ok(Finished { report, signal })
}

/// The first SIGINT or SIGTERM ends the load, the second one the process.
struct Interruption {
    clock: Clock,
    control: Arc<Control>,
    signal: Arc<OnceLock<Termination>>,
}

impl Interruption {
    fn install(plan: &Plan) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let control = Arc::new(Control::new(plan.threads).context("the load threads cannot be woken")?);
        let signal = Arc::new(OnceLock::new());
        let first = {
            let (control, signal) = (control.clone(), signal.clone());
            move |termination| {
                let _the_first_counts = signal.set(termination);
                control.stop(clock.now_ns());
            }
        };
        // The server of its own ends too: its standard input is then at its end.
        common::signal::on_termination(first, Termination::exit_code).context("signals cannot be handled")?;
        Ok(Self { clock, control, signal })
    }

    fn signal(&self) -> Option<Termination> {
        self.signal.get().copied()
    }
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
        let (clock, control) = (interruption.clock, interruption.control.clone());
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
        server: Option<&OwnServer>,
        interruption: &Interruption,
        progress: &mut Progress,
    ) -> anyhow::Result<Tally> {
        if let Err(error) = self.await_clients(plan, setting, interruption) {
            self.control.stop(self.clock.now_ns());
            self.join()?;
            return Err(error);
        }
        let lead = LEAD + LEAD_PER_CLIENT * plan.connections;
        let start_ns = self.clock.now_ns() + lead.as_nanos() as u64;
        self.control.start(start_ns);
        let tally = self.listen(plan, start_ns, server, progress);
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
        if let Some(signal) = interruption.signal() {
            return Err(RunError::Interrupted(signal).into());
        }
        if connected == 0 {
            return Err(nobody_connected(plan, setting, &failures, last_error).into());
        }
        Ok(())
    }

    /// Takes the threads' news to the end of the load.
    fn listen(
        &mut self,
        plan: &Plan,
        start_ns: u64,
        server: Option<&OwnServer>,
        progress: &mut Progress,
    ) -> Tally {
        let mut window = window(plan, start_ns);
        let mut tally = Tally::new(plan, window);
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
            for interval in tally.finished_intervals() {
                progress.interval(&interval);
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

/// Starts the server on its CPUs, and keeps this thread, and the load threads that it starts, to the others. The
/// division is dropped where the system does not allow it.
fn start_server(own: &OwnServerPlan, division: &mut Option<Division>) -> anyhow::Result<OwnServer> {
    if division.as_ref().is_some_and(|division| cpus::keep_to(&division.server).is_err()) {
        *division = None;
    }
    let server = OwnServer::start(own)?;
    if let Some(division) = division {
        cpus::keep_to(&division.load).context("the load cannot be kept to its CPUs")?;
    }
    Ok(server)
}

fn check_open_files(plan: &Plan) -> anyhow::Result<u64> {
    // Where it cannot be raised, what there is may do.
    let limit = common::limits::raise_open_files().unwrap_or_else(|_| common::limits::open_files());
    limits::check_open_files(plan.connections.into(), plan.threads as u64, limit)?;
    Ok(limit)
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
