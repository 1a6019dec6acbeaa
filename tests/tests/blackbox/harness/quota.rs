//! A cgroup with a CPU quota, for one program.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{machine, wait_until};

/// A cgroup for one test. It is removed when this value is dropped and its processes have ended.
pub(crate) struct CpuQuota {
    folder: PathBuf,
}

/// Mount points of cgroup v2, and of the CPU controller of v1.
static TOPS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"];

impl CpuQuota {
    /// A cgroup that may use this percentage of one CPU.
    ///
    /// # Errors
    /// If the cgroup cannot be made.
    pub(crate) fn percent(percent: u32) -> io::Result<Self> {
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for top in TOPS {
            match Self::below(Path::new(top), percent) {
                Ok(quota) => return Ok(quota),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Requires that such a cgroup can be made and entered.
    pub(crate) fn works() -> Result<(), String> {
        let unable =
            |error: &dyn std::fmt::Display| format!("no cgroup with a CPU quota is possible here: {error}");
        let quota = Self::percent(50).map_err(|error| unable(&error))?;
        match quota.limit(&Command::new("true")).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(unable(&status)),
            Err(error) => Err(unable(&error)),
        }
    }

    /// The command in this cgroup.
    pub(crate) fn limit(&self, command: &Command) -> Command {
        let enter = "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"";
        let folder = self.folder.to_str().expect("its name is ASCII");
        machine::before(&["sh", "-c", enter, "sh", folder], command)
    }

    fn below(top: &Path, percent: u32) -> io::Result<Self> {
        let of_v2 = top.join("cgroup.controllers").exists();
        if of_v2 {
            fs::write(top.join("cgroup.subtree_control"), "+cpu")?;
        } else if !top.join("cpu.shares").exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no controller for the CPU"));
        }
        let quota = Self { folder: top.join(format!("quota-{}-{}", std::process::id(), machine::unique())) };
        fs::create_dir(&quota.folder)?;
        let quota_us = percent * 1_000;
        match of_v2 {
            true => fs::write(quota.folder.join("cpu.max"), format!("{quota_us} 100000"))?,
            false => fs::write(quota.folder.join("cpu.cfs_quota_us"), quota_us.to_string())?,
        }
        Ok(quota)
    }
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        // An ended process may stay in its cgroup for a moment.
        let is_gone = || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists();
        wait_until("the cgroup is empty", is_gone);
    }
}
