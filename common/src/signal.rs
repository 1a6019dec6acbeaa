//! SIGINT and SIGTERM: the first asks for a clean end, the second ends the process at once.

use std::{io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// A signal that asks a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Termination {
    /// The signal's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// What a shell would say of a program that the signal ended: 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 128 + SIGINT as u8,
            Self::Terminate => 128 + SIGTERM as u8,
        }
    }
}

/// Calls `first` with the first SIGINT or SIGTERM that arrives, and `second` with the next one.
/// Both run on a thread of their own, so they may block, log and exit.
///
/// # Errors
/// When the handlers or the thread cannot be installed.
pub fn on_termination(
    first: impl FnOnce(Termination) + Send + 'static,
    second: impl FnOnce(Termination) + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).stack_size(128 * 1024).spawn(move || {
        let mut arrived = signals.forever().map(|signal| match signal {
            SIGINT => Termination::Interrupt,
            _ => Termination::Terminate,
        });
        if let Some(signal) = arrived.next() {
            first(signal);
        }
        if let Some(signal) = arrived.next() {
            second(signal);
        }
    })?;
    Ok(())
}
