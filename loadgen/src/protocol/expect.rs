//! The reply that a request should get.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::protocol::{Status, template};

/// The largest compiled regular expression in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The expected reply. It is written and read as in `--expect`.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// The request with its ASCII letters in upper case.
    Upper,
    /// The request, unchanged.
    Echo,
    /// Any reply that keeps to the protocol.
    None,
    /// A reply that reports no error, in a protocol whose replies can.
    NoError,
    /// A reply with a status code in this range, in HTTP.
    Status(RangeInclusive<u16>),
    /// A reply that begins with these bytes.
    Prefix(Text),
    /// These bytes, perhaps with an end of line after them.
    Equals(Text),
    /// A reply in which the expression matches anywhere. `.` matches an end of line, too.
    Regex(Regex),
}

/// A text of the command line, and the bytes that it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// The text, with escapes.
    pub text: String,
    /// The bytes; never empty.
    pub bytes: Vec<u8>,
}

/// Why a text is no [`Expect`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseExpectError {
    /// The text is no known expectation.
    #[error(
        "'{0}' is not an expected reply: write upper, echo, none, no-error, prefix:TEXT, equals:TEXT, regex:EXPRESSION, or a \
         status such as 2xx or 204"
    )]
    Unknown(String),
    /// `prefix:` or `equals:` without a text.
    #[error("no text after '{0}:'")]
    NoText(&'static str),
    /// An escape of the text is wrong.
    #[error("{0}")]
    Escape(String),
    /// The regular expression is wrong.
    #[error("not a regular expression: {0}")]
    Regex(String),
}

impl FromStr for Expect {
    type Err = ParseExpectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = |kind: &'static str, text: &str| match template::unescape(text) {
            Ok(bytes) if bytes.is_empty() => Err(ParseExpectError::NoText(kind)),
            Ok(bytes) => Ok(Text { text: text.to_owned(), bytes }),
            Err(error) => Err(ParseExpectError::Escape(error.to_string())),
        };
        match text.split_once(':') {
            Some(("prefix", text)) => bytes("prefix", text).map(Expect::Prefix),
            Some(("equals", text)) => bytes("equals", text).map(Expect::Equals),
            Some(("regex", "")) => Err(ParseExpectError::NoText("regex")),
            Some(("regex", expression)) => regex(expression).map(Expect::Regex),
            _ => match text {
                "upper" => Ok(Expect::Upper),
                "echo" => Ok(Expect::Echo),
                "none" => Ok(Expect::None),
                "no-error" => Ok(Expect::NoError),
                text => {
                    status(text).map(Expect::Status).ok_or_else(|| ParseExpectError::Unknown(text.to_owned()))
                }
            },
        }
    }
}

fn regex(expression: &str) -> Result<Regex, ParseExpectError> {
    RegexBuilder::new(expression)
        .dot_matches_new_line(true)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| ParseExpectError::Regex(error.to_string()))
}

/// A status code, or the class of one.
fn status(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, rest) = text.split_at_checked(1)?;
    let hundreds = first.parse().ok().filter(|digit| (1..=5_u16).contains(digit))? * 100;
    match rest {
        "xx" => Some(hundreds..=hundreds + 99),
        digits if digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let code = hundreds + digits.parse::<u16>().ok()?;
            Some(code..=code)
        }
        _ => None,
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Upper => f.write_str("upper"),
            Expect::Echo => f.write_str("echo"),
            Expect::None => f.write_str("none"),
            Expect::NoError => f.write_str("no-error"),
            Expect::Status(codes) if codes.start() == codes.end() => write!(f, "{}", codes.start()),
            Expect::Status(codes) => write!(f, "{}xx", codes.start() / 100),
            Expect::Prefix(Text { text, .. }) => write!(f, "prefix:{text}"),
            Expect::Equals(Text { text, .. }) => write!(f, "equals:{text}"),
            Expect::Regex(regex) => write!(f, "regex:{}", regex.as_str()),
        }
    }
}

impl PartialEq for Expect {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Expect {}

impl Serialize for Expect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Expect {
    /// Whether a reply with this status can be the expected one.
    #[inline]
    pub(crate) fn admits(&self, status: Status) -> bool {
        match (self, status) {
            (Expect::NoError, status) => status != Status::Error,
            (Expect::Status(codes), Status::Http(code)) => codes.contains(&code),
            (Expect::Status(_), Status::Plain | Status::Error) => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_printed_as_it_is_written() {
        for text in
            ["upper", "echo", "none", "no-error", "2xx", "404", "prefix:+P\\x4f", "equals:OK", "regex:^a.b$"]
        {
            assert_eq!(text.parse::<Expect>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_expectation_says_what_is_possible() {
        for text in ["", "Upper", "6xx", "2x", "2000", "0xx", "prefix", "contains:x"] {
            assert_eq!(text.parse::<Expect>(), Err(ParseExpectError::Unknown(text.to_owned())));
        }
        assert_eq!("prefix:".parse::<Expect>(), Err(ParseExpectError::NoText("prefix")));
        assert!(matches!("regex:(".parse::<Expect>(), Err(ParseExpectError::Regex(_))));
        assert!(matches!("equals:\\q".parse::<Expect>(), Err(ParseExpectError::Escape(_))));
    }

    #[test]
    fn a_status_is_held_against_its_range() {
        let expect = |text: &str| text.parse::<Expect>().unwrap();
        assert!(expect("2xx").admits(Status::Http(299)) && !expect("2xx").admits(Status::Http(300)));
        assert!(expect("204").admits(Status::Http(204)) && !expect("204").admits(Status::Http(200)));
        assert!(!expect("no-error").admits(Status::Error) && expect("no-error").admits(Status::Plain));
        assert!(expect("none").admits(Status::Error));
    }
}
