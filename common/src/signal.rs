//! SIGINT and SIGTERM: the first asks for a clean end, the second ends the process at once.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
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

/// Calls `first` with the first SIGINT or SIGTERM that arrives, on a thread of its own, so that it may block and log.
/// The next one ends the process at once with the exit code that `second` gives, whatever its threads do.
///
/// # Errors
/// When the handlers or the thread cannot be installed.
pub fn on_termination(
    first: impl FnOnce(Termination) + Send + 'static,
    second: impl Fn(Termination) -> u8,
) -> io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    for (number, termination) in [(SIGINT, Termination::Interrupt), (SIGTERM, Termination::Terminate)] {
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(number, second(termination).into(), Arc::clone(&seen))?;
    }
    for number in [SIGINT, SIGTERM] {
        flag::register(number, Arc::clone(&seen))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).stack_size(128 * 1024).spawn(move || {
        match signals.forever().next() {
            Some(SIGINT) => first(Termination::Interrupt),
            Some(_) => first(Termination::Terminate),
            None => {}
        }
        // The handlers stay installed: they are what the second signal meets.
    })?;
    Ok(())
}
