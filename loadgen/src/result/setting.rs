//! The circumstances of a run: its targets, its server, its plan and its machine.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    engine::probes::MachineProbe,
    load::plan::Plan,
    result::{Environment, PlanSummary},
    subject::{machine::Machine, server_process::Identity},
};

/// The circumstances of a run.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The targets' addresses.
    pub targets: Vec<String>,
    /// The server that loadgen started for the run.
    pub server: Option<Identity>,
    /// The machine and the program.
    pub environment: Environment,
    /// The plan.
    pub plan: PlanSummary,
    /// When the run began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// The machine's counters at that time.
    pub machine_at_start: MachineProbe,
}

impl Setting {
    /// The setting of a run that begins now.
    pub(crate) fn new(plan: &Plan, targets: Vec<String>, server: Option<Identity>, machine: Machine) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            plan: PlanSummary::of(plan, &targets),
            targets,
            server,
            environment: Environment::of(machine),
            started_at_unix_ms: since_1970.as_millis() as u64,
            machine_at_start: MachineProbe::now(),
        }
    }
}
