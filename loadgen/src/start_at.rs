//! `--start-at`: the moment at which many generators begin together. Pure, but for [`parse`], which asks what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::units::format_duration;

use crate::clock::nanoseconds;

/// What is further ahead is a mistake in the date or the time zone.
pub const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// When a load begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// On the run's clock.
    pub start_ns: u64,
    /// By how much that is later than it was to be.
    pub late_ns: u64,
}

impl Beginning {
    /// Of a load that is to begin in so long, or was to begin so long ago, while the run's clock shows `now_ns`. The load
    /// threads need `lead` to prepare themselves.
    pub fn at(until: Result<Duration, Duration>, now_ns: u64, lead: Duration) -> Self {
        let soonest_ns = now_ns.saturating_add(nanoseconds(lead));
        match until {
            Ok(rest) => {
                let at_ns = now_ns.saturating_add(nanoseconds(rest));
                Self { start_ns: at_ns.max(soonest_ns), late_ns: soonest_ns.saturating_sub(at_ns) }
            }
            Err(past) => Self { start_ns: soonest_ns, late_ns: nanoseconds(lead + past) },
        }
    }
}

/// Reads a moment to come: as RFC 3339 has it (`2026-11-24T12:00:00Z`; without a zone it is UTC), or as `@SECONDS` since
/// 1970, with decimals.
///
/// # Errors
/// When it is neither, is past, or is more than [`AHEAD_MAX`] ahead.
pub fn parse(text: &str) -> Result<SystemTime, String> {
    parse_as_of(text, SystemTime::now())
}

/// A moment to the second, or finer where it is.
pub fn format(at: SystemTime) -> String {
    humantime::format_rfc3339(at).to_string()
}

/// Milliseconds since 1970.
pub fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn parse_as_of(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let at = match text.strip_prefix('@') {
        Some(seconds) => since_1970(seconds),
        None => humantime::parse_rfc3339_weak(text).ok(),
    };
    let at = at.ok_or(
        "write a moment in UTC, as in 2026-11-24T12:00:00Z, or seconds since 1970, as in @1795521600",
    )?;
    match at.duration_since(now) {
        Err(past) => Err(format!(
            "that was {} ago; is it in UTC, and is this clock right?",
            format_duration(to_milliseconds(past.duration()))
        )),
        Ok(ahead) if ahead > AHEAD_MAX => Err(format!(
            "that is {} ahead, and a run waits for 24 hours at most; is it in UTC, and is this clock right?",
            format_duration(Duration::from_secs(ahead.as_secs()))
        )),
        Ok(_) => Ok(at),
    }
}

fn since_1970(seconds: &str) -> Option<SystemTime> {
    // No sign and no exponent: what a float may look like besides is no time that somebody means.
    let is_decimal = seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = seconds.parse().ok().filter(|_| is_decimal)?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

fn to_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ready_in_time_begins_on_time_and_who_is_not_as_soon_as_possible() {
        let [lead, ms] = [2, 1].map(Duration::from_millis);
        for (until, start_ns, late_ns) in [
            (Ok(5 * ms), 105_000_000, 0),
            (Ok(lead), 102_000_000, 0),
            (Ok(ms), 102_000_000, 1_000_000),
            (Ok(Duration::ZERO), 102_000_000, 2_000_000),
            (Err(7 * ms), 102_000_000, 9_000_000),
        ] {
            assert_eq!(Beginning::at(until, 100_000_000, lead), Beginning { start_ns, late_ns }, "{until:?}");
        }
    }

    #[test]
    fn a_moment_is_read_in_both_forms() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        for (text, after_ms) in [
            ("2026-11-24T12:00:01Z", 1_000),
            ("2026-11-24 12:00:01", 1_000),
            ("2026-11-24T12:00:00.250Z", 250),
            ("2026-11-25T12:00:00Z", 24 * 3_600_000),
            ("@1795521600", 0),
            ("@1795521600.5", 500),
        ] {
            let at = parse_as_of(text, now).unwrap_or_else(|error| panic!("{text}: {error}"));
            let wanted = now + Duration::from_millis(after_ms);
            let difference = at.duration_since(wanted).or_else(|_| wanted.duration_since(at)).unwrap();
            assert!(difference < Duration::from_millis(1), "{text}: {difference:?}");
        }
    }

    #[test]
    fn what_is_no_moment_or_past_or_too_far_is_refused() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        for (text, said) in [
            ("noon", "2026-11-24T12:00:00Z"),
            ("12:00:00", "2026-11-24T12:00:00Z"),
            ("1795521600", "@1795521600"),
            ("@", "since 1970"),
            ("@-5", "since 1970"),
            ("@1e9", "since 1970"),
            ("@99999999999999999999999999", "since 1970"),
            ("2026-11-24T11:59:59.500Z", "500ms ago"),
            ("@0", "ago"),
            ("2026-11-25T12:00:01Z", "1day 1s ahead"),
        ] {
            let error = parse_as_of(text, now).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_521_600_250);
        assert_eq!((format(at).as_str(), unix_ms(at)), ("2026-11-24T12:00:00.250000000Z", 1_795_521_600_250));
        assert_eq!(format(UNIX_EPOCH + Duration::from_secs(1)), "1970-01-01T00:00:01Z");
    }
}
