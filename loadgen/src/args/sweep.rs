//! What `loadgen sweep` takes.

use std::time::Duration;

use clap::Arg;
use common::{
    Address,
    units::{parse_positive_count, parse_positive_duration},
};

use super::{
    OutputArgs,
    load::LoadArgs,
    servers::{self, ServersArgs},
};
use crate::{
    contestant::Invitation,
    plan::Against,
    sweep::{
        levels::Levels,
        plan::{SweepPlan, SweepPlanError, SweepRequest},
    },
};

const EXAMPLES: &str = "\
Examples:
  loadgen sweep                                            every mode of loadgen's own server, from 1,000/s up
  loadgen sweep 127.0.0.1:8080 --rates 1k..64k             a server that is there
  loadgen sweep --work sleep:1ms --modes thread-pool,tokio-task --slo 'p99<5ms'
  loadgen sweep --rates 1k,2k,5k --server 'mine=./my-server --port {port}' --pin
  loadgen sweep --connection-counts 10..10k --modes all    a closed loop, from 10 clients to 10,000

The ladder: at each level, in geometric steps, every server that is still in has its turn, in an order that is shuffled
from the seed: a fresh process where loadgen starts it, a warm-up, the measured part. A server is out when it has not
kept up, erred, starved clients or died at two levels running. Where the generator itself was the limit, that ends the
ladder, and the server is not blamed for it. A ladder has at most 64 levels.

-r and -c take one number, as in every command; --rates and --connection-counts take levels. The requests of --rates are
those of independent users, Poisson arrivals, where --arrival does not say otherwise: evenly spaced ones hide the queues
that users make.

The knee is the level with the highest power: the rate divided by the mean response time (Kleinrock 1979).

With --slo, the highest level that holds is searched for, by bisection between the highest level of the ladder that
held and the lowest above it that did not. Each level is run --repeats times, and holds where the server keeps up and
meets every SLO in most of its runs. The result is a bracket: its lower end holds, its upper one does not. It is as
narrow as --tolerance, or wider where the runs of a level disagree.

Exit status: 0 done, 1 a server failed, or nothing could be swept, 2 bad usage, 3 of a server no level is known to
hold the SLOs, 130 or 143 interrupted: what is complete is printed.";

/// The arguments of `loadgen sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_args(in_a_sweep))]
pub struct SweepArgs {
    /// Servers that are there already, each by itself
    #[arg(value_name = "TARGET")]
    targets: Vec<Address>,

    /// The servers that are started.
    #[command(flatten)]
    servers: ServersArgs,

    /// Offered requests a second: FROM..TO in geometric steps, FROM.. as far as the servers carry, or each by itself,
    /// parted by commas
    #[arg(
        long,
        help_heading = "Levels",
        value_name = "LEVELS",
        default_value = "1k..",
        conflicts_with = "connection_counts"
    )]
    rates: Levels,
    /// Sweep the clients instead: FROM..TO, or each by itself, parted by commas; a closed loop, or one of --rate
    #[arg(long, help_heading = "Levels", value_name = "LEVELS")]
    connection_counts: Option<Levels>,
    /// From one level of a range to the next [default: 1.414, so that two steps double the load]
    #[arg(long, help_heading = "Levels", value_name = "F")]
    factor: Option<f64>,

    /// How many runs decide on a level of the search
    #[arg(long, help_heading = "Objectives", value_name = "N", default_value = "3",
          value_parser = parse_positive_count)]
    repeats: u64,
    /// How near to each other the ends of the search's bracket are to be
    #[arg(long, help_heading = "Objectives", value_name = "P%", default_value = "5%", value_parser = parse_percent)]
    tolerance: f64,

    /// The load.
    #[command(flatten)]
    load: LoadArgs,
    /// Wait so long for a server that is there to answer at all
    #[arg(long, help_heading = "Limits", value_name = "D", value_parser = parse_positive_duration)]
    wait_for_server: Option<Duration>,
    /// No progress
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Where and how the result is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl SweepArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// When it makes no sense, or the message file cannot be read.
    pub fn plan(&self, cpus: usize) -> Result<SweepPlan, SweepPlanError> {
        let mut load = self.load.request(Against::Targets(Vec::new()))?;
        servers::limit(&mut load);
        load.wait_for_server = self.wait_for_server;
        let request = SweepRequest {
            servers: Invitation { targets: self.targets.clone(), ..self.servers.invitation() },
            load,
            rates: self.rates.clone(),
            connection_counts: self.connection_counts.clone(),
            factor: self.factor.unwrap_or(crate::sweep::levels::FACTOR_DEFAULT),
            repeats: self.repeats,
            tolerance: self.tolerance,
            pin: self.servers.pin,
        };
        SweepPlan::new(request, cpus)
    }
}

fn in_a_sweep(flag: Arg) -> Arg {
    match flag.get_id().as_str() {
        "rate" => {
            flag.help("Requests a second, of all clients together, at every level of --connection-counts")
        }
        "arrival" => {
            flag.help("How the requests of --rates or --rate are spread over time [default: poisson]")
        }
        "connections" => flag.conflicts_with("connection_counts"),
        "think" => {
            flag.help("Pause between a reply and the client's next request; only with --connection-counts")
        }
        _ => servers::in_turns(flag),
    }
}

/// As a part of 1.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    number.map(|percent| percent / 100.0).ok_or_else(|| "write it in percent, as in 5%".to_owned())
}
