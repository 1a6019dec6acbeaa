use super::{
    super::chunking::{each_chunking, each_chunking_of, replies},
    *,
};

const HEAD_ONLY: Asked = Asked { head_only: true, request_bytes: 0 };

fn http() -> Http {
    Http::new("localhost:8080").unwrap()
}

/// The only end in this stream.
fn end(stream: &str) -> End {
    let (ends, rest) = replies(&http(), Asked::default(), &[stream.as_bytes()]).unwrap();
    assert_eq!((ends.len(), rest), (1, 0), "{stream}");
    ends[0]
}

fn malformed(stream: &str) -> &'static str {
    for pieces in [vec![stream.as_bytes()], stream.as_bytes().chunks(1).collect()] {
        assert!(replies(&http(), Asked::default(), &pieces).is_err(), "{stream:?} in {}", pieces.len());
    }
    replies(&http(), Asked::default(), &[stream.as_bytes()]).unwrap_err().1.expected
}

fn request(text: &str) -> Result<String, String> {
    let template = http().request(&Template::parse(text).unwrap())?;
    let mut out = Vec::new();
    template.expand(&crate::protocol::template::At { client: 7, request: 8, seed: 0 }, &mut out);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_body_has_the_length_of_its_header() {
    let (one, two) =
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 404 \r\ncontent-length:0\r\n\r\n");
    each_chunking(
        &http(),
        format!("{one}{two}{one}").as_bytes(),
        &[(one.len(), Status::Http(200)), (two.len(), Status::Http(404)), (one.len(), Status::Http(200))],
    );
}

#[test]
fn chunks_may_have_extensions_and_trailers() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
    for body in [
        "0\r\n\r\n",
        "4\r\nWiki\r\n5\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\n\r\n",
        "5;name=value\r\nhello\r\n00 ; last\r\nExpires: never\r\nEtag: \"x\"\r\n\r\n",
        "a\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
    ] {
        let stream = format!("{head}{body}");
        each_chunking(&http(), stream.as_bytes(), &[(stream.len(), Status::Http(200))]);
    }
    for (body, expected) in [
        ("x\r\n", "the size of a chunk"),
        ("\r\n", "the size of a chunk"),
        ("1000000000000000\r\n", "the size of a chunk"),
        ("1\n", "the size of a chunk"),
        ("1\r\nab\r\n", "after the bytes of a chunk"),
        ("1;a\nb", "after the size of a chunk"),
    ] {
        assert!(malformed(&format!("{head}{body}")).contains(expected), "{body:?}");
    }
}

#[test]
fn some_replies_have_no_body() {
    for status in [204, 304] {
        let stream = format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\n");
        each_chunking(&http(), stream.as_bytes(), &[(stream.len(), Status::Http(status))]);
    }
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let neither = "HTTP/1.1 200 OK\r\n\r\n";
    let stream = [sized, chunked, neither].concat();
    let ends = [sized, chunked, neither].map(|reply| (reply.len(), Status::Http(200)));
    each_chunking_of(&http(), HEAD_ONLY, stream.as_bytes(), &ends);
    assert_eq!(http().asked(b"HEAD / HTTP/1.1\r\n"), HEAD_ONLY);
    assert_eq!(http().asked(b"GET /HEAD HTTP/1.1\r\n"), Asked::default());
}

#[test]
fn interim_replies_belong_to_the_final_one() {
    let stream = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n\
                  HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx";
    each_chunking(&http(), stream.as_bytes(), &[(stream.len(), Status::Http(201))]);
    assert!(malformed("HTTP/1.1 101 Switching Protocols\r\n\r\n").contains("101"));
}

#[test]
fn the_end_tells_whether_the_connection_closes() {
    for (closes, version, header) in [
        (false, "1.1", "X: y"),
        (true, "1.1", "Connection: close"),
        (true, "1.1", "connection: Upgrade, CLOSE"),
        (false, "1.1", "Connection: closed"),
        (true, "1.0", "X: y"),
        (false, "1.0", "Connection: keep-alive"),
        (true, "1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked"),
    ] {
        let body = if header.contains("chunked") { "0\r\n\r\n" } else { "" };
        let stream = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{header}\r\n\r\n{body}");
        assert_eq!(end(&stream).closes, closes, "{stream}");
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    for head in
        ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\n"]
    {
        let mut reading = Reading::default();
        let stream = format!("{head}hello");
        let (first, second) = stream.as_bytes().split_at(10);
        for piece in [first, second] {
            assert_eq!(http().read(&mut reading, Asked::default(), piece), Ok(Progress::Partial));
        }
        assert_eq!(http().end_of_stream(&reading), Some(Status::Http(200)));
    }
    for unfinished in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"] {
        let mut reading = Reading::default();
        http().read(&mut reading, Asked::default(), unfinished.as_bytes()).unwrap();
        assert_eq!(http().end_of_stream(&reading), None);
    }
}

/// RFC 9112, section 6.3.
#[test]
fn lengths_that_contradict_each_other_follow_the_standard() {
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n");
    let both = head("Content-Length: 3\r\nTransfer-Encoding: chunked") + "0\r\n\r\n";
    assert_eq!(end(&both).length, both.len());
    for equal in ["Content-Length: 3\r\nContent-Length: 3", "Content-Length: 3, 3"] {
        assert_eq!(end(&(head(equal) + "abc")).status, Status::Http(200));
    }
    for wrong in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: -1",
        "Content-Length: ",
        "Content-Length: +3",
        "Content-Length: 99999999999999999999",
    ] {
        assert!(malformed(&head(wrong)).contains("Content-Length"), "{wrong}");
    }
}

#[test]
fn a_head_is_bounded() {
    let head = |size: usize| {
        let around = "HTTP/1.1 204 X\r\nX: \r\n\r\n".len();
        format!("HTTP/1.1 204 X\r\nX: {}\r\n\r\n", "x".repeat(size - around))
    };
    let pieces = |head: &str| {
        let (first, second) = head.as_bytes().split_at(100);
        [vec![head.as_bytes()], vec![first, second], head.as_bytes().chunks(999).collect()]
            .map(|pieces| replies(&http(), Asked::default(), &pieces).is_ok())
    };
    assert_eq!(pieces(&head(head::HEAD_MAX)), [true; 3]);
    assert_eq!(pieces(&head(head::HEAD_MAX + 1)), [false; 3]);
    let headers = |count| format!("HTTP/1.1 204 X\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(end(&headers(128)).status, Status::Http(204));
    assert!(malformed(&headers(129)).contains("128 headers"));
    assert!(malformed("SSH-2.0-OpenSSH_9.6\r\n").contains("HTTP/1.1"));
    assert!(malformed("HTTP/1.1 099 X\r\n\r\n").contains("100 to 999"));
}

#[test]
fn a_path_becomes_a_request() {
    assert_eq!(request("GET /a?n={client}").unwrap(), "GET /a?n=7 HTTP/1.1\r\nHost: localhost:8080\r\n\r\n");
    assert_eq!(
        request("GET /\\nHost: other\\r\\nAccept: */*").unwrap(),
        "GET / HTTP/1.1\r\nHost: other\r\nAccept: */*\r\n\r\n"
    );
    assert_eq!(
        request("POST /\\nX: y\\n\\n{\"n\": {request}}\\n").unwrap(),
        "POST / HTTP/1.1\r\nHost: localhost:8080\r\nX: y\r\nContent-Length: 9\r\n\r\n{\"n\": 8}\n"
    );
    assert!(request("POST /").unwrap().ends_with("Content-Length: 0\r\n\r\n"));
    assert!(
        request("PUT /\\nContent-Length: 2\\n\\nhi").unwrap().ends_with("\r\nContent-Length: 2\r\n\r\nhi")
    );
}

#[test]
fn a_complete_request_is_sent_as_it_is() {
    let raw = "GET / HTTP/1.0\\r\\nX: {client}\\r\\n\\r\\n";
    assert_eq!(request(raw).unwrap(), "GET / HTTP/1.0\r\nX: 7\r\n\r\n");
    assert!(request("GET / HTTP/1.1").unwrap_err().contains("needs \\r\\n\\r\\n"));
}

#[test]
fn a_text_that_is_no_request_is_refused() {
    for (text, part) in [
        ("", "is no request"),
        ("/path", "as in GET /index.html"),
        ("get /", "is no method"),
        ("GET path", "is no path"),
        ("GET /a b", "%20"),
        ("CONNECT host:1", "CONNECT"),
        ("GET /\\nno header", "is no header"),
    ] {
        let error = request(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    for host in ["", "a b", "http://x", "x\r\n"] {
        assert!(Http::new(host).unwrap_err().contains("is no host"), "{host}");
    }
}
