//! SIGINT and SIGTERM: the first signal ends the load, the second one ends the process.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::Context;
use common::signal::Termination;

use crate::engine::{clock::Clock, control::Control, error::RunError};

/// The signals that this process received. One value serves all runs of the process, one after the other.
#[derive(Debug)]
pub(crate) struct Interruption {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    signal: OnceLock<Termination>,
    /// The run that a signal ends, and its clock.
    run: Mutex<Option<(Weak<Control>, Clock)>>,
}

impl Interruption {
    /// Handles the signals from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let first = {
            let shared = shared.clone();
            move |termination| {
                let _the_first_counts = shared.signal.set(termination);
                shared.stop();
            }
        };
        // The second signal also ends the servers that loadgen started: see `server_process`.
        common::signal::on_termination(first, Termination::exit_code).context("signals cannot be handled")?;
        Ok(Self { shared })
    }

    /// The first signal, if one arrived.
    pub(crate) fn signal(&self) -> Option<Termination> {
        self.shared.signal.get().copied()
    }

    /// Fails if a signal has arrived.
    ///
    /// # Errors
    /// [`RunError::Interrupted`].
    pub(crate) fn check(&self) -> Result<(), RunError> {
        self.signal().map_or(Ok(()), |signal| Err(RunError::Interrupted(signal)))
    }

    /// From now on, a signal ends this run. If one has already arrived, the run ends at once.
    pub(crate) fn stop_on_signal(&self, control: &Arc<Control>, clock: Clock) {
        *self.shared.lock() = Some((Arc::downgrade(control), clock));
        if self.signal().is_some() {
            self.shared.stop();
        }
    }
}

impl Shared {
    fn stop(&self) {
        if let Some((control, clock)) = self.lock().as_ref()
            && let Some(control) = control.upgrade()
        {
            control.stop(clock.now_ns());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Weak<Control>, Clock)>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
