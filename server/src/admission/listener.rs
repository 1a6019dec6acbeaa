//! The listeners. They are opened before the mode starts, and closed when the drain begins.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Weak},
};

use anyhow::Context;
use common::Address;
use serde::{Deserialize, Serialize};
use socket2::Socket;

use self::file::{Ownership, SocketFile};
use crate::daemon::config::{Config, Listen};

mod bind;
pub(crate) mod file;
mod inherited;

pub(crate) use self::inherited::Inherited;

/// A listening, non-blocking socket. Its drop removes the file of a unix socket.
#[derive(Debug)]
pub struct Listener {
    /// Shared with nothing but an [`Offer`] of this listener.
    socket: Arc<OwnedFd>,
    address: Address,
    /// Whether port 0 was asked for.
    is_any_port: bool,
    file: Option<SocketFile>,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Clients whose bytes are echoed.
    #[default]
    Echo,
    /// Requests of `--metrics`.
    Metrics,
}

/// The parts of a listener that a later process can take over. They do not keep the listener open.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) socket: Weak<OwnedFd>,
    pub(crate) purpose: Purpose,
    /// Whether port 0 was asked for.
    pub(crate) is_any_port: bool,
    /// The absolute path of a unix socket.
    pub(crate) path: Option<PathBuf>,
    /// Decides which process removes the file of a unix socket.
    pub(crate) ownership: Option<Ownership>,
}

impl Listener {
    /// Binds every address of the configuration. A name with several addresses gets a listener for each.
    ///
    /// # Errors
    /// When an address cannot be bound. The error says which one, why, and what to do.
    pub fn bind_all(config: &Config) -> anyhow::Result<Vec<Self>> {
        Self::open_all(config, &mut Inherited::default())
    }

    /// Opens a listener for each part of `--listen`: takes it from the inherited sockets, or binds it.
    ///
    /// # Errors
    /// When an address cannot be bound. The error says which one, why, and what to do.
    pub(crate) fn open_all(config: &Config, inherited: &mut Inherited) -> anyhow::Result<Vec<Self>> {
        let mut listeners = Vec::new();
        for listen in &config.listen {
            let opened = match listen {
                Listen::Address(address) => bind::bind(address, Purpose::Echo, config, inherited),
                Listen::Passed(name) => Ok(inherited.take_passed(name)),
            };
            listeners.extend(opened.with_context(|| format!("cannot listen on {listen}"))?);
        }
        Ok(listeners)
    }

    /// Opens the listeners of `--metrics`, which share their port with no other process.
    ///
    /// # Errors
    /// When the address cannot be bound. The error says why, and what to do.
    pub(crate) fn open_metrics(
        address: &Address,
        config: &Config,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Vec<Self>> {
        bind::bind(address, Purpose::Metrics, config, inherited)
            .with_context(|| format!("cannot serve metrics on {address}"))
    }

    /// Its address, with the real port if port 0 was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A unix socket that listens already, for a check.
    #[cfg(all(test, shuttle))]
    pub(crate) fn of_unix_socket(socket: OwnedFd) -> Self {
        let address = Address::Unix(PathBuf::new());
        Self { socket: Arc::new(socket), address, is_any_port: false, file: None }
    }

    /// The parts that a later process can take over.
    pub(crate) fn offer(&self, purpose: Purpose) -> Offer {
        let path = match (&self.file, &self.address) {
            (Some(file), _) => Some(file.path().to_owned()),
            (None, Address::Unix(path)) => Some(path.clone()),
            (None, Address::Tcp { .. }) => None,
        };
        Offer {
            socket: Arc::downgrade(&self.socket),
            purpose,
            is_any_port: self.is_any_port,
            path,
            ownership: self.file.as_ref().map(|file| file.ownership().clone()),
        }
    }

    /// Its port; 0 of a unix socket.
    fn port(&self) -> u16 {
        match self.address {
            Address::Tcp { port, .. } => port,
            Address::Unix(_) => 0,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Accepted sockets inherit these options, which saves three calls for each connection. No echo waits for more data to send
/// (Nagle). Urgent data is echoed in its place. Keepalive finds clients that vanished.
fn set_options_for_connections(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.set_keepalive(true)
}

/// Prints one line for each listener to stdout. The server prints nothing else there.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn announce(addresses: &[Address]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for address in addresses {
        writeln!(stdout, "listening on {address}")?;
    }
    stdout.flush()
}
