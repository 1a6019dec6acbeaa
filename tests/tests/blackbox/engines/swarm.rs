//! `deploy/swarm/run` in a Swarm of one node.

use std::{
    fs,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use super::{LOAD, PARTS, deployed, expect_missing, expect_whole, json};
use crate::{
    behaviour::group,
    harness::{
        Finished,
        docker::{self, Docker, printed},
        machine,
        process::Running,
        programs, wait_until,
    },
};

group! {
    once {
        a_job_of_four_tasks_makes_one_report_and_names_a_part_that_died needs docker::swarm,
    }
}

fn a_job_of_four_tasks_makes_one_report_and_names_a_part_that_died() {
    let docker = Docker::with_image().in_swarm_mode();
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let run = |stack: &str, arguments: &[&str]| start(&docker, &folder, stack, arguments);

    // Each part has a quarter of the rate. Only the whole can miss this.
    let finished = end(run("whole", &["--slo", "rate>=1k", "--fail-on", "never"]));
    finished.expect_code(3);
    let whole = report(&folder, "whole", &finished);
    expect_whole(&whole);
    assert_eq!(whole.at("plan.targets").as_array().map(Vec::len), Some(2), "both servers are loaded");

    // Before that, Swarm's next try would be in time.
    let load = run("rest", &[]);
    wait_for_load(&load);
    // The name of a container is that of its task: STACK_SERVICE.SLOT.TASK.
    let container = printed(&["ps", "--quiet", "--filter", &format!("name={}.2.", job("rest"))]);
    machine::works(Command::new("docker").args(["kill", container.trim()])).expect("part 2 runs");
    let finished = end(load);
    expect_missing(finished.expect_code(1), &report(&folder, "rest", &finished), 2);
    for stack in ["whole", "rest"] {
        let label = format!("label=com.docker.swarm.service.name={}", job(stack));
        assert_eq!(printed(&["ps", "--all", "--quiet", "--filter", &label]), "", "containers are left");
    }
}

fn job(stack: &str) -> String {
    format!("{}_loadgen", name(stack))
}

fn name(stack: &str) -> String {
    format!("{stack}-{}", std::process::id())
}

#[track_caller]
fn start(docker: &Docker, folder: &TempDir, stack: &str, arguments: &[&str]) -> Running {
    let mut command = deployed("swarm/run");
    command.args(arguments).args(["--format", "json", "--output"]);
    command.arg(folder.path().join(stack).with_extension("json"));
    command.env("STACK", name(stack)).env("IMAGE", docker.image()).env("PARTS", PARTS.to_string());
    command.env("LOAD", LOAD).env("LEAD", "20").env("LOADGEN", programs::loadgen());
    Running::start(&mut command)
}

/// Waits until the load has begun.
#[track_caller]
fn wait_for_load(load: &Running) {
    let said = load.stderr.wait_for("parts start at @");
    let (_, start) = said.rsplit_once('@').expect("it says when");
    let start: u64 = start.parse().expect("seconds");
    wait_until("the load has begun", || {
        SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now.as_secs() >= start)
    });
}

/// Waits for the end, in steps: the start, the load, and the removal of the stack.
#[track_caller]
fn end(load: Running) -> Finished {
    wait_for_load(&load);
    load.stderr.wait_for("the parts have ended");
    load.finish()
}

#[track_caller]
fn report(folder: &TempDir, stack: &str, finished: &Finished) -> crate::harness::load::Report {
    let report = fs::read_to_string(folder.path().join(stack).with_extension("json"));
    json(&report.unwrap_or_else(|error| panic!("{error}; {finished}")))
}
