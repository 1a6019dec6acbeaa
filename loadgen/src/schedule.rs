//! When each client's requests are due. Pure: it takes no clock and no socket.
//!
//! In an open loop the moments are fixed ahead, whatever the server does: that is what makes the response time
//! free of coordinated omission (G. Tene, "How NOT to Measure Latency"). A closed loop is one more schedule:
//! there each ended request makes the next one due.

use std::{collections::VecDeque, time::Duration};

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, Exp1};
use serde::{Deserialize, Serialize};

use crate::clock::nanoseconds;

const NS_PER_S: u64 = 1_000_000_000;

/// How the moments of an open loop are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// Evenly: one request each 1/rate, the clients in turn.
    #[default]
    Constant,
    /// As independent users: each client a Poisson process, together one of the whole rate.
    Poisson,
}

/// What makes requests due, for all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// The next request is due when the previous one has ended, after some time to think.
    Closed {
        /// The time to think.
        think: Duration,
    },
    /// Requests are due at fixed moments.
    Open {
        /// All clients together, at least 1.
        rate_per_s: u64,
        /// How the moments are spread.
        arrival: Arrival,
    },
}

/// One client's coming requests. Moments are nanoseconds of the run's clock and never go back.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Of a closed loop: each outstanding place's next moment.
    Closed {
        /// The moments, oldest first.
        due_ns: VecDeque<u64>,
        /// From the end of a request to the next one.
        think_ns: u64,
    },
    /// Evenly spread.
    Constant(Constant),
    /// Exponentially distributed gaps.
    Poisson(Poisson),
}

/// Moments that are a pure function of the request's number, so they do not drift.
#[derive(Clone, Debug)]
pub struct Constant {
    start_ns: u64,
    /// Counts through the requests of all clients.
    number: u128,
    clients: u128,
    rate_per_s: u128,
}

/// Moments whose gaps are exponentially distributed with a mean of clients/rate.
#[derive(Clone, Debug)]
pub struct Poisson {
    start_ns: u64,
    /// Since the start. Exact to a nanosecond for 104 days (2^53 ns).
    next_ns: f64,
    mean_gap_ns: f64,
    random: Xoshiro256PlusPlus,
}

/// Which client a schedule is for.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The client's number, from 0 to `clients - 1`.
    pub client: u32,
    /// All clients of the run.
    pub clients: u32,
    /// How many requests of one client may be outstanding, at least 1.
    pub pipeline: usize,
    /// The run's seed.
    pub seed: u64,
}

impl Schedule {
    /// A client's schedule from the load's beginning.
    pub fn new(load: Load, place: Place, start_ns: u64) -> Self {
        match load {
            Load::Closed { think } => {
                let think_ns = nanoseconds(think);
                // Clients that think begin spread over that time, or they would all ask at once for ever.
                let phase = u128::from(think_ns) * u128::from(place.client) / u128::from(place.clients);
                let due_ns = std::iter::repeat_n(start_ns + phase as u64, place.pipeline).collect();
                Schedule::Closed { due_ns, think_ns }
            }
            Load::Open { rate_per_s, arrival: Arrival::Constant } => Schedule::Constant(Constant {
                start_ns,
                number: place.client.into(),
                clients: place.clients.into(),
                rate_per_s: rate_per_s.into(),
            }),
            Load::Open { rate_per_s, arrival: Arrival::Poisson } => {
                Schedule::Poisson(Poisson::new(rate_per_s, place, start_ns))
            }
        }
    }

    /// A schedule with no requests, for before the load begins.
    pub fn empty() -> Self {
        Schedule::Closed { due_ns: VecDeque::new(), think_ns: 0 }
    }

    /// When the next request is due, if one is.
    #[inline]
    pub fn peek(&self) -> Option<u64> {
        match self {
            Schedule::Closed { due_ns, .. } => due_ns.front().copied(),
            Schedule::Constant(constant) => Some(constant.due_ns()),
            Schedule::Poisson(poisson) => Some(poisson.due_ns()),
        }
    }

    /// Passes on to the request after the one that [`peek`](Self::peek) shows.
    #[inline]
    pub fn pop(&mut self) {
        match self {
            Schedule::Closed { due_ns, .. } => drop(due_ns.pop_front()),
            Schedule::Constant(constant) => constant.number += constant.clients,
            Schedule::Poisson(poisson) => poisson.advance(),
        }
    }

    /// How many of the coming requests are due from `from_ns` up to, and without, `end_ns`. It passes on over all that are due
    /// before `end_ns`.
    pub fn due_within(&mut self, from_ns: u64, end_ns: u64) -> u64 {
        if let Schedule::Constant(constant) = self {
            return constant.due_within(from_ns, end_ns);
        }
        let mut count = 0;
        while let Some(due_ns) = self.peek().filter(|due_ns| *due_ns < end_ns) {
            count += u64::from(due_ns >= from_ns);
            self.pop();
        }
        count
    }

    /// A request has ended, by its reply or by its failure: in a closed loop that makes the next one due.
    #[inline]
    pub fn ended(&mut self, now_ns: u64) {
        if let Schedule::Closed { due_ns, think_ns } = self {
            due_ns.push_back(now_ns + *think_ns);
        }
    }
}

impl Constant {
    fn due_ns(&self) -> u64 {
        self.start_ns + (self.number * u128::from(NS_PER_S) / self.rate_per_s) as u64
    }
}

impl Constant {
    /// Not one by one: at a rate far over what can be sent, they are very many.
    fn due_within(&mut self, from_ns: u64, end_ns: u64) -> u64 {
        // The first number that is due at that moment or later.
        let first_from = |at_ns: u64| {
            (u128::from(at_ns.saturating_sub(self.start_ns)) * self.rate_per_s).div_ceil(u128::from(NS_PER_S))
        };
        // How many of this client's coming requests have lower numbers.
        let below = |number: u128| number.saturating_sub(self.number).div_ceil(self.clients);
        let (before, until) = (below(first_from(from_ns)), below(first_from(end_ns)));
        self.number += until * self.clients;
        until.saturating_sub(before) as u64
    }
}

impl Poisson {
    fn new(rate_per_s: u64, place: Place, start_ns: u64) -> Self {
        let mean_gap_ns = NS_PER_S as f64 * f64::from(place.clients) / rate_per_s as f64;
        // The same numbers on every platform: the generator's algorithm is named, and rand keeps its values.
        let random = Xoshiro256PlusPlus::seed_from_u64(mix(place.seed, place.client.into()));
        let mut poisson = Self { start_ns, next_ns: 0.0, mean_gap_ns, random };
        poisson.advance();
        poisson
    }

    fn due_ns(&self) -> u64 {
        self.start_ns + self.next_ns as u64
    }

    fn advance(&mut self) {
        let gap: f64 = Exp1.sample(&mut self.random);
        self.next_ns += gap * self.mean_gap_ns;
    }
}

/// A number that depends evenly on every bit of both: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of all clients in one second, merged.
    fn one_second(load: Load, clients: u32, seed: u64) -> Vec<u64> {
        let mut moments = Vec::new();
        for client in 0..clients {
            let mut schedule = Schedule::new(load, Place { client, clients, pipeline: 1, seed }, 0);
            while let Some(due) = schedule.peek().filter(|due| *due < NS_PER_S) {
                moments.push(due);
                schedule.pop();
            }
        }
        moments.sort_unstable();
        moments
    }

    /// Kolmogorov's statistic: the largest distance of the samples' distribution from `cdf`.
    fn kolmogorov_smirnov(mut samples: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
        samples.sort_unstable_by(f64::total_cmp);
        let count = samples.len() as f64;
        let distance = |(index, sample): (usize, &f64)| {
            let expected = cdf(*sample);
            (expected - index as f64 / count).abs().max(((index + 1) as f64 / count - expected).abs())
        };
        samples.iter().enumerate().map(distance).fold(0.0, f64::max)
    }

    fn poisson(rate_per_s: u64) -> Load {
        Load::Open { rate_per_s, arrival: Arrival::Poisson }
    }

    #[test]
    fn constant_arrivals_are_exact_for_ever() {
        let load = Load::Open { rate_per_s: 3, arrival: Arrival::Constant };
        assert_eq!(one_second(load, 2, 0), [0, 333_333_333, 666_666_666]);
        let mut schedule = Schedule::new(load, Place { client: 1, clients: 2, pipeline: 1, seed: 0 }, 5);
        for _ in 0..3_000_000 {
            schedule.pop();
        }
        assert_eq!(schedule.peek(), Some(5 + (2 * 3_000_000 + 1) * NS_PER_S / 3));
    }

    #[test]
    fn the_clients_of_a_constant_load_are_evenly_spaced_together() {
        let moments = one_second(Load::Open { rate_per_s: 10_000, arrival: Arrival::Constant }, 500, 0);
        assert_eq!(moments.len(), 10_000);
        assert!(moments.windows(2).all(|pair| pair[1] - pair[0] == 100_000));
    }

    #[test]
    fn merged_poisson_arrivals_have_exponential_gaps_of_the_whole_rate() {
        for seed in 0..5 {
            let moments = one_second(poisson(20_000), 500, seed);
            // The count of a Poisson process has a standard deviation of its root.
            assert!((moments.len() as f64 - 20_000.0).abs() < 4.0 * 20_000_f64.sqrt(), "{}", moments.len());
            let gaps: Vec<_> = moments.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9).collect();
            let critical = 1.628 / (gaps.len() as f64).sqrt(); // At a significance of 1%.
            let distance = kolmogorov_smirnov(gaps, |gap| 1.0 - (-gap * 20_000.0).exp());
            assert!(distance < critical, "seed {seed}: {distance} is not below {critical}");
        }
    }

    #[test]
    fn poisson_arrivals_are_spread_evenly_over_time() {
        let moments = one_second(poisson(50_000), 100, 1);
        let bins = 100;
        let expected = moments.len() as f64 / bins as f64;
        let mut counts = vec![0.0; bins];
        for moment in moments {
            counts[(moment * bins as u64 / NS_PER_S) as usize] += 1.0;
        }
        let chi_square: f64 = counts.iter().map(|count: &f64| (count - expected).powi(2) / expected).sum();
        assert!(chi_square < 134.6, "{chi_square} exceeds the 1% point of 99 degrees of freedom");
    }

    #[test]
    fn what_is_due_within_a_time_is_counted_as_if_one_by_one() {
        for (client, rate_per_s, from_ns, end_ns) in [
            (0, 3, 0, NS_PER_S),
            (1, 3, 100, 400_000_000),
            (2, 7, 333_333_333, 5 * NS_PER_S),
            (0, 1_000, 5_000_000, 5_000_000),
            (1, 999_999_937, 20_000_000, 20_000_500),
        ] {
            for arrival in [Arrival::Constant, Arrival::Poisson] {
                let place = Place { client, clients: 3, pipeline: 1, seed: 1 };
                let mut schedule = Schedule::new(Load::Open { rate_per_s, arrival }, place, 50);
                let mut one_by_one = schedule.clone();
                let mut count = 0;
                while let Some(due_ns) = one_by_one.peek().filter(|due_ns| *due_ns < end_ns) {
                    count += u64::from(due_ns >= from_ns);
                    one_by_one.pop();
                }
                assert_eq!(schedule.due_within(from_ns, end_ns), count, "{client} {rate_per_s} {arrival:?}");
                assert_eq!(schedule.peek(), one_by_one.peek());
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_moments_again_and_another_seed_gives_others() {
        assert_eq!(one_second(poisson(100), 5, 7), one_second(poisson(100), 5, 7));
        assert_ne!(one_second(poisson(100), 5, 7), one_second(poisson(100), 5, 8));
    }

    #[test]
    fn in_a_closed_loop_the_end_of_a_request_makes_the_next_one_due() {
        let load = Load::Closed { think: Duration::from_nanos(100) };
        let mut schedule = Schedule::new(load, Place { client: 1, clients: 2, pipeline: 2, seed: 0 }, 1000);
        assert_eq!(schedule.peek(), Some(1050));
        schedule.pop();
        schedule.pop();
        assert_eq!(schedule.peek(), None);
        schedule.ended(2000);
        assert_eq!(schedule.peek(), Some(2100));
    }
}
