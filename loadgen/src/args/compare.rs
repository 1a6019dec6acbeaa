//! What `loadgen compare` takes.

use common::units::parse_positive_count;

use super::{
    OutputArgs,
    load::LoadArgs,
    servers::{self, ServersArgs},
};
use crate::{
    compare::plan::{ComparePlan, ComparePlanError, CompareRequest},
    plan::{Against, Plan},
};

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
#[command(mut_args(servers::in_turns))]
pub struct CompareArgs {
    /// The servers.
    #[command(flatten)]
    servers: ServersArgs,
    /// The name of the server that the others are compared with [default: the first]
    #[arg(long, help_heading = "Servers", value_name = "NAME")]
    baseline: Option<String>,
    /// How many turns each server has
    #[arg(long, help_heading = "Servers", value_name = "N", default_value = "5",
          value_parser = parse_positive_count)]
    rounds: u64,
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

impl CompareArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// When it makes no sense, or the message file cannot be read.
    pub fn plan(&self, cpus: usize) -> Result<ComparePlan, ComparePlanError> {
        let mut load = self.load.request(Against::Targets(Vec::new()))?;
        servers::limit(&mut load);
        ComparePlan::new(CompareRequest {
            load: Plan::new(load, cpus)?,
            servers: self.servers.invitation(),
            baseline: self.baseline.clone(),
            rounds: self.rounds,
            pin: self.servers.pin,
        })
    }
}
