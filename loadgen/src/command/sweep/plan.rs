//! The validated plan of a sweep.

use super::levels::{FACTOR_MAX, FACTOR_MIN, Levels};
use crate::{
    load::{
        clients::Clients,
        plan::Plan,
        rate::Rate,
        request::{CONNECTIONS_MAX, PlanError, Request, fitting_sources, fitting_started, known_port},
        schedule::{Arrival, Load, Pace},
    },
    result::sweep::Axis,
    subject::candidate::{self, Candidate, Launch, SelectionError, ServerSelection},
};

/// The highest level of a sweep of rates, in requests per second: [`Rate::MAX`].
const RATE_PER_S_MAX: u64 = 1_000_000_000;

/// The maximum number of runs at a level.
pub(crate) const REPEATS_MAX: u64 = 99;
/// The narrowest bracket of a capacity.
pub(crate) const TOLERANCE_MIN: f64 = 0.001;
/// The widest bracket of a capacity.
pub(crate) const TOLERANCE_MAX: f64 = 1.0;

/// The plan of a sweep.
#[derive(Clone, Debug)]
pub(crate) struct SweepPlan {
    /// The servers, at least one, with different names.
    pub candidates: Vec<Candidate>,
    /// The quantity that the levels set.
    pub axis: Axis,
    /// The levels in ascending order, at least one.
    pub levels: Vec<u64>,
    /// The number of runs at a level of the search, from 1 to [`REPEATS_MAX`].
    pub repeats: usize,
    /// The width of the bracket that ends the search, as a share, from [`TOLERANCE_MIN`] to [`TOLERANCE_MAX`].
    pub tolerance: f64,
    /// Whether servers and load run on separate CPUs.
    pub pin: bool,
    /// The load of the highest level. It has no targets.
    load: Plan,
}

/// Why the request of a sweep is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum SweepPlanError {
    /// The load is invalid.
    #[error(transparent)]
    Load(#[from] PlanError),
    /// The servers are invalid.
    #[error(transparent)]
    Candidates(#[from] SelectionError),
    /// `--rate` without `--connection-counts`.
    #[error(
        "--rate {0} is one level: use --rates FROM..TO, or add --connection-counts to raise the number of clients at this \
         rate"
    )]
    SingleRate(Rate),
    /// `--think` without `--connection-counts`.
    #[error(
        "--think needs a closed loop, and --rates an open loop: add --connection-counts, or remove --think"
    )]
    ThinkOverRates,
    /// The levels are too many or too high.
    #[error("{flag}: {reason}; a larger --factor makes fewer steps")]
    Levels {
        /// The flag.
        flag: &'static str,
        /// The mistake.
        reason: String,
    },
    /// Clients without a maximum.
    #[error(
        "--connection-counts has no end: write FROM..TO, because each client needs a descriptor and a port"
    )]
    EndlessConnections,
    /// A factor out of range.
    #[error("--factor {0} is out of range: it must be from {FACTOR_MIN} to {FACTOR_MAX}")]
    Factor(f64),
    /// Too many runs at a level.
    #[error("--repeats {0} is too large: the maximum is {REPEATS_MAX}")]
    TooManyRepeats(u64),
    /// A tolerance out of range.
    #[error("--tolerance {}% is out of range: it must be from {}% to {}%", .0 * 100.0, TOLERANCE_MIN * 100.0, TOLERANCE_MAX * 100.0)]
    Tolerance(f64),
}

/// A sweep as the user requests it.
#[derive(Clone, Debug)]
pub(crate) struct SweepRequest {
    /// The servers.
    pub servers: ServerSelection,
    /// The load. The levels replace its rate or its connections.
    pub load: Request,
    /// The levels of a sweep of rates.
    pub rates: Levels,
    /// The levels of a sweep of connections. None: a sweep of rates.
    pub connection_counts: Option<Levels>,
    /// The factor between two levels of a range.
    pub factor: f64,
    /// See [`SweepPlan::repeats`].
    pub repeats: u64,
    /// See [`SweepPlan::tolerance`].
    pub tolerance: f64,
    /// See [`SweepPlan::pin`].
    pub pin: bool,
}

impl SweepPlan {
    /// Makes the plan. `cpus` is the number of CPUs that this process may use.
    ///
    /// # Errors
    /// When the request is invalid; the error says what to change.
    pub(crate) fn new(request: SweepRequest, cpus: usize) -> Result<Self, SweepPlanError> {
        check_ranges(&request)?;
        let (axis, levels) = axis_and_levels(&request)?;
        let mut load = request.load;
        if axis == Axis::Rate || load.rate.is_some() {
            // The users of an open loop are independent of each other.
            load.arrival.get_or_insert(Arrival::Poisson);
        }
        let at = |level: Option<&u64>| {
            let level = *level.expect("a ladder has at least one level");
            let load = load.clone();
            match axis {
                Axis::Rate => Request { rate: Some(Rate::per_second(level)), ..load }.plan(cpus),
                Axis::Connections => Request { connections: level, ..load }.plan(cpus),
            }
        };
        // The lowest level must be valid too: it needs at least one client for each load thread.
        at(levels.first())?;
        let load = at(levels.last())?;
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
        Ok(Self {
            candidates,
            axis,
            levels,
            repeats: request.repeats as usize,
            tolerance: request.tolerance,
            pin: request.pin,
            load,
        })
    }

    /// The load of the highest level.
    pub(crate) fn highest(&self) -> &Plan {
        &self.load
    }

    /// The load of a level in a round, counted from 0. All servers get the same load in a round; each round has another
    /// seed. `level` is not above the highest level.
    pub(crate) fn load(&self, level: u64, round: usize) -> Plan {
        let mut load = self.load.clone();
        load.seed = load.seed.wrapping_add(round as u64);
        match (self.axis, &mut load.load) {
            (Axis::Rate, Load::Open { pace, .. }) => *pace = Pace::Constant(Rate::per_second(level)),
            (Axis::Rate, Load::Closed { .. } | Load::Replay(_)) => {
                unreachable!("a sweep of rates is an open loop")
            }
            (Axis::Connections, _) => {
                load.clients =
                    Clients::all(u32::try_from(level).expect("the maximum number of clients fits"));
                load.threads = load.threads.min(level as usize);
            }
        }
        load
    }
}

fn check_ranges(request: &SweepRequest) -> Result<(), SweepPlanError> {
    let SweepRequest { factor, repeats, tolerance, .. } = *request;
    if !(FACTOR_MIN..=FACTOR_MAX).contains(&factor) {
        return Err(SweepPlanError::Factor(factor));
    }
    if repeats > REPEATS_MAX {
        return Err(SweepPlanError::TooManyRepeats(repeats));
    }
    if !(TOLERANCE_MIN..=TOLERANCE_MAX).contains(&tolerance) {
        return Err(SweepPlanError::Tolerance(tolerance));
    }
    Ok(())
}

fn axis_and_levels(request: &SweepRequest) -> Result<(Axis, Vec<u64>), SweepPlanError> {
    let (axis, flag, levels, max) = match &request.connection_counts {
        Some(Levels::Range { to: None, .. }) => return Err(SweepPlanError::EndlessConnections),
        Some(counts) => (Axis::Connections, "--connection-counts", counts, CONNECTIONS_MAX),
        None => (Axis::Rate, "--rates", &request.rates, RATE_PER_S_MAX),
    };
    match (axis, request.load.rate, request.load.think) {
        (Axis::Rate, Some(rate), _) => return Err(SweepPlanError::SingleRate(rate)),
        (Axis::Rate, None, Some(_)) => return Err(SweepPlanError::ThinkOverRates),
        _ => {}
    }
    let levels = levels.ladder(request.factor, max);
    Ok((axis, levels.map_err(|reason| SweepPlanError::Levels { flag, reason })?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{command::sweep::levels::FACTOR_DEFAULT, load::request::tests::request as load};

    pub(crate) fn request() -> SweepRequest {
        SweepRequest {
            servers: ServerSelection::default(),
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
        assert_eq!((load.rate_per_s(), load.seed, load.connections()), (Some(5_000.0), 3, 500));
        let pace = Pace::Constant(Rate::per_second(5_000));
        assert_eq!(load.load, Load::Open { pace, arrival: Arrival::Poisson });
        let plan = with(|request| {
            request.connection_counts = Some("1..100".parse().unwrap());
            request.load.threads = Some(1);
        });
        let load = plan.unwrap().load(1, 0);
        assert_eq!((load.rate_per_s(), load.connections(), load.threads), (None, 1, 1));
    }

    #[test]
    fn a_level_has_no_more_load_threads_than_clients() {
        let plan = with(|request| request.connection_counts = Some("1..100".parse().unwrap())).unwrap();
        assert_eq!((plan.highest().threads, plan.load(1, 0).threads, plan.load(3, 0).threads), (2, 1, 2));
    }

    #[test]
    fn arrivals_are_poisson_by_default() {
        let arrival = |change: fn(&mut SweepRequest)| match with(change).unwrap().highest().load {
            Load::Open { arrival, .. } => Some(arrival),
            Load::Closed { .. } | Load::Replay(_) => None,
        };
        assert_eq!(arrival(|_| ()), Some(Arrival::Poisson));
        assert_eq!(
            arrival(|request| request.load.arrival = Some(Arrival::Constant)),
            Some(Arrival::Constant)
        );
        assert_eq!(arrival(|request| request.connection_counts = Some("1,2".parse().unwrap())), None);
        let both = |request: &mut SweepRequest| {
            request.connection_counts = Some("1,2".parse().unwrap());
            request.load.rate = Some(Rate::per_second(5));
        };
        assert_eq!(arrival(both), Some(Arrival::Poisson));
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let second = std::time::Duration::from_secs(1);
        let message = |change: fn(&mut SweepRequest)| with(change).unwrap_err().to_string();
        assert_eq!(
            with(|request| request.load.rate = Some(Rate::per_second(5))).unwrap_err(),
            SweepPlanError::SingleRate(Rate::per_second(5))
        );
        assert_eq!(with(|request| request.factor = 1.0).unwrap_err(), SweepPlanError::Factor(1.0));
        assert!(matches!(with(|request| request.factor = f64::NAN).unwrap_err(), SweepPlanError::Factor(_)));
        assert_eq!(with(|request| request.repeats = 100).unwrap_err(), SweepPlanError::TooManyRepeats(100));
        assert!(with(|request| request.repeats = 99).is_ok());
        assert_eq!(
            message(|request| request.tolerance = 0.0),
            "--tolerance 0% is out of range: it must be from 0.1% to 100%"
        );
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
