//! The order of turns.

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

/// For each round, the indices of all candidates in shuffled order (Fisher-Yates). So a slow change of the machine does
/// not affect one candidate alone. The same seed gives the same order.
pub(crate) fn order(candidates: usize, rounds: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let round = |_| {
        let mut places: Vec<_> = (0..candidates).collect();
        places.shuffle(&mut random);
        places
    };
    (0..rounds).map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_each_server_once_and_the_seed_determines_the_order() {
        for (candidates, rounds) in [(1, 1), (5, 20), (3, 0)] {
            let rounds_of = order(candidates, rounds, 7);
            assert_eq!(rounds_of.len(), rounds);
            for mut places in rounds_of {
                places.sort_unstable();
                assert_eq!(places, (0..candidates).collect::<Vec<_>>());
            }
        }
        assert_eq!(order(5, 3, 1), [[4, 2, 0, 1, 3], [2, 0, 1, 3, 4], [2, 4, 0, 3, 1]]);
        assert_ne!(order(5, 3, 1), order(5, 3, 2));
    }

    #[test]
    fn no_server_is_always_first() {
        let firsts: Vec<_> = order(4, 100, 1).iter().map(|places| places[0]).collect();
        for place in 0..4 {
            let count = firsts.iter().filter(|first| **first == place).count();
            assert!((10..=40).contains(&count), "{place} was first {count} times");
        }
    }
}
