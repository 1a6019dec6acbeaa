//! What can go wrong with a request or a connection. A failure is counted data: it does not end the run.

use rustix::io::Errno;

/// A kind of failure. Each has its row in [`Failure::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens where the client wanted to connect.
    ConnectRefused,
    /// The connection was not established within the connect timeout.
    ConnectTimeout,
    /// The connection could not be made for another reason.
    ConnectOther,
    /// Every local port (and every further source address) is in use.
    NoLocalPort,
    /// The reply was not complete in time.
    Timeout,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection.
    Closed,
    /// The connection failed in the middle for another reason.
    Broken,
    /// The reply was not the one that was expected.
    Mismatch,
    /// Another request's failure took the connection away.
    Abandoned,
    /// The request was due and could not be written before the run's end.
    Unsent,
}

impl Failure {
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every kind in order, with its name in the report and what it says to a person.
    pub const ALL: [(Failure, &'static str, &'static str); 11] = [
        (Failure::ConnectRefused, "connect_refused", "connection refused"),
        (Failure::ConnectTimeout, "connect_timeout", "connection not established in time"),
        (Failure::ConnectOther, "connect_other", "connection could not be made"),
        (Failure::NoLocalPort, "no_local_port", "no local port was free"),
        (Failure::Timeout, "timeout", "no complete reply in time"),
        (Failure::Reset, "reset", "connection reset by the server"),
        (Failure::Closed, "closed", "connection closed by the server"),
        (Failure::Broken, "broken", "connection failed in the middle"),
        (Failure::Mismatch, "mismatch", "reply other than expected"),
        (Failure::Abandoned, "abandoned", "given up with a failed connection"),
        (Failure::Unsent, "unsent", "due, but never written"),
    ];

    /// The kind's name in the report.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The kind of an error that a connection attempt ended with.
    pub fn of_connect(error: Errno) -> Self {
        match error {
            // A unix socket that is not there is what a closed port is to TCP.
            Errno::CONNREFUSED | Errno::NOENT => Failure::ConnectRefused,
            Errno::TIMEDOUT => Failure::ConnectTimeout,
            Errno::ADDRNOTAVAIL => Failure::NoLocalPort,
            _ => Failure::ConnectOther,
        }
    }

    /// What a connection attempt's error says to a person.
    pub fn connect_reason(error: Errno) -> String {
        match Self::of_connect(error) {
            // Only the system knows more than that.
            Failure::ConnectOther => error.to_string(),
            kind => Self::ALL[kind as usize].2.to_owned(),
        }
    }

    /// The kind of an error that sending or receiving ended with.
    pub fn of_transfer(error: Errno) -> Self {
        match error {
            Errno::CONNRESET => Failure::Reset,
            Errno::PIPE => Failure::Closed,
            _ => Failure::Broken,
        }
    }
}

/// How often each kind of failure was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts([u64; Failure::COUNT]);

impl FailureCounts {
    /// Counts `count` more failures of a kind.
    pub fn add(&mut self, kind: Failure, count: u64) {
        self.0[kind as usize] += count;
    }

    /// How often a kind was seen.
    pub fn get(&self, kind: Failure) -> u64 {
        self.0[kind as usize]
    }

    /// All kinds together.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds what another thread saw.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_kinds() {
        for (index, (kind, ..)) in Failure::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
