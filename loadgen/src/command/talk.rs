//! `loadgen talk`: sends lines from standard input to a server and prints the replies.

use std::{
    fs::File,
    io::{self, BufRead, IsTerminal, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use common::{Address, human::plural, log, units::format_duration};
use rustyline::{DefaultEditor, error::ReadlineError};

use crate::command::files;

const PROMPT: &str = ">>: ";
/// The maximum length of a line. A longer line is a mistake, such as a binary file on standard input.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Carries out `loadgen talk`, until the input ends. `timeout` limits the wait for a reply. Replies are also appended to
/// the file `save`.
///
/// # Errors
/// When the server cannot be reached, closes the connection or does not reply, or when input or output fails. If replies
/// can no longer be saved, they are still printed.
pub(crate) fn execute(target: &Address, save: Option<&Path>, timeout: Duration) -> anyhow::Result<ExitCode> {
    let save = save.map(Save::begin).transpose()?;
    let mut conversation = Conversation::begin(target, save, timeout)?;
    let talked = if io::stdin().is_terminal() {
        from_terminal(&mut conversation)
    } else {
        from_pipe(&mut conversation)
    };
    let saved = conversation.save.map_or(Ok(()), Save::end);
    talked.and(saved).map(|()| ExitCode::SUCCESS)
}

/// The file for the replies.
struct Save {
    path: PathBuf,
    /// None after a write failed.
    file: Option<File>,
    /// The number of replies in the file.
    saved: u64,
    /// The number of replies that are not in it.
    missing: u64,
}

impl Save {
    fn begin(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Some(files::append(path)?), saved: 0, missing: 0 })
    }

    fn add(&mut self, reply: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(reply)
        {
            self.file = None;
            log::say(format_args!(
                "loadgen: {} cannot be written: {error}; this reply and all later ones are on standard output only",
                self.path.display()
            ));
        }
        match self.file {
            Some(_) => self.saved += 1,
            None => self.missing += 1,
        }
    }

    fn end(self) -> anyhow::Result<()> {
        let path = self.path.display();
        match (self.missing, self.saved) {
            (0, saved) => log::say(format_args!("appended {} to {path}", plural(saved, "reply"))),
            (1, _) => bail!("the last reply is missing in {path}"),
            (missing, _) => bail!("the last {missing} replies are missing in {path}"),
        }
        Ok(())
    }
}

struct Conversation {
    stream: Stream,
    target: Address,
    save: Option<Save>,
    timeout: Duration,
}

impl Conversation {
    fn begin(target: &Address, save: Option<Save>, timeout: Duration) -> anyhow::Result<Self> {
        let stream = Stream::connect(target, timeout).map_err(|error| {
            anyhow::anyhow!("cannot connect to {target}: {error}; is the server running?")
        })?;
        Ok(Self { stream, target: target.clone(), save, timeout })
    }

    /// Sends a line and prints the reply. Empty lines are ignored.
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
        if let Some(save) = &mut self.save {
            save.add(&text);
        }
        let mut out = io::stdout().lock();
        match out.write_all(&text).and_then(|()| out.flush()) {
            // The reader of standard output has closed the pipe, which is not an error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                let saved = self.save.take().map_or(Ok(()), Save::end);
                saved.map(|()| std::process::exit(0))
            }
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

/// A blocking connection.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Tries each address of a name.
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

    /// Writes the request and reads a reply of the same length. It writes and reads in parts, so that a long line does not
    /// block both sides.
    fn exchange(&mut self, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
        const PART_BYTES: usize = 16 * 1024;
        let deadline = Instant::now() + timeout;
        let mut reply = vec![0; request.len()];
        for (sent, received) in request.chunks(PART_BYTES).zip(reply.chunks_mut(PART_BYTES)) {
            self.set_timeout(deadline)?;
            self.write_part(sent).map_err(meaning)?;
            self.read_part(received, deadline)?;
        }
        Ok(reply)
    }

    fn read_part(&mut self, mut part: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !part.is_empty() {
            self.set_timeout(deadline)?;
            let read = match self {
                Stream::Tcp(stream) => stream.read(part),
                Stream::Unix(stream) => stream.read(part),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => part = &mut part[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(meaning(error)),
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

    /// Sets the timeout of the next read and write.
    fn set_timeout(&self, deadline: Instant) -> io::Result<()> {
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

/// A blocking socket reports a timeout as `WouldBlock` (socket(7), `SO_RCVTIMEO`), and a server that closed the connection
/// as a broken pipe.
fn meaning(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        io::ErrorKind::BrokenPipe => io::ErrorKind::UnexpectedEof.into(),
        _ => error,
    }
}
