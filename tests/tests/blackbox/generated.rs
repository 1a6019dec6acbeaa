//! The output of `--generate`: man pages, and completions, read by the shells.

use std::{fs, path::Path, process::Command};

use crate::{
    behaviour::{Group, group},
    harness::{Finished, machine, programs, server::keep_environment_out},
};

group! {
    once {
        each_man_page_is_a_separate_file,
        a_program_under_another_name_describes_itself_by_that_name,
        a_man_page_has_every_section_and_its_examples_keep_their_lines,
        the_printed_text_equals_the_written_file,
        an_unwritable_directory_is_named_in_the_error,
        bash_completes_visible_names_and_continues_after_a_comma needs machine::bash,
        fish_completes_visible_names_and_continues_after_a_comma needs machine::fish,
        zsh_can_read_its_completions needs machine::zsh,
        no_completion_offers_a_hidden_name,
    }
}

pub(crate) fn groups() -> Vec<Group> {
    vec![group()]
}

const COMMANDS: [&str; 6] = ["run", "compare", "sweep", "show", "merge", "talk"];

fn each_man_page_is_a_separate_file() {
    let folder = tempfile::tempdir().unwrap();
    // The folder does not exist yet.
    let man = folder.path().join("share/man/man1");
    for program in [programs::server(), programs::loadgen()] {
        let written = generate(program, "man", Some(&man)).expect_code(0).stdout.clone();
        for path in written.lines() {
            let page = fs::read_to_string(path).unwrap();
            let title = Path::new(path).file_stem().unwrap().to_str().unwrap();
            assert_eq!(page.matches("\n.TH ").count(), 1, "{path}");
            assert!(page.replace("\\-", "-").contains(&format!("\n.TH {title} 1 ")), "{path}");
        }
    }
    let mut names: Vec<_> =
        fs::read_dir(&man).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    let mut expected: Vec<_> = COMMANDS.iter().map(|command| format!("loadgen-{command}.1")).collect();
    expected.extend(["loadgen.1".to_owned(), "server.1".to_owned()]);
    expected.sort_unstable();
    assert_eq!(names, expected);
}

fn a_program_under_another_name_describes_itself_by_that_name() {
    let folder = tempfile::tempdir().unwrap();
    for (program, name) in [(programs::server(), "server"), (programs::loadgen(), "loadgen")] {
        let installed = folder.path().join(format!("echo-{name}"));
        std::os::unix::fs::symlink(program, &installed).unwrap();
        let written = generate(&installed, "man", Some(folder.path())).expect_code(0).stdout.clone();
        let mut texts: Vec<_> = written.lines().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert!(written.contains(&format!("/echo-{name}.1\n")), "{written}");
        for shell in ["bash", "zsh", "fish"] {
            texts.push(generate(&installed, &format!("complete-{shell}"), None).stdout);
        }
        texts.push(Finished::of(command(&installed).arg("--help"), b"").expect_code(0).stdout.clone());
        for text in texts {
            let text = text.replace("\\-", "-").replace('\n', " ");
            assert!(text.contains(&format!("echo-{name}")), "{text}");
            for other in [format!(" {name} -"), format!(" {name} run"), format!("'{name} ")] {
                assert!(!text.contains(&other), "'{other}' is in\n{text}");
            }
        }
    }
}

fn a_man_page_has_every_section_and_its_examples_keep_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    for program in [programs::server(), programs::loadgen()] {
        for path in generate(program, "man", Some(folder.path())).expect_code(0).stdout.lines() {
            let page = fs::read_to_string(path).unwrap();
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "EXAMPLES"] {
                assert!(
                    page.contains(&format!("\n.SH {section}\n")),
                    "{section} is missing in {path}:\n{page}"
                );
            }
            let examples = page.split_once("\n.SH EXAMPLES\n").expect("it has them").1;
            let name = Path::new(path).file_stem().unwrap().to_str().unwrap().replace('-', " ");
            let commands = examples.split("\n.nf\n").skip(1);
            assert!(commands.clone().next().is_some(), "{path} has no examples:\n{examples}");
            for command in commands {
                let command = command.split_once("\n.fi\n").expect("a command ends").0;
                assert!(!command.contains('\n'), "{path}: {command}");
                assert!(command.replace("\\-", "-").contains(name.split(' ').next().unwrap()), "{command}");
            }
        }
    }
}

fn the_printed_text_equals_the_written_file() {
    let folder = tempfile::tempdir().unwrap();
    for program in [programs::server(), programs::loadgen()] {
        for what in ["man", "complete-bash", "complete-zsh", "complete-fish"] {
            let written = generate(program, what, Some(folder.path())).expect_code(0).stdout.clone();
            let written: String = written.lines().map(|path| fs::read_to_string(path).unwrap()).collect();
            assert_eq!(generate(program, what, None).expect_code(0).stdout, written, "{what}");
        }
    }
}

fn an_unwritable_directory_is_named_in_the_error() {
    for program in [programs::server(), programs::loadgen()] {
        let failed = generate(program, "man", Some(Path::new("/dev/null/man1")));
        failed.expect_code(1).expect_stderr(&["error: /dev/null/man1/", "cannot be written"]);
        let mut command = command(program);
        Finished::of(command.args(["--generate-to", "/tmp"]), b"")
            .expect_code(2)
            .expect_stderr(&["--generate"]);
    }
}

fn bash_completes_visible_names_and_continues_after_a_comma() {
    let folder = completions("complete-bash");
    let complete = |words: &[&str]| {
        // The arguments that bash gives: the command, the word under the cursor and the previous word.
        let script = "source \"$1/loadgen.bash\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                      _loadgen \"$1\" \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash"]).arg(folder.path()).args(words);
        Finished::of(&mut bash, b"").expect_code(0).stdout.lines().map(str::to_owned).collect()
    };
    expect_completions(complete);
}

fn fish_completes_visible_names_and_continues_after_a_comma() {
    let folder = completions("complete-fish");
    let complete = |words: &[&str]| {
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", "source $argv[1]/loadgen.fish; complete -C $argv[2]"]);
        fish.arg(folder.path()).arg(words.join(" ")).env("HOME", folder.path());
        let finished = Finished::of(&mut fish, b"");
        let candidate = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        finished.expect_code(0).stdout.lines().map(candidate).collect()
    };
    expect_completions(complete);
}

fn zsh_can_read_its_completions() {
    let folder = completions("complete-zsh");
    for name in ["_loadgen", "_server"] {
        let path = folder.path().join(name);
        Finished::of(Command::new("zsh").args(["-f", "-n"]).arg(&path), b"").expect_code(0);
    }
    let script = fs::read_to_string(folder.path().join("_loadgen")).unwrap();
    assert!(script.contains(":MODES:_values -s , MODES thread-per-connection "), "{script}");
    assert!(!script.contains(":MODES:(("), "{script}");
}

fn no_completion_offers_a_hidden_name() {
    for program in [programs::server(), programs::loadgen()] {
        for what in ["complete-bash", "complete-zsh", "complete-fish"] {
            let script = generate(program, what, None).expect_code(0).stdout.clone();
            for hidden in ["guard", "stop-at-stdin-end", "loadgen__subcmd__server", "loadgen__server"] {
                assert!(!script.contains(hidden), "{what} has {hidden} in\n{script}");
            }
        }
    }
}

#[track_caller]
fn expect_completions(complete: impl Fn(&[&str]) -> Vec<String>) {
    let commands = complete(&["loadgen", ""]);
    for command in COMMANDS {
        assert!(commands.iter().any(|candidate| candidate == command), "{command} is missing: {commands:?}");
    }
    for hidden in ["server", "guard"] {
        assert!(!commands.iter().any(|candidate| candidate == hidden), "{hidden} is offered: {commands:?}");
    }
    for (list, expected) in [
        ("thread", &["thread-per-connection", "thread-pool"][..]),
        ("tokio-task,thread", &["tokio-task,thread-per-connection", "tokio-task,thread-pool"]),
        ("tokio-task,event-loop,io", &["tokio-task,event-loop,io-uring"]),
    ] {
        for flag in ["--modes", "-m"] {
            let mut candidates = complete(&["loadgen", "compare", flag, list]);
            candidates.sort_unstable();
            assert_eq!(candidates, expected, "{flag} {list}");
        }
    }
    // An argument of a single mode takes no list.
    assert_eq!(complete(&["loadgen", "run", "--mode", "io"]), ["io-uring"]);
}

/// The completions of both programs, in files.
#[track_caller]
fn completions(what: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    for program in [programs::server(), programs::loadgen()] {
        generate(program, what, Some(folder.path())).expect_code(0);
    }
    folder
}

#[track_caller]
fn generate(program: &Path, what: &str, directory: Option<&Path>) -> Finished {
    let mut command = command(program);
    command.args(["--generate", what]);
    if let Some(directory) = directory {
        command.arg("--generate-to").arg(directory);
    }
    Finished::of(&mut command, b"")
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    keep_environment_out(&mut command);
    command
}
