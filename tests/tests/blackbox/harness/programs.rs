//! The programs under test, built once from the same workspace in the same profile as the tests.

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

static PROGRAMS: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();

/// The path of the server.
pub(crate) fn server() -> &'static Path {
    program("server")
}

/// The path of the load generator.
pub(crate) fn loadgen() -> &'static Path {
    program("loadgen")
}

/// Builds the programs with cargo, which does nothing if they are up to date.
pub(crate) fn build() {
    PROGRAMS.get_or_init(|| {
        let output = cargo_build().output().expect("cargo can be started");
        assert!(output.status.success(), "the programs under test cannot be built");
        let lines = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
        lines.lines().filter_map(executable).collect()
    });
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of the workspace")
}

fn program(name: &str) -> &'static Path {
    let programs = PROGRAMS.get().expect("the programs are built before the tests run");
    programs.get(name).unwrap_or_else(|| panic!("cargo has built no {name}"))
}

/// The target folder and the profile follow from the path of this test program: `TARGET/[TRIPLE/]PROFILE/deps/`.
fn cargo_build() -> Command {
    let this = env::current_exe().expect("this program has a path");
    let profile_folder = this.ancestors().nth(2).expect("test programs are in PROFILE/deps");
    let above = profile_folder.parent().expect("the profile's folder is in another");
    // Cargo writes this file to no other folder.
    let is_target_folder = above.join(".rustc_info.json").exists();
    let profile = match name_of(profile_folder) {
        "debug" => "dev",
        other => other,
    };
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--message-format=json-render-diagnostics", "--bins"]);
    command.args(["-p", "server", "-p", "loadgen", "--profile", profile]);
    command.arg("--manifest-path").arg(workspace().join("Cargo.toml"));
    match (is_target_folder, above.parent()) {
        (false, Some(target_folder)) => {
            command.arg("--target-dir").arg(target_folder).args(["--target", name_of(above)])
        }
        _ => command.arg("--target-dir").arg(above),
    };
    command.stderr(Stdio::inherit());
    command
}

fn name_of(folder: &Path) -> &str {
    folder.file_name().and_then(|name| name.to_str()).expect("cargo names its folders in ASCII")
}

/// The program in a line of cargo's messages.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message["executable"].as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), path.into()))
}
