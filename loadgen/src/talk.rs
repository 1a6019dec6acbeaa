//! `loadgen talk`: what is typed goes to the server line by line, and its reply is printed.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, IsTerminal, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use common::{Address, units::format_duration};
use rustyline::{DefaultEditor, error::ReadlineError};

const PROMPT: &str = ">>: ";
/// Longer lines than this are a mistake: a binary file on standard input.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Talks with the server at `target` until the input ends. A reply is awaited for at most `timeout`; it is also
/// appended to the file `save`.
///
/// # Errors
/// When the server cannot be reached, ends or does not reply, or when an input or output fails.
pub fn talk(target: &Address, save: Option<&Path>, timeout: Duration) -> anyhow::Result<()> {
    let save = save
        .map(|path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.with_context(|| format!("{} cannot be written", path.display()))
        })
        .transpose()?;
    let mut conversation = Conversation::begin(target, save, timeout)?;
    if io::stdin().is_terminal() { from_terminal(&mut conversation) } else { from_pipe(&mut conversation) }
}

struct Conversation {
    stream: Stream,
    target: Address,
    save: Option<File>,
    timeout: Duration,
}

impl Conversation {
    fn begin(target: &Address, save: Option<File>, timeout: Duration) -> anyhow::Result<Self> {
        let stream = Stream::connect(target, timeout).map_err(|error| {
            anyhow::anyhow!("cannot connect to {target}: {error}; is the server running?")
        })?;
        Ok(Self { stream, target: target.clone(), save, timeout })
    }

    /// Sends a line and prints the reply. Empty lines have none.
    fn say(&mut self, line: &[u8]) -> anyhow::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        let reply = self.stream.exchange(line, self.timeout).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => anyhow::anyhow!("{} closed the connection", self.target),
            io::ErrorKind::TimedOut => {
                anyhow::anyhow!(
                    "no complete reply from {} within {}",
                    self.target,
                    format_duration(self.timeout)
                )
            }
            _ => anyhow::Error::new(error).context(format!("the connection to {} failed", self.target)),
        })?;
        let text = [&reply, &b"\n"[..]].concat();
        if let Some(file) = &mut self.save {
            file.write_all(&text).context("the reply cannot be saved")?;
        }
        let mut out = io::stdout().lock();
        match out.write_all(&text).and_then(|()| out.flush()) {
            // Whoever read the replies has had enough; that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => written.context("the reply cannot be printed"),
        }
    }
}

fn from_terminal(conversation: &mut Conversation) -> anyhow::Result<()> {
    let mut editor = DefaultEditor::new().context("the terminal cannot be used")?;
    loop {
        match editor.readline(PROMPT) {
            Ok(line) => {
                if !line.is_empty() {
                    editor.add_history_entry(&line).context("the history cannot be kept")?;
                }
                conversation.say(line.as_bytes())?;
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
            Err(error) => return Err(error).context("the line cannot be read"),
        }
    }
}

fn from_pipe(conversation: &mut Conversation) -> anyhow::Result<()> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        let length = length.context("standard input cannot be read")?;
        if length == 0 {
            return Ok(());
        }
        if length as u64 > LINE_BYTES_MAX {
            bail!("a line has more than {LINE_BYTES_MAX} bytes");
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        conversation.say(&line)?;
    }
}

/// A blocking connection, TCP or unix.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Tries each address that a name stands for.
    fn connect(target: &Address, timeout: Duration) -> io::Result<Self> {
        if let Address::Unix(path) = target {
            return Ok(Stream::Unix(UnixStream::connect(path)?));
        }
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in target.resolve()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Stream::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Writes the request and reads as many bytes. It reads as soon as it has written a part, so that neither
    /// side waits for the other however long the line is.
    fn exchange(&mut self, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
        const PART_BYTES: usize = 16 * 1024;
        let deadline = Instant::now() + timeout;
        let mut reply = vec![0; request.len()];
        for (sent, received) in request.chunks(PART_BYTES).zip(reply.chunks_mut(PART_BYTES)) {
            self.before(deadline)?;
            self.write_part(sent).map_err(late)?;
            self.read_part(received, deadline)?;
        }
        Ok(reply)
    }

    fn read_part(&mut self, mut part: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !part.is_empty() {
            self.before(deadline)?;
            let read = match self {
                Stream::Tcp(stream) => stream.read(part),
                Stream::Unix(stream) => stream.read(part),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => part = &mut part[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(late(error)),
            }
        }
        Ok(())
    }

    fn write_part(&mut self, part: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(part),
            Stream::Unix(stream) => stream.write_all(part),
        }
    }

    /// Lets the next read and write wait until the deadline.
    fn before(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
            }
        }
    }
}

/// A blocking socket reports its timeout as `WouldBlock` (socket(7), `SO_RCVTIMEO`), and a server that is gone
/// as a broken pipe.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        io::ErrorKind::BrokenPipe => io::ErrorKind::UnexpectedEof.into(),
        _ => error,
    }
}
