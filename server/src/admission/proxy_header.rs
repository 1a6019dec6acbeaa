//! The PROXY protocol header at the start of a connection: `--proxy-protocol`.
//!
//! A load balancer sends it before the client's bytes, to name the client (HAProxy, doc/proxy-protocol.txt). A library parses
//! it, in both versions. This module collects its pieces, and bounds its length and the time that it may take.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use proxy_header::{Error, ParseConfig, ProxyHeader};

/// The longest time from the start of a connection to the end of its header.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// The longest header of version 2: 16 bytes, addresses (216 bytes at most) and TLVs.
const V2_BYTES_MAX: usize = 2048;

/// The longest header of version 1 (section 2.1).
const V1_BYTES_MAX: usize = 107;

/// How the headers of both versions begin.
const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The pieces of a header that have arrived so far.
#[derive(Debug, Default)]
pub(crate) struct PartialHeader {
    received: Vec<u8>,
}

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// How many bytes of the last piece belong to it. The client's bytes follow.
    pub(crate) bytes_of_last_piece: usize,
    /// The client's address. `None` if the header has no IP address: the balancer's own connection (LOCAL), or a client of
    /// another kind (UNSPEC, AF_UNIX, UNKNOWN).
    pub(crate) source: Option<IpAddr>,
}

/// These bytes begin no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoHeader;

impl PartialHeader {
    /// Adds the next piece. `None` if the header is incomplete.
    pub(crate) fn receive(&mut self, piece: &[u8]) -> Result<Option<Header>, NoHeader> {
        let earlier = self.received.len();
        // The payload that follows the header can be long, and is not copied.
        let piece = &piece[..piece.len().min(V2_BYTES_MAX - earlier)];
        self.received.extend_from_slice(piece);
        let header = parse(&self.received)?
            .map(|(source, length)| Header { bytes_of_last_piece: length - earlier, source });
        Ok(header)
    }
}

/// How long a header may take, from the start of its connection.
pub(crate) fn timeout(idle_timeout: Option<Duration>) -> Duration {
    idle_timeout.map_or(TIMEOUT_MAX, |idle_timeout| idle_timeout.min(TIMEOUT_MAX))
}

/// The source of the header at the start of these bytes, and its length. `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Option<IpAddr>, usize)>, NoHeader> {
    let may_be = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, expected)| byte == expected);
    let bytes_max = match (may_be(V1_SIGNATURE), may_be(V2_SIGNATURE)) {
        (true, _) => V1_BYTES_MAX,
        (false, true) => V2_BYTES_MAX,
        (false, false) => return Err(NoHeader),
    };
    let window = &bytes[..bytes.len().min(bytes_max)];
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(&without_local_family(window), config) {
        Ok((header, length)) => {
            Ok(Some((header.proxied_address().map(|addresses| addresses.source.ip()), length)))
        }
        Err(Error::BufferTooShort) if window.len() < bytes_max => Ok(None),
        Err(_) => Err(NoHeader),
    }
}

/// The family of a LOCAL header has no meaning (section 2.2), but the library demands its addresses.
fn without_local_family(bytes: &[u8]) -> Cow<'_, [u8]> {
    const LOCAL: u8 = 0x20;
    let (command, family) = (V2_SIGNATURE.len(), V2_SIGNATURE.len() + 1);
    if bytes.starts_with(V2_SIGNATURE) && bytes.get(command) == Some(&LOCAL) && bytes.len() > family {
        let mut bytes = bytes.to_vec();
        bytes[family] = 0;
        return bytes.into();
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const UNSPEC: u8 = 0x00;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    const UNIX: u8 = 0x31;

    /// Two IPv4 addresses and their ports.
    const ADDRESSES_4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 9, 0x30, 0x39, 0x01, 0xbb];

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, rest].concat()
    }

    /// 2001:db8::7 and ::1.
    fn addresses_6() -> Vec<u8> {
        let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
        [&source.octets()[..], &std::net::Ipv6Addr::LOCALHOST.octets(), &[0x30, 0x39, 0x01, 0xbb]].concat()
    }

    /// One TLV with this many bytes (NOOP).
    fn tlv(bytes: usize) -> Vec<u8> {
        let [high, low] = u16::try_from(bytes - 3).unwrap().to_be_bytes();
        [&[4, high, low][..], &vec![b'x'; bytes - 3]].concat()
    }

    /// Headers, each with its source.
    fn valid() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let two_tlvs = [&ADDRESSES_4[..], &tlv(3), &tlv(40)].concat();
        let most = V2_BYTES_MAX - 16;
        vec![
            (v2(PROXY, TCP4, &ADDRESSES_4), Some("192.0.2.7")),
            (v2(PROXY, TCP6, &addresses_6()), Some("2001:db8::7")),
            (v2(PROXY, TCP4, &two_tlvs), Some("192.0.2.7")),
            (v2(PROXY, TCP4, &[&ADDRESSES_4[..], &tlv(most - 12)].concat()), Some("192.0.2.7")),
            // TLVs are skipped, so a damaged one has no effect.
            (v2(PROXY, TCP4, &[&ADDRESSES_4[..], &[4, 255, 255]].concat()), Some("192.0.2.7")),
            (v2(PROXY, UNIX, &[0; 216]), None),
            (v2(PROXY, UNSPEC, &[]), None),
            (v2(PROXY, UNSPEC, &tlv(20)), None),
            (v2(LOCAL, UNSPEC, &[]), None),
            (v2(LOCAL, UNSPEC, &tlv(20)), None),
            (v2(LOCAL, TCP4, &ADDRESSES_4), None),
            (v2(LOCAL, TCP4, &[]), None),
            (v2(LOCAL, 0xff, &[1, 2, 3]), None),
            (b"PROXY TCP4 192.0.2.7 198.51.100.9 12345 443\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), None),
        ]
    }

    fn invalid() -> Vec<Vec<u8>> {
        let too_long = V2_BYTES_MAX - 16 + 1;
        vec![
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\r\n\r\n\0\r\nQUIX\n".to_vec(),
            b"PROXYxUNKNOWN\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 198.51.100.9 12345 443\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 12345 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.9 12345 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.9 12345 443\rx".to_vec(),
            [b"PROXY UNKNOWN ", &[b'x'; V1_BYTES_MAX][..], b"\r\n"].concat(),
            v2(0x11, TCP4, &ADDRESSES_4),
            v2(0x22, TCP4, &ADDRESSES_4),
            v2(PROXY, 0x13, &ADDRESSES_4),
            v2(PROXY, 0x41, &ADDRESSES_4),
            v2(PROXY, TCP4, &ADDRESSES_4[..11]),
            v2(PROXY, TCP6, &ADDRESSES_4),
            v2(PROXY, UNIX, &[0; 215]),
            v2(PROXY, TCP4, &[&ADDRESSES_4[..], &tlv(too_long - 12)].concat()),
            v2(LOCAL, UNSPEC, &tlv(too_long)),
        ]
    }

    /// The outcome of these pieces: how many bytes are header, and the source.
    fn receive(pieces: &[&[u8]]) -> Result<Option<(usize, Option<IpAddr>)>, NoHeader> {
        let (mut partial, mut before) = (PartialHeader::default(), 0);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            if let Some(header) = partial.receive(piece)? {
                assert!((1..=piece.len()).contains(&header.bytes_of_last_piece), "{header:?}");
                return Ok(Some((before + header.bytes_of_last_piece, header.source)));
            }
            before += piece.len();
        }
        Ok(None)
    }

    #[test]
    fn a_header_ends_at_the_same_byte_however_it_is_cut() {
        for (header, source) in valid() {
            let expected = Ok(Some((header.len(), source.map(|source| source.parse().unwrap()))));
            // The payload must not matter, so it looks like a header, too.
            for payload in [&b""[..], b"p", b"\n", &header, &[b'x'; 70_000]] {
                let stream = [&header[..], payload].concat();
                assert_eq!(receive(&[&stream]), expected, "{}", header.escape_ascii());
                for cut in 1..=header.len() {
                    let (front, rest) = stream.split_at(cut);
                    assert_eq!(receive(&[front, rest]), expected, "{} at {cut}", header.escape_ascii());
                }
            }
            let bytes: Vec<_> = header.chunks(1).collect();
            assert_eq!(receive(&bytes), expected, "{}", header.escape_ascii());
            assert_eq!(receive(&bytes[..bytes.len() - 1]), Ok(None), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_are_no_header_are_refused_however_they_are_cut() {
        for mut bytes in invalid() {
            // The library finds some errors only if it has as many bytes as the addresses would need.
            bytes.extend([b'x'; 36]);
            let shown = bytes[..bytes.len().min(60)].escape_ascii();
            assert_eq!(receive(&[&bytes]), Err(NoHeader), "{shown}");
            assert_eq!(receive(&bytes.chunks(1).collect::<Vec<_>>()), Err(NoHeader), "{shown}");
            for cut in 1..bytes.len() {
                let (front, rest) = bytes.split_at(cut);
                assert_eq!(receive(&[front, rest]), Err(NoHeader), "{shown} at {cut}");
            }
        }
    }

    #[test]
    fn a_wrong_signature_is_refused_at_its_first_wrong_byte() {
        for signature in [V1_SIGNATURE, V2_SIGNATURE] {
            for wrong in 0..signature.len() {
                let mut bytes = signature[..=wrong].to_vec();
                assert_eq!(receive(&[&bytes]), Ok(None));
                bytes[wrong] ^= 0x80;
                assert_eq!(receive(&[&bytes]), Err(NoHeader));
            }
        }
    }

    /// The library must neither panic nor depend on the pieces, whatever the bytes are.
    #[test]
    fn every_damaged_byte_has_the_same_effect_however_the_header_is_cut() {
        for (header, _) in valid().into_iter().filter(|(header, _)| header.len() < 100) {
            for position in 0..header.len() {
                for value in [0, 1, b' ', b'\r', b'\n', b':', b'9', 0x7f, 0x80, 0xff] {
                    let mut stream = [&header[..], b"payload 1 2\r\n"].concat();
                    stream[position] = value;
                    let whole = receive(&[&stream]);
                    let bytewise = receive(&stream.chunks(1).collect::<Vec<_>>());
                    assert_eq!(whole, bytewise, "{}", stream.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn the_idle_timeout_bounds_the_header_if_it_is_shorter() {
        for (idle_timeout_ms, timeout_ms) in [(None, 5_000), (Some(200), 200), (Some(60_000), 5_000)] {
            let idle_timeout = idle_timeout_ms.map(Duration::from_millis);
            assert_eq!(timeout(idle_timeout), Duration::from_millis(timeout_ms));
        }
    }
}
