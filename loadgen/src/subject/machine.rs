//! The machine's limits and CPUs, as far as a run uses them.

use crate::{
    engine::sources::Sources,
    load::{limits, plan::Plan},
    subject::cpus::Division,
};

/// The machine's limits and CPUs, as far as a run uses them.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The soft limit on open files.
    pub open_files_limit: u64,
    /// The number of CPUs that this process may use.
    pub cpus: usize,
    /// How the CPUs are divided between the server and the load. None if both share them.
    pub division: Option<Division>,
}

impl Machine {
    /// Raises the limit on open files as far as possible, and checks that it suffices for the plan. Also checks the source
    /// addresses.
    ///
    /// # Errors
    /// When the limit is too low, or the machine does not have a source address of the plan.
    pub(crate) fn prepare(plan: &Plan) -> anyhow::Result<Self> {
        // If the limit cannot be raised, the current one may still suffice.
        let limit = common::limits::raise_open_files().unwrap_or_else(|_| common::limits::open_files());
        // The echo for the calibration runs in this process, and has the other end of each connection.
        let ends = if plan.measuring.calibrate { 2 } else { 1 };
        limits::check_open_files(u64::from(plan.connections()) * ends, plan.threads as u64, limit)?;
        Sources::new(&plan.connecting.sources).check()?;
        Ok(Self { open_files_limit: limit, cpus: common::limits::usable_cpus(), division: None })
    }
}
