//! `deploy/compose/many.yml`.

use std::process::{self, Command};

use super::{LOAD, PARTS, expect_whole};
use crate::{
    behaviour::group,
    harness::{
        Finished,
        docker::{self, Docker},
        load::Report,
        programs,
    },
};

group! {
    once {
        scaled_containers_make_one_report needs docker::compose,
    }
}

/// A project, which ends with this value.
struct Project<'a> {
    docker: &'a Docker,
}

fn scaled_containers_make_one_report() {
    let docker = Docker::with_image();
    let project = Project { docker: &docker };
    let scale = format!("loadgen={PARTS}");
    project.run(&["--profile", "many", "up", "--detach", "--scale", &scale]).expect_code(0);
    let merge = ["run", "--rm", "merge", "--slo", "rate>=1k", "--fail-on", "never", "--format", "json"];
    let finished = project.run(&merge);
    expect_whole(&Report::read(finished.expect_code(3)));
}

impl Project<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Finished {
        let file = programs::workspace().join("deploy/compose/many.yml");
        let mut command = Command::new("docker");
        command.args(["compose", "--project-name", &format!("many-{}", process::id()), "--file"]);
        command.arg(file).args(arguments);
        command.env("IMAGE", self.docker.image()).env("LOAD", LOAD).env("LEAD", "8");
        Finished::of(&mut command, b"")
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        println!("{}", self.run(&["--profile", "many", "down", "--volumes", "--timeout", "2"]));
    }
}
