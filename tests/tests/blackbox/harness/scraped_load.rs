//! A run of the load generator with `--metrics`.

use std::{fs, path::Path, process::Command};

use common::Address;
use tempfile::TempDir;

use super::{
    exposition::Exposition,
    load::{Loadgen, Report},
    process::Running,
    wait::wait_for,
};

/// A run that is scraped. It ends only when its report is read, so that the last metrics can be scraped.
pub(crate) struct ScrapedLoad {
    pub(crate) running: Running,
    pub(crate) address: Address,
    folder: TempDir,
}

impl ScrapedLoad {
    #[track_caller]
    pub(crate) fn start(target: Option<&Address>, args: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let pipe = report_in(&folder);
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("it can be started").success());
        let args = format!("{args} --format json --metrics 127.0.0.1:0");
        let running = Loadgen::run(target, &args).args(["-o", &pipe]).start();
        let said = running.stderr.wait_for("metrics on ");
        let (_, rest) = said.split_once("http://").expect("it is said as a URL");
        let address = rest.strip_suffix("/metrics").expect("with its path").parse().expect("an address");
        Self { running, address, folder }
    }

    #[track_caller]
    pub(crate) fn scrape(&self) -> Exposition {
        Exposition::scrape(&self.address)
    }

    /// The first scrape for which `is` holds. Checks that no counter decreases.
    #[track_caller]
    pub(crate) fn scrape_when(&self, what: &str, is: impl Fn(&Exposition) -> bool) -> Exposition {
        let mut last = self.scrape();
        wait_for(what, || {
            let now = self.scrape();
            now.expect_grown_from(&last);
            last = now;
            is(&last).then_some(())
        });
        last
    }

    /// The metrics after the load, and the report.
    #[track_caller]
    pub(crate) fn end(self, code: i32) -> (Exposition, Report) {
        let end = self.scrape_when("the load ends", |now| phase(now) == "ended");
        (end, self.end_unseen(code))
    }

    #[track_caller]
    pub(crate) fn end_unseen(self, code: i32) -> Report {
        // The write blocks until the report is read.
        let report = fs::read_to_string(report_in(&self.folder)).expect("a report is written");
        self.running.finish().expect_code(code);
        Report(serde_json::from_str(&report).expect("the report is JSON"))
    }
}

/// The current phase: the one with the value 1.
#[track_caller]
pub(crate) fn phase(exposition: &Exposition) -> String {
    let phases = exposition.series("loadgen_phase");
    let now: Vec<_> = phases.iter().filter(|series| exposition.count(series) == 1).collect();
    assert_eq!(now.len(), 1, "{}", exposition.text);
    now[0].trim_start_matches("loadgen_phase{phase=\"").trim_end_matches("\"}").to_owned()
}

fn report_in(folder: &TempDir) -> String {
    Path::to_str(&folder.path().join("report")).expect("temporary files have names in ASCII").to_owned()
}
