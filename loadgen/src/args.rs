//! The command line: syntax only. What it means is the [`Plan`](crate::plan::Plan)'s.

pub mod compare;
pub mod load;
pub mod merge;
pub mod servers;
pub mod sweep;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{
    Arg, Parser, Subcommand,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use common::{Address, address::ParseAddressError, generate::Generate, units::parse_positive_duration};
use server::mode::Mode;

use self::{
    compare::CompareArgs,
    load::{LoadArgs, OwnServerArgs},
    merge::MergeArgs,
    sweep::SweepArgs,
};
use crate::{
    plan::{Against, OwnServerPlan, PlanError, Request},
    report::{FORMATS, Format, format},
    start_at,
};

const EXAMPLES: &str = "\
Examples:
  loadgen run                                500 clients against a server of its own
  loadgen run 127.0.0.1:8080 -d 30s          against a server that is there
  loadgen run -r 20k --arrival poisson       an open loop of 20,000 requests a second
  loadgen run --format json -o result.json   for machines
  loadgen compare                            every mode of the server, side by side
  loadgen sweep --slo 'p99<5ms'              how far each of them carries
  loadgen show a.json b.json                 side by side
  loadgen merge a.json b.json                two generators' results as one
  loadgen talk 127.0.0.1:8080                by hand

Exit status: 0 done, 1 failed, 2 bad usage, 3 an SLO was missed, 4 the verdict is 'invalid' (which goes before 3), 130
or 143 interrupted (which goes before both).";

const RUN_EXAMPLES: &str = "\
Examples:
  loadgen run                                   500 clients, 10 s, a server of its own
  loadgen run --mode thread-pool --work cpu:50us
  loadgen run localhost:8080 unix:/run/echo     two targets share the clients
  loadgen run localhost:8080 -r 5k -d 1m        an open loop: 5,000 requests a second
  loadgen run localhost:8080 -n 100k -p 8 -s 1k 100,000 requests, 8 outstanding each, 1,000 bytes
  loadgen run -r 5k --slo 'p99<5ms' --slo 'errors<=0%'   exits with 3 where one is missed

Durations read 250us, 10ms, 5s, 2m; numbers take k and m. Addresses are host:port, [v6]:port or unix:/path.
Variables SERVER_* reach a server of its own, except for its address and mode.";

const SHOW_EXAMPLES: &str = "\
Examples:
  loadgen show thread-pool.json tokio-task.json       side by side
  loadgen show a.json b.json --format csv             for a spreadsheet, a row each
  loadgen show result.json --hdr result               for HdrHistogram's tools and its plotter";

/// A load generator for echo servers whose numbers can be trusted.
#[derive(Parser)]
#[command(name = "loadgen", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Args {
    /// Print a man page or shell completions, and end
    #[arg(long, value_enum, value_name = "WHAT", exclusive = true)]
    pub generate: Option<Generate>,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Put load on a server, check every reply, and report
    Run(Box<RunArgs>),
    /// Put the same load on several servers in turn, and say which differ
    Compare(Box<CompareArgs>),
    /// Raise the load step by step, and say how far each server carries
    Sweep(Box<SweepArgs>),
    /// Print kept results: one in any format, or several side by side
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Add results of several generators up to one report
    Merge(MergeArgs),
    /// Talk with a server by hand, line by line
    #[command(
        after_help = "Examples:\n  loadgen talk\n  echo hello | loadgen talk 127.0.0.1:8080 --save replies"
    )]
    Talk(TalkArgs),
    /// The server, for the runs that start one of their own
    #[command(hide = true)]
    Server(Box<server::Args>),
    /// Ends a process group when loadgen is gone
    #[command(hide = true)]
    Guard,
}

/// The arguments of `loadgen run`.
#[derive(clap::Args)]
#[command(after_help = RUN_EXAMPLES)]
#[command(mut_args(without_targets))]
pub struct RunArgs {
    /// Servers, which share the clients evenly. Without one, the run starts a server of its own
    #[arg(value_name = "TARGET")]
    targets: Vec<Address>,

    /// The concurrency model of the run's own server
    #[arg(short, long, conflicts_with = "targets", help_heading = "Own server",
          value_parser = server::mode::value_parser(), default_value = server::mode::DEFAULT, value_name = "MODE")]
    mode: &'static Mode,
    /// Of the run's own server.
    #[command(flatten)]
    own_server: OwnServerArgs,
    /// The load.
    #[command(flatten)]
    load: LoadArgs,
    /// Wait so long for the server to answer at all
    #[arg(long, help_heading = "Limits", value_name = "D", value_parser = parse_positive_duration)]
    wait_for_server: Option<Duration>,
    /// Begin the load at this moment, with every client connected: 2026-11-24T12:00:00Z (UTC), or @SECONDS since 1970
    #[arg(long, help_heading = "Load", value_name = "TIME", value_parser = start_at::parse)]
    start_at: Option<SystemTime>,

    /// Put the same load on an echo inside the generator first, and say which part of each percentile is the generator's
    /// and the kernel's own. It takes as long again
    #[arg(long, help_heading = "Load")]
    calibrate: bool,

    /// Progress, and an entry of the report's intervals, each so often
    #[arg(short, long, help_heading = "Output", value_name = "D", default_value = "1s",
          value_parser = parse_positive_duration)]
    interval: Duration,
    /// No progress
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Tell Prometheus at http://ADDR/metrics how the load goes on, anew at each interval's end. Port 0 takes a free one
    #[arg(long, help_heading = "Output", value_name = "ADDR", value_parser = parse_metrics_address)]
    pub metrics: Option<Address>,
    /// Where and how the report is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where its histograms are written.
    #[command(flatten)]
    pub hdr: HdrArgs,
}

/// Where and how a report is printed.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// How the report is printed [default: what the name of --output ends in, or text]
    #[arg(long, help_heading = "Output", value_parser = format_parser(), value_name = "FORMAT")]
    format: Option<&'static Format>,
    /// Print the report there instead of to standard output
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Where the histograms of a run are written.
#[derive(Debug, clap::Args)]
pub struct HdrArgs {
    /// Write the histograms too, for HdrHistogram's tools: PREFIX.hgrm and PREFIX.service.hgrm (response and service
    /// times by percentile, in milliseconds), PREFIX.hlog (response times of each interval)
    #[arg(long = "hdr", help_heading = "Output", value_name = "PREFIX", value_parser = parse_prefix)]
    pub prefix: Option<PathBuf>,
}

/// The arguments of `loadgen show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Results of 'loadgen run --format json', or one of 'loadgen compare' or 'loadgen sweep'
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where and how they are printed; several stand side by side, in a table or as csv.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where the histograms of one are written.
    #[command(flatten)]
    pub hdr: HdrArgs,
}

/// The arguments of `loadgen talk`.
#[derive(Debug, clap::Args)]
pub struct TalkArgs {
    /// The server
    #[arg(value_name = "TARGET", default_value = "127.0.0.1:8080")]
    pub target: Address,
    /// Append the replies to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// For a reply
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse_positive_duration)]
    pub timeout: Duration,
}

impl OutputArgs {
    /// The format that was asked for: by its name, or by the ending of the file's.
    pub fn format(&self) -> &'static Format {
        let ending = || format(self.output.as_ref()?.extension()?.to_str()?);
        self.format.or_else(ending).unwrap_or(&FORMATS[0])
    }
}

impl RunArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// When the message file cannot be read.
    pub fn request(&self) -> Result<Request, PlanError> {
        let against = match self.targets.as_slice() {
            [] => Against::OwnServer(OwnServerPlan {
                mode: self.mode.name,
                work: self.own_server.work.clone(),
                threads: self.own_server.server_threads,
            }),
            targets => Against::Targets(targets.to_vec()),
        };
        Ok(Request {
            wait_for_server: self.wait_for_server,
            start_at: self.start_at,
            interval: self.interval,
            calibrate: self.calibrate,
            ..self.load.request(against)?
        })
    }
}

/// Who names targets has no server of loadgen's own.
fn without_targets(flag: Arg) -> Arg {
    match flag.get_id().as_str() {
        "work" | "server_threads" => flag.conflicts_with("targets"),
        _ => flag,
    }
}

fn parse_metrics_address(text: &str) -> Result<Address, String> {
    match text.parse().map_err(|error: ParseAddressError| error.to_string())? {
        Address::Unix(_) => Err("metrics are served over TCP only: write host:port or [v6]:port".to_owned()),
        address => Ok(address),
    }
}

/// The names of files begin with it.
fn parse_prefix(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.file_name() {
        Some(_) if !text.ends_with('/') => Ok(path),
        _ => Err("no file's name begins like that: write FOLDER/NAME or NAME".to_owned()),
    }
}

fn format_parser() -> impl TypedValueParser<Value = &'static Format> {
    let names = FORMATS.iter().map(|format| PossibleValue::new(format.name).help(format.summary));
    PossibleValuesParser::new(names)
        .map(|name| format(&name).expect("only the names of the table are possible values"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_format_is_what_was_said_or_what_the_files_name_ends_in() {
        for (args, expected) in [
            (&["-o", "report.html"][..], "html"),
            (&["-o", "report.csv"], "csv"),
            (&["-o", "a.html", "--format", "json"], "json"),
            (&["-o", "report.txt"], "text"),
            (&["-o", "html"], "text"),
            (&[], "text"),
        ] {
            let args = Args::try_parse_from(["loadgen", "show", "x"].iter().chain(args)).unwrap();
            let Some(Command::Show(show)) = args.command else { panic!("it is the command that was given") };
            assert_eq!(show.output.format().name, expected, "{:?}", show.output);
        }
    }

    #[test]
    fn a_target_and_a_server_of_its_own_exclude_each_other() {
        for flags in [["--mode", server::mode::DEFAULT], ["--work", "cpu:1us"], ["--server-threads", "2"]] {
            let args = ["loadgen", "run", "localhost:1", flags[0], flags[1]];
            assert!(Args::try_parse_from(args).is_err(), "{flags:?}");
        }
        assert!(Args::try_parse_from(["loadgen", "run", "localhost:1"]).is_ok());
    }
}
