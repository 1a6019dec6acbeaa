//! A Docker engine: an image with the programs under test, and Swarm mode.

use std::{
    fs,
    process::{self, Command},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{machine, process::Finished, programs};

/// The base of the image: that of the project's Dockerfile.
const BASE: &str = "debian:bookworm-slim";

/// One test at a time changes the engine.
static ENGINE: Mutex<()> = Mutex::new(());

/// The engine, with an image of the programs under test.
pub(crate) struct Docker {
    image: String,
    left: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Docker {
    /// Builds the image: that of the project's Dockerfile, with the programs that cargo has built for the tests.
    #[track_caller]
    pub(crate) fn with_image() -> Self {
        let alone = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let image = format!("loadgen-tests-{}", process::id());
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        for program in [programs::server(), programs::loadgen()] {
            let to = folder.path().join(program.file_name().expect("a program has a name"));
            // Symbols make most of a debug build.
            let mut strip = Command::new("strip");
            if machine::works(strip.arg("-o").arg(&to).arg(program)).is_err() {
                fs::copy(program, &to).expect("there is room for temporary files");
            }
        }
        let dockerfile = fs::read_to_string(programs::workspace().join("Dockerfile")).expect("it is a text");
        fs::write(folder.path().join("Dockerfile"), without_the_build(&dockerfile))
            .expect("the folder is ours");
        fs::copy(programs::workspace().join("demo.sh"), folder.path().join("demo.sh"))
            .expect("the folder is ours");
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "--tag", &image]).arg(folder.path());
        Finished::of(&mut build, b"").expect_code(0);
        Self { image, left: true, _alone: alone }
    }

    /// Makes the engine a Swarm of one node, if it is in none.
    #[track_caller]
    pub(crate) fn in_swarm_mode(mut self) -> Self {
        if swarm_state() == "inactive" {
            let init = ["swarm", "init", "--advertise-addr", "127.0.0.1"];
            Finished::of(Command::new("docker").args(init), b"").expect_code(0);
            self.left = false;
        }
        self
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if !self.left {
            let _left = machine::works(Command::new("docker").args(["swarm", "leave", "--force"]));
        }
        let _removed = machine::works(Command::new("docker").args(["image", "rm", "--force", &self.image]));
    }
}

/// Requires a Docker engine that answers and has the base image, or can pull it.
pub(crate) fn docker() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let find = || {
        machine::works(Command::new("docker").arg("info"))?;
        let has_base = machine::works(Command::new("docker").args(["image", "inspect", BASE]));
        has_base.or_else(|_| machine::works(Command::new("timeout").args(["60", "docker", "pull", BASE])))
    };
    FOUND.get_or_init(find).clone()
}

/// Requires an engine that is in a Swarm of one node, or in none.
pub(crate) fn swarm() -> Result<(), String> {
    docker()?;
    match swarm_state().as_str() {
        "inactive" => Ok(()),
        "active" => match printed(&["node", "ls", "--quiet"]).lines().count() {
            1 => Ok(()),
            nodes => Err(format!("this Docker engine is in a Swarm of {nodes} nodes")),
        },
        state => Err(format!("the Swarm mode of this Docker engine is {state}")),
    }
}

/// Requires the compose plugin.
pub(crate) fn compose() -> Result<(), String> {
    docker()?;
    machine::works(Command::new("docker").args(["compose", "version"]))
}

/// A Dockerfile's arguments and last stage, which takes the programs from beside it and not from the stage that builds them.
fn without_the_build(dockerfile: &str) -> String {
    let (arguments, _) = dockerfile.split_once("\nFROM ").expect("it has two stages");
    let (_, last_stage) = dockerfile.rsplit_once("\nFROM ").expect("it has two stages");
    let from_build = "COPY --from=build /out/ /usr/local/bin/";
    format!("{arguments}\nFROM {}", last_stage.replace(from_build, "COPY server loadgen /usr/local/bin/"))
}

fn swarm_state() -> String {
    printed(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim().to_owned()
}

/// What `docker` prints with these arguments.
pub(crate) fn printed(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker can be started");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
