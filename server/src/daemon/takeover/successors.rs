//! The old process's side: gives the listeners to the process that replaces this one.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use socket2::Socket;

use super::{
    READY_MAX, check_user,
    wire::{Description, Message, Received, receive, send},
};
use crate::{
    admission::{
        listener::{Offer, file::SocketFile},
        log_limit::LogLimit,
    },
    daemon::{metrics::Metrics, service::Service},
};

/// How long the thread pauses when it cannot accept.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the thread checks whether the listeners are closed, once the drain has begun.
const CHECK: Duration = Duration::from_millis(1);

struct Successors {
    socket: Socket,
    file: SocketFile,
    offers: Vec<Offer>,
    metrics: Option<Metrics>,
    service: Arc<Service>,
    log: LogLimit,
}

/// Serves new processes on a separate thread until the shutdown. `draining` is the connection to the process before this
/// one. When it is closed, that process accepts no more, and this one looks after every accept queue: a connection may have
/// woken the other process alone.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn serve(
    socket: Socket,
    file: SocketFile,
    offers: Vec<Offer>,
    metrics: Option<Metrics>,
    draining: Option<OwnedFd>,
    service: Arc<Service>,
) -> io::Result<JoinHandle<()>> {
    let successors = Successors { socket, file, offers, metrics, service, log: LogLimit::new(10) };
    thread::Builder::new()
        .name("takeover".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || successors.run(draining))
}

impl Successors {
    fn run(self, mut draining: Option<OwnedFd>) {
        while self.service.shutdown.begun().is_none() {
            let mut polled = vec![
                PollFd::new(&self.service.shutdown, PollFlags::IN),
                PollFd::new(&self.socket, PollFlags::IN),
            ];
            polled.extend(draining.iter().map(|connection| PollFd::new(connection, PollFlags::IN)));
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => unreachable!("poll takes valid descriptors: {error}"),
            }
            let is_ready = |index: usize| polled.get(index).is_some_and(|fd| !fd.revents().is_empty());
            let (has_begun, is_asked, has_closed) = (is_ready(0), is_ready(1), is_ready(2));
            if has_closed {
                draining = None;
                self.service.connections.wake_acceptors();
            }
            if is_asked && !has_begun {
                match self.accept_one() {
                    Ok(Some(successor)) => return self.retire(successor),
                    Ok(None) => {}
                    Err(error) => {
                        if let Some(not_logged) = self.log.check(Instant::now()) {
                            tracing::warn!(not_logged, "still serving: no takeover: {error:#}");
                        }
                    }
                }
            }
        }
        // The file goes first: a process that finds none binds it anew.
        drop(self.file);
    }

    /// Hands over to the next new process that waits. Returns its connection if this process is to end.
    fn accept_one(&self) -> anyhow::Result<Option<OwnedFd>> {
        let connection = match self.socket.accept() {
            Ok((connection, _)) => OwnedFd::from(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => {
                self.pause();
                return Err(error).context("cannot accept the new process");
            }
        };
        self.keep_files(true);
        let refused = match self.hand_over(&connection) {
            Ok(()) => return Ok(Some(connection)),
            // The new process has the sockets and finds the connection closed, so it continues; the files are its own.
            Err(_) if self.service.shutdown.begun().is_some() => return Ok(None),
            Err(error) => error,
        };
        self.keep_files(false);
        // The new process may be gone.
        _ = send(&connection, &Message::Refused(format!("{refused:#}")), &[]);
        Err(refused)
    }

    fn hand_over(&self, to: &OwnedFd) -> anyhow::Result<()> {
        check_user(to)?;
        self.send_sockets(to).context("cannot send the listeners")?;
        match receive(to, &self.service.shutdown, Instant::now() + READY_MAX)? {
            Received::Message(Message::Ready, _) => {}
            Received::Message(message, _) => anyhow::bail!("the new process has sent {message:?}"),
            Received::Closed => anyhow::bail!("the new process has ended before it was ready"),
            Received::TimedOut => {
                anyhow::bail!("the new process was not ready within {} s", READY_MAX.as_secs())
            }
            Received::ShutDown => anyhow::bail!("a shutdown has begun"),
        }
        send(to, &Message::Draining, &[]).context("the new process has ended before it was told")
    }

    fn send_sockets(&self, to: &OwnedFd) -> anyhow::Result<()> {
        let sockets: Option<Vec<_>> = self.offers.iter().map(|offer| offer.socket.upgrade()).collect();
        let sockets = sockets.context("they are closed")?;
        let descriptions = self.offers.iter().map(|offer| Description {
            purpose: offer.purpose,
            is_any_port: offer.is_any_port,
            path: offer.path.clone(),
            owns_file: offer.ownership.is_some(),
        });
        let descriptors: Vec<_> =
            sockets.iter().map(|socket| socket.as_fd()).chain([self.socket.as_fd()]).collect();
        Ok(send(to, &Message::Sockets(descriptions.collect()), &descriptors)?)
    }

    /// Keeps the files of the sockets for the new process, or removes them at the end again.
    fn keep_files(&self, keep: bool) {
        let of_listeners = self.offers.iter().filter_map(|offer| offer.ownership.as_ref());
        of_listeners.chain([self.file.ownership()]).for_each(|ownership| ownership.give_away(keep));
    }

    /// Begins the drain, and closes the connection when the listeners of this process are closed.
    fn retire(self, successor: OwnedFd) {
        let Self { socket, offers, metrics, service, .. } = self;
        drop(socket);
        // From now on, the new process alone answers.
        if let Some(metrics) = metrics {
            metrics.stop();
        }
        service.shutdown.begin("takeover");
        let deadline = service.drain_deadline().expect("the shutdown has begun");
        while offers.iter().any(|offer| offer.socket.strong_count() > 0) && Instant::now() < deadline {
            thread::sleep(CHECK);
        }
        drop(successor);
    }

    fn pause(&self) {
        let pause = Timespec::try_from(PAUSE).expect("a pause is short");
        _ = poll(&mut [PollFd::new(&self.service.shutdown, PollFlags::IN)], Some(&pause));
    }
}
