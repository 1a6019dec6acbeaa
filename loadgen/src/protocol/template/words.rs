//! Splits a template into words, as redis-cli does (`sdssplitargs` in its sds.c).

use super::{
    Template,
    piece::{Builder, Piece, is_space},
};

/// See [`Template::words`].
pub(super) fn split(pieces: &[Piece]) -> Result<Vec<Template>, String> {
    let mut splitter = Splitter::default();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => {
                let bytes: Vec<_> = literal.marked_bytes().collect();
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let used = splitter.step(rest)?;
                    rest = &rest[used..];
                }
            }
            other => splitter.field(other.clone())?,
        }
    }
    splitter.finish()
}

#[derive(Default)]
struct Splitter {
    words: Vec<Template>,
    /// The current word. None: between words.
    word: Option<Builder>,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Bare,
    /// Between two of these quotes.
    Quoted(u8),
    /// After the closing quote, which ends its word.
    Closed,
}

impl Splitter {
    /// Takes the first byte, or all bytes of an escape, and returns their number.
    fn step(&mut self, bytes: &[(u8, bool)]) -> Result<usize, String> {
        let (byte, is_escaped) = bytes[0];
        match self.state {
            State::Bare | State::Closed if !is_escaped && is_space(byte) => {
                self.words.extend(self.word.take().map(Builder::finish));
                self.state = State::Bare;
            }
            State::Closed => return Err(text_after_quote()),
            State::Bare if !is_escaped && matches!(byte, b'"' | b'\'') => {
                self.word.get_or_insert_default();
                self.state = State::Quoted(byte);
            }
            State::Quoted(quote) if !is_escaped && byte == quote => self.state = State::Closed,
            State::Quoted(quote) if !is_escaped && byte == b'\\' => return Ok(self.backslash(quote, bytes)),
            State::Bare | State::Quoted(_) => self.push(byte),
        }
        Ok(1)
    }

    /// A backslash within quotes.
    fn backslash(&mut self, quote: u8, bytes: &[(u8, bool)]) -> usize {
        let byte = |index: usize| bytes.get(index).map(|(byte, _)| *byte);
        let digit = |index| byte(index).and_then(|byte| char::from(byte).to_digit(16));
        let (value, used) = match (quote, byte(1)) {
            (b'"', Some(b'x')) if let (Some(high), Some(low)) = (digit(2), digit(3)) => {
                ((high << 4 | low) as u8, 4)
            }
            (b'"', Some(b'n')) => (b'\n', 2),
            (b'"', Some(b'r')) => (b'\r', 2),
            (b'"', Some(b't')) => (b'\t', 2),
            (b'"', Some(b'b')) => (0x08, 2),
            (b'"', Some(b'a')) => (0x07, 2),
            (b'"', Some(other)) => (other, 2),
            (_, Some(b'\'')) => (b'\'', 2),
            _ => (b'\\', 1),
        };
        self.push(value);
        used
    }

    fn push(&mut self, byte: u8) {
        // A byte of a word is final: it has no meaning if the word is split again.
        self.word.get_or_insert_default().escaped(byte);
    }

    fn field(&mut self, piece: Piece) -> Result<(), String> {
        if self.state == State::Closed {
            return Err(text_after_quote());
        }
        self.word.get_or_insert_default().piece(piece);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Template>, String> {
        if let State::Quoted(quote) = self.state {
            let quote = char::from(quote);
            return Err(format!(
                "a quote ({quote}) is not closed: close it, or write \\{quote} for a plain one"
            ));
        }
        self.words.extend(self.word.map(Builder::finish));
        Ok(self.words)
    }
}

fn text_after_quote() -> String {
    "a closing quote is followed by text: put a space after it, or quote the whole word".to_owned()
}
