//! The search for the highest level that holds, by bisection. Pure: it chooses the next level, and takes the vote of the
//! run.
//!
//! It starts with the votes of the ladder, one for each level. A level of the search is run several times, and holds if
//! most of its runs hold. Both ends of the bracket are levels whose runs agree, so a level whose runs disagree widens the
//! bracket. The lower end is run as often as the other levels before it is reported.

use std::collections::BTreeMap;

use super::levels::rounded;
use crate::result::sweep::Tried;

/// The maximum number of levels: far more than a bisection needs.
const LEVELS_MAX: usize = 40;

/// The state of the search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    repeats: usize,
    tolerance: f64,
    levels: BTreeMap<u64, Votes>,
    given_up: bool,
}

/// The result of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bracket {
    /// The highest level that holds. None: no level holds.
    pub low: Option<u64>,
    /// The lowest level above it that does not hold. None: every level holds.
    pub high: Option<u64>,
    /// Whether the bracket is wider because the runs of a level in it disagree.
    pub is_widened: bool,
}

#[derive(Clone, Copy, Debug)]
struct Votes {
    runs: usize,
    held: usize,
    wanted: usize,
}

impl Votes {
    fn are_complete(&self) -> bool {
        self.runs >= self.wanted
    }

    fn hold(&self) -> bool {
        2 * self.held > self.runs
    }

    fn agree(&self) -> bool {
        self.held == 0 || self.held == self.runs
    }
}

impl Search {
    /// Starts with the votes of the ladder: each level, and whether it held. Each level is run `repeats` times, which
    /// is not zero. The search ends when the ends of the bracket differ by a share of at most `tolerance`.
    pub(crate) fn new(ladder: impl IntoIterator<Item = (u64, bool)>, repeats: usize, tolerance: f64) -> Self {
        let votes = |(level, held)| (level, Votes { runs: 1, held: usize::from(held), wanted: 1 });
        Self { repeats, tolerance, levels: ladder.into_iter().map(votes).collect(), given_up: false }
    }

    /// The level to run next; None at the end.
    pub(crate) fn next_level(&mut self) -> Option<u64> {
        if self.given_up {
            return None;
        }
        if let Some((level, _)) = self.levels.iter().find(|(_, votes)| !votes.are_complete()) {
            return Some(*level);
        }
        let (low, high) = self.ends();
        // If no level holds, there is nothing to find.
        let low = low?;
        if self.levels.len() < LEVELS_MAX
            && let Some(middle) = high.and_then(|high| self.middle(low, high))
        {
            self.levels.insert(middle, Votes { runs: 0, held: 0, wanted: self.repeats });
            return Some(middle);
        }
        let reported = self.bracket().low.unwrap_or(low);
        let votes = self.levels.get_mut(&reported).expect("the ends are levels");
        votes.wanted = votes.wanted.max(self.repeats);
        (!votes.are_complete()).then_some(reported)
    }

    /// Takes the vote of a run at that level.
    pub(crate) fn feed(&mut self, level: u64, held: bool) {
        if let Some(votes) = self.levels.get_mut(&level) {
            votes.runs += 1;
            votes.held += usize::from(held);
        }
    }

    /// Ends the search early, when the next run is not possible.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Whether the search reached its end.
    pub(crate) fn is_complete(&self) -> bool {
        !self.given_up && self.clone().next_level().is_none()
    }

    /// The current result.
    pub(crate) fn bracket(&self) -> Bracket {
        let (low, high) = self.ends();
        let agreed = |votes: &Votes| votes.are_complete() && votes.agree();
        let below =
            |low: u64| self.levels.range(..=low).rev().find(|(_, votes)| agreed(votes) && votes.hold());
        let above = |high: u64| self.levels.range(high..).find(|(_, votes)| agreed(votes) && !votes.hold());
        // If the runs of no other level agree, the end stays the same.
        let wide_low = low.map(|low| below(low).map_or(low, |(level, _)| *level));
        let wide_high = high.map(|high| above(high).map_or(high, |(level, _)| *level));
        Bracket { low: wide_low, high: wide_high, is_widened: (low, high) != (wide_low, wide_high) }
    }

    /// All levels with at least one run.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        let run = self.levels.iter().filter(|(_, votes)| votes.runs > 0);
        run.map(|(level, votes)| Tried { level: *level, runs: votes.runs, held: votes.held }).collect()
    }

    /// The highest level at which most runs hold, and the lowest level above it at which they do not. If no level holds:
    /// the lowest level.
    fn ends(&self) -> (Option<u64>, Option<u64>) {
        let complete = || self.levels.iter().filter(|(_, votes)| votes.are_complete());
        let low = complete().filter(|(_, votes)| votes.hold()).map(|(level, _)| *level).next_back();
        let above = |level: u64| low.is_none_or(|low| level > low);
        let high = complete().map(|(level, _)| *level).find(|level| above(*level));
        (low, high)
    }

    /// The geometric middle of both levels. None if they are close enough, or if there is no level in between.
    fn middle(&self, low: u64, high: u64) -> Option<u64> {
        let (low_f, high_f) = (low as f64, high as f64);
        if high_f / low_f <= 1.0 + self.tolerance {
            return None;
        }
        let exact = (low_f * high_f).sqrt();
        let between = |level: &u64| low < *level && *level < high;
        Some(rounded(exact)).filter(between).or_else(|| Some(exact.round() as u64).filter(between))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: [u64; 6] = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000];

    /// Runs a search. `holds` gives the vote of a run: its arguments are the level, and the number of the run at that level
    /// from 0.
    fn search(mut holds: impl FnMut(u64, usize) -> bool, repeats: usize) -> (Search, usize) {
        let ladder: Vec<_> = LADDER.iter().map(|level| (*level, holds(*level, 0))).collect();
        let mut search = Search::new(ladder, repeats, 0.05);
        let mut runs = 0;
        while let Some(level) = search.next_level() {
            let number = search.levels[&level].runs;
            search.feed(level, holds(level, number));
            runs += 1;
            assert!(runs < 1_000, "the search does not end");
        }
        assert!(search.is_complete());
        (search, runs)
    }

    #[test]
    fn the_bracket_closes_around_the_capacity() {
        for capacity in [1_000, 1_500, 3_999, 8_888, 15_999, 31_999] {
            for repeats in [1, 3] {
                let (search, runs) = search(|level, _| level <= capacity, repeats);
                let Bracket { low, high, is_widened } = search.bracket();
                let (low, high) = (low.unwrap(), high.unwrap());
                assert!(low <= capacity && capacity < high, "{low} {capacity} {high}");
                assert!(high as f64 / low as f64 <= 1.05, "{low} {high}");
                assert!(!is_widened);
                // A factor of two takes four bisections, and the lower end may need confirmation.
                assert!(runs < 5 * repeats, "{runs} for {capacity}");
            }
        }
    }

    #[test]
    fn the_bracket_can_end_at_the_ends_of_the_ladder() {
        let (none, runs) = search(|_, _| false, 3);
        assert_eq!((none.bracket(), runs), (Bracket { low: None, high: Some(1_000), is_widened: false }, 0));
        // The reported level is run as often as the others.
        let (all, runs) = search(|_, _| true, 3);
        assert_eq!((all.bracket(), runs), (Bracket { low: Some(32_000), high: None, is_widened: false }, 2));
        assert_eq!(all.tried().last(), Some(&Tried { level: 32_000, runs: 3, held: 3 }));
    }

    #[test]
    fn runs_that_disagree_widen_the_bracket() {
        // Between 9,000 and 10,000, one run of three holds.
        let (search, _) = search(|level, run| level < 9_000 || (level < 10_000 && run == 1), 3);
        let Bracket { low, high, is_widened } = search.bracket();
        assert!(is_widened);
        assert!(low.unwrap() < 9_000 && high.unwrap() >= 10_000, "{low:?} {high:?}");
        // The same if two of three hold.
        let (search, _) = self::search(|level, run| level < 9_000 || (level < 10_000 && run != 1), 3);
        let Bracket { low, high, is_widened } = search.bracket();
        assert!(is_widened);
        assert!(low.unwrap() < 9_000 && high.unwrap() >= 10_000, "{low:?} {high:?}");
    }

    #[test]
    fn a_level_that_held_once_by_chance_is_not_reported() {
        // 16,000 held in the ladder, and never again.
        let (search, _) = search(|level, run| level <= 4_000 || (level == 16_000 && run == 0), 3);
        let Bracket { low, high, .. } = search.bracket();
        let (low, high) = (low.unwrap(), high.unwrap());
        assert!((3_800..=4_000).contains(&low), "{low}");
        assert!(high > 4_000 && high < 8_000, "{high}");
    }

    #[test]
    fn small_levels_are_whole_numbers() {
        let mut search = Search::new([(1, true), (2, true), (4, false)], 1, 0.05);
        assert_eq!(search.next_level(), Some(3));
        search.feed(3, true);
        assert_eq!(search.next_level(), None);
        assert_eq!(search.bracket(), Bracket { low: Some(3), high: Some(4), is_widened: false });
    }

    #[test]
    fn giving_up_keeps_the_current_bracket() {
        let mut search = Search::new([(1_000, true), (2_000, false)], 3, 0.05);
        let level = search.next_level().unwrap();
        search.feed(level, true);
        assert!(!search.is_complete());
        search.give_up();
        assert_eq!(search.next_level(), None);
        assert!(!search.is_complete());
        assert_eq!(search.bracket(), Bracket { low: Some(1_000), high: Some(2_000), is_widened: false });
        assert_eq!(search.tried().len(), 3);
        // A level that was chosen and never run is not listed.
        let mut search = Search::new([(1_000, true), (2_000, false)], 3, 0.05);
        search.next_level();
        search.give_up();
        assert_eq!(search.tried().len(), 2);
    }

    #[test]
    fn half_of_the_runs_are_not_most_of_them() {
        let mut search = Search::new([(1, true), (3, false)], 2, 0.05);
        for held in [true, false] {
            assert_eq!(search.next_level(), Some(2));
            search.feed(2, held);
        }
        assert_eq!(search.ends(), (Some(1), Some(2)));
    }
}
