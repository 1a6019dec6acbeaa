//! Output on a terminal: lines that fit, colours, and the verdict at the end.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{Finished, load::Loadgen, machine},
};

group! {
    once {
        a_run_fits_every_terminal_while_it_runs_and_after needs machine::terminal,
        results_of_several_runs_fit_every_terminal needs machine::terminal,
        a_comparison_and_a_sweep_fit_a_narrow_terminal_while_they_run_and_after needs machine::terminal,
        colours_are_used_only_on_a_terminal_that_permits_them needs machine::terminal,
        the_verdict_is_repeated_at_the_end_of_every_report,
    }
}

const WIDTHS: [u32; 3] = [60, 80, 120];

fn a_run_fits_every_terminal_while_it_runs_and_after() {
    for columns in WIDTHS {
        let run = plain(Loadgen::run(None, "-c 10 -r 1k -d 900ms -w 100ms -i 200ms --slo p99<1ms"));
        let finished = run.in_terminal(columns).finish();
        expect_fit(&finished, columns);
        // The progress line shows at least this.
        for part in ["0.9s", "/s", "p50", "p99"] {
            let moving = lines(&finished.stdout).filter(|line| line.contains("s of 0.9s"));
            assert!(
                moving.clone().count() > 3 && moving.last().unwrap().contains(part),
                "{part}: {finished}"
            );
        }
        expect_verdict_last(&finished.stdout);
    }
}

fn results_of_several_runs_fit_every_terminal() {
    let kept = Kept::new();
    let (one, other) = (kept.run("one.json", "thread-per-connection"), kept.run("other.json", "event-loop"));
    let [one, other] = [&one, &other].map(|path| path.to_str().unwrap());
    for columns in WIDTHS {
        for args in [&["show", one, other][..], &["show", one], &["merge", one]] {
            let finished = plain(Loadgen::new(args)).in_terminal(columns).finish();
            expect_fit(&finished, columns);
            assert!(finished.stdout.contains("thread-per-connection"), "{finished}");
            expect_verdict_last(&finished.stdout);
        }
    }
}

fn a_comparison_and_a_sweep_fit_a_narrow_terminal_while_they_run_and_after() {
    let modes = "-m thread-per-connection,event-loop -c 5 -d 300ms -w 100ms";
    let compare = format!("compare {modes} --rounds 1");
    let sweep = format!("sweep {modes} --rates 500..1k --slo p99<1s");
    for args in [compare, sweep] {
        let load = Loadgen::new(&[]).args(args.split(' '));
        let finished = plain(load).in_terminal(60).finish();
        expect_fit(&finished, 60);
        assert!(
            lines(&finished.stdout).any(|line| line.starts_with("thread-per-connection  ")),
            "{finished}"
        );
        expect_verdict_last(&finished.stdout);
    }
}

fn colours_are_used_only_on_a_terminal_that_permits_them() {
    let kept = Kept::new();
    let path = kept.run("one.json", "event-loop");
    let copy = kept.folder.path().join("copy.txt");
    let [path, copy_to] = [path.to_str().unwrap(), copy.to_str().unwrap()];
    let force = ("CLICOLOR_FORCE", "1");
    for (is_terminal, variables, has_colour) in [
        (true, &[][..], true),
        (true, &[("NO_COLOR", "1")], false),
        (true, &[("NO_COLOR", "")], true),
        (true, &[("CLICOLOR", "0")], false),
        (true, &[("TERM", "dumb")], false),
        (false, &[], false),
        (false, &[force], true),
        (false, &[force, ("NO_COLOR", "1")], false),
    ] {
        let shown = |args: &[&str]| {
            let mut load = plain(Loadgen::new(args));
            for (name, value) in variables {
                load = load.env(name, value);
            }
            let load = if is_terminal { load.in_terminal(80) } else { load };
            load.finish()
        };
        let text = shown(&["show", path]);
        assert_eq!(text.stdout.contains('\u{1b}'), has_colour, "{is_terminal} {variables:?}: {text}");
        // A file has no colours.
        shown(&["show", path, "-o", copy_to]).expect_code(0);
        let copy = fs::read_to_string(&copy).unwrap();
        assert!(copy.starts_with("verdict ") && !copy.contains('\u{1b}'), "{variables:?}: {copy}");
    }
    // The progress line moves the cursor, but has no colours.
    for (variables, has_colour) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let mut load = plain(Loadgen::run(None, "-c 2 -d 300ms -w 0s -i 100ms --format json"));
        for (name, value) in variables {
            load = load.env(name, value);
        }
        let text = load.in_terminal(80).finish().stdout;
        assert!(text.contains("s of 0.3s"), "{text}");
        let is_colour = |sequence: &str| {
            sequence
                .find(|each: char| each.is_ascii_alphabetic())
                .is_some_and(|end| sequence[end..].starts_with('m'))
        };
        assert_eq!(text.split("\u{1b}[").skip(1).any(is_colour), has_colour, "{variables:?}: {text:?}");
    }
}

fn the_verdict_is_repeated_at_the_end_of_every_report() {
    let run = Loadgen::run(None, "-c 5 -n 100 -w 0s -q").finish();
    expect_verdict_last(&run.stdout);
    let first = run.stdout.lines().next().unwrap();
    let last = run.stdout.lines().last().unwrap();
    assert!(last.starts_with(first), "'{first}' and '{last}'");
}

/// Removes variables that decide on colours from the environment.
fn plain(mut load: Loadgen) -> Loadgen {
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        load.command().env_remove(name);
    }
    load.env("TERM", "xterm-256color")
}

#[track_caller]
fn expect_verdict_last(text: &str) {
    let last = lines(text).filter(|line| !line.is_empty()).last().unwrap_or_default();
    assert!(last.starts_with("verdict    "), "the last line is '{last}' of\n{text}");
}

/// Expects a report, and that no line was ever wider than the terminal.
#[track_caller]
fn expect_fit(finished: &Finished, columns: u32) {
    assert!(matches!(finished.code, Some(0 | 3 | 4)), "{finished}");
    for line in lines(&finished.stdout) {
        assert!(line.chars().count() <= columns as usize, "{columns}: '{line}' in\n{finished}");
    }
}

/// Every text that a line of the terminal showed, including overwritten ones.
fn lines(text: &str) -> impl Iterator<Item = String> + Clone {
    text.split(['\r', '\n']).map(|line| {
        let mut parts = line.split("\u{1b}[");
        let first = parts.next().unwrap_or_default().to_owned();
        // A sequence ends with a letter.
        let rest = parts.filter_map(|part| Some(part.split_once(|each: char| each.is_ascii_alphabetic())?.1));
        let line: String = std::iter::once(first.as_str()).chain(rest).collect();
        line.trim_end().to_owned()
    })
}

/// Stored results.
struct Kept {
    folder: TempDir,
}

impl Kept {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("there is room for temporary files") }
    }

    /// The result of a short run against a server of this model, whatever its verdict is.
    fn run(&self, name: &str, mode: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let args = format!("-c 10 -d 300ms -w 0s -q --mode {mode} --format json");
        let made =
            Loadgen::run(None, &args).args(["-o", path.to_str().expect("it has a name in ASCII")]).finish();
        made.expect_report();
        path
    }
}
