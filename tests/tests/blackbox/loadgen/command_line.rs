//! The command line: its help, its mistakes, and what is generated from it.

use server::mode::MODES;

use crate::{
    behaviour::group,
    harness::{Finished, load::Loadgen, text::flags},
};

group! {
    once {
        mistakes_are_bad_usage_and_the_error_names_them,
        variables_of_its_own_server_that_make_no_sense_are_bad_usage,
        the_help_names_every_mode_and_the_exit_codes,
        the_version_is_printed,
        man_page_and_completions_name_every_flag,
    }
}

fn mistakes_are_bad_usage_and_the_error_names_them() {
    for (args, said) in [
        ("", "Usage"),
        ("walk", "walk"),
        ("run nowhere", "no port"),
        ("run localhost:http", "'http' is not a port"),
        ("run --mode fibers", "tokio-task"),
        ("run 127.0.0.1:1 --mode thread-pool", "--mode"),
        ("run 127.0.0.1:1 --work sleep:1ms", "--work"),
        ("run 127.0.0.1:1 --server-threads 2", "--server-threads"),
        ("run -c 0", "at least 1"),
        ("run -c 2m", "--connections 2000000"),
        ("run -c many", "'many' is not a count"),
        ("run -c 2 -t 3", "--threads 3"),
        ("run -d 0s", "longer than zero"),
        ("run -d 10", "write a number and a unit"),
        ("run -r 0", "without --rate"),
        ("run localhost:0", "port 0"),
        ("run --server-threads 5k", "--threads 5000 is too many"),
        ("compare --server-threads 5k", "--threads 5000 is too many"),
        ("run -r 1.5", "'1.5' is not a count"),
        ("run --rate 5 --think 1s", "--think"),
        ("run --arrival poisson", "--rate"),
        ("run -r 5 --arrival bursts", "bursts"),
        ("run -p 0", "at least 1"),
        ("run -p 1m", "--pipeline"),
        ("run -n 0", "at least 1"),
        ("run -s 0", "at least 1"),
        ("run -s 1000m", "--size"),
        ("run --expect lower", "lower"),
        ("run --size 5 --message /dev/null", "--message"),
        ("run --message /dev/null", "empty"),
        ("run --message /nowhere/message", "/nowhere/message"),
        ("run --interval 1ms", "--interval"),
        ("run --format pdf", "json"),
        ("run --timeout 0s", "longer than zero"),
        ("run --start-at noon", "seconds since 1970"),
        ("run --start-at @1", "ago"),
        ("run --start-at 2126-11-24T12:00:00Z", "24 hours at most"),
        ("run --no-such-flag", "--no-such-flag"),
        ("show", "FILE"),
        ("merge", "FILE"),
        ("talk nowhere", "no port"),
        ("talk a:1 b:2", "b:2"),
    ] {
        let failed = usage(args);
        failed.expect_code(2).expect_said(&[said]);
        assert_eq!(failed.stdout, "", "{args}");
    }
}

fn variables_of_its_own_server_that_make_no_sense_are_bad_usage() {
    for (name, value) in [("SERVER_THREADS", "many"), ("SERVER_WORK", "hard"), ("SERVER_BACKLOG", "0")] {
        for command in ["run", "compare"] {
            let failed = Loadgen::new(&[command, "-c", "1", "-d", "100ms"]).env(name, value).finish();
            failed.expect_code(2).expect_said(&["SERVER_", value]);
            assert_eq!(failed.stdout, "", "{name}");
        }
    }
}

fn the_help_names_every_mode_and_the_exit_codes() {
    let help = usage("--help").expect_code(0).stdout.clone();
    for part in ["run", "compare", "show", "merge", "talk", "Exit status: 0", "Examples:", "130"] {
        assert!(help.contains(part), "'{part}' is missing in\n{help}");
    }
    let help = usage("run --help").expect_code(0).stdout.clone();
    for mode in MODES {
        assert!(help.contains(mode.name), "{} is missing in\n{help}", mode.name);
    }
    for part in ["[default: 500]", "[default: 64]", "[default: 1s]", "closed loop", "open loop"] {
        assert!(help.contains(part), "'{part}' is missing in\n{help}");
    }
    assert!(!usage("--help").stdout.contains("stop-at-stdin-end"));
}

fn the_version_is_printed() {
    let version = usage("--version").expect_code(0).stdout.clone();
    assert!(version.starts_with("loadgen ") && version.contains('.'), "{version}");
}

fn man_page_and_completions_name_every_flag() {
    let page = usage("--generate man").expect_code(0).stdout.replace("\\-", "-");
    let scripts = ["complete-bash", "complete-zsh"]
        .map(|what| usage(&format!("--generate {what}")).expect_code(0).stdout.clone());
    let helps = ["run --help", "compare --help"].map(|args| flags(&usage(args).stdout));
    for flag in helps.concat() {
        assert!(page.contains(&flag), "{flag} is not in the man page");
        for script in &scripts {
            assert!(script.contains(&flag), "{flag} is not completed");
        }
    }
    assert!(usage("--generate complete-fish").expect_code(0).stdout.contains("requests-per-connection"));
}

fn usage(args: &str) -> Finished {
    Loadgen::new(&args.split_whitespace().collect::<Vec<_>>()).finish()
}
