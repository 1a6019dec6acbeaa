//! Histograms as text: the HdrHistogram format (V2, compressed) in base64. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};

use crate::engine::latency::Latency as Samples;

/// A histogram in base64, as [`deserialise`] reads it.
pub(crate) fn serialise(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("writing into memory does not fail, and the bounds are within the format's");
    STANDARD.encode(bytes)
}

/// Reads the text of [`serialise`]. None if the text is something else.
pub(crate) fn deserialise(hdr: &str) -> Option<Histogram<u64>> {
    Deserializer::new().deserialize(&mut STANDARD.decode(hdr).ok()?.as_slice()).ok()
}

/// The sum of several serialised histograms. None if one of them cannot be read.
pub(crate) fn sum<'a>(hdrs: impl IntoIterator<Item = &'a str>) -> Option<Histogram<u64>> {
    let mut sum = Samples::default().histogram().clone();
    hdrs.into_iter().try_for_each(|hdr| sum.add(deserialise(hdr)?).ok())?;
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

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
