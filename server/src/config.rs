//! What the server runs on: the arguments, checked against each other and against the system's limits.

use std::time::Duration;

use common::{Address, units::format_duration};

use crate::{
    args::{Args, WhenFull},
    limits::Limits,
    listen::Listener,
    mode::{Mode, Threads},
    work::Work,
};

/// A configuration that can be run. Every field has its value; nothing is left to be defaulted later.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, at least one address.
    pub listen: Vec<Address>,
    /// The concurrency model.
    pub mode: &'static Mode,
    /// Worker threads, from 1 to [`Config::THREADS_MAX`]; without meaning in a mode that has none.
    pub threads: usize,
    /// Connections at once, at least 1.
    pub max_connections: usize,
    /// What happens to those who come when it is full.
    pub when_full: WhenFull,
    /// How long a connection from which nothing is received is kept; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a connection is kept whose client takes nothing of what waits for it.
    pub write_timeout: Duration,
    /// How long clients get to finish once the shutdown has begun.
    pub drain_timeout: Duration,
    /// The simulated work for each read.
    pub work: Work,
    /// Connections that the kernel keeps for a listener before they are accepted.
    pub backlog: i32,
    /// Whether other processes may listen on the same port.
    pub reuse_port: bool,
}

/// Arguments that cannot be used together or on this system. The program exits with 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// More worker threads than make sense.
    #[error("--threads {0} is too many: at most {max}", max = Config::THREADS_MAX)]
    TooManyThreads(u64),
    /// The same address twice.
    #[error("--listen {0} is given twice")]
    ListenTwice(Address),
}

impl Config {
    /// The most worker threads: far more than any machine has CPUs, and enough to hide blocking work behind.
    pub const THREADS_MAX: u64 = 4096;

    /// Checks the arguments and fills in what was left open.
    ///
    /// # Errors
    /// When the arguments contradict each other; the error says what to do.
    pub fn new(args: Args, limits: &Limits) -> Result<Self, ConfigError> {
        let threads = match args.threads {
            Some(threads) if threads > Self::THREADS_MAX => return Err(ConfigError::TooManyThreads(threads)),
            Some(threads) => threads as usize,
            None => limits.cpus,
        };
        let port_taken_twice = args.listen.iter().enumerate().find(|(index, address)| {
            !matches!(address, Address::Tcp { port: 0, .. }) && args.listen[..*index].contains(address)
        });
        if let Some((_, address)) = port_taken_twice {
            return Err(ConfigError::ListenTwice(address.clone()));
        }
        let carried = match args.mode.threads {
            Threads::Workers => limits.connections_by_files(args.listen.len(), threads),
            Threads::PerConnection => {
                limits.connections_by_files(args.listen.len(), 1).min(limits.connections_by_threads())
            }
        };
        if args.mode.threads == Threads::PerConnection && args.threads.is_some() {
            tracing::warn!(
                "--threads has no meaning in mode {}: each connection has its own",
                args.mode.name
            );
        }
        let max_connections = match args.max_connections {
            Some(wanted) => {
                if wanted > carried {
                    tracing::warn!(
                        max_connections = wanted,
                        carried,
                        open_files_limit = limits.open_files,
                        thread_limit = limits.threads,
                        thread_limit_by = limits.threads_bound,
                        "the limits carry fewer connections than --max-connections: raise them (ulimit -n, \
                         LimitNOFILE=), or connections will wait in the backlog"
                    );
                }
                wanted
            }
            None => carried,
        };
        Ok(Self {
            listen: args.listen,
            mode: args.mode,
            threads,
            max_connections: usize::try_from(max_connections).unwrap_or(usize::MAX),
            when_full: args.when_full,
            idle_timeout: args.idle_timeout,
            write_timeout: args.write_timeout,
            drain_timeout: args.drain_timeout,
            work: args.work,
            backlog: args.backlog,
            reuse_port: args.reuse_port,
        })
    }

    /// Says at the start what will run, in one line.
    pub(crate) fn log(&self, open_files: u64, listeners: &[Listener]) {
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.address().to_string()).collect();
        let threads = match self.mode.threads {
            Threads::Workers => self.threads.to_string(),
            Threads::PerConnection => "one for each connection".to_owned(),
        };
        tracing::info!(
            mode = self.mode.name,
            threads,
            max_connections = self.max_connections,
            when_full = ?self.when_full,
            idle_timeout = self.idle_timeout.map_or("off".to_owned(), format_duration),
            write_timeout = format_duration(self.write_timeout),
            drain_timeout = format_duration(self.drain_timeout),
            work = %self.work,
            open_files_limit = open_files,
            addresses = addresses.join(" "),
            "started"
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches};

    use super::*;

    const LIMITS: Limits = Limits { open_files: 20_000, threads: 1_000, threads_bound: "a test", cpus: 2 };

    fn config(flags: &str) -> Result<Config, ConfigError> {
        let command = Args::augment_args(Command::new("server").no_binary_name(true));
        let matches = command.try_get_matches_from(flags.split_whitespace()).unwrap();
        Config::new(Args::from_arg_matches(&matches).unwrap(), &LIMITS)
    }

    #[test]
    fn what_is_not_given_is_derived_from_the_limits() {
        let config = config("").unwrap();
        assert_eq!((config.threads, config.max_connections), (2, 19_951));
    }

    #[test]
    fn a_thread_for_each_connection_is_bounded_by_the_threads() {
        assert_eq!(config("-m thread-per-connection").unwrap().max_connections, 872);
        assert_eq!(config("-m thread-per-connection --max-connections 5k").unwrap().max_connections, 5_000);
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(config("-t 5k").unwrap_err(), ConfigError::TooManyThreads(5_000));
        let twice = config("-l 127.0.0.1:80 -l unix:/a -l 127.0.0.1:80").unwrap_err();
        assert_eq!(twice, ConfigError::ListenTwice("127.0.0.1:80".parse().unwrap()));
        assert!(config("-l 127.0.0.1:0 -l 127.0.0.1:0").is_ok());
    }
}
