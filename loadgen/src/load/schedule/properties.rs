//! Properties of every schedule: order, counts, parts and extremes.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    load::{part::Part, stages::Stages},
    protocol::cases::cases,
};

const NS_PER_S: u64 = 1_000_000_000;
/// The longest load: 366 days.
const LONGEST_NS: u64 = 366 * 24 * 3600 * NS_PER_S;

fn constant(rate: &str, arrival: Arrival) -> Load {
    let rate = rate.parse().unwrap_or_else(|error| panic!("{rate}: {error}"));
    Load::Open { pace: Pace::Constant(rate), arrival }
}

fn staged(stages: &str, warmup: Duration, arrival: Arrival) -> Load {
    let stages: Stages = stages.parse().unwrap_or_else(|error| panic!("{stages}: {error}"));
    Load::Open { pace: Pace::Stages(Arc::new(Course::new(&stages, warmup))), arrival }
}

fn place(client: u32, clients: u32, seed: u64) -> Place {
    Place { client, clients, pipeline: 1, seed }
}

/// The due times of a client before `end_ns`.
fn due(load: &Load, place: Place, start_ns: u64, end_ns: u64) -> Vec<u64> {
    let mut schedule = Schedule::new(load, place, start_ns);
    let mut due_ns = Vec::new();
    while let Some(at_ns) = schedule.peek().filter(|at_ns| *at_ns < end_ns) {
        due_ns.push(at_ns);
        schedule.pop();
    }
    due_ns
}

/// A rate of 1 to 2,000 requests per second, also one that is no whole number.
fn rate() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..=2_000_u64).prop_map(|rate| rate.to_string()),
        (1..=2_000_u64, 1..1_000_u64).prop_map(|(whole, part)| format!("{whole}.{part:03}")),
        (60..=100_000_u64).prop_map(|rate| format!("{rate}/min")),
    ]
}

/// Stages of at most 3 s together.
fn stages() -> impl Strategy<Value = String> {
    let rate = || prop_oneof![Just(0_u64), 1..2_000_u64];
    let stage = (rate(), rate(), 1..600_u64).prop_map(|(from, to, ms)| format!("{from}..{to}/{ms}ms"));
    (vec(stage, 0..4), 1..2_000_u64).prop_map(|(mut stages, rate)| {
        stages.push(format!("{rate}/200ms"));
        stages.join(",")
    })
}

/// Every kind of open loop.
fn open_loop() -> impl Strategy<Value = Load> {
    let arrival = || prop_oneof![Just(Arrival::Constant), Just(Arrival::Poisson)];
    let recorded = (vec(0..NS_PER_S, 1..200), 1..4_000_u64).prop_map(|(mut at_ns, speed)| {
        at_ns.sort_unstable();
        let speed = format!("{}.{:03}", speed / 1_000, speed % 1_000).parse().expect("it is in the range");
        Load::Replay(Arc::new(ReplayTimes::new(at_ns, speed)))
    });
    prop_oneof![
        (rate(), arrival()).prop_map(|(rate, arrival)| constant(&rate, arrival)),
        (stages(), 0..300_u64, arrival()).prop_map(|(stages, warmup, arrival)| staged(
            &stages,
            Duration::from_millis(warmup),
            arrival
        )),
        recorded,
    ]
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn due_times_never_decrease_and_are_counted_as_if_one_by_one(
        load in open_loop(),
        (client, clients) in (1..40_u32).prop_flat_map(|clients| (0..clients, Just(clients))),
        seed in any::<u64>(),
        start_ns in 0..NS_PER_S,
        (from_ns, end_ns) in (0..3 * NS_PER_S, 0..3 * NS_PER_S),
    ) {
        let place = place(client, clients, seed);
        let all = due(&load, place, start_ns, 4 * NS_PER_S);
        prop_assert!(all.is_sorted());
        prop_assert!(all.iter().all(|at_ns| *at_ns >= start_ns));
        prop_assert_eq!(&all, &due(&load, place, start_ns, 4 * NS_PER_S));
        let mut counting = Schedule::new(&load, place, start_ns);
        let counted = counting.due_within(from_ns, end_ns);
        let within = all.iter().filter(|at_ns| (from_ns..end_ns).contains(*at_ns)).count() as u64;
        prop_assert_eq!(counted, within);
        prop_assert_eq!(counting.peek().filter(|at_ns| *at_ns < 4 * NS_PER_S),
            all.iter().copied().find(|at_ns| *at_ns >= end_ns));
        // A later start moves every request by the same time.
        let moved: Vec<_> = all.iter().map(|at_ns| at_ns + 12_345).collect();
        prop_assert_eq!(moved, due(&load, place, start_ns + 12_345, 4 * NS_PER_S + 12_345));
    }

    #[test]
    fn request_g_of_a_constant_rate_is_due_at_g_over_the_rate_rounded_down_to_a_nanosecond(
        (requests, period_s) in (1..5_000_u64, prop::sample::select(vec![1_u64, 60, 3600])),
        clients in 1..30_u32,
        number in 0..1_000_000_u64,
    ) {
        let unit = match period_s { 1 => "", 60 => "/min", _ => "/h" };
        let load = constant(&format!("{requests}{unit}"), Arrival::Constant);
        let client = (number % u64::from(clients)) as u32;
        let mut schedule = Schedule::new(&load, place(client, clients, 1), 0);
        let due_ns = (u128::from(number) * u128::from(period_s * NS_PER_S) / u128::from(requests)) as u64;
        let before = schedule.due_within(0, due_ns);
        prop_assert_eq!(schedule.peek(), Some(due_ns));
        // The client has every so many requests, and those before this one are due before.
        prop_assert_eq!(before, number / u64::from(clients));
    }

    #[test]
    fn parts_partition_the_requests_of_the_whole_load(
        load in open_loop(),
        (clients, of) in (1..60_u32).prop_flat_map(|clients| (Just(clients), 1..=clients)),
        seed in any::<u64>(),
    ) {
        let end_ns = 3 * NS_PER_S;
        let of_part = |clients: Clients| {
            let each = clients.numbers().map(|client| due(&load, place(client, clients.whole, seed), 0, end_ns));
            let mut all = each.collect::<Vec<_>>().concat();
            all.sort_unstable();
            all
        };
        let whole = of_part(Clients::all(clients));
        let mut union = Vec::new();
        let windows = [(0, NS_PER_S), (NS_PER_S, 2 * NS_PER_S + 1)];
        let mut counts = [0; 2];
        for number in 0..of {
            let part = Clients { whole: clients, part: Some(Part { number, of }) };
            union.extend(of_part(part));
            let due = load.due_in_parts(&windows, part, seed, 0);
            counts.iter_mut().zip(due).for_each(|(sum, due)| *sum += due);
        }
        union.sort_unstable();
        prop_assert_eq!(&union, &whole);
        let in_window = |(from_ns, end_ns): (u64, u64)| {
            whole.iter().filter(|at_ns| (from_ns..end_ns).contains(*at_ns)).count() as u64
        };
        prop_assert_eq!(counts, windows.map(in_window));
    }

    #[test]
    fn a_budget_is_spent_by_the_requests_that_are_due_first_in_any_division(
        (rate, arrival) in (rate(), prop_oneof![Just(Arrival::Constant), Just(Arrival::Poisson)]),
        (clients, of, threads) in (1..30_u32).prop_flat_map(|clients| (Just(clients), 1..=clients, 1..4_usize)),
        requests in 1..500_u64,
        warmup_ms in 0..500_u64,
        seed in any::<u64>(),
    ) {
        let load = constant(&rate, arrival);
        let warmup = Duration::from_millis(warmup_ms);
        let whole = budget::budgets(&load, requests, warmup, Clients::all(clients), 1, seed);
        let of_clients = &whole[0].division.as_ref().expect("it is an open loop").of_clients;
        prop_assert_eq!(of_clients.iter().sum::<u64>(), requests);
        for number in 0..of {
            let part = Clients { whole: clients, part: Some(Part { number, of }) };
            let budgets = budget::budgets(&load, requests, warmup, part, threads, seed);
            for (thread, budget) in budgets.iter().enumerate() {
                let found: Vec<_> = part.of_thread(thread, threads).zip(0..).map(|(client, place)| {
                    (client, budget.of_client(place))
                }).collect();
                prop_assert!(found.iter().all(|(client, budget)| of_clients[*client as usize] == *budget));
                prop_assert_eq!(budget.requests, found.iter().map(|(_, budget)| budget).sum::<u64>());
            }
        }
        // No client has a request left that is due before the last request of another one.
        let last_due_ns = whole[0].division.as_ref().expect("it is an open loop").last_due_ns;
        for (client, budget) in (0..).zip(of_clients) {
            let mut schedule = Schedule::new(&load, place(client, clients, seed), 0);
            schedule.due_within(0, nanoseconds(warmup));
            for _ in 0..*budget {
                prop_assert!(schedule.peek() <= Some(last_due_ns));
                schedule.pop();
            }
            prop_assert!(schedule.peek() >= Some(last_due_ns));
        }
    }

    #[test]
    fn the_stages_have_as_many_requests_as_the_integral_of_their_rates(stages in stages(), clients in 1..9_u32) {
        let load = staged(&stages, Duration::ZERO, Arrival::Constant);
        let parsed: Stages = stages.parse().unwrap();
        let mut start_ns = 0;
        let mut before = 0.0;
        let mut all: Vec<_> = (0..clients).flat_map(|client| due(&load, place(client, clients, 1), 0, LONGEST_NS)).collect();
        all.sort_unstable();
        for stage in parsed.all() {
            let length_ns = nanoseconds(stage.length);
            let per_s = |rate: Option<Rate>| rate.map_or(0.0, Rate::per_s);
            let area = (per_s(stage.from) + per_s(stage.to)) / 2.0 * length_ns as f64 / 1e9;
            let end_ns = start_ns + length_ns;
            // Request n is due where the integral passes n, so the number of requests is the integral rounded up.
            let counted = all.partition_point(|at_ns| *at_ns < end_ns) as f64;
            let integral: f64 = before + area;
            prop_assert!((counted - integral.ceil()).abs() < 1.5 && (counted - integral).abs() <= 1.0 + 1e-6,
                "{} of {}: {counted} requests for an integral of {integral}", stage, stages);
            (start_ns, before) = (end_ns, integral);
        }
        prop_assert!(all.last().is_none_or(|at_ns| *at_ns < start_ns));
    }
}

#[test]
fn no_rate_and_no_duration_overflows() {
    let ends = [0, 1, NS_PER_S, LONGEST_NS, u64::MAX - 1, u64::MAX];
    for rate in ["1/h", "0.0003", "1", "999999937", "1000m"] {
        for arrival in [Arrival::Constant, Arrival::Poisson] {
            let load = constant(rate, arrival);
            for (client, clients) in [(0, 1), (999_999, 1_000_000), (u32::MAX - 1, u32::MAX)] {
                for start_ns in ends {
                    let mut schedule = Schedule::new(&load, place(client, clients, u64::MAX), start_ns);
                    for _ in 0..100 {
                        let at_ns = schedule.peek().expect("a constant rate has no end");
                        assert!(at_ns >= start_ns, "{rate} {arrival:?} {client} {start_ns}");
                        schedule.pop();
                        assert!(schedule.peek() >= Some(at_ns), "{rate} {arrival:?} {client} {start_ns}");
                    }
                }
            }
            // A year at the highest rate has 3 * 10^16 requests: they are computed for a constant rate.
            if arrival == Arrival::Constant {
                let clients = Clients::all(7);
                let due = load.due_in_parts(&[(0, LONGEST_NS), (LONGEST_NS, 2 * LONGEST_NS)], clients, 1, 0);
                let per_s = rate.parse::<Rate>().unwrap().per_s();
                for due in due {
                    let expected = per_s * LONGEST_NS as f64 / 1e9;
                    assert!(
                        (due as f64 - expected).abs() <= 1.0 + expected * 1e-9,
                        "{rate}: {due} {expected}"
                    );
                }
            }
        }
        let constant = constant(rate, Arrival::Constant);
        for requests in [1, 1_000_000_000_000_000, u64::MAX] {
            let budgets = budget::budgets(
                &constant,
                requests,
                Duration::from_secs(LONGEST_NS / NS_PER_S),
                Clients::all(3),
                2,
                1,
            );
            assert_eq!(
                budgets.iter().map(|budget| u128::from(budget.requests)).sum::<u128>(),
                requests.into()
            );
        }
    }
}

#[test]
fn no_stages_overflow() {
    let year = Duration::from_nanos(LONGEST_NS);
    for stages in [
        "1000m/366d",
        "0..1000m/366d",
        "1000m..0/366d",
        "1/h..1000m/366d",
        "1000m..1/h/183d,1/h/183d",
        "0/182d,1/1ns,0/183d",
        "1/h/1ns",
        "1000m/1ns,0..1/h/365d",
        "999999999..1000m/366d",
    ] {
        for warmup in [Duration::ZERO, Duration::from_nanos(1), year] {
            for arrival in [Arrival::Constant, Arrival::Poisson] {
                let load = staged(stages, warmup, arrival);
                for start_ns in [0, LONGEST_NS, u64::MAX - 1] {
                    let mut schedule = Schedule::new(&load, place(3, 5, 1), start_ns);
                    let mut last = 0;
                    for _ in 0..200 {
                        let Some(at_ns) = schedule.peek() else { break };
                        assert!(at_ns >= last, "{stages} {warmup:?} {arrival:?}: {at_ns} after {last}");
                        last = at_ns;
                        schedule.pop();
                    }
                }
            }
            let load = staged(stages, warmup, Arrival::Constant);
            let warmup_ns = nanoseconds(warmup);
            let windows = [
                (0, warmup_ns),
                (warmup_ns, warmup_ns + LONGEST_NS / 2),
                (warmup_ns + LONGEST_NS / 2, u64::MAX),
            ];
            let whole = load.due_in_parts(&windows, Clients::all(10), 1, 0);
            let mut sums = [0; 3];
            for number in 0..4 {
                let part = Clients { whole: 10, part: Some(Part { number, of: 4 }) };
                let due = load.due_in_parts(&windows, part, 1, 0);
                sums.iter_mut().zip(due).for_each(|(sum, due)| *sum += due);
            }
            assert_eq!(sums.as_slice(), whole, "{stages} {warmup:?}");
        }
    }
}

#[test]
fn the_requests_of_a_poisson_process_vary_around_their_mean() {
    // Deterministic: the seeds are fixed. 4 standard deviations, and about 16 of 50 beyond one of them.
    for (rate, seconds) in [("1k", 10), ("50", 60), ("6000/min", 100)] {
        let load = constant(rate, Arrival::Poisson);
        let mean = rate.parse::<Rate>().unwrap().per_s() * seconds as f64;
        let deviations: Vec<f64> = (0..50)
            .map(|seed| load.due_in_parts(&[(0, seconds * NS_PER_S)], Clients::all(20), seed, 0)[0])
            .map(|due| (due as f64 - mean) / mean.sqrt())
            .collect();
        assert!(deviations.iter().all(|deviation| deviation.abs() < 4.0), "{rate}: {deviations:?}");
        let mean_deviation = deviations.iter().sum::<f64>() / 50.0;
        assert!(mean_deviation.abs() < 3.5 / 50_f64.sqrt(), "{rate}: {mean_deviation}");
        let variance = deviations.iter().map(|deviation| deviation.powi(2)).sum::<f64>() / 50.0;
        assert!((0.5..1.7).contains(&variance), "{rate}: {variance}");
    }
}
