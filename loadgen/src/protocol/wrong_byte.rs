//! Every exchange notices a single wrong byte, wherever it is and however the replies are cut.

use proptest::{collection::vec, prelude::*};

use super::{
    Framing,
    cases::cases,
    dialogue::{Content, Dialogue, DialogueRequest, Message},
    exchange::{Awaited, Exchange, Heard, Visitor},
};

/// Requests of a client, whose replies are read.
const REQUESTS: u64 = 4;
const CLIENT: u32 = 3;

/// What a client sees of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// For each complete reply, its length, and whether it is the expected one.
    replies: Vec<(usize, bool)>,
    /// The offset in the stream of a byte that breaks the protocol or the comparison.
    wrong_at: Option<usize>,
    /// Bytes after the last complete reply.
    rest: usize,
}

impl Seen {
    fn is_perfect(&self) -> bool {
        self.replies.len() as u64 == REQUESTS
            && self.replies.iter().all(|(_, is_expected)| *is_expected)
            && self.wrong_at.is_none()
            && self.rest == 0
    }
}

/// Reads a stream of replies in pieces of these lengths, repeated, as a client does.
struct Read<'a> {
    stream: &'a [u8],
    lengths: &'a [usize],
}

impl Visitor for Read<'_> {
    type Output = Seen;

    fn visit<X: Exchange>(self, mut exchange: X) -> Seen {
        let mut seen = Seen { replies: Vec::new(), wrong_at: None, rest: 0 };
        let (mut reading, mut at) = (X::Reading::default(), 0);
        for length in self.lengths.iter().cycle() {
            let end = (at + length).min(self.stream.len());
            while at < end {
                let request = seen.replies.len() as u64;
                // A client that is owed no reply has written no byte of a request.
                let written = if request < REQUESTS { usize::MAX } else { 0 };
                let awaited = Awaited { client: CLIENT, request, offset: seen.rest, written };
                let bytes = &self.stream[at..end];
                match exchange.read(&mut reading, awaited, bytes) {
                    Ok(Heard::Partial) => {
                        seen.rest += bytes.len();
                        at = end;
                    }
                    Ok(Heard::Complete(reply)) => {
                        assert!((1..=bytes.len()).contains(&reply.length));
                        if !reply.is_expected {
                            let piece = &bytes[..reply.length];
                            let mismatch = exchange.describe_unexpected(&reading, awaited, piece);
                            assert_eq!((mismatch.client, mismatch.request), (CLIENT, request));
                        }
                        seen.replies.push((seen.rest + reply.length, reply.is_expected));
                        seen.rest = 0;
                        at += reply.length;
                        reading = X::Reading::default();
                    }
                    Err(wrong) => {
                        assert!(wrong.offset < bytes.len());
                        let mismatch = exchange.describe(awaited, wrong, bytes);
                        assert_eq!(mismatch.offset, seen.rest + wrong.offset);
                        assert_ne!(mismatch.expected, mismatch.got, "the description shows the difference");
                        seen.wrong_at = Some(at + wrong.offset);
                        return seen;
                    }
                }
            }
            if at == self.stream.len() {
                return seen;
            }
        }
        seen
    }
}

/// The requests of a client, one after the other.
struct Requests;

impl Visitor for Requests {
    type Output = Vec<u8>;

    fn visit<X: Exchange>(self, mut exchange: X) -> Vec<u8> {
        (0..REQUESTS).flat_map(|number| exchange.request(CLIENT, number).to_vec()).collect()
    }
}

fn dialogue(protocol: &'static str, content: Content, expect: &str, reply_size: Option<u64>) -> Dialogue {
    let framing = Framing { reply_size, host: "h".to_owned(), ..Framing::default() };
    let expect = Some(expect.parse().unwrap_or_else(|error| panic!("{expect}: {error}")));
    let request = DialogueRequest { protocol, framing, content, expect, reply_bytes_max: 10_000 };
    Dialogue::new(request).unwrap_or_else(|error| panic!("{protocol}: {error}"))
}

fn message(text: &str) -> Content {
    let arg = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Content::Messages(vec![Message { arg, file: None }])
}

/// A dialogue whose replies are known to the last byte, and a stream of them.
fn known() -> impl Strategy<Value = (Dialogue, Vec<u8>)> {
    let echoed = |dialogue: Dialogue, is_upper: bool| {
        let sent = dialogue.accept(7, 5, Requests);
        let replies = if is_upper { sent.to_ascii_uppercase() } else { sent };
        (dialogue, replies)
    };
    let expectation = |is_upper: bool| if is_upper { "upper" } else { "echo" };
    let numbered = (1..200_u64, any::<bool>()).prop_map(move |(size, is_upper)| {
        echoed(dialogue("echo", Content::Numbered(size), expectation(is_upper), None), is_upper)
    });
    let echo = ("[ -z]{1,60}", any::<bool>()).prop_map(move |(text, is_upper)| {
        let text = format!("1:{}", text.replace(['\\', '@'], "a"));
        echoed(dialogue("echo", message(&text), expectation(is_upper), None), is_upper)
    });
    let fields = any::<bool>().prop_map(move |is_upper| {
        let text = "1:{client} {request} {random:1..9999999} {fill:12} {uuid}";
        echoed(dialogue("echo", message(text), expectation(is_upper), None), is_upper)
    });
    let lines = ("[a-zA-Z ]{0,30}", any::<bool>()).prop_map(move |(text, is_upper)| {
        let text = format!("1:{text}{{request}}");
        echoed(dialogue("line", message(&text), expectation(is_upper), None), is_upper)
    });
    let equal = prop::sample::select(vec![
        ("fixed", "x", "HELLO", None),
        ("line", "x", "HELLO you\\n", None),
        ("resp", "GET key", "$5\\r\\nvalue\\r\\n", None),
        ("resp", "GET key", "*2\\r\\n:1\\r\\n+two\\r\\n", None),
        ("memcached", "get key", "VALUE key 0 5\\r\\nvalue\\r\\nEND\\r\\n", None),
        ("http", "GET /", "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nvalue", None),
        (
            "http",
            "GET /",
            "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\nabc\\r\\n0\\r\\n\\r\\n",
            None,
        ),
    ])
    .prop_map(|(protocol, request, reply, _): (_, _, &str, Option<u64>)| {
        let bytes = reply.replace("\\r", "\r").replace("\\n", "\n").into_bytes();
        let size = (protocol == "fixed").then_some(bytes.len() as u64);
        let dialogue = dialogue(protocol, message(request), &format!("equals:{reply}"), size);
        (dialogue, bytes.repeat(REQUESTS as usize))
    });
    prop_oneof![1 => numbered, 1 => echo, 1 => fields, 1 => lines, 3 => equal]
}

proptest! {
    #![proptest_config(cases(1_024))]

    #[test]
    fn a_single_wrong_byte_is_noticed_in_every_chunking(
        (dialogue, stream) in known(),
        lengths in vec(1..40_usize, 1..6),
        at in any::<prop::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let read = |stream: &[u8], lengths: &[usize]| dialogue.accept(7, 5, Read { stream, lengths });
        let whole = read(&stream, &[stream.len()]);
        prop_assert!(whole.is_perfect(), "{:?}", whole);
        prop_assert_eq!(&read(&stream, &[1]), &whole);
        prop_assert_eq!(&read(&stream, &lengths), &whole);
        let mut damaged = stream.clone();
        let at = at.index(stream.len());
        damaged[at] ^= change;
        for lengths in [&[stream.len()][..], &[1], &lengths] {
            let seen = read(&damaged, lengths);
            prop_assert!(!seen.is_perfect(), "byte {at} of {:?}", stream.escape_ascii().to_string());
            // Where every byte is compared, no byte before the wrong one is blamed. A head is blamed as a whole.
            let has_heads = ["resp", "memcached", "http"].contains(&dialogue.protocol);
            prop_assert!(has_heads || seen.wrong_at.is_none_or(|wrong| wrong >= at), "{:?}", seen);
        }
    }

    #[test]
    fn a_missing_byte_or_one_too_many_is_noticed(
        (dialogue, stream) in known(),
        lengths in vec(1..40_usize, 1..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let read = |stream: &[u8]| dialogue.accept(7, 5, Read { stream, lengths: &lengths });
        let at = at.index(stream.len());
        let mut fewer = stream.clone();
        fewer.remove(at);
        prop_assert!(!read(&fewer).is_perfect());
        let mut more = stream.clone();
        more.insert(at, byte);
        prop_assert!(!read(&more).is_perfect());
        more = [stream.as_slice(), &[byte]].concat();
        prop_assert!(!read(&more).is_perfect());
    }
}
