//! `--work`: simulates the work of a real service for each read.

use std::{fmt, str::FromStr, thread, time::Duration};

use common::units::parse_positive_duration;
use rustix::time::{ClockId, clock_gettime};

/// The simulated work for each read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// No work: only the echo.
    None,
    /// Waits as the mode waits best: with a timer, or with a sleeping thread in modes without timers.
    Sleep(Duration),
    /// Uses this much CPU time. No mode can hide it.
    Cpu(Duration),
    /// Blocks the thread that serves the connection, and so delays the other connections of that thread.
    Block(Duration),
}

impl Work {
    /// Does the work on this thread. [`Work::Sleep`] only returns its duration: the caller sleeps.
    #[must_use]
    pub(crate) fn start(self) -> Option<Duration> {
        match self {
            Work::None => {}
            Work::Cpu(duration) => compute(duration),
            Work::Block(duration) => thread::sleep(duration),
            Work::Sleep(duration) => return Some(duration),
        }
        None
    }

    /// Whether the work may occupy its thread for longer than an echo does. Then another thread should serve the other
    /// connections meanwhile.
    pub(crate) fn holds_the_thread(self) -> bool {
        self != Work::None
    }
}

/// Computes until this thread has used `duration` of CPU time. A wall clock would count less work for a thread that shares
/// its core.
fn compute(duration: Duration) {
    let cpu_time =
        || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a CPU clock is never negative");
    let end = cpu_time() + duration;
    let mut value = 0x9e37_79b9_7f4a_7c15_u64;
    while cpu_time() < end {
        for _ in 0..256 {
            value = std::hint::black_box(value.rotate_left(7).wrapping_mul(0xff51_afd7_ed55_8ccd));
        }
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Work::None);
        }
        let (kind, duration) = match text.split_once(':') {
            Some(("sleep", duration)) => (Work::Sleep as fn(Duration) -> Work, duration),
            Some(("cpu", duration)) => (Work::Cpu as fn(Duration) -> Work, duration),
            Some(("block", duration)) => (Work::Block as fn(Duration) -> Work, duration),
            _ => return Err("write none, sleep:D, cpu:D or block:D, as in sleep:1ms".to_owned()),
        };
        parse_positive_duration(duration).map(kind)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, duration) = match self {
            Work::None => return f.write_str("none"),
            Work::Sleep(duration) => ("sleep", duration),
            Work::Cpu(duration) => ("cpu", duration),
            Work::Block(duration) => ("block", duration),
        };
        write!(f, "{kind}:{}", common::units::format_duration(*duration).replace(' ', ""))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_that_is_printed_can_be_parsed_again() {
        for text in ["none", "sleep:1ms", "cpu:50us", "block:2s", "sleep:1s500ms"] {
            assert_eq!(text.parse::<Work>().unwrap().to_string(), text);
        }
        for text in ["", "sleep", "sleep:", "sleep:0ms", "cpu:5", "nap:1ms", "none:1ms"] {
            assert!(text.parse::<Work>().is_err(), "{text}");
        }
    }

    #[test]
    fn computing_uses_the_cpu_time_and_blocking_does_not() {
        let cpu_time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let duration = Duration::from_millis(20);
        let (before, start) = (cpu_time(), Instant::now());
        assert_eq!(Work::Block(duration).start(), None);
        assert!(start.elapsed() >= duration && cpu_time() - before < duration / 2);
        let before = cpu_time();
        assert_eq!(Work::Cpu(duration).start(), None);
        assert!(cpu_time() - before >= duration);
        assert_eq!(Work::Sleep(duration).start(), Some(duration));
    }
}
