//! The output of progress: a moving line on a terminal, otherwise a line for each event, or nothing.

use std::io::{self, IsTerminal};

use common::log;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::line::{Part, fit, whole};
use crate::{
    format::screen::{Screen, wrap},
    subject::server_log::ServerLog,
};

/// The output of progress.
#[derive(Debug)]
pub(crate) enum Display {
    /// No output.
    Nothing,
    /// A line for each event, as in a log.
    Lines,
    /// A terminal, whose last line moves.
    Terminal(ProgressBar),
}

impl Display {
    /// A moving line if stderr is a terminal, else a line for each event. `quiet` shows nothing.
    pub(crate) fn new(quiet: bool) -> Self {
        match (quiet, io::stderr().is_terminal()) {
            (true, _) => Self::Nothing,
            (false, false) => Self::Lines,
            (false, true) => Self::Terminal(moving("{wide_msg}")),
        }
    }

    /// The same, with a spinner before the moving line, for a command of unknown duration.
    pub(crate) fn with_spinner(quiet: bool) -> Self {
        match Self::new(quiet) {
            Self::Terminal(_) => Self::Terminal(moving("{elapsed:>4} {spinner} {wide_msg}")),
            other => other,
        }
    }

    /// Prints lines of other threads.
    pub(crate) fn server_log(&self) -> ServerLog {
        match self {
            Self::Nothing | Self::Lines => ServerLog::default(),
            Self::Terminal(bar) => ServerLog::beside(bar),
        }
    }

    /// Prints a permanent line.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Self::Nothing => {}
            Self::Lines => log::say(format_args!("{text}")),
            Self::Terminal(bar) => {
                let lines = wrap(text, Screen::of_stderr().columns - 1);
                say_above(bar, &lines.join("\n"));
            }
        }
    }

    /// Prints a permanent line, with the parts that fit the terminal.
    pub(crate) fn say_parts(&self, parts: &[Part]) {
        match self {
            Self::Nothing => {}
            Self::Lines => log::say(format_args!("{}", whole(parts))),
            Self::Terminal(bar) => say_above(bar, &fit(parts, Screen::of_stderr())),
        }
    }

    /// Updates the moving line, if there is one. The width of the terminal may change, so it is read each time.
    pub(crate) fn show(&self, parts: impl FnOnce() -> Vec<Part>) {
        if let Self::Terminal(bar) = self {
            bar.set_message(fit(&parts(), Screen::of_stderr()));
            bar.tick();
        }
    }

    /// Removes the moving line.
    pub(crate) fn finish(&self) {
        if let Self::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Prints without `ProgressBar::println`, which fills the line with spaces instead of ending it.
fn say_above(bar: &ProgressBar, text: &str) {
    bar.suspend(|| log::say(format_args!("{text}")));
}

fn moving(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates are constants and well formed");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}
