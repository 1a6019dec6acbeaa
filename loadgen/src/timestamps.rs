//! When the kernel had received what is read: `SO_TIMESTAMPING` (the kernel's networking/timestamping.rst), in software.
//!
//! TCP gives, with each read, the moment at which the last segment of what was read came in: for the read that completes a
//! reply, that is the moment at which it was ready. Unix sockets give none.

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

/// When something was received, by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedAt(TimeSpec);

/// Asks for the moments from now on.
///
/// # Errors
/// What the kernel says.
pub fn ask(socket: &OwnedFd) -> Result<(), Errno> {
    let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(socket, Timestamping, &flags).map_err(errno)
}

/// Room for what the kernel says besides of a read.
pub fn buffer() -> Vec<u8> {
    nix::cmsg_space!(Timestamps)
}

/// Reads what has come, and says when the last of it came; None where the kernel does not tell. `control` is a
/// [`buffer`].
///
/// # Errors
/// What the kernel says.
#[inline]
pub fn receive(
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

/// How long ago that was, by the clock on the wall that both are of: 0 where that clock was set back in between.
#[inline]
pub fn age_ns(ReceivedAt(at): ReceivedAt) -> u64 {
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
    fn a_tcp_socket_tells_when_its_bytes_came_and_a_unix_socket_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = OwnedFd::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        ask(&receiver).unwrap();
        let (mut sender, _) = listener.accept().unwrap();
        let (mut bytes, mut control) = ([0; 10], buffer());
        // The kernel begins to stamp a little after it was first asked.
        let stamp = (0..10_000).find_map(|_| {
            sender.write_all(b"abc").unwrap();
            let (length, stamp) = receive(&receiver, &mut bytes, &mut control).unwrap();
            assert_eq!(length, 3);
            stamp
        });
        // Whatever the machine does meanwhile, it takes less than a minute.
        assert!(age_ns(stamp.unwrap()) < 60_000_000_000);
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        sender.write_all(b"abc").unwrap();
        let (length, stamp) = receive(&OwnedFd::from(receiver), &mut bytes, &mut control).unwrap();
        assert_eq!((length, stamp), (3, None));
    }

    #[test]
    fn what_lies_in_the_future_has_no_age() {
        assert_eq!(age_ns(ReceivedAt(TimeSpec::new(i64::MAX / 4_000_000_000, 0))), 0);
    }
}
