//! Errors of accept(2): a counter for each kind.

use rustix::io::Errno;

use crate::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// The kind of an error of accept(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// The process has as many descriptors as it may have (EMFILE).
    ProcessFiles,
    /// The system has as many descriptors as it may have (ENFILE).
    SystemFiles,
    /// The kernel has no memory for a socket (ENOBUFS, ENOMEM).
    Memory,
    /// The connection ended in the accept queue, or the error is another one. accept(2) also returns errors of the one
    /// connection that it would have accepted.
    Connection,
}

impl AcceptError {
    /// All kinds, in the order of their discriminants.
    pub(crate) const ALL: [Self; 4] = [Self::ProcessFiles, Self::SystemFiles, Self::Memory, Self::Connection];

    /// Its name in the metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ProcessFiles => "process_files",
            Self::SystemFiles => "system_files",
            Self::Memory => "memory",
            Self::Connection => "connection",
        }
    }

    /// Whether the system has run out of something that every new connection needs.
    pub(crate) fn is_exhaustion(self) -> bool {
        self != Self::Connection
    }
}

impl From<Errno> for AcceptError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::MFILE => Self::ProcessFiles,
            Errno::NFILE => Self::SystemFiles,
            Errno::NOBUFS | Errno::NOMEM => Self::Memory,
            _ => Self::Connection,
        }
    }
}

/// The errors so far.
#[derive(Debug, Default)]
pub(crate) struct AcceptErrors {
    counts: [AtomicU64; AcceptError::ALL.len()],
    /// Whether the acceptor waits until the system has a resource again.
    is_paused: AtomicBool,
}

impl AcceptErrors {
    pub(crate) fn add(&self, error: AcceptError) {
        self.counts[error as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count(&self, error: AcceptError) -> u64 {
        self.counts[error as usize].load(Relaxed)
    }

    /// The acceptor waits for a resource. Returns whether it has not waited before.
    pub(crate) fn pause(&self) -> bool {
        !self.is_paused.swap(true, SeqCst)
    }

    /// The acceptor accepts again, or has ended. Returns whether it has waited.
    pub(crate) fn resume(&self) -> bool {
        // Read first: this is part of each batch.
        self.is_paused() && self.is_paused.swap(false, SeqCst)
    }

    /// Whether the acceptor waits for a resource.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_counter() {
        let errors = AcceptErrors::default();
        for (error, kind) in [
            (Errno::MFILE, AcceptError::ProcessFiles),
            (Errno::NFILE, AcceptError::SystemFiles),
            (Errno::NOMEM, AcceptError::Memory),
            (Errno::CONNABORTED, AcceptError::Connection),
        ] {
            assert_eq!(AcceptError::from(error), kind);
            errors.add(kind);
        }
        for (index, kind) in AcceptError::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, errors.count(kind)), (index, 1), "{kind:?}");
        }
    }
}
