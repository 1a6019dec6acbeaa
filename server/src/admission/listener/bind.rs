//! Binds the addresses of the command line.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context;
use common::Address;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{
    Inherited, Listener, Purpose,
    file::{Ownership, SocketFile, remove_stale},
};
use crate::daemon::config::{Config, Listen};

/// Binds an address, unless an inherited socket is bound to it. A name with several addresses gets a listener for each.
pub(super) fn bind(
    address: &Address,
    purpose: Purpose,
    config: &Config,
    inherited: &mut Inherited,
) -> anyhow::Result<Vec<Listener>> {
    match address {
        Address::Unix(path) => match inherited.take_unix(path) {
            Some(listener) => Ok(vec![listener]),
            None => Ok(vec![bind_unix(path, config)?]),
        },
        Address::Tcp { host, .. } => {
            let resolved = address.resolve()?;
            let only_v6 = resolved.iter().any(SocketAddr::is_ipv4)
                || shares_port_with_v4(resolved[0].port(), &config.listen);
            let bind = |one: SocketAddr| {
                let mut listener = match inherited.take_tcp(one, purpose, only_v6)? {
                    Some(listener) => listener,
                    None => bind_tcp(one, purpose, only_v6, config)?,
                };
                if let (true, Address::Tcp { host: its, .. }) = (host.contains('%'), &mut listener.address) {
                    // The kernel returns the number of the zone, and not its name.
                    its.clone_from(host);
                }
                Ok(listener)
            };
            with_one_port(&resolved, bind, Listener::port)
        }
    }
}

/// How many requests for metrics can wait.
const METRICS_BACKLOG: i32 = 64;

/// How many free ports to try for a name with several addresses.
const PORTS_MAX: usize = 16;

/// Binds every address of a name. Port 0 becomes the same free port at all of them, so a client reaches the server at each
/// address of the name.
fn with_one_port<L>(
    addresses: &[SocketAddr],
    mut bind: impl FnMut(SocketAddr) -> anyhow::Result<L>,
    port: impl Fn(&L) -> u16,
) -> anyhow::Result<Vec<L>> {
    let (first, others) = addresses.split_first().context("the name has no address")?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut bound = vec![bind(*first)?];
        let free = port(&bound[0]);
        let rest = others.iter().try_for_each(|other| {
            let mut other = *other;
            other.set_port(free);
            bound.push(bind(other)?);
            Ok(())
        });
        match rest {
            Ok(()) => return Ok(bound),
            // A port that is free at one address may be in use at another.
            Err(error) if first.port() == 0 && attempts < PORTS_MAX && is_taken(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn bind_tcp(
    address: SocketAddr,
    purpose: Purpose,
    only_v6: bool,
    config: &Config,
) -> anyhow::Result<Listener> {
    let explain = |error| explain(error, purpose, address.port());
    let (reuse_port, backlog) = match purpose {
        Purpose::Echo => (config.reuse_port, config.backlog),
        // A scrape must not get the numbers of one process or another by chance.
        Purpose::Metrics => (false, METRICS_BACKLOG),
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    super::set_options_for_connections(&socket)?;
    socket.bind(&address.into()).map_err(explain)?;
    socket.listen(backlog).map_err(explain)?;
    let bound = socket.local_addr()?.as_socket().expect("a TCP socket is bound to an IP address");
    Ok(Listener {
        socket: Arc::new(socket.into()),
        address: bound.into(),
        is_any_port: address.port() == 0,
        file: None,
    })
}

/// `[::]` accepts IPv4 as well, unless another listener has the same port for IPv4.
fn shares_port_with_v4(port: u16, listen: &[Listen]) -> bool {
    listen.iter().any(|other| match other {
        Listen::Address(Address::Tcp { host, port: taken }) => {
            *taken == port && port != 0 && !host.contains(':')
        }
        Listen::Address(Address::Unix(_)) | Listen::Passed(_) => false,
    })
}

fn bind_unix(path: &Path, config: &Config) -> anyhow::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    socket.bind(&address)?;
    let file = SocketFile::new(path, Ownership::default())?;
    socket.listen(config.backlog)?;
    Ok(Listener {
        socket: Arc::new(socket.into()),
        address: Address::Unix(path.to_owned()),
        is_any_port: false,
        file: Some(file),
    })
}

/// Adds advice to the error of bind(2) or listen(2).
fn explain(error: io::Error, purpose: Purpose, port: u16) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => match purpose {
            Purpose::Echo => {
                "another process listens there; stop it, choose another port (0 takes a free one), or start both \
                 with --reuse-port"
            }
            Purpose::Metrics => {
                "another process listens there; stop it, or choose another port (0 takes a free one)"
            }
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Binds in a simulated network: its free ports are 1, 2, 3 and so on, and some are in use.
    fn bind(addresses: &[&str], taken: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut next_free = 0;
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let bind = |mut address: SocketAddr| {
            if address.port() == 0 {
                next_free += 1;
                address.set_port(next_free);
            }
            match taken.contains(&address.to_string().as_str()) {
                true => Err(explain(io::ErrorKind::AddrInUse.into(), Purpose::Echo, address.port())),
                false => Ok(address),
            }
        };
        let bound = with_one_port(&addresses, bind, SocketAddr::port)?;
        Ok(bound.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_with_two_addresses_gets_one_port_that_is_free_at_both() {
        let both = ["127.0.0.1:0", "[::1]:0"];
        assert_eq!(bind(&both, &[]).unwrap(), ["127.0.0.1:1", "[::1]:1"]);
        assert_eq!(bind(&both, &["[::1]:1", "[::1]:2"]).unwrap(), ["127.0.0.1:3", "[::1]:3"]);
        let all: Vec<_> = (1..=PORTS_MAX + 1).map(|port| format!("[::1]:{port}")).collect();
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        assert!(is_taken(&bind(&both, &all).unwrap_err()));
        // A fixed port is never replaced by another one.
        assert!(bind(&["127.0.0.1:5", "[::1]:5"], &["[::1]:5"]).is_err());
    }
}
