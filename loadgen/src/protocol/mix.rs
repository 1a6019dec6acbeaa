//! Several kinds of requests in one load: `--message`, and the choice of a kind for each request. Pure.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::protocol::template::At;

/// The maximum number of kinds of requests: a report has a row for each.
pub(crate) const KINDS_MAX: usize = 64;
/// The maximum length of a kind's name in characters.
pub(crate) const NAME_CHARS_MAX: usize = 32;

/// The purpose of the draw that chooses a kind.
const PURPOSE: u64 = u64::MAX;

/// A value of `--message`: `TEXT` or `@FILE`, behind an optional `WEIGHT:` or `WEIGHT/NAME:`.
///
/// A prefix begins with a digit. So a text that begins with digits and a colon is written behind the weight `1:`, as in
/// `1:12:30 is a time`. A text that begins with `@` is written as `\x40`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageArg {
    /// How often the message is sent, relative to the weights of the others. At least 1.
    pub weight: u32,
    /// The name of its row in the report. None: see [`name_kinds`].
    pub name: Option<String>,
    /// Where its text is.
    pub source: Source,
}

/// Where the text of a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A text with fields and escapes. Not empty.
    Text(String),
    /// All bytes of a file, as they are: without fields and escapes.
    File(PathBuf),
}

/// Why a value of `--message` is invalid, or why several are together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MixError {
    /// A weight that is 0 or too large.
    #[error("the weight '{0}' is out of range: it must be from 1 to {max}", max = u32::MAX)]
    WeightRange(String),
    /// A name with other characters.
    #[error(
        "'{0}' is no name for a kind of request: use up to {NAME_CHARS_MAX} letters, digits, '.', '-' and '_', as in \
         3/get:GET key; if '{0}' belongs to the text, write 1: before the text"
    )]
    BadName(String),
    /// Nothing to send.
    #[error("the message is empty: write its text, or @FILE for the bytes of a file")]
    Empty,
    /// An `@` without a name.
    #[error("'@' has no file name: write @FILE, or \\x40 for a text that begins with '@'")]
    NoFileName,
    /// Two messages with one name.
    #[error("two messages have the name '{0}': give each its own")]
    NameTwice(String),
    /// More than [`KINDS_MAX`] messages.
    #[error("there are {0} messages: the maximum is {KINDS_MAX}")]
    TooMany(usize),
}

impl fmt::Display for MessageArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.weight) {
            (Some(name), weight) => write!(f, "{weight}/{name}:")?,
            // The text may begin like a weight.
            (None, 1) if !matches!(&self.source, Source::Text(text) if text.starts_with(|c: char| c.is_ascii_digit())) =>
                {}
            (None, weight) => write!(f, "{weight}:")?,
        }
        match &self.source {
            Source::Text(text) => f.write_str(text),
            Source::File(path) => write!(f, "@{}", path.display()),
        }
    }
}

impl FromStr for MessageArg {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let (weight, name, text) = split_prefix(text)?;
        let source = match text.strip_prefix('@') {
            Some("") => return Err(MixError::NoFileName),
            Some(path) => Source::File(path.into()),
            None if text.is_empty() => return Err(MixError::Empty),
            None => Source::Text(text.to_owned()),
        };
        Ok(Self { weight, name: name.map(str::to_owned), source })
    }
}

/// Splits the weight, the name and the text.
fn split_prefix(text: &str) -> Result<(u32, Option<&str>, &str), MixError> {
    let whole = (1, None, text);
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (weight, rest) = text.split_at(digits);
    let Some((prefix, message)) = rest.split_once(':').filter(|_| !weight.is_empty()) else {
        return Ok(whole);
    };
    let name = match prefix.strip_prefix('/') {
        None if prefix.is_empty() => None,
        None => return Ok(whole),
        Some(name) if is_name(name) => Some(name),
        Some(name) => return Err(MixError::BadName(name.to_owned())),
    };
    match weight.parse() {
        Ok(weight @ 1..) => Ok((weight, name, message)),
        _ => Err(MixError::WeightRange(weight.to_owned())),
    }
}

/// The name of each message: the given one, or the first word of the text in lower case, or the file's name without its
/// extension. A name that is taken gets a number, as in `get-2`.
///
/// # Errors
/// [`MixError::NameTwice`] when two given names are the same.
pub(crate) fn name_kinds(messages: &[MessageArg]) -> Result<Vec<String>, MixError> {
    let mut taken = BTreeSet::new();
    for name in messages.iter().filter_map(|message| message.name.clone()) {
        if let Some(name) = taken.replace(name) {
            return Err(MixError::NameTwice(name));
        }
    }
    let mut free = |name: String| {
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
        let free = free.expect("the numbers do not end");
        taken.insert(free.clone());
        free
    };
    Ok(messages
        .iter()
        .map(|message| message.name.clone().unwrap_or_else(|| free(default_name(&message.source))))
        .collect())
}

fn default_name(source: &Source) -> String {
    let text = match source {
        Source::Text(text) => text.trim_start(),
        Source::File(path) => path.file_stem().map(Path::new).and_then(Path::to_str).unwrap_or_default(),
    };
    let length = text.find(|c| !is_in_name(c)).unwrap_or(text.len()).min(NAME_CHARS_MAX);
    if length == 0 { "message".to_owned() } else { text[..length].to_ascii_lowercase() }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(is_in_name)
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Chooses the kind of each request by the weights of the kinds, from the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    /// The sum of the weights up to each kind, itself included. Not empty, in rising order.
    sums: Vec<u64>,
}

impl Mix {
    /// A mix of kinds with these weights, each at least 1. There is at least one.
    ///
    /// # Errors
    /// [`MixError::TooMany`] when there are more than [`KINDS_MAX`].
    pub(crate) fn new(weights: &[u32]) -> Result<Self, MixError> {
        if weights.len() > KINDS_MAX {
            return Err(MixError::TooMany(weights.len()));
        }
        let sum = |sum: &mut u64, weight: &u32| {
            *sum += u64::from(*weight);
            Some(*sum)
        };
        Ok(Self { sums: weights.iter().scan(0, sum).collect() })
    }

    /// The kind of a request, from 0.
    #[inline]
    pub(crate) fn kind(&self, at: &At) -> usize {
        match self.sums.as_slice() {
            [] | [_] => 0,
            [.., total] => {
                let drawn = at.below(PURPOSE, *total);
                self.sums.partition_point(|sum| *sum <= drawn)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MessageArg {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_has_an_optional_weight_and_an_optional_name() {
        let text = |text: &str| Source::Text(text.to_owned());
        for (given, weight, name, source) in [
            ("GET {key}", 1, None, text("GET {key}")),
            ("3:GET {key}", 3, None, text("GET {key}")),
            ("3/reads:GET a:b", 3, Some("reads"), text("GET a:b")),
            ("1:12:30", 1, None, text("12:30")),
            ("1:@FILE", 1, None, Source::File("FILE".into())),
            ("@a b.bin", 1, None, Source::File("a b.bin".into())),
            ("4294967295/a.B-c_9:@x:y", u32::MAX, Some("a.B-c_9"), Source::File("x:y".into())),
            // No prefix.
            ("get=3:GET", 1, None, text("get=3:GET")),
            ("3 :x", 1, None, text("3 :x")),
            ("12", 1, None, text("12")),
            ("1/2", 1, None, text("1/2")),
            (":x", 1, None, text(":x")),
            ("-3:x", 1, None, text("-3:x")),
            (" 3:x", 1, None, text(" 3:x")),
            ("3: x", 3, None, text(" x")),
        ] {
            let expected = MessageArg { weight, name: name.map(str::to_owned), source };
            assert_eq!(parse(&expected.to_string()), expected, "{given}");
            assert_eq!(parse(given), expected, "{given}");
        }
    }

    #[test]
    fn a_wrong_message_says_what_to_write() {
        for (given, expected) in [
            ("0:x", "the weight '0' is out of range: it must be from 1 to 4294967295"),
            ("4294967296:x", "the weight '4294967296' is out of range"),
            ("3/my reads:GET", "'my reads' is no name for a kind of request: use up to 32 letters, digits,"),
            ("3/:GET", "'' is no name"),
            ("", "the message is empty"),
            ("3:", "the message is empty: write its text, or @FILE"),
            ("@", "'@' has no file name: write @FILE, or \\x40"),
            ("2/x:@", "'@' has no file name"),
        ] {
            let error = given.parse::<MessageArg>().unwrap_err().to_string();
            assert!(error.contains(expected), "{given}: {error}");
        }
    }

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let given = [
            "GET a",
            "SET a",
            "get b",
            "2/get-2:GET c",
            r#"{"a": 1}"#,
            "[1]",
            "@dir/Body.v1.bin",
            r"  QUIT\r\n",
            "é",
            &"x".repeat(99),
        ];
        let names = name_kinds(&given.map(parse)).unwrap();
        let long = "x".repeat(32);
        let expected =
            ["get", "set", "get-3", "get-2", "message", "message-2", "body.v1", "quit", "message-3", &long];
        assert_eq!(names, expected);
        let error = name_kinds(&["1/a:x", "1/a:y"].map(parse)).unwrap_err();
        assert_eq!(error.to_string(), "two messages have the name 'a': give each its own");
    }

    #[test]
    fn each_kind_has_its_share() {
        let weights = [5, 1, 94, 50, 10];
        let mix = Mix::new(&weights).unwrap();
        let mut counts = [0_u32; 5];
        for client in 0..100 {
            for request in 0..1600 {
                counts[mix.kind(&At { client, request, seed: 9 })] += 1;
            }
        }
        let difference = |(count, weight): (u32, u32)| {
            let expected = f64::from(weight) * 1000.0;
            (f64::from(count) - expected).powi(2) / expected
        };
        // Four degrees of freedom: chi-square is over 18.5 once in 1000 seeds.
        let chi_square: f64 = counts.into_iter().zip(weights).map(difference).sum();
        assert!(chi_square < 18.5, "{chi_square}: {counts:?}");
    }

    /// This pins the load: a later version must choose the same kinds from the same seed.
    #[test]
    fn a_seed_gives_these_kinds() {
        let mix = Mix::new(&[3, 1, 2]).unwrap();
        let kinds: Vec<_> =
            (0..20).map(|request| mix.kind(&At { client: 1, request, seed: 0 }).to_string()).collect();
        assert_eq!(kinds.concat(), "22210002222002220000");
        let one = Mix::new(&[7]).unwrap();
        assert!((0..20).all(|request| one.kind(&At { client: 1, request, seed: 0 }) == 0));
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        assert!(
            Mix::new(&[u32::MAX; 64]).is_ok_and(|mix| mix.kind(&At { client: 0, request: 0, seed: 0 }) < 64)
        );
        let error = Mix::new(&[1; 65]).unwrap_err().to_string();
        assert_eq!(error, "there are 65 messages: the maximum is 64");
    }
}
