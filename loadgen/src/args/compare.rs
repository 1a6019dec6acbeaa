//! What `loadgen compare` takes.

use std::time::Duration;

use clap::{
    Arg,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use common::units::parse_positive_count;
use server::mode::{MODES, Mode};

use super::{
    OutputArgs,
    load::{LoadArgs, OwnServerArgs},
};
use crate::{
    compare::plan::{ComparePlan, ComparePlanError, CompareRequest, ServerCommand},
    plan::{Against, Plan},
};

const EVERY: &str = "all";
const DURATION_DEFAULT: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  loadgen compare                                       every mode of loadgen's own server
  loadgen compare --modes thread-pool,tokio-task -c 5k
  loadgen compare --rate 20k --arrival poisson --pin    an open loop, servers and load on CPUs of their own
  loadgen compare --server 'mine=./my-server --port {port}' --modes tokio-task
  loadgen compare --server 'a=./a {port}' --server 'b=./b {port}' --expect echo --baseline b --format json -o ab.json

In each round every server has its turn, in an order that is shuffled from the seed: a fresh process, a warm-up, the
measured part. Each server gets the same load; see 'loadgen run --help' for what the terms mean.

A ratio is that of the medians over the rounds. Its 95% interval comes from a bootstrap over the rounds (10,000
resamples), which is approximate: with 5 rounds it is a good guide, with 3 it is too narrow, and with fewer there is
none. Where it holds 1 there is no detectable difference. Memory is what the processes do not share, where the kernel
tells (PSS). A server that starves clients, errs or cannot keep up with --rate is MARKED, and one that does not start,
dies or answers otherwise than expected FAILED, and is named with its last lines of output: neither is compared.

A COMMAND is split into words as by a shell, but no shell is run. It must serve on 127.0.0.1 at the port that stands in
the place of {port}, in the foreground, and is ended by SIGTERM, and SIGKILL two seconds later. What it starts is
measured and ended with it, unless it leaves the process group.

Exit status: 0 done, 1 a server failed, or nothing could be compared, 2 bad usage, 3 a server missed an SLO in half of
its rounds or more, 130 or 143 interrupted: what is complete is printed.";

/// The arguments of `loadgen compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_args(in_a_comparison))]
pub struct CompareArgs {
    /// Modes of loadgen's own server, parted by commas, or all [default: all, or none with --server]
    #[arg(short, long, help_heading = "Servers", value_name = "MODES", value_delimiter = ',',
          value_parser = mode_parser())]
    modes: Vec<ModeName>,
    /// Somebody's server: its name, and a command with {port} in it; repeatable
    #[arg(long = "server", help_heading = "Servers", value_name = "NAME=COMMAND")]
    servers: Vec<ServerCommand>,
    /// The name of the server that the others are compared with [default: the first]
    #[arg(long, help_heading = "Servers", value_name = "NAME")]
    baseline: Option<String>,
    /// How many turns each server has
    #[arg(long, help_heading = "Servers", value_name = "N", default_value = "5",
          value_parser = parse_positive_count)]
    rounds: u64,
    /// Give the servers and the load CPUs of their own, one for each load thread; without it they share them all
    #[arg(long, help_heading = "Servers")]
    pin: bool,
    /// Of loadgen's own servers.
    #[command(flatten)]
    own_server: OwnServerArgs,
    /// The load.
    #[command(flatten)]
    load: LoadArgs,
    /// No progress
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Where and how the result is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// One word of `--modes`.
#[derive(Clone, Copy, Debug)]
enum ModeName {
    Every,
    One(&'static Mode),
}

impl CompareArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// When it makes no sense, or the message file cannot be read.
    pub fn plan(&self, cpus: usize) -> Result<ComparePlan, ComparePlanError> {
        let mut load = self.load.request(Against::Targets(Vec::new()))?;
        if load.requests.is_none() {
            load.duration.get_or_insert(DURATION_DEFAULT);
        }
        let modes = self.modes.iter().flat_map(|name| match name {
            ModeName::Every => MODES.iter().collect(),
            ModeName::One(mode) => vec![*mode],
        });
        ComparePlan::new(CompareRequest {
            load: Plan::new(load, cpus)?,
            modes: modes.collect(),
            work: self.own_server.work.clone(),
            server_threads: self.own_server.server_threads,
            servers: self.servers.clone(),
            baseline: self.baseline.clone(),
            rounds: self.rounds,
            pin: self.pin,
        })
    }
}

/// Several turns of each of several servers are made while somebody waits.
fn in_a_comparison(flag: Arg) -> Arg {
    match flag.get_id().as_str() {
        "duration" => flag.help("Measure for so long [default: 2s, or no limit with --requests]"),
        "warmup" => flag.default_value("500ms"),
        _ => flag,
    }
}

fn mode_parser() -> impl TypedValueParser<Value = ModeName> {
    let every = PossibleValue::new(EVERY).help("every one of them");
    let modes = MODES.iter().map(|mode| PossibleValue::new(mode.name).help(mode.summary));
    PossibleValuesParser::new(modes.chain([every])).map(|name| match Mode::by_name(&name) {
        Some(mode) => ModeName::One(mode),
        None => ModeName::Every,
    })
}
