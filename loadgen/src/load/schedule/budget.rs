//! The number of requests that each load thread may begin in the window of a run with `--requests`. Pure.
//!
//! In an open loop, the window has the requests that are due first, so a thread may begin those of them that its clients have.
//! So the division into threads and parts changes nothing about what is sent. In a closed loop, no request is known before, and
//! the threads divide the number evenly.

use std::time::Duration;

use common::units::nanoseconds;

use super::{Arrival, Load, Pace, Place, Schedule};
use crate::load::{clients::Clients, rate::Rate};

/// The most requests of a Poisson process that are drawn to find the first ones: this takes about a second. Beyond it, the
/// threads divide the number evenly.
const DRAWN_MAX: f64 = 1e8;
/// The number of standard deviations around the expected time of the last request within which it is looked for first.
const DEVIATIONS: f64 = 6.0;

/// The budgets of the load threads of this generator for the first `requests` requests of the whole load, from the end of the
/// warm-up on. The budgets of all threads of all parts add up to `requests`.
pub(crate) fn budgets(
    load: &Load,
    requests: u64,
    warmup: Duration,
    clients: Clients,
    threads: usize,
    seed: u64,
) -> Vec<u64> {
    let warmup_ns = nanoseconds(warmup);
    let in_turn = |first: u128| {
        let end = first + u128::from(requests);
        let of_thread = |thread| of_thread(clients, thread, threads, first, end);
        (0..threads).map(of_thread).collect()
    };
    match load {
        Load::Replay(_) => in_turn(0),
        Load::Open { pace: Pace::Constant(rate), arrival: Arrival::Constant } => {
            in_turn(rate.due_before(warmup_ns))
        }
        Load::Open { pace: Pace::Constant(rate), arrival: Arrival::Poisson }
            if drawn(*rate, requests, warmup_ns) <= DRAWN_MAX =>
        {
            First { load, rate: *rate, requests, warmup_ns, clients, seed }.budgets(threads)
        }
        // Stages have no number of requests.
        Load::Open { .. } | Load::Closed { .. } => {
            (0..threads).map(|thread| clients.share_of_thread(requests, thread, threads)).collect()
        }
    }
}

/// The requests from number `first` on and before number `end` of a thread's clients, if all clients send in turn.
fn of_thread(clients: Clients, thread: usize, threads: usize, first: u128, end: u128) -> u64 {
    let whole = u128::from(clients.whole);
    let of_client = |client: u32| {
        let before = |number: u128| number.saturating_sub(client.into()).div_ceil(whole);
        before(end) - before(first)
    };
    clients.of_thread(thread, threads).map(of_client).sum::<u128>() as u64
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
    fn budgets(&self, threads: usize) -> Vec<u64> {
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
    fn within(&self, threads: usize, deviations: f64) -> Option<Vec<u64>> {
        let (gap_ns, requests) = (self.rate.mean_gap_ns(), self.requests as f64);
        let margin = deviations * requests.sqrt();
        let after = |requests: f64| self.warmup_ns.saturating_add((requests.max(0.0) * gap_ns) as u64);
        let (low_ns, high_ns) = (after(requests - margin), after(requests + margin));
        let mut budgets = vec![0; threads];
        let (mut before, mut near) = (0, Vec::new());
        for client in 0..self.clients.whole {
            let place = Place { client, clients: self.clients.whole, pipeline: 1, seed: self.seed };
            let mut schedule = Schedule::new(self.load, place, 0);
            let certain = schedule.due_within(self.warmup_ns, low_ns);
            before += certain;
            if let Some(thread) = self.clients.thread_of(client, threads) {
                budgets[thread] += certain;
            }
            while let Some(due_ns) = schedule.peek().filter(|due_ns| *due_ns < high_ns) {
                near.push((due_ns, client));
                schedule.pop();
            }
        }
        let rest = self.requests.checked_sub(before)? as usize;
        if near.len() < rest {
            return None;
        }
        near.sort_unstable();
        for (_, client) in &near[..rest] {
            if let Some(thread) = self.clients.thread_of(*client, threads) {
                budgets[thread] += 1;
            }
        }
        Some(budgets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::part::Part;

    /// The number of each client's requests among the first ones, found one by one.
    fn one_by_one(load: &Load, requests: usize, warmup_ns: u64, clients: u32, seed: u64) -> Vec<u64> {
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
        counts
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
                let counts = one_by_one(&load, requests as usize, 7_000_000, whole, 3);
                let mut sum = 0;
                for number in 0..of {
                    let clients = Clients { whole, part: Some(Part { number, of }) };
                    let found = budgets(&load, requests, warmup, clients, threads, 3);
                    let of_thread = |thread| {
                        clients.of_thread(thread, threads).map(|client| counts[client as usize]).sum::<u64>()
                    };
                    let expected: Vec<_> = (0..threads).map(of_thread).collect();
                    assert_eq!(found, expected, "{arrival:?} {requests} {whole} {number}/{of} {threads}");
                    sum += found.iter().sum::<u64>();
                }
                assert_eq!(sum, requests);
            }
        }
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
        assert_eq!(first.budgets(1), [1_000]);
    }

    #[test]
    fn the_threads_of_a_closed_loop_divide_the_number_evenly() {
        let load = Load::Closed { think: Duration::ZERO };
        let of = |clients, threads| budgets(&load, 11, Duration::ZERO, clients, threads, 1);
        assert_eq!(of(Clients::all(5), 3), [4, 4, 3]);
        let part = |number| Clients { whole: 5, part: Some(Part { number, of: 2 }) };
        assert_eq!((of(part(0), 2), of(part(1), 2)), (vec![3, 3], vec![3, 2]));
    }
}
