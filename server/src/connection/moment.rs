//! A moment in eight bytes. An `Instant` has sixteen, and each idle connection keeps two moments.

use std::{
    num::NonZeroU64,
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Nanoseconds since the first use of this type, plus one, so that an `Option` of it needs no more memory. Earlier instants
/// become the first moment; instants more than 584 years later become the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroU64);

static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// This moment.
    pub(crate) fn now() -> Self {
        Instant::now().into()
    }
}

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let since_first = instant.saturating_duration_since(*FIRST).as_nanos();
        let since_first = u64::try_from(since_first).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(since_first))
    }
}

impl From<Moment> for Instant {
    fn from(Moment(number): Moment) -> Self {
        *FIRST + Duration::from_nanos(number.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_instant_that_it_was_made_of() {
        let first = Moment::now();
        let later = Instant::now() + Duration::from_nanos(1_234_567_891);
        assert_eq!(Instant::from(Moment::from(later)), later);
        assert!(first < later.into());
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }

    #[test]
    fn an_instant_out_of_range_becomes_the_nearest_moment() {
        let now = Instant::now();
        let first = Moment::from(*FIRST);
        let early = FIRST.checked_sub(Duration::from_secs(1)).map(Moment::from);
        assert!(early.is_none_or(|early| early == first), "{early:?}");
        let thousand_years = Duration::from_secs(1_000 * 365 * 24 * 3600);
        let late = Moment::from(now + thousand_years);
        assert!(late > Moment::now() && Instant::from(late) < now + thousand_years);
    }
}
