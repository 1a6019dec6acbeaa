//! Parses the text of a template.

use super::{
    Template, TemplateError,
    field::{self, NAMES, Parsed},
    piece::{Builder, Piece},
};
use crate::protocol::message::SIZE_MAX;

/// See [`Template::parse`].
pub(super) fn parse(text: &str) -> Result<Template, TemplateError> {
    let mut parser = Parser { text, offset: 0, builder: Builder::default(), literal_bytes: 0, fields: 0 };
    while let Some(byte) = parser.rest().bytes().next() {
        match byte {
            b'\\' => parser.escape()?,
            b'{' => parser.braces()?,
            _ => {
                let length = parser.rest().find(['\\', '{']).unwrap_or(parser.rest().len());
                parser.literal(length)?;
            }
        }
    }
    Ok(parser.builder.finish())
}

/// Resolves the escapes of a text without fields.
///
/// # Errors
/// The first wrong escape.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, TemplateError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut offset = 0;
    while let Some(length) = text[offset..].find('\\') {
        bytes.extend_from_slice(&text.as_bytes()[offset..offset + length]);
        offset += length;
        let (byte, used) = escape_at(text, offset)?;
        bytes.push(byte);
        offset += used;
    }
    bytes.extend_from_slice(&text.as_bytes()[offset..]);
    Ok(bytes)
}

struct Parser<'a> {
    text: &'a str,
    /// The bytes before it are done.
    offset: usize,
    builder: Builder,
    /// At most [`SIZE_MAX`].
    literal_bytes: usize,
    fields: u32,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    /// Takes this number of bytes as they are.
    fn literal(&mut self, length: usize) -> Result<(), TemplateError> {
        self.push(&self.rest().as_bytes()[..length])?;
        self.offset += length;
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), TemplateError> {
        self.reserve(bytes.len())?;
        self.builder.bytes(bytes);
        Ok(())
    }

    fn reserve(&mut self, length: usize) -> Result<(), TemplateError> {
        self.literal_bytes += length;
        if self.literal_bytes > SIZE_MAX { Err(TemplateError::TooLong) } else { Ok(()) }
    }

    fn escape(&mut self) -> Result<(), TemplateError> {
        let (byte, used) = escape_at(self.text, self.offset)?;
        self.reserve(1)?;
        self.builder.escaped(byte);
        self.offset += used;
        Ok(())
    }

    /// Takes a run of opening braces, and the field or the text in it. Of the braces that both sides have, each pair around the
    /// field makes one brace of text.
    fn braces(&mut self) -> Result<(), TemplateError> {
        let rest = self.rest();
        let opening = rest.bytes().take_while(|byte| *byte == b'{').count();
        let Some(inside) = Inside::at(&rest[opening..]) else {
            self.refuse_open_field(opening)?;
            return self.literal(opening);
        };
        let closing = rest[opening + inside.text.len()..].bytes().take_while(|byte| *byte == b'}').count();
        let both = opening.min(closing);
        let offset = self.offset + opening - 1;
        self.push(&rest.as_bytes()[..opening - both + both / 2])?;
        if both % 2 == 1 {
            self.field(inside, offset)?
        } else {
            self.push(inside.text.as_bytes())?
        }
        self.push(&b"}".repeat(both / 2))?;
        self.offset += opening + inside.text.len() + both;
        Ok(())
    }

    fn field(&mut self, inside: Inside<'_>, offset: usize) -> Result<(), TemplateError> {
        let field = || inside.text.to_owned();
        if !NAMES.contains(&inside.name) {
            return Err(TemplateError::UnknownField { offset, field: field() });
        }
        match field::parse(inside.name, inside.setting) {
            Ok(Parsed::Fill(bytes)) => self.push(&bytes),
            Ok(Parsed::Field(field)) => {
                self.builder.piece(Piece::Field(field, self.fields));
                self.fields += 1;
                Ok(())
            }
            Err(problem) => Err(TemplateError::BadField { offset, field: field(), problem }),
        }
    }

    /// A known name that is followed by a colon or by the end of the text is a field without its end.
    fn refuse_open_field(&self, opening: usize) -> Result<(), TemplateError> {
        let (name, after) = name_at(&self.rest()[opening..]);
        if NAMES.contains(&name) && (after.is_empty() || after.starts_with(':')) {
            let offset = self.offset + opening - 1;
            return Err(TemplateError::OpenField { offset, name: name.to_owned() });
        }
        Ok(())
    }
}

/// The text between the braces of what has the shape of a field.
#[derive(Clone, Copy)]
struct Inside<'a> {
    text: &'a str,
    name: &'a str,
    /// What follows the colon, if there is one.
    setting: Option<&'a str>,
}

impl<'a> Inside<'a> {
    /// The field that begins after an opening brace.
    fn at(rest: &'a str) -> Option<Self> {
        let text = &rest[..rest.find(['{', '}'])?];
        let (name, after) = name_at(text);
        let setting = after.strip_prefix(':');
        let is_field = rest[text.len()..].starts_with('}') && !name.is_empty();
        (is_field && (after.is_empty() || setting.is_some())).then_some(Self { text, name, setting })
    }
}

/// Splits off the name at the start. It may be empty.
fn name_at(text: &str) -> (&str, &str) {
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = if text.starts_with(|c: char| c.is_ascii_digit()) {
        0
    } else {
        text.find(|c: char| !is_in_name(c)).unwrap_or(text.len())
    };
    text.split_at(length)
}

/// The byte of the escape at `offset`, and the length of the escape.
fn escape_at(text: &str, offset: usize) -> Result<(u8, usize), TemplateError> {
    let rest = &text[offset..];
    let mut chars = rest.chars().skip(1);
    let byte = match chars.next() {
        Some('n') => Some(b'\n'),
        Some('r') => Some(b'\r'),
        Some('t') => Some(b'\t'),
        Some('0') => Some(0),
        Some(c @ ('\\' | '{' | '}' | '\'' | '"')) => Some(c as u8),
        Some('x') => {
            let mut digit = || chars.next().and_then(|c| c.to_digit(16));
            let value = digit().zip(digit()).map(|(high, low)| (high << 4 | low) as u8);
            return value.map(|byte| (byte, 4)).ok_or_else(|| bad_escape(rest, offset));
        }
        _ => None,
    };
    byte.map(|byte| (byte, 2)).ok_or_else(|| bad_escape(rest, offset))
}

fn bad_escape(rest: &str, offset: usize) -> TemplateError {
    let length = if rest.starts_with("\\x") { 4 } else { 2 };
    TemplateError::BadEscape { offset, escape: rest.chars().take(length).collect() }
}
