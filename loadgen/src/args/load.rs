//! What every command that makes load takes.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use common::units::{parse_count, parse_duration, parse_positive_count, parse_positive_duration};

use crate::{
    message::{Expect, SIZE_MAX},
    plan::{Against, PlanError, Request},
    schedule::Arrival,
    slo::Slo,
};

/// Between two entries of a report's intervals, where nothing else is said.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// The load, the messages and their limits.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// Clients, each with a connection of its own
    #[arg(short, long, help_heading = "Load", value_name = "N", default_value = "500",
          value_parser = parse_positive_count)]
    pub connections: u64,
    /// Measure for so long [default: 10s, or no limit with --requests]
    #[arg(short, long, help_heading = "Load", value_name = "D", value_parser = parse_positive_duration)]
    pub duration: Option<Duration>,
    /// Measure so many requests
    #[arg(short = 'n', long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub requests: Option<u64>,
    /// Load threads [default: half the CPUs]
    #[arg(short, long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub threads: Option<u64>,
    /// Requests a second, of all clients together: an open loop. Without it, each client asks as soon as it has
    /// its reply: a closed loop
    #[arg(short, long, help_heading = "Load", value_name = "N", value_parser = parse_rate)]
    pub rate: Option<u64>,
    /// How the requests of --rate are spread over time [default: constant]
    #[arg(long, help_heading = "Load", value_enum, value_name = "HOW")]
    pub arrival: Option<Arrival>,
    /// Outstanding requests of one client at most
    #[arg(short, long, help_heading = "Load", value_name = "N", default_value = "1",
          value_parser = parse_positive_count)]
    pub pipeline: u64,
    /// Pause between a reply and the client's next request; closed loop only
    #[arg(long, help_heading = "Load", value_name = "D", value_parser = parse_duration)]
    pub think: Option<Duration>,
    /// New connections a second at most
    #[arg(long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub connect_rate: Option<u64>,
    /// Connect anew after so many replies
    #[arg(long, help_heading = "Load", value_name = "N", value_parser = parse_positive_count)]
    pub requests_per_connection: Option<u64>,
    /// What everything random is drawn from: the same seed, the same load
    #[arg(long, help_heading = "Load", value_name = "N", default_value = "1", value_parser = parse_count)]
    pub seed: u64,
    /// Load before the measured part
    #[arg(short, long, help_heading = "Load", value_name = "D", default_value = "1s",
          value_parser = parse_duration)]
    pub warmup: Duration,

    /// Ask the kernel when each reply was ready to be read, to tell the server's time from the generator's own delay.
    /// TCP only; costs CPU time for each reply
    #[arg(long, help_heading = "Load")]
    pub kernel_timestamps: bool,

    /// Bytes of a message
    #[arg(short, long, help_heading = "Messages", value_name = "N", default_value = "64",
          value_parser = parse_positive_count)]
    pub size: u64,
    /// Send this file's bytes instead of numbered messages
    #[arg(long, help_heading = "Messages", value_name = "FILE", conflicts_with = "size")]
    pub message: Option<PathBuf>,
    /// What a reply must be
    #[arg(long, help_heading = "Messages", value_enum, value_name = "WHAT", default_value = "upper")]
    pub expect: Expect,

    /// What the result must be, as in 'p99<5ms'; repeatable. There are pN (any percentile, of the response time), mean,
    /// max, errors ('errors<0.1%'), rate ('rate>=20k') and jain ('jain>=0.9')
    #[arg(long, help_heading = "Objectives", value_name = "SLO")]
    pub slo: Vec<Slo>,

    /// For a connection to be established
    #[arg(long, help_heading = "Limits", value_name = "D", default_value = "5s",
          value_parser = parse_positive_duration)]
    pub connect_timeout: Duration,
    /// For a reply, from the writing of its request
    #[arg(long, help_heading = "Limits", value_name = "D", default_value = "10s",
          value_parser = parse_positive_duration)]
    pub timeout: Duration,
}

/// What a server of loadgen's own does.
#[derive(Debug, clap::Args)]
pub struct OwnServerArgs {
    /// What a server of loadgen's own does for each read: none, sleep:D, cpu:D or block:D
    #[arg(long, help_heading = "Own server", value_name = "WORK", value_parser = parse_work)]
    pub work: Option<String>,
    /// Threads of a server of loadgen's own, where its model has them
    #[arg(long, help_heading = "Own server", value_name = "N", value_parser = parse_positive_count)]
    pub server_threads: Option<u64>,
}

impl LoadArgs {
    /// What is asked for, of that server.
    ///
    /// # Errors
    /// When the message file cannot be read.
    pub fn request(&self, against: Against) -> Result<Request, PlanError> {
        let message = self.message.clone().map(|path| read_message(&path).map(|bytes| (path, bytes.into())));
        Ok(Request {
            against,
            connections: self.connections,
            threads: self.threads,
            rate_per_s: self.rate,
            arrival: self.arrival,
            think: self.think,
            pipeline: self.pipeline,
            connect_rate_per_s: self.connect_rate,
            requests_per_connection: self.requests_per_connection,
            seed: self.seed,
            size: self.size,
            message: message.transpose()?,
            expect: self.expect,
            warmup: self.warmup,
            duration: self.duration,
            requests: self.requests,
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            wait_for_server: None,
            start_at: None,
            interval: INTERVAL_DEFAULT,
            kernel_timestamps: self.kernel_timestamps,
            calibrate: false,
            slo: self.slo.clone(),
        })
    }
}

fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("it must be at least 1; without --rate each client asks as soon as it can".to_owned()),
        rate => Ok(rate),
    }
}

/// The server reads it again; here it is only known to be right.
fn parse_work(text: &str) -> Result<String, String> {
    text.parse::<server::work::Work>().map(|_| text.to_owned())
}

/// Reads at most one byte more than a message may have: the plan then says that it is too much.
fn read_message(path: &Path) -> Result<Vec<u8>, PlanError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| PlanError::UnreadableMessage { path: path.to_owned(), reason: error.to_string() })?;
    Ok(bytes)
}
