//! The progress of a comparison: the current turn and the remaining time.

use std::time::{Duration, Instant};

use crate::{
    command::{
        compare::plan::ComparePlan,
        turn_progress::{TurnProgress, name_width, summary},
    },
    live::{display::Display, line::Part},
    result::Report,
};

/// An estimate of the duration of a turn besides its load, until the first turn is complete: a server starts and ends, and
/// clients connect.
const OVERHEAD: Duration = Duration::from_millis(300);

/// The progress of a comparison.
#[derive(Debug)]
pub(crate) struct CompareProgress {
    display: Display,
    rounds: usize,
    name_width: usize,
    turns: usize,
    turns_left: usize,
    turns_complete: u32,
    /// The duration of all complete turns.
    time_complete: Duration,
    turn_min: Duration,
    begin: Instant,
    round: usize,
    name: String,
}

impl CompareProgress {
    /// A moving line if stderr is a terminal, else one line per turn. `quiet` shows nothing.
    pub(crate) fn new(quiet: bool, plan: &ComparePlan) -> Self {
        let turns = plan.rounds * plan.candidates.len();
        Self {
            display: Display::new(quiet),
            rounds: plan.rounds,
            name_width: name_width(&plan.candidates),
            turns,
            turns_left: turns,
            turns_complete: 0,
            time_complete: Duration::ZERO,
            turn_min: plan.load.timing.warmup + plan.load.timing.duration.unwrap_or_default(),
            begin: Instant::now(),
            round: 0,
            name: String::new(),
        }
    }

    /// A turn begins.
    pub(crate) fn begin(&mut self, round: usize, name: &str) {
        (self.round, self.name, self.begin) = (round, name.to_owned(), Instant::now());
        self.show_turn();
    }

    /// The turn is complete.
    pub(crate) fn complete(&mut self, report: &Report) {
        self.turns_complete += 1;
        self.time_complete += self.begin.elapsed();
        self.end_turns(1);
        // A terminal shows the moving line instead.
        if matches!(self.display, Display::Lines) {
            let mut line = summary(self.turn(), report);
            line.push(Part::text(1, self.left(Duration::ZERO)));
            self.display.say_parts(&line);
        }
    }

    /// The turn has failed. The server gets no turn in the next `skipped` rounds.
    pub(crate) fn failed(&mut self, message: &str, skipped: usize) {
        self.end_turns(1 + skipped);
        let Self { round, rounds, name, .. } = self;
        self.display.say(&format!("round {round}/{rounds}  {name}  {message}"));
    }

    /// The comparison has ended.
    pub(crate) fn end(&self) {
        self.display.finish();
    }

    fn end_turns(&mut self, turns: usize) {
        self.turns_left = self.turns_left.saturating_sub(turns);
    }

    fn turn(&self) -> Part {
        let Self { round, rounds, name, name_width, .. } = self;
        Part::text(0, format!("round {round}/{rounds}  {name:<name_width$}"))
    }

    /// The estimated duration of the remaining turns, the first of which has run for `passed`.
    fn left(&self, passed: Duration) -> String {
        let turn = match self.turns_complete {
            0 => self.turn_min + OVERHEAD,
            turns => self.time_complete / turns,
        };
        let left = turn.saturating_mul(u32::try_from(self.turns_left).unwrap_or(u32::MAX));
        remaining(left.saturating_sub(passed.min(turn)))
    }
}

impl TurnProgress for CompareProgress {
    fn display(&self) -> &Display {
        &self.display
    }

    fn line(&self) -> Vec<Part> {
        let done = (self.turns - self.turns_left) as f64 / self.turns.max(1) as f64;
        vec![self.turn(), Part::bar(2, done), Part::text(1, self.left(self.begin.elapsed()))]
    }
}

/// A remaining time in whole seconds.
fn remaining(left: Duration) -> String {
    let seconds = left.as_secs_f64().round() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s left"),
        (minutes, seconds) => format!("{minutes}m {seconds}s left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_in_minutes_and_seconds() {
        for (left_ms, text) in
            [(0, "0s left"), (1_400, "1s left"), (70_000, "1m 10s left"), (3_600_000, "60m 0s left")]
        {
            assert_eq!(remaining(Duration::from_millis(left_ms)), text);
        }
    }
}
