//! Templates: texts with fields, which are parsed once and expanded for each request. Pure.

mod error;
mod field;
mod parse;
mod piece;
mod words;

use std::sync::Arc;

use self::piece::{Builder, Piece, Sized};
pub(crate) use self::{error::TemplateError, parse::unescape};
use crate::protocol::random::mix;

/// A text with fields.
///
/// | in the text | in the request |
/// |---|---|
/// | `{client}` | the number of the client, from 0 |
/// | `{request}` | the number of the client's request, from 0 |
/// | `{random:1..1000}` | a whole number from a range, each as often as any other; both ends belong to the range |
/// | `{zipf:1..100k:0.99}` | a whole number from a range by Zipf's law with this exponent; the first number is the most frequent |
/// | `{fill:64}` | this number of bytes of a fixed text without white space and quotes |
/// | `{uuid}` | a random UUID (RFC 9562, version 4) |
/// | `\n` `\r` `\t` `\0` `\xHH` | this byte |
/// | `\\` `\{` `\}` `\'` `\"` | the second of the two characters |
///
/// Numbers go up to 10^15 and take `k` and `m`.
///
/// A brace begins a field only if a name follows, and then `}`, or `:` and a setting up to `}`. A name is letters, digits and
/// underscores. All other braces are text, so that `{"id": "{uuid}", "n": {random:1..9}}` needs no escapes. Doubled braces
/// around a field make text, as in format strings of Rust and Python: `{{client}}` is the text `{client}`, and
/// `{{{client}}}` is the number in braces. An unknown name in braces is an error, so that a misspelt field is found.
///
/// A value follows from the seed, the client, the request and the position of the field among the fields. So the same seed
/// makes the same load, in any order of expansion.
///
/// Adjacent literal parts are one piece. A template without fields is one literal, and expands by one copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// These bytes, without fields and escapes.
    pub(crate) fn literal(bytes: impl Into<Vec<u8>>) -> Self {
        let mut builder = Builder::default();
        builder.bytes(&bytes.into());
        builder.finish()
    }

    /// Parses a text with fields and escapes.
    ///
    /// # Errors
    /// The first wrong field or escape, with its offset and what to write.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parse(text)
    }

    /// Joins templates. The fields are numbered again, in their order. So two fields never have the same number, and the parts of
    /// a template, joined in order, have the values of the whole.
    pub(crate) fn concat(parts: impl IntoIterator<Item = Template>) -> Self {
        let mut builder = Builder::default();
        for piece in parts.into_iter().flat_map(|part| part.pieces) {
            builder.piece(piece);
        }
        let mut joined = builder.finish();
        joined.number_fields(0);
        joined
    }

    /// `content`, with a head that depends on its expanded length in bytes. `head` appends a few bytes. Content of a fixed length
    /// has a literal head.
    pub(crate) fn sized(
        head: impl Fn(usize, &mut Vec<u8>) + Send + Sync + 'static,
        content: Template,
    ) -> Self {
        let Some(length) = content.fixed_length() else {
            return Self { pieces: vec![Piece::Sized(Sized { head: Arc::new(head), content })] };
        };
        let mut bytes = Vec::new();
        head(length, &mut bytes);
        let mut builder = Builder::default();
        builder.bytes(&bytes);
        for piece in content.pieces {
            builder.piece(piece);
        }
        builder.finish()
    }

    /// Splits at white space of the literal parts, as redis-cli does. Text in quotes, escaped bytes and fields do not split:
    ///
    /// * Between double quotes, a backslash that is no escape of the template's text begins one of `\n`, `\r`, `\t`, `\b`, `\a`,
    ///   `\xHH`, or stands for the character after it. There is such a backslash only in [`Template::literal`].
    /// * Between single quotes, only `\'` has a meaning of its own.
    ///
    /// # Errors
    /// A quote is not closed, or does not end its word.
    pub(crate) fn words(&self) -> Result<Vec<Template>, String> {
        words::split(&self.pieces)
    }

    /// The parts before and after the first occurrence of these bytes within one literal piece. `delimiter` is not empty.
    pub(crate) fn split_once(&self, delimiter: &[u8]) -> Option<(Template, Template)> {
        let found = self.pieces.iter().enumerate().find_map(|(index, piece)| match piece {
            Piece::Literal(literal) => literal.split_once(delimiter).map(|halves| (index, halves)),
            Piece::Field(..) | Piece::Sized(_) => None,
        });
        let (index, (left, right)) = found?;
        let mut before = Builder::default();
        self.pieces[..index].iter().cloned().for_each(|piece| before.piece(piece));
        before.piece(Piece::Literal(left));
        let mut after = Builder::default();
        after.piece(Piece::Literal(right));
        self.pieces[index + 1..].iter().cloned().for_each(|piece| after.piece(piece));
        Some((before.finish(), after.finish()))
    }

    /// The first piece is a literal that starts with these bytes.
    pub(crate) fn starts_with(&self, bytes: &[u8]) -> bool {
        matches!(self.pieces.first(), Some(Piece::Literal(literal)) if literal.bytes.starts_with(bytes))
    }

    /// The last piece is a literal that ends with these bytes.
    pub(crate) fn ends_with(&self, bytes: &[u8]) -> bool {
        matches!(self.pieces.last(), Some(Piece::Literal(literal)) if literal.bytes.ends_with(bytes))
    }

    /// The bytes of a template without fields and sized parts.
    pub(crate) fn as_literal(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(&[]),
            [Piece::Literal(literal)] => Some(&literal.bytes),
            _ => None,
        }
    }

    /// The length of every expansion in bytes, if all have the same length.
    pub(crate) fn fixed_length(&self) -> Option<usize> {
        self.pieces.iter().map(Piece::fixed_length).sum()
    }

    /// Appends the text for a request. It allocates only to grow `out`.
    #[inline]
    pub(crate) fn expand(&self, at: &At, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => out.extend_from_slice(&literal.bytes),
                Piece::Field(field, number) => field.expand(at, *number, out),
                Piece::Sized(sized) => sized.expand(at, out),
            }
        }
    }

    /// Numbers the fields from `next` on, and returns the number after the last one.
    fn number_fields(&mut self, mut next: u32) -> u32 {
        for piece in &mut self.pieces {
            match piece {
                Piece::Literal(_) => {}
                Piece::Field(_, number) => {
                    *number = next;
                    next += 1;
                }
                Piece::Sized(sized) => next = sized.content.number_fields(next),
            }
        }
        next
    }
}

/// The request that a template is expanded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// The number of the client, from 0.
    pub client: u32,
    /// The number of the client's request, from 0.
    pub request: u64,
    /// The seed of the load.
    pub seed: u64,
}

impl At {
    /// The random number for one purpose. Fields have the purposes from 0 up, and choices outside of templates have those from
    /// [`u64::MAX`] down.
    #[inline]
    pub(crate) fn draw(&self, purpose: u64) -> u64 {
        mix(mix(mix(self.seed, self.client.into()), self.request), purpose)
    }

    /// A number below `count`, for one purpose. No number is more likely than another by more than `count` / 2^64.
    #[inline]
    pub(crate) fn below(&self, purpose: u64, count: u64) -> u64 {
        below(self.draw(purpose), count)
    }
}

/// Maps a uniform number to a uniform number below `count` (Lemire 2019, without the rejection).
#[inline]
fn below(draw: u64, count: u64) -> u64 {
    ((u128::from(draw) * u128::from(count)) >> 64) as u64
}

#[cfg(test)]
mod tests;
