//! What a person sees while servers are compared: which one's turn it is, and how long the rest will take.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use common::log;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Progress;
use crate::{
    bench::Window,
    compare::plan::ComparePlan,
    human::{duration_ns, rate},
    report::{Interval, Report},
};

/// What a turn takes besides its load: a server starts and ends, clients connect. Only until a turn has shown it.
const BESIDE: Duration = Duration::from_millis(300);

/// The progress of a comparison.
#[derive(Debug)]
pub struct CompareProgress {
    show: Show,
    rounds: usize,
    /// The width of the names.
    width: usize,
    turns_left: usize,
    turns_seen: u32,
    /// How long the turns took that were made to their ends.
    time_seen: Duration,
    turn_min: Duration,
    begin: Instant,
    round: usize,
    name: String,
}

#[derive(Debug)]
enum Show {
    Nothing,
    Lines,
    Terminal(ProgressBar),
}

impl CompareProgress {
    /// For a person when stderr is a terminal, for a log when it is not; `quiet` shows nothing.
    pub fn new(quiet: bool, plan: &ComparePlan) -> Self {
        let turns_left = plan.rounds * plan.contestants.len();
        let show = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Show::Nothing,
            (false, false) => Show::Lines,
            (false, true) => Show::Terminal(bar(turns_left)),
        };
        let names = plan.contestants.iter().map(|contestant| contestant.name.chars().count());
        Self {
            show,
            rounds: plan.rounds,
            width: names.max().unwrap_or(0),
            turns_left,
            turns_seen: 0,
            time_seen: Duration::ZERO,
            turn_min: plan.load.warmup + plan.load.duration.unwrap_or_default(),
            begin: Instant::now(),
            round: 0,
            name: String::new(),
        }
    }

    /// Says something besides.
    pub fn note(&self, text: &str) {
        match &self.show {
            Show::Nothing => {}
            Show::Lines => log::say(format_args!("{text}")),
            Show::Terminal(bar) => bar.println(text),
        }
    }

    /// It is this server's turn.
    pub fn begin(&mut self, round: usize, name: &str) {
        (self.round, self.name, self.begin) = (round, name.to_owned(), Instant::now());
        self.show_turn();
    }

    /// Its turn is over.
    pub fn complete(&mut self, report: &Report) {
        self.turns_seen += 1;
        self.time_seen += self.begin.elapsed();
        self.end_turns(1);
        let time = |time_ns: Option<u64>| time_ns.map_or("-".to_owned(), duration_ns);
        let response = &report.latency_ns.response;
        self.say_line(&format!(
            "{:>9}/s  p50 {:>7}  p99 {:>7}",
            rate(report.rate.achieved_per_s),
            time(response.p50),
            time(response.p99)
        ));
    }

    /// Its turn has failed, and so have those in as many more rounds.
    pub fn failed(&mut self, message: &str, rounds: usize) {
        self.end_turns(1 + rounds);
        let text = self.line(message);
        self.note(&text);
    }

    /// All is over.
    pub fn finish(&self) {
        if let Show::Terminal(bar) = &self.show {
            bar.finish_and_clear();
        }
    }

    fn end_turns(&mut self, turns: usize) {
        self.turns_left = self.turns_left.saturating_sub(turns);
        if let Show::Terminal(bar) = &self.show {
            bar.inc(turns as u64);
        }
    }

    /// A terminal has its moving line instead.
    fn say_line(&self, text: &str) {
        if matches!(self.show, Show::Lines) {
            self.note(&format!("{}  {}", self.line(text), self.left(Duration::ZERO)));
        }
    }

    fn line(&self, text: &str) -> String {
        let Self { round, rounds, name, width, .. } = self;
        format!("round {round}/{rounds}  {name:<width$}  {text}")
    }

    fn show_turn(&self) {
        if let Show::Terminal(bar) = &self.show {
            bar.set_prefix(format!("round {}/{}", self.round, self.rounds));
            bar.set_message(format!("{}, {}", self.name, self.left(self.begin.elapsed())));
        }
    }

    /// How long the turns that are left will take, of which the first has taken so long already.
    fn left(&self, passed: Duration) -> String {
        let turn = match self.turns_seen {
            0 => self.turn_min + BESIDE,
            seen => self.time_seen / seen,
        };
        let left = turn.saturating_mul(u32::try_from(self.turns_left).unwrap_or(u32::MAX));
        remaining(left.saturating_sub(passed.min(turn)))
    }
}

impl Progress for CompareProgress {
    fn say(&mut self, text: &str) {
        self.note(text);
    }

    fn tick(&mut self, _now_ns: u64, _window: Window) {
        self.show_turn();
    }

    fn interval(&mut self, _interval: &Interval) {}

    fn finish(&mut self) {}
}

/// In whole seconds, as a person would say it.
fn remaining(left: Duration) -> String {
    let seconds = left.as_secs_f64().round() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s left"),
        (minutes, seconds) => format!("{minutes}m {seconds}s left"),
    }
}

fn bar(turns: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>14} {bar:16.cyan/dim} {msg}")
        .expect("the template is a constant and well formed")
        .progress_chars("━╸─");
    let target = ProgressDrawTarget::stderr();
    ProgressBar::with_draw_target(Some(turns as u64), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_minutes_and_seconds() {
        for (left_ms, text) in
            [(0, "0s left"), (1_400, "1s left"), (70_000, "1m 10s left"), (3_600_000, "60m 0s left")]
        {
            assert_eq!(remaining(Duration::from_millis(left_ms)), text);
        }
    }
}
