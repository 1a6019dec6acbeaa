//! The hand-over of connections to the thread that serves them.

use std::mem;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that the accepting thread has assigned to another thread, and that this thread has not added yet.
///
/// A message to the thread's ring says that the list is not empty. The giver sends one when the list becomes not empty, and the
/// taker takes the whole list. So at most one message is on its way, and none is missing.
#[derive(Debug)]
pub(crate) struct Handover<T> {
    assigned: Mutex<Vec<T>>,
}

impl<T> Handover<T> {
    pub(crate) fn new() -> Self {
        Self { assigned: Mutex::new(Vec::new()) }
    }

    /// Adds a connection. Returns whether the giver must send a message: with more than one in the list, a message is on its way.
    #[must_use = "without the message, the taker does not look"]
    pub(crate) fn give(&self, connection: T) -> bool {
        let mut assigned = self.lock();
        assigned.push(connection);
        assigned.len() == 1
    }

    /// Takes all connections, after a message.
    pub(crate) fn take(&self) -> Vec<T> {
        mem::take(&mut *self.lock())
    }

    /// How many connections wait to be taken.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
