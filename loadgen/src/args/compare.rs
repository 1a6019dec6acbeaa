//! The arguments of `loadgen compare`.

use std::path::PathBuf;

use common::{
    manual::{Example, Manual},
    units::parse_positive_count,
};

use super::{
    OutputArgs,
    load::{LoadArgs, StagesArgs},
    servers::{self, ServersArgs},
};
use crate::{
    command::{compare::plan::CompareRequest, delivery::DeliveryRequest, exit::FailOn},
    load::{plan::Against, request::PlanError},
    subject::candidate::running::RunningServer,
};

pub(super) const MANUAL: Manual = Manual {
    notes: &[
        "In each round, every server gets one turn: a new process, a warm-up, and the measurement. The order is \
         shuffled with the seed. Each server gets the same load; 'loadgen run --help' explains the load. With --dialogue, a \
         server gets its own requests at the same times.",
        "A ratio compares the medians over the rounds. Its 95% interval is a bootstrap over the rounds (10,000 resamples). \
         The interval is approximate: good with 5 rounds, too narrow with 3, and not shown with fewer. If it contains 1, \
         there is no detectable difference. Memory is the proportional set size (PSS) if the kernel reports it.",
        "A server that starves clients, returns errors or cannot keep up with --rate is MARKED. A server that does not \
         start, ends early or gives unexpected replies has FAILED, and is shown with its last lines of output. Neither \
         is compared.",
        "A COMMAND is split into words like in a shell, but runs without a shell; write sh -c '...' if it needs one. The \
         server must listen at the port that replaces {port}, on 127.0.0.1 or on --server-address, which replaces {host}, and \
         stay in the foreground. loadgen ends it with SIGTERM, and two seconds later with SIGKILL. All processes of its process \
         group are measured and ended with it.",
        "--server-prefix starts the servers on another host, by a command in front of theirs: 'ip netns exec NAME', or 'ssh HOST'. \
         loadgen's own server needs this program at the same path there. The CPU and memory of a server that is no process of \
         this machine are unknown. A server behind ssh ends with its connection; behind another command, it must end with the \
         processes that loadgen started.",
        "--against matches servers by name, and a single run with the only server. The loads must be the same. A regression is \
         an interval of today's value as a multiple of the kept one that lies wholly beyond the tolerance: 5% allows 1.05 times \
         the p50, the p99 and the CPU per request, and replies per second divided by 1.05. Memory and context switches are \
         shown and never a regression. Without 3 rounds on each side there is no interval.",
    ],
    exit_status: &[
        ("0", "success"),
        ("1", "a server failed, or nothing could be compared"),
        ("2", "bad usage"),
        ("3", "a server missed an SLO in at least half of its rounds, or regressed (--against)"),
        ("4", "a round's verdict is one that --fail-on names"),
        ("130, 143", "ended by a signal; the complete rounds are printed"),
    ],
    examples: &[
        Example { what: "Every mode of loadgen's own server", command: "loadgen compare" },
        Example {
            what: "Two modes, with 5,000 clients",
            command: "loadgen compare --modes thread-pool,tokio-task -c 5k",
        },
        Example {
            what: "An open loop, with separate CPUs for the servers and the load",
            command: "loadgen compare --rate 20k --arrival poisson --pin",
        },
        Example {
            what: "Another server and one of loadgen's own",
            command: "loadgen compare --server 'mine=./my-server --port {port}' --modes tokio-task",
        },
        Example {
            what: "Two other servers, and the result as JSON",
            command: "loadgen compare --server 'a=./a {port}' --server 'b=./b {port}' --expect echo --baseline b -o ab.json \
                      --format json",
        },
        Example {
            what: "Two servers with different protocols",
            command: "loadgen compare --server 'redis=redis-server --port {port} --save \"\"' \
                      --server 'memcached=memcached -U 0 -l 127.0.0.1 -p {port}' \
                      --dialogue 'redis=--protocol resp --message \"GET key\"' \
                      --dialogue 'memcached=--protocol memcached --message \"get key\"'",
        },
        Example {
            what: "Servers that are already running, with names for the report",
            command: "loadgen compare old=10.0.0.2:8080 new=10.0.0.3:8080 --rate 5k",
        },
        Example {
            what: "Servers on another host, which loadgen starts by ssh",
            command: "loadgen compare --server-prefix 'ssh far' --server-address 10.0.0.2 --server 'mine=./my-server \
                      {host}:{port}' --modes event-loop",
        },
        Example {
            what: "Hold today's server against a kept result, and fail on a regression (exit code 3)",
            command: "loadgen compare --modes tokio-task --against kept.json --tolerance 10% --fail-on invalid",
        },
    ],
};

/// The arguments of `loadgen compare`.
#[derive(Debug, clap::Args)]
#[command(mut_args(servers::in_turns))]
pub(crate) struct CompareArgs {
    /// Running servers, each with a name if wanted
    #[arg(value_name = "[NAME=]TARGET")]
    targets: Vec<RunningServer>,
    /// The servers that loadgen starts.
    #[command(flatten)]
    servers: ServersArgs,
    /// Name of the server to compare the others with [default: the first]
    #[arg(long, help_heading = "Servers", value_name = "NAME")]
    baseline: Option<String>,
    /// Number of turns of each server
    #[arg(long, help_heading = "Servers", value_name = "N", default_value = "5",
          value_parser = parse_positive_count)]
    rounds: u64,
    /// The load.
    #[command(flatten)]
    load: LoadArgs,
    /// The stages.
    #[command(flatten)]
    stages: StagesArgs,
    /// Hold each server against its kept rounds in this file, a result of 'loadgen compare --format json' or of one 'loadgen
    /// run'. A regression causes exit code 3
    #[arg(long, help_heading = "Earlier result", value_name = "FILE")]
    against: Option<PathBuf>,
    /// Share by which a server may be worse than it was, in percent [default: 5%]
    #[arg(long, help_heading = "Earlier result", value_name = "PERCENT", value_parser = parse_tolerance)]
    tolerance: Option<f64>,
    /// Print only the report, warnings and errors
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Verdicts of a round that cause exit code 4
    #[arg(long, help_heading = "Output", value_enum, value_name = "VERDICT", default_value = "never")]
    pub fail_on: FailOn,
    /// The output of the report.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl CompareArgs {
    /// The delivery of the report.
    pub(crate) fn delivery(&self) -> DeliveryRequest<'_> {
        DeliveryRequest { is_quiet: self.quiet, ..self.output.delivery() }
    }

    /// The comparison as requested.
    ///
    /// # Errors
    /// When the message file cannot be read.
    pub(crate) fn request(&self) -> Result<CompareRequest, PlanError> {
        let mut load = self.load.request(servers::against(&self.targets))?;
        load.against = Against::Targets(Vec::new());
        load.stages = self.stages.stages.clone();
        servers::limit(&mut load);
        Ok(CompareRequest {
            load,
            servers: self.servers.selection(&self.targets)?,
            baseline: self.baseline.clone(),
            rounds: self.rounds,
            pin: self.servers.pin,
            against: self.against.clone(),
            tolerance: self.tolerance,
        })
    }
}

/// A percentage from 0% to 10,000%, as a share.
fn parse_tolerance(text: &str) -> Result<f64, String> {
    const PERCENT_MAX: f64 = 10_000.0;
    let digits = text.strip_suffix('%').map(str::trim_end);
    let is_plain = |digits: &&str| {
        digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    match digits.filter(is_plain).and_then(|digits| digits.parse::<f64>().ok()) {
        Some(percent) if percent <= PERCENT_MAX => Ok(percent / 100.0),
        Some(_) => Err("it is too large: the maximum is 10000%".to_owned()),
        None => Err("write a percentage, as in 5% or 0.5%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_is_a_percentage() {
        for (text, share) in [("5%", 0.05), ("0%", 0.0), ("0.5 %", 0.005), ("400%", 4.0)] {
            assert_eq!(parse_tolerance(text), Ok(share), "{text}");
        }
        for text in ["", "5", "%", "-5%", "5%%", "1e3%", "inf%", "nan%", ".5%", "1.2.3%", "10001%"] {
            assert!(parse_tolerance(text).is_err(), "{text}");
        }
    }
}
