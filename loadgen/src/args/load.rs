//! The arguments that describe the load: of `run`, `compare` and `sweep`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use common::units::{parse_count, parse_duration, parse_positive_count, parse_positive_duration};

use super::tls::TlsArgs;
use crate::{
    args::dialogue::DialogueArgs,
    load::slo::Slo,
    load::{
        plan::{Against, Connecting, Measuring, Timeouts, Timing},
        rate::{ParseRateError, Rate},
        request::{PlanError, Request},
        schedule::Arrival,
        stages::Stages,
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
    /// Local address that the clients connect from; may be repeated, and the clients use the addresses in turn [default: the
    /// kernel's choice]
    #[arg(long = "source", help_heading = "Load", value_name = "ADDR", value_parser = parse_source)]
    pub sources: Vec<IpAddr>,
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

    /// Let the load threads poll without sleeping: no wake-up delays a request or a reply. Each thread (-t) uses a whole CPU, which it
    /// should have to itself
    #[arg(long, help_heading = "Load")]
    pub busy_poll: bool,

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

    /// TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// The stages of the load.
#[derive(Debug, clap::Args)]
pub(crate) struct StagesArgs {
    /// Rate of all clients together over time (open loop): stages of RATE/DURATION or FROM..TO/DURATION (a linear ramp),
    /// separated by commas, as in 0..20k/30s,20k/1m,20k..2k/10s. The last slash separates the duration. The measurement is as
    /// long as the stages; the warm-up runs at the first stage's starting rate
    #[arg(long, help_heading = "Load", value_name = "STAGES")]
    pub stages: Option<Stages>,
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
            part: None,
            threads: self.threads,
            rate: self.rate,
            stages: None,
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
                sources: self.sources.clone(),
            },
            tls: self.tls.request(),
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
                busy_poll: self.busy_poll,
                calibrate: false,
                slo: self.slo.clone(),
                abort_on: Vec::new(),
                until: Vec::new(),
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

/// An address of a network interface, without a port.
fn parse_source(text: &str) -> Result<IpAddr, String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(match text.parse::<SocketAddr>() {
            Ok(with_port) => format!("a source has no port: write {}", with_port.ip()),
            Err(_) => "write an IPv4 or IPv6 address of this machine, without brackets and a port".to_owned(),
        });
    };
    let address = address.to_canonical();
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    match address {
        _ if address.is_unspecified() => Err("it is no address of a machine: remove --source, and the kernel chooses one".to_owned()),
        _ if address.is_multicast() => Err("it is a multicast address, and nothing can connect from it".to_owned()),
        _ if is_link_local => Err("a link-local address exists once for each network interface: use another address of this machine".to_owned()),
        address => Ok(address),
    }
}

/// Checks the text. The server parses it again.
fn parse_work(text: &str) -> Result<String, String> {
    text.parse::<server::Work>().map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_without_a_port() {
        for (text, shown) in [("127.0.0.5", "127.0.0.5"), ("::1", "::1"), ("::ffff:10.0.0.1", "10.0.0.1")] {
            assert_eq!(parse_source(text).unwrap().to_string(), shown);
        }
        for (text, said) in [
            ("127.0.0.5:80", "write 127.0.0.5"),
            ("[::1]:80", "write ::1"),
            ("[::1]", "without brackets"),
            ("localhost", "IPv4 or IPv6 address"),
            ("", "IPv4 or IPv6 address"),
            ("0.0.0.0", "remove --source"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
        ] {
            let error = parse_source(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
