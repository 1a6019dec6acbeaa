//! The command line: syntax only. [`crate::Setup`] validates it.

#[cfg(test)]
mod extremes;

use std::{any::TypeId, path::PathBuf, time::Duration};

use clap::{
    Args as _, Command,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use common::{
    Address,
    generate::Generate,
    http,
    log::LogFormat,
    manual::{self, Example, Manual, Manuals},
    units::{parse_positive_count, parse_positive_duration},
    usage,
};
use ipnet::IpNet;

use crate::{
    admission::access::parse_network,
    connection::work::Work,
    daemon::config::{Listen, WhenFull},
    mode::{DEFAULT, MODES, Mode},
};

/// The text of the help and of the man page that follows the flags.
pub const MANUALS: Manuals = Manuals { name: NAME, program: MANUAL, commands: &[] };

const NAME: &str = "server";

/// Where the server listens if nothing else is said.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

const MANUAL: Manual = Manual {
    notes: &[
        "An address is host:port, [v6]:port, [v6%zone]:port or unix:/path. Port 0 selects any free port. [::]:port also \
         accepts IPv4.",
        "A duration is a number and a unit: ns, us, ms, s, m (or min), h or d, as in 250us, 10ms, 1.5s or 2m. A count \
         may end in k (thousands) or m (millions).",
        "An environment variable can set every flag: SERVER_IDLE_TIMEOUT sets --idle-timeout. SERVER_LISTEN takes \
         several addresses, separated by commas. RUST_LOG=debug logs every connection.",
        "SIGTERM and SIGINT begin a drain: the server accepts no more connections, echoes what it has received, and \
         waits up to --drain-timeout for the clients to close. A second signal ends the server at once.",
    ],
    exit_status: &[
        ("0", "every connection ended within the drain timeout"),
        ("1", "failed, or connections remained after the drain"),
        ("2", "bad usage"),
    ],
    examples: &[
        Example { what: "Listen on 127.0.0.1:8080 in the default mode", command: "server" },
        Example {
            what: "Listen on every address of this host with four threads",
            command: "server -l '[::]:7777' -m thread-pool -t 4",
        },
        Example {
            what: "Listen on a free port and on a unix socket",
            command: "server -l 127.0.0.1:0 -l unix:/run/echo.sock",
        },
        Example {
            what: "Simulate a service that waits 1 ms for each read",
            command: "server -m thread-pool --work sleep:1ms",
        },
    ],
};

/// The parser of the command line.
pub fn command() -> Command {
    const NUMBERS: &[TypeId] = &[TypeId::of::<Duration>(), TypeId::of::<u64>(), TypeId::of::<i32>()];
    let command = Args::augment_args(
        Command::new(manual::program_name(NAME)).version(env!("CARGO_PKG_VERSION")),
    )
    .about("A TCP server that echoes every byte in ASCII upper case, in a concurrency model of your choice")
    .long_about(None);
    manual::attach(usage::take_signs(command, NUMBERS), MANUALS)
}

/// The server's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; may be repeated. fd:NAME takes the sockets that systemd passes with this name [default: all
    /// sockets that systemd passes, or 127.0.0.1:8080]
    #[arg(short, long, value_name = "ADDR", env = "SERVER_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Vec<Listen>,

    /// Concurrency model
    #[arg(short, long, env = "SERVER_MODE", default_value = DEFAULT, value_parser = mode_parser())]
    pub(crate) mode: &'static Mode,

    /// Worker threads, in the modes that have workers [default: the CPUs that the server may use]
    #[arg(short, long, value_name = "N", env = "SERVER_THREADS", value_parser = parse_positive_count)]
    pub(crate) threads: Option<u64>,

    /// Most open connections [default: derived from the limits on open files and threads]
    #[arg(long, value_name = "N", env = "SERVER_MAX_CONNECTIONS", value_parser = parse_positive_count)]
    pub(crate) max_connections: Option<u64>,

    /// What to do with new connections while --max-connections are open
    #[arg(long, value_name = "WHAT", env = "SERVER_WHEN_FULL", default_value = WhenFull::Wait.name(), value_parser = when_full())]
    pub(crate) when_full: WhenFull,

    /// Serve only clients in the networks of --allow, as in 10.0.0.0/8; may be repeated; unix sockets are not affected
    #[arg(long, value_name = "CIDR", env = "SERVER_ALLOW", value_delimiter = ',', value_parser = parse_network)]
    pub(crate) allow: Vec<IpNet>,

    /// Close connections of clients in this network at once, even if --allow permits them; may be repeated
    #[arg(long, value_name = "CIDR", env = "SERVER_DENY", value_delimiter = ',', value_parser = parse_network)]
    pub(crate) deny: Vec<IpNet>,

    /// Most open connections of one client, which is an IPv4 address or an IPv6 /64; more are closed at once [default: off]
    #[arg(long, value_name = "N", env = "SERVER_MAX_CONNECTIONS_PER_IP", value_parser = parse_positive_count)]
    pub(crate) max_connections_per_ip: Option<u64>,

    /// Expect a PROXY protocol header (version 1 or 2) at the start of each connection, as HAProxy's send-proxy-v2 sends it, and
    /// check --allow, --deny and --max-connections-per-ip with the address in it. Only for ports that no client can reach but
    /// the load balancer: the server believes each header
    #[arg(long, env = "SERVER_PROXY_PROTOCOL", value_parser = clap::builder::FalseyValueParser::new())]
    pub proxy_protocol: bool,

    /// Close a connection whose client sends nothing for this long [default: off]
    #[arg(long, value_name = "D", env = "SERVER_IDLE_TIMEOUT", value_parser = parse_positive_duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// Close a connection whose client reads nothing for this long while data is pending
    #[arg(long, value_name = "D", env = "SERVER_WRITE_TIMEOUT", default_value = "30s", value_parser = parse_positive_duration)]
    pub(crate) write_timeout: Duration,

    /// Time that clients have to finish after SIGTERM or SIGINT
    #[arg(long, value_name = "D", env = "SERVER_DRAIN_TIMEOUT", default_value = "10s", value_parser = common::units::parse_duration)]
    pub(crate) drain_timeout: Duration,

    /// During the drain, answer one more request of each connection, if it arrives within this time
    #[arg(long, value_name = "D", env = "SERVER_DRAIN_GRACE", default_value = "1s", value_parser = common::units::parse_duration)]
    pub(crate) drain_grace: Duration,

    /// Unix socket for a restart without a refused connection: this server takes the listeners of the server that has the
    /// socket, which then drains, and later hands them to the next server
    #[arg(long, value_name = "PATH", env = "SERVER_TAKEOVER")]
    pub(crate) takeover: Option<PathBuf>,

    /// Simulated work for each read: none, sleep:D (waits as the mode waits best), cpu:D (uses CPU time) or block:D (blocks
    /// the thread that serves the connection)
    #[arg(long, value_name = "WORK", env = "SERVER_WORK", default_value = "none")]
    pub(crate) work: Work,

    /// Length of each listener's accept queue (net.core.somaxconn limits it)
    #[arg(long, value_name = "N", env = "SERVER_BACKLOG", default_value = "4096", value_parser = parse_backlog)]
    pub(crate) backlog: i32,

    /// Let other processes listen on the same port (SO_REUSEPORT). This is no hand-over: when one of them closes its
    /// listener, the kernel drops the connections in that listener's accept queue
    #[arg(long, env = "SERVER_REUSE_PORT", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) reuse_port: bool,

    /// Serve Prometheus metrics at http://ADDR/metrics, and /livez and /readyz; port 0 selects a free port [default: off]
    #[arg(long, value_name = "ADDR", env = "SERVER_METRICS", value_parser = http::parse_address)]
    pub metrics: Option<Address>,
    /// Format of the log lines on stderr
    #[arg(long, value_name = "FORMAT", env = "SERVER_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Print the man pages or the completions for a shell, and exit
    #[arg(long, value_name = "WHAT")]
    pub generate: Option<Generate>,

    /// Write the output of --generate into this directory, one file for each page
    #[arg(long, value_name = "DIR", requires = "generate")]
    pub generate_to: Option<PathBuf>,

    /// Begin the drain when stdin ends, so that the server ends with the process that started it
    #[arg(long, hide = true)]
    pub(crate) stop_at_stdin_end: bool,
}

/// The parser of `--mode`. It accepts the names in the table of modes.
pub fn mode_parser() -> impl TypedValueParser<Value = &'static Mode> {
    let values = MODES.iter().map(|mode| PossibleValue::new(mode.name).help(mode.summary));
    PossibleValuesParser::new(values).map(|name| Mode::by_name(&name).expect("only names of the table pass"))
}

fn when_full() -> impl TypedValueParser<Value = WhenFull> {
    let help = |choice| match choice {
        WhenFull::Wait => "Leave them in the accept queue until a connection ends",
        WhenFull::Reject => "Accept them and close them at once",
    };
    let values = WhenFull::ALL.iter().map(|choice| PossibleValue::new(choice.name()).help(help(*choice)));
    PossibleValuesParser::new(values).map(|name| {
        *WhenFull::ALL.iter().find(|choice| choice.name() == name).expect("only names of the list pass")
    })
}

fn parse_backlog(text: &str) -> Result<i32, String> {
    let backlog = parse_positive_count(text)?;
    i32::try_from(backlog).map_err(|_| format!("it must be at most {}", i32::MAX))
}
