//! Requests from a file (`--messages`): one in a line, as text or as JSON. Pure, except for the reader.

mod collector;

use std::io::{self, BufRead};

use self::collector::Collector;
use crate::protocol::template::At;

/// The largest file in bytes: 1 GiB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;
/// The maximum number of requests. Each takes about 80 bytes besides its own, so all take less than 1 GiB besides.
pub(crate) const REQUESTS_MAX: usize = 10_000_000;

/// The purpose of the draw that chooses a request.
const PURPOSE: u64 = u64::MAX - 1;

/// Requests from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// From 1 to [`REQUESTS_MAX`] requests, in the order of the file.
    pub messages: Vec<RecordedMessage>,
    /// The names of the kinds, in the order of their first requests. At most [`KINDS_MAX`](crate::protocol::mix::KINDS_MAX).
    pub kinds: Vec<String>,
}

/// A request from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedMessage {
    /// An index of [`Recorded::kinds`].
    pub kind: usize,
    /// The request, without what the protocol adds. From 1 to
    /// [`SIZE_MAX`](crate::protocol::message::SIZE_MAX) bytes.
    pub bytes: Vec<u8>,
    /// The time since the first request, if the file has times. It does not decrease from request to request. All requests of a
    /// file have one, or none has.
    pub at_ns: Option<u64>,
}

/// Why a file has no requests.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordedError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
    /// A wrong line.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, from 1. Blank lines count.
        line: u64,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// More than [`FILE_BYTES_MAX`].
    #[error("the file is larger than {FILE_BYTES_MAX} bytes (1 GiB), the maximum: use a part of it")]
    TooLarge,
    /// More than [`REQUESTS_MAX`].
    #[error("the file has more than {REQUESTS_MAX} requests, the maximum: use a part of it")]
    TooMany,
    /// Only blank lines.
    #[error("the file has no request: write one in each line")]
    Empty,
}

impl Recorded {
    /// Reads a file. Blank lines are skipped, and a line may end in CR LF.
    ///
    /// If the first line begins with `{`, each line is an object of JSON with these fields:
    ///
    /// | field | meaning |
    /// |---|---|
    /// | `message` | the request as a text, with JSON's escapes only |
    /// | `base64` | the request in base64, instead of `message` |
    /// | `kind` | optional: the name of its row in the report |
    /// | `at_s` | optional: its time in seconds, from any starting point, for a replay |
    ///
    /// Otherwise, each line is a request with the escapes of [`Template`](crate::protocol::template::Template), without fields. A line
    /// that begins with a brace is then written as `\{`.
    ///
    /// # Errors
    /// The first wrong line, or a file without requests or beyond a bound.
    pub(crate) fn read(reader: impl BufRead) -> Result<Self, RecordedError> {
        Self::read_bounded(reader, FILE_BYTES_MAX, REQUESTS_MAX)
    }

    fn read_bounded(
        reader: impl BufRead,
        bytes_max: u64,
        requests_max: usize,
    ) -> Result<Self, RecordedError> {
        // One byte more than the maximum tells a larger file.
        let mut reader = reader.take(bytes_max + 1);
        let mut collector = Collector::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if reader.limit() == 0 {
                return Err(RecordedError::TooLarge);
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if collector.messages.len() == requests_max {
                return Err(RecordedError::TooMany);
            }
            collector.line(&line).map_err(|problem| RecordedError::Line { line: number, problem })?;
        }
        if collector.messages.is_empty() {
            return Err(RecordedError::Empty);
        }
        Ok(Self { messages: collector.messages, kinds: collector.kinds })
    }
}

/// Which request of a file a request of the load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The load takes them in turn, and begins again after the last one. Request k of client c takes number k * clients + c, so
    /// the clients share one pass over the file.
    InOrder,
    /// Each is drawn from the seed.
    Drawn,
}

impl Order {
    /// The index of a request among `count` requests, which is at least 1 and at most [`REQUESTS_MAX`]. `clients` is the number of
    /// clients of the load.
    #[inline]
    pub(crate) fn index(self, at: &At, clients: u32, count: usize) -> usize {
        let count = count as u64;
        let index = match self {
            // The remainders are below 2^24, and so the sum of a product and a client fits.
            Order::InOrder => {
                ((at.request % count) * (u64::from(clients) % count) + u64::from(at.client)) % count
            }
            Order::Drawn => at.below(PURPOSE, count),
        };
        index as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::SIZE_MAX;

    fn read(text: impl AsRef<[u8]>) -> Result<Recorded, String> {
        Recorded::read(text.as_ref()).map_err(|error| error.to_string())
    }

    fn message(kind: usize, bytes: &[u8], at_ns: Option<u64>) -> RecordedMessage {
        RecordedMessage { kind, bytes: bytes.to_vec(), at_ns }
    }

    #[test]
    fn plain_lines_have_escapes_and_no_fields() {
        let recorded = read("\n \t\nGET {client} \r\n\\{\"a\": 1}\\r\\n\\xff\n\n  last").unwrap();
        let bytes: [&[u8]; 3] = [b"GET {client} ", b"{\"a\": 1}\r\n\xff", b"  last"];
        assert_eq!(recorded.messages, bytes.map(|bytes| message(0, bytes, None)));
        assert_eq!(recorded.kinds, ["message"]);
    }

    #[test]
    fn lines_of_json_have_kinds_and_times() {
        let text = r#"
            {"message": "GET {a}\\n\n", "kind": "get", "at_s": 1700000000.25}

            {"base64": "AP8=", "at_s": 1700000000.25}
            {"at_s": 1700000001.5, "kind": "get", "message": "é"}
        "#;
        let recorded = read(text).unwrap();
        let expected = [
            message(0, b"GET {a}\\n\n", Some(0)),
            message(1, b"\x00\xff", Some(0)),
            message(0, "é".as_bytes(), Some(1_250_000_000)),
        ];
        assert_eq!(recorded.messages, expected);
        assert_eq!(recorded.kinds, ["get", "message"]);
        assert_eq!(read("{\"message\": \"x\", \"kind\": null}").unwrap().messages, [message(0, b"x", None)]);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        for (given, expected) in [
            ("", "the file has no request: write one in each line"),
            (" \n\r\n", "the file has no request"),
            ("a\n\nb\\q", "line 3: \\q at byte 1 is no escape: the escapes are"),
            (
                "{\"messag\": \"x\"}",
                "line 1: unknown field `messag`, expected one of `message`, `base64`, `kind`, `at_s` at column 9",
            ),
            ("{\"a\": 1}", "if the lines are plain text, begin this one with \\{"),
            (
                "\n{\"message\": \"x\"}\nPING",
                "line 3: expected value at column 1: write an object, as in {\"message\": \"PING\"}",
            ),
            ("{\"message\": \"x\"} y", "line 1: trailing characters at column 18"),
            ("{\"kind\": \"x\"}", "line 1: it has no message: add \"message\" or \"base64\""),
            (
                "{\"message\": \"x\", \"base64\": \"AA==\"}",
                "line 1: it has both message and base64: remove one",
            ),
            ("{\"base64\": \"A\"}", "line 1: base64 cannot be decoded"),
            ("{\"message\": \"\"}", "line 1: the request is empty: write at least one byte"),
            (
                "{\"message\": \"x\", \"kind\": \"\"}",
                "line 1: the kind \"\" is no name: use from 1 to 32 printable characters",
            ),
            ("{\"message\": \"x\", \"kind\": \"a\\n\"}", "line 1: the kind \"a\\n\" is no name"),
            (
                "{\"message\": \"x\", \"at_s\": -1}",
                "line 1: at_s -1 is out of range: it must be from 0 to 10000000000 seconds",
            ),
            (
                "{\"message\": \"x\", \"at_s\": 2}\n{\"message\": \"x\", \"at_s\": 1.5}",
                "line 2: at_s 1.5 is before 2, the time of the request before: sort the requests by time",
            ),
            (
                "{\"message\": \"x\", \"at_s\": 2}\n{\"message\": \"x\"}",
                "line 2: some requests have at_s and others have not",
            ),
            (
                "{\"message\": \"x\"}\n{\"message\": \"x\", \"at_s\": 2}",
                "line 2: some requests have at_s and others have not",
            ),
        ] {
            let error = read(given).unwrap_err();
            assert!(error.contains(expected), "{given}: {error}");
        }
        let error = read(b"a\nb\xff").unwrap_err();
        assert!(error.contains("line 2: byte 1 is not UTF-8: write such a byte as \\xHH"), "{error}");
    }

    #[test]
    fn the_number_of_kinds_and_the_size_of_a_request_are_bounded() {
        let lines = |count| {
            (0..count)
                .map(|kind| format!("{{\"message\": \"x\", \"kind\": \"k{kind}\"}}\n"))
                .collect::<String>()
        };
        assert_eq!(read(lines(64)).unwrap().kinds.len(), 64);
        let error = read(lines(65)).unwrap_err();
        assert_eq!(error, "line 65: the kind \"k64\" is one too many: the maximum is 64 kinds");
        let error = read(vec![b'x'; SIZE_MAX + 1]).unwrap_err();
        assert_eq!(error, "line 1: the request has 67108865 bytes: the maximum is 67108864 (64 MiB)");
    }

    #[test]
    fn a_file_is_bounded_in_bytes_and_in_requests() {
        let read = |text: &str| Recorded::read_bounded(text.as_bytes(), 8, 3);
        assert_eq!(read("a\nb\n\nc\n\n").unwrap().messages.len(), 3);
        for (text, is_expected) in [
            ("a\nb\n\nc\n\n\n", (|error| matches!(error, RecordedError::TooLarge)) as fn(_) -> _),
            ("a23456789", |error| matches!(error, RecordedError::TooLarge)),
            ("a\nb\nc\nd\n", |error| matches!(error, RecordedError::TooMany)),
        ] {
            assert!(is_expected(read(text).unwrap_err()), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let error = Recorded::read(io::BufReader::new(Broken)).unwrap_err();
        assert_eq!(error.to_string(), "the file cannot be read");
    }

    #[test]
    fn the_clients_share_one_pass_over_the_file() {
        let index = |client, request| Order::InOrder.index(&At { client, request, seed: 0 }, 3, 7);
        let by_request: Vec<_> =
            (0..5).flat_map(|request| (0..3).map(move |client| index(client, request))).collect();
        assert_eq!(by_request, [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0]);
        let far = At { client: 999_999, request: u64::MAX, seed: 0 };
        let exact = (u128::from(u64::MAX) * 1_000_000 + 999_999) % REQUESTS_MAX as u128;
        assert_eq!(Order::InOrder.index(&far, 1_000_000, REQUESTS_MAX) as u128, exact);
        assert_eq!(Order::InOrder.index(&far, 1_000_000, 1), 0);
    }

    /// This pins the load: a later version must draw the same requests from the same seed.
    #[test]
    fn a_seed_draws_these_requests() {
        let index = |request| Order::Drawn.index(&At { client: 2, request, seed: 0 }, 3, 1000);
        assert_eq!([0, 1, 2, 3, 4].map(index), [432, 315, 529, 154, 204]);
        let mut counts = [0_u32; 10];
        (0..10_000).for_each(|request| counts[index(request) / 100] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
