//! From the arguments to what runs: they are checked against each other and against the system's limits.

use common::{Address, units::format_duration};

use crate::{
    args::Args,
    config::Config,
    limits::Limits,
    mode::{Mode, Threads},
};

/// What is to run, and on what.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The concurrency model.
    pub mode: &'static Mode,
    /// What it runs on.
    pub config: Config,
    limits: Limits,
}

/// Arguments that cannot be used together or on this system. The program exits with 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// More worker threads than make sense.
    #[error("--threads {0} is too many: at most {max}", max = Config::THREADS_MAX)]
    TooManyThreads(u64),
    /// The same address twice.
    #[error("--listen {0} is given twice")]
    ListenTwice(Address),
}

impl Setup {
    /// Checks the arguments and fills in what was left open.
    ///
    /// # Errors
    /// When the arguments contradict each other; the error says what to do.
    pub fn new(args: Args, limits: Limits) -> Result<Self, SetupError> {
        let threads = match args.threads {
            Some(threads) if threads > Config::THREADS_MAX => {
                return Err(SetupError::TooManyThreads(threads));
            }
            Some(threads) => threads as usize,
            None => limits.cpus,
        };
        let port_taken_twice = args.listen.iter().enumerate().find(|(index, address)| {
            !matches!(address, Address::Tcp { port: 0, .. }) && args.listen[..*index].contains(address)
        });
        if let Some((_, address)) = port_taken_twice {
            return Err(SetupError::ListenTwice(address.clone()));
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
                // Past this one, there would be nobody left to wait.
                match args.mode.threads {
                    Threads::Workers => wanted,
                    Threads::PerConnection => wanted.min(limits.stacks),
                }
            }
            None => carried,
        };
        let config = Config {
            listen: args.listen,
            threads,
            max_connections: usize::try_from(max_connections).unwrap_or(usize::MAX),
            when_full: args.when_full,
            idle_timeout: args.idle_timeout,
            write_timeout: args.write_timeout,
            drain_timeout: args.drain_timeout,
            work: args.work,
            backlog: args.backlog,
            reuse_port: args.reuse_port,
        };
        Ok(Self { mode: args.mode, config, limits })
    }

    /// Says at the start what will run, in one line.
    pub fn log(&self, addresses: &[Address]) {
        let config = &self.config;
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let threads = match self.mode.threads {
            Threads::Workers => config.threads.to_string(),
            Threads::PerConnection => "one for each connection".to_owned(),
        };
        tracing::info!(
            mode = self.mode.name,
            threads,
            max_connections = config.max_connections,
            when_full = config.when_full.name(),
            idle_timeout = config.idle_timeout.map_or("off".to_owned(), format_duration),
            write_timeout = format_duration(config.write_timeout),
            drain_timeout = format_duration(config.drain_timeout),
            work = %config.work,
            open_files_limit = self.limits.open_files,
            addresses = addresses.join(" "),
            "started"
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches};

    use super::*;

    const LIMITS: Limits =
        Limits { open_files: 20_000, threads: 1_000, threads_bound: "a test", stacks: 9_000, cpus: 2 };

    fn config(flags: &str) -> Result<Config, SetupError> {
        let command = Args::augment_args(Command::new("server").no_binary_name(true));
        let matches = command.try_get_matches_from(flags.split_whitespace()).unwrap();
        let setup = Setup::new(Args::from_arg_matches(&matches).unwrap(), LIMITS)?;
        Ok(setup.config)
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
        assert_eq!(config("-m thread-per-connection --max-connections 50k").unwrap().max_connections, 9_000);
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(config("-t 5k").unwrap_err(), SetupError::TooManyThreads(5_000));
        let twice = config("-l 127.0.0.1:80 -l unix:/a -l 127.0.0.1:80").unwrap_err();
        assert_eq!(twice, SetupError::ListenTwice("127.0.0.1:80".parse().unwrap()));
        assert!(config("-l 127.0.0.1:0 -l 127.0.0.1:0").is_ok());
    }
}
