//! Report files: their targets, the replacement of existing files, and reports that cannot be written.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        Finished,
        load::Loadgen,
        machine::{as_another_user, full_disk, other_users, with_file_size_limit, with_full_disk},
    },
};

group! {
    once {
        a_dash_is_standard_output,
        a_symlink_is_followed,
        a_file_keeps_its_permissions,
        an_unwritable_file_is_an_error_before_the_run,
        a_full_disk_is_an_error_before_the_run needs full_disk,
        an_unwritable_report_is_printed,
        a_report_is_printed_if_its_folder_was_removed,
        unwritable_histograms_are_printed_in_the_result,
        a_report_over_the_file_size_limit_is_printed,
        a_file_that_a_rename_cannot_replace_is_written_in_place needs other_users,
        every_name_of_standard_output_is_the_open_descriptor,
        the_written_files_are_named_with_the_verdict,
        an_unknown_file_extension_is_a_usage_error,
    }
}

/// A run that takes hardly any time, and its verdict.
const RUN: &str = "-c 2 -n 20 -w 0s";
/// The same of several servers.
const COMPARE: &str = "compare --modes tokio-task,thread-pool --rounds 1 -c 2 -n 20 -w 0s";
const SWEEP: &str = "sweep --modes tokio-task --rates 100,200 -c 2 -d 200ms -w 0s";

fn a_dash_is_standard_output() {
    let folder = folder();
    for args in [format!("run {RUN} -q"), format!("{COMPARE} -q")] {
        let mut load = Loadgen::new(&[]).args(args.split(' ')).args(["--format", "json", "-o", "-"]);
        load.command().current_dir(folder.path());
        let finished = load.finish();
        finished.expect_report();
        assert!(finished.stdout.starts_with("{\n"), "{finished}");
        assert_eq!((finished.stderr.as_str(), names(folder.path())), ("", Vec::new()));
    }
    for args in ["run --hdr -", "show x.json --hdr -", "talk --save -"] {
        let refused = Loadgen::new(&[]).args(args.split(' ')).finish();
        refused.expect_code(2).expect_stderr(&["standard output"]);
    }
}

fn a_symlink_is_followed() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("real")).unwrap();
    fs::write(at("real/report"), "before").unwrap();
    symlink("real/report", at("link")).unwrap();
    symlink("real/new.hgrm", at("times.hgrm")).unwrap();
    let run =
        Loadgen::run(None, RUN).args(["-q", "-o", path(&at("link")), "--hdr", path(&at("times"))]).finish();
    run.expect_report();
    assert!(fs::read_to_string(at("real/report")).unwrap().contains("verdict"));
    assert!(fs::read_to_string(at("real/new.hgrm")).unwrap().contains("Percentile"));
    assert_eq!(names(&at("real")), ["new.hgrm", "report"]);
    for link in ["link", "times.hgrm"] {
        assert!(at(link).symlink_metadata().unwrap().is_symlink(), "{link} is replaced");
    }
}

fn a_file_keeps_its_permissions() {
    let folder = folder();
    let report = folder.path().join("report");
    for mode in [0o600, 0o664] {
        fs::write(&report, "before").unwrap();
        fs::set_permissions(&report, Permissions::from_mode(mode)).unwrap();
        Loadgen::run(None, RUN).args(["-q", "-o", path(&report)]).finish().expect_report();
        assert_eq!(report.metadata().unwrap().mode() & 0o777, mode);
        assert!(fs::read_to_string(&report).unwrap().contains("verdict"));
    }
}

fn an_unwritable_file_is_an_error_before_the_run() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("read-only"), "before").unwrap();
    fs::write(at("kept.hlog"), "before").unwrap();
    for name in ["read-only", "kept.hlog"] {
        fs::set_permissions(at(name), Permissions::from_mode(0o444)).unwrap();
    }
    let before = names(folder.path());
    let run = format!("run {RUN}");
    for (args, flag, file, said) in [
        (run.as_str(), "-o", at("read-only"), "the file is read-only"),
        (COMPARE, "-o", at("read-only"), "the file is read-only"),
        (SWEEP, "-o", at("read-only"), "the file is read-only"),
        (&run, "--hdr", at("kept"), "the file is read-only"),
        (&run, "-o", at("missing/report"), "its folder does not exist"),
        (&run, "-o", folder.path().to_owned(), "it is a folder"),
        (&run, "-o", at("read-only/report"), "Not a directory"),
        (&run, "-o", at(&"x".repeat(256)), "too long"),
    ] {
        let refused = Loadgen::new(&[]).args(args.split(' ')).args([flag, path(&file)]).finish();
        expect_not_begun(&refused, &[said, path(&file)]);
    }
    let limited = Loadgen::run(None, RUN).args(["-o", path(&at("report"))]);
    let limited = limited.within(|command| with_file_size_limit(command, 500)).finish();
    expect_not_begun(&limited, &["file-size limit", "report"]);
    let kept = keep(&at("kept.json"));
    for verb in ["show", "merge"] {
        let refused = Loadgen::new(&[verb, &kept, "-o", path(&at("read-only"))]).finish();
        expect_not_begun(&refused, &["the file is read-only"]);
    }
    fs::remove_file(kept).unwrap();
    assert_eq!(names(folder.path()), before, "nothing is left there");
    assert_eq!(fs::read_to_string(at("read-only")).unwrap(), "before");
}

fn a_full_disk_is_an_error_before_the_run() {
    let folder = folder();
    let report = folder.path().join("report");
    for args in [["-o", path(&report)], ["--hdr", path(&report)]] {
        let load = Loadgen::run(None, RUN).args(args);
        let refused = load.within(|command| with_full_disk(command, folder.path())).finish();
        // A full disk may not even have space for an empty file.
        assert!(
            ["No space left", "no storage space"].iter().any(|said| refused.stderr.contains(said)),
            "{refused}"
        );
        expect_not_begun(&refused, &["report"]);
    }
}

fn an_unwritable_report_is_printed() {
    let folder = folder();
    let kept = keep(&folder.path().join("kept.json"));
    let lost = "/dev/full cannot be written: No space left on device (os error 28); the report was printed to standard \
                output instead";
    let run = format!("run {RUN}");
    for args in [run.as_str(), COMPARE, SWEEP, &format!("show {kept}"), &format!("merge {kept}")] {
        for quiet in [&[][..], &["-q"]] {
            let quiet = if args.starts_with("show") || args.starts_with("merge") { &[][..] } else { quiet };
            let load = Loadgen::new(&[]).args(args.split(' ')).args(quiet.iter().copied());
            let finished = load.args(["--format", "json", "-o", "/dev/full"]).finish();
            finished.expect_code(1).expect_stderr(&[lost]);
            let printed: serde_json::Value =
                serde_json::from_str(&finished.stdout).expect("it is the result");
            assert_eq!(printed["schema"], 1);
            assert!(!finished.stderr.contains("wrote"), "{finished}");
        }
    }
}

fn a_report_is_printed_if_its_folder_was_removed() {
    let folder = folder();
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let load = Loadgen::run(None, "-c 2 -d 1s -w 0s").args(["-o", path(&results.join("report.csv"))]).start();
    load.stderr.wait_for("started");
    fs::remove_dir_all(&results).unwrap();
    let finished = load.finish();
    finished.expect_code(1).expect_stderr(&[
        "report.csv",
        "its folder does not exist",
        "standard output instead",
    ]);
    assert!(finished.stdout.starts_with("scope,"), "{finished}");
}

fn unwritable_histograms_are_printed_in_the_result() {
    let folder = folder();
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let load = Loadgen::run(None, "-c 2 -d 1s -w 0s").args(["--hdr", path(&results.join("times"))]).start();
    load.stderr.wait_for("started");
    fs::remove_dir_all(&results).unwrap();
    let finished = load.finish();
    finished.expect_code(1).expect_stderr(&[
        "times.hgrm",
        "its folder does not exist",
        "show RESULT --hdr PREFIX",
    ]);
    let (text, json) =
        finished.stdout.split_at(finished.stdout.find("\n{\n").expect("a JSON result follows"));
    assert!(text.starts_with("verdict"), "{finished}");
    // The advice in the error works.
    let result = folder.path().join("result.json");
    fs::write(&result, json).unwrap();
    Loadgen::new(&["show", path(&result), "--hdr", path(&folder.path().join("times"))])
        .finish()
        .expect_code(0);
    assert_eq!(
        names(folder.path()),
        ["result.json", "times.hgrm", "times.hlog", "times.service.hgrm", "times.successful.hgrm"]
    );
}

fn a_report_over_the_file_size_limit_is_printed() {
    let folder = folder();
    let report = folder.path().join("report.json");
    fs::write(&report, "before").unwrap();
    // A short result is only slightly larger than the limit, so the probe before the run succeeds.
    let load = Loadgen::run(None, RUN).args(["-q", "-o", path(&report)]);
    let finished = load.within(|command| with_file_size_limit(command, 4_500)).finish();
    finished.expect_code(1).expect_stderr(&["report.json", "file-size limit", "standard output instead"]);
    assert!(serde_json::from_str::<serde_json::Value>(&finished.stdout).is_ok(), "{finished}");
    assert_eq!((fs::read_to_string(&report).unwrap().as_str(), names(folder.path()).len()), ("before", 1));
}

fn a_file_that_a_rename_cannot_replace_is_written_in_place() {
    let folder = folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    for (name, mode) in [("sticky", 0o1777), ("closed", 0o755)] {
        let theirs = folder.path().join(name);
        fs::create_dir(&theirs).unwrap();
        fs::set_permissions(&theirs, Permissions::from_mode(mode)).unwrap();
        let report = theirs.join("report");
        fs::write(&report, "before").unwrap();
        fs::set_permissions(&report, Permissions::from_mode(0o666)).unwrap();
        let before = report.metadata().unwrap();
        let load = Loadgen::run(None, RUN).args(["-q", "-o", path(&report)]);
        load.within(as_another_user).finish().expect_report();
        let after = report.metadata().unwrap();
        let same = |metadata: &fs::Metadata| (metadata.ino(), metadata.uid(), metadata.mode());
        assert_eq!(same(&after), same(&before), "{name}");
        assert!(fs::read_to_string(&report).unwrap().contains("verdict"), "{name}");
        assert_eq!(names(&theirs), ["report"]);
        fs::set_permissions(&report, Permissions::from_mode(0o644)).unwrap();
        let load = Loadgen::run(None, RUN).args(["-o", path(&report)]);
        expect_not_begun(&load.within(as_another_user).finish(), &["report", "Permission denied"]);
    }
}

fn every_name_of_standard_output_is_the_open_descriptor() {
    let folder = folder();
    let all = folder.path().join("all");
    for output in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let script = "echo before && \"$@\" && echo after";
        let load = Loadgen::run(None, RUN).args(["-q", "--fail-on", "never", "-o", output]);
        let mut load = load.within(|command| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
            shell
        });
        let status = load.command().stdout(fs::File::create(&all).unwrap()).status().unwrap();
        let text = fs::read_to_string(&all).unwrap();
        assert!(status.success(), "{output}: {text}");
        assert!(text.starts_with("before\nverdict"), "{output}: {text}");
        assert!(text.ends_with("\nafter\n"), "{output}: {text}");
    }
}

fn the_written_files_are_named_with_the_verdict() {
    let folder = folder();
    let kept = keep(&folder.path().join("kept.json"));
    let report = folder.path().join("report.html");
    let wrote = format!("wrote {}", path(&report));
    let run = format!("run {RUN}");
    for args in [run.as_str(), COMPARE, &format!("show {kept}"), &format!("merge {kept}")] {
        let finished = Loadgen::new(&[]).args(args.split(' ')).args(["-o", path(&report)]).finish();
        let lines: Vec<_> = finished.expect_report().stderr.lines().rev().take(2).collect();
        assert_eq!(lines[0], wrote, "{finished}");
        let verdict = ["valid", "SUSPECT", "INVALID"].iter().any(|word| lines[1].starts_with(word));
        assert!(verdict && lines[1].contains("/s"), "{finished}");
    }
    let sweep = Loadgen::new(&[]).args(SWEEP.split(' ')).args(["-o", path(&report)]).finish();
    let lines: Vec<_> = sweep.expect_code(0).stderr.lines().rev().take(2).collect();
    assert_eq!(
        (lines[0], lines[1].starts_with("1 server swept: tokio-task")),
        (wrote.as_str(), true),
        "{sweep}"
    );
    let times = folder.path().join("times");
    let both = Loadgen::run(None, RUN).args(["-o", path(&report), "--hdr", path(&times)]).finish();
    both.expect_report().expect_stderr(&[&format!(
        "{wrote}, {0}.hgrm, {0}.successful.hgrm, {0}.service.hgrm, {0}.hlog\n",
        path(&times)
    )]);
    let quiet = Loadgen::run(None, RUN).args(["-q", "-o", path(&report)]).finish();
    assert_eq!(quiet.expect_report().stderr, "");
}

fn an_unknown_file_extension_is_a_usage_error() {
    let folder = folder();
    let report = folder.path().join("r.xml");
    let kept = keep(&folder.path().join("kept.json"));
    let run = format!("run {RUN}");
    for args in [run.as_str(), COMPARE, SWEEP, &format!("show {kept}"), &format!("merge {kept}")] {
        let refused = Loadgen::new(&[]).args(args.split(' ')).args(["-o", path(&report)]).finish();
        refused.expect_code(2).expect_stderr(&["r.xml", ".txt", ".json", ".csv", ".html", "--format"]);
        assert_eq!((refused.stdout.as_str(), report.exists()), ("", false));
    }
    Loadgen::new(&["show", &kept, "-o", path(&report), "--format", "text"]).finish().expect_code(0);
    let both = folder.path().join("times.hgrm");
    let twice = Loadgen::run(None, RUN).args(["--format", "text", "-o", path(&both)]);
    let twice = twice.args(["--hdr", path(&folder.path().join("times"))]).finish();
    twice.expect_code(2).expect_stderr(&["--output and --hdr would both write", "times.hgrm"]);
}

/// Expects an error with these parts before the run began.
#[track_caller]
fn expect_not_begun(refused: &Finished, parts: &[&str]) {
    refused.expect_code(1).expect_stderr(parts);
    assert!(!refused.stderr.contains("started"), "it has begun; {refused}");
    assert_eq!(refused.stdout, "", "{refused}");
}

/// Makes a run and keeps its result.
#[track_caller]
fn keep(to: &Path) -> String {
    let run = Loadgen::run(None, "-c 2 -d 200ms -w 0s -q --format json").args(["-o", path(to)]).finish();
    run.expect_report();
    path(to).to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("ASCII"))
        .collect();
    names.sort();
    names
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary files have names in ASCII")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}
