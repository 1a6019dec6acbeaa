//! Parsing and formatting of durations, counts and decimal numbers.

use std::time::Duration;

/// The longest duration that a flag accepts. So the sum of an instant and a duration never overflows.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The units of time that a flag accepts, in nanoseconds. Of equal units, the first one is printed.
const UNITS: &[(&str, u64)] = &[
    ("d", 24 * 3_600_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    // The micro sign and the Greek letter.
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

const DURATION_HINT: &str =
    "write a number and a unit (ns, us, ms, s, m or min, h, d), as in 250us, 1.5s or 2m";

/// Parses a duration: numbers, each with a unit, as in `250us`, `10ms`, `1.5s`, `1m30s`. The units are `ns`, `us`, `ms`, `s`,
/// `m` or `min`, `h` and `d`.
///
/// # Errors
/// When a number has no unit, a unit is unknown, or the duration is negative, finer than a nanosecond or longer than 366
/// days.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(common::units::parse_duration("250us")?, Duration::from_micros(250));
/// assert!(common::units::parse_duration("10").is_err());
/// # Ok::<(), String>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    refuse_flag(text)?;
    if is_negative(text) {
        return Err("it cannot be negative".to_owned());
    }
    let too_long = || "the longest duration is 366 days".to_owned();
    let mut sum = Duration::ZERO;
    let mut rest = text.trim();
    loop {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, after) = split_where(after.trim_start(), |c| !c.is_alphabetic());
        let not_one = || format!("'{text}' is not a duration: {DURATION_HINT}");
        let number = Decimal::parse(number).ok_or_else(not_one)?;
        if unit.is_empty() {
            let is_number = after.is_empty() || after.starts_with(|c: char| c.is_ascii_digit());
            return Err(match is_number {
                true => format!("'{text}' has a number without a unit: {DURATION_HINT}"),
                false => not_one(),
            });
        }
        let (_, unit_ns) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("'{unit}' is not a unit of time: {DURATION_HINT}"))?;
        let part = match number.times(*unit_ns) {
            Ok(nanoseconds) => {
                u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| too_long())?
            }
            Err(NotWhole) => return Err("it is finer than a nanosecond".to_owned()),
        };
        sum = sum.saturating_add(part);
        rest = after.trim_start();
        if rest.is_empty() {
            return if sum > DURATION_MAX { Err(too_long()) } else { Ok(sum) };
        }
    }
}

/// Like [`parse_duration`], for durations that cannot be zero (a timeout, an interval).
///
/// # Errors
/// As [`parse_duration`], and for zero.
pub fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    let too_short = || "it must be longer than zero".to_owned();
    if is_negative(text) {
        return Err(too_short());
    }
    match parse_duration(text)? {
        Duration::ZERO => Err(too_short()),
        duration => Ok(duration),
    }
}

/// Formats a duration so that it can be parsed again: `1s 500ms`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut parts = Vec::new();
    for (name, unit_ns) in UNITS {
        let count = rest / u128::from(*unit_ns);
        if count > 0 {
            parts.push(format!("{count}{name}"));
            rest %= u128::from(*unit_ns);
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Parses a count: a decimal number, which may end in `k` (thousands) or `m` (millions), as in `500`, `20k`,
/// `1.5m`.
///
/// # Errors
/// When the text is no such number, or the number is not whole or exceeds 10^15.
///
/// ```
/// assert_eq!(common::units::parse_count("20k")?, 20_000);
/// assert!(common::units::parse_count("0.5").is_err());
/// # Ok::<(), String>(())
/// ```
pub fn parse_count(text: &str) -> Result<u64, String> {
    const MAX: u128 = 1_000_000_000_000_000;
    refuse_flag(text)?;
    let (number, factor) = split_factor(text);
    match Decimal::parse(number).map(|number| number.times(factor)) {
        Some(Ok(count)) if count <= MAX => Ok(count as u64),
        Some(Ok(_)) => Err(format!("'{text}' is over 10^15")),
        Some(Err(NotWhole)) | None => {
            Err(format!("'{text}' is not a count: write a whole number, as in 500, 20k or 1.5m"))
        }
    }
}

/// Like [`parse_count`], for counts from 1 up.
///
/// # Errors
/// As [`parse_count`], and for zero.
pub fn parse_positive_count(text: &str) -> Result<u64, String> {
    let too_small = || "it must be at least 1".to_owned();
    if is_negative(text) {
        return Err(too_small());
    }
    match parse_count(text)? {
        0 => Err(too_small()),
        count => Ok(count),
    }
}

/// An exact decimal number: `digits / 10^decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The number without its point.
    pub digits: u64,
    /// The number of digits after the point. The last of them is not 0.
    pub decimals: u32,
}

/// A product that is not a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWhole;

impl Decimal {
    /// Parses digits with at most one point among them, as in `5` and `0.25`: no sign, no exponent. Returns `None` for any other
    /// text, and for a number with too many digits for a `u64`.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (text, ""),
        };
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let are_digits = !whole.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let digits = are_digits.then(|| digits.parse().ok()).flatten()?;
        Some(Self { digits, decimals: u32::try_from(fraction.len()).ok()? })
    }

    /// The exact product.
    ///
    /// # Errors
    /// [`NotWhole`] when it is not a whole number.
    pub fn times(self, factor: u64) -> Result<u128, NotWhole> {
        let product = u128::from(self.digits) * u128::from(factor);
        let divisor = 10_u128.checked_pow(self.decimals).ok_or(NotWhole)?;
        if product.is_multiple_of(divisor) { Ok(product / divisor) } else { Err(NotWhole) }
    }
}

/// Splits a number from its `k` (thousands) or `m` (millions).
pub fn split_factor(text: &str) -> (&str, u64) {
    match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    }
}

/// Whether the text is a number with a minus sign.
pub fn is_negative(text: &str) -> bool {
    text.trim_start()
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// Refuses a flag in the place of a value: the value is missing.
///
/// # Errors
/// When the text begins like a flag.
pub fn refuse_flag(text: &str) -> Result<(), String> {
    match text.starts_with('-') && !is_negative(text) {
        true => Err(format!("a value is missing: '{text}' is a flag")),
        false => Ok(()),
    }
}

/// Splits the text before the first character that is an end.
fn split_where(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

/// A duration in nanoseconds, at most `u64::MAX`.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn each_form_of_a_duration_is_accepted() {
        for (text, duration) in [
            ("5ns", Duration::from_nanos(5)),
            ("250us", Duration::from_micros(250)),
            ("250\u{b5}s", Duration::from_micros(250)),
            ("10ms", Duration::from_millis(10)),
            ("5s", Duration::from_secs(5)),
            ("5 s", Duration::from_secs(5)),
            ("2m", Duration::from_secs(120)),
            ("2min", Duration::from_secs(120)),
            ("3h", Duration::from_secs(3 * 3600)),
            ("366d", DURATION_MAX),
            ("1.5s", Duration::from_millis(1500)),
            ("0.5us", Duration::from_nanos(500)),
            ("1m 30s", Duration::from_secs(90)),
            ("1m30s", Duration::from_secs(90)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn an_invalid_duration_gets_an_error_that_shows_the_syntax() {
        for text in ["", "s", ".5s", "5.s", "1..5s", "soon", "5s,", "1,5s", "+5s"] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error, format!("'{text}' is not a duration: {DURATION_HINT}"));
        }
        for text in ["5", "0.3", "1m 30"] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error, format!("'{text}' has a number without a unit: {DURATION_HINT}"));
        }
        for (text, unit) in
            [("1M", "M"), ("1e3s", "e"), ("5 parsecs", "parsecs"), ("1y", "y"), ("2S", "S"), ("2w", "w")]
        {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error, format!("'{unit}' is not a unit of time: {DURATION_HINT}"));
        }
        let named: Vec<_> = DURATION_HINT.split([' ', ',', '(', ')']).collect();
        for (name, _) in UNITS.iter().filter(|(name, _)| name.is_ascii()) {
            assert!(named.contains(name), "{name} is not listed in the error");
        }
        for text in ["0.5ns", "0.0000000001s"] {
            assert_eq!(parse_duration(text).unwrap_err(), "it is finer than a nanosecond", "{text}");
        }
        for text in ["367d", "366d1ns", "9000000000000000000h"] {
            assert_eq!(parse_duration(text).unwrap_err(), "the longest duration is 366 days", "{text}");
        }
        assert_eq!(parse_duration("-1s").unwrap_err(), "it cannot be negative");
        for text in ["0s", "0.0ms", "-5s", "-.5s"] {
            assert_eq!(parse_positive_duration(text).unwrap_err(), "it must be longer than zero", "{text}");
        }
    }

    #[test]
    fn a_duration_that_is_printed_can_be_parsed_again() {
        for text in ["0s", "1ns", "250us", "1s 500ms", "1m 30s", "40d 23h 59m 59s 999ms 999us 999ns"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn each_form_of_a_count_is_accepted() {
        for (text, count) in
            [("0", 0), ("500", 500), ("20k", 20_000), ("20K", 20_000), ("1.5m", 1_500_000), ("2.0", 2)]
        {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in
            ["", "k", ".", "1.", ".5k", "1.5", "-1", "+1", "1e3", "1.2345k", "1kk", "9999999999m", "٣"]
        {
            assert!(parse_count(text).is_err(), "{text}");
        }
        assert_eq!(parse_positive_count("0").unwrap_err(), "it must be at least 1");
        assert_eq!(parse_positive_count("-1").unwrap_err(), "it must be at least 1");
    }

    /// Texts that are close to a number with a unit.
    fn texts() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "0",
            "1",
            "5",
            "999",
            "18446744073709551616",
            ".",
            "-",
            "+",
            " ",
            "e",
            "k",
            "K",
            "m",
            "M",
            "s",
            "ms",
            "us",
            "ns",
            "d",
            "h",
            "min",
            "\u{b5}s",
            "\u{3bc}s",
            "\u{663}",
            "\0",
            "--rate",
            "0.0000000000000000000000000000000000000001",
        ]);
        prop_oneof![3 => vec(piece, 0..7).prop_map(|pieces| pieces.concat()), 1 => "\\PC{0,12}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_048, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_a_value_in_its_range_or_an_error(text in texts()) {
            match parse_duration(&text) {
                Ok(duration) => {
                    prop_assert!(duration <= DURATION_MAX);
                    prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
                    prop_assert_eq!(parse_positive_duration(&text).is_ok(), !duration.is_zero());
                }
                Err(error) => prop_assert!(!error.is_empty() && parse_positive_duration(&text).is_err()),
            }
            match parse_count(&text) {
                Ok(count) => {
                    prop_assert!(count <= 1_000_000_000_000_000);
                    prop_assert_eq!(parse_count(&count.to_string()), Ok(count));
                    prop_assert_eq!(parse_positive_count(&text).is_ok(), count > 0);
                }
                Err(error) => prop_assert!(!error.is_empty() && parse_positive_count(&text).is_err()),
            }
            if let Some(number) = Decimal::parse(&text) {
                // The last digit after the point is not 0, so the number is whole only without decimals.
                prop_assert_eq!(number.times(1).is_ok(), number.decimals == 0 || number.digits == 0);
                let _not_whole = number.times(u64::MAX);
            }
        }

        #[test]
        fn every_duration_is_printed_so_that_it_is_parsed_as_the_same(ns in 0..=DURATION_MAX.as_nanos() as u64) {
            let duration = Duration::from_nanos(ns);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_duration(&format!("{ns}ns")), Ok(duration));
            prop_assert_eq!(nanoseconds(duration), ns);
        }
    }

    #[test]
    fn a_flag_is_not_taken_for_a_value() {
        for text in ["-q", "--rate", "-"] {
            let error = format!("a value is missing: '{text}' is a flag");
            assert_eq!(parse_duration(text).unwrap_err(), error);
            assert_eq!(parse_positive_count(text).unwrap_err(), error);
        }
    }
}
