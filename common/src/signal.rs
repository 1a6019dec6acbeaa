//! SIGINT and SIGTERM: the first one begins a clean end, the second one ends the process at once.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
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

    /// The exit code that a shell reports for a program that the signal ended: 128 plus the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 128 + SIGINT as u8,
            Self::Terminate => 128 + SIGTERM as u8,
        }
    }
}

/// Makes a write beyond the file-size limit fail (setrlimit(2), `RLIMIT_FSIZE`). By default, the kernel ends the process.
///
/// # Errors
/// When the handler cannot be installed.
pub fn survive_file_size_limit() -> io::Result<()> {
    // A handler: child processes would inherit an ignored signal.
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// SIGTERM does not end this process any more.
///
/// # Errors
/// When the handler cannot be installed.
pub fn survive_terminate() -> io::Result<()> {
    // A handler: child processes would inherit an ignored signal.
    flag::register(SIGTERM, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Calls `first` with the first SIGINT or SIGTERM, on a separate thread, so it may block and log. The next signal ends the
/// process at once, with the exit code that `second` returns.
///
/// # Errors
/// When the handlers or the thread cannot be installed.
pub fn on_termination(
    first: impl FnOnce(Termination) + Send + 'static,
    second: impl Fn(Termination) -> u8,
) -> io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    for (number, termination) in [(SIGINT, Termination::Interrupt), (SIGTERM, Termination::Terminate)] {
        // Registered first, so that the first signal finds the flag unset.
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
        // The handlers stay installed for the second signal.
    })?;
    Ok(())
}

/// Calls `then` at each SIGHUP, on a separate thread. SIGHUP does not end the process any more.
///
/// # Errors
/// When the handler or the thread cannot be installed.
pub fn on_hangup(then: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    thread::Builder::new()
        .name("hangups".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || signals.forever().for_each(|_| then()))?;
    Ok(())
}
