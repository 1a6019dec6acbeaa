//! `--start-at`: the time at which several generators start together. Pure, except that [`parse`] reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::units::{format_duration, nanoseconds};

/// A time that is further ahead is probably a mistake in the date or the time zone.
pub(crate) const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// The start of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// On the clock of the run.
    pub start_ns: u64,
    /// The delay after the requested time.
    pub late_ns: u64,
}

impl Beginning {
    /// The start of a load at `now_ns` on the clock of the run. `until` is the time until the requested start, or since it
    /// (`Err`). The load threads need at least `lead` to prepare.
    pub(crate) fn at(until: Result<Duration, Duration>, now_ns: u64, lead: Duration) -> Self {
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

/// Parses a future time: RFC 3339 (`2026-11-24T12:00:00Z`, in UTC if it has no zone), or `@SECONDS` since 1970, with
/// decimals.
///
/// # Errors
/// When the text has another form, or the time is past or more than [`AHEAD_MAX`] ahead.
pub(crate) fn parse(text: &str) -> Result<SystemTime, String> {
    parse_as_of(text, SystemTime::now())
}

/// Formats a time as RFC 3339, with decimals of the second if it has some.
pub(crate) fn format(at: SystemTime) -> String {
    humantime::format_rfc3339(at).to_string()
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn parse_as_of(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let at = match text.strip_prefix('@') {
        Some(seconds) => since_1970(seconds),
        None => humantime::parse_rfc3339_weak(text).ok(),
    };
    let at = at
        .ok_or("write a time in UTC, as in 2026-11-24T12:00:00Z, or seconds since 1970, as in @1795521600")?;
    match at.duration_since(now) {
        Err(past) => Err(format!(
            "that was {} ago: check that the time is in UTC and that this machine's clock is right",
            format_duration(to_milliseconds(past.duration()))
        )),
        Ok(ahead) if ahead > AHEAD_MAX => Err(format!(
            "that is {} ahead, and a run waits for at most 24 hours: check that the time is in UTC and that this machine's \
             clock is right",
            format_duration(Duration::from_secs(ahead.as_secs()))
        )),
        Ok(_) => Ok(at),
    }
}

fn since_1970(seconds: &str) -> Option<SystemTime> {
    // A float may also have a sign or an exponent, but a time with one is a mistake.
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
    fn a_load_starts_on_time_or_as_soon_as_possible() {
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
    fn both_forms_of_a_time_are_parsed() {
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
    fn an_invalid_past_or_distant_time_is_rejected() {
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
            ("2026-11-25T12:00:01Z", "1d 1s ahead"),
        ] {
            let error = parse_as_of(text, now).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_time_is_formatted_as_it_is_parsed() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_521_600_250);
        assert_eq!((format(at).as_str(), unix_ms(at)), ("2026-11-24T12:00:00.250000000Z", 1_795_521_600_250));
        assert_eq!(format(UNIX_EPOCH + Duration::from_secs(1)), "1970-01-01T00:00:01Z");
    }
}
