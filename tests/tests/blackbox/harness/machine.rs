//! What the machine offers, and what a test may not be able to do on it.

use std::{
    env,
    error::Error,
    net::TcpListener,
    panic::resume_unwind,
    process::{Command, Stdio},
    thread,
};

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use server::mode::{MODES, Mode};

/// The IPv6 loopback address.
pub(crate) fn ipv6() -> Result<(), String> {
    match TcpListener::bind("[::1]:0") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("this machine has no IPv6: {error}")),
    }
}

/// That a port under 1024 is somebody's right, and that the right can be taken away.
pub(crate) fn privileged_ports() -> Result<(), String> {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse().is_ok_and(|first: u16| first <= 1) {
        return Err("every port is open to everybody here (net.ipv4.ip_unprivileged_port_start)".to_owned());
    }
    works(&mut without_privileged_ports(&mut Command::new("true")))
}

/// That the number of threads can be limited for one process alone.
pub(crate) fn thread_limit() -> Result<(), String> {
    works(&mut with_thread_limit(&mut Command::new("true"), 10))
}

/// What this mode needs beside what every mode needs. It is judged by the machine alone: a server that refuses without
/// a cause fails its tests.
pub(crate) fn mode(mode: &Mode) -> Result<(), String> {
    match mode.name {
        "io-uring" => io_uring(),
        _ => Ok(()),
    }
}

/// What every mode of the table needs.
pub(crate) fn every_mode() -> Result<(), String> {
    MODES.iter().try_for_each(mode)
}

fn io_uring() -> Result<(), String> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = kernel.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(6), Some(12)) {
        return Err(format!("this kernel ({kernel}) is older than 6.12"));
    }
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if !matches!(setting.trim(), "" | "0") {
        return Err(format!("io_uring is switched off here (kernel.io_uring_disabled = {})", setting.trim()));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])) {
        true => Err("a filter of system calls is in force here, which may deny io_uring".to_owned()),
        false => Ok(()),
    }
}

/// Python, in which the servers are written that are not ours.
pub(crate) fn python() -> Result<(), String> {
    works(Command::new("python3").args(["-c", "import signal, socket, threading"]))
}

/// The tool of Prometheus that checks what it would scrape.
pub(crate) fn promtool() -> Result<(), String> {
    works(Command::new("promtool").arg("--version"))
}

/// A program that gives another one a terminal.
pub(crate) fn terminal() -> Result<(), String> {
    works(Command::new("script").args(["--quiet", "--return", "--command", "true", "/dev/null"]))
}

/// The command without the right to ports under 1024, which it has only where root starts it.
pub(crate) fn without_privileged_ports(command: &mut Command) -> Command {
    match rustix::process::geteuid().is_root() {
        true => before(&["setpriv", "--bounding-set=-net_bind_service"], command),
        false => before(&["setpriv", "--no-new-privs"], command),
    }
}

/// The command with these limits on open files.
pub(crate) fn with_open_files(command: &mut Command, soft: u32, hard: u32) -> Command {
    before(&["prlimit", &format!("--nofile={soft}:{hard}"), "--"], command)
}

/// The command on one CPU, of those that this process may use.
pub(crate) fn with_one_cpu(command: &mut Command) -> Command {
    let usable = rustix::thread::sched_getaffinity(None).expect("a process may know its CPUs");
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| usable.is_set(*cpu));
    before(&["taskset", "--cpu-list", &first.expect("there is a CPU").to_string()], command)
}

/// The command with at most so many threads. The kernel counts all of a user's, and never root's: so root
/// starts it as a user that nobody is, and others start it in a user namespace that has only itself in it.
pub(crate) fn with_thread_limit(command: &mut Command, limit: u32) -> Command {
    let limit = format!("--nproc={limit}:{limit}");
    if rustix::process::geteuid().is_root() {
        // Tests that run at once are different users. Numbers like these are given to nobody by default.
        let user = 0x4000_0000 + std::process::id() % 0x1000_0000 + u32::from(unique());
        let user = format!("--reuid={user}");
        before(&["setpriv", "--clear-groups", &user, "prlimit", &limit, "--"], command)
    } else {
        before(&["unshare", "--user", "prlimit", &limit, "--"], command)
    }
}

/// A network of its own for one process.
pub(crate) fn own_network() -> Result<(), String> {
    works(&mut with_few_local_ports(&mut Command::new("true")))
}

/// The command in a network of its own, which is one loopback device whose addresses have 100 ports each.
pub(crate) fn with_few_local_ports(command: &mut Command) -> Command {
    let set_up =
        "ip link set lo up && echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    before(&["unshare", "--user", "--map-root-user", "--net", "sh", "-c", set_up, "sh"], command)
}

/// Mounts of its own for one process.
pub(crate) fn kernel_settings() -> Result<(), String> {
    works(&mut with_kernel_setting(&mut Command::new("true"), "/proc/sys/kernel/ostype", "Linux"))
}

/// The command where this file of the kernel's settings shows this value. Others go on seeing, and having, the real one.
pub(crate) fn with_kernel_setting(command: &mut Command, file: &str, value: &str) -> Command {
    let set_up = "shown=$(mktemp) && echo \"$2\" > \"$shown\" && mount --bind \"$shown\" \"$1\" && rm \"$shown\" \
                  && shift 2 && exec \"$@\"";
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    before(&[&unshare[..], &["sh", "-c", set_up, "sh", file, value]].concat(), command)
}

/// That a thread can have some of its system calls refused.
pub(crate) fn filters() -> Result<(), String> {
    thread::scope(|scope| scope.spawn(|| refuse(libc::SYS_eventfd2, Errno::PERM)).join())
        .expect("an error is returned")
        .map_err(|error| format!("no system calls can be filtered here: {error}"))
}

/// What this makes of it where the kernel refuses a system call with this error, to this call alone and to the processes that
/// it starts meanwhile.
pub(crate) fn refusing<T: Send>(call: i64, error: Errno, act: impl FnOnce() -> T + Send) -> T {
    // A filter stays for as long as its thread, and is inherited (seccomp(2)).
    let refused = || {
        refuse(call, error).expect("the test needs filters");
        act()
    };
    let outcome = thread::scope(|scope| scope.spawn(refused).join());
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// From now on, the kernel refuses this system call to this thread.
fn refuse(call: i64, error: Errno) -> Result<(), Box<dyn Error + Send + Sync>> {
    let refused = SeccompAction::Errno(error.raw_os_error().unsigned_abs());
    let rules = [(call, Vec::new())].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, env::consts::ARCH.try_into()?)?;
    Ok(seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?)
}

/// The command with a standard error that takes nothing, like a file on a full disk.
pub(crate) fn with_full_stderr(command: &mut Command) -> Command {
    before(&["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"], command)
}

/// The command with another in front of it that starts it.
fn before(front: &[&str], command: &Command) -> Command {
    let mut all = Command::new(front[0]);
    all.args(&front[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => all.env(name, value),
            None => all.env_remove(name),
        };
    }
    all
}

fn works(command: &mut Command) -> Result<(), String> {
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} is not possible here: {status}")),
        Err(error) => Err(format!("{command:?} is not possible here: {error}")),
    }
}

/// A number that no other test of this process has.
fn unique() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
