//! A histogram of times.

use hdrhistogram::Histogram;

/// The shortest time that a histogram distinguishes, in nanoseconds.
pub(crate) const LATENCY_NS_MIN: u64 = 1;
/// The longest time that a histogram holds, in nanoseconds: one hour. Longer times count as this time.
pub(crate) const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// A histogram's precision: three significant digits, so an error of at most 0.1%.
pub(crate) const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of times in nanoseconds that drops no sample.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    histogram: Histogram<u64>,
    clamped: u64,
}

impl Latency {
    /// Adds a sample. A time over [`LATENCY_NS_MAX`] counts as that time, and as clamped.
    #[inline]
    pub(crate) fn record(&mut self, latency_ns: u64) {
        if latency_ns > LATENCY_NS_MAX {
            self.clamped += 1;
        }
        self.histogram.saturating_record(latency_ns);
    }

    /// The samples.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// The number of samples over [`LATENCY_NS_MAX`].
    pub(crate) fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Adds another histogram's samples.
    pub(crate) fn merge(&mut self, other: &Self) {
        // An addition visits every bucket, and some histograms of a run stay empty.
        if other.histogram.is_empty() {
            return;
        }
        self.clamped += other.clamped;
        self.histogram.add(&other.histogram).expect("both have the same bounds, which are constants");
    }

    /// Removes all samples and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.clamped = 0;
        // A reset visits every bucket, and some histograms of a run stay empty.
        if !self.histogram.is_empty() {
            self.histogram.reset();
        }
    }
}

impl FromIterator<u64> for Latency {
    fn from_iter<I: IntoIterator<Item = u64>>(times_ns: I) -> Self {
        let mut latency = Self::default();
        times_ns.into_iter().for_each(|time_ns| latency.record(time_ns));
        latency
    }
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the histogram supports");
        Self { histogram, clamped: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_over_the_range_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.record(0);
        latency.record(LATENCY_NS_MAX);
        latency.record(u64::MAX);
        assert_eq!((latency.histogram().len(), latency.clamped()), (3, 1));
    }
}
