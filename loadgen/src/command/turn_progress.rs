//! The progress display that `compare` and `sweep` share: one line for the current turn.

use common::human::rate;

use crate::{
    engine::window::Window,
    live::{display::Display, line::Part, progress::Progress},
    result::Report,
    subject::candidate::Candidate,
};

/// The progress of a command that makes its runs in turns.
pub(crate) trait TurnProgress: Send {
    /// The output.
    fn display(&self) -> &Display;

    /// The line for the current turn.
    fn line(&self) -> Vec<Part>;

    /// Shows the line for the current turn.
    fn show_turn(&self) {
        self.display().show(|| self.line());
    }
}

impl<T: TurnProgress> Progress for T {
    fn say(&mut self, text: &str) {
        self.display().say(text);
    }

    fn tick(&mut self, _now_ns: u64, _window: Window) {
        self.show_turn();
    }
}

/// The line for a complete turn.
pub(crate) fn summary(turn: Part, report: &Report) -> Vec<Part> {
    let response = &report.latency_ns.response;
    vec![
        turn,
        Part::text(2, format!("{:>9}/s", rate(report.rate.achieved_per_s))),
        Part::time(4, "p50", response.p50),
        Part::time(3, "p99", response.p99),
    ]
}

/// The width of the longest name.
pub(crate) fn name_width(candidates: &[Candidate]) -> usize {
    candidates.iter().map(|candidate| candidate.name.chars().count()).max().unwrap_or(0)
}
