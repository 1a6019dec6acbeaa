//! The rate over time, and its integral: how many requests have become due until a moment.
//!
//! Request `n`, counted from 0, is due where the integral passes `n`. The integral is a fixed-point number, so a load of many
//! stages does not drift. Inside a ramp, the moment is the root of a quadratic. It is computed from the end of the ramp
//! with the lower rate, so no two numbers of nearly the same size are subtracted.

use std::time::Duration;

use common::units::nanoseconds;

use crate::load::stages::{RateOrZero, Stages};

/// A moment without an end. No request is due then.
pub(super) const NEVER: u64 = u64::MAX;

/// Requests with 64 bits after the point.
pub(super) type Requests = u128;

/// One request.
pub(super) const ONE: Requests = 1 << 64;

/// The rate of all clients together, from the start of the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// The warm-up, if there is one, and the stages, in order.
    pieces: Vec<Piece>,
    /// The length of the warm-up.
    warmup_ns: u64,
}

/// A part of the course.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    /// When it begins, after the start of the load.
    start_ns: u64,
    length_ns: u64,
    from: RateOrZero,
    to: RateOrZero,
    /// The requests that are due before it.
    before: Requests,
    /// The requests that are due until its end.
    until: Requests,
}

impl Course {
    /// The course of these stages, after a warm-up at the first stage's starting rate.
    pub(crate) fn new(stages: &Stages, warmup: Duration) -> Self {
        let first = stages.all().first().and_then(|stage| stage.from);
        let warmup_ns = nanoseconds(warmup);
        let stages = stages.all().iter().map(|stage| (stage.from, stage.to, nanoseconds(stage.length)));
        let mut pieces: Vec<Piece> = Vec::new();
        for (from, to, length_ns) in [(first, first, warmup_ns)].into_iter().chain(stages) {
            let (start_ns, before) =
                pieces.last().map_or((0, 0), |last| (last.start_ns + last.length_ns, last.until));
            let at = |rate: RateOrZero| rate.map_or(0, |rate| rate.requests_in(length_ns));
            // The area of a trapezium. For a constant rate, this is the area of the rectangle.
            let until = before + at(from).midpoint(at(to));
            pieces.push(Piece { start_ns, length_ns, from, to, before, until });
        }
        pieces.retain(|piece| piece.length_ns > 0);
        Self { pieces, warmup_ns }
    }

    /// The mean rate per second between two moments after the start of the first stage. 0 for no time.
    pub(crate) fn mean_per_s(&self, from_ns: u64, end_ns: u64) -> f64 {
        if end_ns <= from_ns {
            return 0.0;
        }
        let passed = |at_ns: u64| self.passed(self.warmup_ns.saturating_add(at_ns));
        (passed(end_ns) - passed(from_ns)) / (end_ns - from_ns) as f64 * 1e9
    }

    /// The start and the end of each stage, after the start of the first one.
    pub(crate) fn stages_ns(&self) -> impl Iterator<Item = (u64, u64)> {
        let stages = self.pieces.iter().filter(|piece| piece.start_ns >= self.warmup_ns);
        stages.map(|piece| {
            let from_ns = piece.start_ns - self.warmup_ns;
            (from_ns, from_ns + piece.length_ns)
        })
    }

    /// When request `number` is due after the start of the load; [`NEVER`] if the load ends before. `piece` is the index of a
    /// piece that is not behind the request. It is moved to the piece in which the request is due.
    pub(super) fn due_ns(&self, number: u64, piece: &mut usize) -> u64 {
        self.moment(Requests::from(number) << 64, piece)
    }

    /// When the integral passes a number of requests; see [`due_ns`](Self::due_ns).
    pub(super) fn moment(&self, requests: Requests, piece: &mut usize) -> u64 {
        while self.pieces.get(*piece).is_some_and(|piece| piece.until <= requests) {
            *piece += 1;
        }
        match self.pieces.get(*piece) {
            Some(piece) => piece.start_ns + piece.offset_ns(requests - piece.before),
            None => NEVER,
        }
    }

    /// The number of the first request that is due at `at_ns` or later.
    pub(super) fn first_from(&self, at_ns: u64) -> u64 {
        let due_ns = |number| self.due_ns(number, &mut 0);
        // An estimate to a few requests, made exact by the due times themselves.
        let mut number = self.passed(at_ns) as u64;
        while number > 0 && due_ns(number - 1) >= at_ns {
            number -= 1;
        }
        while due_ns(number) < at_ns {
            number += 1;
        }
        number
    }

    /// The requests until a moment after the start of the load.
    fn passed(&self, at_ns: u64) -> f64 {
        let Some(piece) = self.pieces.iter().rfind(|piece| piece.start_ns <= at_ns) else { return 0.0 };
        let (from, to) = (per_ns(piece.from), per_ns(piece.to));
        let time_ns = (at_ns - piece.start_ns).min(piece.length_ns) as f64;
        let slope = (to - from) / piece.length_ns as f64;
        number(piece.before) + time_ns * (from + slope * time_ns / 2.0)
    }
}

impl Piece {
    /// When the integral has grown by `requests` since the start of the piece; before its end.
    fn offset_ns(&self, requests: Requests) -> u64 {
        let offset_ns = match (self.from, self.to) {
            (Some(rate), to) if Some(rate) == to => rate.time_of(requests),
            (from, to) if from <= to => self.climb_ns(per_ns(from), per_ns(to), requests) as u64,
            // The same ramp backwards.
            (from, to) => {
                let rest = (self.until - self.before).saturating_sub(requests);
                let rest_ns = self.climb_ns(per_ns(to), per_ns(from), rest);
                (self.length_ns as f64 - rest_ns).max(0.0) as u64
            }
        };
        offset_ns.min(self.length_ns - 1)
    }

    /// The time `t` after the end with the lower rate `low` in which `x` requests become due: the root of
    /// `low * t + slope / 2 * t^2 = x`, in the form without a subtraction (Press et al., Numerical Recipes, 5.6).
    fn climb_ns(&self, low: f64, high: f64, requests: Requests) -> f64 {
        let x = number(requests);
        let slope = (high - low) / self.length_ns as f64;
        let divisor = low + (low * low + 2.0 * slope * x).sqrt();
        if divisor > 0.0 { 2.0 * x / divisor } else { 0.0 }
    }
}

/// Requests as a floating-point number.
fn number(requests: Requests) -> f64 {
    requests as f64 / ONE as f64
}

fn per_ns(rate: RateOrZero) -> f64 {
    rate.map_or(0.0, |rate| 1.0 / rate.mean_gap_ns())
}
