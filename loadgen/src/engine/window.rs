//! The measured window, and times without a reply. Pure.

use common::units::nanoseconds;

use crate::load::plan::Plan;

/// The measured window. A request belongs to it if it is *due* in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first nanosecond in it.
    pub start_ns: u64,
    /// The first nanosecond after it; `u64::MAX` while it has no end.
    pub end_ns: u64,
}

impl Window {
    /// The window before the load begins: no moment lies in it.
    pub(crate) const NEVER: Window = Window { start_ns: u64::MAX, end_ns: u64::MAX };

    /// The window of a load that begins at `start_ns`.
    pub(crate) fn of(plan: &Plan, start_ns: u64) -> Self {
        let start_ns = start_ns.saturating_add(nanoseconds(plan.timing.warmup));
        let end_ns =
            plan.timing.duration.map_or(u64::MAX, |duration| start_ns.saturating_add(nanoseconds(duration)));
        Self { start_ns, end_ns }
    }

    /// The same window, cut off at `at_ns` if it would end later.
    pub(crate) fn ending_by(self, at_ns: u64) -> Self {
        let end_ns = self.end_ns.min(at_ns);
        Self { start_ns: self.start_ns.min(end_ns), end_ns }
    }

    /// Whether a moment lies in it.
    #[inline]
    pub(crate) fn contains(&self, at_ns: u64) -> bool {
        self.start_ns <= at_ns && at_ns < self.end_ns
    }

    /// How much of the time from `since_ns` to `until_ns` lies in it.
    #[inline]
    pub(crate) fn overlap_ns(&self, since_ns: u64, until_ns: u64) -> u64 {
        until_ns.min(self.end_ns).saturating_sub(since_ns.max(self.start_ns))
    }
}

/// A time in which requests were outstanding and no reply arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stall {
    /// When it began.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
}

impl Stall {
    /// Its length.
    #[inline]
    pub(crate) fn length_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }

    /// The time that belongs to both.
    pub(crate) fn common(self, other: Self) -> Self {
        Self { from_ns: self.from_ns.max(other.from_ns), to_ns: self.to_ns.min(other.to_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_contains_its_first_nanosecond_and_not_the_one_after_its_last() {
        let window = Window { start_ns: 10, end_ns: 20 };
        assert!(window.contains(10) && window.contains(19) && !window.contains(20) && !window.contains(9));
        assert_eq!(
            [window.overlap_ns(0, 12), window.overlap_ns(15, 99), window.overlap_ns(30, 40)],
            [2, 5, 0]
        );
        assert!(!Window::NEVER.contains(5));
        assert_eq!(window.ending_by(15), Window { start_ns: 10, end_ns: 15 });
        assert_eq!(window.ending_by(5), Window { start_ns: 5, end_ns: 5 });
        assert_eq!(window.ending_by(25), window);
    }

    #[test]
    fn stalls_at_different_moments_have_nothing_in_common() {
        let stall = |from_ns, to_ns| Stall { from_ns, to_ns };
        assert_eq!(stall(5, 20).common(stall(10, 30)), stall(10, 20));
        assert_eq!(stall(5, 10).common(stall(20, 30)).length_ns(), 0);
    }
}
