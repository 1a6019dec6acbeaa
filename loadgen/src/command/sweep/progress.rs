//! The progress of a sweep: the current level and server. The remaining time is unknown, since it depends on the limits of
//! the servers.

use crate::{
    command::{
        sweep::plan::SweepPlan,
        turn_progress::{TurnProgress, name_width, summary},
    },
    live::{display::Display, line::Part},
    result::{
        Report,
        sweep::{self, Purpose, Trouble},
    },
};

/// The progress of a sweep.
#[derive(Debug)]
pub(crate) struct SweepProgress {
    display: Display,
    name_width: usize,
    level_width: usize,
    /// The phase, the level and the server of the current turn.
    turn: String,
}

impl SweepProgress {
    /// A moving line if stderr is a terminal, else one line per turn. `quiet` shows nothing.
    pub(crate) fn new(quiet: bool, plan: &SweepPlan) -> Self {
        // Few servers reach the end of a ladder without TO, so the width is limited.
        let level_width =
            plan.levels.last().map_or(0, |level| sweep::level(plan.axis, (*level).min(999_999)).len());
        Self {
            display: Display::with_spinner(quiet),
            name_width: name_width(&plan.candidates),
            level_width,
            turn: String::new(),
        }
    }

    /// A turn begins.
    pub(crate) fn begin(&mut self, level: &str, name: &str, purpose: Purpose) {
        let phase = match purpose {
            Purpose::Ladder => "ladder",
            Purpose::Search => "search",
        };
        let Self { name_width, level_width, .. } = self;
        self.turn = format!("{phase}  {level:>level_width$}  {name:<name_width$}");
        self.show_turn();
    }

    /// The turn is complete. `holds` is the vote of a run of the search.
    pub(crate) fn complete(&self, report: &Report, trouble: Option<Trouble>, holds: Option<bool>) {
        let outcome = match (trouble, holds) {
            (Some(Trouble::GeneratorSaturated), _) => Some("generator is the limit"),
            (Some(Trouble::Errors), _) => Some("returns errors"),
            (Some(Trouble::Starved), _) => Some("starves clients"),
            (Some(Trouble::CannotKeepUp), _) => Some("cannot keep up"),
            (Some(Trouble::Failed), _) => Some("failed"),
            (None, Some(true)) => Some("holds"),
            (None, Some(false)) => Some("does not hold"),
            (None, None) => None,
        };
        self.display.say_parts(&line(&self.turn, report, outcome));
    }

    /// The turn has failed.
    pub(crate) fn failed(&self, message: &str) {
        self.display.say(&format!("{}  {message}", self.turn));
    }

    /// The sweep has ended.
    pub(crate) fn end(&self) {
        self.display.finish();
    }
}

impl TurnProgress for SweepProgress {
    fn display(&self) -> &Display {
        &self.display
    }

    fn line(&self) -> Vec<Part> {
        vec![Part::text(0, self.turn.clone())]
    }
}

/// The line for a complete run.
fn line(turn: &str, report: &Report, outcome: Option<&str>) -> Vec<Part> {
    let outcome = outcome.map(|outcome| Part::text(1, outcome));
    summary(Part::text(0, turn), report).into_iter().chain(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::screen::Screen, live::line::fit, result::tests::example};

    #[test]
    fn the_line_of_a_run_fits_the_terminal() {
        let turn = "search  22,600/s  thread-per-connection";
        let line = |columns| {
            fit(&line(turn, &example(), Some("does not hold")), Screen { columns, has_colour: false })
        };
        insta::assert_snapshot!(line(120), @"search  22,600/s  thread-per-connection      1,000/s  p50 1.04 ms  p99 3.96 ms  does not hold");
        insta::assert_snapshot!(line(80), @"search  22,600/s  thread-per-connection      1,000/s  does not hold");
        insta::assert_snapshot!(line(60), @"search  22,600/s  thread-per-connection  does not hold");
    }
}
