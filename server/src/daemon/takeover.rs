//! `--takeover PATH`: a new process takes the listeners of the old one, and the old one drains once the new one serves.
//!
//! The old process listens on the unix socket at PATH, which only its user can reach. The steps:
//!
//! 1. The new process connects. Each side checks that the other one has the same user (`SO_PEERCRED`).
//! 2. The old process sends its listening sockets, and the socket at PATH as well. Both processes have the sockets now, so
//!    no accept queue is ever closed.
//! 3. The new process takes the sockets of the addresses that it is to listen on, binds the other addresses, and starts its
//!    mode. Then it says that it is ready.
//! 4. The old process leaves the files of the unix sockets to the new one, says that it drains, and does so.
//!
//! If the new process fails or takes too long before it is ready, the old process continues to serve. Envoy has the same
//! order: the new process initialises, takes copies of the listen sockets, and then tells the old one to drain.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::{
    fs::{Mode, fchmod},
    io::Errno,
    net::sockopt::socket_peercred,
    process::geteuid,
};
use socket2::{Domain, SockAddr, Socket, Type};

use self::wire::{Description, Message, Received, receive, send};
use crate::{
    admission::listener::{
        Inherited, Offer,
        file::{Ownership, SocketFile, remove_stale},
    },
    daemon::{metrics::Metrics, service::Service, shutdown::Shutdown},
};

mod successors;
mod wire;

/// How long the old process waits until the new one is ready.
const READY_MAX: Duration = Duration::from_secs(10);

/// How long the new process waits for an answer of the old one, which may be busy with another new process.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long the new process waits between two attempts to reach a process that ends just now.
const RETRY: Duration = Duration::from_millis(20);

/// The socket at PATH, and the connection to the old process until that one drains.
#[derive(Debug)]
pub(crate) struct Takeover {
    path: PathBuf,
    socket: Socket,
    file: SocketFile,
    previous: Option<Previous>,
}

/// The old process.
#[derive(Debug)]
struct Previous {
    connection: OwnedFd,
    /// Decides which process removes the files of its sockets.
    ownership: Ownership,
}

impl Takeover {
    /// Takes the listening sockets of the process that listens at this path. If there is none, listens there itself.
    ///
    /// # Errors
    /// When that process refuses or does not answer, or the path cannot be used. The error says what to do.
    pub(crate) fn begin(path: &Path, shutdown: &Shutdown, inherited: &mut Inherited) -> anyhow::Result<Self> {
        let deadline = Instant::now() + ANSWER_MAX;
        let cannot = || format!("cannot take over at {}", path.display());
        while let Some(connection) = connect(path).with_context(cannot)? {
            match receive(&connection, shutdown, deadline).with_context(cannot)? {
                Received::Message(Message::Sockets(descriptions), sockets) => {
                    return Self::take(path, connection, descriptions, sockets, inherited)
                        .with_context(cannot);
                }
                // It ends just now.
                Received::Closed => thread::sleep(RETRY),
                other => return Err(unexpected(&other)).with_context(cannot),
            }
        }
        let (socket, file) =
            listen(path).with_context(|| format!("cannot listen for a takeover at {}", path.display()))?;
        Ok(Self { path: path.to_owned(), socket, file, previous: None })
    }

    fn take(
        path: &Path,
        connection: OwnedFd,
        descriptions: Vec<Description>,
        mut sockets: Vec<OwnedFd>,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Self> {
        let socket = sockets.pop().filter(|_| sockets.len() == descriptions.len());
        let socket = socket.context("the old process has sent another number of sockets than it says")?;
        // Until the old process drains, the files are that process's.
        let ownership = Ownership::default();
        ownership.give_away(true);
        for (description, socket) in descriptions.into_iter().zip(sockets) {
            let Description { purpose, is_any_port, path, owns_file } = description;
            let file = match &path {
                Some(path) if owns_file => Some(SocketFile::new(path, ownership.clone())?),
                _ => None,
            };
            inherited.add_previous(socket, purpose, path, file, is_any_port)?;
        }
        Ok(Self {
            path: path.to_owned(),
            socket: socket.into(),
            file: SocketFile::new(path, ownership.clone())?,
            previous: Some(Previous { connection, ownership }),
        })
    }

    /// Tells the old process that this one serves, and waits until it drains. From then on, gives the listeners to the next
    /// process that asks, and stops this process's metrics by then.
    ///
    /// # Errors
    /// When the old process continues to serve. This one has to end then.
    pub(crate) fn finish(
        self,
        offers: Vec<Offer>,
        metrics: Option<Metrics>,
        service: &Arc<Service>,
    ) -> anyhow::Result<JoinHandle<()>> {
        let Self { path, socket, file, previous } = self;
        if offers.len() >= wire::SOCKETS_MAX {
            anyhow::bail!("--takeover can hand over {} listeners at most", wire::SOCKETS_MAX - 1);
        }
        let draining = match previous {
            Some(previous) => previous
                .dismiss(&service.shutdown)
                .with_context(|| format!("cannot take over at {}", path.display()))?,
            None => None,
        };
        successors::serve(socket, file, offers, metrics, draining, Arc::clone(service))
            .context("cannot start a thread for the next takeover")
    }
}

impl Previous {
    /// Returns the connection to the old process, which is closed when that process has closed its listeners.
    fn dismiss(self, shutdown: &Shutdown) -> anyhow::Result<Option<OwnedFd>> {
        let Self { connection, ownership } = self;
        let answer = match send(&connection, &Message::Ready, &[]) {
            Ok(()) => receive(&connection, shutdown, Instant::now() + ANSWER_MAX)?,
            // The reason of a refusal may be there to read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                receive(&connection, shutdown, Instant::now() + RETRY)?
            }
            Err(error) => return Err(error.into()),
        };
        match answer {
            Received::Message(Message::Draining, _) => {
                tracing::info!("taken over: the old process drains");
                ownership.give_away(false);
                Ok(Some(connection))
            }
            Received::Closed => {
                tracing::warn!("the old process has ended during the takeover");
                ownership.give_away(false);
                Ok(None)
            }
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(received: &Received) -> anyhow::Error {
    match received {
        Received::Message(Message::Refused(reason), _) => {
            anyhow::anyhow!("the old process refuses and continues to serve: {reason}")
        }
        Received::Message(message, _) => anyhow::anyhow!("the old process has sent {message:?}"),
        Received::Closed => anyhow::anyhow!("the old process has closed the connection"),
        Received::TimedOut => anyhow::anyhow!(
            "the old process has not answered within {} s; end it, or start without --takeover",
            ANSWER_MAX.as_secs()
        ),
        Received::ShutDown => anyhow::anyhow!("a signal has ended this process before"),
    }
}

/// Connects to the process that listens at this path, if there is one.
fn connect(path: &Path) -> anyhow::Result<Option<OwnedFd>> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => {}
        Err(error) => {
            return match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
                Some(Errno::PROTOTYPE) => {
                    anyhow::bail!("a process listens there, but not for a takeover; choose another path")
                }
                Some(Errno::ACCESS) => {
                    anyhow::bail!("permission denied; the new process needs the user of the old one")
                }
                Some(Errno::AGAIN) => anyhow::bail!("too many processes wait for a takeover already"),
                _ => Err(error.into()),
            };
        }
    }
    let socket = OwnedFd::from(socket);
    check_user(&socket)?;
    Ok(Some(socket))
}

/// Checks that the process at the other end has the user of this one.
fn check_user(connection: &OwnedFd) -> anyhow::Result<()> {
    let (other, own) = (socket_peercred(connection)?.uid, geteuid());
    if other != own {
        anyhow::bail!(
            "the two processes have different users ({} and {}); start both as one user",
            own.as_raw(),
            other.as_raw()
        );
    }
    Ok(())
}

/// How many new processes can wait for their turn.
const BACKLOG: i32 = 16;

/// Listens at this path, for processes of this user only.
fn listen(path: &Path) -> anyhow::Result<(Socket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    // The file gets the permissions of the socket, less the umask.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&address)?;
    let file = SocketFile::new(path, Ownership::default())?;
    socket.listen(BACKLOG)?;
    Ok((socket, file))
}
