//! Why io_uring cannot be had, and what to do about it.

use std::{fmt, fs, io};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};

/// What the mode needs of the kernel: incrementally used buffers. All else that it uses is older (single issuer and
/// deferred task work 6.1, messages between rings 5.18, multishot receive 6.0).
const KERNEL_NEEDED: &str = "Linux 6.12";

/// What was asked for when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A ring.
    Setup,
    /// Blocks of memory to receive into.
    Blocks,
    /// To submit and to wait.
    Enter,
    /// Sockets to try it with.
    Sockets,
    /// Answers in the order of the receives.
    Order,
}

/// The kernel's refusal, with what is known about its cause.
#[derive(Debug)]
pub(super) struct Refusal {
    step: Step,
    error: Errno,
    host: Host,
}

/// What of the host decides whether io_uring can be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Host {
    /// `kernel.io_uring_disabled`: 0 for no one, 1 for whoever is not privileged, 2 for all. Since Linux 6.6.
    disabled: Option<u32>,
    /// Whether a filter of system calls is in force for this process.
    filtered: bool,
    kernel: String,
    /// RLIMIT_MEMLOCK in bytes.
    locked_memory: Option<u64>,
}

impl Refusal {
    /// Looks for the cause on this host.
    pub(super) fn new(step: Step, error: &io::Error) -> Self {
        let error = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Self { step, error, host: Host::look() }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, error, host } = self;
        let call = step.call();
        match (*error, host.disabled) {
            (Errno::PERM, Some(2..)) => {
                write!(f, "io_uring is switched off on this host (kernel.io_uring_disabled = 2); set it to 0")
            }
            (Errno::PERM, Some(1)) => write!(
                f,
                "io_uring is reserved to privileged processes on this host (kernel.io_uring_disabled = 1); set it to \
                 0, or run as a member of the group kernel.io_uring_group"
            ),
            (Errno::PERM | Errno::ACCESS | Errno::NOSYS, _) if host.filtered => write!(
                f,
                "a seccomp profile denies {call} ({error}), as Docker's default one does; run with a profile that \
                 allows io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt seccomp=FILE)"
            ),
            (Errno::PERM | Errno::ACCESS, _) => {
                write!(
                    f,
                    "{call} is denied ({error}) by a security policy of this host; have it allow io_uring"
                )
            }
            (Errno::NOSYS, _) => {
                write!(f, "this kernel ({}) is built without io_uring; it takes {KERNEL_NEEDED}", host.kernel)
            }
            (Errno::INVAL, _) if *step == Step::Order => write!(
                f,
                "this kernel ({}) has a defect: it does not answer receives in the order in which it makes them. Linux \
                 6.15, 6.14.7 and 6.12.29 do not have it any more",
                host.kernel
            ),
            (Errno::INVAL, _) => write!(
                f,
                "this kernel ({}) is too old: {} {KERNEL_NEEDED} or newer",
                host.kernel,
                match step {
                    Step::Setup =>
                        "deferred task work for a single issuer takes Linux 6.1, and the mode as a whole",
                    Step::Blocks | Step::Enter | Step::Sockets | Step::Order =>
                        "receive buffers that are used up piece by piece (IOU_PBUF_RING_INC) take",
                }
            ),
            (Errno::NOMEM, _) => write!(
                f,
                "the limit on locked memory (RLIMIT_MEMLOCK{}) or the memory of the control group does not hold a \
                 ring; raise it (ulimit -l, LimitMEMLOCK=), or use fewer --threads",
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
    fn look() -> Self {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            disabled: number("/proc/sys/kernel/io_uring_disabled"),
            // 0 is none, 1 strict, 2 a filter (proc(5)).
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
    fn the_cause_is_named_and_what_to_do() {
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
            (Step::Blocks, Errno::INVAL, host(0, false), "IOU_PBUF_RING_INC) take Linux 6.12"),
            (Step::Order, Errno::INVAL, host(0, false), "(5.15.0) has a defect"),
            (Step::Setup, Errno::NOMEM, host(0, false), "RLIMIT_MEMLOCK, 64 KiB"),
            (Step::Setup, Errno::MFILE, host(0, false), "raise the open-files limit"),
            (Step::Enter, Errno::BADF, host(0, false), "io_uring_enter failed"),
        ];
        for (step, error, host, expected) in table {
            let text = Refusal { step, error, host }.to_string();
            assert!(text.contains(expected) && text.ends_with("use --mode event-loop"), "{text}");
        }
    }
}
