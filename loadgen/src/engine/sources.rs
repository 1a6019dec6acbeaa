//! The local addresses that clients connect from. A client keeps the number of its address: one byte for each client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, socket},
};

use crate::{
    engine::{error::RunError, socket::Target},
    load::limits::LOOPBACK_SOURCES_MAX,
};

/// The local addresses that clients connect from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The addresses of `--source`. Empty: the kernel chooses, and the loopback network has further addresses.
    given: Vec<IpAddr>,
}

impl Sources {
    /// The given addresses, or the kernel's choice if there are none.
    pub(crate) fn new(given: &[IpAddr]) -> Self {
        Self { given: given.to_vec() }
    }

    /// Checks that this machine has the given addresses.
    ///
    /// # Errors
    /// [`RunError::NoSuchSource`].
    pub(crate) fn check(&self) -> Result<(), RunError> {
        self.given.iter().try_for_each(|source| {
            try_bind(*source).map_err(|error| RunError::NoSuchSource {
                source_address: *source,
                reason: error.to_string(),
            })
        })
    }

    /// The number of addresses that clients of a target can connect from, at least 1.
    pub(crate) fn count(&self, target: &Target) -> u64 {
        match self.given.len() {
            0 if target.is_loopback_v4() => LOOPBACK_SOURCES_MAX,
            0 => 1,
            given => given as u64,
        }
    }

    /// The addresses that clients use in turn, if `needed` have ports enough: all given ones, or only the needed ones.
    pub(crate) fn in_turn(&self, needed: u64) -> u64 {
        if self.given.is_empty() { needed } else { self.given.len() as u64 }
    }

    /// The address with this number, from 0. None: the kernel chooses.
    pub(crate) fn address(&self, number: u8) -> Option<IpAddr> {
        match self.given.is_empty() {
            false => self.given.get(usize::from(number)).copied(),
            // The whole of 127.0.0.0/8 is this machine.
            true => (number > 0).then(|| Ipv4Addr::new(127, 0, 0, number + 1).into()),
        }
    }
}

fn try_bind(source: IpAddr) -> Result<(), Errno> {
    let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(source, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_chooses_first_and_loopback_has_further_addresses() {
        let sources = Sources::default();
        let shown = |number| sources.address(number).map(|address| address.to_string());
        assert_eq!((shown(0), shown(1).as_deref()), (None, Some("127.0.0.2")));
        let target = |text: &str| Target::Tcp(text.parse().unwrap());
        assert_eq!(sources.count(&target("127.0.0.1:1")), LOOPBACK_SOURCES_MAX);
        assert_eq!(sources.count(&target("[::1]:1")), 1);
        assert_eq!(sources.in_turn(3), 3);
    }

    #[test]
    fn given_addresses_are_all_used() {
        let given = ["127.0.0.5", "127.0.0.6"].map(|text| text.parse::<IpAddr>().unwrap());
        let sources = Sources::new(&given);
        assert_eq!([0, 1].map(|number| sources.address(number).unwrap()), given);
        assert_eq!(sources.count(&Target::Tcp("127.0.0.1:1".parse().unwrap())), 2);
        assert_eq!(sources.in_turn(1), 2);
        assert_eq!(sources.check(), Ok(()));
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        // Reserved for documentation (RFC 5737).
        let error = Sources::new(&["192.0.2.1".parse().unwrap()]).check().unwrap_err().to_string();
        assert!(error.contains("192.0.2.1") && error.contains("'ip address'"), "{error}");
    }
}
