//! Results as plain data, and the code that computes them from recordings. It knows no format and no command line.

pub(crate) mod bootstrap;
pub(crate) mod comparison;
pub(crate) mod conclusion;
pub(crate) mod cost;
pub(crate) mod counts;
pub(crate) mod fairness;
pub(crate) mod footnotes;
pub(crate) mod metrics;
pub(crate) mod precision;
pub(crate) mod recovery;
mod run;
pub(crate) mod setting;
pub(crate) mod summary;
pub(crate) mod sweep;
pub(crate) mod tally;
pub(crate) mod verdicts;
pub(crate) mod watch;

use serde::{Serialize, Serializer};

pub(crate) use self::run::*;
use self::{comparison::Comparison, sweep::Sweep};

/// The note on every closed loop. No rule of the verdict can detect this limit.
pub(crate) const CLOSED_LOOP: &str = "a closed loop: each client waits for its reply before it asks again, so it cannot see the \
                               queues that this waiting keeps from forming; --rate shows them";

/// The note on every part of a load that has objectives. A merged result has the outcomes instead.
pub(crate) const SLO_OF_WHOLE: &str = "the SLOs are those of the whole load, so this part is not held against them: 'loadgen merge' checks them";

/// The version of the JSON format of all results.
pub(crate) const SCHEMA: u32 = 1;

/// A result. Every format prints every kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    /// The result of a run.
    Run(Box<Report>),
    /// The result of a comparison.
    Comparison(Box<Comparison>),
    /// The result of a sweep.
    Sweep(Box<Sweep>),
}

impl Serialize for Document {
    /// Serialises the content. A comparison and a sweep have a field `kind`; a run has none.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Document::Run(report) => report.serialize(serializer),
            Document::Comparison(comparison) => comparison.serialize(serializer),
            Document::Sweep(sweep) => sweep.serialize(serializer),
        }
    }
}

impl Document {
    /// The command line of the result.
    pub(crate) fn command(&self) -> Option<&str> {
        match self {
            Document::Run(report) => report.command.as_deref(),
            Document::Comparison(comparison) => comparison.command.as_deref(),
            Document::Sweep(sweep) => sweep.command.as_deref(),
        }
    }

    /// Sets the command line of the result.
    pub(crate) fn set_command(&mut self, command: String) {
        let place = match self {
            Document::Run(report) => &mut report.command,
            Document::Comparison(comparison) => &mut comparison.command,
            Document::Sweep(sweep) => &mut sweep.command,
        };
        *place = Some(command);
    }
}

#[cfg(test)]
pub(crate) mod tests;
