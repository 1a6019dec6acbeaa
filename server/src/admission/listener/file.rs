//! The file of a unix socket.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use anyhow::Context;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a unix socket. Its drop removes the file, unless another process owns it by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    ownership: Ownership,
}

/// Whether this process removes a socket's file. All clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ownership {
    is_anothers: Arc<AtomicBool>,
}

impl SocketFile {
    /// The file of a socket that is bound to this path.
    ///
    /// # Errors
    /// When the path is relative and the working directory is gone.
    pub(crate) fn new(path: &Path, ownership: Ownership) -> io::Result<Self> {
        Ok(Self { path: std::path::absolute(path)?, ownership })
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn ownership(&self) -> &Ownership {
        &self.ownership
    }
}

impl Ownership {
    /// Leaves the file to another process, or takes it back.
    pub(crate) fn give_away(&self, is_anothers: bool) {
        self.is_anothers.store(is_anothers, SeqCst);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.ownership.is_anothers.load(SeqCst) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket's file");
        }
    }
}

/// Removes the socket file of a server that was killed.
///
/// # Errors
/// When the file is no socket, or a process listens there.
pub(crate) fn remove_stale(path: &Path, address: &SockAddr) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        anyhow::bail!("the file exists and is no socket; choose another path or remove it");
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(address) {
        Err(error) if error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error()) => {
            tracing::info!(path = %path.display(), "removing the socket file of a server that has ended");
            fs::remove_file(path).context("cannot remove the socket file of a server that has ended")
        }
        _ => anyhow::bail!("another process listens there; stop it or choose another path"),
    }
}
