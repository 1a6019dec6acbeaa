//! The report for people. It fits 80 columns, where it is not a table, and is plain text, so that it can be kept
//! beside the code.

pub mod comparison;
pub mod run;
pub mod sweep;
pub mod table;

use std::io;

use super::{Document, Environment, PlanSummary};
use crate::{
    human::{count, duration_ns, rate},
    message::Expect,
    schedule::Arrival,
};

/// How far the labels reach.
const LABEL: usize = 11;
/// How far a line may reach.
const WIDTH: usize = 80;

/// Prints a result.
pub fn write(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    match document {
        Document::Run(report) => run::write(report, out),
        Document::Comparison(comparison) => comparison::write(comparison, out),
        Document::Sweep(sweep) => sweep::write(sweep, out),
    }
}

/// A labelled paragraph, wrapped between its words.
fn line(out: &mut dyn io::Write, label: &str, text: &str) -> io::Result<()> {
    let (mut label, mut row) = (label, String::new());
    for word in text.split(' ') {
        if !row.is_empty() && LABEL + row.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{label:<LABEL$}{row}")?;
            (label, row) = ("", String::new());
        }
        if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(word);
    }
    writeln!(out, "{label:<LABEL$}{row}")
}

fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

fn machine(environment: &Environment) -> String {
    let numbers = |cpus: &[usize]| cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    let division = environment.division.as_ref().map_or_else(String::new, |division| {
        format!(" (the server's: {}; the load's: {})", numbers(&division.server), numbers(&division.load))
    });
    format!("{}, {} CPUs{division}, Linux {}", environment.cpu, environment.cpus, environment.kernel)
}

fn load(plan: &PlanSummary) -> String {
    let mut parts = vec![match (plan.rate_per_s, plan.arrival) {
        (Some(per_s), Some(Arrival::Poisson)) => format!("open loop of {}/s, Poisson arrivals", rate(per_s)),
        (Some(per_s), _) => format!("open loop of {}/s, evenly spaced", rate(per_s)),
        (None, _) => "closed loop".to_owned(),
    }];
    parts.push(plural(plan.connections.into(), "client"));
    parts.push(plural(plan.threads as u64, "load thread"));
    if plan.pipeline > 1 {
        parts.push(format!("{} outstanding each", plan.pipeline));
    }
    if let Some(think_s) = plan.think_s.filter(|think_s| *think_s > 0.0) {
        parts.push(format!("{} to think", duration_ns((think_s * 1e9) as u64)));
    }
    if let Some(requests) = plan.requests_per_connection {
        parts.push(format!("a new connection after {}", plural(requests, "request")));
    }
    if let Some(per_s) = plan.connect_rate_per_s {
        parts.push(format!("at most {}", plural(per_s, "connection")) + " a second");
    }
    parts.join(", ")
}

fn message(plan: &PlanSummary) -> String {
    let size = plural(plan.size as u64, "byte");
    let source = plan.message.as_ref().map_or(String::new(), |path| format!(" from {path}"));
    let expected = match plan.expect {
        Expect::Upper => "the same in upper case",
        Expect::Echo => "the same",
        Expect::None => "as many bytes, unchecked",
    };
    format!("{size}{source}; expected back: {expected}")
}
