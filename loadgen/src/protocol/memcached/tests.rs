use super::{
    super::chunking::{each_chunking, replies},
    *,
};

const OK: Status = Status::Plain;

/// Asserts that each text is one reply with this status, alone and in a stream of all of them.
fn each_is_a_reply(status: Status, texts: &[&str]) {
    for text in texts {
        each_chunking(&Memcached, text.as_bytes(), &[(text.len(), status)]);
    }
    let ends: Vec<_> = texts.iter().map(|text| (text.len(), status)).collect();
    each_chunking(&Memcached, texts.concat().as_bytes(), &ends);
}

fn malformed(text: &str) -> Malformed {
    replies(&Memcached, Asked::default(), &[text.as_bytes()]).unwrap_err().1
}

fn request(text: &str) -> Result<Vec<u8>, String> {
    let request = Memcached.request(&Template::parse(text).unwrap())?;
    let mut out = Vec::new();
    request.expand(&crate::protocol::template::At { client: 7, request: 8, seed: 0 }, &mut out);
    Ok(out)
}

#[test]
fn a_reply_of_one_line_ends_with_it() {
    each_is_a_reply(
        OK,
        &[
            "STORED\r\n",
            "NOT_STORED\r\n",
            "EXISTS\r\n",
            "NOT_FOUND\r\n",
            "DELETED\r\n",
            "TOUCHED\r\n",
            "OK\r\n",
            "VERSION 1.6.38\r\n",
            "18446744073709551615\r\n",
            "42  \r\n",
            "RESET\r\n",
            "BUSY currently processing crawler request\r\n",
        ],
    );
}

#[test]
fn values_go_on_until_the_end() {
    each_is_a_reply(
        OK,
        &[
            "END\r\n",
            "VALUE key 0 5\r\nhello\r\nEND\r\n",
            "VALUE key 0 5 17\r\nhello\r\nVALUE key2 1 0 18\r\n\r\nEND\r\n",
            "VALUE key 0 12\r\nEND\r\nEND\r\nEN\r\nEND\r\n",
        ],
    );
}

#[test]
fn statistics_go_on_until_the_end() {
    each_is_a_reply(
        OK,
        &[
            "STAT pid 1\r\nSTAT version 1.6.38\r\nEND\r\n",
            "ITEM key [5 b; 0 s]\r\nEND\r\n",
            "key=a exp=-1 la=1 cas=2 fetch=no cls=1 size=63\r\nEND\r\n",
            "mg a\r\nmg b\r\nEN\r\n",
        ],
    );
}

#[test]
fn meta_commands_have_a_line_or_a_block() {
    each_is_a_reply(
        OK,
        &[
            "HD\r\n",
            "HD c17 t-1\r\n",
            "EN\r\n",
            "NF\r\n",
            "NS\r\n",
            "EX\r\n",
            "MN\r\n",
            "ME key exp=-1 la=3 cas=2 fetch=no cls=1 size=63\r\n",
            "VA 5\r\nhello\r\n",
            "VA 4 t-1 kkey\r\nEN\r\n\r\n",
            "VA 0\r\n\r\n",
        ],
    );
}

#[test]
fn errors_have_their_status() {
    each_is_a_reply(
        Status::Error,
        &[
            "ERROR\r\n",
            "CLIENT_ERROR bad data chunk\r\n",
            "SERVER_ERROR object too large for cache\r\n",
            // The server runs out of memory in the middle of a reply.
            "VALUE key 0 5\r\nhello\r\nSERVER_ERROR out of memory writing get response\r\n",
        ],
    );
}

#[test]
fn wrong_bytes_are_found() {
    for (text, offset) in [
        ("+OK\r\n", 0),
        ("STORED\n", 0),
        ("VALUE key 0\r\n", 0),
        ("VALUE key 0 x\r\n", 0),
        ("VA\r\n", 0),
        ("VALUE key 0 5\r\nhello!\r\n", 20),
        ("VALUE key 0 5\r\nhello\r\nSTORED\r\n", 22),
        ("\r\n", 0),
    ] {
        assert_eq!(malformed(text).offset, offset, "{text:?}");
    }
}

#[test]
fn a_line_is_bounded() {
    let longest = format!("VERSION {}\r\n", "x".repeat(LINE_MAX - 10));
    let stream = longest.as_bytes();
    for pieces in [vec![stream], vec![&stream[..9], &stream[9..]], stream.chunks(1).collect()] {
        assert!(replies(&Memcached, Asked::default(), &pieces).is_ok());
    }
    let longer = format!("VERSION {}\r\n", "x".repeat(LINE_MAX - 9));
    let stream = longer.as_bytes();
    for pieces in [vec![stream], vec![&stream[..9], &stream[9..]], stream.chunks(1).collect()] {
        assert_eq!(replies(&Memcached, Asked::default(), &pieces).unwrap_err().1, TOO_LONG);
    }
}

#[test]
fn a_request_ends_with_its_line_or_its_data() {
    assert_eq!(request("get key{client}").unwrap(), b"get key7\r\n");
    assert_eq!(request("get a b\\r\\n").unwrap(), b"get a b\r\n");
    assert_eq!(request("set key 0 0 5\\r\\nhello").unwrap(), b"set key 0 0 5\r\nhello\r\n");
    assert_eq!(request("set key 0 0 8\\r\\n{fill:8}\\r\\n").unwrap().len(), 25);
    assert_eq!(request("ms key 2 T0\\r\\nhi").unwrap(), b"ms key 2 T0\r\nhi\r\n");
}

#[test]
fn a_request_without_one_reply_is_refused() {
    for (text, part) in [
        ("", "has a command"),
        ("set key 0 0 5 noreply\\r\\nhello", "leave noreply out"),
        ("delete key noreply", "leave noreply out"),
        ("mg key v q", "leave q out"),
        ("quit", "quit has no reply"),
        ("set key 0 0 6\\r\\nhello", "has 5 bytes, and its line says 6"),
        ("set key 0 0 5", "needs a data block of 5 bytes"),
        ("set key 0 0\\r\\nhello", "write it as in set key 0 0 5"),
        ("get a\\r\\nget b", "a request is one command"),
        ("get a\\n", "end it with \\r\\n"),
    ] {
        let error = request(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}
