//! The validated plan of a run.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use common::{Address, units::nanoseconds};

use crate::{
    load::{
        abort::AbortOn,
        schedule::{Load, Pace},
        slo::Slo,
        stages::Stages,
        tls::TlsPlan,
    },
    protocol::dialogue::Dialogue,
};

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server under load.
    pub against: Against,
    /// Clients, at least 1. They are shared evenly among the targets.
    pub connections: u32,
    /// Load threads, from 1 to `connections`.
    pub threads: usize,
    /// The rule that makes requests due.
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
    /// The maximum number of new connections per second, of all clients together.
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
    /// Number of measured requests, at least 1. None: `duration` alone ends the window.
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
    /// Whether the same load first runs against an echo inside the generator.
    pub calibrate: bool,
    /// The objectives of the result.
    pub slo: Vec<Slo>,
    /// The conditions that end the load early.
    pub abort_on: Vec<AbortOn>,
}

impl Plan {
    /// Whether requests are due at times that do not depend on the server.
    pub(crate) fn is_open_loop(&self) -> bool {
        !matches!(self.load, Load::Closed { .. })
    }

    /// The open loop's requests per second; None in a closed loop, and in a replay whose requests are all due at once. With
    /// stages, it is the mean over the window.
    pub(crate) fn rate_per_s(&self) -> Option<f64> {
        self.mean_rate_per_s(nanoseconds(self.timing.duration.unwrap_or_default()))
    }

    /// The same for a window that ended `elapsed_ns` after its start.
    pub(crate) fn mean_rate_per_s(&self, elapsed_ns: u64) -> Option<f64> {
        match &self.load {
            Load::Open { pace: Pace::Constant(rate), .. } => Some(rate.per_s()),
            Load::Open { pace: Pace::Stages(course), .. } => Some(course.mean_per_s(0, elapsed_ns)),
            Load::Replay(times) => times.rate_per_s(),
            Load::Closed { .. } => None,
        }
    }
}
