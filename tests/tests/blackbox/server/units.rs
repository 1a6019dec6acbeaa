//! The systemd units of the package: systemd finds no fault in them, and they are hardened.

use std::{fs, path::PathBuf, process::Command};

use server::mode::{MODES, Mode};
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{Finished, machine, programs},
};

group! {
    in every mode {
        an_instance_is_exposed_by_at_most_1_5 needs machine::systemd_analyze,
    }
    once {
        systemd_finds_no_fault_in_the_units needs machine::systemd_analyze,
        the_service_is_exposed_by_at_most_1_5 needs machine::systemd_analyze,
        the_template_is_the_service_with_a_mode,
    }
}

/// The highest exposure that is accepted, in tenths of systemd's scale from 0 to 10.
const EXPOSURE_MAX: &str = "--threshold=15";

fn systemd_finds_no_fault_in_the_units() {
    let units = Units::new();
    let mut files = vec![units.file("echo-server.service"), units.file("echo-server.socket")];
    for mode in MODES {
        for kind in ["service", "socket"] {
            let instance = units.file(&format!("echo-server@{}.{kind}", mode.name));
            fs::copy(units.file(&format!("echo-server@.{kind}")), &instance).unwrap();
            files.push(instance);
        }
    }
    // The manual is installed by the package only.
    let finished = units.analyze(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&files));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished}");
}

fn the_service_is_exposed_by_at_most_1_5() {
    let units = Units::new();
    units.expect_low_exposure("echo-server.service");
}

fn an_instance_is_exposed_by_at_most_1_5(mode: &Mode) {
    let units = Units::new();
    let name = format!("echo-server@{}.service", mode.name);
    let mut unit = fs::read_to_string(units.file("echo-server@.service")).unwrap();
    // Without the manager, `security` reads no drop-in.
    for drop_in in fs::read_dir(units.file(&format!("{name}.d"))).into_iter().flatten() {
        unit += &fs::read_to_string(drop_in.unwrap().path()).unwrap();
    }
    fs::write(units.file(&name), unit).unwrap();
    units.expect_low_exposure(&name);
}

fn the_template_is_the_service_with_a_mode() {
    let units = Units::new();
    let read = |name: &str| fs::read_to_string(units.file(name)).unwrap();
    let as_service = read("echo-server@.service")
        .replace("echo-server@%i", "echo-server")
        .replace(" in mode %i", "")
        .replace(" --mode %i", "");
    assert_eq!(as_service, read("echo-server.service"));
}

/// A copy of the units that starts the server under test.
struct Units {
    folder: TempDir,
}

impl Units {
    fn new() -> Self {
        let units = Self { folder: tempfile::tempdir().unwrap() };
        for entry in fs::read_dir(programs::workspace().join("packaging/systemd")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(units.file(&name)).unwrap();
                for drop_in in fs::read_dir(entry.path()).unwrap() {
                    let drop_in = drop_in.unwrap();
                    fs::copy(drop_in.path(), units.file(&name).join(drop_in.file_name())).unwrap();
                }
            } else {
                let unit = fs::read_to_string(entry.path()).unwrap();
                let server = programs::server().to_str().expect("the path is UTF-8");
                fs::write(units.file(&name), unit.replace("/usr/bin/echo-server", server)).unwrap();
            }
        }
        units
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn expect_low_exposure(&self, name: &str) {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--no-pager", "--offline=yes", EXPOSURE_MAX]).arg(self.file(name));
        self.analyze(&mut command).expect_code(0);
    }

    /// Runs the command with these units before those of the system.
    #[track_caller]
    fn analyze(&self, command: &mut Command) -> Finished {
        // The colon at the end stands for the system's folders (systemd.unit(5)).
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", self.folder.path().display()));
        Finished::of(command, b"")
    }
}
