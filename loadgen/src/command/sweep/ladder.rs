//! The ladder of a server: the levels that it runs, and the end of its climb. Pure.

use crate::result::sweep::Trouble;

/// The number of consecutive levels with trouble that end a ladder. A single one may be chance.
const TROUBLES_MAX: usize = 2;

/// The ladder of a server.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    levels: Vec<u64>,
    next: usize,
    /// The current trouble: its first level, its kind, and the number of levels so far.
    current: Option<(u64, Trouble, usize)>,
    has_ended: bool,
}

impl Ladder {
    /// At the lowest level. `levels` is not empty.
    pub(crate) fn new(levels: Vec<u64>) -> Self {
        Self { levels, next: 0, current: None, has_ended: false }
    }

    /// The level to run next; None at the end.
    pub(crate) fn next_level(&self) -> Option<u64> {
        self.levels.get(self.next).copied().filter(|_| !self.has_ended)
    }

    /// Takes the trouble at the current level, if there was any.
    pub(crate) fn feed(&mut self, trouble: Option<Trouble>) {
        let Some(level) = self.next_level() else { return };
        self.next += 1;
        self.current = trouble.map(|trouble| match self.current {
            Some((since, first, levels)) => (since, first, levels + 1),
            None => (level, trouble, 1),
        });
        // At higher levels, the generator would be the limit again.
        let is_limit = trouble == Some(Trouble::GeneratorSaturated);
        if is_limit {
            self.current = Some((level, Trouble::GeneratorSaturated, TROUBLES_MAX));
        }
        self.has_ended = self.current.is_some_and(|(.., levels)| levels >= TROUBLES_MAX);
    }

    /// Ends the ladder at the current level.
    pub(crate) fn give_up(&mut self, trouble: Trouble) {
        self.feed(Some(trouble));
        self.has_ended = true;
    }

    /// The end of the ladder: the trouble and its first level, or the last level if there was no trouble. None before the
    /// end.
    pub(crate) fn end(&self) -> Option<(Option<Trouble>, u64)> {
        if self.next_level().is_some() {
            return None;
        }
        match self.current {
            Some((since, trouble, _)) => Some((Some(trouble), since)),
            None => self.levels.last().map(|last| (None, *last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_consecutive_levels_with_trouble_end_the_ladder() {
        const UP: Option<Trouble> = None;
        const SLOW: Option<Trouble> = Some(Trouble::CannotKeepUp);
        const DEAD: Option<Trouble> = Some(Trouble::Failed);
        const LIMIT: Option<Trouble> = Some(Trouble::GeneratorSaturated);
        for (fed, end) in [
            (&[UP][..], None),
            (&[UP, UP, UP, UP], Some((None, 4))),
            (&[UP, SLOW], None),
            (&[UP, SLOW, SLOW], Some((SLOW, 2))),
            (&[UP, SLOW, UP, SLOW], Some((SLOW, 4))),
            (&[SLOW, UP, UP, UP], Some((None, 4))),
            // The first trouble is reported.
            (&[UP, SLOW, DEAD], Some((SLOW, 2))),
            (&[DEAD, SLOW], Some((DEAD, 1))),
            (&[UP, LIMIT], Some((LIMIT, 2))),
            (&[UP, SLOW, LIMIT], Some((LIMIT, 3))),
        ] {
            let mut ladder = Ladder::new(vec![1, 2, 3, 4]);
            for (index, trouble) in fed.iter().enumerate() {
                assert_eq!(ladder.next_level(), Some(index as u64 + 1), "{fed:?}");
                ladder.feed(*trouble);
            }
            assert_eq!(ladder.end(), end, "{fed:?}");
            assert_eq!(ladder.next_level().is_none(), end.is_some(), "{fed:?}");
        }
    }

    #[test]
    fn giving_up_ends_the_ladder_at_once() {
        let mut ladder = Ladder::new(vec![1, 2, 3]);
        ladder.give_up(Trouble::Failed);
        assert_eq!((ladder.next_level(), ladder.end()), (None, Some((Some(Trouble::Failed), 1))));
    }
}
