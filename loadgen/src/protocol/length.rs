//! Replies with a length field, in the words of tokio-util's `LengthDelimitedCodec`.

use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::protocol::template::{At, Template};

/// The longest head before a length field in bytes.
const OFFSET_MAX: usize = 1024;
/// A text with fields is expanded this often to find out how long it can become.
const SAMPLES: u32 = 64;

/// A length field near the begin of each request and reply tells where it ends.
///
/// The settings are those of `LengthDelimitedCodec`: `length_field_offset`, `length_field_length`, `length_adjustment`. The field's
/// value plus the adjustment is the number of bytes after the field. `num_skip` has no counterpart: it removes the head from
/// what a program sees, and here only the end of the reply matters.
#[derive(Clone, Debug)]
pub(crate) struct Length {
    /// The bytes before the field, at most [`OFFSET_MAX`].
    offset: usize,
    /// The bytes of the field, 1 to 8.
    width: usize,
    order: ByteOrder,
    adjustment: i64,
}

/// The order of the bytes of a length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// The most significant byte is first.
    Big,
    /// The least significant byte is first.
    Little,
}

/// What is known of an incomplete reply.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The bytes of the head, which includes the length field, that have arrived.
    head: usize,
    /// The value of the field's bytes that have arrived.
    value: u64,
    /// The bytes that are missing after the head.
    left: u64,
}

impl Length {
    /// A length field of `width` bytes after `offset` bytes. The bytes after the field are its value plus `adjustment`.
    ///
    /// # Errors
    /// What is allowed.
    pub(crate) fn new(
        offset: usize,
        width: usize,
        order: ByteOrder,
        adjustment: i64,
    ) -> Result<Self, String> {
        if !(1..=8).contains(&width) {
            return Err(format!("--length-field-length {width}: a length field has 1 to 8 bytes"));
        }
        if offset > OFFSET_MAX {
            return Err(format!(
                "--length-field-offset {offset}: a length field begins after at most {OFFSET_MAX} bytes"
            ));
        }
        Ok(Self { offset, width, order, adjustment })
    }

    /// The field's value for this many bytes after it, if the field can hold it.
    fn value(&self, length: usize) -> Option<u64> {
        let value = i128::try_from(length).ok()? - i128::from(self.adjustment);
        let greatest = u64::MAX >> (64 - 8 * self.width);
        u64::try_from(value).ok().filter(|value| *value <= greatest)
    }

    /// Checks that the field can hold the length of this text. Fields of the text make it longer and shorter, so it looks at
    /// several expansions.
    fn check(&self, text: &Template) -> Result<(), String> {
        let mut bytes = Vec::new();
        for sample in 0..SAMPLES {
            let (client, request) = if sample == 0 { (u32::MAX, u64::MAX) } else { (sample, sample.into()) };
            bytes.clear();
            text.expand(&At { client, request, seed: sample.into() }, &mut bytes);
            if self.value(bytes.len()).is_none() {
                return Err(format!(
                    "a length field of {} cannot hold the length of a text of {} with the adjustment {}: shorten the text, or change \
                     --length-field-length or --length-adjustment",
                    common::human::plural(self.width as u64, "byte"),
                    common::human::plural(bytes.len() as u64, "byte"),
                    self.adjustment
                ));
            }
        }
        Ok(())
    }

    /// Reads on in the head. Returns the number of bytes after the head once it is complete.
    fn read_head(&self, reading: &mut Reading, bytes: &[u8]) -> Result<(usize, Option<u64>), Malformed> {
        let head = self.offset + self.width;
        let here = bytes.len().min(head - reading.head);
        for (at, byte) in (reading.head..).zip(&bytes[..here]) {
            let Some(place) = at.checked_sub(self.offset) else { continue };
            match self.order {
                ByteOrder::Big => reading.value = reading.value << 8 | u64::from(*byte),
                ByteOrder::Little => reading.value |= u64::from(*byte) << (8 * place),
            }
        }
        reading.head += here;
        if reading.head < head {
            return Ok((here, None));
        }
        let expected = "a length that is not negative with the adjustment and below 2^64";
        let left = reading.value.checked_add_signed(self.adjustment);
        left.map(|left| (here, Some(left))).ok_or(Malformed { offset: here - 1, expected })
    }
}

impl Default for Length {
    fn default() -> Self {
        Self { offset: 0, width: 4, order: ByteOrder::Big, adjustment: 0 }
    }
}

impl Protocol for Length {
    type Reading = Reading;

    const NAME: &'static str = "length";
    const SUMMARY: &'static str = "a length field precedes each request and reply";
    const EXPECT: &'static str = "none";
    const EXAMPLE: &'static str = "hello {client}";
    const FLAGS: &'static [&'static str] = &[
        "--length-field-length",
        "--length-field-offset",
        "--length-adjustment",
        "--length-little-endian",
    ];

    fn from_settings(framing: &Framing) -> Result<Self, String> {
        let Framing { length_field_length, length_field_offset, length_adjustment, .. } = framing;
        let size = |given: u64| usize::try_from(given).unwrap_or(usize::MAX);
        let (offset, width) = (length_field_offset.map_or(0, size), length_field_length.map_or(4, size));
        let order = if framing.length_little_endian { ByteOrder::Little } else { ByteOrder::Big };
        Self::new(offset, width, order, length_adjustment.unwrap_or(0))
    }

    /// Puts the length field into the text after its first `offset` bytes. They are the head before the field, as in
    /// `\x01\x00text` with an offset of 2, and must not have fields.
    fn request(&self, text: &Template) -> Result<Template, String> {
        let Some((head, content)) = split_at(text, self.offset) else {
            return Err(format!(
                "the text must begin with the {} that precede the length field (--length-field-offset {}), without fields \
                 among them",
                common::human::plural(self.offset as u64, "byte"),
                self.offset
            ));
        };
        self.check(&content)?;
        let length = self.clone();
        let sized = Template::sized(
            move |size, out| {
                // The field holds its greatest value for a text that is longer than all samples.
                let value = length.value(size).unwrap_or(u64::MAX);
                match length.order {
                    ByteOrder::Big => out.extend_from_slice(&value.to_be_bytes()[8 - length.width..]),
                    ByteOrder::Little => out.extend_from_slice(&value.to_le_bytes()[..length.width]),
                }
            },
            content,
        );
        Ok(Template::concat([head, sized]))
    }

    fn read(&self, reading: &mut Reading, _asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut used = 0;
        if reading.head < self.offset + self.width {
            let (here, left) = self.read_head(reading, bytes)?;
            let Some(left) = left else { return Ok(Progress::Partial) };
            used = here;
            reading.left = left;
        }
        let here = (bytes.len() - used) as u64;
        if here < reading.left {
            reading.left -= here;
            return Ok(Progress::Partial);
        }
        let length = used + reading.left as usize;
        *reading = Reading::default();
        Ok(Progress::Complete(End::new(length, Status::Plain)))
    }
}

/// The first `length` bytes of a template, if they are literal, and the rest.
fn split_at(text: &Template, length: usize) -> Option<(Template, Template)> {
    if let Some(bytes) = text.as_literal() {
        let (head, content) = bytes.split_at_checked(length)?;
        return Some((Template::literal(head), Template::literal(content)));
    }
    let mut head = Vec::with_capacity(length);
    for _ in 0..length {
        head.push(0);
        let last = head.len() - 1;
        (0..=u8::MAX).find(|byte| {
            head[last] = *byte;
            text.starts_with(&head)
        })?;
    }
    if head.is_empty() {
        return Some((Template::literal(head), text.clone()));
    }
    // The text starts with these bytes, so that is their first occurrence.
    let (_, content) = text.split_once(&head)?;
    Some((Template::literal(head), content))
}

#[cfg(test)]
mod tests {
    use super::{super::chunking::each_chunking, *};

    fn length(offset: usize, width: usize, order: ByteOrder, adjustment: i64) -> Length {
        Length::new(offset, width, order, adjustment).unwrap()
    }

    fn expand(template: &Template) -> Vec<u8> {
        let mut out = Vec::new();
        template.expand(&At { client: 7, request: 8, seed: 0 }, &mut out);
        out
    }

    /// The examples of the documentation of tokio-util's `length_delimited`.
    #[test]
    fn the_settings_have_the_meaning_of_tokio_util() {
        use ByteOrder::{Big, Little};
        let plain = |length| [(length, Status::Plain)];
        each_chunking(&length(0, 2, Big, 0), b"\x00\x0bHello world", &plain(13));
        each_chunking(&length(0, 2, Little, 0), b"\x0b\x00Hello world", &plain(13));
        // The length includes the field.
        each_chunking(&length(0, 2, Big, -2), b"\x00\x0dHello world", &plain(13));
        each_chunking(&length(0, 3, Big, 2), b"\x00\x00\x0b\xca\xfeHello world", &plain(16));
        each_chunking(&length(1, 2, Big, 1), b"\xca\x00\x0b\xfeHello world", &plain(15));
        each_chunking(&length(1, 2, Big, -3), b"\xca\x00\x10\xfeHello world1", &plain(16));
        each_chunking(&Length::default(), b"\0\0\0\0\0\0\0\x01x", &[(4, Status::Plain), (5, Status::Plain)]);
    }

    #[test]
    fn a_length_that_is_negative_or_overflows_is_malformed() {
        let read =
            |length: &Length, bytes: &[u8]| length.read(&mut Reading::default(), Asked::default(), bytes);
        let negative = read(&length(0, 2, ByteOrder::Big, -2), b"\x00\x01abc").unwrap_err();
        assert_eq!(negative.offset, 1);
        assert!(read(&length(0, 8, ByteOrder::Big, 1), &[0xff; 9]).is_err());
        assert_eq!(read(&length(0, 8, ByteOrder::Big, 0), &[0xff; 9]), Ok(Progress::Partial));
    }

    #[test]
    fn a_request_is_what_the_reply_would_be() {
        let text = Template::literal("\u{1}\u{2}Hello");
        let request = length(2, 2, ByteOrder::Little, -4).request(&text).unwrap();
        assert_eq!(expand(&request), b"\x01\x02\x09\x00Hello");
        let text = Template::parse("\\x01n={client}").unwrap();
        let request = length(1, 4, ByteOrder::Big, 0).request(&text).unwrap();
        assert_eq!(expand(&request), b"\x01\0\0\0\x03n=7");
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        let error = length(0, 1, ByteOrder::Big, 0).request(&Template::literal([b'x'; 256])).unwrap_err();
        assert!(error.contains("1 byte cannot hold the length of a text of 256 bytes"), "{error}");
        let error = length(0, 2, ByteOrder::Big, 4).request(&Template::literal("abc")).unwrap_err();
        assert!(error.contains("adjustment 4"), "{error}");
        let text = Template::parse("{client}").unwrap();
        assert!(length(1, 2, ByteOrder::Big, 0).request(&text).unwrap_err().contains("without fields"));
        assert!(length(9, 2, ByteOrder::Big, 0).request(&Template::literal("abc")).is_err());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(Length::new(0, 0, ByteOrder::Big, 0).unwrap_err().contains("1 to 8"));
        assert!(Length::new(0, 9, ByteOrder::Big, 0).is_err());
        assert!(Length::new(1025, 4, ByteOrder::Big, 0).unwrap_err().contains("1024"));
    }
}
