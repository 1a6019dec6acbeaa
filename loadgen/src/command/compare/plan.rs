//! The validated plan of a comparison.

use std::path::PathBuf;

use crate::{
    load::{
        plan::Plan,
        request::{PlanError, Request, fitting_sources, fitting_started, known_port},
    },
    subject::candidate::{self, Candidate, Launch, SelectionError, ServerSelection},
};

/// The maximum number of rounds. The reports of all rounds are in memory.
pub(crate) const ROUNDS_MAX: u64 = 1000;

/// The share by which a metric may be worse than the kept one by default.
pub(crate) const TOLERANCE_DEFAULT: f64 = 0.05;

/// The plan of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct ComparePlan {
    /// The servers, at least one, with different names.
    pub candidates: Vec<Candidate>,
    /// The index of the server to compare the others with.
    pub baseline: usize,
    /// From 1 to [`ROUNDS_MAX`].
    pub rounds: usize,
    /// Whether servers and load run on separate CPUs.
    pub pin: bool,
    /// The load, the same for each server. It has no targets.
    pub load: Plan,
    /// The earlier result that the servers are held against.
    pub against: Option<PathBuf>,
    /// The share by which a metric may be worse than the kept one.
    pub tolerance: f64,
}

/// Why the request of a comparison is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ComparePlanError {
    /// The load is invalid.
    #[error(transparent)]
    Load(#[from] PlanError),
    /// The servers are invalid.
    #[error(transparent)]
    Candidates(#[from] SelectionError),
    /// The baseline is not one of the servers.
    #[error("--baseline {name} is not one of the servers: choose one of {names}")]
    UnknownBaseline {
        /// The given name.
        name: String,
        /// The names of the servers.
        names: String,
    },
    /// `--tolerance` without `--against`.
    #[error("--tolerance is the tolerance of --against FILE: add --against, or remove --tolerance")]
    ToleranceOfNothing,
    /// Too many rounds.
    #[error("--rounds {0} is too large: the maximum is {ROUNDS_MAX}")]
    TooManyRounds(u64),
}

/// A comparison as the user requests it.
#[derive(Clone, Debug)]
pub(crate) struct CompareRequest {
    /// The load.
    pub load: Request,
    /// The servers.
    pub servers: ServerSelection,
    /// The name of the server to compare the others with. None: the first.
    pub baseline: Option<String>,
    /// At least 1.
    pub rounds: u64,
    /// See [`ComparePlan::pin`].
    pub pin: bool,
    /// See [`ComparePlan::against`].
    pub against: Option<PathBuf>,
    /// See [`ComparePlan::tolerance`]. None: [`TOLERANCE_DEFAULT`].
    pub tolerance: Option<f64>,
}

impl ComparePlan {
    /// Makes the plan. `cpus` is the number of CPUs that this process may use.
    ///
    /// # Errors
    /// When the request is invalid; the error says what to change.
    pub(crate) fn new(request: CompareRequest, cpus: usize) -> Result<Self, ComparePlanError> {
        let load = request.load.plan(cpus)?;
        for target in &request.servers.targets {
            known_port(&target.address)?;
            fitting_sources(&load.connecting.sources, &target.address)?;
        }
        let candidates = request.servers.candidates()?;
        if candidates.iter().any(|candidate| !matches!(candidate.launch, Launch::Target(_))) {
            fitting_started(&load.connecting.sources, request.servers.location.address)?;
        }
        candidate::check_tls(&candidates, load.tls.as_ref()).map_err(PlanError::Tls)?;
        candidate::check_protocols(&candidates, &load.dialogue)?;
        let names = || candidates.iter().map(|candidate| candidate.name.clone());
        let baseline = match request.baseline {
            None => 0,
            Some(name) => names().position(|other| other == name).ok_or_else(|| {
                let names = names().collect::<Vec<_>>().join(", ");
                ComparePlanError::UnknownBaseline { name, names }
            })?,
        };
        if request.rounds > ROUNDS_MAX {
            return Err(ComparePlanError::TooManyRounds(request.rounds));
        }
        if request.tolerance.is_some() && request.against.is_none() {
            return Err(ComparePlanError::ToleranceOfNothing);
        }
        Ok(Self {
            candidates,
            baseline,
            rounds: request.rounds as usize,
            pin: request.pin,
            load,
            against: request.against,
            tolerance: request.tolerance.unwrap_or(TOLERANCE_DEFAULT),
        })
    }
}

#[cfg(test)]
mod tests {
    use server::mode::MODES;

    use super::*;
    use crate::{load::request::tests::request, subject::candidate::ServerCommand};

    fn plan(change: impl FnOnce(&mut CompareRequest)) -> Result<ComparePlan, ComparePlanError> {
        let mut request = CompareRequest {
            load: request(),
            servers: ServerSelection::default(),
            baseline: None,
            rounds: 5,
            pin: false,
            against: None,
            tolerance: None,
        };
        change(&mut request);
        ComparePlan::new(request, 2)
    }

    fn server(text: &str) -> ServerCommand {
        text.parse().unwrap()
    }

    fn names(plan: &ComparePlan) -> Vec<&str> {
        plan.candidates.iter().map(|candidate| candidate.name.as_str()).collect()
    }

    #[test]
    fn by_default_every_mode_is_compared_with_the_first() {
        let every: Vec<_> = MODES.iter().map(|mode| mode.name).collect();
        let plan = plan(|_| ()).unwrap();
        assert_eq!((names(&plan), plan.baseline), (every, 0));
    }

    #[test]
    fn named_servers_keep_their_order() {
        let (first, last) = (&MODES[0], &MODES[MODES.len() - 1]);
        let servers = vec![server("y=a {port}"), server("x=b {port}")];
        let only = plan(|request| request.servers.servers = servers.clone()).unwrap();
        assert_eq!(names(&only), ["y", "x"]);
        let mixed = plan(|request| {
            request.servers.servers = servers;
            request.servers.modes = vec![last, first];
            request.baseline = Some("x".to_owned());
        });
        let mixed = mixed.unwrap();
        assert_eq!((names(&mixed), mixed.baseline), (vec![last.name, first.name, "y", "x"], 3));
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let mode = &MODES[0];
        let duplicate =
            plan(|request| request.servers.servers = vec![server("x=a {port}"), server("x=b {port}")]);
        assert_eq!(duplicate.unwrap_err(), SelectionError::TwiceNamed("x".to_owned()).into());
        let duplicate = plan(|request| request.servers.modes = vec![mode, mode]);
        assert_eq!(duplicate.unwrap_err(), SelectionError::TwiceNamed(mode.name.to_owned()).into());
        let like =
            plan(|request| request.servers.servers = vec![server(&format!("{}=a {{port}}", mode.name))]);
        assert_eq!(like.unwrap_err(), SelectionError::NamedLikeMode(mode.name.to_owned()).into());
        let unknown = plan(|request| {
            request.servers.modes = vec![mode];
            request.baseline = Some("z".to_owned());
        });
        let names = mode.name.to_owned();
        assert_eq!(unknown.unwrap_err(), ComparePlanError::UnknownBaseline { name: "z".to_owned(), names });
        let rounds = plan(|request| request.rounds = ROUNDS_MAX + 1);
        assert_eq!(rounds.unwrap_err(), ComparePlanError::TooManyRounds(ROUNDS_MAX + 1));
        let tolerance = plan(|request| request.tolerance = Some(0.1));
        assert_eq!(tolerance.unwrap_err(), ComparePlanError::ToleranceOfNothing);
    }
}
