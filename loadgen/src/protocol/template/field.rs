//! The fields: their syntax and their values.

use common::units::{Decimal, parse_count};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, Zipf};

use super::{At, below};
use crate::protocol::{message::SIZE_MAX, random::mix};

/// The names of the fields.
pub(super) const NAMES: &[&str] = &["client", "request", "random", "zipf", "fill", "uuid"];
/// An example of each field, for messages to the user.
pub(super) const KNOWN_FIELDS: &str =
    "{client}, {request}, {random:1..1000}, {zipf:1..100k:0.99}, {fill:64} and {uuid}";

/// What `{fill:N}` repeats. It has no white space and no quotes: they would end a word or a line of a request.
const FILLER: &[u8] = b"The-Quick-Brown-Fox-jumps-over-the-lazy-Dog.Sphinx-of-Black-Quartz,judge-my-Vow!";
/// The lengths of the groups of a UUID's digits.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
/// With its digits and hyphens.
const UUID_BYTES: usize = 36;

/// A field whose value depends on the request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Client,
    Request,
    /// From `first` on, `count` numbers.
    Random {
        first: u64,
        count: u64,
    },
    /// `ranks` gives 1 for `first`, which is the most frequent number.
    Zipf {
        first: u64,
        last: u64,
        ranks: Zipf<f64>,
    },
    Uuid,
}

/// What the text between two braces means.
pub(super) enum Parsed {
    Field(Field),
    /// Bytes that are the same for each request.
    Fill(Vec<u8>),
}

/// Parses a field by its name, which is one of [`NAMES`], and its setting: the text after the colon.
///
/// # Errors
/// What is wrong with the setting, and what to write.
pub(super) fn parse(name: &str, setting: Option<&str>) -> Result<Parsed, String> {
    match (name, setting) {
        ("client", None) => Ok(Parsed::Field(Field::Client)),
        ("request", None) => Ok(Parsed::Field(Field::Request)),
        ("uuid", None) => Ok(Parsed::Field(Field::Uuid)),
        ("random", Some(setting)) => random(setting).map(Parsed::Field),
        ("random", None) => Err("it needs a range, as in {random:1..1000}".to_owned()),
        ("zipf", Some(setting)) => zipf(setting).map(Parsed::Field),
        ("zipf", None) => Err("it needs a range and an exponent, as in {zipf:1..100k:0.99}".to_owned()),
        ("fill", Some(setting)) => fill(setting).map(Parsed::Fill),
        ("fill", None) => Err("it needs a number of bytes, as in {fill:64}".to_owned()),
        _ => Err(format!("it has no setting: write {{{name}}}")),
    }
}

impl Field {
    #[inline]
    pub(super) fn expand(&self, at: &At, number: u32, out: &mut Vec<u8>) {
        let draw = || at.draw(number.into());
        match self {
            Field::Client => decimal(at.client.into(), out),
            Field::Request => decimal(at.request, out),
            Field::Random { first, count } => decimal(first + below(draw(), *count), out),
            Field::Zipf { first, last, ranks } => {
                // A draw from Zipf's law takes several numbers.
                let rank = ranks.sample(&mut Xoshiro256PlusPlus::seed_from_u64(draw())) as u64;
                // Rounding must not lead out of the range.
                decimal((first + rank.saturating_sub(1)).min(*last), out);
            }
            Field::Uuid => uuid(draw(), out),
        }
    }

    /// The length of every value in bytes, if all have the same length.
    pub(super) fn fixed_length(&self) -> Option<usize> {
        match self {
            Field::Uuid => Some(UUID_BYTES),
            Field::Client | Field::Request | Field::Random { .. } | Field::Zipf { .. } => None,
        }
    }
}

#[inline]
fn decimal(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Version 4, variant 10 (RFC 9562, section 5.4).
fn uuid(draw: u64, out: &mut Vec<u8>) {
    let bits = u128::from(mix(draw, 0)) << 64 | u128::from(mix(draw, 1));
    let bits = bits & !(0xf << 76 | 0b11 << 62) | 4 << 76 | 0b10 << 62;
    let mut shift = 128;
    for (index, length) in UUID_GROUPS.into_iter().enumerate() {
        if index > 0 {
            out.push(b'-');
        }
        for _ in 0..length {
            shift -= 4;
            out.push(b"0123456789abcdef"[(bits >> shift & 0xf) as usize]);
        }
    }
}

fn random(setting: &str) -> Result<Field, String> {
    let (first, last) = range(setting)?;
    Ok(Field::Random { first, count: last - first + 1 })
}

fn zipf(setting: &str) -> Result<Field, String> {
    let (numbers, exponent) =
        setting.split_once(':').ok_or("it needs an exponent after the range, as in {zipf:1..100k:0.99}")?;
    let (first, last) = range(numbers)?;
    let exponent = exponent_of(exponent)?;
    // A range has at most 10^15 + 1 numbers, so each is exact as a float.
    let ranks = Zipf::new((last - first + 1) as f64, exponent).map_err(|error| error.to_string())?;
    Ok(Field::Zipf { first, last, ranks })
}

/// Parses an exponent. Near 1, the formulas lose their digits: there, 1 itself differs by less than one part in 10^4.
fn exponent_of(text: &str) -> Result<f64, String> {
    const MAX: f64 = 100.0;
    const NEAR: f64 = 1e-6;
    let exponent = Decimal::parse(text).and_then(|_| text.parse::<f64>().ok());
    match exponent {
        Some(exponent) if (exponent - 1.0).abs() < NEAR => Ok(1.0),
        Some(exponent) if exponent > 0.0 && exponent <= MAX => Ok(exponent),
        _ => Err(format!("the exponent '{text}' is no number over 0 and up to {MAX}, as in 0.99")),
    }
}

/// Parses a range, both ends included.
fn range(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once("..").ok_or_else(|| {
        format!(
            "'{text}' is no range: write its first and its last number with two dots between, as in 1..1000"
        )
    })?;
    let (first, last) = (parse_count(first)?, parse_count(last)?);
    if first > last {
        return Err(format!("the range ends before it begins: write {last}..{first}"));
    }
    Ok((first, last))
}

fn fill(setting: &str) -> Result<Vec<u8>, String> {
    let length = parse_count(setting)?;
    match usize::try_from(length) {
        Ok(length @ 1..=SIZE_MAX) => Ok(FILLER.iter().copied().cycle().take(length).collect()),
        _ => Err(format!("the number of bytes must be from 1 to {SIZE_MAX} (64 MiB)")),
    }
}
