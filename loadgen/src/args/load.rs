//! The arguments that describe the load: of `run`, `compare` and `sweep`.

use std::time::Duration;

use common::units::{parse_count, parse_duration, parse_positive_count, parse_positive_duration};

use crate::{
    args::dialogue::DialogueArgs,
    load::slo::Slo,
    load::{
        plan::{Against, Connecting, Measuring, Timeouts, Timing},
        rate::{ParseRateError, Rate},
        request::{PlanError, Request},
        schedule::Arrival,
    },
};

/// The default length of an interval of a report.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// The load, the messages and their limits.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Clients, each with its own connection
    #[arg(short, long, help_heading = "Load", value_name = "N", default_value = "500",
          value_parser = parse_positive_count)]
    pub connections: u64,
    /// Length of the measurement [default: 10s, or no limit with --requests]
    #[arg(short, long, help_heading = "Load", value_name = "D", value_parser = parse_positive_duration)]
    pub duration: Option<Duration>,
    /// Number of requests to measure
    #[arg(short = 'n', long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub requests: Option<u64>,
    /// Load threads [default: half the CPUs]
    #[arg(short, long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub threads: Option<u64>,
    /// Requests per second of all clients together (open loop), as in 20k, 0.5, 30/min or 100/h. Without it, each client
    /// sends as soon as it has its reply (closed loop)
    #[arg(short, long, help_heading = "Load", value_name = "RATE", value_parser = parse_rate)]
    pub rate: Option<Rate>,
    /// Distribution of the requests of --rate over time [default: constant]
    #[arg(long, help_heading = "Load", value_enum, value_name = "HOW")]
    pub arrival: Option<Arrival>,
    /// Maximum number of outstanding requests per client
    #[arg(short, long, help_heading = "Load", value_name = "N", default_value = "1",
          value_parser = parse_positive_count)]
    pub pipeline: u64,
    /// Pause between a reply and the client's next request (closed loop only)
    #[arg(long, help_heading = "Load", value_name = "D", value_parser = parse_duration)]
    pub think: Option<Duration>,
    /// Maximum number of new connections per second
    #[arg(long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub connect_rate: Option<u64>,
    /// Reconnect after this number of replies
    #[arg(long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub requests_per_connection: Option<u64>,
    /// Seed of all random numbers; the same seed gives the same load
    #[arg(long, help_heading = "Load", value_name = "N", default_value = "1", value_parser = parse_count)]
    pub seed: u64,
    /// Length of the load before the measurement
    #[arg(short, long, help_heading = "Load", value_name = "D", default_value = "1s",
          value_parser = parse_duration)]
    pub warmup: Duration,

    /// Use the kernel's time stamps of replies to separate the server's time from the generator's own delay. TCP only;
    /// costs CPU time for each reply
    #[arg(long, help_heading = "Load")]
    pub kernel_timestamps: bool,

    /// The requests and replies.
    #[command(flatten)]
    pub dialogue: DialogueArgs,

    /// Objective for the result, as in 'p99<5ms'; may be repeated. The metrics are pN (any percentile of the response
    /// time), mean, max, errors ('errors<0.1%'), rate ('rate>=20k') and jain ('jain>=0.9')
    #[arg(long, help_heading = "Objectives", value_name = "SLO")]
    pub slo: Vec<Slo>,

    /// Time limit for establishing a connection
    #[arg(long, help_heading = "Limits", value_name = "D", default_value = "5s",
          value_parser = parse_positive_duration)]
    pub connect_timeout: Duration,
    /// Time limit for a reply, from the write of its request
    #[arg(long, help_heading = "Limits", value_name = "D", default_value = "10s",
          value_parser = parse_positive_duration)]
    pub timeout: Duration,
}

/// The configuration of loadgen's own server.
#[derive(Debug, clap::Args)]
pub(crate) struct OwnServerArgs {
    /// Simulated work of loadgen's own server for each read: none, sleep:D, cpu:D or block:D
    #[arg(long, help_heading = "Own server", value_name = "WORK", value_parser = parse_work)]
    pub work: Option<String>,
    /// Worker threads of loadgen's own server, in the modes that have workers
    #[arg(long, help_heading = "Own server", value_name = "N", value_parser = parse_positive_count)]
    pub server_threads: Option<u64>,
}

impl LoadArgs {
    /// The run against `against` as requested. Flags of `run` alone have their defaults.
    ///
    /// # Errors
    /// When a file with messages cannot be read.
    pub(crate) fn request(&self, against: Against) -> Result<Request, PlanError> {
        Ok(Request {
            connections: self.connections,
            threads: self.threads,
            rate: self.rate,
            arrival: self.arrival,
            think: self.think,
            replay: None,
            pipeline: self.pipeline,
            seed: self.seed,
            dialogue: self.dialogue.request(&against)?,
            against,
            connecting: Connecting {
                rate_per_s: self.connect_rate,
                requests_per_connection: self.requests_per_connection,
            },
            timing: Timing {
                start_at: None,
                warmup: self.warmup,
                duration: self.duration,
                requests: self.requests,
            },
            timeouts: Timeouts { connect: self.connect_timeout, reply: self.timeout, first_reply: None },
            measuring: Measuring {
                interval: INTERVAL_DEFAULT,
                kernel_timestamps: self.kernel_timestamps,
                calibrate: false,
                slo: self.slo.clone(),
            },
        })
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|error| match error {
        ParseRateError::Zero => {
            format!("{error}; without --rate, each client sends as soon as it has its reply")
        }
        error => error.to_string(),
    })
}

/// Checks the text. The server parses it again.
fn parse_work(text: &str) -> Result<String, String> {
    text.parse::<server::Work>().map(|_| text.to_owned())
}
