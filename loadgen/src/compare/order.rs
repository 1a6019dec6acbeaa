//! In which order the servers take their turns.

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

/// For each round the places of all contestants, shuffled (Fisher-Yates), so that what slowly changes on the machine
/// falls on none of them alone. The same seed gives the same order.
pub fn order(contestants: usize, rounds: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let round = |_| {
        let mut places: Vec<_> = (0..contestants).collect();
        places.shuffle(&mut random);
        places
    };
    (0..rounds).map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_everybody_once_in_an_order_that_follows_from_the_seed() {
        for (contestants, rounds) in [(1, 1), (5, 20), (3, 0)] {
            let rounds_of = order(contestants, rounds, 7);
            assert_eq!(rounds_of.len(), rounds);
            for mut places in rounds_of {
                places.sort_unstable();
                assert_eq!(places, (0..contestants).collect::<Vec<_>>());
            }
        }
        assert_eq!(order(5, 3, 1), [[4, 2, 0, 1, 3], [2, 0, 1, 3, 4], [2, 4, 0, 3, 1]]);
        assert_ne!(order(5, 3, 1), order(5, 3, 2));
    }

    #[test]
    fn nobody_is_always_first() {
        let firsts: Vec<_> = order(4, 100, 1).iter().map(|places| places[0]).collect();
        for place in 0..4 {
            let count = firsts.iter().filter(|first| **first == place).count();
            assert!((10..=40).contains(&count), "{place} was first {count} times");
        }
    }
}
