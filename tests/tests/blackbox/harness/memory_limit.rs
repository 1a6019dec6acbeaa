//! A cgroup with a memory limit, for one program.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{machine, wait_until};

/// A cgroup for one test. It is removed when this value is dropped and its processes have ended.
pub(crate) struct MemoryLimit {
    folder: PathBuf,
}

/// Mount points of cgroup v2, and of the memory controller of v1.
static TOPS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/memory"];

impl MemoryLimit {
    /// A cgroup that may use this many bytes.
    ///
    /// # Errors
    /// If the cgroup cannot be made.
    pub(crate) fn bytes(bytes: u64) -> io::Result<Self> {
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for top in TOPS {
            match Self::below(Path::new(top), bytes) {
                Ok(limit) => return Ok(limit),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Requires that such a cgroup can be made and entered.
    pub(crate) fn works() -> Result<(), String> {
        let unable = |error: &dyn std::fmt::Display| {
            format!("no cgroup with a memory limit is possible here: {error}")
        };
        let limit = Self::bytes(64 << 20).map_err(|error| unable(&error))?;
        match limit.limit(&Command::new("true")).status() {
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

    fn below(top: &Path, bytes: u64) -> io::Result<Self> {
        let of_v2 = top.join("cgroup.controllers").exists();
        if of_v2 {
            fs::write(top.join("cgroup.subtree_control"), "+memory")?;
        } else if !top.join("memory.limit_in_bytes").exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no controller for memory"));
        }
        let limit = Self { folder: top.join(format!("limit-{}-{}", std::process::id(), machine::unique())) };
        fs::create_dir(&limit.folder)?;
        let file = if of_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(limit.folder.join(file), bytes.to_string())?;
        Ok(limit)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // An ended process may stay in its cgroup for a moment.
        let is_gone = || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists();
        wait_until("the cgroup is empty", is_gone);
    }
}
