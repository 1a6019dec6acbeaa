//! The validated plan of a run.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use common::{Address, units::nanoseconds};

use crate::{
    load::{
        abort::AbortOn,
        clients::Clients,
        schedule::{
            Load, Pace, Place,
            budget::{self, Budget},
        },
        slo::Slo,
        stages::Stages,
        tls::TlsPlan,
        until::Until,
    },
    protocol::dialogue::Dialogue,
};

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server under load.
    pub against: Against,
    /// The clients of the load, and those of this generator. They are shared evenly among the targets.
    pub clients: Clients,
    /// Load threads, from 1 to the number of clients of this generator.
    pub threads: usize,
    /// The rule that makes requests due, for all clients of the load.
    pub load: Load,
    /// The stages of an open loop. `load` has their course.
    pub stages: Option<Stages>,
    /// The maximum number of outstanding requests per client, at least 1.
    pub pipeline: usize,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The requests, and the check of their replies.
    pub dialogue: Dialogue,
    /// How clients connect.
    pub connecting: Connecting,
    /// How clients use TLS. None: without TLS.
    pub tls: Option<TlsPlan>,
    /// When the load begins and ends. At least one of `duration` and `requests` is set.
    pub timing: Timing,
    /// How long a client waits.
    pub timeouts: Timeouts,
    /// The measurement, and the objectives of the result.
    pub measuring: Measuring,
}

/// The server under load.
#[derive(Clone, Debug)]
pub(crate) enum Against {
    /// Running servers, at least one.
    Targets(Vec<Address>),
    /// A server that loadgen starts, and ends after the run.
    OwnServer(OwnServerPlan),
}

/// A server that loadgen starts.
#[derive(Clone, Debug)]
pub(crate) struct OwnServerPlan {
    /// The name of its concurrency model.
    pub mode: &'static str,
    /// Its `--work`.
    pub work: Option<String>,
    /// Its `--threads`.
    pub threads: Option<u64>,
}

/// How clients connect and reconnect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connecting {
    /// The maximum number of new connections per second, of all clients of this generator together.
    pub rate_per_s: Option<u64>,
    /// The number of replies after which a client reconnects.
    pub requests_per_connection: Option<u64>,
    /// The local addresses that the clients connect from, in turn. Empty: the kernel chooses. All are of the family of the
    /// targets.
    pub sources: Vec<IpAddr>,
}

/// When the load begins and ends.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// The wall-clock time at which the load begins. None: as soon as every client has tried to connect.
    pub start_at: Option<SystemTime>,
    /// Length of the load before the measured window.
    pub warmup: Duration,
    /// Length of the measured window. None: it lasts until `requests` have ended.
    pub duration: Option<Duration>,
    /// Number of measured requests of the whole load, at least 1. None: `duration` alone ends the window.
    pub requests: Option<u64>,
}

/// How long a client waits.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// For establishing a connection.
    pub connect: Duration,
    /// For a complete reply, from the write of its request.
    pub reply: Duration,
    /// For the server's first reply before the run. None: one attempt.
    pub first_reply: Option<Duration>,
}

/// The measurement, and the objectives of the result.
#[derive(Clone, Debug)]
pub(crate) struct Measuring {
    /// Length of an interval of the report, and time between two lines of progress.
    pub interval: Duration,
    /// Whether the kernel's time stamps of replies are used.
    pub kernel_timestamps: bool,
    /// Whether the load threads poll without sleeping.
    pub busy_poll: bool,
    /// Whether the same load also runs against an echo inside the generator.
    pub calibrate: bool,
    /// The objectives of the result.
    pub slo: Vec<Slo>,
    /// The conditions that end the load early.
    pub abort_on: Vec<AbortOn>,
    /// The precision that ends the load. All of them must be reached.
    pub until: Vec<Until>,
}

impl Plan {
    /// Whether requests are due at times that do not depend on the server.
    pub(crate) fn is_open_loop(&self) -> bool {
        !matches!(self.load, Load::Closed { .. })
    }

    /// The clients of this generator.
    pub(crate) fn connections(&self) -> u32 {
        self.clients.here()
    }

    /// The place of a client, by its number in the whole load.
    pub(crate) fn place(&self, client: u32) -> Place {
        Place { client, clients: self.clients.whole, pipeline: self.pipeline, seed: self.seed }
    }

    /// What each load thread may begin in the window. Without a number of requests, the duration alone ends the window.
    pub(crate) fn budgets(&self) -> Vec<Budget> {
        let Some(requests) = self.timing.requests else { return vec![Budget::UNLIMITED; self.threads] };
        budget::budgets(&self.load, requests, self.timing.warmup, self.clients, self.threads, self.seed)
    }

    /// The maximum number of requests in the window of this generator.
    pub(crate) fn requests(&self) -> Option<u64> {
        let whole = self.timing.requests?;
        match self.clients.part {
            Some(_) => Some(self.budgets().iter().map(|budget| budget.requests).sum()),
            None => Some(whole),
        }
    }

    /// The open loop's requests per second of this generator; None in a closed loop, and in a replay whose requests are all due
    /// at once. With stages, it is the mean over the window.
    pub(crate) fn rate_per_s(&self) -> Option<f64> {
        self.mean_rate_per_s(nanoseconds(self.timing.duration.unwrap_or_default()))
    }

    /// The same for a window that ended `elapsed_ns` after its start.
    pub(crate) fn mean_rate_per_s(&self, elapsed_ns: u64) -> Option<f64> {
        Some(self.rate_of_whole(elapsed_ns)? * self.rate_share())
    }

    /// The rate of the whole load, see [`rate_per_s`](Self::rate_per_s).
    pub(crate) fn whole_rate_per_s(&self) -> Option<f64> {
        self.rate_of_whole(nanoseconds(self.timing.duration.unwrap_or_default()))
    }

    /// The share of the rate of the whole load that this generator has, from 0 to 1. Each client has the same share of a rate.
    /// The clients of a replay take its requests in turn, so some may have one more.
    pub(crate) fn rate_share(&self) -> f64 {
        match &self.load {
            Load::Replay(times) => {
                self.clients.before(times.requests().into()) as f64 / times.requests() as f64
            }
            Load::Open { .. } | Load::Closed { .. } => self.clients.fraction(),
        }
    }

    fn rate_of_whole(&self, elapsed_ns: u64) -> Option<f64> {
        match &self.load {
            Load::Open { pace: Pace::Constant(rate), .. } => Some(rate.per_s()),
            Load::Open { pace: Pace::Stages(course), .. } => Some(course.mean_per_s(0, elapsed_ns)),
            Load::Replay(times) => times.rate_per_s(),
            Load::Closed { .. } => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use common::units::nanoseconds;

    use super::*;
    use crate::{
        load::{
            part::Part,
            request::{Request, tests::request},
            schedule::{Arrival, Schedule},
        },
        protocol::{
            dialogue::{Content, DialogueRequest},
            recorded::{Order, Recorded},
        },
    };

    /// A client, the number of its request, and when that is due after the start of the load.
    type Due = (u32, u64, u64);

    const WARMUP: Duration = Duration::from_millis(130);
    const NS_PER_S: u64 = 1_000_000_000;

    fn part(number: u32, of: u32) -> Part {
        Part { number, of }
    }

    /// The requests of a generator in the warm-up and in the window, which lasts at most 3 s.
    fn due(plan: &Plan) -> Vec<Due> {
        let warmup_ns = nanoseconds(plan.timing.warmup);
        let end_ns = warmup_ns + 3 * NS_PER_S;
        let mut all = Vec::new();
        for (thread, budget) in plan.budgets().into_iter().enumerate() {
            for (place, client) in plan.clients.of_thread(thread, plan.threads).enumerate() {
                let mut schedule = Schedule::new(&plan.load, plan.place(client), 0);
                let (mut number, mut left) = (0, budget.of_client(place));
                let may_begin = |due_ns: u64, left: u64| due_ns < warmup_ns || due_ns < end_ns && left > 0;
                while let Some(due_ns) = schedule.peek().filter(|due_ns| may_begin(*due_ns, left)) {
                    all.push((client, number, due_ns));
                    schedule.pop();
                    number += 1;
                    left -= u64::from(due_ns >= warmup_ns);
                }
            }
        }
        all.sort_unstable();
        all
    }

    /// Open loops of 37 clients, each with its name.
    pub(crate) fn loads() -> Vec<(&'static str, Request)> {
        let open = |rate: &str, arrival| Request {
            connections: 37,
            threads: Some(2),
            rate: Some(rate.parse().unwrap()),
            arrival: Some(arrival),
            seed: 11,
            timing: Timing { warmup: WARMUP, duration: Some(Duration::from_secs(3)), ..request().timing },
            ..request()
        };
        let counted = |arrival| Request {
            timing: Timing { warmup: WARMUP, requests: Some(1_003), ..request().timing },
            ..open("997", arrival)
        };
        let staged = |arrival| Request {
            rate: None,
            stages: Some("0..2k/1s,2k/500ms,0/500ms,700..20/1s".parse().unwrap()),
            timing: Timing { warmup: WARMUP, ..request().timing },
            ..open("1", arrival)
        };
        let lines: String = (0..500)
            .map(|line| format!("{{\"message\": \"{line}\", \"at_s\": {}}}\n", f64::from(line) * 0.005))
            .collect();
        let recorded = Recorded::read(lines.as_bytes()).unwrap();
        let replay = Request {
            rate: None,
            arrival: None,
            replay: Some("2".parse().unwrap()),
            dialogue: DialogueRequest {
                content: Content::Recorded("file".into(), recorded, Order::InOrder),
                ..request().dialogue
            },
            timing: request().timing,
            ..open("1", Arrival::Constant)
        };
        vec![
            ("constant", open("997", Arrival::Constant)),
            ("Poisson", open("997", Arrival::Poisson)),
            ("constant, -n", counted(Arrival::Constant)),
            ("Poisson, -n", counted(Arrival::Poisson)),
            ("stages", staged(Arrival::Constant)),
            ("stages, Poisson", staged(Arrival::Poisson)),
            ("replay", replay),
        ]
    }

    #[test]
    fn the_parts_send_what_one_generator_would_send() {
        for (name, load) in loads() {
            let whole = load.clone().plan(4).unwrap();
            let expected = due(&whole);
            assert!(expected.len() > 400, "{name}: {}", expected.len());
            // The division into threads changes nothing either.
            assert_eq!(
                due(&Request { threads: Some(5), ..load.clone() }.plan(4).unwrap()),
                expected,
                "{name}"
            );
            for of in [1, 2, 4, 9] {
                let plan = |number| Request { part: Some(part(number, of)), ..load.clone() }.plan(4).unwrap();
                let plans: Vec<_> = (0..of).map(plan).collect();
                let mut union: Vec<_> = plans.iter().flat_map(due).collect();
                union.sort_unstable();
                assert_eq!(union, expected, "{name} in {of} parts");
            }
        }
    }
}
