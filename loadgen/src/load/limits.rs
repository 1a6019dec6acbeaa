//! The limits of the machine: open files, local ports and source addresses.

use std::fs;

use common::human::plural;

/// The number of source addresses of the loopback network that clients use: 127.0.0.1 to 127.0.0.250.
pub(crate) const LOOPBACK_SOURCES_MAX: u64 = 250;

/// Open files besides connections and load threads: standard streams, event descriptors, the pipes of a server, and files
/// that are open for a moment.
const OTHER_FILES: u64 = 40;
/// The port range is not filled completely: the kernel needs long to find the last free ports, and other processes need
/// some.
const PORTS_USED_OF_100: u64 = 90;

/// Why this machine does not allow a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    /// The open-files limit is too low.
    #[error(
        "{} need about {needed} open files, and the hard limit is {limit}: raise it (ulimit -n, LimitNOFILE=){}",
        plural(*connections, "connection"), or_use(*possible)
    )]
    OpenFiles {
        /// The requested connections.
        connections: u64,
        /// The open files that they need.
        needed: u64,
        /// The hard limit.
        limit: u64,
        /// The connections that the limit allows.
        possible: u64,
    },
    /// Too few local ports.
    #[error(
        "{connections} connections to one target need as many local ports; this machine has {ports} \
         for {} (net.ipv4.ip_local_port_range): widen the range, give more addresses with --source, or give several \
         targets{}", source_addresses(*sources), or_use(*possible)
    )]
    LocalPorts {
        /// Connections to the target with the most of them.
        connections: u64,
        /// Local ports of this machine.
        ports: u64,
        /// Source addresses.
        sources: u64,
        /// The connections that are possible, to all targets together.
        possible: u64,
    },
}

fn source_addresses(sources: u64) -> String {
    match sources {
        1 => "its source address".to_owned(),
        sources => format!("each of {sources} source addresses"),
    }
}

/// Advice to use fewer connections.
fn or_use(possible: u64) -> String {
    if possible == 0 { String::new() } else { format!(", or use -c {possible}") }
}

/// Checks that `connections` fit into `limit` open files.
///
/// # Errors
/// [`LimitError::OpenFiles`].
pub(crate) fn check_open_files(connections: u64, threads: u64, limit: u64) -> Result<(), LimitError> {
    let others = OTHER_FILES + 2 * threads;
    let needed = connections + others;
    if needed <= limit {
        return Ok(());
    }
    // A round number is easier to read and to type.
    let possible = limit.saturating_sub(others);
    let possible = if possible > 1000 { possible / 100 * 100 } else { possible };
    Err(LimitError::OpenFiles { connections, needed, limit, possible })
}

/// The number of source addresses that `connections` to `targets` need, with `ports` local ports for each of `sources`
/// addresses.
///
/// # Errors
/// [`LimitError::LocalPorts`].
pub(crate) fn sources_needed(
    connections: u64,
    targets: u64,
    ports: u64,
    sources: u64,
) -> Result<u64, LimitError> {
    let usable = (ports * PORTS_USED_OF_100 / 100).max(1);
    let most = connections.div_ceil(targets);
    // A single address may use all its ports; the margin helps to choose among several addresses.
    if most <= ports {
        return Ok(most.div_ceil(usable).min(sources));
    }
    match most.div_ceil(usable) {
        needed if needed <= sources => Ok(needed),
        _ => Err(LimitError::LocalPorts {
            connections: most,
            ports,
            sources,
            possible: usable * sources * targets,
        }),
    }
}

/// The number of local ports (ip(7), `ip_local_port_range`). The kernel's default if the range cannot be read.
pub(crate) fn local_ports() -> u64 {
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
    fn the_error_names_the_limit_and_the_possible_connections() {
        assert_eq!(check_open_files(19_900, 1, 20_000), Ok(()));
        assert_eq!(
            check_open_files(20_000, 1, 20_000).unwrap_err().to_string(),
            "20,000 connections need about 20042 open files, and the hard limit is 20000: raise it (ulimit -n, \
             LimitNOFILE=), or use -c 19900"
        );
        // Each load thread needs two.
        assert_eq!(check_open_files(944, 8, 1_000), Ok(()));
        let of_threads = check_open_files(945, 8, 1_000).unwrap_err().to_string();
        assert!(
            of_threads.contains("about 1001 open files") && of_threads.ends_with("-c 944"),
            "{of_threads}"
        );
        // No number of connections is possible, so there is no such advice.
        let none = check_open_files(1, 1, 10).unwrap_err().to_string();
        assert!(none.ends_with("(ulimit -n, LimitNOFILE=)"), "{none}");
    }

    #[test]
    fn connections_need_as_many_source_addresses_as_have_ports() {
        for (connections, targets, ports, sources, needed) in [
            (500, 1, 28_232, 250, Some(1)),
            (40_000, 1, 28_232, 250, Some(2)),
            (40_000, 2, 28_232, 1, Some(1)),
            (40_000, 1, 28_232, 1, None),
            (28_232, 1, 28_232, 1, Some(1)),
            (40_000, 1, 28_232, 2, Some(2)),
            (60_000, 1, 28_232, 2, None),
            (1_000_000, 1, 100, 250, None),
        ] {
            assert_eq!(sources_needed(connections, targets, ports, sources).ok(), needed, "{connections}");
        }
        let text = |sources| sources_needed(60_000, 1, 28_232, sources).unwrap_err().to_string();
        assert!(
            text(1).contains("has 28232 for its source address (net.ipv4.ip_local_port_range)"),
            "{}",
            text(1)
        );
        assert!(text(2).contains("for each of 2 source addresses"), "{}", text(2));
        let to_three = sources_needed(400_000, 3, 28_232, 2).unwrap_err().to_string();
        assert!(to_three.ends_with("or use -c 152448"), "{to_three}");
        assert!(
            text(2).contains("more addresses with --source") && text(2).ends_with("or use -c 50816"),
            "{}",
            text(2)
        );
    }

    #[test]
    fn the_port_range_is_parsed() {
        assert_eq!(parse_port_range("32768\t60999\n"), Some(28_232));
        for text in ["", "1", "a b", "2 1"] {
            assert_eq!(parse_port_range(text), None);
        }
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        assert_eq!(Some(local_ports()), parse_port_range(&text));
    }
}
