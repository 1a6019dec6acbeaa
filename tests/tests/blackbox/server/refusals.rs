//! The kernel refuses the mechanism that a mode waits with. The server ends with an error that says what to do, and does not
//! print an address.

use std::fs;

use rustix::io::Errno;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Finished, Server, ServerCommand,
        machine::{filters, kernel_settings, refusing},
    },
};

group! {
    in every mode {
        without_an_event_descriptor_it_ends_with_an_error needs filters,
        without_epoll_a_mode_that_needs_it_ends_with_an_error needs filters,
    }
    once {
        a_filter_that_denies_io_uring_is_an_error_that_says_what_to_do needs io_uring_and_filters,
        a_setting_that_switches_io_uring_off_is_an_error_that_names_it needs io_uring_and_settings,
    }
}

const IO_URING_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

fn without_an_event_descriptor_it_ends_with_an_error(mode: &'static Mode) {
    let failed = refusing(libc::SYS_eventfd2, Errno::PERM, || command(mode).fail());
    expect_error_and_no_panic(&failed);
    failed.expect_stderr(&["event"]);
    assert_eq!(failed.stdout, "");
}

fn without_epoll_a_mode_that_needs_it_ends_with_an_error(mode: &'static Mode) {
    for errno in [Errno::PERM, Errno::NOSYS, Errno::MFILE] {
        if matches!(mode.name, "thread-per-connection" | "io-uring") {
            let server = refusing(libc::SYS_epoll_create1, errno, || Server::start(mode, &[]));
            server.expect_service();
            server.stop();
        } else {
            let failed = refusing(libc::SYS_epoll_create1, errno, || command(mode).fail());
            expect_error_and_no_panic(&failed);
            failed.expect_stderr(&[mode.name]);
        }
    }
}

/// The default seccomp profile of container engines is such a filter.
fn a_filter_that_denies_io_uring_is_an_error_that_says_what_to_do() {
    for errno in [Errno::PERM, Errno::NOSYS] {
        let failed = refusing(libc::SYS_io_uring_setup, errno, || command(io_uring()).fail());
        expect_refusal(&failed);
        failed.expect_stderr(&["seccomp", "--mode event-loop"]);
    }
}

/// The kernel returns the same error as with a filter. Only the setting shows which of them is the cause.
fn a_setting_that_switches_io_uring_off_is_an_error_that_names_it() {
    let failed = refusing(libc::SYS_io_uring_setup, Errno::PERM, || {
        command(io_uring()).with_kernel_setting(IO_URING_DISABLED, "2").fail()
    });
    expect_refusal(&failed);
    failed.expect_stderr(&["kernel.io_uring_disabled", "--mode event-loop"]);
}

fn command(mode: &Mode) -> ServerCommand {
    ServerCommand::new(mode).listen("127.0.0.1:0")
}

/// Expects that the server has ended with one error line, and has not printed an address.
#[track_caller]
fn expect_refusal(failed: &Finished) {
    expect_error_and_no_panic(failed);
    assert_eq!(failed.stdout, "");
    assert_eq!(failed.stderr.lines().count(), 1, "{failed}");
}

#[track_caller]
fn expect_error_and_no_panic(failed: &Finished) {
    failed.expect_code(1).expect_stderr(&["ERROR"]);
    assert!(!failed.stderr.contains("panicked"), "{failed}");
}

fn io_uring() -> &'static Mode {
    Mode::by_name("io-uring").expect("the test needs it")
}

fn io_uring_and_filters() -> Result<(), String> {
    Mode::by_name("io-uring").ok_or("this server has no mode io-uring")?;
    filters()
}

fn io_uring_and_settings() -> Result<(), String> {
    io_uring_and_filters()?;
    fs::metadata(IO_URING_DISABLED).map_err(|error| format!("{IO_URING_DISABLED}: {error}"))?;
    kernel_settings()
}
