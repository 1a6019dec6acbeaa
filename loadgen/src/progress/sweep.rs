//! What a person sees while a sweep is made: which server is at which level. How long the rest takes is not known: it
//! depends on how far the servers carry.

use std::io::{self, IsTerminal};

use common::log;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Progress;
use crate::{
    bench::Window,
    human::{duration_ns, rate},
    report::{
        Interval, Report,
        sweep::{Purpose, Trouble},
    },
    sweep::{plan::SweepPlan, results},
};

/// The progress of a sweep.
#[derive(Debug)]
pub struct SweepProgress {
    show: Show,
    /// The widths of the names and of the levels.
    widths: (usize, usize),
    /// Whose turn it is.
    turn: String,
}

#[derive(Debug)]
enum Show {
    Nothing,
    Lines,
    Terminal(ProgressBar),
}

impl SweepProgress {
    /// For a person when stderr is a terminal, for a log when it is not; `quiet` shows nothing.
    pub fn new(quiet: bool, plan: &SweepPlan) -> Self {
        let show = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Show::Nothing,
            (false, false) => Show::Lines,
            (false, true) => Show::Terminal(spinner()),
        };
        let names = plan.contestants.iter().map(|contestant| contestant.name.chars().count());
        // Few servers come to the end of a ladder that has none of its own.
        let level =
            plan.levels.last().map_or(0, |level| results::level(plan.axis, (*level).min(999_999)).len());
        Self { show, widths: (names.max().unwrap_or(0), level), turn: String::new() }
    }

    /// Says something besides.
    pub fn note(&self, text: &str) {
        match &self.show {
            Show::Nothing => {}
            Show::Lines => log::say(format_args!("{text}")),
            Show::Terminal(bar) => bar.println(text),
        }
    }

    /// It is this server's turn, at this level.
    pub fn begin(&mut self, level: &str, name: &str, purpose: Purpose) {
        let phase = match purpose {
            Purpose::Ladder => "ladder",
            Purpose::Search => "search",
        };
        let (names, levels) = self.widths;
        self.turn = format!("{phase}  {level:>levels$}  {name:<names$}");
        self.show_turn();
    }

    /// Its turn is over; a run of the search held or did not.
    pub fn complete(&self, report: &Report, trouble: Option<Trouble>, holds: Option<bool>) {
        let time = |time_ns: Option<u64>| time_ns.map_or("-".to_owned(), duration_ns);
        let response = &report.latency_ns.response;
        let said = match (trouble, holds) {
            (Some(Trouble::GeneratorSaturated), _) => "  the generator is the limit",
            (Some(Trouble::Errors), _) => "  errs",
            (Some(Trouble::Starved), _) => "  starves clients",
            (Some(Trouble::CannotKeepUp), _) => "  cannot keep up",
            (Some(Trouble::Failed), _) => "  failed",
            (None, Some(true)) => "  holds",
            (None, Some(false)) => "  does not hold",
            (None, None) => "",
        };
        self.note(&format!(
            "{}  {:>9}/s  p50 {:>7}  p99 {:>7}{said}",
            self.turn,
            rate(report.rate.achieved_per_s),
            time(response.p50),
            time(response.p99)
        ));
    }

    /// Its turn has failed.
    pub fn failed(&self, message: &str) {
        self.note(&format!("{}  {message}", self.turn));
    }

    /// All is over.
    pub fn finish(&self) {
        if let Show::Terminal(bar) = &self.show {
            bar.finish_and_clear();
        }
    }

    fn show_turn(&self) {
        if let Show::Terminal(bar) = &self.show {
            bar.set_message(self.turn.clone());
            bar.tick();
        }
    }
}

impl Progress for SweepProgress {
    fn say(&mut self, text: &str) {
        self.note(text);
    }

    fn tick(&mut self, _now_ns: u64, _window: Window) {
        self.show_turn();
    }

    fn interval(&mut self, _interval: &Interval) {}

    fn finish(&mut self) {}
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed:>4} {spinner:.cyan} {msg}")
        .expect("the template is a constant and well formed");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}
