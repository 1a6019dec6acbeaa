//! The syntax of the command line. Each command turns its arguments into a request, and the request into a plan.

pub(crate) mod compare;
mod dialogue;
#[cfg(test)]
mod extremes;
pub(crate) mod load;
pub(crate) mod merge;
pub(crate) mod servers;
pub(crate) mod sweep;
pub(crate) mod tls;

use std::{
    any::TypeId,
    env,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{
    Arg, CommandFactory, Parser, Subcommand,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use common::{
    Address,
    generate::Generate,
    http,
    manual::{self, Example, Manual, Manuals},
    units::{parse_positive_count, parse_positive_duration},
    usage,
};
use server::mode::Mode;

use self::{
    compare::CompareArgs,
    load::{LoadArgs, OwnServerArgs, StagesArgs},
    merge::MergeArgs,
    sweep::SweepArgs,
};
use crate::{
    command::{delivery::DeliveryRequest, exit::FailOn, request_log::LogRequest, sweep::levels::Levels},
    format::{FORMATS, Format, format},
    load::{
        abort::AbortOn,
        part::{self, ParsePartError, Part},
        plan::{Against, OwnServerPlan},
        rate::Rate,
        request::{PlanError, Request},
        schedule::replay::Speed,
        start_at,
        until::Until,
    },
};

/// The parts of the help and the man pages besides the flags.
pub(crate) const MANUALS: Manuals = Manuals {
    name: NAME,
    program: MANUAL,
    commands: &[
        ("run", RUN_MANUAL),
        ("compare", compare::MANUAL),
        ("sweep", sweep::MANUAL),
        ("show", SHOW_MANUAL),
        ("merge", merge::MANUAL),
        ("talk", TALK_MANUAL),
    ],
};

const NAME: &str = "loadgen";

/// The exit codes of a command whose report has a verdict.
const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "success"),
    ("1", "failure, or the report could not be written"),
    ("2", "bad usage"),
    ("3", "a missed SLO, or ended by --abort-on"),
    ("4", "a verdict that --fail-on names (takes precedence over a missed SLO)"),
    ("130, 143", "ended by a signal (takes precedence over 1, 3 and 4)"),
];

const MANUAL: Manual = Manual {
    notes: &["'loadgen COMMAND --help' explains a command; 'loadgen run --help' explains the load."],
    exit_status: EXIT_STATUS,
    examples: &[
        Example { what: "Load loadgen's own server with 500 clients", command: "loadgen run" },
        Example { what: "Load a running server", command: "loadgen run 127.0.0.1:8080 -d 30s" },
        Example {
            what: "Send 20,000 requests per second in an open loop",
            command: "loadgen run -r 20k --arrival poisson",
        },
        Example { what: "Store the result", command: "loadgen run --format json -o result.json" },
        Example { what: "Compare every mode of loadgen's own server", command: "loadgen compare" },
        Example { what: "Find the highest rate that meets an SLO", command: "loadgen sweep --slo 'p99<5ms'" },
        Example { what: "Show two results side by side", command: "loadgen show a.json b.json" },
        Example { what: "Add the results of two generators", command: "loadgen merge a.json b.json" },
        Example { what: "Send lines interactively", command: "loadgen talk 127.0.0.1:8080" },
    ],
};

const RUN_MANUAL: Manual = Manual {
    notes: &[
        "A TARGET is host:port, [v6]:port, [v6%zone]:port or unix:/path.",
        "A duration is a number and a unit: ns, us, ms, s, m (or min), h or d, as in 250us, 10ms, 1.5s or 2m. A count \
         may end in k (thousands) or m (millions). A rate is a number of requests per second, as in 20k or 0.5, or has a \
         unit, as in 30/min or 100/h.",
        "SERVER_* variables configure loadgen's own server, except its address and mode.",
    ],
    exit_status: EXIT_STATUS,
    examples: &[
        Example { what: "500 clients for 10 seconds, with loadgen's own server", command: "loadgen run" },
        Example {
            what: "Another mode, with simulated work",
            command: "loadgen run --mode thread-pool --work cpu:50us",
        },
        Example {
            what: "Two targets that share the clients",
            command: "loadgen run localhost:8080 unix:/run/echo",
        },
        Example {
            what: "An open loop of 5,000 requests per second",
            command: "loadgen run localhost:8080 -r 5k -d 1m",
        },
        Example {
            what: "A ramp to 20,000 requests per second, a minute at this rate, and a ramp down",
            command: "loadgen run localhost:8080 --stages 0..20k/30s,20k/1m,20k..2k/10s",
        },
        Example {
            what: "100,000 requests of 1,000 bytes, 8 outstanding per client",
            command: "loadgen run localhost:8080 -n 100k -p 8 -s 1k",
        },
        Example {
            what: "The first of 4 generators that have one load of 100,000 requests per second",
            command: "loadgen run 10.0.0.5:8080 -c 4k -r 100k --part 0/4 --start-at +20s/10s --format json",
        },
        Example {
            what: "Exit with code 3 if an SLO is missed",
            command: "loadgen run -r 5k --slo 'p99<5ms' --slo 'errors<=0%'",
        },
    ],
};

const SHOW_MANUAL: Manual = Manual {
    notes: &[],
    exit_status: &[("0", "success"), ("1", "a file cannot be read or is not a result"), ("2", "bad usage")],
    examples: &[
        Example {
            what: "Show two results side by side",
            command: "loadgen show thread-pool.json tokio-task.json",
        },
        Example {
            what: "Print one row for each result, for a spreadsheet",
            command: "loadgen show a.json b.json --format csv",
        },
        Example {
            what: "Draw two results over each other, on one page",
            command: "loadgen show a.json b.json -o both.html",
        },
        Example {
            what: "Write the histograms, for HdrHistogram's tools and plotter",
            command: "loadgen show result.json --hdr result",
        },
    ],
};

const TALK_MANUAL: Manual = Manual {
    notes: &[],
    exit_status: &[
        ("0", "success"),
        ("1", "no connection, or a reply is wrong or missing"),
        ("2", "bad usage"),
    ],
    examples: &[
        Example { what: "Type lines and read the replies", command: "loadgen talk" },
        Example {
            what: "Send one line and store the reply",
            command: "echo hello | loadgen talk 127.0.0.1:8080 --save replies",
        },
    ],
};

/// A load generator for echo servers that checks its own measurement.
#[derive(Parser)]
#[command(name = NAME, version, arg_required_else_help = true, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Print man pages or the completions of a shell, and exit
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) generate: Option<Generate>,
    /// Write the pages or completions of --generate into this directory, one file each
    #[arg(long, value_name = "DIR", requires = "generate")]
    pub(crate) generate_to: Option<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The parser of the command line.
pub fn command() -> clap::Command {
    const NUMBERS: &[TypeId] = &[
        TypeId::of::<Duration>(),
        TypeId::of::<u64>(),
        TypeId::of::<i32>(),
        TypeId::of::<f64>(),
        TypeId::of::<Rate>(),
        TypeId::of::<Levels>(),
        TypeId::of::<Speed>(),
    ];
    let command = Args::command().name(manual::program_name(NAME));
    manual::attach(usage::take_signs(command, NUMBERS), MANUALS)
}

/// A command.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Load a server, check every reply, and print a report
    Run(Box<RunArgs>),
    /// Put the same load on several servers in turn, and show which differ
    Compare(Box<CompareArgs>),
    /// Raise the load step by step to find the limit of each server
    Sweep(Box<SweepArgs>),
    /// Print stored results: one in any format, or several side by side
    Show(ShowArgs),
    /// Add the results of several generators to one report
    Merge(MergeArgs),
    /// Talk to a server line by line
    Talk(TalkArgs),
    /// The server that loadgen starts
    #[command(hide = true)]
    Server(Box<server::args::Args>),
    /// Ends a process group after loadgen has ended
    #[command(hide = true)]
    Guard,
}

/// The flags that set what a replay takes from its file.
const REPLAY_EXCLUDES: [&str; 8] =
    ["rate", "stages", "arrival", "think", "duration", "requests", "warmup", "messages_order"];

/// The arguments of `loadgen run`.
#[derive(clap::Args)]
#[command(mut_args(without_targets))]
pub(crate) struct RunArgs {
    /// Servers to load; they share the clients evenly. Without a target, loadgen starts its own server
    #[arg(value_name = "TARGET")]
    targets: Vec<Address>,

    /// Concurrency model of loadgen's own server
    #[arg(short, long, conflicts_with = "targets", help_heading = "Own server",
          value_parser = server::args::mode_parser(), default_value = server::mode::DEFAULT, value_name = "MODE")]
    mode: &'static Mode,
    /// The own server.
    #[command(flatten)]
    own_server: OwnServerArgs,
    /// The load.
    #[command(flatten)]
    load: LoadArgs,
    /// The stages.
    #[command(flatten)]
    stages: StagesArgs,
    /// Wait up to this long for the server to accept a connection before the run
    #[arg(long, help_heading = "Limits", value_name = "D", value_parser = parse_positive_duration)]
    wait_for_server: Option<Duration>,
    /// Have only part K of N of this load, with K from 0: every N-th client, with the numbers, requests and times that it has in
    /// the whole. --connections, --rate, --stages, --requests and --connect-rate are those of the whole load. auto/N takes K from
    /// JOB_COMPLETION_INDEX or SLURM_PROCID, and auto also takes N from SLURM_NTASKS. 'loadgen merge' adds the parts, and checks
    /// their --slo
    #[arg(long, help_heading = "Load", env = part::VARIABLE, value_name = "K/N", value_parser = parse_part)]
    part: Option<Part>,
    /// Start the load at this time, with all clients connected: 2026-11-24T12:00:00Z (UTC), @SECONDS since 1970, or +D/D, as in
    /// +20s/10s: the next full 10 seconds of the clock that are at least 20 seconds ahead. Generators that start on both sides of
    /// a full 10 seconds disagree by these, and the verdict of 'loadgen merge' says so; @SECONDS is exact
    #[arg(long, help_heading = "Load", value_name = "TIME", value_parser = start_at::parse)]
    start_at: Option<SystemTime>,

    /// Send the requests of --messages once, each at its time ("at_s" in the file), in an open loop without a warm-up
    #[arg(long, help_heading = "Load", requires = "messages", conflicts_with_all = REPLAY_EXCLUDES)]
    replay: bool,
    /// Speed of --replay: 2 is twice as fast as recorded
    #[arg(long, help_heading = "Load", value_name = "FACTOR", requires = "replay", default_value = "1")]
    replay_speed: Speed,

    /// Also put the same load on an echo inside the generator, and report the part of each percentile that the generator
    /// and the kernel cause. This doubles the duration. The echo comes first; in a closed loop it comes last, in an open loop at the
    /// rate that the server has reached
    #[arg(long, help_heading = "Load")]
    calibrate: bool,

    /// End the load early, with exit code 3, when this holds over a time, as in 'p99>50ms/5s', 'errors>1%/5s' or
    /// 'rate<5k/5s'; may be repeated. It is checked at the end of each interval. The metrics are pN (any percentile of the
    /// response time), max, errors and rate
    #[arg(long, help_heading = "Objectives", value_name = "CONDITION")]
    abort_on: Vec<AbortOn>,

    /// End the load as soon as a percentile is known this precisely, as in 'p99±2%' or 'p99.9+-5%': the share is half the width of
    /// its 95% confidence interval. May be repeated; all must be reached. --duration is the limit: a precision that is not reached by
    /// then gives exit code 3
    #[arg(long, help_heading = "Objectives", value_name = "PRECISION")]
    until: Vec<Until>,

    /// Time between two lines of progress, and between two entries of the report's intervals
    #[arg(short, long, help_heading = "Output", value_name = "D", default_value = "1s",
          value_parser = parse_positive_duration)]
    interval: Duration,
    /// Print only the report, warnings and errors
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Verdicts that cause exit code 4
    #[arg(long, help_heading = "Output", value_enum, value_name = "VERDICT", default_value = "invalid")]
    pub fail_on: FailOn,
    /// Serve Prometheus metrics at http://ADDR/metrics, updated at the end of each interval. Port 0 selects a free port
    #[arg(long, help_heading = "Output", value_name = "ADDR", value_parser = http::parse_address)]
    pub metrics: Option<Address>,
    /// The output of the report.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The output of the histograms.
    #[command(flatten)]
    pub hdr: HdrArgs,
    /// Write a line of CSV for each request to this file during the run: when it was due, written and ended, its client, number
    /// and kind, and its outcome
    #[arg(long, help_heading = "Output", value_name = "FILE")]
    log: Option<PathBuf>,
    /// Maximum number of lines of --log
    #[arg(long, help_heading = "Output", value_name = "N", requires = "log", default_value = "10m",
          value_parser = parse_positive_count)]
    log_limit: u64,
}

/// The output of a report.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Format of the report [default: from the extension of --output (.txt, .json, .jsonl, .csv or .html), else text]
    #[arg(long, help_heading = "Output", value_parser = format_parser(), value_name = "FORMAT")]
    format: Option<&'static Format>,
    /// Write the report to this file; - is standard output. The file is replaced completely or not at all and keeps its
    /// permissions; a read-only file is an error
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The output of the histograms of a run.
#[derive(Debug, clap::Args)]
pub(crate) struct HdrArgs {
    /// Also write histograms for HdrHistogram's tools: PREFIX.hgrm and PREFIX.service.hgrm (response and service times
    /// by percentile, in milliseconds) and PREFIX.hlog (response times of each interval)
    #[arg(long = "hdr", help_heading = "Output", value_name = "PREFIX", value_parser = parse_prefix)]
    pub prefix: Option<PathBuf>,
}

/// The arguments of `loadgen show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Results of 'loadgen run --format json', or one result of 'loadgen compare' or 'loadgen sweep'. A file may hold several
    /// results, as --format jsonl writes them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The output. Several results are printed side by side, as a table, as csv or on one page.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The output of the histograms, for one result.
    #[command(flatten)]
    pub hdr: HdrArgs,
}

/// The arguments of `loadgen talk`.
#[derive(Debug, clap::Args)]
pub(crate) struct TalkArgs {
    /// Server to talk to
    #[arg(value_name = "TARGET", default_value = "127.0.0.1:8080")]
    pub target: Address,
    /// Append the replies to this file, one per line
    #[arg(long, value_name = "FILE", value_parser = parse_save)]
    pub save: Option<PathBuf>,
    /// Time limit for a reply
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse_positive_duration)]
    pub timeout: Duration,
}

impl OutputArgs {
    /// The delivery of the report, without histograms, and with a line on standard error about the written files.
    pub(crate) fn delivery(&self) -> DeliveryRequest<'_> {
        DeliveryRequest { format: self.format, output: self.output.as_deref(), ..DeliveryRequest::default() }
    }
}

impl ShowArgs {
    /// The delivery of the report.
    pub(crate) fn delivery(&self) -> DeliveryRequest<'_> {
        DeliveryRequest { hdr: self.hdr.prefix.as_deref(), ..self.output.delivery() }
    }
}

impl RunArgs {
    /// The delivery of the report.
    pub(crate) fn delivery(&self) -> DeliveryRequest<'_> {
        let hdr = self.hdr.prefix.as_deref();
        DeliveryRequest { hdr, log: self.log.as_deref(), is_quiet: self.quiet, ..self.output.delivery() }
    }

    /// The request log.
    pub(crate) fn log(&self) -> Option<LogRequest<'_>> {
        Some(LogRequest { path: self.log.as_deref()?, lines_max: self.log_limit })
    }

    /// The run as requested.
    ///
    /// # Errors
    /// When the message file cannot be read.
    pub(crate) fn request(&self) -> Result<Request, PlanError> {
        let against = match self.targets.as_slice() {
            [] => Against::OwnServer(OwnServerPlan {
                mode: self.mode.name,
                work: self.own_server.work.clone(),
                threads: self.own_server.server_threads,
            }),
            targets => Against::Targets(targets.to_vec()),
        };
        let mut request = self.load.request(against)?;
        request.timeouts.first_reply = self.wait_for_server;
        request.timing.start_at = self.start_at;
        request.part = self.part;
        request.measuring.interval = self.interval;
        request.measuring.calibrate = self.calibrate;
        request.measuring.abort_on = self.abort_on.clone();
        request.measuring.until = self.until.clone();
        request.stages = self.stages.stages.clone();
        request.replay = self.replay.then_some(self.replay_speed);
        Ok(request)
    }
}

/// A run with targets does not start the own server.
fn without_targets(flag: Arg) -> Arg {
    match flag.get_id().as_str() {
        "work" | "server_threads" => flag.conflicts_with("targets"),
        _ => flag,
    }
}

/// A part of a load. The variables of the engine are read only for the forms with auto.
fn parse_part(text: &str) -> Result<Part, ParsePartError> {
    Part::parse(text, |name| env::var(name).ok())
}

/// A prefix of file names.
fn parse_prefix(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.file_name() {
        _ if text == "-" => {
            Err("--hdr writes several files, so it cannot write to standard output: write FOLDER/NAME or NAME (./- is \
                 a name)"
                .to_owned())
        }
        Some(_) if !text.ends_with('/') => Ok(path),
        _ => Err("the prefix has no file name: write FOLDER/NAME or NAME".to_owned()),
    }
}

/// The replies always go to standard output, so `-` is a mistake.
fn parse_save(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err(
            "replies are always printed to standard output: remove --save, or name a file (./- is a name)"
                .to_owned(),
        ),
        path => Ok(path.into()),
    }
}

fn format_parser() -> impl TypedValueParser<Value = &'static Format> {
    let names = FORMATS.iter().map(|format| PossibleValue::new(format.name).help(format.summary));
    PossibleValuesParser::new(names)
        .map(|name| format(&name).expect("only the names of the table are possible values"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_format_is_the_given_one_or_follows_from_the_extension() {
        for (args, expected) in [
            (&["-o", "report.html"][..], "html"),
            (&["-o", "report.csv"], "csv"),
            (&["-o", "a.html", "--format", "json"], "json"),
            (&["-o", "report.txt"], "text"),
            (&["-o", "REPORT.HTM"], "html"),
            (&["-o", "report.xml", "--format", "json"], "json"),
            (&["-o", "html"], "text"),
            (&["-o", ".json"], "text"),
            (&["-o", "-"], "text"),
            (&[], "text"),
        ] {
            let args = Args::try_parse_from(["loadgen", "show", "x"].iter().chain(args)).unwrap();
            let Some(Command::Show(show)) = args.command else { panic!("the command is show") };
            assert_eq!(show.output.delivery().format().unwrap().name, expected, "{:?}", show.output);
        }
    }

    #[test]
    fn an_unknown_extension_is_an_error() {
        for path in ["r.xml", "a/b.json.gz", "report.", "result.2"] {
            let output = OutputArgs { format: None, output: Some(path.into()) };
            let error = output.delivery().format().unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(".json") && error.contains("--format"), "{error}");
        }
    }

    #[test]
    fn a_target_excludes_the_flags_of_the_own_server() {
        for flags in [["--mode", server::mode::DEFAULT], ["--work", "cpu:1us"], ["--server-threads", "2"]] {
            let args = ["loadgen", "run", "localhost:1", flags[0], flags[1]];
            assert!(Args::try_parse_from(args).is_err(), "{flags:?}");
        }
        assert!(Args::try_parse_from(["loadgen", "run", "localhost:1"]).is_ok());
    }
}
