//! Where a server listens and where clients connect to.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    str::FromStr,
};

/// An address as it is written on the command line: `host:port`, `[v6]:port` or `unix:/path`.
///
/// ```
/// use common::Address;
///
/// let address: Address = "[::1]:8080".parse()?;
/// assert_eq!(address.to_string(), "[::1]:8080");
/// assert!("8080".parse::<Address>().is_err());
/// # Ok::<(), common::address::ParseAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port of a host that is a name, an IPv4 address, or an IPv6 address (kept without its brackets).
    Tcp {
        /// The host, never empty.
        host: String,
        /// The port; 0 asks a listener for any free one.
        port: u16,
    },
    /// A unix stream socket in the file system.
    Unix(PathBuf),
}

/// Why a text is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// There is no `:port` at the end.
    #[error("no port: write host:port, [v6]:port or unix:/path")]
    NoPort,
    /// What follows the last colon is not a port.
    #[error("'{0}' is not a port: it must be a number from 0 to 65535")]
    BadPort(String),
    /// Nothing stands before the port.
    #[error("no host: write 0.0.0.0:port for every IPv4 address, [::]:port for every address")]
    NoHost,
    /// An IPv6 address without brackets cannot be told from its port.
    #[error("an IPv6 address needs brackets: [{0}]:port")]
    NoBrackets(String),
    /// What stands in brackets is not an IPv6 address.
    #[error("'{0}' is not an IPv6 address")]
    BadV6(String),
    /// `unix:` without a path.
    #[error("no path: write unix:/path/to/socket")]
    NoPath,
    /// The path does not fit into a socket address.
    #[error("the path has {0} bytes; a unix socket's path has at most {max}", max = Address::UNIX_PATH_BYTES_MAX)]
    LongPath(usize),
}

impl Address {
    /// The longest path of a unix socket in bytes (`sun_path` less its final NUL, unix(7)).
    pub const UNIX_PATH_BYTES_MAX: usize = 107;

    /// The socket addresses that a TCP address stands for, at least one.
    ///
    /// # Errors
    /// When the host's name does not resolve, or when this is a unix socket.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let Address::Tcp { host, port } = self else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a unix socket has no IP address"));
        };
        let addresses: Vec<_> = (host.as_str(), *port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("'{host}' has no address")));
        }
        Ok(addresses)
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(ParseAddressError::NoPath),
                length if length > Self::UNIX_PATH_BYTES_MAX => Err(ParseAddressError::LongPath(length)),
                _ => Ok(Address::Unix(Path::new(path).to_owned())),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(ParseAddressError::NoPort)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(other) => return Err(ParseAddressError::BadV6(other.to_owned())),
            None if host.contains(':') => return Err(ParseAddressError::NoBrackets(text.to_owned())),
            None if host.is_empty() => return Err(ParseAddressError::NoHost),
            None => host,
        };
        let port = port.parse().map_err(|_| ParseAddressError::BadPort(port.to_owned()))?;
        Ok(Address::Tcp { host: host.to_owned(), port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        for text in ["127.0.0.1:8080", "localhost:0", "[::1]:65535", "[::]:80", "unix:/run/echo.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        use ParseAddressError::*;
        let long = "x".repeat(108);
        for (text, error) in [
            ("localhost", NoPort),
            ("localhost:", BadPort("".into())),
            ("localhost:http", BadPort("http".into())),
            ("localhost:65536", BadPort("65536".into())),
            (":8080", NoHost),
            ("::1:8080", NoBrackets("::1:8080".into())),
            ("[::g]:8080", BadV6("::g".into())),
            ("unix:", NoPath),
            (&format!("unix:{long}"), LongPath(108)),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_name_resolves_and_a_unix_socket_does_not() {
        let loopback: Address = "127.0.0.1:7".parse().unwrap();
        assert_eq!(loopback.resolve().unwrap(), ["127.0.0.1:7".parse().unwrap()]);
        assert!(Address::Unix("/x".into()).resolve().is_err());
    }
}
