//! Hosts on this machine, each in a network namespace of its own, with a link that delays, loses or limits frames.
//! `tests/netbed/netbed.py` makes them.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use common::Address;
use serde_json::Value;
use server::mode::Mode;

use super::{
    Server, ServerCommand,
    load::Loadgen,
    machine,
    process::Running,
    programs,
    wait::{PATIENCE, wait_until},
};

/// The port of every server. Each host has all ports for itself.
const PORT: u16 = 7000;

/// Held while a test bed starts. The kernel makes network devices one after the other.
static STARTING: Mutex<()> = Mutex::new(());

/// The hosts of a test. They end with this value, and also if the test is killed.
pub(crate) struct Network {
    running: Running,
    hosts: Vec<Host>,
    orders: usize,
}

/// A host.
pub(crate) struct Host {
    name: String,
    address: Ipv4Addr,
    /// A process in its namespaces.
    process: u32,
    /// What disturbs its link: `netem`, `wire.py` or `tbf`.
    means: Vec<String>,
}

impl Network {
    /// Makes hosts, each from its name and the properties of its link, as in `delay=20ms,loss=1%`.
    #[track_caller]
    pub(crate) fn of(hosts: &[(&str, &str)]) -> Self {
        let mut command = netbed();
        for (name, link) in hosts {
            command.arg("--host").arg(format!("{name}:{link}"));
        }
        // A test that hangs keeps no namespace for longer.
        command.arg("--seconds-max").arg((4 * PATIENCE.as_secs()).to_string());
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let running = Running::start(&mut command);
        let Some(lines) = running.stdout.wait_for_lines(1) else {
            panic!("the test bed is not ready:\n{}", running.stderr.so_far());
        };
        let facts: Value = serde_json::from_str(&lines[0]).expect("the test bed prints JSON");
        let hosts = facts["hosts"].as_array().expect("there are hosts").iter().map(Host::read).collect();
        Self { running, hosts, orders: 0 }
    }

    /// The host with this name.
    #[track_caller]
    pub(crate) fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).unwrap_or_else(|| panic!("no host '{name}'"))
    }

    /// Unplugs the host.
    #[track_caller]
    pub(crate) fn cut(&mut self, host: &str) {
        self.running.type_in(format!("cut {host}\n").as_bytes());
        self.orders += 1;
        let is_done = || self.running.stdout.count("done") == self.orders;
        wait_until("the host is unplugged", is_done);
    }

    /// The process of the test bed.
    pub(crate) fn process(&self) -> &Running {
        &self.running
    }
}

impl Host {
    #[track_caller]
    fn read(facts: &Value) -> Self {
        let text = |name: &str| facts[name].as_str().unwrap_or_else(|| panic!("no {name} in {facts}"));
        let means = facts["means"].as_array().expect("means are a list");
        Self {
            name: text("name").to_owned(),
            address: text("address").parse().expect("it is an address"),
            process: facts["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("it has a process"),
            means: means.iter().map(|each| each.as_str().expect("a name").to_owned()).collect(),
        }
    }

    /// Its address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What disturbs its link, for messages.
    pub(crate) fn means(&self) -> String {
        self.means.join(" and ")
    }

    /// The number of a process in its namespaces.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// The command on this host. It ends with the thread that starts it.
    pub(crate) fn run(&self, command: &mut Command) -> Command {
        let command = machine::before(&["setpriv", "--pdeathsig", "KILL"], command);
        let target = format!("--target={}", self.process);
        machine::before(
            &["nsenter", &target, "--user", "--mount", "--net", "--preserve-credentials"],
            &command,
        )
    }

    /// A server on this host.
    #[track_caller]
    pub(crate) fn serve(&self, mode: &Mode) -> Server {
        let address = format!("{}:{PORT}", self.address);
        ServerCommand::new(mode).listen(address).within(|command| self.run(command)).start()
    }

    /// A run of loadgen on this host.
    pub(crate) fn load(&self, target: &Address, args: &str) -> Loadgen {
        Loadgen::run(Some(target), args).within(|command| self.run(command))
    }

    /// loadgen on this host.
    pub(crate) fn loadgen(&self, args: &[&str]) -> Loadgen {
        Loadgen::new(args).within(|command| self.run(command))
    }
}

/// Requires that hosts with disturbed links are possible here.
pub(crate) fn hosts() -> Result<(), String> {
    static POSSIBLE: OnceLock<Result<(), String>> = OnceLock::new();
    let try_it = || {
        let mut command = netbed();
        command.args(["--host", "one:delay=1ms", "--host", "two:rate=10mbit", "--", "true"]);
        match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr);
                Err(format!("no test bed of hosts is possible here: {}", reason.trim()))
            }
            Err(error) => Err(format!("no test bed of hosts is possible here: python3: {error}")),
        }
    };
    POSSIBLE.get_or_init(try_it).clone()
}

fn netbed() -> Command {
    let mut command = Command::new("python3");
    command.arg(programs::workspace().join("tests/netbed/netbed.py"));
    command
}
