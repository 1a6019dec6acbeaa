//! Constant arrivals.

use super::Place;
use crate::load::rate::Rate;

/// Due times that are a function of the number of the request: they do not drift.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    start_ns: u64,
    /// The number of the next request, among the requests of all clients.
    number: u128,
    clients: u128,
    rate: Rate,
}

impl Constant {
    pub(super) fn new(rate: Rate, place: Place, start_ns: u64) -> Self {
        Self { start_ns, number: place.client.into(), clients: place.clients.into(), rate }
    }

    #[inline]
    pub(super) fn due_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.rate.due_ns(self.number))
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        self.number += self.clients;
    }

    /// Computed, not counted: a rate far above the possible one makes a huge number of requests due.
    pub(super) fn due_within(&mut self, from_ns: u64, end_ns: u64) -> u64 {
        // The number of the first request that is due at `at_ns` or later.
        let first_from = |at_ns: u64| self.rate.due_before(at_ns.saturating_sub(self.start_ns));
        // The number of remaining requests of this client with lower numbers.
        let below = |number: u128| number.saturating_sub(self.number).div_ceil(self.clients);
        let (before, until) = (below(first_from(from_ns)), below(first_from(end_ns)));
        self.number += until * self.clients;
        until.saturating_sub(before) as u64
    }
}
