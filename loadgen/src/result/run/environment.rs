//! The machine and the program of a run.

use std::fs;

use procfs::{CpuInfo, Current};
use serde::{Deserialize, Serialize};

use crate::subject::{cpus::Division, machine::Machine};

/// The machine and the program of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// The version of loadgen.
    pub version: String,
    /// The release of the kernel.
    pub kernel: String,
    /// The CPU's model name.
    pub cpu: String,
    /// The number of CPUs that this process may use.
    pub cpus: usize,
    /// How the CPUs were divided between the load and the server that loadgen started. None if both shared them.
    #[serde(default)]
    pub division: Option<Division>,
    /// The limit on open files, after loadgen raised it.
    pub open_files_limit: u64,
    /// The identity of the kernel's current boot. It is equal in all containers of one machine. None in older results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The quality of the machine's clock. None in older results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockQuality>,
}

/// The quality of a clock, as adjtimex(2) reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockQuality {
    /// The clock is synchronised.
    pub synchronised: bool,
    /// The maximum error, in nanoseconds. None if the kernel does not know it.
    pub max_error_ns: Option<u64>,
}

impl Environment {
    /// This program on this machine.
    pub(crate) fn of(machine: Machine) -> Self {
        let unknown = || "unknown".to_owned();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let cpu = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel.map_or_else(unknown, |text| text.trim().to_owned()),
            cpu: cpu.unwrap_or_else(unknown),
            cpus: machine.cpus,
            division: machine.division,
            open_files_limit: machine.open_files_limit,
            boot_id: None,
            clock: None,
        }
    }
}
