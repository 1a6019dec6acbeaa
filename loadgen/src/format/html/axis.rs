//! The axes of a plot: their ranges and their ticks. Pure.

use common::human;

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// The quantity that it shows.
    pub(super) title: String,
    is_log: bool,
    /// The values at its ends.
    ends: (f64, f64),
    /// The lines with numbers, in rising order.
    pub(super) ticks: Vec<Tick>,
}

/// A number on an axis, with a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// The value.
    pub(super) at: f64,
    /// The number as text.
    pub(super) label: String,
}

/// The approximate number of ticks of a linear axis.
const TICKS: f64 = 5.0;
/// A logarithmic axis with at most this many decades has ticks inside the decades.
const FEW_DECADES: f64 = 2.5;

impl Axis {
    /// Times in nanoseconds, on a logarithmic scale that contains all of them.
    pub(super) fn times(values_ns: impl Iterator<Item = f64>) -> Self {
        Self::log("", values_ns, time)
    }

    /// Rates per second, on a logarithmic scale that contains all of them.
    pub(super) fn rates(title: &str, values: impl Iterator<Item = f64>) -> Self {
        Self::log(title, values, amount)
    }

    /// From 0 to the largest of these values, with even steps between round numbers.
    pub(super) fn from_zero(title: &str, values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(0.0, f64::max);
        let step = step(most);
        // Leaves room above the largest value.
        let end = ((most * 1.02 / step).ceil().max(1.0)) * step;
        Self::even(title, end, step, amount)
    }

    /// The time in seconds, from 0 to the end.
    pub(super) fn elapsed(end_s: f64) -> Self {
        let end_s = end_s.max(1e-9);
        Self::even("time in the measured window", end_s, step(end_s), |seconds| {
            format!("{} s", plain(seconds))
        })
    }

    /// Shares from 0% to 100%.
    pub(super) fn shares(title: &str) -> Self {
        Self::even(title, 1.0, 0.25, |share| format!("{}%", share * 100.0))
    }

    /// Percentiles p as 1/(1-p), from 1 to `reach`. Each nine has the same width.
    pub(super) fn percentiles(reach: f64) -> Self {
        let nines = (1..).map(|exponent| 10_f64.powi(exponent));
        let at = [1.0, 2.0].into_iter().chain(nines).take_while(|inverse| *inverse <= reach * 1.000_001);
        let label = |inverse: f64| match inverse {
            1.0 => "0%".to_owned(),
            2.0 => "50%".to_owned(),
            10.0 => "90%".to_owned(),
            // Each further decade adds a nine after the point.
            more => match more.log10().round() as usize - 2 {
                0 => "99%".to_owned(),
                nines => format!("99.{}%", "9".repeat(nines)),
            },
        };
        let ticks = at.map(|inverse| Tick { at: inverse, label: label(inverse) });
        Self {
            title: "percentile".to_owned(),
            is_log: true,
            ends: (1.0, reach.max(2.0)),
            ticks: ticks.collect(),
        }
    }

    /// Whether the scale is logarithmic.
    pub(super) fn is_log(&self) -> bool {
        self.is_log
    }

    /// The values at its ends.
    pub(super) fn ends(&self) -> (f64, f64) {
        self.ends
    }

    /// The position of a value on the axis, from 0 to 1.
    pub(super) fn position(&self, value: f64) -> f64 {
        let (from, to) = self.ends;
        let position = match self.is_log {
            true => (value.max(from) / from).log10() / (to / from).log10(),
            false => (value - from) / (to - from),
        };
        position.clamp(0.0, 1.0)
    }

    fn even(title: &str, end: f64, step: f64, label: fn(f64) -> String) -> Self {
        let count = (end / step * 1.000_001) as u32;
        let ticks = (0..=count).map(|index| f64::from(index) * step);
        let ticks = ticks.map(|at| Tick { at, label: label(at) }).collect();
        Self { title: title.to_owned(), is_log: false, ends: (0.0, end), ticks }
    }

    fn log(title: &str, values: impl Iterator<Item = f64>, label: fn(f64) -> String) -> Self {
        let positive = values.filter(|value| *value > 0.0);
        let (min, max) =
            positive.fold((f64::INFINITY, 0.0), |(min, max), value| (min.min(value), f64::max(max, value)));
        let (min, max) = if min <= max { (min, max) } else { (1.0, 10.0) };
        let rounds: Vec<_> = (min.log10().floor() as i32..=max.log10().ceil() as i32 + 1)
            .flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent)))
            .collect();
        let from = rounds.iter().copied().filter(|round| *round <= min * 1.000_001).fold(rounds[0], f64::max);
        let to = rounds.iter().copied().find(|round| *round >= max * 0.999_999 && *round > from);
        let to = to.unwrap_or(from * 10.0);
        let is_short = (to / from).log10() <= FEW_DECADES;
        let is_decade = |value: f64| (value.log10() - value.log10().round()).abs() < 1e-9;
        let on_axis = rounds.into_iter().filter(|round| (from * 0.999_999..=to * 1.000_001).contains(round));
        let ticks = on_axis.filter(|round| is_short || is_decade(*round));
        let ticks = ticks.map(|round| Tick { at: round, label: label(round) }).collect();
        Self { title: title.to_owned(), is_log: true, ends: (from, to), ticks }
    }
}

/// The step between two ticks of a linear axis: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let rough = most / TICKS;
    let unit = 10_f64.powf(rough.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * unit >= rough * 0.999_999);
    digit.unwrap_or(10.0) * unit
}

/// A round time: `20 µs`.
fn time(time_ns: f64) -> String {
    let (unit_ns, unit) = match time_ns {
        ns if ns < 999.0 => (1.0, "ns"),
        ns if ns < 999e3 => (1e3, "µs"),
        ns if ns < 999e6 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    format!("{} {unit}", plain(time_ns / unit_ns))
}

/// A round number, with k and M for thousands and millions as on the command line: `20k`.
fn amount(amount: f64) -> String {
    match amount {
        amount if amount >= 999_999.0 => format!("{}M", plain(amount / 1e6)),
        amount if amount >= 9_999.0 => format!("{}k", plain(amount / 1e3)),
        amount => plain(amount),
    }
}

/// A number with at most three digits after the point.
fn plain(number: f64) -> String {
    if number >= 1_000.0 && (number - number.round()).abs() < 1e-6 {
        return human::count(number.round() as u64);
    }
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_logarithmic_axis_contains_every_value_and_has_round_ends() {
        for (values, ends, shown) in [
            (vec![40e3, 4e6], (20e3, 5e6), "20 µs | 50 µs | 100 µs | 200 µs | 500 µs | 1 ms | 2 ms | 5 ms"),
            (vec![900.0, 2e9], (500.0, 2e9), "1 µs | 10 µs | 100 µs | 1 ms | 10 ms | 100 ms | 1 s"),
            (vec![1.0], (1.0, 2.0), "1 ns | 2 ns"),
            (vec![1e3, 1e3], (1e3, 2e3), "1 µs | 2 µs"),
            (vec![], (1.0, 10.0), "1 ns | 2 ns | 5 ns | 10 ns"),
            (vec![0.0], (1.0, 10.0), "1 ns | 2 ns | 5 ns | 10 ns"),
        ] {
            let axis = Axis::times(values.into_iter());
            let (from, to) = axis.ends;
            assert!((from / ends.0 - 1.0).abs() < 1e-9 && (to / ends.1 - 1.0).abs() < 1e-9, "{axis:?}");
            assert_eq!(labels(&axis), shown);
        }
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_has_round_steps() {
        for (most, shown) in [
            (0.0, "0 | 1"),
            (0.9, "0 | 0.2 | 0.4 | 0.6 | 0.8 | 1"),
            (52.0, "0 | 20 | 40 | 60"),
            (20_000.0, "0 | 5,000 | 10k | 15k | 20k | 25k"),
            (1_234_567.0, "0 | 500k | 1M | 1.5M"),
        ] {
            assert_eq!(labels(&Axis::from_zero("", [most].into_iter())), shown);
        }
        assert_eq!(labels(&Axis::elapsed(3.0)), "0 s | 1 s | 2 s | 3 s");
        assert_eq!(labels(&Axis::elapsed(0.3)), "0 s | 0.1 s | 0.2 s | 0.3 s");
        assert_eq!(labels(&Axis::shares("")), "0% | 25% | 50% | 75% | 100%");
    }

    #[test]
    fn each_nine_has_a_tick_if_there_are_enough_samples() {
        for (reach, shown) in [
            (2.0, "0% | 50%"),
            (99.0, "0% | 50% | 90%"),
            (1e5, "0% | 50% | 90% | 99% | 99.9% | 99.99% | 99.999%"),
        ] {
            assert_eq!(labels(&Axis::percentiles(reach)), shown);
        }
    }

    #[test]
    fn a_position_is_between_0_and_1() {
        let percentiles = Axis::percentiles(100.0);
        for (inverse, position) in [(1.0, 0.0), (10.0, 0.5), (100.0, 1.0), (0.0, 0.0), (1e9, 1.0)] {
            assert!((percentiles.position(inverse) - position).abs() < 1e-9, "{inverse}");
        }
        assert_eq!([0.0, 1.0, 2.0].map(|seconds| Axis::elapsed(2.0).position(seconds)), [0.0, 0.5, 1.0]);
    }
}
