//! The pieces of a template.

use std::{fmt, sync::Arc};

use super::{At, Template, field::Field};

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// The same bytes for each request.
    Literal(Literal),
    /// A field, and its number among the fields.
    Field(Field, u32),
    /// Content behind a head that depends on its length.
    Sized(Sized),
}

impl Piece {
    pub(super) fn fixed_length(&self) -> Option<usize> {
        match self {
            Piece::Literal(literal) => Some(literal.bytes.len()),
            Piece::Field(field, _) => field.fixed_length(),
            Piece::Sized(_) => None,
        }
    }
}

/// Bytes. Clones share them: a `{fill:64m}` exists once.
#[derive(Clone)]
pub(super) struct Literal {
    pub(super) bytes: Arc<[u8]>,
    /// The offsets of quotes, backslashes and white space that were written as escapes, in rising order.
    escaped: Arc<[usize]>,
}

impl Literal {
    /// The bytes, each with whether it was an escape.
    pub(super) fn marked_bytes(&self) -> impl Iterator<Item = (u8, bool)> {
        let mut escaped = self.escaped.iter().copied().peekable();
        self.bytes
            .iter()
            .enumerate()
            .map(move |(offset, byte)| (*byte, escaped.next_if_eq(&offset).is_some()))
    }

    /// The parts before and after the first occurrence of these bytes.
    pub(super) fn split_once(&self, delimiter: &[u8]) -> Option<(Self, Self)> {
        let start = self.bytes.windows(delimiter.len()).position(|bytes| bytes == delimiter)?;
        let end = start + delimiter.len();
        let part = |start: usize, end: usize| {
            let escaped = self.escaped.iter().filter(|offset| (start..end).contains(offset));
            Self {
                bytes: self.bytes[start..end].into(),
                escaped: escaped.map(|offset| offset - start).collect(),
            }
        };
        Some((part(0, start), part(end, self.bytes.len())))
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXCERPT_BYTES: usize = 80;
        match self.bytes.get(..EXCERPT_BYTES) {
            Some(start) => write!(f, "b\"{}\"... ({} bytes)", start.escape_ascii(), self.bytes.len()),
            None => write!(f, "b\"{}\"", self.bytes.escape_ascii()),
        }
    }
}

/// Writes a head for content of this length in bytes.
pub(super) type Head = dyn Fn(usize, &mut Vec<u8>) + Send + Sync;

/// Content behind a head that depends on its length.
#[derive(Clone)]
pub(super) struct Sized {
    pub(super) head: Arc<Head>,
    pub(super) content: Template,
}

impl Sized {
    pub(super) fn expand(&self, at: &At, out: &mut Vec<u8>) {
        let start = out.len();
        self.content.expand(at, out);
        let end = out.len();
        (self.head)(end - start, out);
        // The head needs the length, and needs no buffer of its own if it is written behind the content first.
        let head_length = out.len() - end;
        out[start..].rotate_right(head_length);
    }
}

impl fmt::Debug for Sized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sized").field("content", &self.content).finish_non_exhaustive()
    }
}

/// Builds a template. Adjacent literals become one.
#[derive(Default)]
pub(super) struct Builder {
    pieces: Vec<Piece>,
    /// The literal that is not in `pieces` yet.
    bytes: Vec<u8>,
    escaped: Vec<usize>,
}

impl Builder {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a byte that was written as an escape: it has no meaning for [`Template::words`].
    pub(super) fn escaped(&mut self, byte: u8) {
        if matches!(byte, b'"' | b'\'' | b'\\') || is_space(byte) {
            self.escaped.push(self.bytes.len());
        }
        self.bytes.push(byte);
    }

    pub(super) fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Literal(literal) => {
                self.escaped.extend(literal.escaped.iter().map(|offset| self.bytes.len() + offset));
                self.bytes.extend_from_slice(&literal.bytes);
            }
            other => {
                self.end_literal();
                self.pieces.push(other);
            }
        }
    }

    pub(super) fn finish(mut self) -> Template {
        self.end_literal();
        Template { pieces: self.pieces }
    }

    fn end_literal(&mut self) {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes).into();
            let escaped = std::mem::take(&mut self.escaped).into();
            self.pieces.push(Piece::Literal(Literal { bytes, escaped }));
        }
    }
}

/// White space as C's `isspace` has it, which redis-cli uses.
pub(super) fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
