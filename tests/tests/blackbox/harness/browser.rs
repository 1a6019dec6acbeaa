//! A page in a real browser without a window, measured by a script.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{machine, process::Finished};

/// The light or dark colour scheme that the browser requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// The script that is appended to a page to measure it. Its result stands between two unique words.
const PROBE: &str = include_str!("probe.js");
const BEGIN: &str = "PROBE-BEGIN";
const END: &str = "PROBE-END";

/// Opens a copy of the page in frames of these widths, and measures each. Windows have a minimum width, frames do not.
#[track_caller]
pub(crate) fn measure(page: &Path, scheme: Scheme, widths: &[u32]) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    // The policy of the page forbids every script, so the copy has no policy.
    let text = fs::read_to_string(page).expect("the page is there");
    let (before, policy) =
        text.split_once("<meta http-equiv=\"Content-Security-Policy\"").expect("it has a policy");
    let (_, after) = policy.split_once('>').expect("an element ends");
    let copy =
        format!("{before}{after}<script>{PROBE}</script>").replace('&', "&amp;").replace('"', "&quot;");
    let style = "color-scheme: light dark; border: 0";
    let frame =
        |width| format!("<iframe width={width} height=900 style='{style}' srcdoc=\"{copy}\"></iframe>");
    let frames: String = widths.iter().map(frame).collect();
    let all = folder.path().join("frames.html");
    fs::write(&all, format!("<!DOCTYPE html><html style='{style}'>{frames}</html>")).expect("there is room");
    let finished = Finished::of(browser(folder.path(), scheme, 1400, 1000).arg("--dump-dom").arg(&all), b"");
    // The output contains the copies, too. These do not contain the two words in one piece.
    let found = finished.stdout.split(BEGIN).skip(1).filter_map(|rest| Some(rest.split_once(END)?.0));
    let found =
        found.map(|found| serde_json::from_str(found).unwrap_or_else(|error| panic!("{error}: {found}")));
    let mut found: Vec<Value> = found.collect();
    found.sort_by_key(|found| widths.iter().position(|width| found["width"] == *width));
    let found_widths: Vec<_> = found.iter().map(|found| &found["width"]).collect();
    assert_eq!(found_widths, widths, "each frame is measured; {}", finished.stderr);
    found
}

/// The size in bytes of a screenshot (PNG) of the original page. A blank page gives a small file.
#[track_caller]
pub(crate) fn picture_bytes(page: &Path, scheme: Scheme, width: u32) -> u64 {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let picture = folder.path().join("picture.png");
    let mut command = browser(folder.path(), scheme, width, 1200);
    let finished = Finished::of(command.arg(format!("--screenshot={}", picture.display())).arg(page), b"");
    let metadata = fs::metadata(&picture);
    metadata.unwrap_or_else(|error| panic!("the browser has made no picture: {error}; {finished}")).len()
}

/// A browser that keeps its files in this folder and has no network.
fn browser(folder: &Path, scheme: Scheme, width: u32, height: u32) -> Command {
    let mut command = Command::new(machine::find_browser().expect("the test needs a browser"));
    let scheme = match scheme {
        Scheme::Dark => 0,
        Scheme::Light => 1,
    };
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]);
    command.arg("--host-resolver-rules=MAP * ~NOTFOUND");
    command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
    command.arg(format!("--window-size={width},{height}"));
    command
}
