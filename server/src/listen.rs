//! The listeners: bound before anything is served, passed to the mode, closed when the drain begins.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    path::{Path, PathBuf},
};

use anyhow::Context;
use common::Address;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::Config;

/// A bound, listening, non-blocking socket. The file of a unix socket goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: Address,
    _file: Option<SocketFile>,
}

impl Listener {
    /// Where it really listens: the port is the real one where 0 was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self.address, Address::Unix(_))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Binds every address of the configuration. A name that stands for several addresses gets a listener for each.
///
/// # Errors
/// When one address cannot be had; the error says which, why and what to do.
pub fn bind_all(config: &Config) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for address in &config.listen {
        let cannot = || format!("cannot listen on {address}");
        match address {
            Address::Unix(path) => listeners.push(bind_unix(path, config).with_context(cannot)?),
            Address::Tcp { .. } => {
                for resolved in address.resolve().with_context(cannot)? {
                    listeners.push(bind_tcp(resolved, config).with_context(cannot)?);
                }
            }
        }
    }
    Ok(listeners)
}

/// Prints one line for each listener to stdout, which is all that the server ever prints there.
///
/// # Errors
/// When stdout cannot be written.
pub fn announce(addresses: &[Address]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for address in addresses {
        writeln!(stdout, "listening on {address}")?;
    }
    stdout.flush()
}

fn bind_tcp(address: SocketAddr, config: &Config) -> anyhow::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(config.reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(shares_port_with_v4(address.port(), &config.listen))?;
    }
    // Accepted sockets inherit these from the listener, which saves three calls for each connection. An echo must not
    // wait for more data to send (Nagle); urgent data is echoed in its place like any other, though a tokio task may see
    // what follows it only with the next bytes, as tokio's own reads do; a client that vanished without a word is
    // found out.
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.set_keepalive(true)?;
    socket.bind(&address.into()).map_err(|error| explain(error, address.port()))?;
    socket.listen(config.backlog).map_err(|error| explain(error, address.port()))?;
    let bound = socket.local_addr()?.as_socket().expect("a TCP socket is bound to an IP address");
    Ok(Listener { socket: socket.into(), address: bound.into(), _file: None })
}

/// `[::]` takes IPv4 as well, unless a listener for IPv4 wants the same port for itself.
fn shares_port_with_v4(port: u16, listen: &[Address]) -> bool {
    listen.iter().any(|other| match other {
        Address::Tcp { host, port: taken } => *taken == port && port != 0 && !host.contains(':'),
        Address::Unix(_) => false,
    })
}

fn bind_unix(path: &Path, config: &Config) -> anyhow::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    socket.bind(&address)?;
    let file = SocketFile(path.to_owned());
    socket.listen(config.backlog)?;
    Ok(Listener { socket: socket.into(), address: Address::Unix(path.to_owned()), _file: Some(file) })
}

/// Removes the socket file that a server which did not end cleanly has left behind.
fn remove_stale(path: &Path, address: &SockAddr) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        anyhow::bail!("the file exists and is no socket; choose another path or remove it");
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(address) {
        Err(error) if error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error()) => {
            tracing::info!(path = %path.display(), "removing the socket file of a server that is gone");
            fs::remove_file(path).context("cannot remove the socket file of a server that is gone")
        }
        _ => anyhow::bail!("another process listens there; stop it or choose another path"),
    }
}

/// What to do about an address that cannot be bound.
fn explain(error: io::Error, port: u16) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, choose another port (0 takes a free one), or start both \
             with --reuse-port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this host does not have that address; 0.0.0.0 and [::] take them all"
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "a port under 1024 needs CAP_NET_BIND_SERVICE (or a lower net.ipv4.ip_unprivileged_port_start); \
             choose a higher one"
        }
        _ => return error.into(),
    };
    anyhow::Error::new(error).context(hint)
}

/// The file of a unix socket, removed when its listener goes.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the socket's file");
        }
    }
}
