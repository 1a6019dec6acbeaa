//! The tables of behaviours, and the tests made of them.

use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Completion, Failed, Trial};
use server::mode::{MODES, Mode};

use crate::harness::machine;

/// The machine. Most tests share it. A test that others would disturb locks it exclusively.
static MACHINE: RwLock<()> = RwLock::new(());

/// The behaviours of one file.
pub(crate) struct Group {
    /// The name of the file, which is the first part of the test names.
    pub(crate) name: &'static str,
    /// Behaviours that hold in every mode.
    pub(crate) in_every_mode: &'static [InMode],
    /// Behaviours of one mode, or independent of the mode.
    pub(crate) once: &'static [Once],
    /// Behaviours that are measured while no other test runs.
    pub(crate) alone: &'static [Once],
}

/// A behaviour of the server that holds in every mode.
pub(crate) struct InMode {
    pub(crate) name: &'static str,
    pub(crate) needs: Need,
    pub(crate) check: fn(&'static Mode),
}

/// A behaviour that is checked once.
pub(crate) struct Once {
    pub(crate) name: &'static str,
    pub(crate) needs: Need,
    pub(crate) check: fn(),
}

/// A requirement of the check on the machine. An error names the missing part.
pub(crate) type Need = fn() -> Result<(), String>;

/// Makes the group of a file from the names of its functions. The compiler reports a function that is missing here as dead
/// code.
macro_rules! group {
    (
        $(in every mode { $($name:ident $(needs $need:path)?),* $(,)? })?
        $(once { $($once:ident $(needs $once_need:path)?),* $(,)? })?
        $(alone { $($alone:ident $(needs $alone_need:path)?),* $(,)? })?
    ) => {
        pub(crate) fn group() -> $crate::behaviour::Group {
            $crate::behaviour::Group {
                name: module_path!().rsplit("::").next().expect("a path has a last part"),
                in_every_mode: &[$($($crate::behaviour::InMode {
                    name: stringify!($name),
                    needs: $crate::behaviour::need!($($need)?),
                    check: $name,
                }),*)?],
                once: &[$($($crate::behaviour::Once {
                    name: stringify!($once),
                    needs: $crate::behaviour::need!($($once_need)?),
                    check: $once,
                }),*)?],
                alone: &[$($($crate::behaviour::Once {
                    name: stringify!($alone),
                    needs: $crate::behaviour::need!($($alone_need)?),
                    check: $alone,
                }),*)?],
            }
        }
    };
}

macro_rules! need {
    () => {
        || Ok(())
    };
    ($need:path) => {
        $need
    };
}

pub(crate) use {group, need};

/// The tests of a group.
pub(crate) fn trials(group: Group) -> Vec<Trial> {
    let mut trials = Vec::new();
    for InMode { name, needs, check } in group.in_every_mode {
        trials.extend(MODES.iter().map(|mode| {
            let name = format!("{}::{}::{name}", group.name, mode.name);
            Trial::ignorable_test(name, move || {
                beside_others(|| run(|| machine::mode(mode).and_then(|()| needs()), || check(mode)))
            })
        }));
    }
    for Once { name, needs, check } in group.once {
        let name = format!("{}::{name}", group.name);
        trials.push(Trial::ignorable_test(name, move || beside_others(|| run(*needs, check))));
    }
    for Once { name, needs, check } in group.alone {
        let name = format!("{}::{name}", group.name);
        trials.push(Trial::ignorable_test(name, move || alone(|| run(*needs, check))));
    }
    trials
}

fn beside_others<T>(test: impl FnOnce() -> T) -> T {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    test()
}

/// Waits until the running tests have ended, and delays the start of others.
fn alone<T>(test: impl FnOnce() -> T) -> T {
    // The lock is poisoned if a test failed, which does not concern the next one.
    let _exclusive = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    test()
}

fn run(needs: impl FnOnce() -> Result<(), String>, check: impl FnOnce()) -> Result<Completion, Failed> {
    if let Err(missing) = needs() {
        return Ok(Completion::ignored_with(missing));
    }
    check();
    Ok(Completion::Completed)
}
