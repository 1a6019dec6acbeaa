//! The requests that each load thread and each client may begin in the window of a run with `--requests`. Pure.
//!
//! In an open loop, the window has the requests that are due first, so a client may begin those of them that are its own, however
//! late it is. So neither the division into threads and parts nor the lateness of a client changes what is sent. In a closed loop,
//! no request is known before: the threads divide the number evenly, and the clients of a thread share its part.

use std::time::Duration;

use common::units::nanoseconds;

use super::{Arrival, Load, Pace, Place, Schedule};
use crate::load::{clients::Clients, rate::Rate};

/// The most requests of a Poisson process that are drawn to find the first ones: this takes about a second. Beyond it, the
/// threads divide the number evenly.
const DRAWN_MAX: f64 = 1e8;
/// The number of standard deviations around the expected time of the last request within which it is looked for first.
const DEVIATIONS: f64 = 6.0;

/// What a load thread may begin in the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// The number of requests.
    pub requests: u64,
    /// How they are divided among the clients. None: the clients share them.
    pub division: Option<Division>,
}

/// The requests of each client of a load thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// How many requests of the window each client may begin, in the order of the clients.
    pub of_clients: Box<[u64]>,
    /// When the last request of the whole load is due, after the start of the load.
    pub last_due_ns: u64,
}

impl Budget {
    /// Without `--requests`, the window alone ends the load.
    pub(crate) const UNLIMITED: Budget = Budget { requests: u64::MAX, division: None };

    /// How many requests of the window the client at `place` may begin, as far as the thread still may begin one.
    pub(crate) fn of_client(&self, place: usize) -> u64 {
        self.division.as_ref().map_or(u64::MAX, |division| division.of_clients[place])
    }

    fn divided(of_clients: Box<[u64]>, last_due_ns: u64) -> Self {
        Self { requests: of_clients.iter().sum(), division: Some(Division { of_clients, last_due_ns }) }
    }
}

/// The budgets of the load threads of this generator for the first `requests` requests of the whole load, from the end of the
/// warm-up on. The budgets of all threads of all parts add up to `requests`.
pub(crate) fn budgets(
    load: &Load,
    requests: u64,
    warmup: Duration,
    clients: Clients,
    threads: usize,
    seed: u64,
) -> Vec<Budget> {
    let warmup_ns = nanoseconds(warmup);
    let in_turn = |first: u128, last_due_ns: u64| {
        let end = first + u128::from(requests);
        let of_thread = |thread| {
            let numbers = clients.of_thread(thread, threads);
            Budget::divided(
                numbers.map(|client| of_client(clients, client, first, end)).collect(),
                last_due_ns,
            )
        };
        (0..threads).map(of_thread).collect()
    };
    match load {
        Load::Replay(times) => in_turn(0, times.last_due_ns(requests)),
        Load::Open { pace: Pace::Constant(rate), arrival: Arrival::Constant } => {
            let first = rate.due_before(warmup_ns);
            in_turn(first, rate.due_ns(first + u128::from(requests).saturating_sub(1)))
        }
        Load::Open { pace: Pace::Constant(rate), arrival: Arrival::Poisson }
            if drawn(*rate, requests, warmup_ns) <= DRAWN_MAX =>
        {
            First { load, rate: *rate, requests, warmup_ns, clients, seed }.budgets(threads)
        }
        // Stages have no number of requests.
        Load::Open { .. } | Load::Closed { .. } => {
            let share = |thread| clients.share_of_thread(requests, thread, threads);
            (0..threads).map(|thread| Budget { requests: share(thread), division: None }).collect()
        }
    }
}

/// The requests from number `first` on and before number `end` of a client, if all clients send in turn.
fn of_client(clients: Clients, client: u32, first: u128, end: u128) -> u64 {
    let before = |number: u128| number.saturating_sub(client.into()).div_ceil(clients.whole.into());
    (before(end) - before(first)) as u64
}

/// The number of requests until the last one of the window, including those of the warm-up.
fn drawn(rate: Rate, requests: u64, warmup_ns: u64) -> f64 {
    requests as f64 + warmup_ns as f64 / rate.mean_gap_ns()
}

/// The first requests of a Poisson process after the warm-up.
struct First<'a> {
    load: &'a Load,
    rate: Rate,
    requests: u64,
    warmup_ns: u64,
    clients: Clients,
    seed: u64,
}

impl First<'_> {
    fn budgets(&self, threads: usize) -> Vec<Budget> {
        let mut deviations = DEVIATIONS;
        loop {
            if let Some(budgets) = self.within(threads, deviations) {
                return budgets;
            }
            // The range grows until it holds the last request: at last it begins at the end of the warm-up.
            deviations *= 4.0;
        }
    }

    /// The budgets. None if the last request is not within this number of standard deviations of its expected time.
    fn within(&self, threads: usize, deviations: f64) -> Option<Vec<Budget>> {
        let (gap_ns, requests) = (self.rate.mean_gap_ns(), self.requests as f64);
        let margin = deviations * requests.sqrt();
        let after = |requests: f64| self.warmup_ns.saturating_add((requests.max(0.0) * gap_ns) as u64);
        let (low_ns, high_ns) = (after(requests - margin), after(requests + margin));
        let mut of_clients = vec![0; self.clients.whole as usize];
        let mut near = Vec::new();
        for client in 0..self.clients.whole {
            let place = Place { client, clients: self.clients.whole, pipeline: 1, seed: self.seed };
            let mut schedule = Schedule::new(self.load, place, 0);
            of_clients[client as usize] = schedule.due_within(self.warmup_ns, low_ns);
            while let Some(due_ns) = schedule.peek().filter(|due_ns| *due_ns < high_ns) {
                near.push((due_ns, client));
                schedule.pop();
            }
        }
        let rest = self.requests.checked_sub(of_clients.iter().sum())? as usize;
        if near.len() < rest {
            return None;
        }
        near.sort_unstable();
        near.truncate(rest);
        near.iter().for_each(|(_, client)| of_clients[*client as usize] += 1);
        let last_due_ns = near.last().map_or(low_ns, |(due_ns, _)| *due_ns);
        let of_thread = |thread| {
            let numbers = self.clients.of_thread(thread, threads);
            Budget::divided(numbers.map(|client| of_clients[client as usize]).collect(), last_due_ns)
        };
        Some((0..threads).map(of_thread).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::part::Part;

    /// The number of each client's requests among the first ones, found one by one, and when the last one is due.
    fn one_by_one(load: &Load, requests: usize, warmup_ns: u64, clients: u32, seed: u64) -> (Vec<u64>, u64) {
        let mut all = Vec::new();
        for client in 0..clients {
            let mut schedule = Schedule::new(load, Place { client, clients, pipeline: 1, seed }, 0);
            for _ in 0..requests + 200 {
                all.extend(
                    schedule.peek().filter(|due_ns| *due_ns >= warmup_ns).map(|due_ns| (due_ns, client)),
                );
                schedule.pop();
            }
        }
        all.sort_unstable();
        let mut counts = vec![0; clients as usize];
        all[..requests].iter().for_each(|(_, client)| counts[*client as usize] += 1);
        (counts, all[requests - 1].0)
    }

    #[test]
    fn the_budgets_are_those_of_the_requests_that_are_due_first() {
        let warmup = Duration::from_millis(7);
        for arrival in [Arrival::Constant, Arrival::Poisson] {
            let load = Load::Open { pace: Pace::Constant("1k".parse().unwrap()), arrival };
            for (requests, whole, of, threads) in [
                (1, 1, 1, 1),
                (100, 10, 1, 1),
                (101, 10, 1, 3),
                (100, 10, 4, 1),
                (57, 11, 3, 2),
                (500, 50, 7, 5),
            ] {
                let (counts, last_due_ns) = one_by_one(&load, requests as usize, 7_000_000, whole, 3);
                let mut sum = 0;
                for number in 0..of {
                    let clients = Clients { whole, part: Some(Part { number, of }) };
                    let found = budgets(&load, requests, warmup, clients, threads, 3);
                    let of_thread = |thread| {
                        let numbers = clients.of_thread(thread, threads);
                        Budget::divided(numbers.map(|client| counts[client as usize]).collect(), last_due_ns)
                    };
                    let expected: Vec<_> = (0..threads).map(of_thread).collect();
                    assert_eq!(found, expected, "{arrival:?} {requests} {whole} {number}/{of} {threads}");
                    sum += found.iter().map(|budget| budget.requests).sum::<u64>();
                }
                assert_eq!(sum, requests);
            }
        }
    }

    #[test]
    fn too_many_random_requests_to_draw_are_divided_evenly() {
        let rate: Rate = "1k".parse().unwrap();
        assert_eq!(drawn(rate, 500, 7_000_000), 507.0);
        let load = Load::Open { pace: Pace::Constant(rate), arrival: Arrival::Poisson };
        let of = |requests| budgets(&load, requests, Duration::ZERO, Clients::all(10), 1, 1).remove(0);
        let most = DRAWN_MAX as u64;
        assert_eq!(of(most + 1), Budget { requests: most + 1, division: None });
    }

    #[test]
    fn an_unlikely_time_of_the_last_request_is_found_too() {
        let load = Load::Open { pace: Pace::Constant("1k".parse().unwrap()), arrival: Arrival::Poisson };
        let first = First {
            load: &load,
            rate: "1k".parse().unwrap(),
            requests: 1_000,
            warmup_ns: 0,
            clients: Clients::all(10),
            seed: 5,
        };
        assert_eq!(first.within(1, 0.0), None);
        let budgets = first.budgets(1);
        assert_eq!(budgets.iter().map(|budget| budget.requests).collect::<Vec<_>>(), [1_000]);
        let (counts, last_due_ns) = one_by_one(&load, 1_000, 0, 10, 5);
        assert_eq!(budgets[0].division, Some(Division { of_clients: counts.into(), last_due_ns }));
    }

    #[test]
    fn the_threads_of_a_closed_loop_divide_the_number_evenly() {
        let load = Load::Closed { think: Duration::ZERO };
        let of = |clients, threads| {
            let budgets = budgets(&load, 11, Duration::ZERO, clients, threads, 1);
            assert!(budgets.iter().all(|budget| budget.division.is_none()), "the clients of a thread share");
            budgets.iter().map(|budget| budget.requests).collect::<Vec<_>>()
        };
        assert_eq!(of(Clients::all(5), 3), [4, 4, 3]);
        let part = |number| Clients { whole: 5, part: Some(Part { number, of: 2 }) };
        assert_eq!((of(part(0), 2), of(part(1), 2)), (vec![3, 3], vec![3, 2]));
    }
}
