//! The command line: its help, its usage errors, and the files generated from it.

use std::fs;

use server::mode::MODES;

use crate::{
    behaviour::group,
    harness::{Finished, ServerCommand, programs, text::flags},
};

group! {
    once {
        a_usage_error_names_the_mistake,
        the_error_for_an_unknown_mode_lists_the_known_ones,
        the_help_names_every_mode_and_the_exit_codes,
        the_version_is_printed,
        man_page_and_completions_name_every_flag,
        the_demo_has_a_server_for_every_mode,
    }
}

fn a_usage_error_names_the_mistake() {
    for (args, said) in [
        ("--listen 8080", "no host: write 127.0.0.1:8080"),
        ("--listen localhost:http", "'http' is not a port"),
        ("--listen localhost:65536", "'65536' is not a port"),
        ("--listen localhost:+80", "'+80' is not a port"),
        ("--listen ::1:8080", "an IPv6 address needs brackets: write [::1]:8080"),
        ("--listen [::1]", "no port: write [::1]:PORT"),
        ("--listen [fe80::1]:80", "write [fe80::1%INTERFACE]:PORT"),
        ("--listen http://127.0.0.1:38269", "a URL is not an address: write 127.0.0.1:38269"),
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
        ("--max-connections-per-ip 0", "at least 1"),
        (
            "--allow localhost",
            "'localhost' is not a network: write an address and a prefix length, as in 10.0.0.0/8",
        ),
        ("--allow 10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("--deny 192.168.1.10/24", "write 192.168.1.0/24, or 192.168.1.10 for one address"),
        ("--max-connections -1", "-1"),
        ("--backlog 0", "0"),
        ("--when-full explode", "reject"),
        ("--idle-timeout -5s", "it must be longer than zero"),
        ("--drain-timeout -5s", "it cannot be negative"),
        ("--idle-timeout 0s", "longer than zero"),
        ("--idle-timeout 10", "write a number and a unit"),
        (
            "--idle-timeout 0.3",
            "'0.3' has a number without a unit: write a number and a unit (ns, us, ms, s, m",
        ),
        ("--idle-timeout 1M", "'M' is not a unit of time: write a number and a unit (ns, us, ms, s, m"),
        ("--write-timeout 0ms", "longer than zero"),
        ("--write-timeout 10parsecs", "parsecs"),
        ("--drain-timeout soon", "soon"),
        ("--drain-timeout 400d", "366 days"),
        ("--drain-timeout 1month", "'month' is not a unit of time"),
        ("--work nap:1ms", "sleep:D"),
        ("--work sleep:0ms", "longer than zero"),
        ("--work cpu", "cpu:D"),
        ("--log-format yaml", "json"),
        ("--no-such-flag", "--no-such-flag"),
        ("stray", "stray"),
    ] {
        let failed = usage(args);
        failed.expect_code(2).expect_stderr(&[said]);
        assert_eq!(failed.stdout, "", "{args}");
        assert!(failed.stderr.starts_with("error: "), "{args}: {failed}");
    }
}

fn the_error_for_an_unknown_mode_lists_the_known_ones() {
    let failed = usage("--mode fibers");
    failed.expect_code(2).expect_stderr(&["fibers"]);
    for mode in MODES {
        failed.expect_stderr(&[mode.name]);
    }
}

fn the_help_names_every_mode_and_the_exit_codes() {
    let help = usage("--help").expect_code(0).stdout.clone();
    // The help is wrapped to the terminal's width.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for mode in MODES {
        let line = format!("- {}: {}", mode.name, mode.summary);
        assert!(words(&help).contains(&words(&line)), "'{line}' is missing in\n{help}");
    }
    for part in ["Exit status:\n  0 ", "Examples:", "127.0.0.1:8080", "[default: 30s]", "[default: 10s]"] {
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
    // Only the load generator prints, so that nothing follows its table. The image is not pulled from a registry.
    for line in ["  attach: false\n", "    pull_policy: build\n", "  pull_policy: never\n"] {
        assert!(demo.contains(line), "docker-compose.yml has no line '{}'", line.trim());
    }
}

fn usage(args: &str) -> Finished {
    ServerCommand::bare().args(&args.split_whitespace().collect::<Vec<_>>()).fail()
}
