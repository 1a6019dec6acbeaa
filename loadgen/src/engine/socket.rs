//! Non-blocking client sockets, TCP and unix.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use common::Address;
use nix::{getsockopt_impl, libc, sockopt_impl, sys::socket::sockopt::IpBindAddressNoPort};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt,
    },
};

/// The first part of `struct tcp_info` (linux/tcp.h). New kernels extend the struct at its end, and the kernel returns as many
/// bytes as the caller asks for.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(unreachable_pub, reason = "a public trait is implemented for it by the macro below")]
pub struct TcpInfoHead {
    states: [u8; 8],
    figures: [u32; 23],
    /// Retransmitted segments.
    total_retransmissions: u32,
}

sockopt_impl!(
    /// The kernel's information about a TCP connection.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfoHead
);

use crate::engine::timestamps;

/// A resolved address that clients connect to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(SocketAddrUnix),
}

/// A connection attempt that has not failed.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The connection is established.
    Connected(OwnedFd),
    /// The attempt is in progress. It ends when the socket becomes writable.
    InProgress(OwnedFd),
}

impl Target {
    /// The targets of an address, in the order of preference; at least one.
    ///
    /// # Errors
    /// When a name does not resolve.
    pub(crate) fn resolve(address: &Address) -> io::Result<Vec<Self>> {
        match address {
            Address::Unix(path) => Ok(vec![Target::Unix(SocketAddrUnix::new(path.as_path())?)]),
            Address::Tcp { .. } => Ok(address.resolve()?.into_iter().map(Target::Tcp).collect()),
        }
    }

    /// Whether there are further source addresses: the whole of 127.0.0.0/8 is this machine.
    pub(crate) fn is_loopback_v4(&self) -> bool {
        matches!(self, Target::Tcp(SocketAddr::V4(address)) if address.ip().is_loopback())
    }

    /// Whether each connection needs a local port.
    pub(crate) fn takes_port(&self) -> bool {
        matches!(self, Target::Tcp(_))
    }

    /// Starts to connect a new non-blocking socket from the local address `source`; without one the kernel chooses. With `timestamps`, the kernel records when received bytes of a TCP socket
    /// were ready.
    ///
    /// # Errors
    /// The kernel's error. `AGAIN` means that a unix socket's backlog is full.
    pub(crate) fn connect(&self, source: Option<IpAddr>, timestamps: bool) -> Result<Attempt, Errno> {
        let family = match self {
            Target::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Target::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
            Target::Unix(_) => AddressFamily::UNIX,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let tcp = self.takes_port().then_some(ipproto::TCP);
        let socket = socket_with(family, SocketType::STREAM, flags, tcp)?;
        let connected = match self {
            Target::Tcp(address) => {
                sockopt::set_tcp_nodelay(&socket, true)?;
                if timestamps {
                    timestamps::enable(&socket)?;
                }
                if let Some(source) = source {
                    // The kernel chooses the port at the connect. So it may choose a port that another connection to a
                    // different target uses, or one in TIME-WAIT (ip(7)).
                    nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)
                        .map_err(|error| Errno::from_raw_os_error(error as i32))?;
                    bind(&socket, &SocketAddr::new(source, 0))?;
                }
                connect(&socket, address)
            }
            Target::Unix(address) => connect(&socket, address),
        };
        match connected {
            Ok(()) => Ok(Attempt::Connected(socket)),
            Err(Errno::INPROGRESS) => Ok(Attempt::InProgress(socket)),
            Err(error) => Err(error),
        }
    }
}

/// Segments that a TCP connection has retransmitted (tcp(7), `TCP_INFO`); 0 for a unix socket.
pub(crate) fn retransmissions(socket: &OwnedFd) -> u64 {
    nix::sys::socket::getsockopt(socket, TcpInfo).map_or(0, |info| info.total_retransmissions.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_of_tcp_info_has_the_length_that_every_kernel_supports() {
        assert_eq!(size_of::<TcpInfoHead>(), 104);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(nix::sys::socket::getsockopt(&client, TcpInfo).is_ok());
        assert_eq!(retransmissions(&client.into()), 0);
    }
}
