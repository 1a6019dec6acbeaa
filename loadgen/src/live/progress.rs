//! The progress of a run on stderr: a moving line on a terminal, otherwise a line for each interval, or nothing.

use std::time::Duration;

use common::{human::count, units::format_duration};

use super::{display::Display, line::Part};
use crate::{
    engine::{
        failure::{Failure, FailureCounts},
        recording::Recording,
        window::Window,
    },
    result::Interval,
    subject::server_log::ServerLog,
};

/// A shorter wait after the window is not shown.
const WAIT_SHOWN_FROM_S: f64 = 0.3;

/// The observer of a run. During the load, another thread than before and after it calls it.
pub(crate) trait Progress: Send {
    /// Prints a line.
    fn say(&mut self, text: &str);
    /// Prints lines of other threads.
    fn server_log(&self) -> ServerLog {
        ServerLog::default()
    }
    /// Called regularly during the load.
    fn tick(&mut self, now_ns: u64, window: Window);
    /// An interval has ended, with these failures.
    fn interval(&mut self, _interval: &Interval, _failures: &FailureCounts) {}
    /// An interval has ended: the recordings of all intervals so far.
    fn total(&mut self, _recording: &Recording) {}
    /// The load has ended.
    fn finish(&mut self) {}
}

/// The progress of a single run.
#[derive(Debug)]
pub(crate) struct RunProgress {
    display: Display,
    /// The length of an interval.
    interval: Duration,
    /// The longest wait for replies after the window.
    timeout: Duration,
    /// Whether the line about the wait was printed.
    has_printed_wait: bool,
    state: State,
}

/// The state of a run.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    phase: Phase,
    /// The numbers of the last complete interval.
    last: Option<Numbers>,
    /// The number of failed requests so far.
    failed: u64,
    /// The failures of the last complete interval, of requests and connections.
    failures: FailureCounts,
}

/// The phase of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    /// The window has not begun.
    #[default]
    WarmingUp,
    /// The window has begun. `whole_s` is its length, if known.
    Measuring { passed_s: f64, whole_s: Option<f64> },
    /// The window ended `passed_s` ago.
    Waiting { passed_s: f64 },
}

/// The numbers of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Numbers {
    achieved_per_s: f64,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
}

impl RunProgress {
    /// A moving line if stderr is a terminal, else a line for each interval. `quiet` shows nothing. `timeout` is the longest
    /// wait for replies after the window.
    pub(crate) fn new(quiet: bool, interval: Duration, timeout: Duration) -> Self {
        let (display, state) = (Display::new(quiet), State::default());
        Self { display, interval, timeout, has_printed_wait: false, state }
    }

    fn waiting(&self) -> String {
        format!("waiting for outstanding replies, up to {}", format_duration(self.timeout))
    }
}

impl Progress for RunProgress {
    fn server_log(&self) -> ServerLog {
        self.display.server_log()
    }

    fn say(&mut self, text: &str) {
        self.display.say(text);
    }

    fn tick(&mut self, now_ns: u64, window: Window) {
        self.state.phase = Phase::at(now_ns, window);
        match self.state.phase {
            Phase::Waiting { passed_s } if passed_s >= WAIT_SHOWN_FROM_S => {
                if matches!(self.display, Display::Lines) && !self.has_printed_wait {
                    self.has_printed_wait = true;
                    self.display.say(&format!("the window has ended; {}", self.waiting()));
                }
                let time = Part::text(1, format!("{passed_s:.1}s"));
                self.display.show(|| vec![Part::text(0, self.waiting()), time]);
            }
            _ => self.display.show(|| self.state.parts()),
        }
    }

    fn interval(&mut self, interval: &Interval, failures: &FailureCounts) {
        self.state.failed += interval.failed;
        self.state.failures = *failures;
        let last = Numbers {
            achieved_per_s: interval.achieved_per_s,
            p50_ns: interval.p50,
            p99_ns: interval.p99,
            max_ns: interval.max,
        };
        self.state.last = Some(last);
        if matches!(self.display, Display::Lines) {
            let end_s = interval.t_s + self.interval.as_secs_f64();
            let time = Part::text(0, format!("{end_s:>7.1}s"));
            let numbers = last.parts().into_iter().chain(self.state.failure_parts());
            self.display.say_parts(&std::iter::once(time).chain(numbers).collect::<Vec<_>>());
        }
    }

    fn finish(&mut self) {
        self.display.finish();
    }
}

impl Phase {
    fn at(now_ns: u64, window: Window) -> Self {
        if now_ns < window.start_ns {
            return Self::WarmingUp;
        }
        let seconds = |time_ns: u64| time_ns as f64 / 1e9;
        if now_ns >= window.end_ns {
            return Self::Waiting { passed_s: seconds(now_ns - window.end_ns) };
        }
        let passed_s = seconds((now_ns - window.start_ns).min(window.end_ns - window.start_ns));
        let has_end = window.end_ns != u64::MAX;
        Self::Measuring { passed_s, whole_s: has_end.then(|| seconds(window.end_ns - window.start_ns)) }
    }

    fn parts(self) -> Vec<Part> {
        match self {
            Self::WarmingUp => vec![Part::text(0, "warming up")],
            Self::Waiting { .. } => vec![Part::text(0, "waiting for outstanding replies")],
            Self::Measuring { passed_s, whole_s: None } => vec![Part::text(0, format!("{passed_s:>7.1}s"))],
            Self::Measuring { passed_s, whole_s: Some(whole_s) } => {
                let whole = format!("{whole_s:.1}s");
                let time = format!("{:>1$} of {whole}", format!("{passed_s:.1}s"), whole.len());
                vec![Part::text(0, time), Part::bar(6, passed_s / whole_s)]
            }
        }
    }
}

impl State {
    /// The parts of the moving line.
    fn parts(&self) -> Vec<Part> {
        let mut parts = self.phase.parts();
        match (self.phase, &self.last) {
            (Phase::Measuring { .. }, None) => parts.push(Part::text(1, "measuring")),
            (_, last) => parts.extend(last.iter().flat_map(|last| last.parts())),
        }
        if self.last.is_some() || self.failed > 0 {
            parts.extend(self.failure_parts());
        }
        parts
    }

    /// The number of failed requests, and the most frequent failure of the last interval. Zero failures have the highest
    /// rank, so they are dropped first.
    fn failure_parts(&self) -> Vec<Part> {
        let rank = if self.failed > 0 { 2 } else { 7 };
        let mut parts = vec![Part::text(rank, format!("failed {}", count(self.failed)))];
        let most = Failure::ALL.iter().max_by_key(|(kind, ..)| self.failures.get(*kind));
        if let Some((kind, _, text)) = most.filter(|(kind, ..)| self.failures.get(*kind) > 0) {
            parts.push(Part::text(3, format!("{} x {text}", count(self.failures.get(*kind)))));
        }
        parts
    }
}

impl Numbers {
    fn parts(self) -> [Part; 4] {
        let Self { achieved_per_s, p50_ns, p99_ns, max_ns } = self;
        [
            Part::text(1, format!("{:>9}/s", count(achieved_per_s.round() as u64))),
            Part::time(4, "p50", p50_ns),
            Part::time(3, "p99", p99_ns),
            Part::time(5, "max", max_ns),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::screen::{Screen, width},
        live::line::fit,
    };

    fn state(failed: u64) -> State {
        State {
            phase: Phase::Measuring { passed_s: 3.0, whole_s: Some(10.0) },
            last: Some(Numbers {
                achieved_per_s: 20_000.4,
                p50_ns: Some(139_000),
                p99_ns: Some(1_234_567),
                max_ns: None,
            }),
            failed,
            failures: FailureCounts::default(),
        }
    }

    fn line(state: &State, columns: usize) -> String {
        fit(&state.parts(), Screen { columns, has_colour: false })
    }

    #[test]
    fn the_line_fits_the_terminal() {
        insta::assert_snapshot!(line(&state(0), 120), @" 3.0s of 10.0s  ━━━━━━╸─────────────────     20,000/s  p50  139 µs  p99 1.23 ms  max       -  failed 0");
        insta::assert_snapshot!(line(&state(0), 80), @" 3.0s of 10.0s  ━━╸────────     20,000/s  p50  139 µs  p99 1.23 ms  max       -");
        insta::assert_snapshot!(line(&state(0), 60), @" 3.0s of 10.0s     20,000/s  p50  139 µs  p99 1.23 ms");
        insta::assert_snapshot!(line(&state(1_234), 80), @" 3.0s of 10.0s  ━━╸───────     20,000/s  p50  139 µs  p99 1.23 ms  failed 1,234");
        insta::assert_snapshot!(line(&state(1_234), 60), @" 3.0s of 10.0s     20,000/s  p99 1.23 ms  failed 1,234");
        insta::assert_snapshot!(line(&state(1_234), 40), @" 3.0s of 10.0s  ━━╸───────     20,000/s");
        for columns in 40..130 {
            assert!(width(&line(&state(1_234), columns)) < columns, "{columns}");
        }
    }

    #[test]
    fn the_most_frequent_failure_is_named() {
        let mut state = state(20);
        state.failures.add(Failure::Reset, 20);
        state.failures.add(Failure::ConnectRefused, 446);
        insta::assert_snapshot!(line(&state, 120), @" 3.0s of 10.0s  ━━━╸──────────     20,000/s  p50  139 µs  p99 1.23 ms  max       -  failed 20  446 x connection refused");
        insta::assert_snapshot!(line(&state, 80), @" 3.0s of 10.0s     20,000/s  p99 1.23 ms  failed 20  446 x connection refused");
    }

    #[test]
    fn before_the_first_interval_the_line_shows_the_phase() {
        let at = |phase| line(&State { phase, ..State::default() }, 60);
        assert_eq!(at(Phase::WarmingUp), "warming up");
        assert_eq!(at(Phase::Measuring { passed_s: 0.25, whole_s: None }), "    0.2s  measuring");
        assert!(at(Phase::Measuring { passed_s: 0.5, whole_s: Some(2.0) }).starts_with("0.5s of 2.0s  ━"));
    }

    #[test]
    fn the_phase_follows_from_the_window() {
        let window = Window { start_ns: 1_000_000_000, end_ns: 3_000_000_000 };
        for (now_ns, phase) in [
            (0, Phase::WarmingUp),
            (1_500_000_000, Phase::Measuring { passed_s: 0.5, whole_s: Some(2.0) }),
            (3_000_000_000, Phase::Waiting { passed_s: 0.0 }),
            (9_000_000_000, Phase::Waiting { passed_s: 6.0 }),
        ] {
            assert_eq!(Phase::at(now_ns, window), phase);
        }
        let endless = Window { end_ns: u64::MAX, ..window };
        assert_eq!(Phase::at(2_000_000_000, endless), Phase::Measuring { passed_s: 1.0, whole_s: None });
        assert_eq!(Phase::at(0, Window::NEVER), Phase::WarmingUp);
    }
}
