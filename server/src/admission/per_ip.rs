//! The limit on the open connections of each client: `--max-connections-per-ip`.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr},
};

use crate::sync::{Mutex, PoisonError};

/// Counts the open connections of each client. The table has an entry for each client with an open connection and for no
/// other, so the limit on all connections bounds it. Only the start and the end of a connection take its lock.
#[derive(Debug)]
pub(crate) struct PerIp {
    max: u32,
    open: Mutex<HashMap<ClientKey, u32>>,
}

/// The connections of one key share a limit: those of an IPv4 address, or of an IPv6 /64, as one host can use every address
/// of its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl PerIp {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, open: Mutex::default() }
    }

    /// Counts one more connection of this client, unless its limit is reached.
    pub(crate) fn acquire(&self, client: ClientKey) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.entry(client) {
            Entry::Vacant(entry) => {
                entry.insert(1);
                true
            }
            Entry::Occupied(mut entry) => {
                let is_below = *entry.get() < self.max;
                *entry.get_mut() += u32::from(is_below);
                is_below
            }
        }
    }

    /// Counts one connection of this client less.
    pub(crate) fn release(&self, client: ClientKey) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Whether no client has a connection.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [network @ .., _, _, _, _, _, _, _, _] = address.octets();
                Self::V6(network)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> ClientKey {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn each_client_has_its_own_limit_and_the_table_holds_only_clients_with_a_connection() {
        let per_ip = PerIp::new(2);
        let (one, other) = (key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!([one, one, one, other].map(|client| per_ip.acquire(client)), [true, true, false, true]);
        per_ip.release(one);
        assert_eq!([one, one].map(|client| per_ip.acquire(client)), [true, false]);
        [one, one, other].into_iter().for_each(|client| per_ip.release(client));
        assert!(per_ip.is_empty());
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_64() {
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_eq!(key("2001:db8::1"), key("2001:db8:0:0:ffff::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }
}
