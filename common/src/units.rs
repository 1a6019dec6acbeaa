//! How durations and counts are written and read.

use std::time::Duration;

/// The longest duration that a flag takes. It keeps every sum of an instant and a duration far from overflow.
pub const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a duration: a number and a unit, as in `250us`, `10ms`, `1.5s`, `2m`.
///
/// # Errors
/// When there is no unit, the unit is unknown, or the duration exceeds [`DURATION_MAX`].
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(common::units::parse_duration("250us")?, Duration::from_micros(250));
/// assert!(common::units::parse_duration("10").is_err());
/// # Ok::<(), String>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let hint = "write a number and a unit, as in 250us, 10ms, 5s or 2m";
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}: {hint}"))?;
    if duration > DURATION_MAX {
        return Err("the longest duration is 366 days".to_owned());
    }
    Ok(duration)
}

/// Like [`parse_duration`], for what makes no sense as zero (a timeout, an interval).
///
/// # Errors
/// As [`parse_duration`], and for zero.
pub fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it must be longer than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// Writes a duration as a person would, with its parts parted by spaces: `1s 500ms`.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Reads a count: a decimal number, which may end in `k` (thousands) or `m` (millions), as in `500`, `20k`,
/// `1.5m`.
///
/// # Errors
/// When it is not such a number, is not whole, or exceeds 10^15.
///
/// ```
/// assert_eq!(common::units::parse_count("20k")?, 20_000);
/// assert!(common::units::parse_count("0.5").is_err());
/// # Ok::<(), String>(())
/// ```
pub fn parse_count(text: &str) -> Result<u64, String> {
    const MAX: u64 = 1_000_000_000_000_000;
    let wrong = || format!("'{text}' is not a count: write a whole number, as in 500, 20k or 1.5m");
    let (digits, decimals) = match text.to_ascii_lowercase() {
        text if text.ends_with('k') => (text[..text.len() - 1].to_owned(), 3),
        text if text.ends_with('m') => (text[..text.len() - 1].to_owned(), 6),
        text => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() || fraction.len() > decimals || digits.ends_with('.') {
        return Err(wrong());
    }
    let shifted = format!("{whole}{fraction}{}", "0".repeat(decimals - fraction.len()));
    if !shifted.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    shifted.parse().ok().filter(|count| *count <= MAX).ok_or_else(|| format!("'{text}' is over 10^15"))
}

/// Like [`parse_count`], from 1 up.
///
/// # Errors
/// As [`parse_count`], and for zero.
pub fn parse_positive_count(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("it must be at least 1".to_owned()),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_the_contract_are_read() {
        for (text, duration) in [
            ("250us", Duration::from_micros(250)),
            ("10ms", Duration::from_millis(10)),
            ("5s", Duration::from_secs(5)),
            ("2m", Duration::from_secs(120)),
            ("1.5s", Duration::from_millis(1500)),
            ("1m 30s", Duration::from_secs(90)),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
        for text in ["", "5", "s", "-1s", "5 parsecs", "400d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_positive_duration("0s").is_err());
    }

    #[test]
    fn counts_of_the_contract_are_read() {
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
        assert!(parse_positive_count("0").is_err());
    }
}
