//! The resources that the generator, its server and the machine have used until a moment.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::{
    engine::{cpu_quota::CpuQuotas, probes::MachineProbe},
    subject::server_process::{
        ServerProcess,
        usage::{Moment, Reading},
    },
};

/// The resources used until a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// CPU time of the whole process.
    pub generator_cpu_ns: u64,
    /// The server that loadgen started. None if there is none, or if it has ended.
    pub server: Option<Reading>,
    /// The machine's counters.
    pub machine: MachineProbe,
    /// The CPU quotas of this process.
    pub quotas: CpuQuotas,
}

impl Cost {
    /// The resources used until now.
    pub(crate) fn now(server: Option<&ServerProcess>, moment: Moment) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let server = server.and_then(|server| server.usage(moment));
        moment.give_way();
        Self {
            generator_cpu_ns: Duration::try_from(cpu).map_or(0, |cpu| cpu.as_nanos() as u64),
            server,
            machine: MachineProbe::now(),
            quotas: CpuQuotas::now(),
        }
    }
}
