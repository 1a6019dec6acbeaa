//! How well the kernel knows the time of day (adjtimex(2)). Generators on several machines meet by their wall clocks.

use std::mem::MaybeUninit;

use nix::libc;
use serde::{Deserialize, Serialize};

/// How well the kernel knows the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockQuality {
    /// Whether a time service keeps the clock synchronised (`STA_UNSYNC` is not set).
    pub synchronised: bool,
    /// The largest possible error (`maxerror`, which grows by 500 ppm between two updates of the time service). None if the clock
    /// is not synchronised: the kernel's number then means nothing.
    #[serde(default)]
    pub max_error_ns: Option<u64>,
}

impl ClockQuality {
    /// The quality now. None if the kernel does not say, as in a container whose seccomp profile forbids the call.
    pub(crate) fn now() -> Option<Self> {
        let (state, status, max_error_us) = read()?;
        Some(Self::of(state, status, max_error_us))
    }

    /// From the state that the call returns, `status`, and `maxerror`, which is in microseconds whatever `STA_NANO` says.
    fn of(state: i32, status: i32, max_error_us: i64) -> Self {
        let synchronised = state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0;
        let max_error_ns = u64::try_from(max_error_us).ok().map(|error_us| error_us.saturating_mul(1_000));
        Self { synchronised, max_error_ns: max_error_ns.filter(|_| synchronised) }
    }
}

/// The state of the clock, its status bits, and its maximum error in microseconds. None if the call fails.
// No library of the workspace reads `maxerror`.
#[expect(unsafe_code, reason = "the only call without a safe wrapper")]
fn read() -> Option<(i32, i32, i64)> {
    let mut time = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is to a `timex` that lives through the call. All its fields are integers, for which zero bytes are a
    // value, so it is initialised whether or not the kernel writes to it. With `modes` 0, the call changes nothing and needs no
    // privilege.
    let (state, time) = unsafe { (libc::adjtimex(time.as_mut_ptr()), time.assume_init()) };
    // `c_long` is as long as a pointer.
    #[allow(clippy::useless_conversion, reason = "it has 32 bits on some machines")]
    (state >= 0).then(|| (state, time.status, i64::from(time.maxerror)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_synchronised_clock_has_a_known_error() {
        let quality = |state, status, error_us| {
            let ClockQuality { synchronised, max_error_ns } = ClockQuality::of(state, status, error_us);
            (synchronised, max_error_ns)
        };
        assert_eq!(quality(libc::TIME_OK, libc::STA_PLL | libc::STA_NANO, 1_500), (true, Some(1_500_000)));
        assert_eq!(quality(libc::TIME_INS, libc::STA_PLL, 0), (true, Some(0)));
        assert_eq!(quality(libc::TIME_ERROR, 0, 1_500), (false, None));
        assert_eq!(quality(libc::TIME_OK, libc::STA_UNSYNC, 16_000_000), (false, None));
        assert_eq!(quality(libc::TIME_OK, 0, -1), (true, None));
    }

    #[test]
    fn a_kernel_that_answers_gives_a_plausible_error() {
        if let Some(ClockQuality { max_error_ns: Some(error_ns), .. }) = ClockQuality::now() {
            // The kernel stops counting at NTP_PHASE_LIMIT, and then says that the clock is not synchronised.
            assert!(error_ns <= 16_000_000_000, "{error_ns}");
        }
    }
}
