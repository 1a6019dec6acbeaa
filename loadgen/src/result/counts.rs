//! A histogram in little memory. A merged result has a histogram for each interval, and a run has some tens for the precision of its
//! percentiles. loadgen's histograms take a quarter of a mebibyte each, although most of their buckets are empty.

use hdrhistogram::Histogram;

use crate::{
    engine::latency::{LATENCY_NS_MAX, LATENCY_NS_MIN, Latency, SIGNIFICANT_DIGITS},
    result::summary,
};

/// The buckets of each power of two, as loadgen's histograms have them: 2,048 single values, then 1,024 for each power.
const HALF_BITS: u32 = 10;

/// The samples of histograms: the buckets that are not empty, in order, as the distance from the bucket before and the count.
/// Both are LEB128 numbers, so most buckets take two or three bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(Box<[u8]>);

/// Why the text of a histogram cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddError {
    /// It is empty.
    Missing,
    /// It is no histogram of loadgen.
    Unusable,
}

impl Counts {
    /// Adds the samples of a serialised histogram.
    pub(crate) fn add(&mut self, hdr: &str) -> Result<(), AddError> {
        if hdr.is_empty() {
            return Err(AddError::Missing);
        }
        let samples = summary::deserialise(hdr).ok_or(AddError::Unusable)?;
        if samples.is_empty() {
            return Ok(());
        }
        if bucket(samples.max()) > bucket(LATENCY_NS_MAX) {
            return Err(AddError::Unusable);
        }
        *self = match has_our_buckets(&samples) {
            true => Self::of(sums(self.buckets(), recorded(&samples))),
            false => {
                let steps = samples.iter_recorded();
                let steps = steps.map(|step| (bucket(step.value_iterated_to()), step.count_at_value()));
                Self::of(sums(self.buckets(), steps))
            }
        };
        Ok(())
    }

    /// The samples of one of loadgen's histograms.
    pub(crate) fn of_latency(samples: &Latency) -> Self {
        match samples.histogram().is_empty() {
            true => Self::default(),
            false => Self::of(recorded(samples.histogram())),
        }
    }

    /// Adds all samples of another sum.
    pub(crate) fn append(&mut self, other: &Self) {
        *self = Self::of(sums(self.buckets(), other.buckets()));
    }

    /// The samples in one of loadgen's histograms.
    pub(crate) fn histogram(&self) -> Histogram<u64> {
        let mut histogram = Latency::default().histogram().clone();
        for (bucket, count) in self.buckets() {
            histogram.saturating_record_n(first_value(bucket), count);
        }
        histogram
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> u64 {
        self.buckets().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// The number of samples above the bucket of this value.
    pub(crate) fn above(&self, value: u64) -> u64 {
        let above = self.buckets().filter(|(other, _)| *other > bucket(value));
        above.fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// The last value of the bucket with the sample of this rank, from 1, as a histogram gives it. None if there are fewer samples.
    pub(crate) fn of_rank(&self, rank: u64) -> Option<u64> {
        let mut seen: u64 = 0;
        let mut reached = self.buckets().filter(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        reached.next().map(|(bucket, _)| (first_value(bucket + 1) - 1).min(LATENCY_NS_MAX))
    }

    fn of(buckets: impl Iterator<Item = (u64, u64)>) -> Self {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for (bucket, count) in buckets {
            write(&mut bytes, bucket - last);
            write(&mut bytes, count);
            last = bucket;
        }
        Self(bytes.into_boxed_slice())
    }

    /// The buckets that are not empty, in order, each with its count.
    fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let (mut rest, mut bucket) = (&*self.0, 0);
        std::iter::from_fn(move || {
            bucket += read(&mut rest)?;
            Some((bucket, read(&mut rest)?))
        })
    }
}

#[cfg(test)]
impl FromIterator<u64> for Counts {
    fn from_iter<I: IntoIterator<Item = u64>>(times_ns: I) -> Self {
        Self::of_latency(&times_ns.into_iter().collect())
    }
}

fn has_our_buckets(samples: &Histogram<u64>) -> bool {
    samples.low() == LATENCY_NS_MIN && samples.sigfig() == SIGNIFICANT_DIGITS
}

/// The buckets that are not empty of a histogram with the same buckets. The histogram's own iterator takes longer: it visits all
/// buckets below the first sample, too.
fn recorded(samples: &Histogram<u64>) -> impl Iterator<Item = (u64, u64)> {
    let first = if samples.count_at(0) > 0 { 0 } else { bucket(samples.min_nz()) };
    let counts =
        (first..=bucket(samples.max())).map(|bucket| (bucket, samples.count_at(first_value(bucket))));
    counts.filter(|(_, count)| *count > 0)
}

/// The sums of two ordered lists of buckets.
fn sums(
    one: impl Iterator<Item = (u64, u64)>,
    other: impl Iterator<Item = (u64, u64)>,
) -> impl Iterator<Item = (u64, u64)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((first, count)), Some((second, more))) if first == second => {
            let sum = (*first, count.saturating_add(*more));
            one.next();
            other.next();
            Some(sum)
        }
        (Some((first, _)), Some((second, _))) if first < second => one.next(),
        (_, Some(_)) => other.next(),
        (_, None) => one.next(),
    })
}

/// The number of the bucket with a value.
fn bucket(value: u64) -> u64 {
    let shift = (u64::BITS - HALF_BITS - 1).saturating_sub(value.leading_zeros());
    (u64::from(shift) << HALF_BITS) + (value >> shift)
}

/// The first value of a bucket.
fn first_value(bucket: u64) -> u64 {
    let shift = (bucket >> HALF_BITS).saturating_sub(1);
    (bucket - (shift << HALF_BITS)) << shift
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::cases::cases;

    fn counts(times: &[u64]) -> Counts {
        let mut counts = Counts::default();
        counts.add(&summary::serialise(Latency::from_iter(times.iter().copied()).histogram())).unwrap();
        counts
    }

    #[test]
    fn the_buckets_are_those_of_the_histograms() {
        let histogram = Latency::default().histogram().clone();
        let powers = (0..42).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1, 3 << power]);
        for value in powers.chain([0, 2_047, 2_048, 2_049, 4_095, 4_096, LATENCY_NS_MAX]) {
            if value > LATENCY_NS_MAX {
                continue;
            }
            assert_eq!(first_value(bucket(value)), histogram.lowest_equivalent(value), "{value}");
            assert_eq!(bucket(histogram.highest_equivalent(value)), bucket(value), "{value}");
            assert_eq!(bucket(histogram.highest_equivalent(value) + 1), bucket(value) + 1, "{value}");
        }
    }

    #[test]
    fn a_histogram_of_something_else_is_refused() {
        let mut counts = counts(&[5]);
        assert_eq!(counts.add(""), Err(AddError::Missing));
        assert_eq!(counts.add("AAAA"), Err(AddError::Unusable));
        // Fewer digits are wider buckets, whose samples keep their count.
        let mut wider = Histogram::<u64>::new_with_bounds(1, 1_000_000, 1).unwrap();
        wider.record_n(700_000, 9).unwrap();
        let mut rough = Counts::default();
        rough.add(&summary::serialise(&wider)).unwrap();
        assert_eq!(rough.histogram().len(), 9);
        let mut longer = Histogram::<u64>::new(3).unwrap();
        longer.record(LATENCY_NS_MAX * 2).unwrap();
        assert_eq!(counts.add(&summary::serialise(&longer)), Err(AddError::Unusable));
        assert_eq!(counts, super::tests::counts(&[5]));
        // The longest possible time is ours.
        counts.add(&summary::serialise(Latency::from_iter([LATENCY_NS_MAX]).histogram())).unwrap();
        assert_eq!(counts.samples(), 2);
    }

    #[test]
    fn a_bucket_takes_two_bytes_and_is_kept_once() {
        let mut sum = counts(&[127]);
        assert_eq!(sum.0.len(), 2);
        sum.append(&counts(&[127]));
        assert_eq!(sum, counts(&[127, 127]));
    }

    #[test]
    fn ranks_and_counts_are_those_of_the_histogram() {
        let samples = Latency::from_iter((0..5_000_u64).map(|number| number * number * 1_000));
        let (histogram, counts) = (samples.histogram(), Counts::of_latency(&samples));
        assert_eq!(counts.samples(), 5_000);
        assert_eq!(&counts.histogram(), histogram);
        for rank in [1, 2, 2_500, 4_999, 5_000] {
            let value = counts.of_rank(rank).unwrap();
            assert_eq!(value, histogram.value_at_quantile(rank as f64 / 5_000.0), "{rank}");
            assert_eq!(counts.above(value), 5_000 - histogram.count_between(0, value), "{rank}");
        }
        assert_eq!(counts.of_rank(5_001), None);
        assert_eq!(Counts::of_latency(&Latency::default()), Counts::default());
        assert_eq!(Counts::of_latency(&Latency::from_iter([u64::MAX])).of_rank(1), Some(LATENCY_NS_MAX));
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn a_sum_holds_every_sample_in_little_memory(
            one in prop::collection::vec(0_u64..=LATENCY_NS_MAX, 0..200),
            other in prop::collection::vec(1_u64..5_000_000, 0..200),
        ) {
            let all = Latency::from_iter(one.iter().chain(&other).copied());
            let mut sum = counts(&one);
            sum.append(&counts(&other));
            prop_assert_eq!(&sum.histogram(), all.histogram());
            let histogram = sum.histogram();
            prop_assert_eq!(histogram.min(), all.histogram().min());
            prop_assert_eq!(histogram.max(), all.histogram().max());
            prop_assert_eq!(summary::serialise(&histogram), summary::serialise(all.histogram()));
            prop_assert!(sum.0.len() <= 4 * all.histogram().len() as usize);
            let mut added = counts(&other);
            added.add(&summary::serialise(&counts(&one).histogram())).unwrap();
            prop_assert_eq!(added, sum);
        }
    }
}
