use super::{
    super::chunking::{each_chunking, replies},
    state::DEPTH_MAX,
    *,
};
use crate::protocol::template::At;

const OK: Status = Status::Plain;

/// Asserts that each text is one reply with this status, alone and in a stream of all of them.
fn each_is_a_reply(status: Status, texts: &[&str]) {
    for text in texts {
        each_chunking(&Resp, text.as_bytes(), &[(text.len(), status)]);
    }
    let ends: Vec<_> = texts.iter().map(|text| (text.len(), status)).collect();
    each_chunking(&Resp, texts.concat().as_bytes(), &ends);
}

fn malformed(text: &str) -> Malformed {
    let (_, malformed) = replies(&Resp, Asked::default(), &[text.as_bytes()]).unwrap_err();
    for cut in 1..text.len() {
        let pieces = [&text.as_bytes()[..cut], &text.as_bytes()[cut..]];
        assert!(replies(&Resp, Asked::default(), &pieces).is_err(), "{text:?} cut at {cut}");
    }
    malformed
}

fn request(text: &str) -> Result<String, String> {
    let template = Resp.request(&Template::parse(text).unwrap())?;
    let mut out = Vec::new();
    template.expand(&At { client: 7, request: 8, seed: 0 }, &mut out);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn every_type_of_resp2_is_a_reply() {
    each_is_a_reply(
        OK,
        &[
            "+OK\r\n",
            "+\r\n",
            ":1000\r\n",
            ":-1\r\n",
            "$6\r\nfoobar\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "$4\r\n\r\n\r\n\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n",
            "*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n$6\r\nfoobar\r\n",
            "*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Foo\r\n-Bar\r\n",
            "*3\r\n$3\r\nfoo\r\n$-1\r\n$3\r\nbar\r\n",
        ],
    );
}

#[test]
fn every_type_of_resp3_is_a_reply() {
    each_is_a_reply(
        OK,
        &[
            "_\r\n",
            "#t\r\n",
            "#f\r\n",
            ",1.23\r\n",
            ",-inf\r\n",
            ",nan\r\n",
            ",1.5e-7\r\n",
            "(3492890328409238509324850943850943825024385\r\n",
            "=15\r\ntxt:Some string\r\n",
            "*2\r\n*3\r\n:1\r\n$5\r\nhello\r\n:2\r\n#f\r\n",
            "%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n",
            "%0\r\n",
            "~5\r\n+orange\r\n+apple\r\n#t\r\n:100\r\n:999\r\n",
        ],
    );
}

#[test]
fn an_attribute_belongs_to_the_value_after_it() {
    each_is_a_reply(
        OK,
        &[
            "|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:2039123\r\n:9543892\r\n",
            "*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n",
            "|0\r\n+OK\r\n",
            "|1\r\n+a\r\n|1\r\n+b\r\n:1\r\n:2\r\n:3\r\n",
        ],
    );
    each_is_a_reply(Status::Error, &["|1\r\n+a\r\n-inner\r\n-ERR\r\n"]);
    each_is_a_reply(OK, &["|1\r\n+a\r\n-inner\r\n+OK\r\n"]);
}

#[test]
fn the_reply_follows_a_push_message() {
    each_is_a_reply(
        OK,
        &[
            ">3\r\n+message\r\n+somechannel\r\n+this is the message\r\n$9\r\nGet-Reply\r\n",
            ">0\r\n>1\r\n+invalidate\r\n:1\r\n",
        ],
    );
}

#[test]
fn streamed_strings_and_aggregates_end_with_their_marks() {
    each_is_a_reply(
        OK,
        &[
            "$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n",
            "$?\r\n;0\r\n",
            "*?\r\n:1\r\n:2\r\n:3\r\n.\r\n",
            "*?\r\n.\r\n",
            "%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n",
            "~?\r\n*?\r\n$?\r\n;0\r\n.\r\n%?\r\n.\r\n.\r\n",
            "*2\r\n*?\r\n.\r\n:1\r\n",
        ],
    );
}

#[test]
fn errors_at_the_top_have_their_status() {
    each_is_a_reply(
        Status::Error,
        &[
            "-ERR unknown command 'foobar'\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "!21\r\nSYNTAX invalid syntax\r\n",
            ">1\r\n+x\r\n-ERR\r\n",
        ],
    );
    each_chunking(&Resp, b"-ERR\r\n+OK\r\n", &[(6, Status::Error), (5, OK)]);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth| format!("{}:1\r\n", "*1\r\n".repeat(depth));
    let deepest = nested(DEPTH_MAX);
    each_chunking(&Resp, deepest.as_bytes(), &[(deepest.len(), OK)]);
    assert_eq!(malformed(&nested(DEPTH_MAX + 1)).expected, "at most 32 nested aggregates");
}

#[test]
fn wrong_bytes_are_found_at_their_place() {
    for (text, offset) in [
        ("HTTP/1.1 200 OK\r\n", 0),
        ("+OK\n", 3),
        ("+OK\rx", 4),
        (":12a\r\n", 3),
        ("#x\r\n", 1),
        ("_x\r\n", 1),
        ("$3\r\nabcd\r\n", 7),
        ("$x\r\n", 1),
        ("$\r\n", 1),
        ("$-2\r\n", 2),
        ("!-1\r\n", 1),
        ("=3\r\nabc\r\n", 2),
        ("$18446744073709551616\r\n", 20),
        ("%18446744073709551615\r\n", 22),
        (".\r\n", 0),
        ("%?\r\n+a\r\n.\r\n", 8),
        ("*1\r\n.\r\n", 4),
        ("*?\r\n|1\r\n+a\r\n:1\r\n.\r\n", 16),
        ("*1\r\n>1\r\n", 4),
        ("$?\r\n:1\r\n", 4),
        (">?\r\n", 1),
    ] {
        assert_eq!(malformed(text).offset, offset, "{text:?}");
    }
}

#[test]
fn a_command_is_an_array_of_its_words() {
    assert_eq!(request("PING").unwrap(), "*1\r\n$4\r\nPING\r\n");
    assert_eq!(request("SET key{client} 'a b'").unwrap(), "*3\r\n$3\r\nSET\r\n$4\r\nkey7\r\n$3\r\na b\r\n");
    assert_eq!(request("*1\\r\\n$4\\r\\nPING\\r\\n").unwrap(), "*1\r\n$4\r\nPING\r\n");
    assert!(request("  ").unwrap_err().contains("at least one word"));
    assert!(request("GET 'x").is_err());
}
