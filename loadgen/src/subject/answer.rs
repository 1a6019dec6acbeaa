//! Checks that a started server answers correctly. Only then it is loaded.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use common::{human::plural, units::format_duration};

use crate::{
    engine::{
        error::{Problem, StartError},
        interruption::Interruption,
        tls::TlsClient,
    },
    load::{
        message::{Expect, Messages},
        plan::Plan,
    },
    subject::{
        server_process::{START_TIMEOUT, ServerProcess},
        tls::{HandshakeError, TlsStream},
    },
};

/// The time between two attempts to reach the server.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest time without a check for a signal and for the server's end.
const SLICE: Duration = Duration::from_millis(100);

/// Waits until a server answers one request of the plan correctly.
///
/// # Errors
/// [`StartError`] when it does not; [`RunError`](crate::engine::error::RunError) when a signal has arrived.
pub(crate) fn await_answer(
    server: &mut ServerProcess,
    plan: &Plan,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let address = server.address().resolve().ok().and_then(|all| all.first().copied());
    let address = address.context("the server listens at no IP address")?;
    let tls = plan.tls.as_ref().map(|tls| TlsClient::new(tls, server.address())).transpose()?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        interruption.check()?;
        let answer =
            ask(address, plan, tls.as_ref(), &|| interruption.signal().is_some() || server.has_ended());
        interruption.check()?;
        // If the server has ended, another process has answered on its port.
        if let Some(status) = server.ended() {
            let advice = match status.success() {
                true => "; a server that daemonizes must stay in the foreground: see its options",
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
                let reason = format!("no server answers on {address} within {waited} ({reason})");
                (Problem::NotStarted, reason)
            }
        };
        return Err(failed(problem, reason, server));
    }
}

/// The result of one exchange with the server.
enum Answer {
    Right,
    /// Further attempts would give the same.
    Wrong(String),
    /// The server may still be starting.
    NotYet(NotYet),
}

enum NotYet {
    Unreachable(String),
    Closed(String),
}

fn failed(problem: Problem, reason: String, server: &ServerProcess) -> anyhow::Error {
    StartError { problem, reason, output: server.last_lines() }.into()
}

/// Sends one request of the plan, and checks the reply.
fn ask(
    address: SocketAddr,
    plan: &Plan,
    tls: Option<&TlsClient>,
    give_up: &(dyn Fn() -> bool + Sync),
) -> Answer {
    let stream = match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        // Without a listener, a socket may connect to itself (simultaneous open, RFC 9293, 3.5).
        Ok(stream) if stream.local_addr().ok() == Some(address) => {
            return Answer::NotYet(NotYet::Unreachable("connection refused".to_owned()));
        }
        Ok(stream) => stream,
        Err(error) => return Answer::NotYet(NotYet::Unreachable(error.to_string())),
    };
    let mut exchange = Exchange::of(plan, give_up);
    let made = match tls {
        None => exchange
            .prepare(&stream)
            .and_then(|()| exchange.make(&stream, || stream.shutdown(Shutdown::Both))),
        Some(client) => match TlsStream::establish(stream, client, plan.timeouts.connect, give_up) {
            Ok(stream) => exchange.make(&stream, || stream.shutdown()),
            Err(HandshakeError::Ended(reason)) => return Answer::NotYet(NotYet::Closed(reason)),
            Err(HandshakeError::Tls(reason)) => return Answer::Wrong(reason),
        },
    };
    made.unwrap_or_else(|error| Answer::NotYet(NotYet::Closed(exchange.wrong(&format!("an error: {error}")))))
}

/// One request and its reply.
struct Exchange<'a> {
    messages: Messages,
    /// The expected reply, for people.
    expected: String,
    timeout: Duration,
    give_up: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Exchange<'a> {
    fn of(plan: &Plan, give_up: &'a (dyn Fn() -> bool + Sync)) -> Self {
        let mut messages = plan.messages.clone();
        let size = bytes(messages.size());
        let expected = match messages.expect() {
            Expect::None => size,
            Expect::Upper | Expect::Echo => {
                format!("{size}, \"{}\"", messages.describe(0, 0, 0, b"").expected)
            }
        };
        Self { messages, expected, timeout: plan.timeouts.reply, give_up }
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(self.timeout))
    }

    fn make<S>(&mut self, stream: S, shutdown: impl FnOnce() -> io::Result<()>) -> io::Result<Answer>
    where
        S: Read + Write + Copy + Send,
    {
        let request = self.messages.request(0, 0).to_vec();
        thread::scope(|scope| {
            // The server may send parts of a large reply before it has received the whole request.
            scope.spawn(move || {
                let mut stream = stream;
                let _reader_sees_it = stream.write_all(&request).and_then(|()| stream.flush());
            });
            let answer = self.receive(stream);
            // Ends the writer together with the reader.
            let _closed_already = shutdown();
            answer
        })
    }

    fn receive(&mut self, mut stream: impl Read) -> io::Result<Answer> {
        let size = self.messages.size();
        let (deadline, mut received, mut part) = (Instant::now() + self.timeout, 0, vec![0; 64 * 1024]);
        while received < size {
            match stream.read(&mut part) {
                Ok(0) => {
                    let got = format!("the end of the stream after {}", bytes(received));
                    return Ok(Answer::NotYet(NotYet::Closed(self.wrong(&got))));
                }
                Ok(length) if received + length > size => {
                    let got = format!("at least {}", bytes(received + length));
                    return Ok(Answer::Wrong(self.wrong(&got)));
                }
                Ok(length) => {
                    if let Err(offset) = self.messages.check(0, 0, received, &part[..length]) {
                        let seen = self.messages.describe(0, 0, offset, &part[offset - received..length]);
                        let (expected, got) = (seen.expected, seen.got);
                        return Ok(Answer::Wrong(format!(
                            "expected \"{expected}\" at byte {offset} of the reply, got \
                         \"{got}\"; --expect sets the expected reply"
                        )));
                    }
                    received += length;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if (self.give_up)() {
                        return Err(error);
                    }
                    if Instant::now() >= deadline {
                        let got = format!("{} within {}", bytes(received), format_duration(self.timeout));
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

fn bytes(length: usize) -> String {
    plural(length as u64, "byte")
}
