//! Tests of every protocol: the chunking of a stream changes nothing, and no bytes break a framer.

mod streams;

use proptest::{collection::vec, prelude::*};

use self::streams::Reply;
use super::{
    Asked, End, Malformed, Progress, Protocol, Status, cases::cases, fixed::Fixed, http::Http,
    length::Length, line::Line, memcached::Memcached, resp::Resp,
};

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

/// Cases for each property: all of them take a few seconds.
const CASES: u32 = 1024;

/// Cuts a stream into pieces, each as long as the next of these lengths, repeated.
fn cut<'a>(stream: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = stream;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..4_usize, 1..40_usize], 1..8)
}

/// A valid stream has its replies as a whole, byte by byte, and in these pieces.
fn agrees<P: Protocol>(protocol: &P, expected: &[Reply], lengths: &[usize]) -> Result<(), TestCaseError> {
    let stream = expected.iter().map(|(bytes, _)| bytes.as_slice()).collect::<Vec<_>>().concat();
    let expected: Vec<_> = expected.iter().map(|(bytes, status)| (bytes.len(), *status)).collect();
    let whole = replies(protocol, Asked::default(), &[&stream]);
    let found =
        whole.as_ref().map(|(ends, rest)| (ends.iter().map(|end| (end.length, end.status)).collect(), *rest));
    prop_assert_eq!(found, Ok((expected, 0)));
    prop_assert_eq!(&replies(protocol, Asked::default(), &cut(&stream, &[1])), &whole);
    prop_assert_eq!(&replies(protocol, Asked::default(), &cut(&stream, lengths)), &whole);
    Ok(())
}

/// Any bytes give the same replies in every chunking, and no panic. A wrong byte may be found later in small pieces, so the last
/// piece may leave it open.
fn survives<P: Protocol>(protocol: &P, stream: &[u8], lengths: &[usize]) -> Result<(), TestCaseError> {
    for asked in [Asked::default(), Asked { head_only: true, ..Asked::default() }] {
        let whole = replies(protocol, asked, &[stream]);
        for pieces in [cut(stream, &[1]), cut(stream, lengths)] {
            match (&whole, replies(protocol, asked, &pieces)) {
                (Ok(whole), Ok(found)) => prop_assert_eq!(whole, &found),
                (Err((whole, wrong)), Err((ends, found))) => {
                    prop_assert_eq!(whole, &ends);
                    prop_assert_eq!(wrong.expected, found.expected);
                }
                (Err((whole, _)), Ok((ends, _))) => prop_assert_eq!(whole, &ends),
                (Ok(whole), Err(wrong)) => prop_assert!(false, "{:?} and {:?}", whole, wrong),
            }
        }
    }
    Ok(())
}

/// Changes, removes, repeats or inserts bytes of a stream.
fn mutated(expected: &[Reply], changes: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut stream = expected.iter().map(|(bytes, _)| bytes.as_slice()).collect::<Vec<_>>().concat();
    for (place, change, byte) in changes {
        if stream.is_empty() {
            break;
        }
        let at = place % stream.len();
        match change % 5 {
            0 => stream[at] = *byte,
            1 => stream.insert(at, *byte),
            2 => drop(stream.remove(at)),
            3 => stream.truncate(at),
            _ => stream.extend_from_within(at..),
        }
    }
    stream
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n0123456789?-;:.*$ ".to_vec())];
    vec((any::<usize>(), any::<u8>(), byte), 1..4)
}

/// The two properties of a protocol, each a test of its own.
macro_rules! properties {
    ($($name:ident: $strategy:expr, |$generated:pat_param| $protocol:expr, $expected:expr;)*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(cases(CASES))]

                #[test]
                fn valid_streams_have_their_replies_in_every_chunking($generated in $strategy, lengths in lengths()) {
                    agrees(&$protocol, &$expected, &lengths)?;
                }

                #[test]
                fn no_bytes_break_it($generated in $strategy, changes in changes(), lengths in lengths(), random in streams::data()) {
                    let protocol = $protocol;
                    survives(&protocol, &mutated(&$expected, &changes), &lengths)?;
                    survives(&protocol, &random, &lengths)?;
                }
            }
        }
    )*};
}

properties! {
    fixed: (1..9_u64, vec(any::<u8>(), 0..40)), |(size, bytes)| Fixed::new(size).unwrap(),
        bytes.chunks_exact(size as usize).map(|reply| (reply.to_vec(), Status::Plain)).collect::<Vec<_>>();
    line: streams::line(), |(delimiter, expected)| Line::new(&delimiter).unwrap(), expected;
    length: streams::length(), |((offset, width, order, adjustment), expected)|
        Length::new(offset, width, order, adjustment).unwrap(), expected;
    resp: streams::resp(), |expected| Resp, expected;
    memcached: streams::memcached(), |expected| Memcached, expected;
    http: streams::http(), |expected| Http::new("h").unwrap(), expected;
}
