//! Arrivals at a rate that changes over time.

use std::sync::Arc;

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, Exp1};

use super::{
    Place,
    course::{Course, NEVER, ONE, Requests},
};
use crate::protocol::random::mix;

/// Due times that are a function of the number of the request: the moment at which the integral of the rate passes it.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    course: Arc<Course>,
    start_ns: u64,
    /// The number of the next request, among the requests of all clients.
    number: u64,
    clients: u64,
    /// The piece of the course in which the next request is due.
    piece: usize,
    /// When the next request is due.
    due_ns: u64,
}

impl Staged {
    pub(super) fn new(course: &Arc<Course>, place: Place, start_ns: u64) -> Self {
        let (number, clients) = (place.client.into(), place.clients.into());
        let mut staged = Self { course: course.clone(), start_ns, number, clients, piece: 0, due_ns: 0 };
        staged.update();
        staged
    }

    /// When the next request is due. None after the last one.
    #[inline]
    pub(super) fn due_ns(&self) -> Option<u64> {
        (self.due_ns != NEVER).then_some(self.due_ns)
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        self.number += self.clients;
        self.update();
    }

    /// Computed, not counted: a rate far above the possible one makes a huge number of requests due.
    pub(super) fn due_within(&mut self, from_ns: u64, end_ns: u64) -> u64 {
        let first_from = |at_ns: u64| self.course.first_from(at_ns.saturating_sub(self.start_ns));
        // The number of remaining requests of this client with lower numbers.
        let below = |number: u64| number.saturating_sub(self.number).div_ceil(self.clients);
        let (before, until) = (below(first_from(from_ns)), below(first_from(end_ns)));
        self.number += until * self.clients;
        self.update();
        until.saturating_sub(before)
    }

    fn update(&mut self) {
        let due_ns = self.start_ns.saturating_add(self.course.due_ns(self.number, &mut self.piece));
        // In a ramp of more than 104 days (2^53 ns), a float is rounded to several nanoseconds.
        self.due_ns = self.due_ns.max(due_ns);
    }
}

/// Due times of an inhomogeneous Poisson process. The integral of the rate grows from one request of the client to the next
/// by an exponentially distributed number with a mean of `clients` (E. Cinlar, Introduction to Stochastic Processes, 1975).
#[derive(Clone, Debug)]
pub(crate) struct StagedPoisson {
    course: Arc<Course>,
    start_ns: u64,
    clients: f64,
    /// The requests of all clients until the next one.
    requests: Requests,
    piece: usize,
    due_ns: u64,
    random: Xoshiro256PlusPlus,
}

impl StagedPoisson {
    pub(super) fn new(course: &Arc<Course>, place: Place, start_ns: u64) -> Self {
        let mut staged = Self {
            course: course.clone(),
            start_ns,
            clients: place.clients.into(),
            requests: 0,
            piece: 0,
            due_ns: 0,
            random: Xoshiro256PlusPlus::seed_from_u64(mix(place.seed, place.client.into())),
        };
        staged.advance();
        staged
    }

    /// When the next request is due. None after the last one.
    #[inline]
    pub(super) fn due_ns(&self) -> Option<u64> {
        (self.due_ns != NEVER).then_some(self.due_ns)
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        let gap: f64 = Exp1.sample(&mut self.random);
        self.requests = self.requests.saturating_add((gap * self.clients * ONE as f64) as Requests);
        let due_ns = self.course.moment(self.requests, &mut self.piece);
        // See `Staged`.
        self.due_ns = self.due_ns.max(self.start_ns.saturating_add(due_ns));
    }
}

#[cfg(test)]
mod tests;
