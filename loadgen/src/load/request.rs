//! A run as the user requests it, and its validation.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use common::Address;

use crate::load::{
    message::{Expect, Messages, SIZE_MAX},
    plan::{Against, Connecting, Measuring, Plan, Timeouts, Timing},
    rate::Rate,
    schedule::{Arrival, Load},
};

/// The maximum number of clients: more than the memory and the ports of one machine allow.
pub(crate) const CONNECTIONS_MAX: u64 = 1_000_000;
/// The maximum number of outstanding requests per client.
pub(crate) const PIPELINE_MAX: u64 = 4096;
/// The maximum number of source addresses: a client keeps the number of its address in one byte.
pub(crate) const SOURCES_MAX: u64 = 250;
/// The maximum number of load threads.
pub(crate) const THREADS_MAX: u64 = 1024;
/// The shortest interval. The conductor merges histograms at the end of each interval, and that must not disturb the load.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(50);

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
    /// See [`Plan::pipeline`].
    pub pipeline: u64,
    /// See [`Plan::seed`].
    pub seed: u64,
    /// The content of the requests.
    pub message: Message,
    /// The expected replies.
    pub expect: Expect,
    /// See [`Plan::connecting`].
    pub connecting: Connecting,
    /// See [`Plan::timing`].
    pub timing: Timing,
    /// See [`Plan::timeouts`].
    pub timeouts: Timeouts,
    /// See [`Plan::measuring`].
    pub measuring: Measuring,
}

/// The content of the requests.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// Numbered messages of this size in bytes.
    Numbered(u64),
    /// The bytes of this file.
    File(PathBuf, Arc<[u8]>),
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
    /// An interval that is too short.
    #[error("--interval is shorter than 50ms: the work at the end of each interval would disturb the load")]
    ShortInterval,
    /// A target with port 0.
    #[error("{0} has port 0, on which no server can listen: use the port that the server printed")]
    PortZero(Address),
    /// A source address is given twice.
    #[error("--source {0} is given twice: give each address once")]
    SourceTwice(IpAddr),
    /// A source address of another family than the target.
    #[error(
        "clients cannot connect from --source {source_address} to {target}: one of them is an IPv4 address, the other an \
         IPv6 address; give source addresses of the target's family"
    )]
    SourceFamily {
        /// The source address.
        source_address: IpAddr,
        /// The target, or the own server.
        target: String,
    },
    /// A source address, and a unix socket as target.
    #[error("--source is for TCP, and {0} is a unix socket: remove --source")]
    SourceOfUnix(Address),
    /// The flags or variables of the own server are invalid.
    #[error("loadgen's own server rejects its flags or SERVER_* variables: {0}")]
    OwnServer(String),
    /// The message file cannot be read.
    #[error("--message {} cannot be read: {reason}", path.display())]
    UnreadableMessage {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        reason: String,
    },
    /// The message file is empty.
    #[error("--message {0} is empty: a message needs at least one byte")]
    EmptyMessage(PathBuf),
}

impl Request {
    /// Makes the plan. `cpus` is the number of CPUs that this process may use.
    ///
    /// # Errors
    /// When the request is invalid; the error says what to change.
    pub(crate) fn plan(self, cpus: usize) -> Result<Plan, PlanError> {
        sources(&self.connecting.sources)?;
        match &self.against {
            Against::Targets(targets) => targets.iter().try_for_each(|target| {
                known_port(target)?;
                fitting_sources(&self.connecting.sources, target)
            })?,
            Against::OwnServer(_) => fitting_started(&self.connecting.sources)?,
        }
        let load = load(&self)?;
        let connections = at_most("--connections", self.connections, CONNECTIONS_MAX)?;
        let messages = messages(&self.message, self.expect)?;
        if self.measuring.interval < INTERVAL_MIN {
            return Err(PlanError::ShortInterval);
        }
        let threads = threads(self.threads, connections, cpus)?;
        let pipeline = at_most("--pipeline", self.pipeline, PIPELINE_MAX)? as usize;
        let mut timing = self.timing;
        if timing.requests.is_none() {
            timing.duration.get_or_insert(DURATION_DEFAULT);
        }
        Ok(Plan {
            against: self.against,
            connections: u32::try_from(connections).expect("the maximum number of clients fits"),
            threads,
            load,
            pipeline,
            seed: self.seed,
            messages,
            message_file: match self.message {
                Message::Numbered(_) => None,
                Message::File(path, _) => Some(path),
            },
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

fn sources(sources: &[IpAddr]) -> Result<(), PlanError> {
    at_most("the number of --source", sources.len() as u64, SOURCES_MAX)?;
    match (1..sources.len()).find(|place| sources[..*place].contains(&sources[*place])) {
        Some(place) => Err(PlanError::SourceTwice(sources[place])),
        None => Ok(()),
    }
}

/// Checks that clients can connect from these addresses to a target. The family of a name is known only when it is resolved.
///
/// # Errors
/// [`PlanError::SourceOfUnix`] or [`PlanError::SourceFamily`].
pub(crate) fn fitting_sources(sources: &[IpAddr], target: &Address) -> Result<(), PlanError> {
    match target {
        Address::Unix(_) if !sources.is_empty() => Err(PlanError::SourceOfUnix(target.clone())),
        Address::Unix(_) => Ok(()),
        Address::Tcp { host, .. } => {
            // An IPv6 address may have a zone.
            let address = host.split_once('%').map_or(host.as_str(), |(address, _)| address);
            let address = address.parse::<IpAddr>();
            address.map_or(Ok(()), |address| fitting_family(sources, address, &target.to_string()))
        }
    }
}

/// Checks that clients can connect from these addresses to a server that loadgen starts.
///
/// # Errors
/// [`PlanError::SourceFamily`].
pub(crate) fn fitting_started(sources: &[IpAddr]) -> Result<(), PlanError> {
    fitting_family(sources, Ipv4Addr::LOCALHOST.into(), "a server that loadgen starts on 127.0.0.1")
}

/// Checks that the sources are of the family of a target.
///
/// # Errors
/// [`PlanError::SourceFamily`].
pub(crate) fn fitting_family(sources: &[IpAddr], address: IpAddr, target: &str) -> Result<(), PlanError> {
    match sources.iter().find(|source| source.is_ipv4() != address.is_ipv4()) {
        Some(source) => Err(PlanError::SourceFamily { source_address: *source, target: target.to_owned() }),
        None => Ok(()),
    }
}

fn load(request: &Request) -> Result<Load, PlanError> {
    match (request.rate, request.think, request.arrival) {
        (Some(_), Some(_), _) => Err(PlanError::ThinkInOpenLoop),
        (None, _, Some(_)) => Err(PlanError::ArrivalInClosedLoop),
        (None, think, None) => Ok(Load::Closed { think: think.unwrap_or_default() }),
        (Some(rate), None, _) if !(Rate::MIN..=Rate::MAX).contains(&rate) => Err(PlanError::RateRange(rate)),
        (Some(rate), None, arrival) => Ok(Load::Open { rate, arrival: arrival.unwrap_or_default() }),
    }
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

fn messages(message: &Message, expect: Expect) -> Result<Messages, PlanError> {
    match message {
        Message::Numbered(size) => {
            let size = at_most("--size", *size, SIZE_MAX as u64)?;
            Ok(Messages::numbered(size as usize, expect))
        }
        Message::File(path, bytes) if bytes.is_empty() => Err(PlanError::EmptyMessage(path.clone())),
        Message::File(_, bytes) => {
            at_most("--message's size", bytes.len() as u64, SIZE_MAX as u64)?;
            Ok(Messages::fixed(bytes, expect))
        }
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
            rate: None,
            arrival: None,
            think: None,
            pipeline: 1,
            seed: 1,
            message: Message::Numbered(64),
            expect: Expect::Upper,
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
        let empty = Message::File(PathBuf::from("x"), Arc::from([]));
        let from = |sources: &[&str]| {
            let sources = sources.iter().map(|source| source.parse().unwrap()).collect();
            Request { connecting: Connecting { sources, ..Connecting::default() }, ..request() }
        };
        let unix: Address = "unix:/x".parse().unwrap();
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
                from(&["127.0.0.5", "127.0.0.6", "127.0.0.5"]),
                PlanError::SourceTwice("127.0.0.5".parse().unwrap()),
            ),
            (
                from(&["127.0.0.5", "::1"]),
                PlanError::SourceFamily {
                    source_address: "::1".parse().unwrap(),
                    target: "127.0.0.1:1".to_owned(),
                },
            ),
            (
                Request { against: Against::Targets(vec![unix.clone()]), ..from(&["::1"]) },
                PlanError::SourceOfUnix(unix),
            ),
            (Request { message: empty, ..request() }, PlanError::EmptyMessage("x".into())),
        ] {
            assert_eq!(request.plan(4).unwrap_err(), error);
        }
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
