//! The floor under a run's latencies: the same load against an echo inside the generator, which costs as little as an
//! echo can. What is measured there is the generator's and the kernel's own.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use common::Address;
use server::{
    Server,
    config::{Config, WhenFull},
    listen::{self, Listener},
    mode::Mode,
    shutdown::Shutdown,
    work::Work,
};
use tempfile::TempDir;
use tracing::subscriber::NoSubscriber;

use crate::{
    cpus,
    interruption::Interruption,
    message::Expect,
    plan::{Against, Plan},
    progress::{Progress, RunProgress},
    report::{Calibration, Floor, Latency, Loop, Report, Status},
    run::{self, Finished},
    tally::Machine,
};

/// The simplest of the server's models: one loop that waits and echoes.
const MODE: &str = "event-loop";
/// Who is slower than that to read has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most connections that wait to be accepted: what the kernel allows by default.
const BACKLOG: i32 = 4096;

/// Reads one percentile of a distribution.
type Percentile = fn(&Latency) -> Option<u64>;

/// Those that are compared, by their names in the report.
static PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", |latency| latency.p50),
    ("p90", |latency| latency.p90),
    ("p99", |latency| latency.p99),
    ("p99_9", |latency| latency.p99_9),
    ("p99_99", |latency| latency.p99_99),
];

/// Makes the plan's run against the echo inside, and says what was measured.
///
/// # Errors
/// When it cannot be made, or a signal came.
pub fn floor(
    plan: &Plan,
    machine: &Machine,
    interruption: &Interruption,
    progress: &mut dyn Progress,
) -> anyhow::Result<Report> {
    progress.say("calibrating: the same load against an echo inside the generator");
    let echo = Echo::start(plan, machine).context("the echo inside the generator cannot be started")?;
    let mut plan = plan.clone();
    plan.against = Against::Targets(vec![echo.address.clone()]);
    // The moment is that of the run which follows.
    plan.start_at = None;
    // The echo inside is in upper case, whatever the server's is.
    plan.messages = plan.messages.expecting(Expect::Upper);
    plan.expect = Expect::Upper;
    let mut quiet = RunProgress::new(true, plan.interval);
    let Finished { report, .. } =
        run::conduct(&Arc::new(plan), machine.clone(), None, interruption, &mut quiet)?;
    interruption.check()?;
    Ok(report)
}

/// What part of each percentile is the generator's and the kernel's own, from both runs. In a closed loop it is not known:
/// there the echo is asked more often than the server, and its floor is mostly the queue of its own clients.
pub fn calibration(floor: &Report, run: &Report) -> Calibration {
    let (floor_latency, latency) = (&floor.latency_ns.response, &run.latency_ns.response);
    let floor_of = |(name, of): &(&str, Percentile)| {
        let (floor_ns, response_ns) = (of(floor_latency), of(latency));
        let share = floor_ns
            .zip(response_ns)
            .filter(|_| run.plan.r#loop == Loop::Open)
            .map(|(floor_ns, response_ns)| (floor_ns as f64 / response_ns.max(1) as f64).min(1.0));
        Floor { percentile: (*name).to_owned(), floor_ns, response_ns, share }
    };
    Calibration {
        verdict: floor.verdict.clone(),
        achieved_per_s: floor.rate.achieved_per_s,
        response: floor_latency.clone(),
        service: floor.latency_ns.service.clone(),
        floor: PERCENTILES.iter().map(floor_of).collect(),
    }
}

/// What a reader of a calibration should know besides.
pub fn notes(calibration: &Calibration, r#loop: Loop) -> Vec<String> {
    let mut notes = Vec::new();
    if r#loop == Loop::Closed {
        let text = "in a closed loop, the calibration's floor is the queue of the clients at the rate of the echo inside: it \
                    is no part of the response times; --rate makes it one";
        notes.push(text.to_owned());
    }
    if calibration.verdict.status != Status::Valid {
        let codes: Vec<_> = calibration.verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        notes.push(format!(
            "the calibration deserves no more trust than a run with these reasons: {}",
            codes.join(", ")
        ));
    }
    notes
}

/// An echo inside this process. It ends with this value.
#[derive(Debug)]
struct Echo {
    address: Address,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
    _socket_folder: Option<TempDir>,
}

impl Echo {
    /// Starts it on the CPUs that a server of the run's own would have, and waits until it serves.
    fn start(plan: &Plan, machine: &Machine) -> anyhow::Result<Self> {
        let folder = listens_on_unix(plan).then(tempfile::tempdir).transpose()?;
        let address = match &folder {
            Some(folder) => Address::Unix(folder.path().join("echo.sock")),
            None => Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 },
        };
        let config = config(plan, address);
        let listeners = listen::bind_all(&config)?;
        let address = listeners.first().map(Listener::address).context("there is no listener")?.clone();
        let shutdown = Shutdown::new()?;
        let (sender, started) = mpsc::channel();
        let thread = thread::Builder::new().name("echo".to_owned()).spawn({
            let (shutdown, cpus) =
                (shutdown.clone(), machine.division.clone().map(|division| division.server));
            move || {
                // Its log would be taken for that of the server under test.
                tracing::subscriber::with_default(NoSubscriber::new(), || {
                    serve(config, listeners, shutdown, cpus.as_deref(), &sender);
                });
            }
        })?;
        started.recv().context("it ended before it served")??;
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
    // Who does not wait for it any more has given up.
    let _given_up = started.send(outcome);
    if let Some(server) = server {
        server.wait();
    }
}

fn config(plan: &Plan, address: Address) -> Config {
    Config {
        listen: vec![address],
        threads: plan.threads,
        // Some room for clients that connect again before their old connection is known to have ended.
        max_connections: plan.connections as usize * 2,
        when_full: WhenFull::Wait,
        idle_timeout: None,
        write_timeout: WRITE_TIMEOUT,
        drain_timeout: Duration::ZERO,
        work: Work::None,
        backlog: BACKLOG,
        reuse_port: false,
    }
}

/// What takes no port and no segment has another floor.
fn listens_on_unix(plan: &Plan) -> bool {
    match &plan.against {
        Against::Targets(targets) => targets.iter().all(|target| matches!(target, Address::Unix(_))),
        Against::OwnServer(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn the_floor_is_a_part_of_each_percentile_and_never_more_than_all_of_it() {
        let (mut floor, mut run) = (example(), example());
        floor.rate.achieved_per_s = 5.0;
        (floor.latency_ns.response.p50, run.latency_ns.response.p50) = (Some(100), Some(400));
        (floor.latency_ns.response.p90, run.latency_ns.response.p90) = (Some(900), Some(800));
        (floor.latency_ns.response.p99, run.latency_ns.response.p99) = (None, Some(1_000));
        let floor_run = floor;
        let Calibration { achieved_per_s, floor, .. } = calibration(&floor_run, &run);
        assert_eq!(achieved_per_s, 5.0);
        let shares: Vec<_> = floor.iter().map(|floor| (floor.percentile.as_str(), floor.share)).collect();
        assert_eq!(shares[..3], [("p50", Some(0.25)), ("p90", Some(1.0)), ("p99", None)]);
        run.plan.r#loop = Loop::Closed;
        let closed = calibration(&floor_run, &run);
        assert_eq!((closed.floor[0].floor_ns, closed.floor[0].share), (Some(100), None));
    }
}
