//! The arguments of `loadgen sweep`.

use std::time::Duration;

use clap::Arg;
use common::{
    manual::{Example, Manual},
    units::{parse_positive_count, parse_positive_duration},
};

use super::{
    OutputArgs,
    load::LoadArgs,
    servers::{self, ServersArgs},
};
use crate::{
    command::{
        delivery::DeliveryRequest,
        sweep::{
            levels::{FACTOR_DEFAULT, Levels},
            plan::SweepRequest,
        },
    },
    load::{plan::Against, request::PlanError},
    subject::candidate::running::RunningServer,
};

pub(super) const MANUAL: Manual = Manual {
    notes: &[
        "A sweep raises the load in geometric steps, over a ladder of at most 64 levels. At each level, every remaining \
         server gets one turn: a new process if loadgen starts it, a warm-up, and the measurement. The order is shuffled \
         with the seed. A server leaves the ladder when it cannot keep up, returns errors, starves clients or ends early \
         at two levels in a row. The ladder also ends when the generator is the limit; that is not the server's fault.",
        "-r and -c take one number, as in every command. --rates and --connection-counts take levels, in whole numbers. \
         The requests of --rates arrive like those of independent users (Poisson) by default, because evenly spaced \
         requests hide the queues that users cause. --arrival changes this.",
        "The knee is the level with the highest power: the rate divided by the mean response time (Kleinrock 1979).",
        "With --slo, a bisection searches for the highest level that holds. It starts between the highest level of the \
         ladder that held and the lowest level above it that did not. Each level is run --repeats times. A level holds \
         if the server keeps up and meets every SLO in most of these runs. The result is a bracket: its lower end holds, \
         its upper end does not. It is as narrow as --tolerance, or wider if the runs of a level disagree.",
    ],
    exit_status: &[
        ("0", "success"),
        ("1", "a server failed, or no run was possible"),
        ("2", "bad usage"),
        ("3", "a server meets the SLOs at no level"),
        ("130, 143", "ended by a signal; the complete runs are printed"),
    ],
    examples: &[
        Example {
            what: "Every mode of loadgen's own server, from 1,000 requests per second up",
            command: "loadgen sweep",
        },
        Example { what: "A running server", command: "loadgen sweep 127.0.0.1:8080 --rates 1k..64k" },
        Example {
            what: "The highest rate that meets an SLO, for two modes with simulated work",
            command: "loadgen sweep --work sleep:1ms --modes thread-pool,tokio-task --slo 'p99<5ms'",
        },
        Example {
            what: "Three rates, for another server",
            command: "loadgen sweep --rates 1k,2k,5k --server 'mine=./my-server --port {port}' --pin",
        },
        Example {
            what: "A closed loop, from 10 clients to 10,000",
            command: "loadgen sweep --connection-counts 10..10k --modes all",
        },
    ],
};

/// The arguments of `loadgen sweep`.
#[derive(Debug, clap::Args)]
#[command(mut_args(in_a_sweep))]
pub(crate) struct SweepArgs {
    /// Running servers, each with a name if wanted: each has its own sweep
    #[arg(value_name = "[NAME=]TARGET")]
    targets: Vec<RunningServer>,

    /// The servers that loadgen starts.
    #[command(flatten)]
    servers: ServersArgs,

    /// Requests per second: FROM..TO in geometric steps, FROM.. up to the limit of the servers, or a list separated by
    /// commas
    #[arg(
        long,
        help_heading = "Levels",
        value_name = "LEVELS",
        default_value = "1k..",
        conflicts_with = "connection_counts"
    )]
    rates: Levels,
    /// Raise the number of clients instead of the rate: FROM..TO, or a list separated by commas. This is a closed loop,
    /// or an open loop with --rate
    #[arg(long, help_heading = "Levels", value_name = "LEVELS")]
    connection_counts: Option<Levels>,
    /// Factor between two levels of a range [default: 1.414, so two steps double the load]
    #[arg(long, help_heading = "Levels", value_name = "F", value_parser = parse_factor)]
    factor: Option<f64>,

    /// Number of runs at each level of the search
    #[arg(long, help_heading = "Objectives", value_name = "N", default_value = "3",
          value_parser = parse_positive_count)]
    repeats: u64,
    /// Width of the bracket at which the search ends
    #[arg(long, help_heading = "Objectives", value_name = "P%", default_value = "5%", value_parser = parse_percent)]
    tolerance: f64,

    /// The load.
    #[command(flatten)]
    load: LoadArgs,
    /// Wait up to this long for a running server to accept a connection
    #[arg(long, help_heading = "Limits", value_name = "D", value_parser = parse_positive_duration)]
    wait_for_server: Option<Duration>,
    /// Print only the report, warnings and errors
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// The output of the report.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl SweepArgs {
    /// The delivery of the report.
    pub(crate) fn delivery(&self) -> DeliveryRequest<'_> {
        DeliveryRequest { is_quiet: self.quiet, ..self.output.delivery() }
    }

    /// The sweep as requested.
    ///
    /// # Errors
    /// When the message file cannot be read.
    pub(crate) fn request(&self) -> Result<SweepRequest, PlanError> {
        let mut load = self.load.request(servers::against(&self.targets))?;
        load.against = Against::Targets(Vec::new());
        servers::limit(&mut load);
        load.timeouts.first_reply = self.wait_for_server;
        Ok(SweepRequest {
            servers: self.servers.selection(&self.targets)?,
            load,
            rates: self.rates.clone(),
            connection_counts: self.connection_counts.clone(),
            factor: self.factor.unwrap_or(FACTOR_DEFAULT),
            repeats: self.repeats,
            tolerance: self.tolerance,
            pin: self.servers.pin,
        })
    }
}

fn in_a_sweep(flag: Arg) -> Arg {
    match flag.get_id().as_str() {
        "rate" => {
            flag.help("Requests per second of all clients together, at every level of --connection-counts")
        }
        "arrival" => {
            flag.help("Distribution of the requests of --rates or --rate over time [default: poisson]")
        }
        "connections" => flag.conflicts_with("connection_counts"),
        "think" => {
            flag.help("Pause between a reply and the client's next request (only with --connection-counts)")
        }
        _ => servers::in_turns(flag),
    }
}

fn parse_factor(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("'{text}' is not a factor: write a number, as in 1.414 or 2"))
}

/// As a share from 0 to 1.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    number.map(|percent| percent / 100.0).ok_or_else(|| "write a percentage, as in 5%".to_owned())
}
