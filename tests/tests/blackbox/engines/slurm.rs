//! `deploy/slurm/loadgen.sbatch` in a cluster of one machine.

use std::{fs, path::Path};

use super::{LOAD, PARTS, deployed, expect_missing, expect_sum, expect_whole, json};
use crate::{
    behaviour::group,
    harness::{
        Finished, ServerCommand, programs,
        slurm::{self, Cluster},
    },
};

group! {
    once {
        four_tasks_make_one_report_and_a_task_that_dies_is_named needs slurm::slurm,
    }
}

fn four_tasks_make_one_report_and_a_task_that_dies_is_named() {
    let (cluster, server) = (Cluster::start(PARTS), ServerCommand::bare().start());
    let folder = cluster.folder().join("work");
    fs::create_dir(&folder).unwrap();
    let job = |name: &str, loadgen: &Path, arguments: &[&str]| {
        let mut command = cluster.command("sbatch");
        command.args(["--wait", "--quiet"]).arg(format!("--output={name}.out"));
        command.arg(deployed("slurm/loadgen.sbatch").get_program()).args(arguments);
        command.args(["--format", "json", "--output"]).arg(format!("{name}.json"));
        command.env("TARGET", server.address().to_string()).env("LOAD", LOAD).env("LEAD", "4");
        command.env("LOADGEN", loadgen).env("RESULTS", name).current_dir(&folder);
        let mut finished = Finished::of(&mut command, b"");
        // The job prints to a file.
        finished.stderr += &fs::read_to_string(folder.join(format!("{name}.out"))).unwrap_or_default();
        let report = fs::read_to_string(folder.join(format!("{name}.json")));
        (json(&report.unwrap_or_else(|error| panic!("{error}; {finished}"))), finished)
    };

    // Each part has a quarter of the rate. Only the whole can miss this.
    let (whole, finished) = job("whole", programs::loadgen(), &["--slo", "rate>=1k", "--fail-on", "never"]);
    finished.expect_code(3);
    expect_whole(&whole);
    let part =
        |number| fs::read_to_string(folder.join(format!("whole/part-{number}.json"))).expect("it is kept");
    let parts: Vec<_> = (0..PARTS).map(|number| json(&part(number))).collect();
    expect_sum(&whole, &parts);

    let dies = folder.join("dies");
    let script = format!(
        "#!/bin/sh\n[ \"$1,${{SLURM_PROCID:-}}\" = run,2 ] && kill -KILL $$\nexec '{}' \"$@\"\n",
        programs::loadgen().display()
    );
    fs::write(&dies, script).unwrap();
    slurm::make_executable(&dies);
    let (rest, finished) = job("rest", &dies, &[]);
    expect_missing(finished.expect_code(1), &rest, 2);
}
