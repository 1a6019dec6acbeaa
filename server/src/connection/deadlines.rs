//! Deadlines of many connections. Nearly all of them move to a later moment before they are reached.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    time::Instant,
};

use slab::Slab;

use crate::connection::moment::Moment;

/// A queue of deadlines, with one valid entry for each owner. A deadline that moves to a later moment leaves its entry in
/// place: no search is needed. When the entry is due, the owner compares its present deadline with the clock.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    entries: BinaryHeap<Reverse<(Moment, usize)>>,
}

/// The moment of an owner's valid entry, if it has one. All other entries with its key are stale: of former owners, or
/// replaced by an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArmedAt(Option<Moment>);

/// The owner of a deadline.
pub(crate) trait Timed {
    /// Its present deadline.
    fn deadline(&self) -> Option<Instant>;

    /// The moment of its valid entry. Only [`Deadlines`] changes it.
    fn armed_at(&mut self) -> &mut ArmedAt;
}

impl Deadlines {
    /// Ensures that the owner's entry is due at its deadline or earlier.
    pub(crate) fn arm(&mut self, owners: &mut Slab<impl Timed>, key: usize) {
        let owner = &mut owners[key];
        let deadline = owner.deadline().map(Moment::from);
        let ArmedAt(armed_at) = owner.armed_at();
        if let Some(deadline) = deadline
            && armed_at.is_none_or(|armed_at| deadline < armed_at)
        {
            *armed_at = Some(deadline);
            self.entries.push(Reverse((deadline, key)));
            self.remove_stale_entries(owners);
        }
    }

    /// The moment of the earliest entry.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse((deadline, _))| (*deadline).into())
    }

    /// Removes the next entry that is due at `now`, and returns its owner's key. If the owner's deadline is later, arm it
    /// again.
    pub(crate) fn take_due(&mut self, owners: &mut Slab<impl Timed>, now: Instant) -> Option<usize> {
        let now = Moment::from(now);
        while let Some(entry) = self.entries.peek_mut().filter(|entry| entry.0.0 <= now) {
            let Reverse((due, key)) = PeekMut::pop(entry);
            // All other entries are stale.
            if let Some(ArmedAt(armed_at)) = owners.get_mut(key).map(Timed::armed_at)
                && *armed_at == Some(due)
            {
                *armed_at = None;
                return Some(key);
            }
        }
        None
    }

    /// Removes the stale entries once they are the majority. Otherwise they would use memory until they are due.
    fn remove_stale_entries(&mut self, owners: &mut Slab<impl Timed>) {
        if self.entries.len() > 2 * owners.len() + 64 {
            let valid =
                owners.iter_mut().filter_map(|(key, owner)| Some(Reverse((owner.armed_at().0?, key))));
            self.entries = valid.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    struct Owner(Option<Instant>, ArmedAt);

    impl Timed for Owner {
        fn deadline(&self) -> Option<Instant> {
            self.0
        }

        fn armed_at(&mut self) -> &mut ArmedAt {
            &mut self.1
        }
    }

    fn owners(deadlines: &[Instant]) -> Slab<Owner> {
        deadlines.iter().map(|at| Owner(Some(*at), ArmedAt::default())).enumerate().collect()
    }

    #[test]
    fn owners_are_due_in_the_order_of_their_deadlines() {
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
    fn an_earlier_deadline_replaces_a_later_one() {
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
    fn entries_of_former_owners_do_not_accumulate() {
        let due = Instant::now();
        let (mut deadlines, mut owners) = (Deadlines::default(), owners(&[due]));
        deadlines.arm(&mut owners, 0);
        for _ in 0..1_000 {
            let key = owners.insert(Owner(Some(due), ArmedAt::default()));
            deadlines.arm(&mut owners, key);
            owners.remove(key);
        }
        assert!(deadlines.entries.len() <= 2 * 2 + 64, "{} entries", deadlines.entries.len());
        assert_eq!(deadlines.take_due(&mut owners, due), Some(0));
        assert_eq!(deadlines.take_due(&mut owners, due), None);
    }

    /// What happens next. A number selects one of the owners, and a time is in milliseconds.
    #[derive(Clone, Debug)]
    enum Step {
        /// A new owner.
        Add(Option<u64>),
        /// The end of an owner.
        Remove(usize),
        /// An owner's deadline moves.
        Move(usize, Option<u64>),
        /// The clock moves forwards, and the deadlines that are due are taken.
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let deadline = || proptest::option::weighted(0.9, 0..1_000_u64);
        prop_oneof![
            2 => deadline().prop_map(Step::Add),
            2 => any::<usize>().prop_map(Step::Remove),
            6 => (any::<usize>(), deadline()).prop_map(|(owner, deadline)| Step::Move(owner, deadline)),
            1 => (0..100_u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Against a plain table of deadlines: each one is taken when it is due and not before, the earliest entry is never
        /// late, and the queue stays small.
        #[test]
        fn exactly_the_deadlines_that_are_due_are_taken(steps in vec(step(), 1..400)) {
            let start = Instant::now();
            let at = |ms: u64| start + Duration::from_millis(ms);
            let (mut deadlines, mut owners) = (Deadlines::default(), Slab::<Owner>::new());
            let (mut table, mut now) = (BTreeMap::<usize, Option<u64>>::new(), 0);
            for step in steps {
                let entries_before = deadlines.entries.len();
                let select = |number: usize| table.keys().copied().nth(number % table.len().max(1));
                match step {
                    Step::Add(deadline) => {
                        let deadline = deadline.map(|ms| now + ms);
                        let key = owners.insert(Owner(deadline.map(at), ArmedAt::default()));
                        deadlines.arm(&mut owners, key);
                        table.insert(key, deadline);
                    }
                    Step::Remove(number) => {
                        if let Some(key) = select(number) {
                            owners.remove(key);
                            table.remove(&key);
                        }
                    }
                    Step::Move(number, deadline) => {
                        if let Some(key) = select(number) {
                            let deadline = deadline.map(|ms| now + ms);
                            owners[key].0 = deadline.map(at);
                            deadlines.arm(&mut owners, key);
                            table.insert(key, deadline);
                        }
                    }
                    Step::Pass(ms) => {
                        now += ms;
                        let mut expired = Vec::new();
                        while let Some(key) = deadlines.take_due(&mut owners, at(now)) {
                            if owners[key].0.is_some_and(|deadline| deadline <= at(now)) {
                                owners[key].0 = None;
                                expired.push(key);
                            } else {
                                deadlines.arm(&mut owners, key);
                            }
                        }
                        expired.sort_unstable();
                        let is_due = |deadline: &Option<u64>| deadline.is_some_and(|deadline| deadline <= now);
                        let due: Vec<_> =
                            table.iter().filter(|(_, deadline)| is_due(deadline)).map(|(key, _)| *key).collect();
                        prop_assert_eq!(&expired, &due);
                        due.iter().for_each(|key| _ = table.insert(*key, None));
                    }
                }
                if let Some(earliest) = table.values().flatten().min() {
                    prop_assert!(deadlines.next().is_some_and(|next| next <= at(*earliest)), "it is late");
                }
                let entries = deadlines.entries.len();
                prop_assert!(entries <= entries_before.max(2 * owners.len() + 64), "it grows");
            }
        }
    }
}
