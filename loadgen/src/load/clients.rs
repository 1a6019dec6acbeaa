//! The clients of a load, and those of them that this generator has. Pure.
//!
//! A client has the same number, and so the same requests and due times, in the whole load and in the part of a generator.
//! Everything that follows from the number of a client, or from the number of clients, counts the clients of the whole:
//! schedules, messages, recorded requests and the turn of the targets. Everything that this machine spends counts only the
//! clients here: threads, connections, ports and open files.

use crate::load::part::Part;

/// The clients of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clients {
    /// The number of clients of the whole load, at least as many as it has parts.
    pub whole: u32,
    /// The part that this generator has. None: all of the load.
    pub part: Option<Part>,
}

impl Clients {
    /// All clients of a load.
    pub(crate) fn all(whole: u32) -> Self {
        Self { whole, part: None }
    }

    /// The number of clients that this generator has, at least 1.
    pub(crate) fn here(&self) -> u32 {
        self.before(self.whole.into()) as u32
    }

    /// The share of all clients that this generator has: more than 0, at most 1.
    pub(crate) fn fraction(&self) -> f64 {
        f64::from(self.here()) / f64::from(self.whole)
    }

    /// The numbers of the clients of a load thread. The threads of a generator take its clients in turn.
    pub(crate) fn of_thread(&self, thread: usize, threads: usize) -> impl Iterator<Item = u32> + use<> {
        let Part { number, of } = self.division();
        // As 64-bit numbers, neither the start nor the step overflows.
        let (first, step) =
            (u64::from(number) + u64::from(of) * thread as u64, u64::from(of) * threads as u64);
        (first..self.whole.into()).step_by(step as usize).map(|number| number as u32)
    }

    /// The numbers of all clients of this generator.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        self.of_thread(0, 1)
    }

    /// The place of a client among those of this generator, from 0.
    pub(crate) fn place(&self, client: u32) -> u32 {
        client / self.division().of
    }

    /// The share of a load thread of a number that the threads of all parts divide as evenly as possible. All parts have as many
    /// threads.
    pub(crate) fn share_of_thread(&self, whole: u64, thread: usize, threads: usize) -> u64 {
        let Part { number, of } = self.division();
        let (number, of) = (u64::from(number), u64::from(of));
        crate::load::part::share(whole, number + of * thread as u64, of * threads as u64)
    }

    /// How many of the requests before request `number` of the whole load this generator sends, if the clients of the whole
    /// send in turn.
    pub(crate) fn before(&self, number: u128) -> u128 {
        let Part { number: first, of } = self.division();
        let own = |clients: u128| clients.saturating_sub(first.into()).div_ceil(of.into());
        let whole = u128::from(self.whole);
        number / whole * own(whole) + own(number % whole)
    }

    /// The number of different targets that the clients of this generator connect to, of `targets`, which all clients take in
    /// turn.
    pub(crate) fn targets(&self, targets: u64) -> u64 {
        let (mut divisor, mut rest) = (targets, u64::from(self.division().of));
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        targets / divisor.max(1)
    }

    /// The part; without one, the only part.
    fn division(&self) -> Part {
        self.part.unwrap_or(Part { number: 0, of: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(whole: u32, number: u32, of: u32) -> Clients {
        Clients { whole, part: Some(Part { number, of }) }
    }

    #[test]
    fn each_client_belongs_to_one_thread_of_one_part() {
        for (whole, of, threads) in
            [(10, 1, 1), (10, 4, 2), (7, 3, 1), (500, 4, 3), (4, 4, 1), (1_000, 7, 16)]
        {
            let mut all = Vec::new();
            for number in 0..of {
                let part = clients(whole, number, of);
                let here: Vec<_> = (0..threads).flat_map(|thread| part.of_thread(thread, threads)).collect();
                assert_eq!(here.len(), part.here() as usize, "{whole} {of} {threads}");
                assert!(here.iter().all(|client| client % of == number));
                let mut places: Vec<_> = here.iter().map(|client| part.place(*client)).collect();
                places.sort_unstable();
                assert_eq!(places, (0..part.here()).collect::<Vec<_>>());
                all.extend(here);
            }
            all.sort_unstable();
            assert_eq!(all, (0..whole).collect::<Vec<_>>(), "{whole} {of} {threads}");
        }
    }

    #[test]
    fn several_parts_have_the_threads_of_one_generator() {
        let whole = Clients::all(103);
        for (number, thread) in [(0, 0), (3, 0), (1, 1), (2, 2)] {
            let of_part: Vec<_> = clients(103, number, 4).of_thread(thread, 3).collect();
            let same: Vec<_> = whole.of_thread(number as usize + 4 * thread, 12).collect();
            assert_eq!(of_part, same);
        }
    }

    #[test]
    fn the_requests_of_the_parts_are_counted_as_if_one_by_one() {
        for (whole, of) in [(10, 4), (7, 7), (5, 3), (1, 1)] {
            for number in 0..of {
                let part = clients(whole, number, of);
                for end in 0..40_u128 {
                    let counted =
                        (0..end).filter(|request| *request as u32 % whole % of == number).count() as u128;
                    assert_eq!(part.before(end), counted, "{whole} {number}/{of} {end}");
                }
            }
        }
    }

    #[test]
    fn a_part_connects_to_the_targets_of_its_clients() {
        for (whole, of, targets) in [(100, 4, 2), (100, 4, 3), (100, 1, 5), (100, 6, 4), (100, 4, 8)] {
            let part = clients(whole, 1, of);
            let mut used: Vec<_> = part.numbers().map(|client| u64::from(client) % targets).collect();
            used.sort_unstable();
            used.dedup();
            assert_eq!(part.targets(targets), used.len() as u64, "{of} {targets}");
        }
    }

    #[test]
    fn the_shares_of_all_threads_of_all_parts_add_up() {
        for whole in [0, 1, 7, 100, 1_000_003] {
            let share = |number, thread| clients(50, number, 5).share_of_thread(whole, thread, 3);
            let sum: u64 = (0..5).map(|number| (0..3).map(|thread| share(number, thread)).sum::<u64>()).sum();
            assert_eq!(sum, whole);
        }
    }
}
