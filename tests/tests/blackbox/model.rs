//! The server against a reference model of a connection.
//!
//! Random programs (`program`) say what the clients of a server do, and what happens to the server meanwhile. Clients on real
//! sockets follow them (`client`, `drive`). The model (`reference`, `stream`) says which answers are allowed. A program with
//! another answer is shrunk (`search`) and kept (`kept`).
//!
//! `MODEL_PROGRAMS` is the number of programs for each mode, and `MODEL_SEED` makes the same programs again.

use server::mode::{MODES, Mode};

use crate::{
    behaviour::{Group, group},
    harness::{Server, machine::every_mode, wait::PATIENCE},
};

mod client;
mod drive;
mod kept;
mod kind;
mod program;
mod reference;
mod run;
mod search;
mod stream;
mod table;

use program::Script;
use reference::{Answer, End};
use search::{Settings, search};

pub(crate) fn groups() -> Vec<Group> {
    vec![table::group(), group()]
}

group! {
    in every mode {
        clients_are_served,
        clients_are_served_with_simulated_work,
        clients_behind_a_proxy_are_served,
        idle_clients_are_closed,
        clients_that_do_not_read_are_closed,
        clients_of_a_draining_server_get_what_it_has_acknowledged,
        clients_of_a_full_server_wait_or_are_rejected,
        clients_are_served_although_descriptors_run_out,
    }
    once {
        all_modes_give_the_same_answers needs every_mode,
    }
}

fn clients_are_served(mode: &'static Mode) {
    search(mode, &kind::SERVED);
}

fn clients_are_served_with_simulated_work(mode: &'static Mode) {
    search(mode, &kind::WORKED_FOR);
}

fn clients_behind_a_proxy_are_served(mode: &'static Mode) {
    search(mode, &kind::PROXIED);
}

fn idle_clients_are_closed(mode: &'static Mode) {
    search(mode, &kind::IDLE);
}

fn clients_that_do_not_read_are_closed(mode: &'static Mode) {
    search(mode, &kind::SLOW);
}

fn clients_of_a_draining_server_get_what_it_has_acknowledged(mode: &'static Mode) {
    search(mode, &kind::DRAINED);
}

fn clients_of_a_full_server_wait_or_are_rejected(mode: &'static Mode) {
    search(mode, &kind::CROWDED);
}

fn clients_are_served_although_descriptors_run_out(mode: &'static Mode) {
    search(mode, &kind::WITHOUT_DESCRIPTORS);
}

fn all_modes_give_the_same_answers() {
    let settings = Settings::get();
    let count = settings.programs / 10;
    let servers: Vec<_> = MODES.iter().map(|mode| Server::start(mode, &["--threads", "2"])).collect();
    let program = search::programs(&kind::SERVED, settings.seed);
    let answers = run::answers(&servers, count, PATIENCE, &program);
    for (number, answers) in answers.into_iter().enumerate() {
        let scripts = program(number).clients;
        let seen = answers.into_iter().map(|answers| {
            Ok(scripts.iter().zip(&answers?).map(|(script, answer)| seen(script, answer)).collect::<Vec<_>>())
        });
        let seen: Vec<Result<_, String>> = seen.collect();
        for (mode, seen_in_mode) in MODES.iter().zip(&seen) {
            let (first, seed) = (MODES[0].name, settings.seed);
            let program = program(number);
            assert_eq!(
                *seen_in_mode, seen[0],
                "the modes {} and {first} (right) differ; seed {seed}, program {number}:\n{program}",
                mode.name
            );
        }
    }
}

/// What must be the same in all modes.
fn seen(script: &Script, answer: &Answer) -> (u64, Option<(End, u64)>) {
    // What a client has received before it closes depends on the moment.
    let rest = (!script.ending.is_by_client()).then_some((answer.end, answer.echoed));
    (answer.sent, rest)
}
