//! Plays programs: many at once in one thread, each with a bound on every wait.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    client::{CALL_BYTES, Client},
    program::{Circumstance, Program},
    reference::Answer,
};

/// A wait never takes longer, so that a client's measure of its own silence is exact enough.
const WAIT_AT_MOST: Duration = Duration::from_millis(20);

/// A program that runs.
pub(super) struct Play<T> {
    /// What the caller knows it by.
    pub(super) tag: T,
    clients: Vec<Client>,
    begin: Instant,
    /// When the server's drain begins, and how.
    drain: Option<(Instant, Box<dyn FnOnce() + Send>)>,
}

/// What all clients of a program saw, and how long it took.
pub(super) struct Played<T> {
    pub(super) tag: T,
    pub(super) answers: Result<Vec<Answer>, String>,
    pub(super) took: Duration,
}

impl<T> Play<T> {
    /// Begins the program. `drain` begins the server's drain, if the program says so.
    pub(super) fn begin(
        program: &Program,
        tag: T,
        server: SocketAddr,
        drain: impl FnOnce() + Send + 'static,
    ) -> Self {
        let begin = Instant::now();
        let clients = program.clients.iter().enumerate();
        let clients = clients.map(|(number, script)| Client::new(script, server, number, begin)).collect();
        let drain: Option<(_, Box<dyn FnOnce() + Send>)> = match program.server {
            Circumstance::Drains { after_us, .. } => {
                Some((begin + Duration::from_micros(after_us.into()), Box::new(drain)))
            }
            _ => None,
        };
        Self { tag, clients, begin, drain }
    }

    /// Begins the drain if it is due.
    fn drain(&mut self, now: Instant) {
        if let Some((_, drain)) = self.drain.take_if(|(at, _)| *at <= now) {
            self.clients.iter_mut().filter(|client| client.outcome().is_none()).for_each(Client::note_drain);
            drain();
        }
    }

    fn has_ended(&self) -> bool {
        self.drain.is_none() && self.clients.iter().all(|client| client.outcome().is_some())
    }

    fn finish(self) -> Played<T> {
        let answer = |(number, client): (usize, &Client)| {
            let outcome = client.outcome().expect("every client has ended").clone();
            outcome.map_err(|error| format!("client {number}: {error}"))
        };
        Played {
            answers: self.clients.iter().enumerate().map(answer).collect(),
            took: self.begin.elapsed(),
            tag: self.tag,
        }
    }
}

/// Plays what `next` returns, at most so many at once, and gives each result to `done`. Ends when `next` returns nothing and
/// all has been played.
pub(super) fn play<T>(
    at_once: usize,
    patience: Duration,
    mut next: impl FnMut() -> Option<Play<T>>,
    mut done: impl FnMut(Played<T>),
) {
    let mut buffer = vec![0; CALL_BYTES];
    let mut plays: Vec<Play<T>> = Vec::new();
    loop {
        while plays.len() < at_once {
            match next() {
                Some(play) => plays.push(play),
                None => break,
            }
        }
        if plays.is_empty() {
            return;
        }
        let ready = wait(&plays);
        let now = Instant::now();
        let mut ready = ready.into_iter();
        for play in &mut plays {
            play.drain(now);
            for client in &mut play.clients {
                let Some(Ready { flags, asked, is_due }) =
                    ready.next().expect("there is one for each client")
                else {
                    continue;
                };
                if asked.contains(PollFlags::IN) && flags.is_empty() {
                    client.note_empty(now);
                }
                if is_due || !flags.is_empty() || !client.is_connected() {
                    client.go_on(now, patience, &mut buffer);
                }
            }
            play.drain(Instant::now());
        }
        for index in (0..plays.len()).rev() {
            if plays[index].has_ended() {
                done(plays.swap_remove(index).finish());
            }
        }
    }
}

struct Ready {
    flags: PollFlags,
    asked: PollFlags,
    is_due: bool,
}

/// Waits until a client can go on. `None` stands for a client that has ended.
fn wait<T>(plays: &[Play<T>]) -> Vec<Option<Ready>> {
    let clients = || plays.iter().flat_map(|play| &play.clients);
    let waits: Vec<_> = clients().map(Client::wait).collect();
    let mut descriptors = Vec::with_capacity(waits.len());
    for (client, wait) in clients().zip(&waits) {
        if let (Some(socket), Some(wait)) = (client.socket(), wait) {
            descriptors.push(PollFd::from_borrowed_fd(socket, wait.flags));
        }
    }
    let now = Instant::now();
    let moments = waits.iter().flatten().filter_map(|wait| wait.until);
    let moments = moments.chain(plays.iter().filter_map(|play| play.drain.as_ref().map(|(at, _)| *at)));
    let timeout =
        moments.min().map_or(WAIT_AT_MOST, |at| at.saturating_duration_since(now).min(WAIT_AT_MOST));
    let timeout = Timespec::try_from(timeout).expect("it is short");
    // An interrupted wait finds nothing ready, and is repeated.
    _ = poll(&mut descriptors, Some(&timeout));
    let now = Instant::now();
    let mut polled = descriptors.iter();
    clients()
        .zip(waits)
        .map(|(client, wait)| {
            let wait = wait?;
            let flags = match client.is_connected() {
                true => polled.next().expect("each open socket is polled").revents(),
                false => PollFlags::empty(),
            };
            // A client that waits for nothing but an event has a turn all the same, which ends it if it is stuck.
            let is_due = wait.until.is_some_and(|at| at <= now) || client.is_overdue(now);
            Some(Ready { flags, asked: wait.flags, is_due })
        })
        .collect()
}
