//! What a person sees while the load runs, on stderr: a line that moves on a terminal, a line an interval
//! elsewhere, or nothing.

pub mod compare;
pub mod sweep;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use common::log;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    bench::Window,
    human::{count, duration_ns},
    recording::Recording,
    report::Interval,
};

/// Who is told how a run goes on.
pub trait Progress {
    /// Says something that is worth a line.
    fn say(&mut self, text: &str);
    /// Time has passed.
    fn tick(&mut self, now_ns: u64, window: Window);
    /// An interval is over.
    fn interval(&mut self, interval: &Interval);
    /// What was seen in all the intervals that are over; told when one is over.
    fn total(&mut self, _recording: &Recording) {}
    /// The load is over.
    fn finish(&mut self);
}

/// The progress of a single run.
#[derive(Debug)]
pub struct RunProgress {
    show: Show,
    /// The length of an interval.
    interval: Duration,
    failed: u64,
    measuring: bool,
}

#[derive(Debug)]
enum Show {
    Nothing,
    Lines,
    Terminal(ProgressBar),
}

impl RunProgress {
    /// For a person when stderr is a terminal, for a log when it is not; `quiet` shows nothing.
    pub fn new(quiet: bool, interval: Duration) -> Self {
        let show = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Show::Nothing,
            (false, false) => Show::Lines,
            (false, true) => Show::Terminal(bar()),
        };
        Self { show, interval, failed: 0, measuring: false }
    }
}

impl Progress for RunProgress {
    fn say(&mut self, text: &str) {
        match &self.show {
            Show::Nothing => {}
            Show::Lines => log::say(format_args!("{text}")),
            Show::Terminal(bar) => bar.println(text),
        }
    }

    fn tick(&mut self, now_ns: u64, window: Window) {
        let Show::Terminal(bar) = &self.show else { return };
        if now_ns < window.start_ns {
            bar.set_message("warming up");
            return;
        }
        if !std::mem::replace(&mut self.measuring, true) {
            bar.set_message("measuring");
        }
        let passed_ns = (now_ns - window.start_ns).min(window.end_ns - window.start_ns);
        bar.set_position(milliseconds(passed_ns));
        let passed_s = passed_ns as f64 / 1e9;
        if window.end_ns == u64::MAX {
            bar.set_prefix(format!("{passed_s:.1}s"));
        } else {
            let whole_ns = window.end_ns - window.start_ns;
            bar.set_length(milliseconds(whole_ns));
            bar.set_prefix(format!("{passed_s:.1}s of {:.1}s", whole_ns as f64 / 1e9));
        }
    }

    fn interval(&mut self, interval: &Interval) {
        self.failed += interval.failed;
        let time = |time_ns: Option<u64>| time_ns.map_or("-".to_owned(), duration_ns);
        let text = format!(
            "{:>9}/s  p50 {:>7}  p99 {:>7}  max {:>7}  failed {}",
            count(interval.achieved_per_s.round() as u64),
            time(interval.p50),
            time(interval.p99),
            time(interval.max),
            count(self.failed)
        );
        match &self.show {
            Show::Nothing => {}
            Show::Lines => {
                log::say(format_args!("{:>7.1}s {text}", interval.t_s + self.interval.as_secs_f64()));
            }
            Show::Terminal(bar) => bar.set_message(text),
        }
    }

    fn finish(&mut self) {
        if let Show::Terminal(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>14} {bar:16.cyan/dim} {msg}")
        .expect("the template is a constant and well formed")
        .progress_chars("━╸─");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

fn milliseconds(time_ns: u64) -> u64 {
    Duration::from_nanos(time_ns).as_millis() as u64
}
