//! What a sweep does: validated, and free of the command line's types.

use super::levels::{FACTOR_MAX, FACTOR_MIN, Levels};
use crate::{
    contestant::{Contestant, ContestantsError, Invitation},
    plan::{CONNECTIONS_MAX, Plan, PlanError, RATE_PER_S_MAX, Request, known_port},
    report::sweep::Axis,
    schedule::{Arrival, Load},
};

/// The most runs of a level.
pub const REPEATS_MAX: u64 = 99;
/// The finest bracket around a capacity.
pub const TOLERANCE_MIN: f64 = 0.001;
/// The widest.
pub const TOLERANCE_MAX: f64 = 1.0;

/// What a sweep does.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// What is swept, at least one, each with a name of its own.
    pub contestants: Vec<Contestant>,
    /// What the levels are.
    pub axis: Axis,
    /// From the lowest up, at least one.
    pub levels: Vec<u64>,
    /// How many runs decide on a level in the search, from 1 to [`REPEATS_MAX`].
    pub repeats: usize,
    /// The part by which the ends of the search's bracket may differ, from [`TOLERANCE_MIN`] to [`TOLERANCE_MAX`].
    pub tolerance: f64,
    /// Whether servers and load get CPUs of their own.
    pub pin: bool,
    /// The load of the highest level. It has no targets.
    load: Plan,
}

/// Why a sweep that was asked for makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SweepPlanError {
    /// The load makes none.
    #[error(transparent)]
    Load(#[from] PlanError),
    /// The servers cannot take part together.
    #[error(transparent)]
    Contestants(#[from] ContestantsError),
    /// A single rate is no sweep.
    #[error(
        "--rate {0} is one level: write --rates FROM..TO, or --connection-counts beside it to sweep the clients at this \
         rate"
    )]
    SingleRate(u64),
    /// Thinking belongs to a closed loop.
    #[error(
        "--think makes a closed loop, whose levels are clients: give --connection-counts as well, or leave it out"
    )]
    ThinkOverRates,
    /// The levels are too many or too high.
    #[error("{flag}: {reason}; a larger --factor makes fewer steps")]
    Levels {
        /// The flag.
        flag: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// More clients than can be had would be tried.
    #[error("--connection-counts has no end: write FROM..TO, as each client takes a descriptor and a port")]
    EndlessConnections,
    /// Steps that are too small or too large.
    #[error("--factor {0} is not from {FACTOR_MIN} to {FACTOR_MAX}")]
    Factor(f64),
    /// More runs than anybody waits for.
    #[error("--repeats {0} is too much: the most is {REPEATS_MAX}")]
    TooManyRepeats(u64),
    /// Finer than a measurement tells apart, or no bracket at all.
    #[error("--tolerance {}% is not from {}% to {}%", .0 * 100.0, TOLERANCE_MIN * 100.0, TOLERANCE_MAX * 100.0)]
    Tolerance(f64),
}

/// What was asked for, before it is known to make sense.
#[derive(Clone, Debug)]
pub struct SweepRequest {
    /// The servers.
    pub servers: Invitation,
    /// The load, but for what the levels say.
    pub load: Request,
    /// The levels' rates, where these are swept.
    pub rates: Levels,
    /// The levels' clients, which are swept instead where they are given.
    pub connection_counts: Option<Levels>,
    /// From one level of a range to the next.
    pub factor: f64,
    /// See [`SweepPlan::repeats`].
    pub repeats: u64,
    /// See [`SweepPlan::tolerance`].
    pub tolerance: f64,
    /// See [`SweepPlan::pin`].
    pub pin: bool,
}

impl SweepPlan {
    /// Makes a plan of what was asked for. `cpus` are those that this process may use.
    ///
    /// # Errors
    /// When it makes no sense; the error says what to change.
    pub fn new(request: SweepRequest, cpus: usize) -> Result<Self, SweepPlanError> {
        let SweepRequest { mut load, factor, repeats, tolerance, .. } = request;
        if !(FACTOR_MIN..=FACTOR_MAX).contains(&factor) {
            return Err(SweepPlanError::Factor(factor));
        }
        if repeats > REPEATS_MAX {
            return Err(SweepPlanError::TooManyRepeats(repeats));
        }
        if !(TOLERANCE_MIN..=TOLERANCE_MAX).contains(&tolerance) {
            return Err(SweepPlanError::Tolerance(tolerance));
        }
        let (axis, flag, levels, most) = match &request.connection_counts {
            Some(Levels::Range { to: None, .. }) => return Err(SweepPlanError::EndlessConnections),
            Some(counts) => (Axis::Connections, "--connection-counts", counts, CONNECTIONS_MAX),
            None => (Axis::Rate, "--rates", &request.rates, RATE_PER_S_MAX),
        };
        match (axis, load.rate_per_s, load.think) {
            (Axis::Rate, Some(rate), _) => return Err(SweepPlanError::SingleRate(rate)),
            (Axis::Rate, None, Some(_)) => return Err(SweepPlanError::ThinkOverRates),
            _ => {}
        }
        let levels = levels.ladder(factor, most).map_err(|reason| SweepPlanError::Levels { flag, reason })?;
        if axis == Axis::Rate || load.rate_per_s.is_some() {
            // The users of an open loop know nothing of each other.
            load.arrival.get_or_insert(Arrival::Poisson);
        }
        // The lowest level has to make sense too: the threads must not be more than its clients.
        let [lowest, highest] = [levels.first(), levels.last()].map(|level| {
            let level = *level.expect("a ladder has at least one level");
            let load = load.clone();
            match axis {
                Axis::Rate => Plan::new(Request { rate_per_s: Some(level), ..load }, cpus),
                Axis::Connections => Plan::new(Request { connections: level, ..load }, cpus),
            }
        });
        lowest?;
        for target in &request.servers.targets {
            known_port(target)?;
        }
        let contestants = request.servers.contestants()?;
        let repeats = repeats as usize;
        Ok(Self { contestants, axis, levels, repeats, tolerance, pin: request.pin, load: highest? })
    }

    /// The load of the highest level.
    pub fn highest(&self) -> &Plan {
        &self.load
    }

    /// The load of a level, which is none over the highest, in a round from 0 on: it is the same for all servers in a
    /// round, and not in all rounds.
    pub fn load(&self, level: u64, round: usize) -> Plan {
        let mut load = self.load.clone();
        load.seed = load.seed.wrapping_add(round as u64);
        match (self.axis, &mut load.load) {
            (Axis::Rate, Load::Open { rate_per_s, .. }) => *rate_per_s = level,
            (Axis::Rate, Load::Closed { .. }) => unreachable!("a sweep of rates is an open loop"),
            (Axis::Connections, _) => {
                load.connections = u32::try_from(level).expect("the most clients fit");
                load.threads = load.threads.min(level as usize);
            }
        }
        load
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{plan::tests::request as load, sweep::levels::FACTOR_DEFAULT};

    pub(crate) fn request() -> SweepRequest {
        SweepRequest {
            servers: Invitation::default(),
            load: load(),
            rates: Levels::Range { from: 1_000, to: None },
            connection_counts: None,
            factor: FACTOR_DEFAULT,
            repeats: 3,
            tolerance: 0.05,
            pin: false,
        }
    }

    fn with(change: impl FnOnce(&mut SweepRequest)) -> Result<SweepPlan, SweepPlanError> {
        let mut request = request();
        change(&mut request);
        SweepPlan::new(request, 4)
    }

    #[test]
    fn each_level_and_round_has_its_load() {
        let plan = with(|_| ()).unwrap();
        assert_eq!((plan.axis, plan.levels[0]), (Axis::Rate, 1_000));
        let load = plan.load(5_000, 2);
        assert_eq!((load.rate_per_s(), load.seed, load.connections), (Some(5_000), 3, 500));
        assert_eq!(load.load, Load::Open { rate_per_s: 5_000, arrival: Arrival::Poisson });
        let plan = with(|request| {
            request.connection_counts = Some("1..100".parse().unwrap());
            request.load.threads = Some(1);
        });
        let load = plan.unwrap().load(1, 0);
        assert_eq!((load.rate_per_s(), load.connections, load.threads), (None, 1, 1));
    }

    #[test]
    fn the_threads_never_are_more_than_the_clients_of_a_level() {
        let plan = with(|request| request.connection_counts = Some("1..100".parse().unwrap())).unwrap();
        assert_eq!((plan.highest().threads, plan.load(1, 0).threads, plan.load(3, 0).threads), (2, 1, 2));
    }

    #[test]
    fn users_are_independent_where_nothing_else_is_said() {
        let arrival = |change: fn(&mut SweepRequest)| match with(change).unwrap().highest().load {
            Load::Open { arrival, .. } => Some(arrival),
            Load::Closed { .. } => None,
        };
        let counts = |request: &mut SweepRequest| request.connection_counts = Some("1,2".parse().unwrap());
        assert_eq!(arrival(|_| ()), Some(Arrival::Poisson));
        assert_eq!(
            arrival(|request| request.load.arrival = Some(Arrival::Constant)),
            Some(Arrival::Constant)
        );
        let _: fn(&mut SweepRequest) = counts;
        assert_eq!(arrival(|request| request.connection_counts = Some("1,2".parse().unwrap())), None);
        let both = |request: &mut SweepRequest| {
            request.connection_counts = Some("1,2".parse().unwrap());
            request.load.rate_per_s = Some(5);
        };
        assert_eq!(arrival(both), Some(Arrival::Poisson));
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let second = std::time::Duration::from_secs(1);
        let message = |change: fn(&mut SweepRequest)| with(change).unwrap_err().to_string();
        assert_eq!(
            with(|request| request.load.rate_per_s = Some(5)).unwrap_err(),
            SweepPlanError::SingleRate(5)
        );
        assert_eq!(with(|request| request.factor = 1.0).unwrap_err(), SweepPlanError::Factor(1.0));
        assert!(matches!(with(|request| request.factor = f64::NAN).unwrap_err(), SweepPlanError::Factor(_)));
        assert_eq!(with(|request| request.repeats = 100).unwrap_err(), SweepPlanError::TooManyRepeats(100));
        assert_eq!(message(|request| request.tolerance = 0.0), "--tolerance 0% is not from 0.1% to 100%");
        assert_eq!(
            with(|request| request.connection_counts = Some("1..".parse().unwrap())).unwrap_err(),
            SweepPlanError::EndlessConnections
        );
        assert_eq!(
            with(|request| request.load.think = Some(second)).unwrap_err(),
            SweepPlanError::ThinkOverRates
        );
        assert!(
            message(|request| request.rates = "1..2000m".parse().unwrap())
                .starts_with("--rates: 2000000000 is")
        );
        assert!(matches!(
            with(|request| {
                request.load.threads = Some(2);
                request.connection_counts = Some("1..10".parse().unwrap());
            })
            .unwrap_err(),
            SweepPlanError::Load(PlanError::IdleThreads { .. })
        ));
    }
}
