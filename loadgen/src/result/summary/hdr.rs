//! Histograms as text: the HdrHistogram format (V2, compressed) in base64. Pure.

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::ZlibDecoder;
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};

use crate::engine::latency::{Latency as Samples, SIGNIFICANT_DIGITS};

/// The cookie of a compressed histogram, before its length and its compressed bytes.
const COMPRESSED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
/// The cookie of a histogram that is not compressed.
const PLAIN: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();
/// The bytes of a histogram before its counts: cookie, length of the counts, offset, digits, bounds and ratio.
const HEAD_BYTES: usize = 40;
/// The most bytes of the counts of a histogram with [`SIGNIFICANT_DIGITS`]: 9 for each of at most 57,344 counts.
const COUNTS_BYTES_MAX: u32 = 1 << 19;

/// A histogram in base64, as [`deserialise`] reads it.
pub(crate) fn serialise(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("writing into memory does not fail, and the bounds are within the format's");
    STANDARD.encode(bytes)
}

/// Reads the text of [`serialise`]. None if the text is something else, or asks for more memory than a histogram of loadgen takes:
/// the text may say any length, which the library believes.
pub(crate) fn deserialise(hdr: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(hdr).ok()?;
    let compressed = bytes.strip_prefix(&COMPRESSED)?.get(4..)?;
    let mut inflated = ZlibDecoder::new(compressed);
    let mut head = [0; HEAD_BYTES];
    inflated.read_exact(&mut head).ok()?;
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("these are 4 bytes"));
    let (length, digits) = (number(4), number(12));
    if !head.starts_with(&PLAIN) || length > COUNTS_BYTES_MAX || digits > SIGNIFICANT_DIGITS.into() {
        return None;
    }
    Deserializer::new().deserialize(&mut head.chain(inflated)).ok()
}

/// The sum of several serialised histograms. None if one of them cannot be read.
pub(crate) fn sum<'a>(hdrs: impl IntoIterator<Item = &'a str>) -> Option<Histogram<u64>> {
    let mut sum = Samples::default().histogram().clone();
    hdrs.into_iter().try_for_each(|hdr| sum.add(deserialise(hdr)?).ok())?;
    Some(sum)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::protocol::cases::cases;

    /// The text of a histogram with these inflated bytes.
    fn text_of(inflated: &[u8]) -> String {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(inflated).unwrap();
        let compressed = encoder.finish().unwrap();
        let length = (compressed.len() as u32).to_be_bytes();
        STANDARD.encode([COMPRESSED.as_slice(), &length, &compressed].concat())
    }

    /// The inflated bytes of the text of a histogram.
    fn inflated(hdr: &str) -> Vec<u8> {
        let bytes = STANDARD.decode(hdr).unwrap();
        let mut inflated = Vec::new();
        ZlibDecoder::new(&bytes[8..]).read_to_end(&mut inflated).unwrap();
        inflated
    }

    #[test]
    fn a_histogram_that_asks_for_gigabytes_is_refused_unread() {
        let hdr = serialise(Samples::from_iter([1, 5, 5_000_000]).histogram());
        let good = inflated(&hdr);
        assert_eq!(deserialise(&text_of(&good)), deserialise(&hdr));
        let counts = good.len() - HEAD_BYTES;
        let head = |at: usize, value: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + value.len()].copy_from_slice(value);
            bytes
        };
        // A length of the counts that is true: kilobytes inflate to 16 MB.
        let bomb = [head(4, &(1_u32 << 24).to_be_bytes()), vec![0; 1 << 24]].concat();
        assert_eq!(deserialise(&text_of(&bomb)), None);
        for length in [COUNTS_BYTES_MAX + 1, 1 << 31, u32::MAX, counts as u32 + 1] {
            assert_eq!(deserialise(&text_of(&head(4, &length.to_be_bytes()))), None, "{length}");
        }
        // More digits take up to 50 MB, and a second compression could hide a bomb.
        assert_eq!(deserialise(&text_of(&head(12, &5_u32.to_be_bytes()))), None);
        let twice = text_of(&STANDARD.decode(&hdr).unwrap());
        assert_eq!(deserialise(&twice), None);
        assert_eq!(deserialise(&STANDARD.encode(&good)), None, "loadgen compresses its histograms");
    }

    #[test]
    fn a_histogram_that_is_cut_off_is_refused_or_has_every_sample() {
        let hdr = serialise(Samples::from_iter((0..3_000).map(|number| number * number)).histogram());
        let (whole, bytes) = (deserialise(&hdr), STANDARD.decode(&hdr).unwrap());
        let mut refused = 0;
        for length in 0..bytes.len() {
            let cut = deserialise(&STANDARD.encode(&bytes[..length]));
            // The end of the compressed bytes and their checksum may be missing.
            assert!(cut.is_none() || cut == whole, "{length}");
            refused += usize::from(cut.is_none());
        }
        assert!(refused + 16 > bytes.len(), "{refused} of {}", bytes.len());
        for length in 0..hdr.len() {
            let cut = deserialise(&hdr[..length]);
            assert!(cut.is_none() || cut == whole, "{length}");
        }
    }

    /// Bytes of a histogram, some of them replaced. A byte of a count below 0x80 is a small positive count or a few zeros.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let good = inflated(&serialise(Samples::from_iter([1, 5, 70_000, 5_000_000]).histogram()));
        let length = good.len();
        (vec((0..length, any::<u8>()), 1..4), 0..=length).prop_map(move |(changes, length)| {
            let mut bytes = good.clone();
            changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
            bytes.truncate(length);
            bytes
        })
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn no_text_breaks_the_reader(
            text in "[A-Za-z0-9+/=]{0,80}",
            bytes in vec(any::<u8>(), 0..80),
            inner in damaged(),
            change in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            let hdr = serialise(Samples::from_iter([7, 8_000]).histogram());
            let mut outer = STANDARD.decode(&hdr).unwrap();
            let at = change.0.index(outer.len());
            outer[at] = change.1;
            let texts = [text, STANDARD.encode(bytes), text_of(&inner), STANDARD.encode(outer)];
            for histogram in texts.iter().filter_map(|text| deserialise(text)) {
                // Whatever is read can be summed up and printed again.
                prop_assert!(histogram.sigfig() <= SIGNIFICANT_DIGITS);
                let _too_long = sum([serialise(&histogram).as_str()]);
                let _any = (histogram.mean(), histogram.max(), histogram.value_at_quantile(0.5));
            }
        }
    }

    #[test]
    fn histograms_are_added_and_never_averaged() {
        let [fast, slow] = [Samples::from_iter(vec![10; 99]), Samples::from_iter([1_000])]
            .map(|samples| serialise(samples.histogram()));
        let both = sum([fast.as_str(), slow.as_str()]).unwrap();
        assert_eq!((both.len(), both.value_at_quantile(0.99), both.max()), (100, 10, 1_000));
        assert_eq!(sum([fast.as_str(), "nonsense"]), None);
        assert!(sum([]).unwrap().is_empty());
    }
}
