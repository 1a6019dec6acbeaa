//! SIGINT and SIGTERM: the first ends the load, the second one the process.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::Context;
use common::signal::Termination;

use crate::{clock::Clock, control::Control, error::RunError};

/// What is known of signals. It is made once for each process; a run after the other gets ended by it.
#[derive(Debug)]
pub struct Interruption {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    signal: OnceLock<Termination>,
    /// The run that is to be ended, and the clock that it goes by.
    run: Mutex<Option<(Weak<Control>, Clock)>>,
}

impl Interruption {
    /// Handles the signals from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn install() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let first = {
            let shared = shared.clone();
            move |termination| {
                let _the_first_counts = shared.signal.set(termination);
                shared.stop();
            }
        };
        // The servers that were started end too: see `server_process`.
        common::signal::on_termination(first, Termination::exit_code).context("signals cannot be handled")?;
        Ok(Self { shared })
    }

    /// The signal that came.
    pub fn signal(&self) -> Option<Termination> {
        self.shared.signal.get().copied()
    }

    /// An error if a signal came.
    ///
    /// # Errors
    /// [`RunError::Interrupted`].
    pub fn check(&self) -> Result<(), RunError> {
        self.signal().map_or(Ok(()), |signal| Err(RunError::Interrupted(signal)))
    }

    /// This is the run that a signal ends from now on; at once, if it came already.
    pub fn end_with_signal(&self, control: &Arc<Control>, clock: Clock) {
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
