//! `deploy/kubernetes/`: the manifests against the schemas of Kubernetes, and `run` with a stand-in for the cluster.

use std::{env, ffi::OsString, fs, iter, path::PathBuf, process::Command};

use super::{LOAD, PARTS, deployed, expect_missing, expect_whole, json};
use crate::{
    behaviour::group,
    harness::{Finished, ServerCommand, load::Loadgen, machine, programs, slurm::make_executable},
};

group! {
    once {
        the_manifests_follow_the_schemas_of_kubernetes needs validator,
        run_merges_the_logs_of_the_pods needs kustomize,
    }
}

/// A `kubectl` whose cluster has ended jobs with the logs of this folder. The kustomizations are built by the real one.
const STAND_IN: &str = r#"#!/bin/sh
echo "$*" >>"$FOLDER/calls"
case " $* " in
*' kustomize '*) PATH=$REAL_PATH exec kubectl "$@" ;;
*' apply '*) cat >"$FOLDER/applied" ;;
*' get job '*) echo Failed ;;
*' logs '*) cat "$FOLDER"/logs/* ;;
esac
"#;

fn the_manifests_follow_the_schemas_of_kubernetes() {
    let validate = find_validator().expect("the test needs it");
    for kustomization in ["base", "overlays/one-node", "overlays/monitored"] {
        let built = build(kustomization);
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let file = folder.path().join("manifests.yaml");
        fs::write(&file, &built).unwrap();
        let mut command = Command::new(&validate);
        let finished = Finished::of(command.arg("--strict").arg(&file), b"");
        finished.expect_code(0);
        // A schema that is missing is a warning. The operator of Prometheus defines its own.
        let unknown = finished.stdout.lines().chain(finished.stderr.lines());
        let unknown =
            unknown.filter(|line| line.contains("find schema")).filter(|line| !line.contains("PodMonitor"));
        assert_eq!(unknown.collect::<Vec<_>>(), [""; 0], "{kustomization}");

        // The validator reads the file: a word that no schema has is refused.
        fs::write(&file, built.replace("completionMode:", "completionMood:")).unwrap();
        let refused = Finished::of(Command::new(&validate).arg("--strict").arg(&file), b"");
        assert_ne!(refused.code, Some(0), "{refused}");
    }
}

fn run_merges_the_logs_of_the_pods() {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let (logs, kubectl) = (folder.path().join("logs"), folder.path().join("kubectl"));
    fs::create_dir(&logs).unwrap();
    fs::write(&kubectl, STAND_IN).unwrap();
    make_executable(&kubectl);

    // What the pods do: the flags of the job, with the index that Kubernetes sets.
    let server = ServerCommand::bare().start();
    let pods: Vec<_> = (0..PARTS)
        .map(|index| {
            let args =
                format!("{LOAD} --part auto/{PARTS} --start-at +2s/2s -q --format jsonl --fail-on never");
            let load = Loadgen::run(Some(server.address()), &args);
            load.env("JOB_COMPLETION_INDEX", &index.to_string()).start()
        })
        .collect();
    for (index, pod) in pods.into_iter().enumerate() {
        let finished = pod.finish();
        let log = finished.expect_code(0).stderr.clone() + "a line of another program\n" + &finished.stdout;
        fs::write(logs.join(index.to_string()), log).unwrap();
    }

    let real_path = env::var_os("PATH").unwrap_or_default();
    let folders = iter::once(folder.path().to_owned()).chain(env::split_paths(&real_path));
    let path: OsString = env::join_paths(folders).expect("no folder has a colon");
    let run = || {
        let mut command = deployed("kubernetes/run");
        command.args(["--format", "json"]).env("PATH", &path).env("REAL_PATH", &real_path);
        command.env("FOLDER", folder.path()).env("LOADGEN", programs::loadgen());
        command.env("PARTS", PARTS.to_string());
        Finished::of(&mut command, b"")
    };
    let finished = run();
    expect_whole(&json(&finished.expect_report().stdout));
    let applied = fs::read_to_string(folder.path().join("applied")).unwrap();
    for line in ["  completions: 4", "  parallelism: 4", "  PARTS: '4'", "  START_AT: '@1"] {
        assert!(applied.lines().any(|other| other.starts_with(line)), "no '{line}' in {applied}");
    }
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    assert!(
        calls.lines().all(|call| call.contains("--namespace loadtest")
            || call.contains("kustomize")
            || call.contains("apply")),
        "{calls}"
    );
    assert!(calls.contains("--tail=-1 --max-log-requests=4"), "{calls}");

    fs::write(logs.join("3"), "Killed\n").unwrap();
    let finished = run();
    expect_missing(finished.expect_code(1), &json(&finished.stdout), 3);
}

#[track_caller]
fn build(kustomization: &str) -> String {
    let folder = programs::workspace().join("deploy/kubernetes").join(kustomization);
    let finished = Finished::of(Command::new("kubectl").arg("kustomize").arg(folder), b"");
    finished.expect_code(0).stdout.clone()
}

/// Requires a kubectl that builds kustomizations with components, which are new in its version 1.21.
fn kustomize() -> Result<(), String> {
    let folder = programs::workspace().join("deploy/kubernetes/overlays/one-node");
    machine::works(Command::new("kubectl").arg("kustomize").arg(folder))
}

/// Requires kubectl, and the schemas of Kubernetes.
fn validator() -> Result<(), String> {
    kustomize().and_then(|()| find_validator().map(drop))
}

/// The program of PyPI's kubernetes-validate: the one installed for the tests, or the system's.
fn find_validator() -> Result<PathBuf, String> {
    let own = programs::workspace().join("target/python/bin/kubernetes-validate");
    let works = |program: &PathBuf| machine::works(Command::new(program).arg("--version")).is_ok();
    [own, "kubernetes-validate".into()].into_iter().find(works).ok_or_else(|| {
        "kubernetes-validate is missing: python3 -m venv target/python && \
         target/python/bin/pip install kubernetes-validate"
            .to_owned()
    })
}
