//! A cgroup with one limit, for one program.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{machine, wait_until};

/// A cgroup for one test. It is removed when this value is dropped and its processes have ended.
pub(crate) struct Cgroup {
    folder: PathBuf,
}

/// A limit, in both versions of cgroups.
struct Limit {
    /// The controller's name in version 2.
    controller: &'static str,
    /// Mount points of the controller in version 1.
    tops_of_v1: &'static [&'static str],
    /// A file that the controller has at its mount point in version 1.
    mark_of_v1: &'static str,
    /// The file and the value of the limit in version 1.
    of_v1: (&'static str, String),
    /// The file and the value of the limit in version 2.
    of_v2: (&'static str, String),
}

/// The mount point of version 2.
const TOP_OF_V2: &str = "/sys/fs/cgroup";

impl Cgroup {
    /// A cgroup that may use this percentage of one CPU.
    ///
    /// # Errors
    /// If the cgroup cannot be made.
    pub(crate) fn of_cpu_percent(percent: u32) -> io::Result<Self> {
        let quota_us = percent * 1_000;
        Self::new(&Limit {
            controller: "cpu",
            tops_of_v1: &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"],
            mark_of_v1: "cpu.shares",
            of_v1: ("cpu.cfs_quota_us", quota_us.to_string()),
            of_v2: ("cpu.max", format!("{quota_us} 100000")),
        })
    }

    /// A cgroup that may use this many bytes of memory.
    ///
    /// # Errors
    /// If the cgroup cannot be made.
    pub(crate) fn of_memory_bytes(bytes: u64) -> io::Result<Self> {
        Self::new(&Limit {
            controller: "memory",
            tops_of_v1: &["/sys/fs/cgroup/memory"],
            mark_of_v1: "memory.limit_in_bytes",
            of_v1: ("memory.limit_in_bytes", bytes.to_string()),
            of_v2: ("memory.max", bytes.to_string()),
        })
    }

    /// Requires that a program can be given a part of a CPU.
    pub(crate) fn limits_cpu() -> Result<(), String> {
        runs_a_program(Self::of_cpu_percent(50)).map_err(|error| unable("CPU quota", &error))
    }

    /// Requires that a program can be given a part of the memory.
    pub(crate) fn limits_memory() -> Result<(), String> {
        runs_a_program(Self::of_memory_bytes(64 << 20)).map_err(|error| unable("memory limit", &error))
    }

    /// The command in this cgroup.
    pub(crate) fn limit(&self, command: &Command) -> Command {
        let enter = "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"";
        let folder = self.folder.to_str().expect("its name is ASCII");
        machine::before(&["sh", "-c", enter, "sh", folder], command)
    }

    fn new(limit: &Limit) -> io::Result<Self> {
        let top = Path::new(TOP_OF_V2);
        if top.join("cgroup.controllers").exists() {
            fs::write(top.join("cgroup.subtree_control"), format!("+{}", limit.controller))?;
            return Self::below(top, &limit.of_v2);
        }
        let mut tops = limit.tops_of_v1.iter().map(Path::new);
        let top = tops.find(|top| top.join(limit.mark_of_v1).exists()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no controller {}", limit.controller))
        })?;
        Self::below(top, &limit.of_v1)
    }

    fn below(top: &Path, (file, value): &(&str, String)) -> io::Result<Self> {
        let name = format!("limit-{}-{}", std::process::id(), machine::unique());
        let cgroup = Self { folder: top.join(name) };
        fs::create_dir(&cgroup.folder)?;
        fs::write(cgroup.folder.join(file), value)?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // An ended process may stay in its cgroup for a moment.
        let is_gone = || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists();
        wait_until("the cgroup is empty", is_gone);
    }
}

fn runs_a_program(cgroup: io::Result<Cgroup>) -> io::Result<()> {
    let status = cgroup?.limit(&Command::new("true")).status()?;
    status.success().then_some(()).ok_or_else(|| io::Error::other(status.to_string()))
}

fn unable(what: &str, error: &io::Error) -> String {
    format!("no cgroup with a {what} is possible here: {error}")
}
