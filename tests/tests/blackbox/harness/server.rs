//! The server under test.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    process::Command,
};

use command_fds::{CommandFdExt, FdMapping};
use common::Address;
use rustix::process::Signal;
use server::mode::Mode;
use tempfile::TempDir;

use super::{
    client::Client,
    machine,
    process::{Finished, Printed, Running},
    programs,
    text::field,
    wait::wait_until,
};

/// A server that is not started yet.
pub(crate) struct ServerCommand {
    command: Command,
    listens: usize,
    /// The folder of its copy, if it needs one.
    copied_to: Option<TempDir>,
}

/// A server that listens.
pub(crate) struct Server {
    running: Running,
    _copied_to: Option<TempDir>,
    addresses: Vec<Address>,
}

/// A server that has ended.
pub(crate) struct Stopped {
    pub(crate) finished: Finished,
}

impl ServerCommand {
    /// A server in this mode, on a free port unless [`ServerCommand::listen`] says otherwise.
    pub(crate) fn new(mode: &Mode) -> Self {
        Self::bare().args(&["--mode", mode.name])
    }

    /// A server without flags.
    pub(crate) fn bare() -> Self {
        let mut command = Command::new(programs::server());
        keep_environment_out(&mut command);
        Self { command, listens: 0, copied_to: None }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn listen(mut self, address: impl ToString) -> Self {
        self.listens += 1;
        self.args(&["--listen", &address.to_string()])
    }

    /// Sets the number of listeners if [`ServerCommand::listen`] does not.
    pub(crate) fn expect_listeners(mut self, count: usize) -> Self {
        self.listens = count;
        self
    }

    /// With these sockets from descriptor 3 on, each with its name, as systemd passes them. To be called after what starts
    /// the server by another program.
    pub(crate) fn with_sockets<'a>(mut self, sockets: impl IntoIterator<Item = (&'a str, OwnedFd)>) -> Self {
        let (names, sockets): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
        let set_pid = ["sh", "-c", "export LISTEN_PID=$$; exec \"$@\"", "sh"];
        self.command = machine::before(&set_pid, &self.command);
        self.command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let mappings =
            sockets.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        self.command.fd_mappings(mappings.collect()).expect("each descriptor is given once");
        self
    }

    /// With these limits on open files, the soft one and the hard one.
    pub(crate) fn with_open_files(mut self, soft: u32, hard: u32) -> Self {
        self.command = machine::with_open_files(&mut self.command, soft, hard);
        self
    }

    /// See [`machine::with_thread_limit`]. Another user may have no access to the build folder, so this copies the server.
    pub(crate) fn with_thread_limit(mut self, limit: u32) -> Self {
        self.command = machine::with_thread_limit(&mut self.reachable(), limit);
        self
    }

    /// The same command of a copy that every user can start.
    fn reachable(&mut self) -> Command {
        let folder = reachable_copy();
        let mut command = Command::new(folder.path().join("server"));
        command.args(self.command.get_args());
        keep_environment_out(&mut command);
        self.copied_to = Some(folder);
        command
    }

    pub(crate) fn with_full_stderr(mut self) -> Self {
        self.command = machine::with_full_stderr(&mut self.command);
        self
    }

    /// With a stderr that `JOURNAL_STREAM` names.
    pub(crate) fn with_stderr_as_journal(mut self) -> Self {
        let script = "JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec \"$@\"";
        self.command = machine::before(&["sh", "-c", script, "sh"], &self.command);
        self
    }

    /// See [`machine::with_kernel_setting`].
    pub(crate) fn with_kernel_setting(mut self, file: &str, value: &str) -> Self {
        self.command = machine::with_kernel_setting(&mut self.command, file, value);
        self
    }

    /// See [`machine::with_link_local`].
    pub(crate) fn with_link_local(mut self) -> Self {
        self.command = machine::with_link_local(&mut self.command);
        self
    }

    /// The command, changed by `change`.
    pub(crate) fn within(mut self, change: impl FnOnce(&mut Command) -> Command) -> Self {
        self.command = change(&mut self.command);
        self
    }

    pub(crate) fn without_privileged_ports(mut self) -> Self {
        self.command = machine::without_privileged_ports(&mut self.command);
        self
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub(crate) fn start(mut self) -> Server {
        if self.listens == 0 {
            self = self.listen("127.0.0.1:0");
        }
        let running = Running::start(&mut self.command);
        let Some(lines) = running.stdout.wait_for_lines(self.listens) else {
            panic!("it does not listen:\n{}", running.stderr.so_far());
        };
        let addresses = lines.iter().map(|line| address(line)).collect();
        Server { running, _copied_to: self.copied_to, addresses }
    }

    /// Starts it, and does not wait until it listens.
    #[track_caller]
    pub(crate) fn launch(mut self) -> Running {
        Running::start(&mut self.command)
    }

    /// Starts it with settings that it refuses, and waits for its end.
    #[track_caller]
    pub(crate) fn fail(mut self) -> Finished {
        Finished::of(&mut self.command, b"")
    }
}

impl Server {
    /// A server in this mode with these flags, on a free port.
    #[track_caller]
    pub(crate) fn start(mode: &Mode, args: &[&str]) -> Self {
        ServerCommand::new(mode).args(args).start()
    }

    /// The address of its first listener.
    pub(crate) fn address(&self) -> &Address {
        &self.addresses[0]
    }

    /// The addresses of its listeners, in their order.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// A client of its first listener.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// `count` clients, each of which has been served once.
    #[track_caller]
    pub(crate) fn connect_served(&self, count: usize) -> Vec<Client> {
        let clients: Vec<_> = (0..count).map(|_| self.connect()).collect();
        for client in &clients {
            client.exchange(b"hello");
        }
        clients
    }

    /// Expects that it serves a new connection.
    #[track_caller]
    pub(crate) fn expect_service(&self) {
        self.connect().exchange(b"Is the server there?");
    }

    /// The number of its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        self.running.descriptors()
    }

    /// The number of its open descriptors without connections.
    #[track_caller]
    pub(crate) fn descriptors_at_rest(&self) -> usize {
        // After an echo, all its queues are open. One descriptor is this client's.
        let client = self.connect_served(1);
        let at_rest = self.running.descriptors() - 1;
        drop(client);
        self.expect_descriptors(at_rest);
        at_rest
    }

    /// Waits until it has no more descriptors than these.
    #[track_caller]
    pub(crate) fn expect_descriptors(&self, at_rest: usize) {
        wait_until("every descriptor is closed", || self.running.descriptors() <= at_rest);
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(crate) fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> &Printed {
        &self.running.stderr
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends the signal, and waits until it drains.
    #[track_caller]
    pub(crate) fn begin_drain(&self, signal: Signal) {
        self.signal(signal);
        self.log().wait_for("draining");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_for_exit(self) -> Stopped {
        Stopped { finished: self.running.finish() }
    }

    /// Sends SIGTERM, waits for its end, and expects a clean end.
    #[track_caller]
    pub(crate) fn stop(self) -> Stopped {
        self.terminate();
        let stopped = self.wait_for_exit();
        stopped.finished.expect_code(0);
        stopped
    }
}

impl Stopped {
    /// A count in its last log line.
    #[track_caller]
    pub(crate) fn counted(&self, what: &str) -> u64 {
        let last = self.finished.stderr.lines().last().expect("it has logged its end");
        assert!(last.contains("stopped"), "the last line is not its end: {last}");
        field(last, what).parse().expect("a count")
    }
}

/// The address in a `listening on` line.
#[track_caller]
fn address(line: &str) -> Address {
    let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("'{line}' is no address"));
    address.parse().unwrap_or_else(|error| panic!("'{line}': {error}"))
}

/// Removes variables of the test's environment that would configure the program.
pub(crate) fn keep_environment_out(command: &mut Command) {
    let ours = |name: &str| {
        let ours =
            ["SERVER_", "LISTEN_", "NOTIFY_SOCKET", "RUST_LOG", "LOADGEN_", "JOB_COMPLETION_INDEX", "SLURM_"];
        ours.iter().any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
}

/// A folder with a copy of the server that every user can start.
fn reachable_copy() -> TempDir {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is our own");
    // Another process writes the copy. A test that forks at this moment would otherwise keep it open for writing, and a
    // file that is open for writing cannot be started.
    let copied = Command::new("cp").arg(programs::server()).arg(folder.path()).status();
    assert!(copied.is_ok_and(|status| status.success()), "the server cannot be copied");
    folder
}
