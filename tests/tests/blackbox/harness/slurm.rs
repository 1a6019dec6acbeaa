//! A private Slurm cluster of this machine.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{machine, process::Running, wait::wait_until};

/// How long a daemon has to end.
const GRACE: Duration = Duration::from_secs(10);

/// The daemons of a cluster with one node. They end with this value.
pub(crate) struct Cluster {
    // The last to start is the first to end.
    daemons: Vec<Running>,
    folder: TempDir,
}

impl Cluster {
    /// Starts a cluster whose node offers this many CPUs, whatever the machine has.
    #[track_caller]
    pub(crate) fn start(cpus: usize) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let path = folder.path();
        // munged serves every user, so they must be able to reach its socket.
        make_executable(path);
        for part in ["munge", "state", "spool"] {
            fs::create_dir(path.join(part)).expect("the folder is ours");
            make_executable(&path.join(part));
        }
        let key = path.join("munge/key");
        fs::write(&key, [7; 128]).expect("the folder is ours");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        fs::write(path.join("slurm.conf"), configuration(path, cpus)).expect("the folder is ours");

        let mut cluster = Self { daemons: Vec::new(), folder };
        let munge =
            |option: &str, file: &str| format!("--{option}={}/munge/{file}", cluster.folder().display());
        let mut munged = Command::new("munged");
        munged.arg("--foreground").args([
            munge("socket", "socket"),
            munge("key-file", "key"),
            munge("log-file", "log"),
            munge("pid-file", "pid"),
            munge("seed-file", "seed"),
        ]);
        cluster.daemons.push(Running::start(&mut munged));
        let socket = cluster.folder().join("munge/socket");
        wait_until("munged listens", || socket.exists());
        for (daemon, arguments) in [("slurmctld", &["-D"][..]), ("slurmd", &["-D", "-N", "localhost"])] {
            let daemon = Running::start(cluster.command(daemon).args(arguments));
            cluster.daemons.push(daemon);
        }
        wait_until("the node is idle", || {
            let nodes = cluster.command("sinfo").args(["--noheader", "--format=%T"]).output();
            nodes.expect("sinfo can be started").stdout.starts_with(b"idle")
        });
        cluster
    }

    /// A command of Slurm's for this cluster.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.folder().join("slurm.conf"));
        command
    }

    /// A folder for the files of jobs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        while let Some(mut daemon) = self.daemons.pop() {
            // Each ends its helpers when it is asked to end. One that does not is killed.
            daemon.signal(Signal::TERM);
            let deadline = Instant::now() + GRACE;
            while daemon.is_running() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn configuration(folder: &Path, cpus: usize) -> String {
    let port = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    // Both are held until both are known, so that they differ.
    let ports = [port(), port()].map(|address| address.expect("there is a free port").port());
    let (folder, [controller, node]) = (folder.display(), ports);
    format!(
        "ClusterName=loadgen\nSlurmctldHost=localhost(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
         SlurmctldPort={controller}\nSlurmdPort={node}\n\
         AuthType=auth/munge\nAuthInfo=socket={folder}/munge/socket\n\
         StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\n\
         SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd.pid\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\nMailProg=/bin/true\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSlurmdParameters=config_overrides\n\
         NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN\n\
         PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP\n"
    )
}

/// Lets everybody execute this file, or enter this folder.
pub(crate) fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Requires Slurm and munge, and root: other users cannot start Slurm's daemons.
pub(crate) fn slurm() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can start Slurm's daemons".to_owned());
    }
    for program in ["slurmctld", "slurmd", "munged"] {
        machine::works(Command::new(program).arg("-V"))?;
    }
    // Without a configuration, these do not even say their versions.
    for program in ["sbatch", "srun", "sinfo"] {
        machine::works(Command::new("sh").args(["-c", &format!("command -v {program}")]))?;
    }
    Ok(())
}
