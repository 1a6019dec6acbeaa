//! The addresses that servers listen on and clients connect to.

use std::{
    fmt, io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs},
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// An address as it is written on the command line: `host:port`, `[v6]:port`, `[v6%zone]:port` or `unix:/path`.
///
/// ```
/// use common::Address;
///
/// let address: Address = "[fe80::1%eth0]:8080".parse()?;
/// assert_eq!(address.to_string(), "[fe80::1%eth0]:8080");
/// assert!("8080".parse::<Address>().is_err());
/// # Ok::<(), common::address::ParseAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port of a host.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without its brackets. The IPv6 address may have a zone (RFC 4007):
        /// `%` and the name or the number of a network interface. Never empty.
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
    /// No `:port` follows this host.
    #[error("no port: write {0}:PORT")]
    NoPort(String),
    /// The text is only a port.
    #[error(
        "no host: write 127.0.0.1:{0}, 0.0.0.0:{0} for every IPv4 address, or [::]:{0} for every address"
    )]
    NoHost(String),
    /// The text after the host is not a port.
    #[error("'{0}' is not a port: a port is a number from 0 to 65535")]
    BadPort(String),
    /// The text before the port is not a host.
    #[error("'{0}' is not a host: write a name, an IPv4 address, or an IPv6 address in brackets")]
    BadHost(String),
    /// A URL. The value is the address in it.
    #[error("a URL is not an address: write {0}")]
    Url(String),
    /// Without brackets, an IPv6 address and its port are ambiguous. The value is the probable address.
    #[error("an IPv6 address needs brackets: write {0}")]
    NoBrackets(String),
    /// The closing bracket is missing.
    #[error("the bracket is not closed: write [v6]:PORT, as in [::1]:8080")]
    OpenBracket,
    /// The text in brackets is not an IPv6 address.
    #[error("'{0}' is not an IPv6 address")]
    BadV6(String),
    /// The text after `%` is not the name or number of a network interface.
    #[error(
        "'{0}' is not a zone: write the name or the number of a network interface, as in [fe80::1%eth0]:8080"
    )]
    BadZone(String),
    /// A link-local address exists once for each network interface.
    #[error(
        "a link-local address needs a zone, its network interface: write [{0}%INTERFACE]:PORT, as in \
         [{0}%eth0]:8080; 'ip -6 address' shows the interfaces"
    )]
    NoZone(Ipv6Addr),
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

    /// The socket addresses of a TCP address: at least one, without duplicates.
    ///
    /// # Errors
    /// When the host's name does not resolve, the zone is not a network interface of this host, or this is a unix socket.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let Address::Tcp { host, port } = self else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a unix socket has no IP address"));
        };
        if let Some((ip, zone)) = host.split_once('%') {
            let ip = ip.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            return Ok(vec![SocketAddrV6::new(ip, *port, 0, interface(zone)?).into()]);
        }
        let mut addresses = Vec::new();
        for address in (host.as_str(), *port).to_socket_addrs()? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("'{host}' has no address")));
        }
        Ok(addresses)
    }
}

/// The number of a zone's network interface.
fn interface(zone: &str) -> io::Result<u32> {
    // A socket of any kind selects the network namespace (netdevice(7)).
    let network = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    let found = match zone.parse() {
        Ok(number) => netdevice::index_to_name(&network, number).map(|_| number),
        Err(_) => netdevice::name_to_index(&network, zone),
    };
    found.map_err(|_| {
        let reason = format!("there is no network interface '{zone}' here; 'ip link' lists them");
        io::Error::new(io::ErrorKind::NotFound, reason)
    })
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
        if let Some((_, rest)) = text.split_once("://") {
            return Err(ParseAddressError::Url(authority(rest)));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (v6, port) = bracketed.split_once(']').ok_or(ParseAddressError::OpenBracket)?;
                (check_v6(v6)?, port)
            }
            None => match text.find(':') {
                Some(colon) => (check_host(text, colon)?, &text[colon..]),
                None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    return Err(ParseAddressError::NoHost(text.to_owned()));
                }
                None => (check_host(text, text.len())?, ""),
            },
        };
        match port.strip_prefix(':') {
            Some(port) => Ok(Address::Tcp { host: host.to_owned(), port: parse_port(port)? }),
            None if port.is_empty() => Err(ParseAddressError::NoPort(match host.contains(':') {
                true => format!("[{host}]"),
                false => host.to_owned(),
            })),
            None => Err(ParseAddressError::BadPort(port.to_owned())),
        }
    }
}

/// The host and port of a URL, as an address.
fn authority(rest: &str) -> String {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit('@').next().unwrap_or_default();
    match address.parse::<Address>() {
        Ok(address) => address.to_string(),
        Err(ParseAddressError::NoPort(host)) => format!("{host}:PORT"),
        Err(_) => "HOST:PORT".to_owned(),
    }
}

/// Checks the host, which is the text before the byte `end`.
fn check_host(text: &str, end: usize) -> Result<&str, ParseAddressError> {
    let host = &text[..end];
    if let Some((host, port)) = text.rsplit_once(':')
        && host.contains(':')
    {
        let is_v6 = |text: &str| text.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
        return Err(match parse_port(port) {
            Ok(port) if is_v6(host) => ParseAddressError::NoBrackets(format!("[{host}]:{port}")),
            _ if is_v6(text) => ParseAddressError::NoBrackets(format!("[{text}]:PORT")),
            _ => ParseAddressError::BadHost(host.to_owned()),
        });
    }
    if host.is_empty() {
        let port = parse_port(text.get(end + 1..).unwrap_or_default());
        return Err(ParseAddressError::NoHost(port.map_or("PORT".to_owned(), |port| port.to_string())));
    }
    let is_wrong = |c: char| c.is_whitespace() || c.is_control() || "/\\@%[]?#'\"".contains(c);
    match host.contains(is_wrong) {
        true => Err(ParseAddressError::BadHost(host.to_owned())),
        false => Ok(host),
    }
}

/// Checks the text in brackets: an IPv6 address, with a zone if it is link-local.
fn check_v6(text: &str) -> Result<&str, ParseAddressError> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let ip: Ipv6Addr = ip.parse().map_err(|_| ParseAddressError::BadV6(text.to_owned()))?;
    match zone {
        None if ip.is_unicast_link_local() => Err(ParseAddressError::NoZone(ip)),
        None => Ok(text),
        Some(zone) if is_zone(zone) => Ok(text),
        Some(zone) => Err(ParseAddressError::BadZone(zone.to_owned())),
    }
}

/// Whether a network interface can have this name or number (netdevice(7), `IFNAMSIZ`). No interface has number 0.
fn is_zone(zone: &str) -> bool {
    let is_name = (1..=15).contains(&zone.len())
        && zone.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"/:%[]".contains(c));
    let is_number = zone.bytes().all(|byte| byte.is_ascii_digit());
    is_name && (!is_number || zone.parse().is_ok_and(|number: u32| number > 0))
}

/// Parses digits only: the standard library also accepts a sign.
fn parse_port(text: &str) -> Result<u16, ParseAddressError> {
    let port = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| ParseAddressError::BadPort(text.to_owned()))
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Address::Tcp { host, port: address.port() }
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
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn an_address_that_is_printed_can_be_parsed_again() {
        for text in [
            "127.0.0.1:8080",
            "localhost:0",
            "[::1]:65535",
            "[::]:80",
            "[fe80::1%eth0.5]:80",
            "[fe80::1%2]:80",
            "unix:/run/echo.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let v6 = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 7);
        assert_eq!(Address::from(SocketAddr::from(v6)).to_string(), "[fe80::1%7]:80");
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        use ParseAddressError::*;
        let owned = str::to_owned;
        let long = "x".repeat(108);
        for (text, error) in [
            ("localhost", NoPort(owned("localhost"))),
            ("[::1]", NoPort(owned("[::1]"))),
            ("[fe80::1%lo]", NoPort(owned("[fe80::1%lo]"))),
            ("8080", NoHost(owned("8080"))),
            (":8080", NoHost(owned("8080"))),
            (":+80", NoHost(owned("PORT"))),
            ("", NoHost(owned("PORT"))),
            ("localhost:", BadPort(owned(""))),
            ("localhost:http", BadPort(owned("http"))),
            ("localhost:65536", BadPort(owned("65536"))),
            ("localhost:+80", BadPort(owned("+80"))),
            ("localhost:80/path", BadPort(owned("80/path"))),
            ("[::1]80", BadPort(owned("80"))),
            ("http://127.0.0.1:38269", Url(owned("127.0.0.1:38269"))),
            ("http://user@[::1]:80/path", Url(owned("[::1]:80"))),
            ("https://example.org/a:b", Url(owned("example.org:PORT"))),
            ("tcp://", Url(owned("HOST:PORT"))),
            ("::1", NoBrackets(owned("[::1]:PORT"))),
            ("fe80::1%lo", NoBrackets(owned("[fe80::1%lo]:PORT"))),
            ("::1:8080", NoBrackets(owned("[::1]:8080"))),
            ("1:2:3:4:5:6:7:8:80", NoBrackets(owned("[1:2:3:4:5:6:7:8]:80"))),
            ("fe80::1%lo:80", NoBrackets(owned("[fe80::1%lo]:80"))),
            ("a:b:80", BadHost(owned("a:b"))),
            ("me@host:80", BadHost(owned("me@host"))),
            ("two words:80", BadHost(owned("two words"))),
            ("127.0.0.1%lo:80", BadHost(owned("127.0.0.1%lo"))),
            ("[::1:80", OpenBracket),
            ("[::g]:8080", BadV6(owned("::g"))),
            ("[127.0.0.1]:8080", BadV6(owned("127.0.0.1"))),
            ("[fe80::1]:80", NoZone("fe80::1".parse().unwrap())),
            ("[fe80::1%]:80", BadZone(owned(""))),
            ("[fe80::1%0]:80", BadZone(owned("0"))),
            ("[fe80::1%a/b]:80", BadZone(owned("a/b"))),
            ("[fe80::1%sixteen-letters-]:80", BadZone(owned("sixteen-letters-"))),
            ("unix:", NoPath),
            (&format!("unix:{long}"), LongPath(108)),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), error, "{text}");
        }
    }

    /// Texts that are close to an address.
    fn texts() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "127.0.0.1",
            "localhost",
            "::1",
            "fe80::1",
            "::",
            "[",
            "]",
            ":",
            "%",
            "lo",
            "0",
            "80",
            "65535",
            "65536",
            "unix:",
            "/run/a",
            "http://",
            "@",
            "/",
            " ",
            "-",
            "\0",
            "\u{e9}",
            ".",
            "?",
            "#",
            "\n",
        ]);
        prop_oneof![3 => vec(piece, 0..7).prop_map(|pieces| pieces.concat()), 1 => "\\PC{0,20}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_an_address_that_is_printed_as_it_was_written_or_an_error(text in texts()) {
            match text.parse::<Address>() {
                Ok(address) => {
                    let printed = address.to_string();
                    prop_assert_eq!(printed.parse::<Address>(), Ok(address));
                    // Only the port may have been written with zeros in front.
                    prop_assert!(printed == text || text.contains(":0"), "{} and {}", printed, text);
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn a_name_resolves_and_a_unix_socket_does_not() {
        let loopback: Address = "127.0.0.1:7".parse().unwrap();
        assert_eq!(loopback.resolve().unwrap(), ["127.0.0.1:7".parse().unwrap()]);
        assert!(Address::Unix("/x".into()).resolve().is_err());
    }

    #[test]
    fn a_zone_is_the_name_or_the_number_of_an_interface() {
        // The first interface of every network namespace is the loopback device.
        let expected = SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 1));
        for text in ["[fe80::1%lo]:7", "[fe80::1%1]:7"] {
            assert_eq!(text.parse::<Address>().unwrap().resolve().unwrap(), [expected], "{text}");
        }
        for zone in ["nowhere0", "4000000000"] {
            let address: Address = format!("[fe80::1%{zone}]:7").parse().unwrap();
            let error = address.resolve().unwrap_err().to_string();
            assert!(error.contains(&format!("no network interface '{zone}'")), "{error}");
        }
    }
}
