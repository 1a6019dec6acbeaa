//! What bounds a run before it begins: open files, local ports and source addresses.

use std::fs;

/// Source addresses at most: 127.0.0.1 to 127.0.0.250.
pub const SOURCES_MAX: u64 = 250;

/// What a load thread and the rest of the process need besides the connections: standard streams, the epoll
/// and event descriptors, a server's pipes, files that are read for a moment.
const FILES_BESIDE: u64 = 40;
/// The port range is not filled to its end: finding the last free ports gets slow, and others need some.
const PORTS_USED_OF_100: u64 = 90;

/// Why a run cannot be made on this machine as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The open-files limit.
    #[error(
        "{connections} connections need about {needed} open files; the hard limit is {limit}: raise it \
         (ulimit -n, LimitNOFILE=){}", or_use(*possible)
    )]
    OpenFiles {
        /// What was asked for.
        connections: u64,
        /// What that needs.
        needed: u64,
        /// What the kernel grants.
        limit: u64,
        /// What would be possible.
        possible: u64,
    },
    /// The local ports.
    #[error(
        "{connections} connections to one target need as many local ports; this machine has {ports} \
         (net.ipv4.ip_local_port_range): widen the range or give several targets{}", or_use(*possible)
    )]
    LocalPorts {
        /// To the target that has the most.
        connections: u64,
        /// What the kernel may give out.
        ports: u64,
        /// What would be possible for all targets together.
        possible: u64,
    },
}

/// Fewer connections may do, if any.
fn or_use(possible: u64) -> String {
    if possible == 0 { String::new() } else { format!(", or use -c {possible}") }
}

/// Whether `connections` fit into `limit` open files.
///
/// # Errors
/// When they do not.
pub fn check_open_files(connections: u64, threads: u64, limit: u64) -> Result<(), LimitError> {
    let beside = FILES_BESIDE + 2 * threads;
    let needed = connections + beside;
    if needed <= limit {
        return Ok(());
    }
    // Rounded down, as a person would.
    let possible = limit.saturating_sub(beside);
    let possible = if possible > 1000 { possible / 100 * 100 } else { possible };
    Err(LimitError::OpenFiles { connections, needed, limit, possible })
}

/// How many source addresses `connections` to one target need, when each carries `ports` connections. Only on
/// the loopback network is there more than one.
///
/// # Errors
/// When there are not enough.
pub fn sources_needed(connections: u64, targets: u64, ports: u64, loopback: bool) -> Result<u64, LimitError> {
    let usable = (ports * PORTS_USED_OF_100 / 100).max(1);
    let sources = if loopback { SOURCES_MAX } else { 1 };
    let most = connections.div_ceil(targets);
    // One address may be used to its end: the margin is for choosing among several.
    if most <= ports {
        return Ok(most.div_ceil(usable).min(sources));
    }
    match most.div_ceil(usable) {
        needed if needed <= sources => Ok(needed),
        _ => Err(LimitError::LocalPorts { connections: most, ports, possible: usable * sources * targets }),
    }
}

/// How many local ports the kernel gives out (ip(7), `ip_local_port_range`); its default where it cannot be
/// read.
pub fn local_ports() -> u64 {
    const KERNEL_DEFAULT: u64 = 60_999 - 32_768 + 1;
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    parse_port_range(&text).unwrap_or(KERNEL_DEFAULT)
}

fn parse_port_range(text: &str) -> Option<u64> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first <= last).then(|| last - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_limit_and_what_would_fit() {
        assert_eq!(check_open_files(19_900, 1, 20_000), Ok(()));
        assert_eq!(
            check_open_files(20_000, 1, 20_000).unwrap_err().to_string(),
            "20000 connections need about 20042 open files; the hard limit is 20000: raise it \
             (ulimit -n, LimitNOFILE=), or use -c 19900"
        );
        assert!(check_open_files(19_900, 1, 20_000).is_ok());
        // No number of connections is possible, and none is advised.
        let none = check_open_files(1, 1, 10).unwrap_err().to_string();
        assert!(none.ends_with("(ulimit -n, LimitNOFILE=)"), "{none}");
    }

    #[test]
    fn loopback_has_further_source_addresses_and_a_network_has_not() {
        for (connections, targets, ports, loopback, sources) in [
            (500, 1, 28_232, true, Some(1)),
            (40_000, 1, 28_232, true, Some(2)),
            (40_000, 2, 28_232, false, Some(1)),
            (40_000, 1, 28_232, false, None),
            (28_232, 1, 28_232, false, Some(1)),
            (1_000_000, 1, 100, true, None),
        ] {
            assert_eq!(sources_needed(connections, targets, ports, loopback).ok(), sources, "{connections}");
        }
    }

    #[test]
    fn the_port_range_is_read() {
        assert_eq!(parse_port_range("32768\t60999\n"), Some(28_232));
        for text in ["", "1", "a b", "2 1"] {
            assert_eq!(parse_port_range(text), None);
        }
    }
}
