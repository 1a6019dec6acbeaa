//! A run as the user requests it, and its validation.

use std::{path::PathBuf, sync::Arc, time::Duration};

use common::Address;

use crate::load::{
    dialogue::{Content, Dialogue, DialogueError, DialogueRequest},
    plan::{Against, Connecting, Measuring, Plan, Timeouts, Timing},
    rate::Rate,
    schedule::{
        Arrival, Load,
        replay::{ReplayTimes, Speed},
    },
};

/// The maximum number of clients: more than the memory and the ports of one machine allow.
pub(crate) const CONNECTIONS_MAX: u64 = 1_000_000;
/// The maximum number of outstanding requests per client.
pub(crate) const PIPELINE_MAX: u64 = 4096;
/// The maximum number of load threads.
pub(crate) const THREADS_MAX: u64 = 1024;
/// The shortest interval. The conductor merges histograms at the end of each interval, and that must not disturb the load.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// The protocols whose replies an echo can give.
const ECHOED: [&str; 2] = ["echo", "line"];
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// A run as the user requests it. [`Request::plan`] sets the defaults of absent values.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// See [`Plan::against`].
    pub against: Against,
    /// See [`Plan::connections`].
    pub connections: u64,
    /// See [`Plan::threads`].
    pub threads: Option<u64>,
    /// The rate of an open loop. None: a closed loop.
    pub rate: Option<Rate>,
    /// Open loop only.
    pub arrival: Option<Arrival>,
    /// Closed loop only.
    pub think: Option<Duration>,
    /// Requests of a file are due at its times, at this speed.
    pub replay: Option<Speed>,
    /// See [`Plan::pipeline`].
    pub pipeline: u64,
    /// See [`Plan::seed`].
    pub seed: u64,
    /// The requests, and the expected replies.
    pub dialogue: DialogueRequest,
    /// See [`Plan::connecting`].
    pub connecting: Connecting,
    /// See [`Plan::timing`].
    pub timing: Timing,
    /// See [`Plan::timeouts`].
    pub timeouts: Timeouts,
    /// See [`Plan::measuring`].
    pub measuring: Measuring,
}

/// Why a request is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// `--think` in an open loop.
    #[error(
        "--think delays each request until after the previous reply, and --rate sends requests at fixed times: use only one \
         of them"
    )]
    ThinkInOpenLoop,
    /// `--arrival` without a rate.
    #[error("--arrival needs a rate: add --rate, or remove --arrival")]
    ArrivalInClosedLoop,
    /// A number above its maximum.
    #[error("{flag} {given} is too large: the maximum is {max}")]
    TooMuch {
        /// The flag.
        flag: &'static str,
        /// The given number.
        given: u64,
        /// The maximum.
        max: u64,
    },
    /// A rate out of range.
    #[error("--rate {0} is out of range: it must be from {min} to {max}", min = Rate::MIN, max = Rate::MAX)]
    RateRange(Rate),
    /// More load threads than clients.
    #[error(
        "--threads {threads} is more than --connections {connections}: each load thread needs at least one client"
    )]
    IdleThreads {
        /// Threads.
        threads: u64,
        /// Clients.
        connections: u64,
    },
    /// `--replay` of a file without times.
    #[error(
        "--replay sends each request at its time, but the requests of {} have none: add \"at_s\" (seconds) to each line, as in \
         {{\"message\": \"PING\", \"at_s\": 0.25}}",
        .0.display()
    )]
    ReplayWithoutTimes(PathBuf),
    /// `--replay` without a file.
    #[error("--replay needs recorded requests: add --messages FILE, with \"at_s\" in each line")]
    ReplayWithoutFile,
    /// An interval that is too short.
    #[error("--interval is shorter than 50ms: the work at the end of each interval would disturb the load")]
    ShortInterval,
    /// A target with port 0.
    #[error("{0} has port 0, on which no server can listen: use the port that the server printed")]
    PortZero(Address),
    /// The flags or variables of the own server are invalid.
    #[error("loadgen's own server rejects its flags or SERVER_* variables: {0}")]
    OwnServer(String),
    /// The requests and replies make no sense.
    #[error(transparent)]
    Dialogue(#[from] DialogueError),
    /// A file with messages cannot be read.
    #[error("{flag} cannot be read: {reason}")]
    UnreadableMessage {
        /// The flag and the file.
        flag: String,
        /// The error of the system, or the wrong line.
        reason: String,
    },
    /// The own server is an echo.
    #[error("loadgen's own server is an echo and does not speak {0}: give the TARGET of a server that does")]
    OwnServerProtocol(&'static str),
}

impl Request {
    /// Makes the plan. `cpus` is the number of CPUs that this process may use.
    ///
    /// # Errors
    /// When the request is invalid; the error says what to change.
    pub(crate) fn plan(self, cpus: usize) -> Result<Plan, PlanError> {
        if let Against::Targets(targets) = &self.against {
            targets.iter().try_for_each(known_port)?;
        }
        let load = load(&self)?;
        let connections = at_most("--connections", self.connections, CONNECTIONS_MAX)?;
        let clients = u32::try_from(connections).expect("the maximum number of clients fits");
        if matches!(self.against, Against::OwnServer(_)) && !ECHOED.contains(&self.dialogue.protocol) {
            return Err(PlanError::OwnServerProtocol(self.dialogue.protocol));
        }
        let dialogue = Dialogue::new(self.dialogue, self.seed, clients)?;
        if self.measuring.interval < INTERVAL_MIN {
            return Err(PlanError::ShortInterval);
        }
        let threads = threads(self.threads, connections, cpus)?;
        let pipeline = at_most("--pipeline", self.pipeline, PIPELINE_MAX)? as usize;
        let mut timing = self.timing;
        if let Load::Replay(times) = &load {
            timing = Timing {
                start_at: timing.start_at,
                warmup: Duration::ZERO,
                duration: None,
                requests: Some(times.requests()),
            };
        }
        if timing.requests.is_none() {
            timing.duration.get_or_insert(DURATION_DEFAULT);
        }
        Ok(Plan {
            against: self.against,
            connections: clients,
            threads,
            load,
            pipeline,
            seed: self.seed,
            dialogue,
            connecting: self.connecting,
            timing,
            timeouts: self.timeouts,
            measuring: self.measuring,
        })
    }
}

/// Checks that a server can listen on a target.
///
/// # Errors
/// [`PlanError::PortZero`].
pub(crate) fn known_port(target: &Address) -> Result<(), PlanError> {
    match target {
        Address::Tcp { port: 0, .. } => Err(PlanError::PortZero(target.clone())),
        _ => Ok(()),
    }
}

fn load(request: &Request) -> Result<Load, PlanError> {
    if let Some(speed) = request.replay {
        return replay(&request.dialogue.content, speed);
    }
    match (request.rate, request.think, request.arrival) {
        (Some(_), Some(_), _) => Err(PlanError::ThinkInOpenLoop),
        (None, _, Some(_)) => Err(PlanError::ArrivalInClosedLoop),
        (None, think, None) => Ok(Load::Closed { think: think.unwrap_or_default() }),
        (Some(rate), None, _) if !(Rate::MIN..=Rate::MAX).contains(&rate) => Err(PlanError::RateRange(rate)),
        (Some(rate), None, arrival) => Ok(Load::Open { rate, arrival: arrival.unwrap_or_default() }),
    }
}

fn replay(content: &Content, speed: Speed) -> Result<Load, PlanError> {
    let Content::Recorded(path, recorded, _) = content else { return Err(PlanError::ReplayWithoutFile) };
    let at_ns: Option<Vec<_>> = recorded.messages.iter().map(|message| message.at_ns).collect();
    let at_ns = at_ns.ok_or_else(|| PlanError::ReplayWithoutTimes(path.clone()))?;
    Ok(Load::Replay(Arc::new(ReplayTimes::new(at_ns, speed))))
}

/// Half the CPUs by default: the server needs the other half if both share a machine.
fn threads(requested: Option<u64>, connections: u64, cpus: usize) -> Result<usize, PlanError> {
    let threads = match requested {
        Some(threads) if threads > connections => {
            return Err(PlanError::IdleThreads { threads, connections });
        }
        Some(threads) => at_most("--threads", threads, THREADS_MAX)?,
        None => (cpus as u64 / 2).clamp(1, connections.min(THREADS_MAX)),
    };
    Ok(threads as usize)
}

fn at_most(flag: &'static str, given: u64, max: u64) -> Result<u64, PlanError> {
    if given > max { Err(PlanError::TooMuch { flag, given, max }) } else { Ok(given) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::load::{
        protocol::Framing,
        recorded::{Order, Recorded},
    };

    pub(crate) fn request() -> Request {
        Request {
            against: Against::Targets(vec!["127.0.0.1:1".parse().unwrap()]),
            connections: 500,
            threads: None,
            rate: None,
            arrival: None,
            think: None,
            replay: None,
            pipeline: 1,
            seed: 1,
            dialogue: DialogueRequest {
                protocol: "echo",
                framing: Framing::default(),
                content: Content::Numbered(64),
                expect: None,
                reply_bytes_max: 1 << 20,
            },
            connecting: Connecting::default(),
            timing: Timing { start_at: None, warmup: Duration::ZERO, duration: None, requests: None },
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                reply: Duration::from_secs(10),
                first_reply: None,
            },
            measuring: Measuring {
                interval: Duration::from_secs(1),
                kernel_timestamps: false,
                calibrate: false,
                slo: Vec::new(),
            },
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let second = Some(Duration::from_secs(1));
        let ms = Duration::from_millis(1);
        let nowhere: Address = "localhost:0".parse().unwrap();
        let (fast, slow) = (Rate::per_second(1_000_000_001), "0.5/h".parse().unwrap());
        let foreign = DialogueRequest { protocol: "line", ..request().dialogue };
        let short = Measuring { interval: ms, ..request().measuring };
        for (request, error) in [
            (Request { think: second, rate: Some(Rate::MIN), ..request() }, PlanError::ThinkInOpenLoop),
            (Request { arrival: Some(Arrival::Poisson), ..request() }, PlanError::ArrivalInClosedLoop),
            (Request { rate: Some(fast), ..request() }, PlanError::RateRange(fast)),
            (Request { rate: Some(slow), ..request() }, PlanError::RateRange(slow)),
            (
                Request { connections: 2, threads: Some(3), ..request() },
                PlanError::IdleThreads { threads: 3, connections: 2 },
            ),
            (
                Request { pipeline: 5000, ..request() },
                PlanError::TooMuch { flag: "--pipeline", given: 5000, max: PIPELINE_MAX },
            ),
            (
                Request { against: Against::Targets(vec![nowhere.clone()]), ..request() },
                PlanError::PortZero(nowhere),
            ),
            (Request { measuring: short, ..request() }, PlanError::ShortInterval),
            (
                Request { dialogue: foreign, ..request() },
                DialogueError::NoMessage("line", "hello {client}").into(),
            ),
        ] {
            assert_eq!(request.plan(4).unwrap_err(), error);
        }
    }

    fn replay(file: &str) -> Request {
        let recorded = Recorded::read(file.as_bytes()).unwrap();
        let content = Content::Recorded("file".into(), recorded, Order::InOrder);
        Request {
            dialogue: DialogueRequest { content, ..request().dialogue },
            replay: Some("1".parse().unwrap()),
            ..request()
        }
    }

    #[test]
    fn a_replay_takes_its_length_from_the_file() {
        let file = "{\"message\": \"a\", \"at_s\": 5}\n{\"message\": \"b\", \"at_s\": 7}\n";
        let plan = replay(file).plan(1).unwrap();
        assert!(plan.is_open_loop());
        assert_eq!((plan.timing.requests, plan.timing.duration), (Some(2), None));
        assert_eq!(plan.rate_per_s(), Some(1.0));
        let timing = Timing { warmup: Duration::from_secs(1), ..request().timing };
        assert_eq!(Request { timing, ..replay(file) }.plan(1).unwrap().timing.warmup, Duration::ZERO);
        let without_times = replay("a\nb\n").plan(1).unwrap_err();
        assert_eq!(without_times, PlanError::ReplayWithoutTimes("file".into()));
        let without_file = Request { replay: Some("1".parse().unwrap()), ..request() }.plan(1).unwrap_err();
        assert_eq!(without_file, PlanError::ReplayWithoutFile);
    }

    #[test]
    fn the_defaults_depend_on_the_machine_and_on_each_other() {
        for (connections, cpus, threads) in [(500, 1, 1), (500, 2, 1), (500, 8, 4), (3, 64, 3)] {
            assert_eq!(Request { connections, ..request() }.plan(cpus).unwrap().threads, threads);
        }
        assert_eq!(request().plan(1).unwrap().timing.duration, Some(DURATION_DEFAULT));
        let timing = Timing { requests: Some(5), ..request().timing };
        assert_eq!(Request { timing, ..request() }.plan(1).unwrap().timing.duration, None);
    }
}
