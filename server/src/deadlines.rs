//! Deadlines of many connections, of which nearly all move before they are reached.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// A queue of deadlines by key. A deadline that moves is not searched for: its owner leaves the entry where it
/// is, and looks at its real deadline when the entry is due.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    entries: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Deadlines {
    /// Makes `key` due at `deadline`.
    pub(crate) fn push(&mut self, deadline: Instant, key: usize) {
        self.entries.push(Reverse((deadline, key)));
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes the earliest entry, if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let Reverse((deadline, _)) = self.entries.peek()?;
        if *deadline > now {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| entry)
    }
}

impl FromIterator<(Instant, usize)> for Deadlines {
    fn from_iter<T: IntoIterator<Item = (Instant, usize)>>(entries: T) -> Self {
        Self { entries: entries.into_iter().map(Reverse).collect() }
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
            deadlines.push(at(ms), key);
        }
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(25)), Some((at(10), 1)));
        assert_eq!(deadlines.pop_due(at(25)), Some((at(20), 2)));
        assert_eq!(deadlines.pop_due(at(25)), None);
    }
}
