//! The floor under a run's latencies: the same load against an echo inside the generator, which has the least possible cost.
//! The latencies there are the generator's and the kernel's own.
//!
//! In a closed loop, the clients would ask the echo faster than the server, and wait in their own queue. So the echo gets the server's
//! rate, in an open loop after the run.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use common::{Address, human::rate};
use server::{ClientRules, Config, Listener, Server, Shutdown, WhenFull, Work, mode::Mode};
use tempfile::TempDir;
use tracing::subscriber::NoSubscriber;

use crate::{
    command::conduct::{self, Finished},
    engine::interruption::Interruption,
    live::progress::{Progress, RunProgress},
    load::{
        plan::{Against, Plan},
        rate::Rate,
        schedule::{Arrival, Load, Pace},
    },
    result::{Calibration, Floor, Latency, Loop, PlanSummary, Report, Status},
    subject::{cpus, machine::Machine},
};

/// The simplest concurrency model of the server.
const MODE: &str = "event-loop";
/// The echo's write timeout. The clients read faster.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The backlog of the echo's listener: the kernel's default limit.
const BACKLOG: i32 = 4096;

/// Reads one percentile of a distribution.
type Percentile = fn(&Latency) -> Option<u64>;

/// The percentiles with a floor, by their names in the report.
static PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", |latency| latency.p50),
    ("p90", |latency| latency.p90),
    ("p99", |latency| latency.p99),
    ("p99_9", |latency| latency.p99_9),
    ("p99_99", |latency| latency.p99_99),
];

/// Makes the run of an open loop against the echo inside the generator.
///
/// # Errors
/// When the run cannot be made, or a signal has arrived.
pub(crate) fn floor(
    plan: &Plan,
    machine: &Machine,
    interruption: &Interruption,
    progress: &mut dyn Progress,
) -> anyhow::Result<Report> {
    progress.say("calibrating: the same load against an echo inside the generator");
    let echo = Echo::start(plan, machine).context("the echo inside the generator cannot be started")?;
    let mut plan = plan.clone();
    plan.against = Against::Targets(vec![echo.address.clone()]);
    // The echo speaks no TLS.
    plan.tls = None;
    // The echo is on the loopback network.
    plan.connecting.sources.clear();
    // The start time belongs to the run after the calibration.
    plan.timing.start_at = None;
    // The floor is that of the whole load.
    plan.measuring.abort_on.clear();
    // This echo answers in upper case, whatever the server does.
    plan.dialogue = plan.dialogue.with_upper_echo().context("only the load of an echo can be calibrated")?;
    let mut quiet = RunProgress::new(true, plan.measuring.interval, plan.timeouts.reply);
    let Finished { report, .. } =
        conduct::conduct(&Arc::new(plan), machine.clone(), None, interruption, Vec::new(), &mut quiet)?;
    interruption.check()?;
    Ok(report)
}

/// The same for the closed loop of `run`, at the rate that it has reached.
///
/// # Errors
/// When there is no rate, or as for [`floor`].
pub(crate) fn floor_of_closed_loop(
    plan: &Plan,
    run: &Report,
    machine: &Machine,
    interruption: &Interruption,
    progress: &mut dyn Progress,
) -> anyhow::Result<Report> {
    anyhow::ensure!(
        run.rate.achieved_per_s > 0.0,
        "the run had no reply, so there is no rate to calibrate at"
    );
    let pace = Pace::Constant(Rate::near(run.rate.achieved_per_s));
    let load = Load::Open { pace, arrival: Arrival::Poisson };
    let mut plan = Plan { load, ..plan.clone() };
    // The run may have ended early.
    let elapsed = Duration::from_secs_f64(run.elapsed_s);
    plan.timing.duration = plan.timing.duration.map(|duration| duration.min(elapsed));
    floor(&plan, machine, interruption, progress)
}

/// The share of each percentile that is the generator's and the kernel's own, from both runs.
pub(crate) fn calibration(floor: &Report, run: &Report) -> Calibration {
    let (floor_latency, latency) = (&floor.latency_ns.response, &run.latency_ns.response);
    let floor_of = |(name, of): &(&str, Percentile)| {
        let (floor_ns, response_ns) = (of(floor_latency), of(latency));
        let share = floor_ns
            .zip(response_ns)
            .filter(|(floor_ns, response_ns)| floor_ns <= response_ns)
            .map(|(floor_ns, response_ns)| floor_ns as f64 / response_ns.max(1) as f64);
        Floor { percentile: (*name).to_owned(), floor_ns, response_ns, share }
    };
    Calibration {
        verdict: floor.verdict.clone(),
        offered_per_s: floor.rate.offered_per_s,
        achieved_per_s: floor.rate.achieved_per_s,
        response: floor_latency.clone(),
        service: floor.latency_ns.service.clone(),
        floor: PERCENTILES.iter().map(floor_of).collect(),
    }
}

/// Further remarks for a reader of a calibration.
pub(crate) fn notes(calibration: &Calibration, plan: &PlanSummary) -> Vec<String> {
    let r#loop = plan.r#loop;
    let mut notes = Vec::new();
    if plan.tls.is_some() {
        notes.push(
            "the calibration's echo speaks no TLS: the floor is that of the same load without TLS".to_owned(),
        );
    }
    if r#loop == Loop::Closed {
        notes.push(format!(
            "the calibration's floor is that of an open loop at the rate of this run ({}/s): a closed loop would ask the echo faster \
             than the server",
            rate(calibration.offered_per_s.unwrap_or(calibration.achieved_per_s))
        ));
    }
    let is_above = |floor: &&Floor| matches!((floor.floor_ns, floor.response_ns), (Some(floor), Some(response)) if floor > response);
    let above: Vec<_> =
        calibration.floor.iter().filter(is_above).map(|floor| floor.percentile.replace('_', ".")).collect();
    if !above.is_empty() {
        notes.push(format!(
            "the calibration's floor is above the response at {}: the difference is noise, so the floor has no share there",
            above.join(", ")
        ));
    }
    if calibration.verdict.status != Status::Valid {
        let codes: Vec<_> = calibration.verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        notes.push(format!("the calibration itself is not valid, for these reasons: {}", codes.join(", ")));
    }
    notes
}

/// An echo inside this process. Dropping it ends the echo.
#[derive(Debug)]
struct Echo {
    address: Address,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
    _socket_folder: Option<TempDir>,
}

impl Echo {
    /// Starts the echo on the CPUs of a server that loadgen starts, and waits until it serves.
    fn start(plan: &Plan, machine: &Machine) -> anyhow::Result<Self> {
        let folder = listens_on_unix(plan).then(tempfile::tempdir).transpose()?;
        let address = match &folder {
            Some(folder) => Address::Unix(folder.path().join("echo.sock")),
            None => Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 },
        };
        let config = config(plan, address);
        let listeners = Listener::bind_all(&config)?;
        let address = listeners.first().map(Listener::address).context("there is no listener")?.clone();
        let shutdown = Shutdown::new()?;
        let (sender, started) = mpsc::channel();
        let thread = thread::Builder::new().name("echo".to_owned()).spawn({
            let (shutdown, cpus) =
                (shutdown.clone(), machine.division.clone().map(|division| division.server));
            move || {
                // Its log would look like that of the server under test.
                tracing::subscriber::with_default(NoSubscriber::new(), || {
                    serve(config, listeners, shutdown, cpus.as_deref(), &sender);
                });
            }
        })?;
        started.recv().context("the echo ended before it served")??;
        Ok(Self { address, shutdown, thread: Some(thread), _socket_folder: folder })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        tracing::subscriber::with_default(NoSubscriber::new(), || {
            self.shutdown.begin("the calibration is over")
        });
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn serve(
    config: Config,
    listeners: Vec<Listener>,
    shutdown: Shutdown,
    cpus: Option<&[usize]>,
    started: &mpsc::Sender<anyhow::Result<()>>,
) {
    let start = || {
        if let Some(cpus) = cpus {
            cpus::keep_to(cpus)?;
        }
        let mode = Mode::by_name(MODE).context("there is no such mode")?;
        Server::start(mode, config, listeners, shutdown)
    };
    let (server, outcome) = match start() {
        Ok(server) => (Some(server), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // The receiver is gone if it has given up.
    let _given_up = started.send(outcome);
    if let Some(server) = server {
        server.wait();
    }
}

fn config(plan: &Plan, address: Address) -> Config {
    Config {
        listen: vec![address.into()],
        threads: plan.threads,
        // Twice the clients: a client may reconnect before the echo has closed its old connection.
        max_connections: plan.connections() as usize * 2,
        when_full: WhenFull::Wait,
        clients: ClientRules::default(),
        proxy_protocol: false,
        idle_timeout: None,
        write_timeout: WRITE_TIMEOUT,
        drain_timeout: Duration::ZERO,
        drain_grace: Duration::ZERO,
        work: Work::None,
        backlog: BACKLOG,
        reuse_port: false,
        takeover: None,
        metrics: None,
    }
}

/// Whether all targets are unix sockets. These have a lower floor than TCP.
fn listens_on_unix(plan: &Plan) -> bool {
    match &plan.against {
        Against::Targets(targets) => targets.iter().all(|target| matches!(target, Address::Unix(_))),
        Against::OwnServer(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    #[test]
    fn the_floor_is_a_share_of_each_percentile_unless_it_is_above_the_response() {
        let (mut floor, mut run) = (example(), example());
        floor.rate.achieved_per_s = 5.0;
        (floor.latency_ns.response.p50, run.latency_ns.response.p50) = (Some(100), Some(400));
        (floor.latency_ns.response.p90, run.latency_ns.response.p90) = (Some(900), Some(800));
        (floor.latency_ns.response.p99, run.latency_ns.response.p99) = (None, Some(1_000));
        let floor_run = floor;
        let Calibration { achieved_per_s, floor, .. } = calibration(&floor_run, &run);
        assert_eq!(achieved_per_s, 5.0);
        let shares: Vec<_> = floor.iter().map(|floor| (floor.percentile.as_str(), floor.share)).collect();
        assert_eq!(shares[..3], [("p50", Some(0.25)), ("p90", None), ("p99", None)]);
        let open = calibration(&floor_run, &run);
        let notes = notes(&open, &run.plan);
        assert!(
            notes.iter().any(|note| note.contains("above the response at p90: the difference is noise")),
            "{notes:?}"
        );
        run.plan.r#loop = Loop::Closed;
        let closed = calibration(&floor_run, &run);
        assert_eq!((closed.floor[0].floor_ns, closed.floor[0].share), (Some(100), Some(0.25)));
        let notes = super::notes(&closed, &run.plan);
        assert!(notes[0].contains("an open loop at the rate of this run (1,000/s)"), "{notes:?}");
    }
}
