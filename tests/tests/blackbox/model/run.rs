//! Runs programs against a real server, and checks each answer and the server's end.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};
use server::mode::Mode;

use super::{
    drive::{Play, Played, play},
    kind::Kind,
    program::{Circumstance, GracePeriod, Header, HeaderKind, Program},
    reference::{self, Answer, Drain, End, Service},
};
use crate::harness::{Client, Server, ServerCommand, process::pid, text::field};

/// The threads of clients of a server.
const CLIENT_THREADS: usize = 2;
/// The programs that run at once in each of them.
const PROGRAMS_AT_ONCE: usize = 32;
/// The servers of programs that need their own.
const SERVERS_AT_ONCE: usize = 4;
/// The most clients of a program that shares its server.
const CLIENTS_MAX: usize = 3;

/// A grace period that no program outlasts, and half of the drain timeout.
const LONG_GRACE: Duration = Duration::from_secs(5);

/// How long the places of clients that have ended may stay taken.
const PLACES_FREE_WITHIN: Duration = Duration::from_secs(5);

/// A program that failed, by its number, and what the model did not allow.
pub(super) type Failure = (Option<usize>, String);

/// What the clients of a server saw in sum.
#[derive(Default)]
struct Sums {
    connected: u64,
    echoed: u64,
    /// Connections that ended with a reset or with a close by the client.
    broken: u64,
}

/// Runs `count` programs at once, each of which is `program(number)`. Returns the first that failed.
pub(super) fn run(
    mode: &'static Mode,
    kind: &Kind,
    count: usize,
    patience: Duration,
    program: &(dyn Fn(usize) -> Program + Sync),
    progress: &(dyn Fn(usize) + Sync),
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let next = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count);
    let failure: Mutex<Option<Failure>> = Mutex::default();
    let fail = |number, error| {
        lock(&failure).get_or_insert((number, error));
    };
    let has_failed = || lock(&failure).is_some();
    if count > 0 && program(0).needs_its_own_server() {
        thread::scope(|scope| {
            for _ in 0..SERVERS_AT_ONCE.min(count) {
                scope.spawn(|| {
                    while let Some(number) = next().filter(|_| !has_failed()) {
                        if let Err(error) = run_alone(mode, kind, &program(number), patience) {
                            fail(Some(number), error);
                        }
                        progress(number + 1);
                    }
                });
            }
        });
        return failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err);
    }
    let places = CLIENTS_MAX * count.min(CLIENT_THREADS * PROGRAMS_AT_ONCE);
    let server = start(mode, kind, Circumstance::Serves, places);
    let address = address(&server);
    let sums = Mutex::new(Sums::default());
    thread::scope(|scope| {
        for _ in 0..CLIENT_THREADS.min(count) {
            scope.spawn(|| {
                let begin = || {
                    let number = next().filter(|_| !has_failed())?;
                    let program = program(number);
                    Some(Play::begin(&program, (number, program.clone()), address, || ()))
                };
                play(PROGRAMS_AT_ONCE, patience, begin, |played| {
                    let (number, program) = (played.tag.0, played.tag.1.clone());
                    if let Err(error) = check(kind, &program, &played) {
                        fail(Some(number), error);
                    }
                    lock(&sums).add(played.answers.as_deref().unwrap_or_default());
                    progress(number + 1);
                });
            });
        }
    });
    if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    end(server, kind, Circumstance::Serves, places, &sums).map_err(|error| (None, error))
}

/// Runs one program against a server of its own.
fn run_alone(mode: &'static Mode, kind: &Kind, program: &Program, patience: Duration) -> Result<(), String> {
    let server = start(mode, kind, program.server, 0);
    let process = pid(server.id());
    let drain = move || kill_process(process, Signal::TERM).expect("it has not been waited for");
    let mut next = Some(Play::begin(program, (), address(&server), drain));
    let mut played = None;
    play(1, patience, || next.take(), |all| played = Some(all));
    let played = played.expect("the program was played");
    check(kind, program, &played)?;
    let mut sums = Sums::default();
    sums.add(played.answers.as_deref().unwrap_or_default());
    end(server, kind, program.server, 0, &sums)
}

/// What the clients of a program that shares its server saw in each of these servers.
pub(super) fn answers(
    servers: &[Server],
    count: usize,
    patience: Duration,
    program: &dyn Fn(usize) -> Program,
) -> Vec<Vec<Result<Vec<Answer>, String>>> {
    let mut answers = vec![vec![Err("not played".to_owned()); servers.len()]; count];
    let mut tags = (0..count).flat_map(|number| (0..servers.len()).map(move |server| (number, server)));
    let begin = || {
        let (number, server) = tags.next()?;
        Some(Play::begin(&program(number), (number, server), address(&servers[server]), || ()))
    };
    play(PROGRAMS_AT_ONCE, patience, begin, |played| {
        let (number, server) = played.tag;
        answers[number][server] = played.answers;
    });
    answers
}

/// Checks the answers of a program against the model.
fn check<T>(kind: &Kind, program: &Program, played: &Played<T>) -> Result<(), String> {
    let answers = played.answers.as_ref().map_err(Clone::clone)?;
    let service = service(kind, program, played.took);
    for (number, (script, answer)) in program.clients.iter().zip(answers).enumerate() {
        reference::check(script, &service, answer).map_err(|error| format!("client {number}: {error}"))?;
    }
    Ok(())
}

/// What the model must know of the server of a program that took so long.
pub(super) fn service(kind: &Kind, program: &Program, took: Duration) -> Service {
    let (idle_timeout, write_timeout) = (kind.idle_timeout, kind.write_timeout);
    let mut service = Service { idle_timeout, write_timeout, may_reject: false, drain: None };
    match program.server {
        Circumstance::IsFull { places, rejects } => {
            service.may_reject = rejects && program.clients.len() > usize::from(places);
        }
        Circumstance::Drains { grace, .. } => {
            let has_long_grace = grace == GracePeriod::Long && took < LONG_GRACE;
            service.drain = Some(Drain { has_long_grace });
        }
        Circumstance::Serves | Circumstance::RunsOutOfDescriptors { .. } => {}
    }
    service
}

fn start(mode: &'static Mode, kind: &Kind, circumstance: Circumstance, places: usize) -> Server {
    let command = ServerCommand::new(mode).args(&["--threads", "2"]).args(kind.flags);
    match circumstance {
        Circumstance::Serves => command.args(&["--max-connections", &places.to_string()]),
        Circumstance::Drains { grace, .. } => command.args(&[
            "--drain-grace",
            &match grace {
                GracePeriod::Ms(ms) => format!("{ms}ms"),
                GracePeriod::Long => common::units::format_duration(LONG_GRACE).to_string(),
            },
        ]),
        Circumstance::IsFull { places, rejects } => {
            let when_full = if rejects { "reject" } else { "wait" };
            command.args(&["--max-connections", &places.to_string(), "--when-full", when_full])
        }
        Circumstance::RunsOutOfDescriptors { descriptors } => {
            command.with_open_files(descriptors.into(), descriptors.into())
        }
    }
    .start()
}

/// Ends the server, and checks that each place is free again and that its counters agree with what its clients saw.
fn end(
    server: Server,
    kind: &Kind,
    circumstance: Circumstance,
    places: usize,
    sums: &Sums,
) -> Result<(), String> {
    let mut extra = 0;
    let places = match circumstance {
        Circumstance::Serves => places,
        Circumstance::IsFull { places, .. } => places.into(),
        _ => 0,
    };
    // With an idle timeout, the server frees places in the meantime.
    if places > 0 && kind.idle_timeout.is_none() {
        extra = expect_free_places(&server, kind, places)?;
    }
    if !matches!(circumstance, Circumstance::Drains { .. }) {
        server.terminate();
    }
    let finished = server.wait_for_exit().finished;
    if finished.code != Some(0) {
        return Err(format!("the server's exit code is {:?}:\n{}", finished.code, finished.stderr));
    }
    let last = finished.stderr.lines().last().unwrap_or_default();
    let count = |name| -> u64 { field(last, name).parse().expect("the server counts in numbers") };
    let mut mistakes = Vec::new();
    let mut expect = |what: &str, holds: bool| {
        if !holds {
            mistakes.push(what.to_owned());
        }
    };
    // The clients that looked for free places did not read their replies.
    expect(
        "it failed to serve a connection",
        count("failed") <= sums.broken + extra && count("cut_off") == 0,
    );
    expect("it sent less than its clients received", count("bytes_sent") >= sums.echoed);
    expect("it sent more than it received", count("bytes_sent") <= count("bytes_received"));
    if kind.idle_timeout.is_none() {
        expect("it closed an idle connection", count("idle_timeouts") == 0);
    }
    if kind.name != "slow" {
        expect("it closed a slow connection", count("write_timeouts") == 0);
    }
    let turns_away =
        kind.name == "proxied" || matches!(circumstance, Circumstance::IsFull { rejects: true, .. });
    if !turns_away {
        expect("it turned a client away", count("turned_away") == 0);
    }
    if !turns_away && !matches!(circumstance, Circumstance::Drains { .. }) {
        // A connection that is reset in the accept queue may or may not be counted.
        let most = sums.connected + extra;
        expect("it has counted more connections than there were", count("connections") <= most);
    }
    if mistakes.is_empty() { Ok(()) } else { Err(format!("{}: {last}", mistakes.join(", "))) }
}

/// Expects that as many clients as there are places are served at once. Returns how many clients tried.
fn expect_free_places(server: &Server, kind: &Kind, places: usize) -> Result<u64, String> {
    let deadline = Instant::now() + PLACES_FREE_WITHIN;
    let mut request = match kind.name {
        "proxied" => Header { kind: HeaderKind::Version2, pieces: Vec::new() }.bytes(),
        _ => Vec::new(),
    };
    request.push(b'?');
    let mut tried = 0;
    // A server that rejects clients may not have seen the end of the last ones.
    loop {
        let clients: Result<Vec<_>, _> = (0..places).map(|_| Client::try_connect(server.address())).collect();
        let clients = clients.map_err(|error| format!("cannot connect: {error}"))?;
        tried += places as u64;
        // A rejected connection fails here or below.
        let is_sent = clients.iter().all(|client| client.try_send(&request).is_ok());
        while is_sent && Instant::now() < deadline && !clients.iter().all(Client::has_unread_bytes) {
            thread::sleep(Duration::from_millis(1));
        }
        if is_sent && clients.iter().all(Client::has_reply) {
            return Ok(tried);
        }
        if Instant::now() >= deadline {
            let served = clients.iter().filter(|client| client.has_reply()).count();
            return Err(format!("only {served} of {places} places are free after all clients have ended"));
        }
    }
}

fn address(server: &Server) -> SocketAddr {
    server.address().resolve().expect("it is an IP address")[0]
}

impl Sums {
    fn add(&mut self, answers: &[Answer]) {
        self.connected += answers.iter().filter(|answer| answer.end != End::Refused).count() as u64;
        self.echoed += answers.iter().map(|answer| answer.echoed).sum::<u64>();
        self.broken += answers.iter().filter(|answer| answer.end != End::Eof).count() as u64;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
