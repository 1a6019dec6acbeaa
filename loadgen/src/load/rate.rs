//! The rate of an open loop, as an exact fraction: so a load of hours does not drift. Pure.

use std::{cmp::Ordering, fmt, str::FromStr};

use common::{
    human::count,
    units::{Decimal, is_negative, refuse_flag, split_factor},
};

const NS_PER_S: u64 = 1_000_000_000;

/// The units of time of a rate, in nanoseconds.
const UNITS: [(&str, u64); 3] = [("s", NS_PER_S), ("min", 60 * NS_PER_S), ("h", 3600 * NS_PER_S)];

/// The most decimals of a printed rate.
const DECIMALS_MAX: u32 = 18;

/// Requests per period of time, in lowest terms and more than zero.
///
/// The text form is requests per second, or has a unit: `20k`, `0.5`, `30/min`, `100/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    /// At least 1.
    requests: u64,
    /// At least 1.
    period_ns: u64,
}

/// Why a text is not a [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseRateError {
    /// Not a number of requests per unit of time.
    #[error(
        "'{0}' is not a rate: write requests per second, as in 20k or 0.5, or with a unit, as in 30/min or 100/h"
    )]
    NotARate(String),
    /// Not a unit of a rate.
    #[error("'{0}' is not a unit of a rate: write /s, /min or /h, as in 30/min")]
    UnknownUnit(String),
    /// No request would ever be due.
    #[error("it must be more than zero")]
    Zero,
    /// More digits than a rate holds.
    #[error("'{0}' has too many digits")]
    TooManyDigits(String),
    /// Another flag.
    #[error("{0}")]
    Flag(String),
}

impl Rate {
    /// The lowest rate: one request per hour. At this rate, the first request of the last of a million clients is due
    /// before 2^63 nanoseconds.
    pub(crate) const MIN: Self = Self { requests: 1, period_ns: 3600 * NS_PER_S };
    /// The highest rate: one request per nanosecond.
    pub(crate) const MAX: Self = Self { requests: 1, period_ns: 1 };

    /// A whole number of requests per second, at least 1.
    pub(crate) fn per_second(requests: u64) -> Self {
        Self::new(requests.max(1).into(), NS_PER_S.into()).expect("a reduced fraction is not larger")
    }

    /// The nearest rate with whole requests per hour, between [`Rate::MIN`] and [`Rate::MAX`].
    pub(crate) fn near(per_s: f64) -> Self {
        let per_hour = (per_s * 3_600.0).round().clamp(1.0, 3.6e12) as u128;
        Self::new(per_hour, (3_600 * NS_PER_S).into()).expect("both fit")
    }

    /// The nearest number of requests per second.
    pub(crate) fn per_s(self) -> f64 {
        self.requests as f64 * NS_PER_S as f64 / self.period_ns as f64
    }

    /// The mean time between two requests.
    pub(crate) fn mean_gap_ns(self) -> f64 {
        self.period_ns as f64 / self.requests as f64
    }

    /// The time from the start until request `number` is due, counted from 0, or `u64::MAX` if it is longer.
    #[inline]
    pub(crate) fn due_ns(self, number: u128) -> u64 {
        let due_ns = number.saturating_mul(self.period_ns.into()) / u128::from(self.requests);
        u64::try_from(due_ns).unwrap_or(u64::MAX)
    }

    /// The number of requests that are due before `elapsed_ns` after the start.
    pub(crate) fn due_before(self, elapsed_ns: u64) -> u128 {
        (u128::from(elapsed_ns) * u128::from(self.requests)).div_ceil(self.period_ns.into())
    }

    /// The requests of a time at this rate, as a fixed-point number with 64 bits after the point, rounded down. `length_ns` is
    /// less than 2^63, and the rate at most [`Rate::MAX`].
    pub(crate) fn requests_in(self, length_ns: u64) -> u128 {
        let product = u128::from(length_ns) * u128::from(self.requests);
        let period_ns = u128::from(self.period_ns);
        ((product / period_ns) << 64) | (((product % period_ns) << 64) / period_ns)
    }

    /// The time until that many requests have become due, rounded down to nanoseconds. The requests have 64 bits after the
    /// point.
    pub(crate) fn time_of(self, requests: u128) -> u64 {
        let period_ns = u128::from(self.period_ns);
        let fraction = ((requests & u128::from(u64::MAX)) * period_ns) >> 64;
        let time_ns = (requests >> 64).saturating_mul(period_ns).saturating_add(fraction);
        u64::try_from(time_ns / u128::from(self.requests)).unwrap_or(u64::MAX)
    }

    /// None if the fraction is zero or does not fit.
    fn new(requests: u128, period_ns: u128) -> Option<Self> {
        let divisor = greatest_common_divisor(requests, period_ns);
        let requests = u64::try_from(requests.checked_div(divisor)?).ok().filter(|requests| *requests > 0)?;
        Some(Self { requests, period_ns: u64::try_from(period_ns / divisor).ok()? })
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        refuse_flag(text).map_err(ParseRateError::Flag)?;
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let (_, unit_ns) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or_else(|| ParseRateError::UnknownUnit(format!("/{}", unit.trim())))?;
        if is_negative(number) {
            return Err(ParseRateError::Zero);
        }
        let (number, factor) = split_factor(number.trim());
        let number = Decimal::parse(number).ok_or_else(|| ParseRateError::NotARate(text.to_owned()))?;
        if number.digits == 0 {
            return Err(ParseRateError::Zero);
        }
        let period_ns =
            10_u128.checked_pow(number.decimals).and_then(|scale| scale.checked_mul((*unit_ns).into()));
        let rate = period_ns
            .and_then(|period_ns| Self::new(u128::from(number.digits) * u128::from(factor), period_ns));
        rate.ok_or_else(|| ParseRateError::TooManyDigits(text.to_owned()))
    }
}

/// In the first unit that makes the number whole, or else a decimal. The text can be parsed again, except for commas between thousands.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, unit_ns) in UNITS {
            let requests = u128::from(self.requests) * u128::from(unit_ns);
            let period_ns = u128::from(self.period_ns);
            if let Ok(whole) = u64::try_from(requests / period_ns)
                && requests.is_multiple_of(period_ns)
            {
                return write!(f, "{}/{name}", count(whole));
            }
        }
        let mut units = UNITS;
        if self.per_s() < 1.0 / 60.0 {
            units.reverse();
        }
        let decimal = units.iter().find_map(|(name, unit_ns)| Some((self.decimal(*unit_ns)?, name)));
        match decimal {
            Some((number, unit)) => write!(f, "{number}/{unit}"),
            // A share of a rate may have no end.
            None => write!(f, "{}/s", self.per_s()),
        }
    }
}

impl Rate {
    /// The requests in such a unit of time. None if the number has too many decimals.
    fn decimal(self, unit_ns: u64) -> Option<String> {
        let (requests, period_ns) = (u128::from(self.requests) * u128::from(unit_ns), self.period_ns.into());
        (1..=DECIMALS_MAX).find_map(|decimals| {
            let power = 10_u128.pow(decimals);
            let digits =
                requests.checked_mul(power).filter(|digits| digits.is_multiple_of(period_ns))? / period_ns;
            Some(format!("{}.{:0width$}", digits / power, digits % power, width = decimals as usize))
        })
    }
}

impl Ord for Rate {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |requests: u64, period_ns: u64| u128::from(requests) * u128::from(period_ns);
        product(self.requests, other.period_ns).cmp(&product(other.requests, self.period_ns))
    }
}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_measured_rate_becomes_the_nearest_one() {
        for (per_s, near) in
            [(20_000.0, 20_000.0), (1_234.567_8, 1_234.567_8), (0.5, 0.5), (1e-9, 1.0 / 3_600.0), (1e30, 1e9)]
        {
            let rate = Rate::near(per_s);
            assert!((rate.per_s() / near - 1.0).abs() < 1e-6, "{per_s}: {}", rate.per_s());
            assert!((Rate::MIN..=Rate::MAX).contains(&rate), "{per_s}");
        }
    }

    #[test]
    fn rates_are_parsed_without_loss() {
        for (text, requests, period_ns, shown) in [
            ("5", 1, 200_000_000, "5/s"),
            ("20k", 1, 50_000, "20,000/s"),
            ("1.5m", 3, 2_000, "1,500,000/s"),
            ("3", 3, NS_PER_S, "3/s"),
            ("3/s", 3, NS_PER_S, "3/s"),
            ("0.5", 1, 2 * NS_PER_S, "30/min"),
            ("30/min", 1, 2 * NS_PER_S, "30/min"),
            ("30 / min", 1, 2 * NS_PER_S, "30/min"),
            ("1/h", 1, 3600 * NS_PER_S, "1/h"),
            ("1k/h", 1, 3_600_000_000, "1,000/h"),
            ("7/min", 7, 60 * NS_PER_S, "7/min"),
            ("0.001", 1, 1000 * NS_PER_S, "3.6/h"),
            ("0.5/h", 1, 7200 * NS_PER_S, "0.5/h"),
            ("0.333333333", 333_333_333, 1_000_000_000 * NS_PER_S, "0.333333333/s"),
            ("1000m", 1, 1, "1,000,000,000/s"),
            // A float would have one digit too many.
            ("0.00036594", 18_297, 50_000_000 * NS_PER_S, "1.317384/h"),
            ("1234.5/h", 823, 2_400 * NS_PER_S, "20.575/min"),
            ("1234.5", 2_469, 2 * NS_PER_S, "74,070/min"),
        ] {
            assert_eq!((rate(text), rate(text).to_string().as_str()), (Rate { requests, period_ns }, shown));
        }
        assert_eq!(Rate::per_second(20_000), rate("20k"));
        assert_eq!((rate("30/min").per_s(), rate("30/min").due_ns(3)), (0.5, 6 * NS_PER_S));
    }

    #[test]
    fn each_invalid_rate_has_its_own_error() {
        use ParseRateError::*;
        let owned = str::to_owned;
        for (text, error) in [
            ("", NotARate(owned(""))),
            ("many", NotARate(owned("many"))),
            ("1e3", NotARate(owned("1e3"))),
            ("/s", NotARate(owned("/s"))),
            ("1/2", UnknownUnit(owned("/2"))),
            ("5/m", UnknownUnit(owned("/m"))),
            ("5/", UnknownUnit(owned("/"))),
            ("0", Zero),
            ("0.0/min", Zero),
            ("-5", Zero),
            ("-0.5/h", Zero),
            ("0.00000000000000000001", TooManyDigits(owned("0.00000000000000000001"))),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap_err(), error, "{text}");
        }
        assert!(matches!("--arrival".parse::<Rate>(), Err(Flag(_))));
    }

    #[test]
    fn rates_are_ordered_by_their_value() {
        let rates =
            ["1/h", "1/min", "59/h", "0.1", "30/min", "0.9999", "1", "1.0001", "61/min", "1k", "1000m"];
        let mut sorted: Vec<_> = rates.iter().map(|text| rate(text)).collect();
        sorted.sort_unstable();
        let mut expected: Vec<_> = rates.iter().map(|text| rate(text)).collect();
        expected.sort_by(|a, b| a.per_s().total_cmp(&b.per_s()));
        assert_eq!(sorted, expected);
        assert!(Rate::MIN < rate("1/min") && rate("999m") < Rate::MAX);
        assert_eq!(Rate::MIN, rate("1/h"));
    }

    #[test]
    fn due_times_do_not_drift_and_match_their_counts() {
        for text in ["3", "7/min", "0.3", "999999937", "1/h"] {
            let rate = rate(text);
            for number in [0, 1, 2, 3, 1_000, 999_999_999_999] {
                let due_ns = rate.due_ns(number);
                assert_eq!(rate.due_before(due_ns.saturating_add(1)) > number, due_ns < u64::MAX, "{text}");
                // Several requests may be due in one nanosecond, so the count may jump, but it never falls.
                assert!(rate.due_before(due_ns) <= number, "{text}");
            }
        }
        // After a year at 7 per minute, the due time is still exact.
        let number = 7 * 60 * 24 * 365;
        assert_eq!(rate("7/min").due_ns(number), 365 * 24 * 3600 * NS_PER_S);
        assert_eq!(rate("7/min").due_ns(number + 1), 365 * 24 * 3600 * NS_PER_S + 60 * NS_PER_S / 7);
    }
}
