//! The command line: its help, its mistakes, and what is generated from it.

use std::fs;

use server::mode::MODES;

use crate::{
    behaviour::group,
    harness::{Finished, ServerCommand, programs, text::flags},
};

group! {
    once {
        mistakes_are_bad_usage_and_the_error_names_them,
        an_unknown_mode_is_answered_with_the_known_ones,
        the_help_names_every_mode_and_the_exit_codes,
        the_version_is_printed,
        man_page_and_completions_name_every_flag,
        the_demo_has_a_server_for_every_mode,
    }
}

fn mistakes_are_bad_usage_and_the_error_names_them() {
    for (args, said) in [
        ("--listen 8080", "no port"),
        ("--listen localhost:http", "'http' is not a port"),
        ("--listen localhost:65536", "'65536' is not a port"),
        ("--listen ::1:8080", "an IPv6 address needs brackets"),
        ("--listen [::g]:8080", "'::g' is not an IPv6 address"),
        ("--listen :8080", "no host"),
        ("--listen unix:", "no path"),
        ("--listen 127.0.0.1:7777 --listen 127.0.0.1:7777", "--listen 127.0.0.1:7777 is given twice"),
        ("--listen unix:/tmp/x --listen unix:/tmp/x", "--listen unix:/tmp/x is given twice"),
        ("--threads 0", "at least 1"),
        ("--threads many", "'many' is not a count"),
        ("--threads 1.5", "'1.5' is not a count"),
        ("--threads 1m", "too many"),
        ("--max-connections 0", "at least 1"),
        ("--max-connections -1", "-1"),
        ("--backlog 0", "0"),
        ("--when-full explode", "reject"),
        ("--idle-timeout 0s", "longer than zero"),
        ("--idle-timeout 10", "write a number and a unit"),
        ("--write-timeout 0ms", "longer than zero"),
        ("--write-timeout 10parsecs", "parsecs"),
        ("--drain-timeout soon", "soon"),
        ("--drain-timeout 400days", "366 days"),
        ("--work nap:1ms", "sleep:D"),
        ("--work sleep:0ms", "longer than zero"),
        ("--work cpu", "cpu:D"),
        ("--log-format yaml", "json"),
        ("--no-such-flag", "--no-such-flag"),
        ("stray", "stray"),
    ] {
        let failed = usage(args);
        failed.expect_code(2).expect_said(&[said]);
        assert_eq!(failed.stdout, "", "{args}");
    }
}

fn an_unknown_mode_is_answered_with_the_known_ones() {
    let failed = usage("--mode fibers");
    failed.expect_code(2).expect_said(&["fibers"]);
    for mode in MODES {
        failed.expect_said(&[mode.name]);
    }
}

fn the_help_names_every_mode_and_the_exit_codes() {
    let help = usage("--help").expect_code(0).stdout.clone();
    // It is wrapped to the terminal's width.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for mode in MODES {
        let line = format!("- {}: {}", mode.name, mode.summary);
        assert!(words(&help).contains(&words(&line)), "'{line}' is missing in\n{help}");
    }
    for part in
        ["Exit codes: 0", "Examples:", "[default: 127.0.0.1:8080]", "[default: 30s]", "[default: 10s]"]
    {
        assert!(help.contains(part), "'{part}' is missing in\n{help}");
    }
    assert!(usage("-h").expect_code(0).stdout.contains("--mode"));
}

fn the_version_is_printed() {
    let version = usage("--version").expect_code(0).stdout.clone();
    assert!(version.starts_with("server ") && version.contains('.'), "{version}");
}

fn man_page_and_completions_name_every_flag() {
    let flags = flags(&usage("--help").stdout);
    let page = usage("--generate man").expect_code(0).stdout.replace("\\-", "-");
    let scripts = ["complete-bash", "complete-zsh"]
        .map(|what| usage(&format!("--generate {what}")).expect_code(0).stdout.clone());
    for flag in flags {
        assert!(page.contains(&flag), "{flag} is not in the man page");
        for script in &scripts {
            assert!(script.contains(&flag), "{flag} is not completed");
        }
    }
    assert!(page.contains(".TH server"), "no man page: {page}");
    assert!(usage("--generate complete-fish").expect_code(0).stdout.contains("max-connections"));
    for mode in MODES {
        assert!(scripts[0].contains(mode.name), "{} is not completed", mode.name);
    }
}

fn the_demo_has_a_server_for_every_mode() {
    let path = programs::workspace().join("docker-compose.yml");
    let demo = fs::read_to_string(path).expect("the workspace has a demo");
    for mode in MODES {
        assert!(demo.contains(mode.name), "docker-compose.yml has no server in mode {}", mode.name);
    }
}

fn usage(args: &str) -> Finished {
    ServerCommand::bare().args(&args.split_whitespace().collect::<Vec<_>>()).fail()
}
