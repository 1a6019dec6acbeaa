//! Which clients may connect: `--allow`, `--deny` and their networks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The rules for the address of a client. The default permits every address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientRules {
    /// If there are any, only clients in one of these networks are admitted.
    pub allow: Vec<IpNet>,
    /// Clients in one of these networks are refused, also if they are in a network of `allow`.
    pub deny: Vec<IpNet>,
    /// Most open connections of one IPv4 address or one IPv6 /64; at least 1.
    pub max_connections_per_ip: Option<u32>,
}

impl ClientRules {
    /// Whether a client with this address may connect. An IPv6 address that stands for an IPv4 address must have been
    /// converted ([`IpAddr::to_canonical`]).
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

/// Reads a network in CIDR notation, or an address, which is a network with one address.
///
/// # Errors
/// When it is neither, or when the address has bits that the prefix does not cover. The error says what to write.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, String> {
    let not_one = |_| {
        format!(
            "'{text}' is not a network: write an address and a prefix length, as in 10.0.0.0/8 or 2001:db8::/32"
        )
    };
    let network = match text.contains('/') {
        true => text.parse::<IpNet>().map_err(|_| not_one(()))?,
        false => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| not_one(()))?,
    };
    if network != network.trunc() {
        let (whole, address) = (network.trunc(), network.addr());
        return Err(format!(
            "'{text}' has bits after its prefix: write {whole}, or {address} for one address"
        ));
    }
    Ok(canonical(network))
}

/// The IPv4 network that an IPv6 network of IPv4-mapped addresses stands for.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(MAPPED_PREFIX)) {
        (IpAddr::V4(address), Some(prefix)) if network.addr().is_ipv6() => {
            Ipv4Net::new(address, prefix).expect("128 - 96 is the length of an IPv4 address").into()
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> ClientRules {
        let parse = |networks: &[&str]| networks.iter().map(|text| parse_network(text).unwrap()).collect();
        ClientRules { allow: parse(allow), deny: parse(deny), ..ClientRules::default() }
    }

    #[test]
    fn deny_wins_and_any_allow_denies_all_others() {
        for (allow, deny, permitted, refused) in [
            (&[][..], &[][..], &["10.0.0.1", "::1"][..], &[][..]),
            (&[], &["10.0.0.0/8"], &["11.0.0.1", "::1"], &["10.255.0.1"]),
            (&["10.0.0.0/8"], &[], &["10.0.0.1"], &["11.0.0.1", "::1"]),
            (&["10.0.0.0/8", "::1"], &["10.1.0.0/16"], &["10.0.0.1", "::1"], &["10.1.2.3", "::2"]),
            (&["::/0"], &[], &["2001:db8::1"], &["10.0.0.1"]),
            (&["0.0.0.0/0"], &["::/0"], &["10.0.0.1"], &["2001:db8::1"]),
            (&["::ffff:10.0.0.0/104"], &[], &["10.1.2.3"], &["11.0.0.1"]),
        ] {
            let rules = rules(allow, deny);
            for (addresses, expected) in [(permitted, true), (refused, false)] {
                for address in addresses {
                    let permits = rules.permits(address.parse().unwrap());
                    assert_eq!(permits, expected, "{address} with {allow:?} and {deny:?}");
                }
            }
        }
    }

    #[test]
    fn a_network_is_read_as_it_is_written() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(parse_network(text).unwrap().to_string(), network, "{text}");
        }
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "localhost", "10.0.0.0/", "fe80::1%eth0", "unix:/a"]
        {
            let error = parse_network(text).unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is not a network: write ")), "{error}");
        }
        let error = parse_network("192.168.1.10/24").unwrap_err();
        assert!(error.ends_with("write 192.168.1.0/24, or 192.168.1.10 for one address"), "{error}");
    }
}
