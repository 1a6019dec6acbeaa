//! A run as the user requests it, and its validation.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use common::{Address, human::plural, units::format_duration};

use crate::{
    load::{
        clients::Clients,
        part::Part,
        plan::{Against, Connecting, Measuring, Plan, Timeouts, Timing},
        rate::Rate,
        schedule::{
            Arrival, Load, Pace,
            course::Course,
            replay::{ReplayTimes, Speed},
        },
        stages::Stages,
        tls::{TlsError, TlsPlan, TlsRequest},
    },
    protocol::{
        Protocol,
        dialogue::{Content, Dialogue, DialogueError, DialogueRequest},
        echo::Echo,
    },
};

/// The maximum number of clients of a generator: more than the memory and the ports of one machine allow.
pub(crate) const CONNECTIONS_MAX: u64 = 1_000_000;
/// The maximum number of outstanding requests per client.
pub(crate) const PIPELINE_MAX: u64 = 4096;
/// The maximum number of source addresses: a client keeps the number of its address in one byte.
pub(crate) const SOURCES_MAX: u64 = 250;
/// The maximum number of load threads.
pub(crate) const THREADS_MAX: u64 = 1024;
/// The shortest interval. To gather one takes about a millisecond of CPU time, of which a busy load leaves little.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// The protocols whose replies an echo can give.
const ECHOED: [&str; 2] = ["echo", "line"];
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// A run as the user requests it. [`Request::plan`] sets the defaults of absent values.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// See [`Plan::against`].
    pub against: Against,
    /// The number of clients of the whole load.
    pub connections: u64,
    /// The part of the load that this generator has. The other values are those of the whole load. None: all of the load.
    pub part: Option<Part>,
    /// See [`Plan::threads`].
    pub threads: Option<u64>,
    /// The rate of an open loop. None: a closed loop.
    pub rate: Option<Rate>,
    /// The rate of an open loop over time. It excludes `rate`, `think`, and the duration and the requests of `timing`.
    pub stages: Option<Stages>,
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
    /// TLS. None: without TLS.
    pub tls: Option<TlsRequest>,
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
    /// `--until` with `--part`.
    #[error(
        "--until cannot be used with --part: a part does not know how precise the whole is; use --duration"
    )]
    UntilOfPart,
    /// `--think` in an open loop.
    #[error(
        "--think delays each request until after the previous reply, and --rate sends requests at fixed times: use only one \
         of them"
    )]
    ThinkInOpenLoop,
    /// `--stages` with a flag that contradicts it.
    #[error("--stages and {flag} exclude each other: {reason}; remove {flag}")]
    BesideStages {
        /// The other flag.
        flag: &'static str,
        /// Why they exclude each other.
        reason: &'static str,
    },
    /// A condition over less than an interval.
    #[error(
        "--abort-on {condition}: its time is shorter than --interval, and a condition is checked at the end of each interval: \
         use a time of at least {interval}, or a shorter --interval"
    )]
    ShortAbort {
        /// The condition.
        condition: String,
        /// The length of an interval.
        interval: String,
    },
    /// `--arrival` without a rate.
    #[error("--arrival needs a rate: add --rate or --stages, or remove --arrival")]
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
    /// More load threads than clients of the part.
    #[error(
        "--threads {threads} is more than the {} of --part {part}: each load thread needs at least one client; use more \
         --connections or fewer --threads", plural(*clients, "client")
    )]
    IdleThreadsOfPart {
        /// Threads.
        threads: u64,
        /// Clients of the part.
        clients: u64,
        /// The part.
        part: Part,
    },
    /// A number that cannot be divided among the parts.
    #[error(
        "{flag} {given} is less than the {of} parts of --part: give a number of at least {of}, or use fewer parts"
    )]
    FewerThanParts {
        /// The flag.
        flag: &'static str,
        /// The given number, of the whole load.
        given: u64,
        /// The number of parts.
        of: u32,
    },
    /// A part to which no request belongs.
    #[error(
        "none of the {} belongs to a client of --part {part}: give more requests, or use fewer parts",
        plural(*requests, "request")
    )]
    EmptyPart {
        /// The requests of the whole load.
        requests: u64,
        /// The part.
        part: Part,
    },
    /// A part, and loadgen's own server.
    #[error(
        "--part needs a TARGET: the parts of a load go to the same server, and loadgen's own server serves only this \
         generator"
    )]
    PartOfOwnServer,
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
    /// The echo inside the generator speaks no other protocol.
    #[error("--calibrate compares with an echo and needs --protocol echo, not {0}: remove one of them")]
    CalibrateProtocol(&'static str),
    /// TLS is not possible as requested.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Request {
    /// Makes the plan. `cpus` is the number of CPUs that this process may use.
    ///
    /// # Errors
    /// When the request is invalid; the error says what to change.
    pub(crate) fn plan(mut self, cpus: usize) -> Result<Plan, PlanError> {
        sources(&self.connecting.sources)?;
        match &self.against {
            Against::Targets(targets) => targets.iter().try_for_each(|target| {
                known_port(target)?;
                fitting_sources(&self.connecting.sources, target)
            })?,
            Against::OwnServer(_) => fitting_started(&self.connecting.sources, Ipv4Addr::LOCALHOST.into())?,
        }
        let tls = self.tls()?;
        let load = load(&self)?;
        let clients = clients(self.connections, self.part)?;
        if matches!(self.against, Against::OwnServer(_)) {
            echoed(self.dialogue.protocol)?;
        }
        if self.measuring.calibrate && self.dialogue.protocol != Echo::NAME {
            return Err(PlanError::CalibrateProtocol(self.dialogue.protocol));
        }
        let dialogue = Dialogue::new(self.dialogue)?;
        if self.measuring.interval < INTERVAL_MIN {
            return Err(PlanError::ShortInterval);
        }
        check_conditions(&self.measuring)?;
        let threads = threads(self.threads, clients, cpus)?;
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
        if let Some(stages) = &self.stages {
            timing.duration = Some(stages.length());
        } else if timing.requests.is_none() {
            timing.duration.get_or_insert(DURATION_DEFAULT);
        }
        if let Some(part) = self.part {
            check_part(&self.against)?;
            if !self.measuring.until.is_empty() {
                return Err(PlanError::UntilOfPart);
            }
            divisible("--requests", timing.requests, part)?;
            divisible("--connect-rate", self.connecting.rate_per_s, part)?;
            self.connecting.rate_per_s = self.connecting.rate_per_s.map(|rate| part.share(rate));
            self.measuring.abort_on.iter_mut().for_each(|condition| condition.divide(clients.fraction()));
        }
        let plan = Plan {
            against: self.against,
            clients,
            threads,
            load,
            stages: self.stages,
            pipeline,
            seed: self.seed,
            dialogue,
            connecting: self.connecting,
            tls,
            timing,
            timeouts: self.timeouts,
            measuring: self.measuring,
        };
        match (self.part, plan.timing.requests) {
            (Some(part), Some(requests)) if plan.requests() == Some(0) => {
                Err(PlanError::EmptyPart { requests, part })
            }
            _ => Ok(plan),
        }
    }
}

impl Request {
    fn tls(&self) -> Result<Option<TlsPlan>, TlsError> {
        let Some(request) = &self.tls else { return Ok(None) };
        let plan = request.plan()?;
        match &self.against {
            Against::OwnServer(_) => return Err(TlsError::OwnServer { with_commands: false }),
            Against::Targets(_) if self.measuring.kernel_timestamps => {
                return Err(TlsError::KernelTimestamps);
            }
            Against::Targets(targets) => {
                targets.iter().try_for_each(|target| plan.name_of(target).map(drop))?;
            }
        }
        Ok(Some(plan))
    }
}

/// Checks that loadgen's own server can answer in a protocol.
///
/// # Errors
/// [`PlanError::OwnServerProtocol`].
pub(crate) fn echoed(protocol: &'static str) -> Result<(), PlanError> {
    if ECHOED.contains(&protocol) { Ok(()) } else { Err(PlanError::OwnServerProtocol(protocol)) }
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

/// Checks that clients can connect from these addresses to a server that loadgen starts at this address.
///
/// # Errors
/// [`PlanError::SourceFamily`].
pub(crate) fn fitting_started(sources: &[IpAddr], address: IpAddr) -> Result<(), PlanError> {
    fitting_family(sources, address, &format!("a server that loadgen starts on {address}"))
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
    if let Some(speed) = request.replay {
        return replay(&request.dialogue.content, speed);
    }
    let arrival = request.arrival.unwrap_or_default();
    if let Some(stages) = &request.stages {
        check_stages(request)?;
        let course = Arc::new(Course::new(stages, request.timing.warmup));
        return Ok(Load::Open { pace: Pace::Stages(course), arrival });
    }
    match (request.rate, request.think, request.arrival) {
        (Some(_), Some(_), _) => Err(PlanError::ThinkInOpenLoop),
        (None, _, Some(_)) => Err(PlanError::ArrivalInClosedLoop),
        (None, think, None) => Ok(Load::Closed { think: think.unwrap_or_default() }),
        (Some(rate), None, _) if !(Rate::MIN..=Rate::MAX).contains(&rate) => Err(PlanError::RateRange(rate)),
        (Some(rate), None, _) => Ok(Load::Open { pace: Pace::Constant(rate), arrival }),
    }
}

/// Checks that no other flag says what the stages say.
fn check_stages(request: &Request) -> Result<(), PlanError> {
    let Timing { duration, requests, .. } = &request.timing;
    let others = [
        (request.rate.is_some(), "--rate", "each stage has its own rate"),
        (duration.is_some(), "--duration", "the measurement is as long as all stages together"),
        (requests.is_some(), "--requests", "the stages say how many requests are due"),
        (request.think.is_some(), "--think", "--stages sends requests at fixed times, not after a reply"),
        (
            !request.measuring.until.is_empty(),
            "--until",
            "the percentiles of a load that changes are no property of the server",
        ),
    ];
    match others.into_iter().find(|(is_given, ..)| *is_given) {
        Some((_, flag, reason)) => Err(PlanError::BesideStages { flag, reason }),
        None => Ok(()),
    }
}

/// Checks that each condition covers at least one interval.
fn check_conditions(measuring: &Measuring) -> Result<(), PlanError> {
    match measuring.abort_on.iter().find(|condition| condition.over < measuring.interval) {
        Some(condition) => Err(PlanError::ShortAbort {
            condition: condition.to_string(),
            interval: format_duration(measuring.interval),
        }),
        None => Ok(()),
    }
}

fn replay(content: &Content, speed: Speed) -> Result<Load, PlanError> {
    let Content::Recorded(path, recorded, _) = content else { return Err(PlanError::ReplayWithoutFile) };
    let at_ns: Option<Vec<_>> = recorded.messages.iter().map(|message| message.at_ns).collect();
    let at_ns = at_ns.ok_or_else(|| PlanError::ReplayWithoutTimes(path.clone()))?;
    Ok(Load::Replay(Arc::new(ReplayTimes::new(at_ns, speed))))
}

/// The clients of the whole load, and those of a part.
fn clients(connections: u64, part: Option<Part>) -> Result<Clients, PlanError> {
    divisible("--connections", Some(connections), part.unwrap_or(Part { number: 0, of: 1 }))?;
    let parts = part.map_or(1, |part| part.of);
    let max = CONNECTIONS_MAX.saturating_mul(parts.into()).min(u32::MAX.into());
    let whole = at_most("--connections", connections, max)?;
    Ok(Clients { whole: u32::try_from(whole).expect("the maximum number of clients fits"), part })
}

/// Checks that each part has at least one of a number.
fn divisible(flag: &'static str, given: Option<u64>, part: Part) -> Result<(), PlanError> {
    match given {
        Some(given) if given < part.of.into() => Err(PlanError::FewerThanParts { flag, given, of: part.of }),
        _ => Ok(()),
    }
}

fn check_part(against: &Against) -> Result<(), PlanError> {
    match against {
        Against::Targets(_) => Ok(()),
        Against::OwnServer(_) => Err(PlanError::PartOfOwnServer),
    }
}

/// Half the CPUs by default: the server needs the other half if both share a machine.
fn threads(requested: Option<u64>, clients: Clients, cpus: usize) -> Result<usize, PlanError> {
    let connections = u64::from(clients.here());
    let threads = match (requested, clients.part) {
        (Some(threads), Some(part)) if threads > connections => {
            return Err(PlanError::IdleThreadsOfPart { threads, clients: connections, part });
        }
        (Some(threads), None) if threads > connections => {
            return Err(PlanError::IdleThreads { threads, connections });
        }
        (Some(threads), _) => at_most("--threads", threads, THREADS_MAX)?,
        (None, _) => (cpus as u64 / 2).clamp(1, connections.min(THREADS_MAX)),
    };
    Ok(threads as usize)
}

fn at_most(flag: &'static str, given: u64, max: u64) -> Result<u64, PlanError> {
    if given > max { Err(PlanError::TooMuch { flag, given, max }) } else { Ok(given) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        load::plan::OwnServerPlan,
        protocol::{
            Framing,
            recorded::{Order, Recorded},
        },
    };

    pub(crate) fn request() -> Request {
        Request {
            against: Against::Targets(vec!["127.0.0.1:1".parse().unwrap()]),
            connections: 500,
            part: None,
            threads: None,
            rate: None,
            stages: None,
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
            tls: None,
            timing: Timing { start_at: None, warmup: Duration::ZERO, duration: None, requests: None },
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                reply: Duration::from_secs(10),
                first_reply: None,
            },
            measuring: Measuring {
                interval: Duration::from_secs(1),
                kernel_timestamps: false,
                busy_poll: false,
                calibrate: false,
                slo: Vec::new(),
                abort_on: Vec::new(),
                until: Vec::new(),
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
        let from = |sources: &[&str]| {
            let sources = sources.iter().map(|source| source.parse().unwrap()).collect();
            Request { connecting: Connecting { sources, ..Connecting::default() }, ..request() }
        };
        let unix: Address = "unix:/x".parse().unwrap();
        let own = || Against::OwnServer(OwnServerPlan { mode: "event-loop", work: None, threads: None });
        let foreign_dialogue = || DialogueRequest { protocol: "resp", ..request().dialogue };
        let calibrating = Measuring { calibrate: true, ..request().measuring };
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
            (
                Request { against: own(), ..from(&["::1"]) },
                PlanError::SourceFamily {
                    source_address: "::1".parse().unwrap(),
                    target: "a server that loadgen starts on 127.0.0.1".to_owned(),
                },
            ),
            (
                Request { against: own(), dialogue: foreign_dialogue(), ..request() },
                PlanError::OwnServerProtocol("resp"),
            ),
            (
                Request { measuring: calibrating, dialogue: foreign_dialogue(), ..request() },
                PlanError::CalibrateProtocol("resp"),
            ),
        ] {
            assert_eq!(request.plan(4).unwrap_err(), error);
        }
    }

    #[test]
    fn what_is_just_possible_is_planned() {
        let ms =
            |ms| Measuring { interval: Duration::from_millis(ms), calibrate: true, ..request().measuring };
        assert!(Request { measuring: ms(50), ..request() }.plan(4).is_ok());
        assert!(Request { measuring: ms(49), ..request() }.plan(4).is_err());
        assert!(Request { connections: 3, threads: Some(3), ..request() }.plan(4).is_ok());
        let unix = Against::Targets(vec!["unix:/x".parse().unwrap()]);
        assert!(Request { against: unix, ..request() }.plan(4).is_ok());
    }

    #[test]
    fn tls_is_planned_unless_the_server_or_another_flag_excludes_it() {
        let insecure = TlsRequest { is_insecure: true, ..TlsRequest::default() };
        let request = || Request { tls: Some(insecure.clone()), ..request() };
        assert!(request().plan(4).unwrap().tls.is_some());
        let own = Against::OwnServer(OwnServerPlan { mode: "event-loop", work: None, threads: None });
        let error = Request { against: own, ..request() }.plan(4).unwrap_err();
        assert_eq!(error, TlsError::OwnServer { with_commands: false }.into());
        let stamping = Measuring { kernel_timestamps: true, ..request().measuring };
        let error = Request { measuring: stamping, ..request() }.plan(4).unwrap_err();
        assert_eq!(error, TlsError::KernelTimestamps.into());
        let unix = Against::Targets(vec!["unix:/x".parse().unwrap()]);
        let error = Request { against: unix, ..request() }.plan(4).unwrap_err();
        assert!(matches!(error, PlanError::Tls(TlsError::NoName(_))), "{error}");
    }

    #[test]
    fn a_part_that_cannot_be_made_is_refused() {
        let part = |number, of| Part { number, of };
        let of = |request: Request, number, of| Request { part: Some(part(number, of)), ..request }.plan(4);
        let with = |requests| Timing { requests: Some(requests), ..request().timing };
        let few = PlanError::FewerThanParts { flag: "--connections", given: 3, of: 4 };
        assert_eq!(of(Request { connections: 3, ..request() }, 0, 4).unwrap_err(), few);
        let few = PlanError::FewerThanParts { flag: "--requests", given: 3, of: 4 };
        assert_eq!(of(Request { timing: with(3), ..request() }, 0, 4).unwrap_err(), few);
        let slow = Connecting { rate_per_s: Some(3), ..Connecting::default() };
        let few = PlanError::FewerThanParts { flag: "--connect-rate", given: 3, of: 4 };
        assert_eq!(of(Request { connecting: slow, ..request() }, 0, 4).unwrap_err(), few);
        let own = Against::OwnServer(OwnServerPlan { mode: "event-loop", work: None, threads: None });
        assert_eq!(of(Request { against: own, ..request() }, 0, 4).unwrap_err(), PlanError::PartOfOwnServer);
        let idle = PlanError::IdleThreadsOfPart { threads: 3, clients: 2, part: part(1, 4) };
        assert_eq!(of(Request { connections: 9, threads: Some(3), ..request() }, 1, 4).unwrap_err(), idle);
        // The first requests of the window are those of clients 1 to 4, and later those of clients 4, 0, 1 and 2.
        let rate = Some("10".parse().unwrap());
        let empty = Request {
            connections: 5,
            rate,
            timing: Timing { warmup: Duration::from_millis(100), ..with(4) },
            ..request()
        };
        assert!(of(empty.clone(), 1, 5).is_err());
        assert!(of(empty.clone(), 3, 4).is_ok());
        let late = Request { timing: Timing { warmup: Duration::from_millis(400), ..with(4) }, ..empty };
        assert_eq!(of(late, 3, 4).unwrap_err(), PlanError::EmptyPart { requests: 4, part: part(3, 4) });
    }

    #[test]
    fn a_part_may_belong_to_more_clients_than_one_machine_has() {
        let plan = |connections, of| {
            Request { connections, part: Some(Part { number: 0, of }), ..request() }.plan(4)
        };
        assert_eq!(plan(10_000_000, 10).unwrap().connections(), 1_000_000);
        let error = PlanError::TooMuch { flag: "--connections", given: 10_000_001, max: 10_000_000 };
        assert_eq!(plan(10_000_001, 10).unwrap_err(), error);
        let defaults =
            |cpus| Request { connections: 10, part: Some(Part { number: 0, of: 4 }), ..request() }.plan(cpus);
        assert_eq!(defaults(64).unwrap().threads, 3);
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
    fn stages_exclude_the_flags_that_say_the_same() {
        let stages: Option<Stages> = Some("1k/1s,0..2k/2s".parse().unwrap());
        let with = || Request { stages: stages.clone(), ..request() };
        let second = Some(Duration::from_secs(1));
        let timing = |duration, requests| Timing { duration, requests, ..request().timing };
        for (request, excluded) in [
            (Request { rate: Some(Rate::MIN), ..with() }, "--rate"),
            (Request { timing: timing(second, None), ..with() }, "--duration"),
            (Request { timing: timing(None, Some(5)), ..with() }, "--requests"),
            (Request { think: second, ..with() }, "--think"),
            (
                Request {
                    measuring: Measuring { until: vec!["p99±2%".parse().unwrap()], ..request().measuring },
                    ..with()
                },
                "--until",
            ),
        ] {
            let error = request.plan(1).unwrap_err();
            assert!(matches!(error, PlanError::BesideStages { flag, .. } if flag == excluded), "{error}");
        }
        let plan = Request { arrival: Some(Arrival::Poisson), ..with() }.plan(1).unwrap();
        assert_eq!(plan.timing.duration, Some(Duration::from_secs(3)));
        // 1,000 in the first second, and as many in each of the next two.
        assert_eq!((plan.rate_per_s(), plan.mean_rate_per_s(1_000_000_000)), (Some(1_000.0), Some(1_000.0)));
    }

    #[test]
    fn a_condition_covers_at_least_one_interval() {
        let with = |over: &str| {
            let abort_on = vec![format!("p99>5ms/{over}").parse().unwrap()];
            Request { measuring: Measuring { abort_on, ..request().measuring }, ..request() }.plan(1)
        };
        assert!(with("1s").is_ok());
        let error = with("999ms").unwrap_err().to_string();
        assert!(error.contains("--abort-on p99>5ms/999ms") && error.contains("at least 1s"), "{error}");
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
