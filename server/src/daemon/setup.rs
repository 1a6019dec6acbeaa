//! Validates the arguments, against each other and against the limits of the system.

use std::path::{Path, PathBuf};

use common::{Address, http, units::format_duration};
use ipnet::IpNet;

use crate::{
    admission::access::ClientRules,
    args::{Args, DEFAULT_ADDRESS},
    daemon::{
        config::{Config, Listen},
        limits::Limits,
    },
    mode::{Mode, Threads},
};

/// Descriptors of `--metrics`: the two listeners of a name and their copies, their connections, the runtime, and the files of a
/// scrape.
const METRICS_FILES: usize = 2 * (2 + http::CONNECTIONS_MAX) + 8;

/// The validated arguments.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The concurrency model.
    pub(crate) mode: &'static Mode,
    /// The mode's configuration.
    pub config: Config,
    limits: Limits,
}

/// Arguments that cannot be used together or on this system. The program exits with 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// More worker threads than `Config::THREADS_MAX`.
    #[error("--threads {0} is too many: use at most {max}", max = Config::THREADS_MAX)]
    TooManyThreads(u64),
    /// The same address twice.
    #[error("--listen {0} is given twice: remove one of them")]
    ListenTwice(Listen),
    /// A path that cannot be a unix socket's.
    #[error("--takeover {path}: the path has {length} bytes; a unix socket's path has from 1 to {max}", path = .0.display(), length = .0.as_os_str().len(), max = Address::UNIX_PATH_BYTES_MAX)]
    TakeoverPath(PathBuf),
    /// One path for two sockets.
    #[error("--takeover {0} is an address of --listen, too; choose another path")]
    TakeoverListens(String),
    /// A name of a socket, but no sockets are passed.
    #[error(
        "--listen fd:{0}: no socket is passed to this process; start it from a systemd .socket unit, which sets \
         LISTEN_FDS and LISTEN_PID"
    )]
    NoSockets(String),
    /// A name that no passed socket has.
    #[error("--listen fd:{name}: no passed socket has this name; the names are {}", names.join(", "))]
    NoSuchSocket {
        /// The name that was asked for.
        name: String,
        /// The names of the passed sockets, each once.
        names: Vec<String>,
    },
}

impl Setup {
    /// Validates the arguments, and derives the values that are not given from the limits. `passed` has the names of the
    /// sockets that the service manager has passed.
    ///
    /// # Errors
    /// When an argument is invalid, or arguments contradict each other. The error says what to do.
    pub fn new(args: Args, limits: Limits, passed: &[String]) -> Result<Self, SetupError> {
        let threads = threads(args.threads, limits.cpus)?;
        let listen = listen(args.listen, passed)?;
        if let Some(path) = &args.takeover {
            check_takeover(path, &listen)?;
        }
        if args.mode.threads == Threads::PerConnection && args.threads.is_some() {
            tracing::warn!(
                "--threads has no effect in mode {}: each connection has its own thread",
                args.mode.name
            );
        }
        let for_metrics = if args.metrics.is_some() { METRICS_FILES } else { 0 };
        let others = listen.len().max(passed.len()) + for_metrics;
        let allowed = allowed_connections(args.mode, others, threads, &limits);
        let mut max_connections = max_connections(args.max_connections, allowed, args.mode, &limits);
        if args.metrics.is_some() {
            // The metrics keep their descriptors: they are needed most when the server is full.
            max_connections = max_connections.min(allowed);
        }
        let config = Config {
            listen,
            threads,
            max_connections: usize::try_from(max_connections).unwrap_or(usize::MAX),
            when_full: args.when_full,
            clients: ClientRules {
                allow: args.allow,
                deny: args.deny,
                max_connections_per_ip: args
                    .max_connections_per_ip
                    .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
            },
            proxy_protocol: args.proxy_protocol,
            idle_timeout: args.idle_timeout,
            write_timeout: args.write_timeout,
            drain_timeout: args.drain_timeout,
            drain_grace: args.drain_grace,
            work: args.work,
            backlog: args.backlog,
            reuse_port: args.reuse_port,
            takeover: args.takeover,
            metrics: args.metrics,
        };
        Ok(Self { mode: args.mode, config, limits })
    }

    /// Logs what runs, in one line.
    pub(crate) fn log(&self, message: &str, addresses: &[Address]) {
        let config = &self.config;
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let threads = match self.mode.threads {
            Threads::Workers => config.threads.to_string(),
            Threads::PerConnection => "one for each connection".to_owned(),
        };
        let networks = |networks: &[IpNet]| {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            Some(networks.join(" ")).filter(|networks| !networks.is_empty())
        };
        tracing::info!(
            mode = self.mode.name,
            threads,
            max_connections = config.max_connections,
            when_full = config.when_full.name(),
            allow = networks(&config.clients.allow),
            deny = networks(&config.clients.deny),
            max_connections_per_ip = config.clients.max_connections_per_ip,
            proxy_protocol = config.proxy_protocol.then_some(true),
            idle_timeout = config.idle_timeout.map_or("off".to_owned(), format_duration),
            write_timeout = format_duration(config.write_timeout),
            drain_timeout = format_duration(config.drain_timeout),
            drain_grace = format_duration(config.drain_grace),
            work = %config.work,
            metrics = config.metrics.as_ref().map(tracing::field::display),
            open_files_limit = self.limits.open_files,
            addresses = addresses.join(" "),
            "{message}"
        );
    }
}

/// The number of worker threads: as the arguments say, or one for each CPU.
fn threads(wanted: Option<u64>, cpus: usize) -> Result<usize, SetupError> {
    match wanted {
        Some(threads) if threads > Config::THREADS_MAX => Err(SetupError::TooManyThreads(threads)),
        Some(threads) => Ok(threads as usize),
        None => Ok(cpus),
    }
}

/// Checks that the socket of `--takeover` can exist beside the listeners.
fn check_takeover(path: &Path, listen: &[Listen]) -> Result<(), SetupError> {
    if !(1..=Address::UNIX_PATH_BYTES_MAX).contains(&path.as_os_str().len()) {
        return Err(SetupError::TakeoverPath(path.to_owned()));
    }
    if listen.contains(&Listen::Address(Address::Unix(path.to_owned()))) {
        return Err(SetupError::TakeoverListens(path.display().to_string()));
    }
    Ok(())
}

/// How many connections the limits of the system allow in this mode. `others` are the descriptors of listeners and metrics.
fn allowed_connections(mode: &Mode, others: usize, threads: usize, limits: &Limits) -> u64 {
    match mode.threads {
        Threads::Workers => limits.connections_by_files(others, threads),
        Threads::PerConnection => limits.connections_by_files(others, 1).min(limits.connections_by_threads()),
    }
}

/// The largest number of open connections: as the arguments say, or all that the limits allow.
fn max_connections(wanted: Option<u64>, allowed: u64, mode: &Mode, limits: &Limits) -> u64 {
    let Some(wanted) = wanted else { return allowed };
    if wanted > allowed {
        tracing::warn!(
            max_connections = wanted,
            allowed,
            open_files_limit = limits.open_files,
            thread_limit = limits.threads,
            thread_limit_by = limits.threads_bound,
            "the limits on open files and threads allow fewer connections than --max-connections; raise them (ulimit -n, \
             LimitNOFILE=), or new connections will wait in the accept queue"
        );
    }
    // Beyond this limit, the process would end.
    match mode.threads {
        Threads::Workers => wanted,
        Threads::PerConnection => wanted.min(limits.stacks),
    }
}

/// Where to listen: as the arguments say, or on every passed socket, or at the default address.
fn listen(wanted: Vec<Listen>, passed: &[String]) -> Result<Vec<Listen>, SetupError> {
    let mut names: Vec<String> = Vec::new();
    for name in passed {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let mut listen: Vec<Listen> = Vec::new();
    for one in wanted {
        let is_any_port = matches!(one, Listen::Address(Address::Tcp { port: 0, .. }));
        if listen.contains(&one) && !is_any_port {
            return Err(SetupError::ListenTwice(one));
        }
        match &one {
            Listen::Passed(name) if passed.is_empty() => return Err(SetupError::NoSockets(name.clone())),
            Listen::Passed(name) if !passed.contains(name) => {
                return Err(SetupError::NoSuchSocket { name: name.clone(), names });
            }
            Listen::Passed(_) | Listen::Address(_) => listen.push(one),
        }
    }
    Ok(match (listen.is_empty(), names.is_empty()) {
        (false, _) => listen,
        (true, false) => names.into_iter().map(Listen::Passed).collect(),
        (true, true) => vec![Listen::Address(DEFAULT_ADDRESS.parse().expect("it is an address"))],
    })
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches};

    use super::*;

    const LIMITS: Limits =
        Limits { open_files: 20_000, threads: 1_000, threads_bound: "a test", stacks: 9_000, cpus: 2 };

    fn config(flags: &str) -> Result<Config, SetupError> {
        config_with_sockets(flags, &[])
    }

    fn config_with_sockets(flags: &str, passed: &[&str]) -> Result<Config, SetupError> {
        let command = Args::augment_args(Command::new("server").no_binary_name(true));
        let matches = command.try_get_matches_from(flags.split_whitespace()).unwrap();
        let setup = Setup::new(
            Args::from_arg_matches(&matches).unwrap(),
            LIMITS,
            &passed.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(),
        )?;
        Ok(setup.config)
    }

    #[test]
    fn missing_values_are_derived_from_the_limits() {
        let config = config("").unwrap();
        assert_eq!((config.threads, config.max_connections), (2, 19_951));
    }

    #[test]
    fn metrics_keep_their_descriptors_whatever_the_arguments_say() {
        assert_eq!(config("--max-connections 50k").unwrap().max_connections, 50_000);
        let with_metrics = config("--max-connections 50k --metrics 127.0.0.1:0").unwrap();
        assert_eq!(with_metrics.max_connections, 19_951 - METRICS_FILES);
        assert_eq!(config("--metrics 127.0.0.1:0").unwrap().max_connections, 19_951 - METRICS_FILES);
    }

    #[test]
    fn limits_on_threads_bound_a_mode_with_a_thread_for_each_connection() {
        assert_eq!(config("-m thread-per-connection").unwrap().max_connections, 872);
        assert_eq!(config("-m thread-per-connection --max-connections 5k").unwrap().max_connections, 5_000);
        assert_eq!(config("-m thread-per-connection --max-connections 50k").unwrap().max_connections, 9_000);
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(config("-t 5k").unwrap_err(), SetupError::TooManyThreads(5_000));
        let twice = config("-l 127.0.0.1:80 -l unix:/a -l 127.0.0.1:80").unwrap_err();
        assert_eq!(twice, SetupError::ListenTwice("127.0.0.1:80".parse().unwrap()));
        assert!(config("-l 127.0.0.1:0 -l 127.0.0.1:0").is_ok());
    }

    #[test]
    fn sockets_that_are_passed_are_used_unless_the_arguments_say_otherwise() {
        let listen = |flags: &str, passed: &[&str]| {
            config_with_sockets(flags, passed)
                .map(|config| config.listen.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(listen("", &[]).unwrap(), [DEFAULT_ADDRESS]);
        assert_eq!(listen("", &["a", "b", "a"]).unwrap(), ["fd:a", "fd:b"]);
        assert_eq!(listen("-l fd:b -l unix:/x", &["a", "b"]).unwrap(), ["fd:b", "unix:/x"]);
        assert_eq!(listen("-l fd:c", &[]).unwrap_err(), SetupError::NoSockets("c".to_owned()));
        let names = vec!["a".to_owned(), "b".to_owned()];
        let error = SetupError::NoSuchSocket { name: "c".to_owned(), names };
        assert_eq!(listen("-l fd:c", &["a", "b", "a"]).unwrap_err(), error);
        assert!(matches!(listen("-l fd:a -l fd:a", &["a"]).unwrap_err(), SetupError::ListenTwice(_)));
    }
}
