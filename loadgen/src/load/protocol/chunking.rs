//! Tests of every protocol: the chunking of a stream changes nothing, and no bytes break a framer.

use super::{Asked, End, Malformed, Progress, Protocol, Status};

/// Reads these pieces. The ends of the replies, whose lengths are those of the whole replies, and the bytes after the last one.
pub(super) fn replies<P: Protocol>(
    protocol: &P,
    asked: Asked,
    pieces: &[&[u8]],
) -> Result<(Vec<End>, usize), (Vec<End>, Malformed)> {
    let mut reading = P::Reading::default();
    let mut ends = Vec::new();
    let mut length = 0;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match protocol.read(&mut reading, asked, rest) {
                Ok(Progress::Partial) => {
                    length += rest.len();
                    rest = &[];
                }
                Ok(Progress::Complete(end)) => {
                    assert!((1..=rest.len()).contains(&end.length), "{end:?} in {} bytes", rest.len());
                    ends.push(End { length: length + end.length, ..end });
                    length = 0;
                    rest = &rest[end.length..];
                }
                Err(malformed) => {
                    assert!(malformed.offset < rest.len(), "{malformed:?} in {} bytes", rest.len());
                    return Err((ends, malformed));
                }
            }
        }
    }
    Ok((ends, length))
}

/// Asserts that a stream has these replies: as a whole, in two pieces cut anywhere, and byte by byte.
pub(super) fn each_chunking<P: Protocol>(protocol: &P, stream: &[u8], expected: &[(usize, Status)]) {
    each_chunking_of(protocol, Asked::default(), stream, expected);
}

/// As [`each_chunking`], for replies to these requests.
pub(super) fn each_chunking_of<P: Protocol>(
    protocol: &P,
    asked: Asked,
    stream: &[u8],
    expected: &[(usize, Status)],
) {
    let check = |pieces: &[&[u8]]| {
        let (ends, _) = replies(protocol, asked, pieces).unwrap_or_else(|error| panic!("{error:?}"));
        let ends: Vec<_> = ends.iter().map(|end| (end.length, end.status)).collect();
        assert_eq!(ends, expected, "in pieces of {:?}", pieces.iter().map(|p| p.len()).collect::<Vec<_>>());
    };
    check(&[stream]);
    for cut in 1..stream.len() {
        check(&[&stream[..cut], &stream[cut..]]);
    }
    check(&stream.chunks(1).collect::<Vec<_>>());
}
