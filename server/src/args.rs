//! The command line: syntax only. What it means is in [`crate::setup`].

use std::time::Duration;

use common::{
    Address,
    generate::Generate,
    log::LogFormat,
    units::{parse_positive_count, parse_positive_duration},
};

use crate::{config::WhenFull, mode, work::Work};

/// What stands under the flags in `--help`.
pub const AFTER_HELP: &str = "\
Every flag can also be set by an environment variable: --idle-timeout by SERVER_IDLE_TIMEOUT, and so on; \
several listen addresses are parted by commas there. RUST_LOG=debug logs every connection.

Addresses:  host:port, [v6]:port or unix:/path; port 0 takes a free one; [::]:port takes IPv4 as well.
Durations:  250us, 10ms, 5s, 2m.  Counts: 500, 20k, 1.5m.

Exit codes: 0 after a clean drain, 1 on failure (also when the drain cut connections off), 2 on bad usage.
SIGTERM and SIGINT stop accepting, echo what was received and wait for the clients' ends, at most for
--drain-timeout; a second signal ends the server at once.

Examples:
  server                                          listen on 127.0.0.1:8080 with tokio tasks
  server -l '[::]:7777' -m thread-pool -t 4       four threads for every address of this host
  server -l 127.0.0.1:0 -l unix:/run/echo.sock    a free port and a unix socket
  server -m thread-pool --work sleep:1ms          simulate a service that waits 1 ms for each read";

/// The server's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to listen; may be repeated
    #[arg(
        short,
        long,
        value_name = "ADDR",
        env = "SERVER_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    pub listen: Vec<Address>,

    /// How the server waits for its connections
    #[arg(short, long, env = "SERVER_MODE", default_value = mode::DEFAULT, value_parser = mode::value_parser())]
    pub mode: &'static mode::Mode,

    /// Worker threads, in the modes that have them [default: the CPUs that it may use]
    #[arg(short, long, value_name = "N", env = "SERVER_THREADS", value_parser = parse_positive_count)]
    pub threads: Option<u64>,

    /// Connections at once [default: what the open-files and thread limits carry]
    #[arg(long, value_name = "N", env = "SERVER_MAX_CONNECTIONS", value_parser = parse_positive_count)]
    pub max_connections: Option<u64>,

    /// What happens to those who come when it is full
    #[arg(long, value_name = "WHAT", env = "SERVER_WHEN_FULL", default_value = "wait")]
    pub when_full: WhenFull,

    /// Close a connection when nothing was received for this long [default: off]
    #[arg(long, value_name = "D", env = "SERVER_IDLE_TIMEOUT", value_parser = parse_positive_duration)]
    pub idle_timeout: Option<Duration>,

    /// Cut a connection off when its client took nothing of what waits for it for this long
    #[arg(long, value_name = "D", env = "SERVER_WRITE_TIMEOUT", default_value = "30s", value_parser = parse_positive_duration)]
    pub write_timeout: Duration,

    /// On SIGTERM or SIGINT, the longest time that clients get to finish
    #[arg(long, value_name = "D", env = "SERVER_DRAIN_TIMEOUT", default_value = "10s", value_parser = common::units::parse_duration)]
    pub drain_timeout: Duration,

    /// Simulated work for each read: none, sleep:D (waits as the mode waits well), cpu:D (computes) or block:D
    /// (a blocking call wherever it stands)
    #[arg(long, value_name = "WORK", env = "SERVER_WORK", default_value = "none")]
    pub work: Work,

    /// Connections that the kernel keeps for a listener before they are accepted (capped by net.core.somaxconn)
    #[arg(long, value_name = "N", env = "SERVER_BACKLOG", default_value = "4096", value_parser = parse_backlog)]
    pub backlog: i32,

    /// Let other processes listen on the same port (SO_REUSEPORT)
    #[arg(long, env = "SERVER_REUSE_PORT", value_parser = clap::builder::FalseyValueParser::new())]
    pub reuse_port: bool,

    /// How log lines are written, to stderr
    #[arg(long, value_name = "FORMAT", env = "SERVER_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Print the man page or the completions of a shell, and exit
    #[arg(long, value_name = "WHAT")]
    pub generate: Option<Generate>,

    /// Begin the drain when stdin ends, so that the server goes when whoever started it goes
    #[arg(long, hide = true)]
    pub stop_at_stdin_end: bool,
}

fn parse_backlog(text: &str) -> Result<i32, String> {
    let backlog = parse_positive_count(text)?;
    i32::try_from(backlog).map_err(|_| format!("it can be at most {}", i32::MAX))
}
