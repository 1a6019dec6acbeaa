//! Deadlines of many connections, of which nearly all move before they are reached.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    time::Instant,
};

use slab::Slab;

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

/// Who has deadlines.
pub(crate) trait Timed {
    /// When something is to be done about it, if nothing happens until then.
    fn deadline(&self) -> Option<Instant>;

    /// What it knows of its entries.
    fn armed(&mut self) -> &mut Armed;
}

impl Deadlines {
    /// Makes sure that an owner is due no later than at its deadline.
    pub(crate) fn arm(&mut self, owners: &mut Slab<impl Timed>, key: usize) {
        let owner = &mut owners[key];
        let deadline = owner.deadline();
        let Armed(armed) = owner.armed();
        if let Some(deadline) = deadline
            && armed.is_none_or(|armed| deadline < armed)
        {
            *armed = Some(deadline);
            self.entries.push(Reverse((deadline, key)));
            self.forget_the_gone(owners);
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes the next owner whose entry is due at `now`. Its deadline may have moved on: then it is to be armed again.
    pub(crate) fn take_due(&mut self, owners: &mut Slab<impl Timed>, now: Instant) -> Option<usize> {
        while let Some(entry) = self.entries.peek_mut().filter(|entry| entry.0.0 <= now) {
            let Reverse((due, key)) = PeekMut::pop(entry);
            // Others are of former owners, or were overtaken by an earlier one.
            if let Some(Armed(armed)) = owners.get_mut(key).map(Timed::armed)
                && *armed == Some(due)
            {
                *armed = None;
                return Some(key);
            }
        }
        None
    }

    /// Entries of owners that are gone would stay until they are due: where they are the most, only those stay that
    /// count.
    fn forget_the_gone(&mut self, owners: &mut Slab<impl Timed>) {
        if self.entries.len() > 2 * owners.len() + 64 {
            let armed = owners.iter_mut().filter_map(|(key, owner)| Some(Reverse((owner.armed().0?, key))));
            self.entries = armed.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Owner(Option<Instant>, Armed);

    impl Timed for Owner {
        fn deadline(&self) -> Option<Instant> {
            self.0
        }

        fn armed(&mut self) -> &mut Armed {
            &mut self.1
        }
    }

    fn owners(deadlines: &[Instant]) -> Slab<Owner> {
        deadlines.iter().map(|at| Owner(Some(*at), Armed::default())).enumerate().collect()
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_the_deadlines() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut deadlines, mut owners) = (Deadlines::default(), owners(&[at(30), at(10), at(20)]));
        (0..3).for_each(|key| deadlines.arm(&mut owners, key));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.take_due(&mut owners, at(9)), None);
        assert_eq!(deadlines.take_due(&mut owners, at(25)), Some(1));
        assert_eq!(deadlines.take_due(&mut owners, at(25)), Some(2));
        assert_eq!(deadlines.take_due(&mut owners, at(25)), None);
    }

    #[test]
    fn an_earlier_deadline_counts_in_place_of_a_later_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut deadlines, mut owners) = (Deadlines::default(), owners(&[at(20)]));
        for deadline in [Some(at(20)), Some(at(30)), None, Some(at(10))] {
            owners[0].0 = deadline;
            deadlines.arm(&mut owners, 0);
        }
        assert_eq!(deadlines.entries.len(), 2);
        assert_eq!(deadlines.take_due(&mut owners, at(40)), Some(0));
        assert_eq!(deadlines.take_due(&mut owners, at(40)), None);
    }

    #[test]
    fn entries_of_owners_that_are_gone_do_not_pile_up() {
        let due = Instant::now();
        let (mut deadlines, mut owners) = (Deadlines::default(), owners(&[due]));
        deadlines.arm(&mut owners, 0);
        for _ in 0..1_000 {
            let key = owners.insert(Owner(Some(due), Armed::default()));
            deadlines.arm(&mut owners, key);
            owners.remove(key);
        }
        assert!(deadlines.entries.len() <= 2 * 2 + 64, "{} entries", deadlines.entries.len());
        assert_eq!(deadlines.take_due(&mut owners, due), Some(0));
        assert_eq!(deadlines.take_due(&mut owners, due), None);
    }
}
