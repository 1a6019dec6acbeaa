//! Deadlines of many connections, of which nearly all move before they are reached.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// A queue of deadlines by key. A deadline that moves is not searched for: its owner leaves the entry where it
/// is, and looks at its real deadline when the entry is due.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    entries: BinaryHeap<Reverse<(Instant, usize)>>,
}

/// What a key's owner knows of its entries: when the one is due that counts, if there is one. Others with its key are
/// of former owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Armed(Option<Instant>);

impl Deadlines {
    /// Makes sure that `key` is due no later than at its deadline.
    pub(crate) fn arm(&mut self, key: usize, armed: &mut Armed, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && armed.0.is_none_or(|armed| deadline < armed)
        {
            armed.0 = Some(deadline);
            self.entries.push(Reverse((deadline, key)));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes the earliest entry, if it is due at `now`. Whether it counts, [`Armed::disarm`] tells.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let Reverse((deadline, _)) = self.entries.peek()?;
        if *deadline > now {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| entry)
    }

    /// Whether most entries are of owners that are gone, of which `owners` are left. They would stay until they are
    /// due: [`Deadlines::keep`] those that count.
    pub(crate) fn outgrow(&self, owners: usize) -> bool {
        self.entries.len() > 2 * owners + 64
    }

    /// Drops all entries but those that count.
    pub(crate) fn keep(&mut self, owners: impl Iterator<Item = (usize, Armed)>) {
        self.entries = owners.filter_map(|(key, armed)| Some(Reverse((armed.0?, key)))).collect();
    }
}

impl Armed {
    /// Whether the entry that was due then is the one that counts; if so, none does from now on.
    pub(crate) fn disarm(&mut self, due: Instant) -> bool {
        let counts = self.0 == Some(due);
        if counts {
            self.0 = None;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_in_the_order_of_the_deadlines() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        for (ms, key) in [(30, 3), (10, 1), (20, 2)] {
            deadlines.arm(key, &mut Armed::default(), Some(at(ms)));
        }
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(25)), Some((at(10), 1)));
        assert_eq!(deadlines.pop_due(at(25)), Some((at(20), 2)));
        assert_eq!(deadlines.pop_due(at(25)), None);
    }

    #[test]
    fn an_earlier_deadline_makes_a_new_entry_and_a_later_one_none() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut deadlines, mut armed) = (Deadlines::default(), Armed::default());
        deadlines.arm(7, &mut armed, Some(at(20)));
        deadlines.arm(7, &mut armed, Some(at(30)));
        deadlines.arm(7, &mut armed, None);
        assert_eq!(deadlines.entries.len(), 1);
        deadlines.arm(7, &mut armed, Some(at(10)));
        let dues: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(at(40))).collect();
        assert_eq!(dues, [(at(10), 7), (at(20), 7)]);
        assert!(armed.disarm(dues[0].0) && !armed.disarm(dues[1].0));
    }

    #[test]
    fn entries_of_owners_that_are_gone_are_dropped() {
        let due = Instant::now();
        let mut deadlines = Deadlines::default();
        for key in 0..100 {
            deadlines.arm(key, &mut Armed::default(), Some(due));
        }
        assert!(deadlines.outgrow(1) && !deadlines.outgrow(50));
        deadlines.keep([(1, Armed(Some(due))), (2, Armed(None))].into_iter());
        assert_eq!(deadlines.pop_due(due), Some((due, 1)));
        assert_eq!(deadlines.pop_due(due), None);
    }
}
