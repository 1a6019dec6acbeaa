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
    load::plan::Plan,
    protocol::{
        Protocol,
        echo::Echo,
        exchange::{Awaited, Exchange, Heard, Visitor},
        expect::Expect,
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
            Answer::Right => {
                server.look_for_listener();
                return Ok(());
            }
            Answer::Wrong(reason) => (Problem::Protocol, reason),
            Answer::NotYet(_) if Instant::now() < deadline => {
                thread::sleep(PAUSE);
                continue;
            }
            Answer::NotYet(NotYet::Closed(reason)) => (Problem::Protocol, reason),
            Answer::NotYet(NotYet::Unreachable(reason)) => {
                let waited = format_duration(START_TIMEOUT);
                let advice = match server.is_prefixed() {
                    true => {
                        "; --server-address must be an address of the host on which --server-prefix starts it"
                    }
                    false => "",
                };
                let reason = format!("no server answers on {address} within {waited} ({reason}){advice}");
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

/// Sends the first request of the plan, and checks the reply.
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
    let expected = expected(plan);
    plan.dialogue.accept(plan.seed, plan.clients.whole, Ask { stream, tls, plan, expected, give_up })
}

/// The expected first reply, for people.
fn expected(plan: &Plan) -> String {
    let dialogue = &plan.dialogue;
    match (dialogue.protocol, &dialogue.expect) {
        (Echo::NAME, Expect::Upper) => {
            format!("{} in upper case", bytes(dialogue.size(plan.seed, plan.clients.whole)))
        }
        (Echo::NAME, Expect::Echo | Expect::None) => bytes(dialogue.size(plan.seed, plan.clients.whole)),
        (protocol, expect) => format!("a reply of --protocol {protocol} (--expect {expect})"),
    }
}

/// One request and its reply.
struct Ask<'a> {
    stream: TcpStream,
    tls: Option<&'a TlsClient>,
    plan: &'a Plan,
    expected: String,
    give_up: &'a (dyn Fn() -> bool + Sync),
}

impl Visitor for Ask<'_> {
    type Output = Answer;

    fn visit<X: Exchange>(self, exchange: X) -> Answer {
        let stream = &self.stream;
        let made = match self.tls {
            None => {
                self.prepare().and_then(|()| self.make(exchange, stream, || stream.shutdown(Shutdown::Both)))
            }
            Some(client) => {
                let stream = stream.try_clone().map_err(|error| HandshakeError::Ended(error.to_string()));
                let connect_timeout = self.plan.timeouts.connect;
                match stream
                    .and_then(|stream| TlsStream::establish(stream, client, connect_timeout, self.give_up))
                {
                    Ok(stream) => self.make(exchange, &stream, || stream.shutdown()),
                    Err(HandshakeError::Ended(reason)) => return Answer::NotYet(NotYet::Closed(reason)),
                    Err(HandshakeError::Tls(reason)) => return Answer::Wrong(reason),
                }
            }
        };
        made.unwrap_or_else(|error| Answer::NotYet(NotYet::Closed(self.wrong(&format!("an error: {error}")))))
    }
}

impl Ask<'_> {
    fn prepare(&self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_read_timeout(Some(SLICE))?;
        self.stream.set_write_timeout(Some(self.plan.timeouts.reply))
    }

    fn make<X: Exchange, S: Read + Write + Copy + Send>(
        &self,
        mut exchange: X,
        stream: S,
        shutdown: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Answer> {
        let request = exchange.request(0, 0).to_vec();
        thread::scope(|scope| {
            // The server may send parts of a large reply before it has received the whole request.
            scope.spawn(move || {
                let mut stream = stream;
                let _reader_sees_it = stream.write_all(&request).and_then(|()| stream.flush());
            });
            let answer = self.receive(exchange, stream);
            // Ends the writer together with the reader.
            let _closed_already = shutdown();
            answer
        })
    }

    fn receive<X: Exchange>(&self, mut exchange: X, mut stream: impl Read) -> io::Result<Answer> {
        let (deadline, mut part) = (Instant::now() + self.plan.timeouts.reply, vec![0; 64 * 1024]);
        let mut reading = X::Reading::default();
        let mut awaited = Awaited { client: 0, request: 0, offset: 0, written: usize::MAX };
        loop {
            let length = match stream.read(&mut part) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if (self.give_up)() {
                        return Err(error);
                    }
                    if Instant::now() >= deadline {
                        let (got, limit) = (bytes(awaited.offset), format_duration(self.plan.timeouts.reply));
                        return Ok(Answer::Wrong(self.wrong(&format!("{got} within {limit}"))));
                    }
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = &part[..length];
            let heard = match length {
                0 => match exchange.end_of_stream(&mut reading, awaited) {
                    Some(end) => Ok(Heard::Complete(end)),
                    None => {
                        let got = format!("the end of the stream after {}", bytes(awaited.offset));
                        return Ok(Answer::NotYet(NotYet::Closed(self.wrong(&got))));
                    }
                },
                _ => exchange.read(&mut reading, awaited, piece),
            };
            match heard {
                Ok(Heard::Partial) => awaited.offset += length,
                Ok(Heard::Complete(end)) if end.length < length => {
                    let got = format!("at least {}", bytes(awaited.offset + length));
                    return Ok(Answer::Wrong(self.wrong(&got)));
                }
                Ok(Heard::Complete(end)) if end.is_expected => return Ok(Answer::Right),
                Ok(Heard::Complete(_)) => {
                    let seen = exchange.describe_unexpected(&reading, awaited, piece);
                    return Ok(Answer::Wrong(self.wrong(&format!("\"{}\"", seen.got))));
                }
                Err(wrong) => {
                    let seen = exchange.describe(awaited, wrong, piece);
                    let (expected, offset, got) = (seen.expected, seen.offset, seen.got);
                    return Ok(Answer::Wrong(format!(
                        "expected \"{expected}\" at byte {offset} of the reply, got \"{got}\"; --expect sets the expected \
                         reply"
                    )));
                }
            }
        }
    }

    fn wrong(&self, got: &str) -> String {
        format!("expected {}, got {got}", self.expected)
    }
}

fn bytes(length: usize) -> String {
    plural(length as u64, "byte")
}
