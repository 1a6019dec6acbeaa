//! The failures of requests and connections. A failure is counted; it does not end the run.

use rustix::io::Errno;

/// A kind of failure. Each kind has a row in [`Failure::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No server listens on the target.
    ConnectRefused,
    /// The connection was not established within the connect timeout.
    ConnectTimeout,
    /// The connection attempt failed for another reason.
    ConnectOther,
    /// Every local port is in use, on every source address.
    NoLocalPort,
    /// TLS failed: its handshake, or later.
    Tls,
    /// The reply was not complete in time.
    Timeout,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection.
    Closed,
    /// The established connection failed for another reason.
    Broken,
    /// The reply broke the protocol, or differs from an echo.
    Mismatch,
    /// The reply was complete, and not the expected one.
    Unexpected,
    /// The failure of another request ended the connection.
    Abandoned,
    /// The request was due, and was not sent before the run ended.
    Unsent,
}

impl Failure {
    /// The number of kinds.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Every kind in order, with its name in the report and its text for people.
    pub(crate) const ALL: [(Failure, &'static str, &'static str); 13] = [
        (Failure::ConnectRefused, "connect_refused", "connection refused"),
        (Failure::ConnectTimeout, "connect_timeout", "connection not established in time"),
        (Failure::ConnectOther, "connect_other", "connection could not be made"),
        (Failure::NoLocalPort, "no_local_port", "no local port was free"),
        (Failure::Tls, "tls", "TLS failed"),
        (Failure::Timeout, "timeout", "no complete reply in time"),
        (Failure::Reset, "reset", "connection reset by the server"),
        (Failure::Closed, "closed", "connection closed by the server"),
        (Failure::Broken, "broken", "connection failed in the middle"),
        (Failure::Mismatch, "mismatch", "wrong reply"),
        (Failure::Unexpected, "unexpected", "complete reply, but not the expected one"),
        (Failure::Abandoned, "abandoned", "given up with a failed connection"),
        (Failure::Unsent, "unsent", "due, but never sent"),
    ];

    /// The kind's name in the report.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The kind of a connection attempt's error.
    pub(crate) fn of_connect(error: Errno) -> Self {
        match error {
            // A missing unix socket corresponds to a closed TCP port.
            Errno::CONNREFUSED | Errno::NOENT => Failure::ConnectRefused,
            Errno::TIMEDOUT => Failure::ConnectTimeout,
            Errno::ADDRNOTAVAIL => Failure::NoLocalPort,
            _ => Failure::ConnectOther,
        }
    }

    /// The text of a connection attempt's error, for people.
    pub(crate) fn connect_reason(error: Errno) -> String {
        match Self::of_connect(error) {
            // The system's own text says more.
            Failure::ConnectOther => error.to_string(),
            kind => Self::ALL[kind as usize].2.to_owned(),
        }
    }

    /// The kind of an error of a send or a receive.
    pub(crate) fn of_transfer(error: Errno) -> Self {
        match error {
            Errno::CONNRESET => Failure::Reset,
            Errno::PIPE => Failure::Closed,
            _ => Failure::Broken,
        }
    }
}

/// The count of each kind of failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailureCounts([u64; Failure::COUNT]);

impl FailureCounts {
    /// Counts `count` more failures of a kind.
    pub(crate) fn add(&mut self, kind: Failure, count: u64) {
        self.0[kind as usize] += count;
    }

    /// The count of a kind.
    pub(crate) fn get(&self, kind: Failure) -> u64 {
        self.0[kind as usize]
    }

    /// The sum over all kinds.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds the counts of another thread.
    pub(crate) fn merge(&mut self, others: &Self) {
        for (own, other) in self.0.iter_mut().zip(&others.0) {
            *own += other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_kinds() {
        for (index, (kind, ..)) in Failure::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
