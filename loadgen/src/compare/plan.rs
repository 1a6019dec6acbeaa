//! What a comparison does: validated, and free of the command line's types.

use crate::{
    contestant::{Contestant, ContestantsError, Invitation},
    plan::{Plan, PlanError},
};

/// The most rounds; their order and their reports are kept.
pub const ROUNDS_MAX: u64 = 1000;

/// What a comparison does.
#[derive(Clone, Debug)]
pub struct ComparePlan {
    /// What is compared, at least one, each with a name of its own.
    pub contestants: Vec<Contestant>,
    /// The place of the one that the others are compared with.
    pub baseline: usize,
    /// From 1 to [`ROUNDS_MAX`].
    pub rounds: usize,
    /// Whether servers and load get CPUs of their own.
    pub pin: bool,
    /// The load, of which each server gets the same. It has no targets.
    pub load: Plan,
}

/// Why a comparison that was asked for makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComparePlanError {
    /// The load makes none.
    #[error(transparent)]
    Load(#[from] PlanError),
    /// The servers cannot take part together.
    #[error(transparent)]
    Contestants(#[from] ContestantsError),
    /// The baseline takes no part.
    #[error("--baseline {name} is not compared here: choose one of {names}")]
    UnknownBaseline {
        /// What was asked for.
        name: String,
        /// What there is.
        names: String,
    },
    /// More rounds than are kept.
    #[error("--rounds {0} is too much: the most is {ROUNDS_MAX}")]
    TooManyRounds(u64),
}

/// What was asked for, before it is known to make sense.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// The load.
    pub load: Plan,
    /// The servers; there is no target among them.
    pub servers: Invitation,
    /// The name of the one that the others are compared with; else the first.
    pub baseline: Option<String>,
    /// At least 1.
    pub rounds: u64,
    /// See [`ComparePlan::pin`].
    pub pin: bool,
}

impl ComparePlan {
    /// Makes a plan of what was asked for.
    ///
    /// # Errors
    /// When it makes no sense; the error says what to change.
    pub fn new(request: CompareRequest) -> Result<Self, ComparePlanError> {
        let contestants = request.servers.contestants()?;
        let names = || contestants.iter().map(|contestant| contestant.name.clone());
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
        let rounds = request.rounds as usize;
        Ok(Self { contestants, baseline, rounds, pin: request.pin, load: request.load })
    }
}

#[cfg(test)]
mod tests {
    use server::mode::MODES;

    use super::*;
    use crate::{contestant::ServerCommand, plan::tests::request};

    fn plan(change: impl FnOnce(&mut CompareRequest)) -> Result<ComparePlan, ComparePlanError> {
        let mut request = CompareRequest {
            load: Plan::new(request(), 2).unwrap(),
            servers: Invitation::default(),
            baseline: None,
            rounds: 5,
            pin: false,
        };
        change(&mut request);
        ComparePlan::new(request)
    }

    fn server(text: &str) -> ServerCommand {
        text.parse().unwrap()
    }

    fn names(plan: &ComparePlan) -> Vec<&str> {
        plan.contestants.iter().map(|contestant| contestant.name.as_str()).collect()
    }

    #[test]
    fn where_nothing_is_named_every_mode_takes_part_and_the_first_is_the_baseline() {
        let every: Vec<_> = MODES.iter().map(|mode| mode.name).collect();
        let plan = plan(|_| ()).unwrap();
        assert_eq!((names(&plan), plan.baseline), (every, 0));
    }

    #[test]
    fn what_is_named_takes_part_in_its_order() {
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
        let twice =
            plan(|request| request.servers.servers = vec![server("x=a {port}"), server("x=b {port}")]);
        assert_eq!(twice.unwrap_err(), ContestantsError::TwiceNamed("x".to_owned()).into());
        let twice = plan(|request| request.servers.modes = vec![mode, mode]);
        assert_eq!(twice.unwrap_err(), ContestantsError::TwiceNamed(mode.name.to_owned()).into());
        let like =
            plan(|request| request.servers.servers = vec![server(&format!("{}=a {{port}}", mode.name))]);
        assert_eq!(like.unwrap_err(), ContestantsError::NamedLikeMode(mode.name.to_owned()).into());
        let unknown = plan(|request| {
            request.servers.modes = vec![mode];
            request.baseline = Some("z".to_owned());
        });
        let names = mode.name.to_owned();
        assert_eq!(unknown.unwrap_err(), ComparePlanError::UnknownBaseline { name: "z".to_owned(), names });
        let rounds = plan(|request| request.rounds = ROUNDS_MAX + 1);
        assert_eq!(rounds.unwrap_err(), ComparePlanError::TooManyRounds(ROUNDS_MAX + 1));
    }
}
