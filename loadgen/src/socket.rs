//! Non-blocking client sockets, TCP and unix.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
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

/// The beginning of `struct tcp_info` (linux/tcp.h), which every kernel knows: it grows at its end, and the kernel gives as
/// much of it as is asked for.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TcpInfoHead {
    states: [u8; 8],
    figures: [u32; 23],
    /// Segments that were sent again.
    total_retransmissions: u32,
}

sockopt_impl!(
    /// What the kernel knows of a TCP connection.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfoHead
);

use crate::timestamps;

/// Where clients connect to: an address that needs no further look-up.
#[derive(Clone, Debug)]
pub enum Target {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(SocketAddrUnix),
}

/// A connection attempt that did not fail at once.
#[derive(Debug)]
pub enum Attempt {
    /// The connection is there.
    Connected(OwnedFd),
    /// It will be there, or fail, when the socket gets writable.
    UnderWay(OwnedFd),
}

impl Target {
    /// The targets that an address stands for, in the order of preference; at least one.
    ///
    /// # Errors
    /// When a name does not resolve.
    pub fn resolve(address: &Address) -> io::Result<Vec<Self>> {
        match address {
            Address::Unix(path) => Ok(vec![Target::Unix(SocketAddrUnix::new(path.as_path())?)]),
            Address::Tcp { .. } => Ok(address.resolve()?.into_iter().map(Target::Tcp).collect()),
        }
    }

    /// Whether further source addresses are at hand: all of 127.0.0.0/8 is this machine.
    pub fn is_loopback_v4(&self) -> bool {
        matches!(self, Target::Tcp(SocketAddr::V4(address)) if address.ip().is_loopback())
    }

    /// Whether each connection takes a local port.
    pub fn takes_port(&self) -> bool {
        matches!(self, Target::Tcp(_))
    }

    /// Begins to connect a new non-blocking socket, from source address number `source`: 0 leaves the choice to
    /// the kernel, `n` is 127.0.0.(n+1) and only for loopback IPv4. With `timestamps`, the kernel notes when what a
    /// TCP socket receives was ready.
    ///
    /// # Errors
    /// What the kernel says; `AGAIN` means that a unix socket's backlog is full.
    pub fn connect(&self, source: u8, timestamps: bool) -> Result<Attempt, Errno> {
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
                    timestamps::ask(&socket)?;
                }
                if source > 0 {
                    // The port is chosen when the socket connects: it may then be one that is in use towards
                    // another server, or rests after a connection (ip(7)).
                    nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)
                        .map_err(|error| Errno::from_raw_os_error(error as i32))?;
                    bind(&socket, &SocketAddr::new(source_address(source), 0))?;
                }
                connect(&socket, address)
            }
            Target::Unix(address) => connect(&socket, address),
        };
        match connected {
            Ok(()) => Ok(Attempt::Connected(socket)),
            Err(Errno::INPROGRESS) => Ok(Attempt::UnderWay(socket)),
            Err(error) => Err(error),
        }
    }
}

/// Segments that a TCP connection had to send again so far (tcp(7), `TCP_INFO`); 0 for a unix socket.
pub fn retransmissions(socket: &OwnedFd) -> u64 {
    nix::sys::socket::getsockopt(socket, TcpInfo).map_or(0, |info| info.total_retransmissions.into())
}

fn source_address(source: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, source + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_the_kernel_has_the_length_that_every_kernel_knows() {
        assert_eq!(size_of::<TcpInfoHead>(), 104);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(nix::sys::socket::getsockopt(&client, TcpInfo).is_ok());
        assert_eq!(retransmissions(&client.into()), 0);
    }

    #[test]
    fn the_first_source_address_after_the_kernels_choice_is_127_0_0_2() {
        assert_eq!(source_address(1).to_string(), "127.0.0.2");
    }
}
