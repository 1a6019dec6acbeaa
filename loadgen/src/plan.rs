//! What a run does: validated, and free of the command line's types.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::Address;

use crate::{
    message::{Expect, Messages, SIZE_MAX},
    schedule::{Arrival, Load},
    slo::Slo,
};

/// The most clients of a run; more than one machine's memory and ports carry.
pub const CONNECTIONS_MAX: u64 = 1_000_000;
/// The most outstanding requests of one client.
pub const PIPELINE_MAX: u64 = 4096;
/// The most load threads.
pub const THREADS_MAX: u64 = 1024;
/// The highest rate: one request each nanosecond.
pub const RATE_PER_S_MAX: u64 = 1_000_000_000;
/// The shortest interval: merging its histograms must stay a small part of the load threads' work.
pub const INTERVAL_MIN: Duration = Duration::from_millis(50);

const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it runs against.
    pub against: Against,
    /// Clients, at least 1. They are shared evenly among the targets.
    pub connections: u32,
    /// Load threads, from 1 to `connections`.
    pub threads: usize,
    /// What makes requests due.
    pub load: Load,
    /// Outstanding requests of one client at most, at least 1.
    pub pipeline: usize,
    /// New connections each second at most.
    pub connect_rate_per_s: Option<u64>,
    /// After so many replies a client connects anew.
    pub requests_per_connection: Option<u64>,
    /// What everything random is drawn from.
    pub seed: u64,
    /// The template of the requests and their replies.
    pub messages: Messages,
    /// Where the message came from, when it is not the default one.
    pub message_file: Option<PathBuf>,
    /// What the replies must be.
    pub expect: Expect,
    /// Before the measured window.
    pub warmup: Duration,
    /// The measured window's length. None: until `requests` have ended.
    pub duration: Option<Duration>,
    /// Measured requests, at least 1. None: until the window's end. One of the two is given.
    pub requests: Option<u64>,
    /// For a connection to be established.
    pub connect_timeout: Duration,
    /// From the writing of a request to its complete reply.
    pub timeout: Duration,
    /// How long to wait for the server to answer at all before the run.
    pub wait_for_server: Option<Duration>,
    /// When the load begins, by the clock on the wall. None: as soon as every client has tried to connect.
    pub start_at: Option<SystemTime>,
    /// Between two lines of progress, and two entries of the report's intervals.
    pub interval: Duration,
    /// Whether the kernel is asked when replies were ready to be read.
    pub kernel_timestamps: bool,
    /// Whether the same load is put on an echo inside the generator first.
    pub calibrate: bool,
    /// What is asked of its result.
    pub slo: Vec<Slo>,
}

/// What a run is made against.
#[derive(Clone, Debug)]
pub enum Against {
    /// Servers that are there already, at least one.
    Targets(Vec<Address>),
    /// A server of its own, which lives as long as the run.
    OwnServer(OwnServerPlan),
}

/// The server that a run starts for itself.
#[derive(Clone, Debug)]
pub struct OwnServerPlan {
    /// The name of its concurrency model.
    pub mode: &'static str,
    /// Its `--work`.
    pub work: Option<String>,
    /// Its `--threads`.
    pub threads: Option<u64>,
}

/// What was asked for, before it is known to make sense. Absent values get their defaults in the plan.
#[derive(Clone, Debug)]
pub struct Request {
    /// See [`Plan::against`].
    pub against: Against,
    /// See [`Plan::connections`].
    pub connections: u64,
    /// See [`Plan::threads`].
    pub threads: Option<u64>,
    /// A rate makes an open loop.
    pub rate_per_s: Option<u64>,
    /// Only of an open loop.
    pub arrival: Option<Arrival>,
    /// Only of a closed loop.
    pub think: Option<Duration>,
    /// See [`Plan::pipeline`].
    pub pipeline: u64,
    /// See [`Plan::connect_rate_per_s`].
    pub connect_rate_per_s: Option<u64>,
    /// See [`Plan::requests_per_connection`].
    pub requests_per_connection: Option<u64>,
    /// See [`Plan::seed`].
    pub seed: u64,
    /// The size of the default message, in bytes.
    pub size: u64,
    /// A file to read the message from instead, and what it holds.
    pub message: Option<(PathBuf, Arc<[u8]>)>,
    /// See [`Plan::expect`].
    pub expect: Expect,
    /// See [`Plan::warmup`].
    pub warmup: Duration,
    /// See [`Plan::duration`].
    pub duration: Option<Duration>,
    /// See [`Plan::requests`].
    pub requests: Option<u64>,
    /// See [`Plan::connect_timeout`].
    pub connect_timeout: Duration,
    /// See [`Plan::timeout`].
    pub timeout: Duration,
    /// See [`Plan::wait_for_server`].
    pub wait_for_server: Option<Duration>,
    /// See [`Plan::start_at`].
    pub start_at: Option<SystemTime>,
    /// See [`Plan::interval`].
    pub interval: Duration,
    /// See [`Plan::kernel_timestamps`].
    pub kernel_timestamps: bool,
    /// See [`Plan::calibrate`].
    pub calibrate: bool,
    /// See [`Plan::slo`].
    pub slo: Vec<Slo>,
}

/// Why a run that was asked for makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Thinking after a reply is a closed loop's.
    #[error(
        "--think makes the next request wait for the last reply, which --rate must not: leave one of them out"
    )]
    ThinkInOpenLoop,
    /// Arrivals without a rate.
    #[error("--arrival spreads the requests of a rate: give --rate as well, or leave --arrival out")]
    ArrivalInClosedLoop,
    /// A number is out of its range.
    #[error("{flag} {given} is too much: the most is {max}")]
    TooMuch {
        /// The flag.
        flag: &'static str,
        /// What was given.
        given: u64,
        /// What is possible.
        max: u64,
    },
    /// A thread without a client.
    #[error(
        "--threads {threads} is more than --connections {connections}: a thread needs a client of its own"
    )]
    IdleThreads {
        /// Threads.
        threads: u64,
        /// Clients.
        connections: u64,
    },
    /// The intervals are too short.
    #[error("--interval is shorter than 50ms: its own bookkeeping would disturb the load")]
    ShortInterval,
    /// A target that nobody can listen on.
    #[error("{0} has port 0, which nobody listens on: write the port that the server has printed")]
    PortZero(Address),
    /// Its own server would not start.
    #[error("a server of its own refuses what flags or variables SERVER_* tell it: {0}")]
    OwnServer(String),
    /// There is no message to be had.
    #[error("--message {} cannot be read: {reason}", path.display())]
    UnreadableMessage {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A message without a byte.
    #[error("--message {0} is empty: a message has at least one byte")]
    EmptyMessage(PathBuf),
}

impl Plan {
    /// Makes a plan of what was asked for. `cpus` are those that this process may use.
    ///
    /// # Errors
    /// When it makes no sense; the error says what to change.
    pub fn new(request: Request, cpus: usize) -> Result<Self, PlanError> {
        if let Against::Targets(targets) = &request.against {
            targets.iter().try_for_each(known_port)?;
        }
        let load = load(&request)?;
        let connections = at_most("--connections", request.connections, CONNECTIONS_MAX)?;
        let messages = messages(&request)?;
        if request.interval < INTERVAL_MIN {
            return Err(PlanError::ShortInterval);
        }
        Ok(Self {
            threads: threads(request.threads, connections, cpus)?,
            connections: u32::try_from(connections).expect("the most clients fit"),
            load,
            pipeline: at_most("--pipeline", request.pipeline, PIPELINE_MAX)? as usize,
            messages,
            message_file: request.message.map(|(path, _)| path),
            duration: match (request.duration, request.requests) {
                (None, None) => Some(DURATION_DEFAULT),
                (duration, _) => duration,
            },
            against: request.against,
            connect_rate_per_s: request.connect_rate_per_s,
            requests_per_connection: request.requests_per_connection,
            seed: request.seed,
            expect: request.expect,
            warmup: request.warmup,
            requests: request.requests,
            connect_timeout: request.connect_timeout,
            timeout: request.timeout,
            wait_for_server: request.wait_for_server,
            start_at: request.start_at,
            interval: request.interval,
            kernel_timestamps: request.kernel_timestamps,
            calibrate: request.calibrate,
            slo: request.slo,
        })
    }

    /// The open loop's rate; none in a closed loop.
    pub fn rate_per_s(&self) -> Option<u64> {
        match self.load {
            Load::Open { rate_per_s, .. } => Some(rate_per_s),
            Load::Closed { .. } => None,
        }
    }
}

/// Whether somebody can listen on a target.
///
/// # Errors
/// [`PlanError::PortZero`].
pub fn known_port(target: &Address) -> Result<(), PlanError> {
    match target {
        Address::Tcp { port: 0, .. } => Err(PlanError::PortZero(target.clone())),
        _ => Ok(()),
    }
}

fn load(request: &Request) -> Result<Load, PlanError> {
    match (request.rate_per_s, request.think, request.arrival) {
        (Some(_), Some(_), _) => Err(PlanError::ThinkInOpenLoop),
        (None, _, Some(_)) => Err(PlanError::ArrivalInClosedLoop),
        (None, think, None) => Ok(Load::Closed { think: think.unwrap_or_default() }),
        (Some(rate), None, arrival) => Ok(Load::Open {
            rate_per_s: at_most("--rate", rate, RATE_PER_S_MAX)?,
            arrival: arrival.unwrap_or_default(),
        }),
    }
}

/// Half the CPUs: the other half is the server's when both share a machine.
fn threads(asked: Option<u64>, connections: u64, cpus: usize) -> Result<usize, PlanError> {
    let threads = match asked {
        Some(threads) if threads > connections => {
            return Err(PlanError::IdleThreads { threads, connections });
        }
        Some(threads) => at_most("--threads", threads, THREADS_MAX)?,
        None => (cpus as u64 / 2).clamp(1, connections.min(THREADS_MAX)),
    };
    Ok(threads as usize)
}

fn messages(request: &Request) -> Result<Messages, PlanError> {
    let size = request.message.as_ref().map_or(request.size, |(_, bytes)| bytes.len() as u64);
    let flag = if request.message.is_some() { "--message's size" } else { "--size" };
    let size = at_most(flag, size, SIZE_MAX as u64)? as usize;
    match &request.message {
        None => Ok(Messages::numbered(size, request.expect)),
        Some((path, _)) if size == 0 => Err(PlanError::EmptyMessage(path.clone())),
        Some((_, bytes)) => Ok(Messages::fixed(bytes, request.expect)),
    }
}

fn at_most(flag: &'static str, given: u64, max: u64) -> Result<u64, PlanError> {
    if given > max { Err(PlanError::TooMuch { flag, given, max }) } else { Ok(given) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request() -> Request {
        Request {
            against: Against::Targets(vec!["127.0.0.1:1".parse().unwrap()]),
            connections: 500,
            threads: None,
            rate_per_s: None,
            arrival: None,
            think: None,
            pipeline: 1,
            connect_rate_per_s: None,
            requests_per_connection: None,
            seed: 1,
            size: 64,
            message: None,
            expect: Expect::Upper,
            warmup: Duration::ZERO,
            duration: None,
            requests: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            wait_for_server: None,
            start_at: None,
            interval: Duration::from_secs(1),
            kernel_timestamps: false,
            calibrate: false,
            slo: Vec::new(),
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let second = Some(Duration::from_secs(1));
        let ms = Duration::from_millis(1);
        let nowhere: Address = "localhost:0".parse().unwrap();
        let empty = Some((PathBuf::from("x"), Arc::from([])));
        for (request, error) in [
            (Request { think: second, rate_per_s: Some(1), ..request() }, PlanError::ThinkInOpenLoop),
            (Request { arrival: Some(Arrival::Poisson), ..request() }, PlanError::ArrivalInClosedLoop),
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
            (Request { interval: ms, ..request() }, PlanError::ShortInterval),
            (Request { message: empty, ..request() }, PlanError::EmptyMessage("x".into())),
        ] {
            assert_eq!(Plan::new(request, 4).unwrap_err(), error);
        }
    }

    #[test]
    fn the_defaults_depend_on_the_machine_and_on_each_other() {
        for (connections, cpus, threads) in [(500, 1, 1), (500, 2, 1), (500, 8, 4), (3, 64, 3)] {
            assert_eq!(Plan::new(Request { connections, ..request() }, cpus).unwrap().threads, threads);
        }
        assert_eq!(Plan::new(request(), 1).unwrap().duration, Some(DURATION_DEFAULT));
        assert_eq!(Plan::new(Request { requests: Some(5), ..request() }, 1).unwrap().duration, None);
    }
}
