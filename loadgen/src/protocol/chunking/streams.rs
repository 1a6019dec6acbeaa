//! Valid streams of replies, generated.

use proptest::{collection::vec, prelude::*};

use super::super::{Status, length::ByteOrder};

/// A reply and its status.
pub(super) type Reply = (Vec<u8>, Status);

/// Bytes that often look like parts of a protocol.
pub(super) fn data() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec![
            "\r\n", "\n", "\r", "END\r\n", "$3\r\n", "*1\r\n", "0\r\n\r\n", ";0\r\n", ".\r\n", "-ERR\r\n", "HTTP/1.1 200 OK\r\n\r\n",
        ])
        .prop_map(|text: &str| text.as_bytes().to_vec()),
    ];
    vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

/// A delimiter, and replies that end with its first occurrence.
pub(super) fn line() -> impl Strategy<Value = (Vec<u8>, Vec<Reply>)> {
    // Two letters, so that delimiters overlap themselves and the text.
    let letters = |length| vec(prop::sample::select(b"ab".to_vec()), length);
    (letters(1..=5_usize), vec(letters(0..=20), 1..6)).prop_map(|(delimiter, texts)| {
        let reply = |text: Vec<u8>| {
            let mut bytes = [text, delimiter.clone()].concat();
            let first = bytes.windows(delimiter.len()).position(|part| part == delimiter);
            bytes.truncate(first.expect("the delimiter was added") + delimiter.len());
            (bytes, Status::Plain)
        };
        let replies = texts.into_iter().map(reply).collect();
        (delimiter, replies)
    })
}

/// The settings of a length field, and replies.
pub(super) fn length() -> impl Strategy<Value = ((usize, usize, ByteOrder, i64), Vec<Reply>)> {
    let order = prop_oneof![Just(ByteOrder::Big), Just(ByteOrder::Little)];
    ((0..4_usize, 1..=8_usize, order, -40..=0_i64), vec(data(), 1..6)).prop_map(|(settings, contents)| {
        let (offset, width, order, adjustment) = settings;
        let reply = |mut content: Vec<u8>| {
            // With the adjustment, the length fits one byte.
            content.truncate(200);
            let value = content.len() as u64 + adjustment.unsigned_abs();
            let field = match order {
                ByteOrder::Big => value.to_be_bytes()[8 - width..].to_vec(),
                ByteOrder::Little => value.to_le_bytes()[..width].to_vec(),
            };
            ([vec![0xca; offset], field, content].concat(), Status::Plain)
        };
        (settings, contents.into_iter().map(reply).collect())
    })
}

/// Replies of Redis, with attributes and push messages before them.
pub(super) fn resp() -> impl Strategy<Value = Vec<Reply>> {
    let push = vec(resp_value(), 0..3).prop_map(|elements| resp_aggregate('>', &elements));
    let reply = (vec(prop_oneof![push, resp_attribute(resp_value())], 0..2), resp_value());
    vec(
        reply.prop_map(|(before, value)| {
            let status = match value[0] {
                b'-' | b'!' => Status::Error,
                _ => Status::Plain,
            };
            ([before.concat(), value].concat(), status)
        }),
        1..5,
    )
}

/// A value of RESP3, nested, which begins with its own type.
fn resp_value() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "[+-][ -~]{0,9}\r\n",
        ":-?[0-9]{1,9}\r\n",
        "#[tf]\r\n",
        ",-?[0-9]\\.[0-9]{1,3}(e-?[0-9])?\r\n",
        "\\(-?[0-9]{1,30}\r\n",
        "_\r\n",
        "\\$-1\r\n",
        "\\*-1\r\n",
    ]
    .prop_map(String::into_bytes);
    let string = (prop_oneof![Just('$'), Just('!')], data()).prop_map(|(kind, data)| sized(kind, &data));
    let verbatim = data().prop_map(|data| sized('=', &[b"txt:".as_slice(), &data].concat()));
    let streamed =
        vec(data().prop_filter("a chunk has bytes", |data| !data.is_empty()), 0..3).prop_map(|chunks| {
            let chunks: Vec<_> = chunks.iter().map(|chunk| sized(';', chunk)).collect();
            [b"$?\r\n".to_vec(), chunks.concat(), b";0\r\n".to_vec()].concat()
        });
    prop_oneof![line, string, verbatim, streamed].prop_recursive(5, 40, 4, |inner| {
        let inner = inner.boxed();
        let element = prop_oneof![
            4 => inner.clone(),
            1 => (resp_attribute(inner.clone()), inner).prop_map(|(attribute, value)| [attribute, value].concat()),
        ];
        let kind = prop::sample::select(vec!['*', '~', '%']);
        (kind, any::<bool>(), vec(element, 0..5)).prop_map(|(kind, streamed, mut elements)| {
            if kind == '%' && elements.len() % 2 == 1 {
                elements.pop();
            }
            if streamed {
                return [format!("{kind}?\r\n").into_bytes(), elements.concat(), b".\r\n".to_vec()].concat();
            }
            resp_aggregate(kind, &elements)
        })
    })
}

fn resp_attribute(value: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (0..2_usize, value).prop_map(|(pairs, value)| resp_aggregate('|', &vec![value; 2 * pairs]))
}

fn resp_aggregate(kind: char, elements: &[Vec<u8>]) -> Vec<u8> {
    let count = if matches!(kind, '%' | '|') { elements.len() / 2 } else { elements.len() };
    [format!("{kind}{count}\r\n").into_bytes(), elements.concat()].concat()
}

/// A string or a chunk of RESP.
fn sized(kind: char, data: &[u8]) -> Vec<u8> {
    [format!("{kind}{}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// Replies of memcached.
pub(super) fn memcached() -> impl Strategy<Value = Vec<Reply>> {
    let line =
        prop::sample::select(vec!["STORED", "NOT_FOUND", "OK", "42", "HD c1", "EN", "VERSION 1.6", "MN"])
            .prop_map(|line| (format!("{line}\r\n").into_bytes(), Status::Plain));
    let error = prop::sample::select(vec!["ERROR", "CLIENT_ERROR bad", "SERVER_ERROR out of memory"])
        .prop_map(|line| (format!("{line}\r\n").into_bytes(), Status::Error));
    let block = |head: String, data: &[u8]| [head.as_bytes(), data, b"\r\n"].concat();
    let values = vec(data(), 0..4).prop_map(move |items| {
        let items = items.iter().map(|data| block(format!("VALUE key 0 {}\r\n", data.len()), data));
        ([items.collect::<Vec<_>>().concat(), b"END\r\n".to_vec()].concat(), Status::Plain)
    });
    let meta =
        data().prop_map(move |data| (block(format!("VA {} t-1\r\n", data.len()), &data), Status::Plain));
    let stats = vec("STAT [a-z:_]{1,9} [ -~]{0,9}\r\n", 0..4)
        .prop_map(|lines| ((lines.concat() + "END\r\n").into_bytes(), Status::Plain));
    vec(prop_oneof![line, error, values, meta, stats], 1..6)
}

/// Replies of HTTP, none of which ends with the connection.
pub(super) fn http() -> impl Strategy<Value = Vec<Reply>> {
    let headers = vec("[A-Z][a-z]{0,5}-X: [ -~]{0,12}\r\n", 0..4).prop_map(|lines| lines.concat());
    let sized = data().prop_map(|data| (format!("Content-Length: {}\r\n", data.len()), data));
    let chunk = (data(), "(;[a-z=]{0,6})?")
        .prop_filter("a chunk has bytes", |(data, _)| !data.is_empty())
        .prop_map(|(data, extension)| {
            [format!("{:x}{extension}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat()
        });
    let chunked =
        (vec(chunk, 0..4), vec("[A-Z][a-z]{0,5}: [a-z]{0,5}\r\n", 0..3)).prop_map(|(chunks, trailers)| {
            let body = [chunks.concat(), format!("0\r\n{}\r\n", trailers.concat()).into_bytes()].concat();
            ("Transfer-Encoding: chunked\r\n".to_owned(), body)
        });
    let body = (200..600_u16, prop_oneof![sized, chunked]).prop_map(|(status, (header, body))| {
        let body = if matches!(status, 204 | 304) { Vec::new() } else { body };
        (status, header, body)
    });
    let interim =
        prop_oneof![Just(""), Just("HTTP/1.1 100 Continue\r\n\r\n"), Just("HTTP/1.1 103 X\r\nA: b\r\n\r\n")];
    let reply =
        (interim, headers, body, 0..=1).prop_map(|(interim, headers, (status, header, body), minor)| {
            let head = format!("{interim}HTTP/1.{minor} {status} Some Reason\r\n{headers}{header}\r\n");
            ([head.into_bytes(), body].concat(), Status::Http(status))
        });
    vec(reply, 1..5)
}
