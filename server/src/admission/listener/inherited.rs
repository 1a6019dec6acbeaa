//! Listening sockets that this process did not bind.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use common::Address;
use socket2::{SockAddr, Socket};

use super::{Listener, Purpose, file::SocketFile};

/// The listening sockets that other processes have given to this one.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<InheritedSocket>,
}

#[derive(Debug)]
struct InheritedSocket {
    origin: Origin,
    /// Its address, if it is a TCP socket.
    bound: Option<SocketAddr>,
    listener: Listener,
}

#[derive(Debug)]
enum Origin {
    /// The service manager has passed it with this name.
    Passed(String),
    /// The server that this one replaces had bound it for this purpose. A unix socket has this absolute path.
    Previous(Purpose, Option<PathBuf>),
}

impl Inherited {
    /// Adds a socket that the service manager has passed with this name. A unix socket's file stays the service manager's.
    ///
    /// # Errors
    /// When the socket does not listen for streams.
    pub(crate) fn add_passed(&mut self, name: &str, socket: OwnedFd) -> anyhow::Result<()> {
        let (bound, listener) = adopt(socket)?;
        self.sockets.push(InheritedSocket { origin: Origin::Passed(name.to_owned()), bound, listener });
        Ok(())
    }

    /// Adds a socket that the server before this one had bound for this purpose. `path` is a unix socket's absolute path, and
    /// `file` its file if
    /// the server owns it; `is_any_port` is whether port 0 was asked for.
    ///
    /// # Errors
    /// When the socket does not listen for streams.
    pub(crate) fn add_previous(
        &mut self,
        socket: OwnedFd,
        purpose: Purpose,
        path: Option<PathBuf>,
        file: Option<SocketFile>,
        is_any_port: bool,
    ) -> anyhow::Result<()> {
        let (bound, listener) = adopt(socket)?;
        let listener = Listener { file, is_any_port, ..listener };
        self.sockets.push(InheritedSocket { origin: Origin::Previous(purpose, path), bound, listener });
        Ok(())
    }

    /// Takes the listeners that were passed with this name.
    pub(super) fn take_passed(&mut self, name: &str) -> Vec<Listener> {
        let has_name =
            |socket: &mut InheritedSocket| matches!(&socket.origin, Origin::Passed(its) if its == name);
        self.sockets.extract_if(.., has_name).map(|socket| socket.listener).collect()
    }

    /// Takes the previous server's listener for this address. Port 0 stands for a socket that was bound to port 0.
    ///
    /// # Errors
    /// When that listener does not serve the same address families.
    pub(super) fn take_tcp(
        &mut self,
        wanted: SocketAddr,
        purpose: Purpose,
        only_v6: bool,
    ) -> anyhow::Result<Option<Listener>> {
        let fits = |bound: SocketAddr, is_any_port| {
            bound == wanted || wanted.port() == 0 && is_any_port && bound.ip() == wanted.ip()
        };
        let taken = self.take_previous(purpose, |socket, _| {
            socket.bound.is_some_and(|bound| fits(bound, socket.listener.is_any_port))
        });
        if let Some(listener) = &taken
            && wanted.is_ipv6()
            && socket2::SockRef::from(&listener.socket).only_v6()? != only_v6
        {
            let (has, needs) = match only_v6 {
                true => ("IPv4 as well", "IPv6 only"),
                false => ("IPv6 only", "IPv4 as well"),
            };
            anyhow::bail!(
                "the previous server listens there for {has}, and this one for {needs}; stop it first"
            );
        }
        Ok(taken)
    }

    /// Takes the previous server's listener at this path.
    pub(super) fn take_unix(&mut self, path: &Path) -> Option<Listener> {
        let path = std::path::absolute(path).ok()?;
        self.take_previous(Purpose::Echo, |_, its| its == Some(&path))
    }

    fn take_previous(
        &mut self,
        purpose: Purpose,
        fits: impl Fn(&InheritedSocket, Option<&PathBuf>) -> bool,
    ) -> Option<Listener> {
        let index = self.sockets.iter().position(|socket| match &socket.origin {
            Origin::Previous(its, path) => *its == purpose && fits(socket, path.as_ref()),
            Origin::Passed(_) => false,
        })?;
        Some(self.sockets.remove(index).listener)
    }
}

/// Makes a listener of a socket that listens already. Its accept queue keeps its length.
fn adopt(socket: OwnedFd) -> anyhow::Result<(Option<SocketAddr>, Listener)> {
    let socket = Socket::from(socket);
    if !socket.is_listener()? {
        anyhow::bail!("the socket does not listen; set Accept=no in the .socket unit");
    }
    socket.set_nonblocking(true)?;
    let local = socket.local_addr()?;
    let bound = local.as_socket();
    let address = match bound {
        Some(address) => {
            super::set_options_for_connections(&socket)?;
            address.into()
        }
        None => Address::Unix(unix_path(&local)?),
    };
    let listener = Listener { socket: Arc::new(socket.into()), address, is_any_port: false, file: None };
    Ok((bound, listener))
}

/// The path of a unix socket. An abstract name (unix(7)) gets a leading `@`, as systemd writes it.
fn unix_path(address: &SockAddr) -> anyhow::Result<PathBuf> {
    if let Some(path) = address.as_pathname() {
        return Ok(path.to_owned());
    }
    let name =
        address.as_abstract_namespace().context("the socket is neither TCP nor a unix socket with a name")?;
    Ok(format!("@{}", name.escape_ascii()).into())
}
