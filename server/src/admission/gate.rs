//! The check of a client's address when its connection begins.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
};

use crate::admission::{
    access::ClientRules,
    per_ip::{ClientKey, PerIp},
    refusal::Refusal,
};

/// Checks the addresses of clients.
#[derive(Debug)]
pub(crate) struct Gate {
    rules: ClientRules,
    per_ip: Option<PerIp>,
}

impl Gate {
    /// `None` if there is nothing to check.
    pub(crate) fn new(rules: &ClientRules) -> Option<Self> {
        let per_ip = rules.max_connections_per_ip.map(PerIp::new);
        let has_checks = per_ip.is_some() || !rules.allow.is_empty() || !rules.deny.is_empty();
        has_checks.then(|| Self { rules: rules.clone(), per_ip })
    }

    /// Admits a client's connection, or says why not. If connections are counted by client, it returns the key to
    /// [`Gate::release`] at the connection's end.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Option<ClientKey>, Refusal> {
        let address = address.to_canonical();
        if !self.rules.permits(address) {
            return Err(Refusal::Denied);
        }
        let Some(per_ip) = &self.per_ip else { return Ok(None) };
        let client = ClientKey::from(address);
        if per_ip.acquire(client) { Ok(Some(client)) } else { Err(Refusal::PerIp) }
    }

    /// The end of a connection that was admitted with this key.
    pub(crate) fn release(&self, client: ClientKey) {
        if let Some(per_ip) = &self.per_ip {
            per_ip.release(client);
        }
    }
}

/// The address of a socket's peer; `None` for a unix socket.
///
/// # Errors
/// When the peer has gone.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> rustix::io::Result<Option<SocketAddr>> {
    Ok(rustix::net::getpeername(socket)?.and_then(|address| SocketAddr::try_from(address).ok()))
}
