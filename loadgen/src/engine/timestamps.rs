//! When the kernel received the bytes of a read: `SO_TIMESTAMPING` (the kernel's networking/timestamping.rst), in software.
//!
//! For TCP, each read returns the time at which the last segment of its bytes arrived. For the read that completes a reply,
//! the reply was ready at that time. Unix sockets have no timestamps.

use std::{
    io::IoSliceMut,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{
        ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt,
        sockopt::Timestamping,
    },
    time::TimeSpec,
};
use rustix::{
    io::Errno,
    time::{ClockId, clock_gettime},
};

/// When bytes were received, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedAt(TimeSpec);

/// Enables timestamps for a socket.
///
/// # Errors
/// The kernel's error.
pub(crate) fn enable(socket: &OwnedFd) -> Result<(), Errno> {
    let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(socket, Timestamping, &flags).map_err(errno)
}

/// A buffer for the control messages of a read.
pub(crate) fn buffer() -> Vec<u8> {
    nix::cmsg_space!(Timestamps)
}

/// Reads, and returns the number of bytes and when the last of them arrived, if the kernel says so. `control` is a [`buffer`].
///
/// # Errors
/// The kernel's error.
#[inline]
pub(crate) fn receive(
    socket: &OwnedFd,
    buffer: &mut [u8],
    control: &mut [u8],
) -> Result<(usize, Option<ReceivedAt>), Errno> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::empty()).map_err(errno)?;
    let stamp = message.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampsns(Timestamps { system, .. }) => Some(ReceivedAt(system)),
            _ => None,
        })
    });
    Ok((message.bytes, stamp))
}

/// The time since then, by the wall clock; 0 if that clock was set back in between.
#[inline]
pub(crate) fn age_ns(ReceivedAt(at): ReceivedAt) -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    let age_ns = (now.tv_sec - at.tv_sec()) * 1_000_000_000 + (now.tv_nsec - at.tv_nsec());
    u64::try_from(age_ns).unwrap_or(0)
}

fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_tcp_socket_has_timestamps_and_a_unix_socket_has_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = OwnedFd::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        enable(&receiver).unwrap();
        let (mut sender, _) = listener.accept().unwrap();
        let (mut bytes, mut control) = ([0; 10], buffer());
        // The first bytes after the option was set may have no timestamp.
        let stamp = (0..10_000).find_map(|_| {
            sender.write_all(b"abc").unwrap();
            let (length, stamp) = receive(&receiver, &mut bytes, &mut control).unwrap();
            assert_eq!(length, 3);
            stamp
        });
        // A bound that holds on a busy machine too.
        assert!(age_ns(stamp.unwrap()) < 60_000_000_000);
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        sender.write_all(b"abc").unwrap();
        let (length, stamp) = receive(&OwnedFd::from(receiver), &mut bytes, &mut control).unwrap();
        assert_eq!((length, stamp), (3, None));
    }

    #[test]
    fn a_time_in_the_future_has_no_age() {
        assert_eq!(age_ns(ReceivedAt(TimeSpec::new(i64::MAX / 4_000_000_000, 0))), 0);
    }
}
