//! Requirements of tests on the machine, and commands that run a program in other circumstances.

use std::{
    env,
    error::Error,
    ffi::OsStr,
    iter,
    net::TcpListener,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use server::mode::{MODES, Mode};

use super::programs;

/// The IPv6 loopback address.
pub(crate) fn ipv6() -> Result<(), String> {
    match TcpListener::bind("[::1]:0") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("this machine has no IPv6: {error}")),
    }
}

/// Requires that ports below 1024 need a capability, and that it can be dropped.
pub(crate) fn privileged_ports() -> Result<(), String> {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse().is_ok_and(|first: u16| first <= 1) {
        return Err(
            "ports below 1024 need no capability here (net.ipv4.ip_unprivileged_port_start)".to_owned()
        );
    }
    works(&mut without_privileged_ports(&mut Command::new("true")))
}

/// Requires that the number of threads can be limited for one process alone.
pub(crate) fn thread_limit() -> Result<(), String> {
    works(&mut with_thread_limit(&mut Command::new("true"), 10))
}

/// Requires that thousands of connections can be open at once.
pub(crate) fn many_open_files() -> Result<(), String> {
    const FILES: u64 = 10_000;
    match common::limits::open_files() {
        limit if limit >= FILES => Ok(()),
        limit => Err(format!("no more than {limit} files can be open here, {FILES} must be (ulimit -n)")),
    }
}

/// The special requirements of this mode. The check does not ask the server, so a server that refuses without a cause
/// fails its tests.
pub(crate) fn mode(mode: &Mode) -> Result<(), String> {
    match mode.name {
        "io-uring" => io_uring(),
        _ => Ok(()),
    }
}

/// The requirements of every mode of the table.
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

/// nginx's module for streams, in Debian's package libnginx-mod-stream.
pub(crate) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Python, for external servers.
pub(crate) fn python() -> Result<(), String> {
    works(Command::new("python3").args(["-c", "import signal, socket, threading"]))
}

/// The load balancer HAProxy.
pub(crate) fn haproxy() -> Result<(), String> {
    works(Command::new("haproxy").arg("-v"))
}

/// The TLS proxy stunnel.
pub(crate) fn stunnel() -> Result<(), String> {
    works(Command::new("stunnel4").arg("-version"))
}

/// The server nginx, with its module for streams.
pub(crate) fn nginx() -> Result<(), String> {
    works(Command::new("nginx").arg("-v"))?;
    match Path::new(NGINX_STREAM).exists() {
        true => Ok(()),
        false => Err(format!("{NGINX_STREAM} is missing: install the package libnginx-mod-stream")),
    }
}

/// The tool of Prometheus that checks metrics.
pub(crate) fn promtool() -> Result<(), String> {
    works(Command::new("promtool").arg("--version"))
}

/// Requires Prometheus and promtool, which are in one package.
pub(crate) fn prometheus() -> Result<(), String> {
    promtool().and_then(|()| works(Command::new("prometheus").arg("--version")))
}

/// A Python that has HdrHistogram's library (the package `hdrhistogram`).
pub(crate) fn python_with_hdrhistogram() -> Result<(), String> {
    hdrhistogram_python().map(drop)
}

/// A Python with HdrHistogram's library: the one installed for the tests, or the system's.
pub(crate) fn hdrhistogram_python() -> Result<PathBuf, String> {
    let own = programs::workspace().join("target/python/bin/python3");
    let has_it = |python: &PathBuf| works(Command::new(python).args(["-c", "import hdrh.log"])).is_ok();
    [own, "python3".into()].into_iter().find(has_it).ok_or_else(|| {
        "no Python here has HdrHistogram's library: python3 -m venv target/python && \
         target/python/bin/pip install hdrhistogram"
            .to_owned()
    })
}

/// The tool of systemd that checks units, in a version that checks files (250).
pub(crate) fn systemd_analyze() -> Result<(), String> {
    works(Command::new("systemd-analyze").args(["security", "--offline=yes", "--help"]))
}

/// A browser that shows pages without a window.
pub(crate) fn browser() -> Result<(), String> {
    let browser = find_browser().ok_or_else(|| format!("there is none of {} here", BROWSERS.join(", ")))?;
    works(Command::new(browser).arg("--version"))
}

/// The path of that browser.
pub(crate) fn find_browser() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let of_folder = |folder: PathBuf| BROWSERS.iter().map(move |name| folder.join(name));
    env::split_paths(&path).flat_map(of_folder).find(|file| file.is_file())
}

/// Browsers that accept the same arguments.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The shell bash.
pub(crate) fn bash() -> Result<(), String> {
    works(Command::new("bash").args(["--norc", "-c", "true"]))
}

/// The shell fish.
pub(crate) fn fish() -> Result<(), String> {
    works(Command::new("fish").args(["--no-config", "-c", "true"]))
}

/// The shell zsh.
pub(crate) fn zsh() -> Result<(), String> {
    works(Command::new("zsh").args(["-f", "-c", "true"]))
}

/// A program that runs another one on a terminal.
pub(crate) fn terminal() -> Result<(), String> {
    works(Command::new("script").args(["--quiet", "--return", "--command", "true", "/dev/null"]))
}

/// The command on a terminal with this many columns. Both of its outputs arrive on standard output.
pub(crate) fn in_terminal(command: &Command, columns: u32) -> Command {
    let quoted = |word: &OsStr| format!("'{}'", word.to_str().expect("it is UTF-8").replace('\'', r"'\''"));
    let words: Vec<_> = iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let shell = format!("stty cols {columns} rows 40; exec {}", words.join(" "));
    let mut on_terminal = Command::new("script");
    on_terminal.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
    copy_environment(command, &mut on_terminal);
    on_terminal
}

/// The command without the capability for ports below 1024.
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

/// The command with a limit on the memory that it may map, in bytes.
pub(crate) fn with_memory(command: &mut Command, bytes: u64) -> Command {
    before(&["prlimit", &format!("--as={bytes}"), "--"], command)
}

/// The command on one of the CPUs that this process may use.
pub(crate) fn with_one_cpu(command: &mut Command) -> Command {
    let usable = rustix::thread::sched_getaffinity(None).expect("a process may know its CPUs");
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| usable.is_set(*cpu));
    before(&["taskset", "--cpu-list", &first.expect("there is a CPU").to_string()], command)
}

/// The command with a limit on threads. The kernel counts all threads of a user, and ignores the limit for root. So root
/// starts it as an unused user, and others start it in a new user namespace.
pub(crate) fn with_thread_limit(command: &mut Command, limit: u32) -> Command {
    let limit = format!("--nproc={limit}:{limit}");
    if rustix::process::geteuid().is_root() {
        // Concurrent tests use different users. Numbers in this range are unused by default.
        let user = 0x4000_0000 + std::process::id() % 0x1000_0000 + u32::from(unique());
        let user = format!("--reuid={user}");
        before(&["setpriv", "--clear-groups", &user, "prlimit", &limit, "--"], command)
    } else {
        before(&["unshare", "--user", "prlimit", &limit, "--"], command)
    }
}

/// Requires a separate network namespace for one process.
pub(crate) fn own_network() -> Result<(), String> {
    works(&mut with_few_local_ports(&mut Command::new("true")))
}

/// The command in a new network namespace with 100 local ports for each address.
pub(crate) fn with_few_local_ports(command: &mut Command) -> Command {
    let set_up =
        "ip link set lo up && echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    before(&["unshare", "--user", "--map-root-user", "--net", "sh", "-c", set_up, "sh"], command)
}

/// Requires a separate network namespace with a link-local address.
pub(crate) fn link_local() -> Result<(), String> {
    ipv6()?;
    works(&mut with_link_local(&mut Command::new("true")))
}

/// The command in a new network namespace. Its loopback device, the first interface, has the address fe80::1.
pub(crate) fn with_link_local(command: &mut Command) -> Command {
    // The kernel adds the route a moment after the address.
    let set_up = "ip link set lo up && ip -6 address add fe80::1/64 dev lo nodad || exit; \
                  for try in $(seq 500); do ip -6 route get fe80::1 oif lo >/dev/null 2>&1 && exec \"$@\"; \
                  sleep 0.01; done; exit 1";
    before(&["unshare", "--user", "--map-root-user", "--net", "sh", "-c", set_up, "sh"], command)
}

/// The command in the network namespace of this process.
pub(crate) fn in_network_of(process: u32, command: &mut Command) -> Command {
    let target = format!("--target={process}");
    before(&["nsenter", &target, "--user", "--net", "--preserve-credentials"], command)
}

/// Requires a separate mount namespace for one process.
pub(crate) fn kernel_settings() -> Result<(), String> {
    works(&mut with_kernel_setting(&mut Command::new("true"), "/proc/sys/kernel/ostype", "Linux"))
}

/// The command in a mount namespace where this file of kernel settings has this content. The real setting is unchanged.
pub(crate) fn with_kernel_setting(command: &mut Command, file: &str, value: &str) -> Command {
    let set_up = "shown=$(mktemp) && echo \"$2\" > \"$shown\" && mount --bind \"$shown\" \"$1\" && rm \"$shown\" \
                  && shift 2 && exec \"$@\"";
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    before(&[&unshare[..], &["sh", "-c", set_up, "sh", file, value]].concat(), command)
}

/// Requires that a filter can refuse system calls of one thread.
pub(crate) fn filters() -> Result<(), String> {
    thread::scope(|scope| scope.spawn(|| refuse(libc::SYS_eventfd2, Errno::PERM)).join())
        .expect("an error is returned")
        .map_err(|error| format!("no system calls can be filtered here: {error}"))
}

/// Calls `act` while the kernel refuses a system call with this error, only to `act` and to the processes that it starts.
pub(crate) fn refusing<T: Send>(call: i64, error: Errno, act: impl FnOnce() -> T + Send) -> T {
    // A filter lasts as long as its thread, and child processes inherit it (seccomp(2)).
    let refused = || {
        refuse(call, error).expect("the test needs filters");
        act()
    };
    let outcome = thread::scope(|scope| scope.spawn(refused).join());
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Makes the kernel refuse this system call to this thread.
fn refuse(call: i64, error: Errno) -> Result<(), Box<dyn Error + Send + Sync>> {
    let refused = SeccompAction::Errno(error.raw_os_error().unsigned_abs());
    let rules = [(call, Vec::new())].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, env::consts::ARCH.try_into()?)?;
    Ok(seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?)
}

/// The command with a standard error that refuses every write, like a full disk.
pub(crate) fn with_full_stderr(command: &mut Command) -> Command {
    before(&["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"], command)
}

/// The command with this limit on the size of written files.
pub(crate) fn with_file_size_limit(command: &mut Command, bytes: u32) -> Command {
    before(&["prlimit", &format!("--fsize={bytes}:{bytes}"), "--"], command)
}

/// Requires that a folder can be a full disk for one process alone.
pub(crate) fn full_disk() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    works(&mut with_full_disk(&mut Command::new("true"), folder.path()))
}

/// The command in a mount namespace where this folder is a full disk.
pub(crate) fn with_full_disk(command: &mut Command, folder: &Path) -> Command {
    let set_up = "mount -t tmpfs -o size=64k tmpfs \"$1\" && head -c 65536 /dev/zero > \"$1/filler\" && shift && \
                  exec \"$@\"";
    let folder = folder.to_str().expect("temporary folders have names in ASCII");
    before(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", set_up, "sh", folder], command)
}

/// Requires a small disk for one process alone.
pub(crate) fn small_disk() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    works(&mut with_small_disk(&mut Command::new("true"), folder.path()))
}

/// The command in a mount namespace where this folder is an empty disk of one mebibyte. When the command has ended, a line on
/// standard error names what is on the disk: `on the disk: NAME BYTES;`.
pub(crate) fn with_small_disk(command: &mut Command, folder: &Path) -> Command {
    let set_up = "mount -t tmpfs -o size=1m tmpfs \"$1\" && folder=$1 && shift && { \"$@\"; code=$?; } && cd \"$folder\" && \
                  for file in * .[!.]*; do [ -e \"$file\" ] && stat -c 'on the disk: %n %s;' \"$file\" >&2; done; exit $code";
    let folder = folder.to_str().expect("temporary folders have names in ASCII");
    before(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", set_up, "sh", folder], command)
}

/// A library that gives a program another time of day: Debian's package libfaketime.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// Requires that library.
pub(crate) fn faketime() -> Result<(), String> {
    faketime_library().map(drop)
}

fn faketime_library() -> Result<PathBuf, String> {
    let folder = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    let library = Path::new(&folder).join(FAKETIME);
    match library.exists() {
        true => Ok(library),
        false => Err(format!("{} is missing: install the package libfaketime", library.display())),
    }
}

/// The command with a time of day that is off by what this file says, as in `+1h`. The monotonic clock is the real one.
pub(crate) fn with_clock_offset(command: &mut Command, file: &Path) -> Command {
    let mut all = before(&["env"], command);
    all.env("LD_PRELOAD", faketime_library().expect("the test needs the library"));
    all.env("FAKETIME_TIMESTAMP_FILE", file);
    all.envs([
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    all
}

/// Requires that the system calls of a program can be traced.
pub(crate) fn strace() -> Result<(), String> {
    works(Command::new("strace").args(["-f", "true"]))
}

/// The command with these of its system calls written to this file.
pub(crate) fn with_trace(command: &mut Command, calls: &str, file: &Path) -> Command {
    let file = file.to_str().expect("temporary folders have names in ASCII");
    before(&["strace", "-f", "-qq", "-e", &format!("trace={calls}"), "-o", file, "--"], command)
}

/// Requires that a process can run as another user.
pub(crate) fn other_users() -> Result<(), String> {
    works(&mut as_another_user(&mut Command::new("true")))
}

/// The distribution's Python, which other users can run too.
pub(crate) const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// Requires a Python that other users can run.
pub(crate) fn python_of_other_users() -> Result<(), String> {
    works(&mut as_another_user(Command::new(SYSTEM_PYTHON).args(["-c", "import socket"])))
}

/// The command as an unused user.
pub(crate) fn as_another_user(command: &mut Command) -> Command {
    let user = format!("--reuid={}", 0x5000_0000 + u32::from(unique()));
    before(&["setpriv", "--clear-groups", &user], command)
}

/// The command, started by another one.
pub(crate) fn before(front: &[&str], command: &Command) -> Command {
    let mut all = Command::new(front[0]);
    all.args(&front[1..]).arg(command.get_program()).args(command.get_args());
    copy_environment(command, &mut all);
    all
}

/// Copies the environment changes of one command to the other.
fn copy_environment(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}

/// Whether a program can be started and succeeds.
pub(crate) fn works(command: &mut Command) -> Result<(), String> {
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} is not possible here: {status}")),
        Err(error) => Err(format!("{command:?} is not possible here: {error}")),
    }
}

/// A number that is unique in this process.
pub(super) fn unique() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
