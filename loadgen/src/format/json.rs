//! A result as JSON: the contract for machines.

use std::{borrow::Cow, fmt, io};

use common::human::bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use crate::result::{Document, SCHEMA, comparison::Kind};

/// The name that `--format` takes.
pub(crate) const NAME: &str = "json";
/// The name that `--format` takes for a result on one line.
pub(crate) const LINE_NAME: &str = "jsonl";

/// Why a text is not a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is the beginning of JSON.
    #[error("it is incomplete: it was not written or copied to its end")]
    Truncated,
    /// The text is not JSON.
    #[error("it is not a JSON document such as 'loadgen run --format json -o FILE' writes one")]
    NotJson,
    /// The text is JSON of another program.
    #[error("it is JSON, but not a result of loadgen such as 'loadgen run --format json -o FILE' writes one")]
    NoResult,
    /// The text is longer than this number of bytes.
    #[error("it is larger than {}, the limit of one result: use a longer --interval", bytes(*.0))]
    TooLarge(u64),
    /// The result has another version of the contract.
    #[error("it has schema {0}; this program reads schema {SCHEMA}")]
    Schema(u64),
    /// The result lacks a field that every result has.
    #[error("it lacks the field '{0}', which every result has: it was edited, or written by another version")]
    NoField(String),
    /// The result has a field with an impossible value.
    #[error("one of its fields has a value that no result has: it was edited, or written by another version")]
    BadField,
}

/// The largest integer of a result. Sums of many of them still fit in 64 bits, and every JSON parser reads them exactly
/// (RFC 8259, section 6).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The fields that identify the version and the kind of a result, and whether its integers are in range.
struct Head {
    schema: u64,
    kind: Option<Kind>,
    is_in_range: bool,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Head;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a result")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
                let (mut schema, mut kind, mut is_in_range) = (None, None, true);
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match &*key {
                        "schema" => schema = Some(map.next_value()?),
                        "kind" => kind = map.next_value()?,
                        _ => is_in_range &= map.next_value::<InRange>()?.0,
                    }
                }
                let schema = schema.ok_or_else(|| A::Error::missing_field("schema"))?;
                Ok(Head { schema, kind, is_in_range })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// Whether every integer in a value is at most [`INTEGER_MAX`].
struct InRange(bool);

impl<'de> Deserialize<'de> for InRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = InRange;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<InRange, E> {
                Ok(InRange(true))
            }

            fn visit_u64<E>(self, number: u64) -> Result<InRange, E> {
                Ok(InRange(number <= INTEGER_MAX))
            }

            fn visit_i64<E>(self, number: i64) -> Result<InRange, E> {
                Ok(InRange(number.unsigned_abs() <= INTEGER_MAX))
            }

            fn visit_f64<E>(self, _: f64) -> Result<InRange, E> {
                Ok(InRange(true))
            }

            fn visit_str<E>(self, _: &str) -> Result<InRange, E> {
                Ok(InRange(true))
            }

            fn visit_unit<E>(self) -> Result<InRange, E> {
                Ok(InRange(true))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<InRange, A::Error> {
                let mut all = true;
                while let Some(InRange(each)) = list.next_element()? {
                    all &= each;
                }
                Ok(InRange(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InRange, A::Error> {
                let mut all = true;
                while let Some((IgnoredAny, InRange(each))) = map.next_entry()? {
                    all &= each;
                }
                Ok(InRange(all))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Prints a result as one JSON object.
pub(crate) fn write(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    out.write_all(b"\n")
}

/// Prints a result, or the result of a run, as one line.
pub(crate) fn write_line(result: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, result)?;
    out.write_all(b"\n")
}

/// Reads a result back.
///
/// # Errors
/// If the text is not a result of this contract.
pub(crate) fn read(text: &str) -> Result<Document, ReadError> {
    if text.trim().is_empty() {
        return Err(ReadError::Empty);
    }
    let Head { schema, kind, is_in_range } =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Eof => ReadError::Truncated,
            Category::Syntax if ends_inside_number(text, &error) => ReadError::Truncated,
            Category::Syntax | Category::Io => ReadError::NotJson,
            Category::Data => ReadError::NoResult,
        })?;
    if schema != u64::from(SCHEMA) {
        return Err(ReadError::Schema(schema));
    }
    if !is_in_range {
        return Err(ReadError::BadField);
    }
    let document = match kind {
        None => serde_json::from_str(text).map(Document::Run),
        Some(Kind::Comparison) => serde_json::from_str(text).map(Document::Comparison),
        Some(Kind::Sweep) => serde_json::from_str(text).map(Document::Sweep),
    };
    document.map_err(|error| {
        let message = error.to_string();
        match message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) => ReadError::NoField(field.to_owned()),
            None => ReadError::BadField,
        }
    })
}

/// Whether the text ends in the middle of a number. To the parser, `1.` and `1e` are wrong numbers and not the beginning of one.
fn ends_inside_number(text: &str, error: &serde_json::Error) -> bool {
    let last = text.rsplit('\n').next().unwrap_or_default();
    let is_at_end = error.line() == text.matches('\n').count() + 1 && error.column() >= last.len();
    is_at_end && text.trim_start().starts_with('{') && last.ends_with(['.', '-', '+', 'e', 'E'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    #[test]
    fn the_error_of_a_bad_result_does_not_quote_the_parser() {
        let mut result = Vec::new();
        write(&Document::Run(Box::new(example())), &mut result).unwrap();
        let result = String::from_utf8(result).unwrap();
        let without = result.replace("\"elapsed_s\"", "\"elapsed\"");
        let bad = result.replace("\"interrupted\": false", "\"interrupted\": \"no\"");
        let huge = result.replace("\"schema\": 1,", "\"schema\": 1, \"a\": [{\"b\": 9007199254740992}],");
        let newer = result.replace("\"schema\": 1", "\"schema\": 5000000000");
        for (text, error) in [
            ("", ReadError::Empty),
            ("\n", ReadError::Empty),
            (&result[..result.len() / 2], ReadError::Truncated),
            ("{\"schema\": 1, \"elapsed_s\": 2.", ReadError::Truncated),
            ("{\n\"schema\": 1,\n\"elapsed_s\": 2e", ReadError::Truncated),
            ("{name", ReadError::NotJson),
            ("verdict    valid", ReadError::NotJson),
            (&format!("{result}{result}"), ReadError::NotJson),
            ("[]", ReadError::NoResult),
            ("{\"a\": 1}", ReadError::NoResult),
            ("{\"schema\": \"x\"}", ReadError::NoResult),
            (&newer, ReadError::Schema(5_000_000_000)),
            ("{\"schema\": 1}", ReadError::NoField("verdict".to_owned())),
            (&without, ReadError::NoField("elapsed_s".to_owned())),
            (&bad, ReadError::BadField),
            (&huge, ReadError::BadField),
        ] {
            assert_eq!(read(text).unwrap_err(), error, "{text}");
            let message = error.to_string();
            assert!(!["line", "column", "expected"].iter().any(|word| message.contains(word)), "{message}");
        }
        assert!(read(&result).is_ok());
    }
}
