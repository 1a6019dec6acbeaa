//! Chunked bodies (RFC 9112, section 7.1).

use memchr::memchr;

use super::{super::Malformed, head::HEAD_MAX};

/// The longest extensions of a chunk in bytes.
const EXTENSION_MAX: u32 = 4 << 10;
/// The digits of a chunk's size: fewer than 2^60 bytes.
const DIGITS_MAX: u32 = 15;

/// What follows in a chunked body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunked {
    /// The rest of a chunk's size.
    Size { size: u64, digits: u32 },
    /// The rest of the extensions of a chunk, of which this many bytes have arrived.
    Extension { size: u64, length: u32 },
    /// The `\n` after the size or the extensions.
    SizeEnd { size: u64 },
    /// This many bytes of a chunk, at least one.
    Data { left: u64 },
    /// The `\r` after a chunk.
    DataEnd,
    /// The `\n` after it.
    DataNewline,
    /// A trailer, or the end of the body. This many bytes of trailers have arrived.
    Trailer { length: usize },
    /// The rest of a trailer.
    TrailerLine { length: usize },
    /// The `\n` at the end of the body.
    LastNewline,
}

impl Default for Chunked {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunked {
    /// Reads one part of the body. Returns the bytes of that part, at least one, and whether the body ends with them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let byte = bytes[0];
        let mut used = 1;
        *self = match *self {
            Self::Size { size, digits } => after_size(size, digits, byte)?,
            Self::Extension { size, .. } if byte == b'\r' => Self::SizeEnd { size },
            Self::Extension { .. } if byte == b'\n' => return Err("\\r\\n after the size of a chunk".into()),
            Self::Extension { length: EXTENSION_MAX, .. } => {
                return Err("extensions of a chunk of at most 4 KiB".into());
            }
            Self::Extension { size, length } => Self::Extension { size, length: length + 1 },
            Self::SizeEnd { size } => {
                newline(byte)?;
                if size == 0 { Self::Trailer { length: 0 } } else { Self::Data { left: size } }
            }
            Self::Data { left } => {
                used = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let left = left - used as u64;
                if left == 0 { Self::DataEnd } else { Self::Data { left } }
            }
            Self::DataEnd if byte == b'\r' => Self::DataNewline,
            Self::DataEnd => return Err("\\r\\n after the bytes of a chunk".into()),
            Self::DataNewline => {
                newline(byte)?;
                Self::default()
            }
            Self::Trailer { .. } if byte == b'\r' => Self::LastNewline,
            Self::Trailer { length } | Self::TrailerLine { length } => {
                let end = memchr(b'\n', bytes);
                used = end.map_or(bytes.len(), |end| end + 1);
                trailer(length + used, end.is_some())?
            }
            Self::LastNewline => {
                newline(byte)?;
                return Ok((1, true));
            }
        };
        Ok((used, false))
    }
}

fn after_size(size: u64, digits: u32, byte: u8) -> Result<Chunked, Malformed> {
    Ok(match byte {
        b'\r' if digits > 0 => Chunked::SizeEnd { size },
        b';' | b' ' | b'\t' if digits > 0 => Chunked::Extension { size, length: 1 },
        _ => match char::from(byte).to_digit(16) {
            Some(digit) if digits < DIGITS_MAX => {
                Chunked::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            _ => return Err("the size of a chunk in at most 15 hexadecimal digits".into()),
        },
    })
}

fn trailer(length: usize, ended: bool) -> Result<Chunked, Malformed> {
    if length > HEAD_MAX {
        return Err("trailers of at most 64 KiB".into());
    }
    Ok(if ended { Chunked::Trailer { length } } else { Chunked::TrailerLine { length } })
}

fn newline(byte: u8) -> Result<(), Malformed> {
    if byte == b'\n' { Ok(()) } else { Err("\\n after \\r".into()) }
}
