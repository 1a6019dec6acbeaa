//! One server's way up the levels, and where it ends. Pure.

use crate::report::sweep::Trouble;

/// A server is out after so many levels with trouble running: one may be bad luck.
const TROUBLES_MAX: usize = 2;

/// Where a server is on its ladder.
#[derive(Clone, Debug)]
pub struct Ladder {
    levels: Vec<u64>,
    next: usize,
    /// The level and the kind of the trouble that has not ended yet, and for how many levels it lasts.
    lasting: Option<(u64, Trouble, usize)>,
    is_out: bool,
}

impl Ladder {
    /// At the foot. There is at least one level.
    pub fn new(levels: Vec<u64>) -> Self {
        Self { levels, next: 0, lasting: None, is_out: false }
    }

    /// The level to run next; None at the end.
    pub fn next_level(&self) -> Option<u64> {
        self.levels.get(self.next).copied().filter(|_| !self.is_out)
    }

    /// What was wrong at that level, if anything was.
    pub fn feed(&mut self, trouble: Option<Trouble>) {
        let Some(level) = self.next_level() else { return };
        self.next += 1;
        self.lasting = trouble.map(|trouble| match self.lasting {
            Some((since, first, levels)) => (since, first, levels + 1),
            None => (level, trouble, 1),
        });
        // More load does not make the generator faster.
        let is_limit = trouble == Some(Trouble::GeneratorSaturated);
        if is_limit {
            self.lasting = Some((level, Trouble::GeneratorSaturated, TROUBLES_MAX));
        }
        self.is_out = self.lasting.is_some_and(|(.., levels)| levels >= TROUBLES_MAX);
    }

    /// The server will not come any further.
    pub fn give_up(&mut self, trouble: Trouble) {
        self.feed(Some(trouble));
        self.is_out = true;
    }

    /// How it ended: the trouble and the level from which on there was one, or the last level without any. None where it
    /// has not ended.
    pub fn end(&self) -> Option<(Option<Trouble>, u64)> {
        if self.next_level().is_some() {
            return None;
        }
        match self.lasting {
            Some((since, trouble, _)) => Some((Some(trouble), since)),
            None => self.levels.last().map(|last| (None, *last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_levels_with_trouble_running_are_the_end_and_one_is_not() {
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
            // What was wrong first is what is told.
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
    fn who_gives_up_is_out_at_once() {
        let mut ladder = Ladder::new(vec![1, 2, 3]);
        ladder.give_up(Trouble::Failed);
        assert_eq!((ladder.next_level(), ladder.end()), (None, Some((Some(Trouble::Failed), 1))));
    }
}
