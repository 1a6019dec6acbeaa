//! The command line: its help, its usage errors, and the files generated from it.

use std::fs;

use server::mode::MODES;

use crate::{
    behaviour::group,
    harness::{Finished, load::Loadgen, text::flags},
};

group! {
    once {
        a_usage_error_names_the_mistake,
        a_command_that_needs_a_shell_is_refused,
        a_file_without_a_result_gives_a_plain_error,
        invalid_variables_of_the_started_server_are_usage_errors,
        the_help_names_every_mode_and_the_exit_codes,
        the_version_is_printed,
        man_page_and_completions_name_every_flag,
    }
}

fn a_usage_error_names_the_mistake() {
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
        ("run -r 0/min", "without --rate"),
        ("run -r many", "'many' is not a rate: write requests per second, as in 20k or 0.5"),
        ("run -r 5/m", "'/m' is not a unit of a rate: write /s, /min or /h"),
        ("run -r 0.5/h", "--rate 0.5/h"),
        ("run -r 1001m", "--rate 1,001,000,000/s is out of range: it must be from 1/h to 1,000,000,000/s"),
        ("run -d 1M", "'M' is not a unit of time: write a number and a unit (ns, us, ms, s, m"),
        ("run -d 0.3", "'0.3' has a number without a unit"),
        ("run [::1]", "no port: write [::1]:PORT"),
        ("run http://127.0.0.1:38269", "a URL is not an address: write 127.0.0.1:38269"),
        ("run localhost:+80", "'+80' is not a port"),
        ("run --rate 5 --think 1s", "--think"),
        ("run --arrival poisson", "--rate"),
        ("run -r 5 --arrival bursts", "bursts"),
        ("run -p 0", "at least 1"),
        ("run -p 1m", "--pipeline"),
        ("run -n 0", "at least 1"),
        ("run -s 0", "at least 1"),
        ("run -s 1000m", "--size"),
        ("run --expect lower", "lower"),
        ("run --size 5 --message @/dev/null", "--message"),
        ("run --message @/dev/null", "empty"),
        ("run --message @/nowhere/message", "/nowhere/message"),
        ("run --interval 1ms", "--interval"),
        ("run --format pdf", "json"),
        ("run --fail-on late", "suspect"),
        ("sweep --fail-on suspect", "--fail-on"),
        ("run --timeout 0s", "longer than zero"),
        ("run --start-at noon", "seconds since 1970"),
        ("run --start-at @1", "ago"),
        ("run --start-at 2126-11-24T12:00:00Z", "at most 24 hours"),
        ("run --start-at +20s", "+20s/10s"),
        ("run --start-at +20s/0s", "longer than zero"),
        ("run --part 0/2", "--part needs a TARGET"),
        ("run localhost:1 --part 2", "K/N"),
        ("run localhost:1 --part 2/2", "the numbers of 2 parts are 0 to 1"),
        ("run localhost:1 --part 0/0", "from 1 to 100000"),
        ("run localhost:1 --part auto/2", "neither JOB_COMPLETION_INDEX"),
        ("run localhost:1 --part auto", "SLURM_PROCID is not set"),
        ("run localhost:1 --part 0/2 -c 1", "--connections 1 is less than the 2 parts"),
        ("run localhost:1 --part 0/2 -n 1", "--requests 1 is less than the 2 parts"),
        ("run localhost:1 --part 0/2 --connect-rate 1", "--connect-rate 1 is less than the 2 parts"),
        ("run localhost:1 --part 0/2 -c 4 -t 3", "--threads 3 is more than the 2 clients of --part 0/2"),
        ("run localhost:1 --part 1/2 -c 3m", "--connections 3000000 is too large: the maximum is 2000000"),
        (
            "run localhost:1 --part 3/4 -c 5 -n 4 -r 10 -w 400ms",
            "none of the 4 requests belongs to a client of --part 3/4",
        ),
        ("compare --part 0/2", "--part"),
        ("sweep --part 0/2", "--part"),
        ("run --no-such-flag", "--no-such-flag"),
        ("run -d -5s", "'-5s' for '--duration <D>': it must be longer than zero"),
        ("run -w -5s", "it cannot be negative"),
        ("run -c -1", "'-1' for '--connections <N>': it must be at least 1"),
        ("run -r -0.5", "it must be more than zero"),
        ("run -d -q", "a value is missing: '-q' is a flag"),
        ("sweep --rates -5", "it must be at least 1"),
        ("sweep --factor two", "'two' is not a factor: write a number"),
        ("sweep --factor -2", "--factor -2"),
        ("show", "FILE"),
        ("merge --expect-parts 0", "it must be at least 1"),
        ("talk nowhere", "no port"),
        ("talk a:1 b:2", "b:2"),
    ] {
        let failed = usage(args);
        failed.expect_code(2).expect_stderr(&[said]);
        assert_eq!(failed.stdout, "", "{args}");
        // Without arguments, loadgen prints its help.
        assert!(args.is_empty() || failed.stderr.starts_with("error: "), "{args}: {failed}");
    }
}

fn a_command_that_needs_a_shell_is_refused() {
    for (command, said) in [
        ("c=X=1 serve {port}", "begins with X=1, but no shell is used: write env X=1 ..., or sh -c '...'"),
        ("c=serve {port} && true", "contains &&, but no shell is used: write sh -c '...'"),
        ("c=$HOME/serve {port}", "contains $HOME/serve, but no shell is used: write sh -c '...'"),
        ("c=serve {port} > log", "contains >, but no shell is used: write sh -c '...'"),
    ] {
        for verb in ["compare", "sweep"] {
            let failed = Loadgen::new(&[verb, "--server", command]).finish();
            failed.expect_code(2).expect_stderr(&["error: ", said]);
        }
    }
    // A builtin of the shell is not a program.
    let failed = Loadgen::new(&["compare", "--server", "c=nowhere {port}", "-d", "1s", "-q"]).finish();
    assert!(failed.expect_code(1).stdout.contains("need sh -c '...'"), "{failed}");
}

fn a_file_without_a_result_gives_a_plain_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    let file = path.to_str().expect("its name is ASCII");
    // merge reads a stream of results with foreign lines between them, so it says what no line is.
    let (broken, foreign) = (":1: the result cannot be used: ", " holds no result of loadgen: ");
    for (content, shown, prefix, merged) in [
        (&b""[..], "it is empty", foreign, "it is empty"),
        (b"{\"schema\": 1, \"verdict\": {", "it is incomplete", broken, "it is incomplete"),
        (b"verdict    valid\n", "it is not a JSON document", foreign, "its lines are not a result"),
        (b"\xff\xfe", "it is not a JSON document", foreign, "its lines are not a result"),
        (
            b"{\"name\": \"x\"}",
            "it is JSON, but not a result of loadgen",
            foreign,
            "its lines are not a result",
        ),
        (b"{\"schema\": 2}", "it has schema 2; this program reads schema 1", broken, "it has schema 2"),
        (b"{\"schema\": 1}", "it lacks the field 'verdict'", broken, "it lacks the field 'verdict'"),
    ] {
        fs::write(&path, content).unwrap();
        for (verb, prefix, said) in [("show", " cannot be used: ", shown), ("merge", prefix, merged)] {
            let failed = Loadgen::new(&[verb, file]).finish();
            failed.expect_code(1).expect_stderr(&[&format!("error: {file}{prefix}{said}")]);
            assert!(!failed.stderr.contains(" column "), "{failed}");
        }
    }
}

fn invalid_variables_of_the_started_server_are_usage_errors() {
    for (name, value) in [("SERVER_THREADS", "many"), ("SERVER_WORK", "hard"), ("SERVER_BACKLOG", "0")] {
        for command in ["run", "compare"] {
            let failed = Loadgen::new(&[command, "-c", "1", "-d", "100ms"]).env(name, value).finish();
            failed.expect_code(2).expect_stderr(&["SERVER_", value]);
            assert_eq!(failed.stdout, "", "{name}");
        }
    }
}

fn the_help_names_every_mode_and_the_exit_codes() {
    let help = usage("--help").expect_code(0).stdout.clone();
    for part in ["run", "compare", "show", "merge", "talk", "Exit status:\n  0 ", "Examples:", "130"] {
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
