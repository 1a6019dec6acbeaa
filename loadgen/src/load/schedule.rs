//! The times at which the requests of a client are due. Pure.
//!
//! In an open loop, these times do not depend on the server. So response times are free of coordinated omission
//! (G. Tene, "How NOT to Measure Latency"). In a closed loop, the end of each request makes the next one due.

pub(crate) mod budget;
mod constant;
pub(crate) mod course;
mod poisson;
#[cfg(test)]
mod properties;
pub(crate) mod replay;
mod staged;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use common::units::nanoseconds;
use serde::{Deserialize, Serialize};

use self::{
    constant::Constant,
    course::Course,
    poisson::Poisson,
    replay::{Replay, ReplayTimes},
    staged::{Staged, StagedPoisson},
};
use crate::load::{clients::Clients, rate::Rate};

/// How the due times of an open loop are distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrival {
    /// Evenly spaced: one request every 1/rate, from the clients in turn
    #[default]
    Constant,
    /// Like independent users: each client is a Poisson process, and all clients together have the rate
    Poisson,
}

/// The rate of an open loop, of all clients together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The same rate at all times.
    Constant(Rate),
    /// A rate that changes.
    Stages(Arc<Course>),
}

/// The rule that makes requests due, for all clients together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// The next request is due after the end of the previous one and a pause.
    Closed {
        /// The pause.
        think: Duration,
    },
    /// Requests are due at times that do not depend on the server.
    Open {
        /// The rate of all clients together.
        pace: Pace,
        /// The distribution of the due times.
        arrival: Arrival,
    },
    /// Requests are due at recorded times, which do not depend on the server either.
    Replay(Arc<ReplayTimes>),
}

/// The next requests of one client. Due times are nanoseconds on the clock of the run, and never decrease.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    /// A closed loop: a due time for each outstanding request that is possible.
    Closed {
        /// The due times, earliest first.
        due_ns: VecDeque<u64>,
        /// The pause between the end of a request and the next request.
        think_ns: u64,
    },
    /// Evenly spaced requests.
    Constant(Constant),
    /// Requests with exponentially distributed gaps.
    Poisson(Poisson),
    /// Requests at a rate that changes. In a box, so that the other schedules stay small.
    Staged(Box<Staged>),
    /// Requests at a rate that changes, of a Poisson process.
    StagedPoisson(Box<StagedPoisson>),
    /// Requests at recorded times.
    Replay(Replay),
}

/// The client of a schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The number of the client in the whole load, from 0 to `clients - 1`.
    pub client: u32,
    /// The number of clients of the whole load.
    pub clients: u32,
    /// The maximum number of outstanding requests per client, at least 1.
    pub pipeline: usize,
    /// The seed of the run.
    pub seed: u64,
}

impl Load {
    /// The number of requests of this generator's clients that are due in each of these parts of the time, which follow each
    /// other. A part is given by its start and its end on the clock of the run; the load begins at `start_ns`. Poisson arrivals
    /// are counted one by one.
    pub(crate) fn due_in_parts(
        &self,
        parts: &[(u64, u64)],
        clients: Clients,
        seed: u64,
        start_ns: u64,
    ) -> Vec<u64> {
        if let Load::Open { pace: Pace::Stages(course), arrival: Arrival::Constant } = self {
            let before =
                |at_ns: u64| clients.before(course.first_from(at_ns.saturating_sub(start_ns)).into());
            return parts
                .iter()
                .map(|(from, end)| before(*end).saturating_sub(before(*from)) as u64)
                .collect();
        }
        let mut due = vec![0; parts.len()];
        for client in clients.numbers() {
            let place = Place { client, clients: clients.whole, pipeline: 1, seed };
            let mut schedule = Schedule::new(self, place, start_ns);
            for (due, (from_ns, end_ns)) in due.iter_mut().zip(parts) {
                *due += schedule.due_within(*from_ns, *end_ns);
            }
        }
        due
    }
}

impl Schedule {
    /// The schedule of a client from the start of the load.
    pub(crate) fn new(load: &Load, place: Place, start_ns: u64) -> Self {
        match load {
            Load::Closed { think } => {
                let think_ns = nanoseconds(*think);
                // The first requests are spread over the pause. Otherwise all clients would send at the same time for ever.
                let phase = u128::from(think_ns) * u128::from(place.client) / u128::from(place.clients);
                let due_ns = std::iter::repeat_n(start_ns + phase as u64, place.pipeline).collect();
                Schedule::Closed { due_ns, think_ns }
            }
            Load::Open { pace, arrival } => match (pace, arrival) {
                (Pace::Constant(rate), Arrival::Constant) => {
                    Schedule::Constant(Constant::new(*rate, place, start_ns))
                }
                (Pace::Constant(rate), Arrival::Poisson) => {
                    Schedule::Poisson(Poisson::new(*rate, place, start_ns))
                }
                (Pace::Stages(course), Arrival::Constant) => {
                    Schedule::Staged(Box::new(Staged::new(course, place, start_ns)))
                }
                (Pace::Stages(course), Arrival::Poisson) => {
                    Schedule::StagedPoisson(Box::new(StagedPoisson::new(course, place, start_ns)))
                }
            },
            Load::Replay(times) => Schedule::Replay(Replay::new(times.clone(), place, start_ns)),
        }
    }

    /// A schedule without requests, for the time before the load.
    pub(crate) fn empty() -> Self {
        Schedule::Closed { due_ns: VecDeque::new(), think_ns: 0 }
    }

    /// The due time of the next request, if there is one.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u64> {
        match self {
            Schedule::Closed { due_ns, .. } => due_ns.front().copied(),
            Schedule::Constant(constant) => Some(constant.due_ns()),
            Schedule::Poisson(poisson) => Some(poisson.due_ns()),
            Schedule::Staged(staged) => staged.due_ns(),
            Schedule::StagedPoisson(poisson) => poisson.due_ns(),
            Schedule::Replay(replay) => replay.due_ns(),
        }
    }

    /// Removes the request that [`peek`](Self::peek) shows.
    #[inline]
    pub(crate) fn pop(&mut self) {
        match self {
            Schedule::Closed { due_ns, .. } => drop(due_ns.pop_front()),
            Schedule::Constant(constant) => constant.advance(),
            Schedule::Poisson(poisson) => poisson.advance(),
            Schedule::Staged(staged) => staged.advance(),
            Schedule::StagedPoisson(poisson) => poisson.advance(),
            Schedule::Replay(replay) => replay.advance(),
        }
    }

    /// Removes all requests that are due before `end_ns`, and returns how many of them are due at `from_ns` or later.
    pub(crate) fn due_within(&mut self, from_ns: u64, end_ns: u64) -> u64 {
        match self {
            Schedule::Constant(constant) => return constant.due_within(from_ns, end_ns),
            Schedule::Staged(staged) => return staged.due_within(from_ns, end_ns),
            Schedule::Closed { .. }
            | Schedule::Poisson(_)
            | Schedule::StagedPoisson(_)
            | Schedule::Replay(_) => {}
        }
        let mut count = 0;
        while let Some(due_ns) = self.peek().filter(|due_ns| *due_ns < end_ns) {
            count += u64::from(due_ns >= from_ns);
            self.pop();
        }
        count
    }

    /// Reports the end of a request, by its reply or by a failure. In a closed loop, this makes the next request due.
    #[inline]
    pub(crate) fn ended(&mut self, now_ns: u64) {
        if let Schedule::Closed { due_ns, think_ns } = self {
            due_ns.push_back(now_ns + *think_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS_PER_S: u64 = 1_000_000_000;

    /// The due times of all clients in one second, sorted.
    fn one_second(load: Load, clients: u32, seed: u64) -> Vec<u64> {
        let mut moments = Vec::new();
        for client in 0..clients {
            let mut schedule = Schedule::new(&load, Place { client, clients, pipeline: 1, seed }, 0);
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
        Load::Open { pace: Pace::Constant(Rate::per_second(rate_per_s)), arrival: Arrival::Poisson }
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let load = Load::Open { pace: Pace::Constant(Rate::per_second(3)), arrival: Arrival::Constant };
        assert_eq!(one_second(load.clone(), 2, 0), [0, 333_333_333, 666_666_666]);
        let mut schedule = Schedule::new(&load, Place { client: 1, clients: 2, pipeline: 1, seed: 0 }, 5);
        for _ in 0..3_000_000 {
            schedule.pop();
        }
        assert_eq!(schedule.peek(), Some(5 + (2 * 3_000_000 + 1) * NS_PER_S / 3));
    }

    #[test]
    fn rates_below_one_per_second_are_exact() {
        let load = Load::Open { pace: Pace::Constant("7/min".parse().unwrap()), arrival: Arrival::Constant };
        let mut schedule = Schedule::new(&load, Place { client: 0, clients: 1, pipeline: 1, seed: 0 }, 0);
        for number in 0..7 * 60 * 24 {
            assert_eq!(schedule.peek(), Some(number * 60 * NS_PER_S / 7));
            schedule.pop();
        }
        assert_eq!(schedule.peek(), Some(24 * 3600 * NS_PER_S));
        // The last of a million clients sends its first request after the end of any run.
        let load = Load::Open { pace: Pace::Constant(Rate::MIN), arrival: Arrival::Constant };
        let last = Place { client: 999_999, clients: 1_000_000, pipeline: 1, seed: 0 };
        assert_eq!(Schedule::new(&load, last, 1).peek(), Some(999_999 * 3600 * NS_PER_S + 1));
    }

    #[test]
    fn constant_arrivals_of_all_clients_are_evenly_spaced() {
        let moments = one_second(
            Load::Open { pace: Pace::Constant(Rate::per_second(10_000)), arrival: Arrival::Constant },
            500,
            0,
        );
        assert_eq!(moments.len(), 10_000);
        assert!(moments.windows(2).all(|pair| pair[1] - pair[0] == 100_000));
    }

    #[test]
    fn merged_poisson_arrivals_have_exponential_gaps() {
        for seed in 0..5 {
            let moments = one_second(poisson(20_000), 500, seed);
            // The standard deviation of a Poisson count is the square root of its mean.
            assert!((moments.len() as f64 - 20_000.0).abs() < 4.0 * 20_000_f64.sqrt(), "{}", moments.len());
            let gaps: Vec<_> = moments.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9).collect();
            let critical = 1.628 / (gaps.len() as f64).sqrt(); // At a significance of 1%.
            let distance = kolmogorov_smirnov(gaps, |gap| 1.0 - (-gap * 20_000.0).exp());
            assert!(distance < critical, "seed {seed}: {distance} is not below {critical}");
        }
    }

    #[test]
    fn poisson_arrivals_are_uniform_over_time() {
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
    fn due_requests_are_counted_as_if_one_by_one() {
        for (client, rate, from_ns, end_ns) in [
            (0, "3", 0, NS_PER_S),
            (1, "3", 100, 400_000_000),
            (2, "7", 333_333_333, 5 * NS_PER_S),
            (0, "1k", 5_000_000, 5_000_000),
            (1, "999999937", 20_000_000, 20_000_500),
            (2, "30/min", NS_PER_S, 61 * NS_PER_S),
            (1, "0.7", 5, 3600 * NS_PER_S),
            (0, "1/h", 0, 5 * NS_PER_S),
        ] {
            for arrival in [Arrival::Constant, Arrival::Poisson] {
                let rate: Rate = rate.parse().unwrap();
                let place = Place { client, clients: 3, pipeline: 1, seed: 1 };
                let mut schedule =
                    Schedule::new(&Load::Open { pace: Pace::Constant(rate), arrival }, place, 50);
                let mut one_by_one = schedule.clone();
                let mut count = 0;
                while let Some(due_ns) = one_by_one.peek().filter(|due_ns| *due_ns < end_ns) {
                    count += u64::from(due_ns >= from_ns);
                    one_by_one.pop();
                }
                assert_eq!(schedule.due_within(from_ns, end_ns), count, "{client} {rate} {arrival:?}");
                assert_eq!(schedule.peek(), one_by_one.peek());
            }
        }
    }

    #[test]
    fn the_seed_determines_the_due_times() {
        assert_eq!(one_second(poisson(100), 5, 7), one_second(poisson(100), 5, 7));
        assert_ne!(one_second(poisson(100), 5, 7), one_second(poisson(100), 5, 8));
    }

    #[test]
    fn in_a_closed_loop_the_end_of_a_request_makes_the_next_one_due() {
        let load = Load::Closed { think: Duration::from_nanos(100) };
        let mut schedule = Schedule::new(&load, Place { client: 1, clients: 2, pipeline: 2, seed: 0 }, 1000);
        assert_eq!(schedule.peek(), Some(1050));
        schedule.pop();
        schedule.pop();
        assert_eq!(schedule.peek(), None);
        schedule.ended(2000);
        assert_eq!(schedule.peek(), Some(2100));
    }
}
