//! Why io_uring is unavailable on this host, and what to do.

use std::{fmt, fs, io};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};

/// The kernel version that the mode needs, for incrementally consumed buffers. The other features are older (single issuer and
/// deferred task work 6.1, messages between rings 5.18, multishot receive 6.0).
const KERNEL_NEEDED: &str = "Linux 6.12";

/// The step at which the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make a ring.
    Setup,
    /// Lend blocks of memory to receive into.
    Blocks,
    /// Submit and wait.
    Enter,
    /// Make sockets for the probe.
    Sockets,
    /// Check that completions have the order of the receives.
    Order,
}

/// The error of a kernel that refuses io_uring, with the state of the host that explains it.
#[derive(Debug)]
pub(super) struct Unavailable {
    step: Step,
    error: Errno,
    host: Host,
}

/// The state of the host that decides whether io_uring is available.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Host {
    /// `kernel.io_uring_disabled`: disabled for 0 no process, 1 unprivileged processes, 2 all processes. Since Linux 6.6.
    disabled: Option<u32>,
    /// Whether a seccomp filter applies to this process.
    filtered: bool,
    kernel: String,
    /// RLIMIT_MEMLOCK in bytes.
    locked_memory: Option<u64>,
}

impl Unavailable {
    /// Reads the state of the host.
    pub(super) fn new(step: Step, error: &io::Error) -> Self {
        let error = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Self { step, error, host: Host::read() }
    }
}

impl std::error::Error for Unavailable {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, error, host } = self;
        let call = step.call();
        match (*error, host.disabled) {
            (Errno::PERM, Some(2..)) => {
                write!(f, "io_uring is disabled on this host (kernel.io_uring_disabled = 2); set it to 0")
            }
            (Errno::PERM, Some(1)) => write!(
                f,
                "io_uring is reserved to privileged processes on this host (kernel.io_uring_disabled = 1); set it to \
                 0, or run as a member of the group kernel.io_uring_group"
            ),
            (Errno::PERM | Errno::ACCESS | Errno::NOSYS, _) if host.filtered => write!(
                f,
                "a seccomp profile denies {call} ({error}), as Docker's default profile does; run with a profile that \
                 allows io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt seccomp=FILE)"
            ),
            (Errno::PERM | Errno::ACCESS, _) => {
                write!(
                    f,
                    "{call} is denied ({error}) by a security policy of this host; change it so that it allows io_uring"
                )
            }
            (Errno::NOSYS, _) => {
                write!(
                    f,
                    "this kernel ({}) is built without io_uring; use {KERNEL_NEEDED} or newer",
                    host.kernel
                )
            }
            (Errno::INVAL, _) if *step == Step::Order => write!(
                f,
                "this kernel ({}) has a defect: completions can have another order than their receives; use Linux \
                 6.12.29, 6.14.7, 6.15 or newer",
                host.kernel
            ),
            (Errno::INVAL, _) => write!(
                f,
                "this kernel ({}) is too old: {} {KERNEL_NEEDED} or newer",
                host.kernel,
                match step {
                    Step::Setup =>
                        "deferred task work for a single issuer needs Linux 6.1, and the mode needs",
                    Step::Blocks | Step::Enter | Step::Sockets | Step::Order =>
                        "incrementally consumed receive buffers (IOU_PBUF_RING_INC) need",
                }
            ),
            (Errno::NOMEM, _) => write!(
                f,
                "a ring needs more memory than the limit on locked memory (RLIMIT_MEMLOCK{}) or the control group \
                 allows; raise the limit (ulimit -l, LimitMEMLOCK=), or use fewer --threads",
                host.locked_memory.map(|bytes| format!(", {} KiB", bytes / 1024)).unwrap_or_default()
            ),
            (Errno::MFILE | Errno::NFILE, _) => {
                write!(
                    f,
                    "no descriptor is left for a ring; raise the open-files limit (ulimit -n, LimitNOFILE=)"
                )
            }
            _ => write!(f, "{call} failed ({error})"),
        }?;
        f.write_str("; or use --mode event-loop")
    }
}

impl Step {
    fn call(self) -> &'static str {
        match self {
            Step::Setup => "io_uring_setup",
            Step::Blocks => "io_uring_register",
            Step::Enter | Step::Order => "io_uring_enter",
            Step::Sockets => "socketpair",
        }
    }
}

impl Host {
    fn read() -> Self {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            disabled: number("/proc/sys/kernel/io_uring_disabled"),
            // 0 is no seccomp, 1 strict mode, 2 a filter (proc_pid_status(5)).
            filtered: status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            locked_memory: getrlimit(Resource::Memlock).current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_names_its_cause_and_the_remedy() {
        let host = |disabled, filtered| Host {
            disabled: Some(disabled),
            filtered,
            kernel: "5.15.0".to_owned(),
            locked_memory: Some(64 * 1024),
        };
        let table = [
            (Step::Setup, Errno::PERM, host(2, true), "kernel.io_uring_disabled = 2); set it to 0"),
            (Step::Setup, Errno::PERM, host(1, false), "kernel.io_uring_group"),
            (Step::Setup, Errno::PERM, host(0, true), "seccomp profile denies io_uring_setup"),
            (Step::Enter, Errno::NOSYS, host(0, true), "seccomp profile denies io_uring_enter"),
            (Step::Setup, Errno::PERM, host(0, false), "security policy"),
            (Step::Setup, Errno::NOSYS, host(0, false), "(5.15.0) is built without io_uring"),
            (Step::Setup, Errno::INVAL, host(0, false), "(5.15.0) is too old: deferred task work"),
            (Step::Blocks, Errno::INVAL, host(0, false), "IOU_PBUF_RING_INC) need Linux 6.12"),
            (Step::Order, Errno::INVAL, host(0, false), "(5.15.0) has a defect"),
            (Step::Setup, Errno::NOMEM, host(0, false), "RLIMIT_MEMLOCK, 64 KiB"),
            (Step::Setup, Errno::MFILE, host(0, false), "raise the open-files limit"),
            (Step::Enter, Errno::BADF, host(0, false), "io_uring_enter failed"),
        ];
        for (step, error, host, expected) in table {
            let text = Unavailable { step, error, host }.to_string();
            assert!(text.contains(expected) && text.ends_with("use --mode event-loop"), "{text}");
        }
    }
}
