//! Every flag has an environment variable, and a flag overrides its variable.

use server::mode::{MODES, Mode};

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        text::{field, flags},
    },
};

group! {
    in every mode {
        the_mode_comes_from_the_environment,
        a_flag_wins_over_the_environment,
    }
    once {
        every_flag_has_its_variable,
        the_values_of_the_variables_are_applied,
        an_invalid_value_is_a_usage_error,
    }
}

fn the_mode_comes_from_the_environment(mode: &'static Mode) {
    let server = ServerCommand::bare().env("SERVER_MODE", mode.name).start();
    assert_eq!(field(&server.log().wait_for("started"), "mode").trim_matches('"'), mode.name);
    server.expect_service();
}

fn a_flag_wins_over_the_environment(mode: &'static Mode) {
    let other = MODES.iter().find(|other| other.name != mode.name).expect("there are several modes");
    let server = ServerCommand::new(mode)
        .env("SERVER_MODE", other.name)
        .env("SERVER_LISTEN", "192.0.2.1:1")
        .env("SERVER_WORK", "sleep:1h")
        .args(&["--work", "none"])
        .start();
    assert_eq!(field(&server.log().wait_for("started"), "mode").trim_matches('"'), mode.name);
    server.expect_service();
}

fn every_flag_has_its_variable() {
    let help = ServerCommand::bare().args(&["--help"]).fail().expect_code(0).stdout.clone();
    let print_and_end = ["--help", "--version", "--generate", "--generate-to"];
    for flag in flags(&help).iter().filter(|flag| !print_and_end.contains(&flag.as_str())) {
        let variable = format!("SERVER_{}", flag[2..].replace('-', "_").to_uppercase());
        assert!(help.contains(&format!("[env: {variable}")), "{flag} has no {variable}");
    }
}

fn the_values_of_the_variables_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = ServerCommand::bare()
        .env("SERVER_LISTEN", format!("127.0.0.1:0,{socket}"))
        .env("SERVER_THREADS", "3")
        .env("SERVER_MAX_CONNECTIONS", "1.5k")
        .env("SERVER_WHEN_FULL", "reject")
        .env("SERVER_ALLOW", "127.0.0.0/8,::1")
        .env("SERVER_DENY", "127.0.0.2")
        .env("SERVER_MAX_CONNECTIONS_PER_IP", "1k")
        .env("SERVER_IDLE_TIMEOUT", "90s")
        .env("SERVER_WRITE_TIMEOUT", "7s")
        .env("SERVER_DRAIN_TIMEOUT", "8s")
        .env("SERVER_WORK", "sleep:5us")
        .env("SERVER_BACKLOG", "64")
        .env("SERVER_REUSE_PORT", "true")
        .env("SERVER_LOG_FORMAT", "json")
        .expect_listeners(2)
        .start();
    assert_eq!(server.addresses()[1].to_string(), socket);
    let line = server.log().wait_for("started");
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(started["threads"], "3");
    assert_eq!(started["max_connections"], 1500);
    assert_eq!(started["when_full"], "reject");
    assert_eq!(started["allow"], "127.0.0.0/8 ::1/128");
    assert_eq!(started["deny"], "127.0.0.2/32");
    assert_eq!(started["max_connections_per_ip"], 1000);
    assert_eq!(started["idle_timeout"], "1m 30s");
    assert_eq!(started["write_timeout"], "7s");
    assert_eq!(started["drain_timeout"], "8s");
    assert_eq!(started["work"], "sleep:5us");
    // The second server on the same port starts only if both have the option.
    ServerCommand::bare().args(&["--reuse-port"]).listen(server.address()).start().expect_service();
}

fn an_invalid_value_is_a_usage_error() {
    for (variable, value) in [
        ("SERVER_MODE", "fibers"),
        ("SERVER_LISTEN", "nowhere"),
        ("SERVER_THREADS", "0"),
        ("SERVER_IDLE_TIMEOUT", "soon"),
        ("SERVER_WORK", "hard"),
        ("RUST_LOG", "server=shout"),
    ] {
        ServerCommand::bare().env(variable, value).fail().expect_code(2).expect_stderr(&[value]);
    }
}
