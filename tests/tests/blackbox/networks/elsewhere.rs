//! `compare` and `sweep` with servers on another host: running ones by a list, and others that a command in front of theirs
//! starts there.

use std::{fs, path::Path, process::Command};

use server::mode::Mode;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        load::{Loadgen, Report},
        machine,
        network::{Network, hosts},
        process::Running,
        programs, wait_until,
    },
};

group! {
    once {
        compare_starts_its_servers_in_another_network_namespace needs hosts,
        a_server_of_a_command_listens_at_the_address_of_its_host needs hosts,
        sweep_starts_its_server_in_another_network_namespace needs hosts,
        a_server_that_listens_elsewhere_fails_with_advice needs hosts,
        compare_and_sweep_load_running_servers_by_name needs hosts,
        behind_ssh_the_cost_is_unknown_and_the_server_ends needs ssh_server,
        behind_ssh_a_killed_loadgen_leaves_no_server needs ssh_server,
    }
}

/// A short load, and JSON.
const SHORT: &str = "-t 1 -c 10 -r 200 -w 100ms -d 500ms --format json";
/// A short comparison.
const ONCE: &str = "--rounds 1 --quiet";

fn two_hosts() -> Network {
    Network::of(&[("near", ""), ("far", "")])
}

/// Runs loadgen on the near host. Its servers start on the far one.
#[track_caller]
fn with_far_servers(network: &Network, command: &str, servers: &[&str], rest: &str) -> Report {
    let address = network.host("far").address().to_string();
    let place = ["--server-prefix", "ip netns exec far", "--server-address", &address];
    let finished = network
        .host("near")
        .loadgen(&[command])
        .args(place)
        .args(servers.iter().copied())
        .args(SHORT.split_whitespace())
        .args(rest.split_whitespace())
        .finish();
    Report::read(&finished)
}

/// A command of our server as a user writes it.
fn command_of_server(name: &str) -> String {
    format!("{name}={} --mode event-loop --listen {{host}}:{{port}}", programs::server().display())
}

fn compare_starts_its_servers_in_another_network_namespace() {
    let network = two_hosts();
    let report =
        with_far_servers(&network, "compare", &["--modes", "event-loop,tokio-task"], "--rounds 2 --quiet");
    for (place, mode) in ["event-loop", "tokio-task"].iter().enumerate() {
        assert_eq!(report.text(&format!("subjects.{place}.mode")), *mode);
        for round in 0..2 {
            let round = |path: &str| format!("subjects.{place}.rounds.{round}.{path}");
            assert!(report.count(&round("requests.completed")) > 0, "{mode}");
            // Its processes are on this machine.
            assert_eq!(report.text(&round("server.mode")), *mode);
            assert!(report.count(&round("server.rss_bytes")) > 0, "{mode}");
        }
    }
    assert!(!report.at("notes").to_string().contains("unknown"), "{}", report.at("notes"));
}

fn a_server_of_a_command_listens_at_the_address_of_its_host() {
    let network = two_hosts();
    let report = with_far_servers(&network, "compare", &["--server", &command_of_server("mine")], ONCE);
    assert!(report.text("subjects.0.command").starts_with("ip netns exec far "), "{:?}", report.0);
    assert!(report.count("subjects.0.rounds.0.requests.completed") > 0);
    assert!(report.count("subjects.0.rounds.0.server.rss_bytes") > 0);
}

fn sweep_starts_its_server_in_another_network_namespace() {
    let network = two_hosts();
    let address = network.host("far").address().to_string();
    let place = ["--server-prefix", "ip netns exec far", "--server-address", &address];
    let levels = "--modes event-loop --rates 100,200 -t 1 -c 10 -w 100ms -d 500ms --quiet --format json";
    let finished =
        network.host("near").loadgen(&["sweep"]).args(place).args(levels.split_whitespace()).finish();
    let report = Report::read(finished.expect_code(0));
    assert_eq!(report.at("subjects.0.points").as_array().unwrap().len(), 2);
    assert!(report.count("subjects.0.points.1.requests.completed") > 0);
}

fn a_server_that_listens_elsewhere_fails_with_advice() {
    let network = two_hosts();
    let server = format!("mine={} --listen 127.0.0.1:{{port}}", programs::server().display());
    let report = with_far_servers(&network, "compare", &["--server", &server], ONCE);
    let message = report.text("subjects.0.failure.message");
    assert!(message.contains("did not start") && message.contains("--server-address"), "{message}");
}

fn compare_and_sweep_load_running_servers_by_name() {
    let network = Network::of(&[("near", ""), ("one", ""), ("two", "delay=5ms")]);
    let mode = Mode::by_name("event-loop").expect("there is this mode");
    let servers = ["one", "two"].map(|host| network.host(host).serve(mode));
    let named = [format!("first={}", servers[0].address()), format!("second={}", servers[1].address())];
    let targets = || named.iter().map(String::as_str);
    let near = network.host("near");
    let finished = near
        .loadgen(&["compare"])
        .args(targets())
        .args(SHORT.split_whitespace())
        .args(ONCE.split_whitespace())
        .finish();
    let report = Report::read(&finished);
    let min_ms = |place| report.number(&format!("subjects.{place}.rounds.0.latency_ns.response.min")) / 1e6;
    assert_eq!([report.text("subjects.0.name"), report.text("subjects.1.name")], ["first", "second"]);
    assert_eq!(report.text("subjects.1.target"), servers[1].address().to_string());
    assert!(min_ms(0) < 9.9 && min_ms(1) > 9.9, "{} and {} ms", min_ms(0), min_ms(1));
    // They run on, for loadgen has not started them.
    let levels = "--rates 100 -t 1 -c 10 -w 100ms -d 500ms --quiet --format json";
    let finished = near.loadgen(&["sweep"]).args(targets()).args(levels.split_whitespace()).finish();
    let report = Report::read(finished.expect_code(0));
    assert_eq!([report.text("subjects.0.name"), report.text("subjects.1.name")], ["first", "second"]);
}

/// An SSH server on loopback that lets this user in. It ends with this value.
struct SshServer {
    _running: Running,
    /// The client's command.
    client: String,
    /// Its files.
    _folder: TempDir,
}

const SSHD: &str = "/usr/sbin/sshd";

/// Requires an SSH server and a client, and the right to log in as this user.
fn ssh_server() -> Result<(), String> {
    if !Path::new(SSHD).exists() {
        return Err(format!("{SSHD} is missing: install the package openssh-server"));
    }
    machine::works(Command::new("ssh").arg("-V"))?;
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err("only root may start an SSH server that lets users in".to_owned()),
    }
}

impl SshServer {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().expect("the path is ASCII").to_owned();
        for key in ["host", "user"] {
            let key = file(key);
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).status();
            assert!(made.is_ok_and(|status| status.success()), "no key");
        }
        // sshd separates its privileges in this folder.
        fs::create_dir_all("/run/sshd").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM \
             no\nPermitRootLogin yes\n",
            file("host"),
            file("user.pub")
        );
        fs::write(file("settings"), settings).unwrap();
        let running = Running::start(Command::new(SSHD).args(["-D", "-e", "-f", &file("settings")]));
        running.stderr.wait_for("listening");
        let client = format!(
            "ssh -F none -p {port} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o \
             BatchMode=yes 127.0.0.1",
            file("user")
        );
        Self { _running: running, client, _folder: folder }
    }

    /// Arguments that start servers by it.
    fn place(&self) -> [&str; 4] {
        ["--server-prefix", &self.client, "--server-address", "127.0.0.1"]
    }
}

/// Whether a process runs with this word among its arguments.
fn runs(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.split(|byte| *byte == 0).any(|part| part == word.as_bytes()))
}

/// The command of a server with a word that no other process has, and the word.
fn marked_server(folder: &TempDir) -> (String, String) {
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let mark = format!("unix:{}/it's {name}.socket", folder.path().display());
    let server = programs::server().display();
    // The second listener has a quote and a space in its path.
    (format!("mine={server} --mode event-loop --listen {{host}}:{{port}} --listen \"{mark}\""), mark)
}

fn behind_ssh_the_cost_is_unknown_and_the_server_ends() {
    let (ssh, folder) = (SshServer::start(), tempfile::tempdir().unwrap());
    let (server, mark) = marked_server(&folder);
    let finished = Loadgen::new(&["compare"])
        .args(ssh.place())
        .args(["--modes", "event-loop", "--server", &server])
        .args(SHORT.split_whitespace())
        .args(ONCE.split_whitespace())
        .finish();
    let report = Report::read(&finished);
    for place in 0..2 {
        assert!(report.0["subjects"][place]["failure"].is_null(), "{finished}");
        assert!(report.count(&format!("subjects.{place}.rounds.0.requests.completed")) > 0);
        assert!(report.at(&format!("subjects.{place}.rounds.0.server")).is_null());
        assert_eq!(report.at(&format!("subjects.{place}.rounds.0.server_ended_early")), false);
    }
    let notes = report.at("notes").to_string();
    assert!(notes.contains("CPU and memory of event-loop, mine are unknown"), "{notes}");
    assert!(!runs(&mark), "the server has ended before loadgen");
}

fn behind_ssh_a_killed_loadgen_leaves_no_server() {
    let (ssh, folder) = (SshServer::start(), tempfile::tempdir().unwrap());
    let (server, mark) = marked_server(&folder);
    let loadgen = Loadgen::new(&["compare"])
        .args(ssh.place())
        .args(["--server", &server, "-d", "60s", "--rounds", "1"])
        .start();
    wait_until("the server runs", || runs(&mark));
    drop(loadgen);
    wait_until("the server has ended", || !runs(&mark));
}
