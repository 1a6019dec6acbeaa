//! The validated configuration.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use common::{Address, address::ParseAddressError};

use crate::{admission::access::ClientRules, connection::work::Work};

/// A validated configuration. Defaults are filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<Listen>,
    /// Worker threads, from 1 to `Config::THREADS_MAX`; ignored by a mode without workers.
    pub threads: usize,
    /// Most open connections; at least 1.
    pub max_connections: usize,
    /// What to do with new connections when the limit is reached.
    pub when_full: WhenFull,
    /// The rules for the address of a client. They are checked before its connection is served.
    pub clients: ClientRules,
    /// Whether each connection begins with a PROXY protocol header, whose source is the client's address.
    pub proxy_protocol: bool,
    /// Close a connection that has sent nothing for this long; `None` disables it.
    pub idle_timeout: Option<Duration>,
    /// Close a connection whose client reads nothing for this long while data is pending.
    pub write_timeout: Duration,
    /// Time for clients to finish after the shutdown has begun.
    pub drain_timeout: Duration,
    /// During the drain, how long a connection can wait with its next request, before it is half-closed.
    pub drain_grace: Duration,
    /// The simulated work for each read.
    pub work: Work,
    /// Length of each listener's accept queue.
    pub backlog: i32,
    /// Whether other processes may listen on the same port.
    pub reuse_port: bool,
    /// The unix socket through which a server takes the listeners of the previous server, and hands them to the next one.
    pub takeover: Option<PathBuf>,
    /// Where to serve the metrics over HTTP: a TCP address.
    pub metrics: Option<Address>,
}

impl Config {
    /// Most worker threads: more than any machine has CPUs, and enough to hide blocking work.
    pub(crate) const THREADS_MAX: u64 = 4096;

    /// A configuration without listeners. No test lasts as long as its timeouts, and it has no grace period.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        const NEVER: Duration = Duration::from_secs(3600);
        Self {
            listen: Vec::new(),
            threads: 2,
            max_connections: 3,
            when_full: WhenFull::Wait,
            clients: ClientRules::default(),
            proxy_protocol: false,
            idle_timeout: None,
            write_timeout: NEVER,
            drain_timeout: NEVER,
            drain_grace: Duration::ZERO,
            work: Work::None,
            backlog: 128,
            reuse_port: false,
            takeover: None,
            metrics: None,
        }
    }
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// At an address, which the server binds.
    Address(Address),
    /// On the sockets that the service manager passes with this name (sd_listen_fds(3)).
    Passed(String),
}

/// Why a text is not a [`Listen`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseListenError {
    /// Not an address.
    #[error(transparent)]
    Address(#[from] ParseAddressError),
    /// `fd:` without a name.
    #[error("no name: write fd:NAME, with the name of a socket in LISTEN_FDNAMES")]
    NoName,
}

impl FromStr for Listen {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("fd:") {
            Some("") => Err(ParseListenError::NoName),
            Some(name) => Ok(Self::Passed(name.to_owned())),
            None => Ok(Self::Address(text.parse()?)),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Passed(name) => write!(f, "fd:{name}"),
        }
    }
}

impl From<Address> for Listen {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

/// What to do with new connections when the limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Leave them in the accept queue until a connection ends.
    Wait,
    /// Accept them and close them at once.
    Reject,
}

impl WhenFull {
    /// All choices.
    pub(crate) const ALL: &[Self] = &[Self::Wait, Self::Reject];

    /// Its name in `--when-full`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            WhenFull::Wait => "wait",
            WhenFull::Reject => "reject",
        }
    }
}
