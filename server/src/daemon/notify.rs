//! Notifications to the service manager (sd_notify(3)): readiness, status, reload, stop, and the watchdog's reports.

use std::{
    env, io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

use crate::daemon::{service::Service, watchdog::Watchdog};

/// The shortest time between two updates of the status.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the process waits at its end for the notification of the stop.
const STOPPING_MAX: Duration = Duration::from_secs(1);

/// The thread that sends the notifications. Without `NOTIFY_SOCKET`, there is none.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// Gets a message when the notification of the stop has been sent.
    stopping_sent: Option<mpsc::Receiver<()>>,
}

impl Notifier {
    /// Sends the readiness, and then the status until the process ends.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(mode: &'static str, service: &Arc<Service>) -> io::Result<Self> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self { stopping_sent: None });
        }
        let service = Arc::clone(service);
        let (sender, stopping_sent) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("notifier".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || report(mode, &service, &sender))?;
        Ok(Self { stopping_sent: Some(stopping_sent) })
    }

    /// Waits until the notification of the stop has been sent.
    pub(crate) fn finish(self) {
        if let Some(sent) = self.stopping_sent {
            _ = sent.recv_timeout(STOPPING_MAX);
        }
    }
}

/// Sends the begin and the end of a reload (`Type=notify-reload`).
pub(crate) fn around_reload(reload: impl FnOnce()) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot read the monotonic clock"),
    }
    reload();
    send(&[NotifyState::Ready]);
}

fn report(mode: &str, service: &Service, stopping_sent: &mpsc::SyncSender<()>) {
    let status = |doing| format!("{doing} in mode {mode}; open connections: {}", service.connections.open());
    let mut last = status("serving");
    send(&[NotifyState::Ready, NotifyState::Status(&last)]);
    loop {
        wait(service, &[service.shutdown.as_fd()]);
        if service.shutdown.begun().is_some() {
            break;
        }
        send_if_changed(&mut last, status("serving"));
    }
    last = status("draining");
    send(&[NotifyState::Stopping, NotifyState::Status(&last)]);
    // The receiver is gone if the process has not waited for this.
    _ = stopping_sent.send(());
    loop {
        wait(service, &[]);
        send_if_changed(&mut last, status("draining"));
    }
}

fn send_if_changed(last: &mut String, status: String) {
    if *last != status {
        send(&[NotifyState::Status(&status)]);
        *last = status;
    }
}

/// Waits for the interval, or until one of the events has occurred. Meanwhile, it sends the watchdog's reports.
fn wait(service: &Service, events: &[BorrowedFd<'_>]) {
    let end = Instant::now() + INTERVAL;
    let watchdog = service.workers.watchdog.as_ref();
    let descriptors = events.iter().copied().chain(watchdog.map(AsFd::as_fd));
    let mut polled: Vec<_> =
        descriptors.map(|event| PollFd::from_borrowed_fd(event, PollFlags::IN)).collect();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("an interval is short");
        // A signal ends the wait early, which does no harm.
        _ = poll(&mut polled, Some(&timeout));
        if watchdog.is_some_and(Watchdog::take_report) {
            send(&[NotifyState::Watchdog]);
        }
        let has_occurred = polled[..events.len()].iter().any(|event| !event.revents().is_empty());
        if left.is_zero() || has_occurred {
            return;
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager (NOTIFY_SOCKET)");
    }
}
