//! The machine and the program of a run.

use std::fs;

use procfs::{CpuInfo, Current};
use serde::{Deserialize, Serialize};

use crate::{
    engine::wall_clock::ClockQuality,
    subject::{cpus::Division, machine::Machine},
};

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
    /// The identity of the kernel since its boot. All containers of a machine have the same one. None if it cannot be read, and in
    /// older results.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// The congestion control of new TCP connections (tcp(7), `tcp_congestion_control`). Some pace what they send, over loopback, too.
    /// None in older results.
    #[serde(default)]
    pub congestion_control: Option<String>,
    /// How well the kernel knew the time of day when the run began. None if it did not say, and in older results.
    #[serde(default)]
    pub clock: Option<ClockQuality>,
}

impl Environment {
    /// This program on this machine.
    pub(crate) fn of(machine: Machine) -> Self {
        let setting = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/{name}"));
            text.ok().map(|text| text.trim().to_owned())
        };
        let cpu = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: setting("kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
            cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
            cpus: machine.cpus,
            division: machine.division,
            open_files_limit: machine.open_files_limit,
            boot_id: setting("kernel/random/boot_id"),
            congestion_control: setting("net/ipv4/tcp_congestion_control"),
            clock: ClockQuality::now(),
        }
    }
}
