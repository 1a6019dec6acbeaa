//! Poisson arrivals.

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, Exp1};

use super::Place;
use crate::load::rate::Rate;
use crate::protocol::random::mix;

/// Due times whose gaps are exponentially distributed, with a mean of clients/rate.
#[derive(Clone, Debug)]
pub(crate) struct Poisson {
    start_ns: u64,
    /// The due time of the next request after the start. Exact to a nanosecond for 104 days (2^53 ns).
    next_ns: f64,
    mean_gap_ns: f64,
    random: Xoshiro256PlusPlus,
}

impl Poisson {
    pub(super) fn new(rate: Rate, place: Place, start_ns: u64) -> Self {
        let mean_gap_ns = rate.mean_gap_ns() * f64::from(place.clients);
        // A named algorithm gives the same numbers on every platform and with every version of rand.
        let random = Xoshiro256PlusPlus::seed_from_u64(mix(place.seed, place.client.into()));
        let mut poisson = Self { start_ns, next_ns: 0.0, mean_gap_ns, random };
        poisson.advance();
        poisson
    }

    #[inline]
    pub(super) fn due_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.next_ns as u64)
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        let gap: f64 = Exp1.sample(&mut self.random);
        self.next_ns += gap * self.mean_gap_ns;
    }
}
