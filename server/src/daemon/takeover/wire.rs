//! The messages between the two processes of a takeover: one JSON value per packet, with sockets beside it (`SCM_RIGHTS`,
//! unix(7)).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Instant,
};

use rustix::{
    cmsg_space,
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize};

use crate::{admission::listener::Purpose, daemon::shutdown::Shutdown};

/// The most sockets of one packet (unix(7), `SCM_MAX_FD`).
pub(super) const SOCKETS_MAX: usize = 253;

/// The longest packet.
const PACKET_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// From the old process: its listening sockets in this order, and as the last one the socket of the takeover.
    Sockets(Vec<Description>),
    /// From the new process: it serves. The old one can end.
    Ready,
    /// From the old process: it drains. The files of the sockets belong to the new process now.
    Draining,
    /// From the old process: it refuses the takeover for this reason, and continues to serve.
    Refused(String),
}

/// A listening socket, beyond what the kernel says of it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Description {
    /// A server of an earlier version has no listener for metrics, and does not send this.
    #[serde(default)]
    pub(super) purpose: Purpose,
    /// Whether port 0 was asked for.
    pub(super) is_any_port: bool,
    /// The absolute path of a unix socket.
    pub(super) path: Option<PathBuf>,
    /// Whether the server removes the file at this path in the end.
    pub(super) owns_file: bool,
}

/// The result of waiting for a message.
#[derive(Debug)]
pub(super) enum Received {
    Message(Message, Vec<OwnedFd>),
    /// The other process has closed the connection or has ended.
    Closed,
    /// The deadline has passed.
    TimedOut,
    /// This process shuts down.
    ShutDown,
}

/// Sends a message. It never waits: the socket's buffer has room for the few messages of a takeover.
pub(super) fn send(to: &OwnedFd, message: &Message, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(io::Error::other(format!("the paths of the sockets exceed {PACKET_BYTES_MAX} bytes")));
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other(format!("more than {SOCKETS_MAX} sockets")));
    }
    sendmsg(to, &[IoSlice::new(&bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for a message until the deadline, or until the shutdown begins.
pub(super) fn receive(from: &OwnedFd, shutdown: &Shutdown, deadline: Instant) -> io::Result<Received> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Received::TimedOut);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(from, PollFlags::IN), PollFd::new(shutdown, PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) if !polled[1].revents().is_empty() => return Ok(Received::ShutDown),
            Ok(_) if !polled[0].revents().is_empty() => {}
            Ok(_) | Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match receive_now(from.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The other process has not read everything. Its own last message comes next.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            result => return result,
        }
    }
}

fn receive_now(from: BorrowedFd<'_>) -> io::Result<Received> {
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(Received::Closed);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message was cut short; is the open-files limit reached?"));
    }
    let message = serde_json::from_slice(&bytes[..received.bytes]).map_err(|error| {
        io::Error::other(format!("the other process does not speak this version's language: {error}"))
    })?;
    Ok(Received::Message(message, sockets))
}
