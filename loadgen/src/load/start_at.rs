//! `--start-at`: the time at which several generators start together. Pure, except that [`parse`] reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::units::{format_duration, nanoseconds, parse_positive_duration};

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

/// Parses a future time: RFC 3339 (`2026-11-24T12:00:00Z`, in UTC if it has no zone), `@SECONDS` since 1970, with decimals, or
/// `+AHEAD/STEP`: the next multiple of a duration since 1970 that is at least another duration ahead. It is computed once, from
/// the time of this call.
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
    let at = match (text.strip_prefix('@'), text.strip_prefix('+')) {
        (Some(seconds), _) => since_1970(seconds),
        (_, Some(rule)) => Some(rounded(rule, now)?),
        (None, None) => humantime::parse_rfc3339_weak(text).ok(),
    };
    let at = at.ok_or(
        "write a time in UTC, as in 2026-11-24T12:00:00Z, seconds since 1970, as in @1795521600, or +20s/10s for the next full 10 \
         seconds that are at least 20 seconds ahead",
    )?;
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

/// The first multiple of a step since 1970 that is at least a time ahead of `now`. The text is `AHEAD/STEP`.
fn rounded(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let Some((ahead, step)) = text.split_once('/') else {
        return Err(format!(
            "+{text} is another time for each generator: add the step to round it up to, as in +{text}/10s, so that all \
             generators begin at the same full 10 seconds"
        ));
    };
    let duration = |text: &str| parse_positive_duration(text.trim());
    let (ahead, step) = (duration(ahead)?, duration(step)?);
    if ahead > AHEAD_MAX || step > AHEAD_MAX {
        return Err("a run waits for at most 24 hours: use shorter durations".to_owned());
    }
    let since_1970 =
        now.duration_since(UNIX_EPOCH).map_err(|_| "this machine's clock is before 1970: set it")?;
    let steps = (since_1970 + ahead).as_nanos().div_ceil(step.as_nanos());
    let at_ns =
        u64::try_from(steps * step.as_nanos()).map_err(|_| "that is too far ahead: use shorter durations")?;
    Ok(UNIX_EPOCH + Duration::from_nanos(at_ns))
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
    fn a_time_ahead_is_rounded_up_to_a_full_step_since_1970() {
        let base = UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        for (text, now_ms, expected_ms) in [
            ("+20s/10s", 0, 20_000),
            ("+20s/10s", 1, 30_000),
            ("+20s/10s", 9_999, 30_000),
            ("+20s/10s", 10_000, 30_000),
            ("+500ms/1s", 400, 1_000),
            ("+500ms/1s", 500, 1_000),
            ("+500ms/1s", 501, 2_000),
            ("+1s / 1m", 59_000, 60_000),
            ("+1s/1m", 59_001, 120_000),
            // 1,795,521,600 is a multiple of 7 s minus 2 s.
            ("+1s/7s", 0, 2_000),
            // The most.
            ("+24h/1s", 0, 86_400_000),
        ] {
            let at = parse_as_of(text, base + Duration::from_millis(now_ms));
            assert_eq!(at, Ok(base + Duration::from_millis(expected_ms)), "{text} {now_ms}");
        }
        for (text, said) in [
            ("+20s", "+20s/10s"),
            ("+", "+/10s"),
            ("+20/10s", "without a unit"),
            ("+20s/0s", "longer than zero"),
            ("+0s/10s", "longer than zero"),
            ("+25h/10s", "24 hours"),
            ("+24h 1ms/10s", "24 hours"),
            ("+1s/25h", "24 hours"),
            ("+20h/24h", "ahead"),
        ] {
            let error = parse_as_of(text, base).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
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
