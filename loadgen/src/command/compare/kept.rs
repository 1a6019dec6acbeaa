//! The earlier result of `--against`: an earlier comparison, or a single run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use common::{human::plural, limits};

use super::{
    plan::ComparePlan,
    results::{self, Record},
};
use crate::{
    command::{merge, stored},
    result::{
        Document, Environment, PlanSummary, Report, Status,
        bootstrap::ROUNDS_MIN,
        comparison::{Comparison, Round, Subject, SubjectStatus, against::Kept},
    },
};

/// The rounds that the advice names. Intervals are good from this number on.
const ROUNDS_ADVISED: usize = 5;

/// An earlier result that today's comparison is held against.
#[derive(Clone, Debug)]
pub(crate) struct KeptResult {
    /// Where it is from.
    pub kept: Kept,
    /// Its servers. A run is a server with one round.
    pub servers: Vec<Subject>,
    /// It is a single run.
    is_run: bool,
    interrupted: bool,
    load: PlanSummary,
    /// The loads of servers with requests and replies of their own.
    own_loads: BTreeMap<String, PlanSummary>,
    /// The servers and the load had separate CPUs.
    pinned: bool,
}

/// Why a comparison cannot be held against an earlier result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AgainstError {
    /// The file cannot be read, or holds no result.
    #[error("--against: {0}")]
    Unusable(String),
    /// A result of `loadgen sweep`.
    #[error("--against {}: it is a result of 'loadgen sweep'; use one of 'loadgen compare' or 'loadgen run'", .0.display())]
    Sweep(PathBuf),
    /// A result of `loadgen merge`.
    #[error(
        "--against {}: it is the sum of several generators, and a comparison has one; use a result of 'loadgen compare' or \
         'loadgen run'", .0.display()
    )]
    Merged(PathBuf),
    /// A single run, and several servers today.
    #[error("--against {}: it holds one run, of {kept}, so it fits one server; {advice}", file.display())]
    SeveralServers {
        /// The file.
        file: PathBuf,
        /// The server of the run.
        kept: String,
        /// How to choose one server.
        advice: String,
    },
    /// No server has the name of a kept one.
    #[error(
        "--against {}: it has no server with a name of this comparison: it has {kept}, and this comparison {today}; servers \
         are matched by name", file.display()
    )]
    NoCommonServer {
        /// The file.
        file: PathBuf,
        /// The names in it.
        kept: String,
        /// The names of this comparison.
        today: String,
    },
    /// Another load.
    #[error(
        "--against {}: its load is another one, so a difference would not be the server's: it has {}; use the same load, or \
         make a new file", file.display(), in_words(differences)
    )]
    LoadsDiffer {
        /// The file.
        file: PathBuf,
        /// Each difference: the property of the file, and that of this comparison.
        differences: Vec<[String; 2]>,
    },
}

/// The properties in which the kept load of a server and today's differ.
fn differences_of(plans: [&PlanSummary; 2]) -> Vec<[String; 2]> {
    let own = OWN_PROPERTIES.iter().map(|property| plans.map(property));
    let mut differences: Vec<_> = own.filter(|[kept, today]| kept != today).collect();
    differences.extend(merge::differences(plans));
    if let [Some(kept), Some(today)] = plans.map(|plan| plan.requests)
        && kept != today
    {
        differences.push([kept, today].map(|requests| format!("--requests {requests}")));
    }
    differences
}

fn in_words(differences: &[[String; 2]]) -> String {
    let each = differences.iter().map(|[kept, today]| format!("{kept}, this comparison {today}"));
    each.collect::<Vec<_>>().join("; ")
}

impl KeptResult {
    /// Reads a result that `plan` can be held against.
    ///
    /// # Errors
    /// When it cannot be read, or does not fit the plan.
    pub(crate) fn read(file: &Path, plan: &ComparePlan) -> Result<Self, AgainstError> {
        let document = stored::read(file).map_err(|error| AgainstError::Unusable(format!("{error:#}")))?;
        let kept = match document {
            Document::Comparison(comparison) => Self::of_comparison(file, *comparison),
            Document::Run(report) if report.merged.is_some() => {
                return Err(AgainstError::Merged(file.to_owned()));
            }
            Document::Run(report) => Self::of_run(file, *report),
            Document::Sweep(_) => return Err(AgainstError::Sweep(file.to_owned())),
        };
        kept.check_load(file, plan)?;
        kept.check_servers(file, plan)?;
        Ok(kept)
    }

    fn of_comparison(file: &Path, comparison: Comparison) -> Self {
        Self {
            kept: Kept {
                file: file.display().to_string(),
                command: comparison.command,
                started_at_unix_ms: comparison.started_at_unix_ms,
                environment: comparison.environment,
            },
            servers: comparison.subjects,
            is_run: false,
            interrupted: comparison.interrupted,
            load: comparison.plan.load,
            own_loads: comparison.plan.own_loads,
            pinned: comparison.plan.pinned,
        }
    }

    fn of_run(file: &Path, report: Report) -> Self {
        let mode = report.server.as_ref().and_then(|server| server.mode.clone());
        let name = mode.clone().unwrap_or_else(|| report.plan.targets.join(", "));
        Self {
            kept: Kept {
                file: file.display().to_string(),
                command: report.command.clone(),
                started_at_unix_ms: report.started_at_unix_ms,
                environment: report.environment.clone(),
            },
            is_run: true,
            interrupted: report.interrupted,
            load: report.plan.clone(),
            own_loads: BTreeMap::new(),
            pinned: report.environment.division.is_some(),
            servers: vec![Subject {
                mode,
                ..results::of_record(
                    name,
                    Record { rounds: vec![Round { round: 1, report }], failures: Vec::new() },
                )
            }],
        }
    }

    /// The kept server that one of today's is held against: the one with its name, or the only one of a run.
    pub(super) fn server(&self, name: &str) -> Option<&Subject> {
        match self.is_run {
            true => self.servers.first(),
            false => self.servers.iter().find(|server| server.name == name),
        }
    }

    fn check_load(&self, file: &Path, plan: &ComparePlan) -> Result<(), AgainstError> {
        // With a single CPU, --pin divides nothing.
        let is_divided = plan.pin && limits::usable_cpus() > 1;
        let pins = [self.pinned, is_divided].map(|pinned| match pinned {
            true => "the server and the load on separate CPUs (--pin)".to_owned(),
            false => "the server and the load on shared CPUs (no --pin)".to_owned(),
        });
        let mut differences: Vec<_> = Some(pins).filter(|[kept, today]| kept != today).into_iter().collect();
        for candidate in &plan.candidates {
            let today = PlanSummary::of(&candidate.load(plan.load.clone()), &[]);
            let kept = self.own_loads.get(&candidate.name).unwrap_or(&self.load);
            for difference in differences_of([kept, &today]) {
                if !differences.contains(&difference) {
                    differences.push(difference);
                }
            }
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(AgainstError::LoadsDiffer { file: file.to_owned(), differences }),
        }
    }

    fn check_servers(&self, file: &Path, plan: &ComparePlan) -> Result<(), AgainstError> {
        let today: Vec<_> = plan.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        if self.is_run && today.len() > 1 {
            let server = &self.servers[0];
            let advice = match &server.mode {
                Some(mode) => format!("use --modes {mode}, or one --server NAME=COMMAND"),
                None => "use one --server NAME=COMMAND, or one mode (--modes)".to_owned(),
            };
            return Err(AgainstError::SeveralServers {
                file: file.to_owned(),
                kept: server.name.clone(),
                advice,
            });
        }
        if today.iter().any(|name| self.server(name).is_some()) {
            return Ok(());
        }
        let kept: Vec<_> = self.servers.iter().map(|server| server.name.as_str()).collect();
        let (kept, today) = (kept.join(", "), today.join(", "));
        Err(AgainstError::NoCommonServer { file: file.to_owned(), kept, today })
    }

    /// What else than the servers may explain a difference, and what the kept numbers lack.
    pub(super) fn warnings(&self, plan: &ComparePlan, today: &Environment) -> Vec<String> {
        let interrupted = self.interrupted.then(|| format!("{} was interrupted", self.kept.file));
        self.other_machine(plan, today)
            .into_iter()
            .chain(interrupted)
            .chain(self.too_few_rounds(plan))
            .chain(self.bad_rounds(plan))
            .collect()
    }

    fn other_machine(&self, plan: &ComparePlan, today: &Environment) -> Option<String> {
        let kept = &self.kept.environment;
        let differences = [
            ("kernel", kept.kernel.clone(), today.kernel.clone()),
            ("CPU", kept.cpu.clone(), today.cpu.clone()),
            ("number of CPUs", kept.cpus.to_string(), today.cpus.to_string()),
            ("version of loadgen", kept.version.clone(), today.version.clone()),
            ("load threads", self.load.threads.to_string(), plan.load.threads.to_string()),
        ];
        let differences: Vec<_> = differences
            .iter()
            .filter(|(_, kept, today)| kept != today)
            .map(|(what, kept, today)| format!("{what} {kept} then, {today} today"))
            .collect();
        (!differences.is_empty()).then(|| {
            format!(
                "the machine or loadgen itself is not the same, so a difference may not be the server's: {}",
                differences.join("; ")
            )
        })
    }

    fn too_few_rounds(&self, plan: &ComparePlan) -> Option<String> {
        let few = self.matched(plan).find(|server| server.rounds.len() < ROUNDS_MIN);
        let of_kept = few.map(|server| {
            format!(
                "{} has {} of {}: without {ROUNDS_MIN} rounds there is no interval, and no regression can be shown; make \
                 it anew with 'loadgen compare --rounds {ROUNDS_ADVISED} --format json -o FILE'",
                self.kept.file,
                plural(server.rounds.len() as u64, "round"),
                server.name,
            )
        });
        of_kept.or_else(|| {
            (plan.rounds < ROUNDS_MIN).then(|| {
                format!(
                    "with {} there is no interval, and no regression can be shown; use --rounds {ROUNDS_ADVISED} or more",
                    plural(plan.rounds as u64, "round")
                )
            })
        })
    }

    /// The kept rounds whose numbers are not trustworthy.
    fn bad_rounds(&self, plan: &ComparePlan) -> Vec<String> {
        let bad = self
            .matched(plan)
            .filter(|server| server.status == SubjectStatus::Ok && server.verdict.status != Status::Valid);
        let text = |server: &Subject| {
            let codes: Vec<_> =
                server.verdict.reasons.iter().map(|found| found.reason.code.as_str()).collect();
            let status = match server.verdict.status {
                Status::Invalid => "invalid",
                Status::Valid | Status::Suspect => "suspect",
            };
            format!(
                "of {} of {} in {}, {} {status}: {}",
                plural(server.verdict.rounds as u64, "round"),
                server.name,
                self.kept.file,
                match server.verdict.count {
                    1 => "1 is".to_owned(),
                    count => format!("{count} are"),
                },
                codes.join(", ")
            )
        };
        bad.map(text).collect()
    }

    /// The kept servers that today's comparison has.
    fn matched<'a>(&'a self, plan: &'a ComparePlan) -> impl Iterator<Item = &'a Subject> {
        plan.candidates.iter().filter_map(|candidate| self.server(&candidate.name))
    }
}

/// Describes a property of a plan.
type Property = fn(&PlanSummary) -> String;

/// Properties that a whole load has, besides those that its parts have in common.
static OWN_PROPERTIES: &[Property] = &[
    |plan| plural(plan.connections.into(), "client"),
    |plan| match plan.rate_per_s {
        None => "no --rate".to_owned(),
        Some(per_s) => format!("a --rate of {per_s}"),
    },
    |plan| match plan.connect_rate_per_s {
        None => "no --connect-rate".to_owned(),
        Some(per_s) => format!("a --connect-rate of {per_s}"),
    },
    |plan| match plan.kernel_timestamps {
        true => "--kernel-timestamps".to_owned(),
        false => "no --kernel-timestamps".to_owned(),
    },
    |plan| match plan.busy_poll {
        true => "--busy-poll".to_owned(),
        false => "no --busy-poll".to_owned(),
    },
];

#[cfg(test)]
pub(crate) mod tests;
