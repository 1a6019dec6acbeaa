//! Whether a server that was started answers as it should. Only then it is loaded.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use common::units::format_duration;

use crate::{
    error::{Problem, StartError},
    interruption::Interruption,
    message::{Expect, Messages},
    plan::Plan,
    server_process::{START_TIMEOUT, ServerProcess},
};

/// Between two attempts to reach it.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a wait may be deaf to a signal and to the server's end.
const SLICE: Duration = Duration::from_millis(100);

/// Waits until a server answers one request of the plan as it should.
///
/// # Errors
/// [`StartError`] when it does not; [`RunError`](crate::error::RunError) when a signal came.
pub fn await_answer(
    server: &mut ServerProcess,
    plan: &Plan,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let address = server.address().resolve().ok().and_then(|all| all.first().copied());
    let address = address.context("the server listens at no IP address")?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        interruption.check()?;
        let answer = ask(address, plan, &|| interruption.signal().is_some() || server.has_ended());
        interruption.check()?;
        // Who answers on its port when it has ended is another.
        if let Some(status) = server.ended() {
            let advice = match status.success() {
                true => "; a server that goes to the background must be told to stay in the foreground",
                false => "",
            };
            let reason = format!("it ended before it answered ({status}){advice}");
            return Err(failed(Problem::NotStarted, reason, server));
        }
        let (problem, reason) = match answer {
            Answer::Right => return Ok(()),
            Answer::Wrong(reason) => (Problem::Protocol, reason),
            Answer::NotYet(_) if Instant::now() < deadline => {
                thread::sleep(PAUSE);
                continue;
            }
            Answer::NotYet(NotYet::Closed(reason)) => (Problem::Protocol, reason),
            Answer::NotYet(NotYet::Unreachable(reason)) => {
                let waited = format_duration(START_TIMEOUT);
                let reason = format!("nobody answers on {address} after {waited} ({reason})");
                (Problem::NotStarted, reason)
            }
        };
        return Err(failed(problem, reason, server));
    }
}

/// How one exchange with the server went.
enum Answer {
    Right,
    /// It will not get better.
    Wrong(String),
    /// It may be there in a moment.
    NotYet(NotYet),
}

enum NotYet {
    Unreachable(String),
    Closed(String),
}

fn failed(problem: Problem, reason: String, server: &ServerProcess) -> anyhow::Error {
    StartError { problem, reason, output: server.last_lines() }.into()
}

/// Sends one request of the plan, and looks at the reply.
fn ask(address: SocketAddr, plan: &Plan, give_up: &(dyn Fn() -> bool + Sync)) -> Answer {
    let stream = match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        // Where nobody listens, a connection may be made with itself (simultaneous open, RFC 9293, 3.5).
        Ok(stream) if stream.local_addr().ok() == Some(address) => {
            return Answer::NotYet(NotYet::Unreachable("connection refused".to_owned()));
        }
        Ok(stream) => stream,
        Err(error) => return Answer::NotYet(NotYet::Unreachable(error.to_string())),
    };
    let mut exchange = Exchange::of(plan, give_up);
    exchange
        .make(&stream)
        .unwrap_or_else(|error| Answer::NotYet(NotYet::Closed(exchange.wrong(&format!("an error: {error}")))))
}

/// One request and its reply.
struct Exchange<'a> {
    messages: Messages,
    /// What the reply must be, for a person.
    expected: String,
    timeout: Duration,
    give_up: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Exchange<'a> {
    fn of(plan: &Plan, give_up: &'a (dyn Fn() -> bool + Sync)) -> Self {
        let mut messages = plan.messages.clone();
        let size = messages.size();
        let expected = match plan.expect {
            Expect::None => format!("{size} bytes"),
            Expect::Upper | Expect::Echo => {
                format!("{size} bytes, \"{}\"", messages.describe(0, 0, 0, b"").expected)
            }
        };
        Self { messages, expected, timeout: plan.timeout, give_up }
    }

    fn make(&mut self, stream: &TcpStream) -> io::Result<Answer> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let request = self.messages.request(0, 0).to_vec();
        thread::scope(|scope| {
            // A large message may have to be received while it is sent.
            scope.spawn(move || {
                let mut stream = stream;
                let _seen_by_the_reader = stream.write_all(&request);
            });
            let answer = self.receive(stream);
            // The writer is not waited for longer than the reply.
            let _closed_already = stream.shutdown(Shutdown::Both);
            answer
        })
    }

    fn receive(&mut self, mut stream: &TcpStream) -> io::Result<Answer> {
        let size = self.messages.size();
        let (deadline, mut received, mut part) = (Instant::now() + self.timeout, 0, vec![0; 64 * 1024]);
        while received < size {
            match stream.read(&mut part) {
                Ok(0) => {
                    let got = format!("the end of the stream after {received} bytes");
                    return Ok(Answer::NotYet(NotYet::Closed(self.wrong(&got))));
                }
                Ok(length) if received + length > size => {
                    let got = format!("at least {} bytes", received + length);
                    return Ok(Answer::Wrong(self.wrong(&got)));
                }
                Ok(length) => {
                    if let Err(offset) = self.messages.check(0, 0, received, &part[..length]) {
                        let seen = self.messages.describe(0, 0, offset, &part[offset - received..length]);
                        let (expected, got) = (seen.expected, seen.got);
                        return Ok(Answer::Wrong(format!(
                            "expected \"{expected}\" at byte {offset} of the reply, got \
                         \"{got}\"; --expect says what a reply must be"
                        )));
                    }
                    received += length;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if (self.give_up)() {
                        return Err(error);
                    }
                    if Instant::now() >= deadline {
                        let got = format!("{received} bytes within {}", format_duration(self.timeout));
                        return Ok(Answer::Wrong(self.wrong(&got)));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Answer::Right)
    }

    fn wrong(&self, got: &str) -> String {
        format!("expected {}, got {got}", self.expected)
    }
}
