//! Requests at recorded times.

use std::{fmt, str::FromStr, sync::Arc};

use common::units::{Decimal, is_negative, refuse_flag};

use super::Place;

/// The most digits after the point of a speed. So the product of a recorded time and a power of ten fits.
const DECIMALS_MAX: u32 = 9;
/// The inverse of the lowest speed, and the highest one.
const FACTOR_MAX: u64 = 1000;

/// How much faster than recorded requests are due: an exact number from 0.001 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed(Decimal);

/// Why a text is not a [`Speed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseSpeedError {
    /// Not a number.
    #[error("'{0}' is not a speed: write a number, as in 2 (twice as fast) or 0.5 (half as fast)")]
    NotASpeed(String),
    /// Too low or too high.
    #[error("the speed must be from 0.001 to {FACTOR_MAX}")]
    Range,
    /// Too many digits after the point.
    #[error("'{0}' has more than {DECIMALS_MAX} digits after the point")]
    TooManyDigits(String),
    /// Another flag.
    #[error("{0}")]
    Flag(String),
}

/// The due times of all requests of a replay, from the start of the load.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReplayTimes {
    /// At least one. They never decrease.
    due_ns: Box<[u64]>,
    /// The speed at which they are due.
    pub speed: Speed,
}

/// The due times of one client: request g of the replay belongs to client g modulo the number of clients.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    times: Arc<ReplayTimes>,
    start_ns: u64,
    /// The number of the next request, among those of all clients.
    next: usize,
    clients: usize,
}

impl Speed {
    /// The nearest number.
    pub(crate) fn factor(self) -> f64 {
        self.0.digits as f64 / 10_f64.powi(self.0.decimals as i32)
    }

    /// A recorded time at this speed, rounded down, or `u64::MAX` if it is longer.
    fn at(self, at_ns: u64) -> u64 {
        let scaled = u128::from(at_ns) * 10_u128.pow(self.0.decimals) / u128::from(self.0.digits);
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

impl FromStr for Speed {
    type Err = ParseSpeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        refuse_flag(text).map_err(ParseSpeedError::Flag)?;
        if is_negative(text) {
            return Err(ParseSpeedError::Range);
        }
        let speed = Decimal::parse(text.trim()).ok_or_else(|| ParseSpeedError::NotASpeed(text.to_owned()))?;
        if speed.decimals > DECIMALS_MAX {
            return Err(ParseSpeedError::TooManyDigits(text.to_owned()));
        }
        let one = 10_u64.pow(speed.decimals);
        let (digits, is_low) = (speed.digits, u128::from(speed.digits) * u128::from(FACTOR_MAX) < one.into());
        if is_low || u128::from(digits) > u128::from(one) * u128::from(FACTOR_MAX) {
            return Err(ParseSpeedError::Range);
        }
        Ok(Self(speed))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.factor())
    }
}

impl ReplayTimes {
    /// The due times of requests that were recorded at these times, at least one. The times never decrease.
    pub(crate) fn new(at_ns: impl IntoIterator<Item = u64>, speed: Speed) -> Self {
        Self { due_ns: at_ns.into_iter().map(|at_ns| speed.at(at_ns)).collect(), speed }
    }

    /// The number of requests.
    pub(crate) fn requests(&self) -> u64 {
        self.due_ns.len() as u64
    }

    /// When the last of the first `requests` requests is due.
    pub(super) fn last_due_ns(&self, requests: u64) -> u64 {
        let last = usize::try_from(requests).unwrap_or(usize::MAX).min(self.due_ns.len()).saturating_sub(1);
        self.due_ns.get(last).copied().unwrap_or_default()
    }

    /// The requests per second from the start of the load to the last request. None if all are due at the start.
    pub(crate) fn rate_per_s(&self) -> Option<f64> {
        let span_ns = self.due_ns.last().copied().filter(|span_ns| *span_ns > 0)?;
        Some(self.requests() as f64 / (span_ns as f64 / 1e9))
    }
}

impl Replay {
    pub(super) fn new(times: Arc<ReplayTimes>, place: Place, start_ns: u64) -> Self {
        Self { times, start_ns, next: place.client as usize, clients: place.clients as usize }
    }

    #[inline]
    pub(super) fn due_ns(&self) -> Option<u64> {
        Some(self.start_ns.saturating_add(*self.times.due_ns.get(self.next)?))
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        self.next += self.clients;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Speed {
        /// As recorded.
        const ONE: Self = Self(Decimal { digits: 1, decimals: 0 });
    }
    use crate::load::schedule::{Load, Schedule};

    fn speed(text: &str) -> Speed {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_last_request_of_a_replay_is_due_when_it_was_recorded() {
        let times = ReplayTimes::new([0, 40, 100], "2".parse().unwrap());
        assert_eq!([0, 1, 2, 3, 9].map(|requests| times.last_due_ns(requests)), [0, 0, 20, 50, 50]);
    }

    #[test]
    fn a_speed_divides_each_time_exactly() {
        for (text, at_ns, due_ns) in [
            ("1", 1_234_567_890_123_456_789, 1_234_567_890_123_456_789),
            ("2", 1_000_000_001, 500_000_000),
            ("0.5", 1_000_000_001, 2_000_000_002),
            ("1.5", 3_000_000_000_000_000_000, 2_000_000_000_000_000_000),
            ("3", 10, 3),
            ("0.001", 1_000, 1_000_000),
            ("1000", 999_999, 999),
            ("0.001", 10_000_000_000_000_000_000, u64::MAX),
            ("1.000000001", 1_000_000_001, 1_000_000_000),
        ] {
            assert_eq!(ReplayTimes::new([at_ns], speed(text)).due_ns[..], [due_ns], "{text} {at_ns}");
        }
        assert_eq!((speed("2.50").to_string(), Speed::ONE.factor()), ("2.5".to_owned(), 1.0));
    }

    #[test]
    fn each_invalid_speed_has_its_own_error() {
        use ParseSpeedError::*;
        for (text, error) in [
            ("", NotASpeed(String::new())),
            ("fast", NotASpeed("fast".to_owned())),
            ("2x", NotASpeed("2x".to_owned())),
            ("0", Range),
            ("-1", Range),
            ("0.0009", Range),
            ("1000.1", Range),
            ("1.0000000001", TooManyDigits("1.0000000001".to_owned())),
        ] {
            assert_eq!(text.parse::<Speed>().unwrap_err(), error, "{text}");
        }
        assert!(matches!("--rate".parse::<Speed>(), Err(Flag(_))));
    }

    #[test]
    fn the_clients_take_the_requests_in_turn_at_their_times() {
        let times = Arc::new(ReplayTimes::new([0, 5, 5, 9, 20, 20, 21], Speed::ONE));
        for (client, expected) in [(0, vec![100, 109, 121]), (1, vec![105, 120]), (2, vec![105, 120])] {
            let place = Place { client, clients: 3, pipeline: 1, seed: 1 };
            let mut schedule = Schedule::new(&Load::Replay(times.clone()), place, 100);
            let mut due_ns = Vec::new();
            while let Some(at_ns) = schedule.peek() {
                due_ns.push(at_ns);
                schedule.pop();
                schedule.ended(at_ns);
            }
            assert_eq!(due_ns, expected, "client {client}");
        }
        let last = Place { client: 9, clients: 10, pipeline: 1, seed: 1 };
        assert_eq!(Schedule::new(&Load::Replay(times.clone()), last, 100).peek(), None);
        let place = Place { client: 0, clients: 1, pipeline: 1, seed: 1 };
        let mut schedule = Schedule::new(&Load::Replay(times), place, 100);
        assert_eq!((schedule.due_within(105, 120), schedule.peek()), (3, Some(120)));
    }

    #[test]
    fn the_rate_is_the_number_of_requests_in_the_time_until_the_last_one() {
        let rate =
            |at_ns: &[u64], text: &str| ReplayTimes::new(at_ns.iter().copied(), speed(text)).rate_per_s();
        assert_eq!(rate(&[0, 1, 2_000_000_000], "1"), Some(1.5));
        assert_eq!(rate(&[0, 1, 2_000_000_000], "2"), Some(3.0));
        assert_eq!(rate(&[0, 0], "1"), None);
    }
}
