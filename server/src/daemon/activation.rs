//! Socket activation: the listening sockets that systemd passes (sd_listen_fds(3)).

use std::{env, io, os::fd::OwnedFd};

use anyhow::Context;
use listenfd::ListenFd;

use crate::{
    admission::listener::Inherited,
    daemon::config::{Config, Listen},
};

/// The sockets that were passed to this process, in the order of their descriptors.
pub(crate) struct Activation {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Activation {
    /// Reads `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`. Removes the first two from the environment, so it is called
    /// before the first thread starts.
    ///
    /// # Errors
    /// When the variables contradict each other or the descriptors.
    pub(crate) fn of_this_process() -> anyhow::Result<Self> {
        let named = sd_notify::listen_fds_with_names().with_context(|| {
            let value = |name| env::var_os(name).unwrap_or_default();
            format!(
                "cannot take the sockets that LISTEN_FDS={:?} and LISTEN_FDNAMES={:?} announce; each needs an open \
                 descriptor from 3 on, and a name if there are names",
                value("LISTEN_FDS"),
                value("LISTEN_FDNAMES")
            )
        })?;
        let names: Vec<_> = named.map(|(_, name)| name).collect();
        // Without LISTEN_PID, the sockets are not known to be for this process.
        let sockets = if names.is_empty() { ListenFd::empty() } else { ListenFd::from_env() };
        Ok(Self { sockets, names })
    }

    /// The name of each socket; several sockets may have the same name.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Takes the sockets that the configuration uses.
    ///
    /// # Errors
    /// When one of them does not listen for streams.
    pub(crate) fn take(mut self, config: &Config) -> anyhow::Result<Inherited> {
        let mut inherited = Inherited::default();
        let mut unused = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            if config.listen.contains(&Listen::Passed(name.clone())) {
                take_stream(&mut self.sockets, index)
                    .and_then(|socket| inherited.add_passed(name, socket))
                    .with_context(|| format!("cannot listen on fd:{name} (descriptor {})", FIRST + index))?;
            } else {
                unused.push(name.as_str());
            }
        }
        if !unused.is_empty() {
            tracing::warn!(names = unused.join(" "), "sockets are passed, but --listen does not name them");
        }
        Ok(inherited)
    }
}

/// The first descriptor that is passed (sd_listen_fds(3), `SD_LISTEN_FDS_START`).
const FIRST: usize = 3;

fn take_stream(sockets: &mut ListenFd, index: usize) -> anyhow::Result<OwnedFd> {
    let is_taken = "each descriptor is taken once";
    if let Ok(socket) = sockets.take_tcp_listener(index) {
        return Ok(socket.expect(is_taken).into());
    }
    if let Ok(socket) = sockets.take_unix_listener(index) {
        return Ok(socket.expect(is_taken).into());
    }
    let is_datagram = |result: io::Result<bool>| result.unwrap_or(false);
    let is_datagram = is_datagram(sockets.take_udp_socket(index).map(|socket| socket.is_some()))
        || is_datagram(sockets.take_unix_datagram(index).map(|socket| socket.is_some()));
    match is_datagram {
        true => anyhow::bail!("it is a datagram socket; use ListenStream= in the .socket unit"),
        false => anyhow::bail!("it is no TCP or unix stream socket; use ListenStream= in the .socket unit"),
    }
}
