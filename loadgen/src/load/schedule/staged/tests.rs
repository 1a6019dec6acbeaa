use std::time::Duration;

use super::*;
use crate::load::{
    clients::Clients,
    part::Part,
    rate::Rate,
    schedule::{Arrival, Load, Pace, Schedule},
    stages::Stages,
};

const NS_PER_S: u64 = 1_000_000_000;

fn stages(text: &str) -> Stages {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn load(text: &str, warmup: Duration, arrival: Arrival) -> Load {
    Load::Open { pace: Pace::Stages(Arc::new(Course::new(&stages(text), warmup))), arrival }
}

fn constant(text: &str) -> Load {
    load(text, Duration::ZERO, Arrival::Constant)
}

fn place(client: u32, clients: u32) -> Place {
    Place { client, clients, pipeline: 1, seed: 7 }
}

/// The due times of all clients in order, of a load that starts at 0.
fn moments(load: &Load, clients: u32) -> Vec<u64> {
    let mut moments = Vec::new();
    for client in 0..clients {
        let mut schedule = Schedule::new(load, place(client, clients), 0);
        let mut last_ns = 0;
        while let Some(due_ns) = schedule.peek() {
            assert!(due_ns >= last_ns, "{load:?}: {due_ns} follows {last_ns}");
            last_ns = due_ns;
            moments.push(due_ns);
            schedule.pop();
        }
    }
    moments.sort_unstable();
    moments
}

/// The area under each stage, in requests.
fn areas(stages: &Stages) -> Vec<f64> {
    let per_s = |rate: Option<Rate>| rate.map_or(0.0, Rate::per_s);
    let area = |stage: &crate::load::stages::Stage| {
        (per_s(stage.from) + per_s(stage.to)) / 2.0 * stage.length.as_secs_f64()
    };
    stages.all().iter().map(area).collect()
}

/// The start and the end of each stage, of a load without a warm-up.
fn parts(stages: &Stages) -> Vec<(u64, u64)> {
    let mut start_ns = 0;
    let part = |stage: &crate::load::stages::Stage| {
        let from_ns = start_ns;
        start_ns += stage.length.as_nanos() as u64;
        (from_ns, start_ns)
    };
    stages.all().iter().map(part).collect()
}

#[test]
fn the_count_of_each_stage_is_its_integral_within_one() {
    let many = (0..100).map(|n| format!("{}..{}/{}ms", n * 7 % 31, n * 11 % 29, 700 + n)).collect::<Vec<_>>();
    for text in [
        "0..20k/3s,20k/1s,20k..2k/1s",
        "0..1/10s,1..0/10s",
        "100..0/7s,0/5s,0..100/7s",
        "0/1s,3/5s,0/1s,7/min/10m",
        "7/min/10s,11/min..13/min/3m,1/h/1h",
        "0.3/7s,0.7/11s,1.1/13s,1.3/17s",
        "1/1s,0..0.001/1s,1000/1s",
        many.join(",").as_str(),
    ] {
        let stages = stages(text);
        let (areas, parts) = (areas(&stages), parts(&stages));
        for clients in [1, 3, 50] {
            let moments = moments(&constant(text), clients);
            for ((from_ns, end_ns), area) in parts.iter().zip(&areas) {
                let count = moments.iter().filter(|at| (*from_ns..*end_ns).contains(at)).count() as f64;
                assert!((count - area).abs() <= 1.0, "{text}: {count} of {area} in {from_ns}..{end_ns}");
            }
            let whole: f64 = areas.iter().sum();
            assert!((moments.len() as f64 - whole).abs() <= 1.0, "{text}: {} of {whole}", moments.len());
        }
    }
}

#[test]
fn each_request_is_due_where_the_integral_passes_its_number() {
    // The closed forms of single ramps, in seconds: rising, falling to zero, falling.
    let seconds = |moments: &[u64], number: usize| moments[number] as f64 / 1e9;
    let rising = moments(&constant("0..100/10s"), 4);
    let falling = moments(&constant("100..0/10s"), 4);
    let half = moments(&constant("100..50/10s"), 4);
    for number in 0..500_usize {
        let n = number as f64;
        assert!((seconds(&rising, number) - (n / 5.0).sqrt()).abs() < 2e-9, "{number}");
        let rest = ((500.0 - n) / 5.0).sqrt();
        assert!((seconds(&falling, number) - (10.0 - rest)).abs() < 2e-8, "{number}");
        let at = seconds(&half, number);
        assert!((100.0 * at - 2.5 * at * at - n).abs() < 1e-6, "{number}");
    }
    assert_eq!((rising.len(), falling.len(), half.len()), (500, 500, 750));
    // The last requests of a long falling ramp: the rest until its end is exact to a nanosecond.
    let long = moments(&constant("2..0/1000h"), 1);
    let rest_ns = |left: f64| (left * 1000.0 * 3600.0).sqrt() * 1e9;
    let end_ns = 1000 * 3600 * NS_PER_S;
    for left in 1..=20_usize {
        let seen_ns = (end_ns - long[long.len() - left]) as f64;
        assert!((seen_ns - rest_ns(left as f64)).abs() < 3.0, "{left}: {seen_ns}");
    }
}

#[test]
fn a_constant_stage_is_the_constant_schedule() {
    for (text, rate) in [
        ("20k/2s", "20k"),
        ("7/min/1h", "7/min"),
        ("3/500ms,3/500ms,3/9s", "3"),
        ("7/min/1s,7/min/11s,7/min..7/min/1h", "7/min"),
        ("0.3/1m,0.3/7s,0.3/1h", "0.3"),
    ] {
        let rate: Rate = rate.parse().unwrap();
        let steady = Load::Open { pace: Pace::Constant(rate), arrival: Arrival::Constant };
        for client in 0..3 {
            let mut one = Schedule::new(&constant(text), place(client, 3), 5);
            let mut other = Schedule::new(&steady, place(client, 3), 5);
            while let Some(due_ns) = one.peek() {
                assert_eq!(Some(due_ns), other.peek(), "{text}");
                one.pop();
                other.pop();
            }
            let end_ns = 5 + stages(text).length().as_nanos() as u64;
            assert!(other.peek().is_some_and(|due_ns| due_ns >= end_ns), "{text}");
        }
    }
}

#[test]
fn a_pause_has_no_request_and_delays_the_next_one_to_its_end() {
    let moments = moments(&constant("0/5s,10/1s,0/5s,10/1s"), 2);
    let expected: Vec<_> = (0..10).map(|n| 5_000_000_000 + n * 100_000_000).collect();
    assert_eq!(moments[..10], expected);
    let expected: Vec<_> = (0..10).map(|n| 11_000_000_000 + n * 100_000_000).collect();
    assert_eq!(moments[10..], expected);
}

#[test]
fn the_warm_up_runs_at_the_first_starting_rate() {
    let warmup = Duration::from_secs(2);
    let count = |text: &str| {
        let moments = moments(&load(text, warmup, Arrival::Constant), 3);
        moments.iter().filter(|at| **at < 2 * NS_PER_S).count()
    };
    assert_eq!([count("10..20/1s"), count("0..20/1s"), count("0/1s,5/1s")], [20, 0, 0]);
}

#[test]
fn due_requests_are_counted_as_if_one_by_one() {
    for text in ["0..20k/1s,20k..500/300ms,0/100ms,3/2s", "3/1us,999999937/1us,5..0/3s", "7/min..9/min/5m"] {
        for arrival in [Arrival::Constant, Arrival::Poisson] {
            let load = load(text, Duration::from_millis(300), arrival);
            for (client, from_ns, end_ns) in [
                (0, 0, NS_PER_S),
                (1, 300_000_050, 300_000_450),
                (2, 1_299_999_999, 1_600_000_050),
                (0, 50, 1_000 * NS_PER_S),
                (1, NS_PER_S, NS_PER_S),
            ] {
                let mut schedule = Schedule::new(&load, place(client, 3), 50);
                let mut one_by_one = schedule.clone();
                let mut count = 0;
                while let Some(due_ns) = one_by_one.peek().filter(|due_ns| *due_ns < end_ns) {
                    count += u64::from(due_ns >= from_ns);
                    one_by_one.pop();
                }
                let seen = schedule.due_within(from_ns, end_ns);
                assert_eq!(seen, count, "{text} {arrival:?} {client} {from_ns}..{end_ns}");
                assert_eq!(schedule.peek(), one_by_one.peek());
            }
        }
    }
}

#[test]
fn the_parts_of_all_clients_add_up() {
    let text = "0..2k/1s,2k/500ms,0/1s,2k..1/700ms";
    for arrival in [Arrival::Constant, Arrival::Poisson] {
        let load = load(text, Duration::from_millis(123), arrival);
        let start_ns = 123_000_000 + 50;
        let parts: Vec<_> =
            parts(&stages(text)).iter().map(|(from, end)| (start_ns + from, start_ns + end)).collect();
        let due = load.due_in_parts(&parts, Clients::all(7), 7, 50);
        let moments = moments(&load, 7);
        for ((from_ns, end_ns), due) in parts.iter().zip(due) {
            let seen = moments.iter().filter(|at| (*from_ns..*end_ns).contains(&(**at + 50))).count();
            assert_eq!(due, seen as u64, "{arrival:?}");
        }
        let whole = load.due_in_parts(&parts, Clients::all(7), 7, 50);
        let of_part = |number| {
            load.due_in_parts(&parts, Clients { whole: 7, part: Some(Part { number, of: 3 }) }, 7, 50)
        };
        let sums = (0..3).map(of_part).reduce(|sum, more| sum.iter().zip(more).map(|(a, b)| a + b).collect());
        assert_eq!(sums, Some(whole), "{arrival:?}");
    }
}

#[test]
fn poisson_arrivals_follow_the_rate() {
    let text = "0..20k/1s,20k/1s,0/1s,20k..0/1s";
    let stages = stages(text);
    for clients in [1, 100] {
        let moments = moments(&load(text, Duration::ZERO, Arrival::Poisson), clients);
        for ((from_ns, end_ns), area) in parts(&stages).iter().zip(areas(&stages)) {
            let count = moments.iter().filter(|at| (*from_ns..*end_ns).contains(at)).count() as f64;
            // The standard deviation of a Poisson count is the square root of its mean.
            assert!((count - area).abs() <= 4.0 * area.sqrt(), "{clients}: {count} of {area}");
        }
        // With the integral as the clock, the process has a constant rate: a quarter of a rising ramp is due in its first half.
        let first_half = moments.iter().filter(|at| **at < NS_PER_S / 2).count() as f64;
        assert!((first_half - 2_500.0).abs() < 4.0 * 2_500_f64.sqrt(), "{first_half}");
    }
    let again = |seed| {
        let mut schedule =
            Schedule::new(&load(text, Duration::ZERO, Arrival::Poisson), Place { seed, ..place(0, 1) }, 0);
        let mut next = || {
            schedule.pop();
            schedule.peek()
        };
        [next(), next(), next()]
    };
    assert_eq!(again(1), again(1));
    assert_ne!(again(1), again(2));
}

#[test]
fn the_mean_rate_is_that_of_the_window() {
    let course = Course::new(&stages("0..100/10s,100/10s,0/10s"), Duration::from_secs(3));
    let means = [(0, 5), (0, 10), (0, 20), (0, 30), (5, 10), (20, 30)]
        .map(|(from, end)| course.mean_per_s(from * NS_PER_S, end * NS_PER_S));
    for (mean, expected) in means.iter().zip([25.0, 50.0, 75.0, 50.0, 75.0, 0.0]) {
        assert!((mean - expected).abs() < 1e-9, "{means:?}");
    }
    assert_eq!(course.mean_per_s(5, 5), 0.0);
    let stages: Vec<_> = course.stages_ns().map(|(from, end)| (from / NS_PER_S, end / NS_PER_S)).collect();
    assert_eq!(stages, [(0, 10), (10, 20), (20, 30)]);
}
