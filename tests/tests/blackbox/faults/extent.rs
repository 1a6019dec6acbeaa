//! How much of each fault: a short form for every run of the suite, and a long one.

use std::{env, sync::LazyLock};

/// A count in both forms.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    short: u32,
    long: u32,
}

/// Connections that their client resets.
pub(super) const ABORTED_CONNECTS: Extent = Extent { short: 2_000, long: 100_000 };
/// Clients that send until nothing more fits, and read nothing.
pub(super) const UNREAD_CLIENTS: Extent = Extent { short: 150, long: 10_000 };
/// Clients that send one byte per round.
pub(super) const SLOW_CLIENTS: Extent = Extent { short: 200, long: 5_000 };
/// Runs of busy clients, in turn alone and beside the slow ones.
pub(super) const SLOW_PAIRS: Extent = Extent { short: 1, long: 7 };
/// Seconds without a free descriptor.
pub(super) const EXHAUSTED_SECONDS: Extent = Extent { short: 1, long: 60 };
/// Times that a process is stopped and continued under load.
pub(super) const STOPS: Extent = Extent { short: 2, long: 40 };
/// Steps of the clock under load, in turn forward and back.
pub(super) const CLOCK_STEPS: Extent = Extent { short: 4, long: 60 };
/// Seconds of load over a bad network.
pub(super) const NETWORK_SECONDS: Extent = Extent { short: 1, long: 20 };
/// Random moments of a SIGTERM under full load.
pub(super) const SHUTDOWNS: Extent = Extent { short: 1, long: 200 };

static IS_LONG: LazyLock<bool> = LazyLock::new(|| match env::var("FAULTS").as_deref() {
    Ok("long") => true,
    Ok("short") | Err(_) => false,
    Ok(other) => panic!("FAULTS is 'short' or 'long', not '{other}'"),
});

/// Whether the long form runs. Only it compares times: it runs without other tests beside it.
pub(super) fn is_long() -> bool {
    *IS_LONG
}

impl Extent {
    /// The count of the selected form.
    pub(super) fn count(self) -> u32 {
        if is_long() { self.long } else { self.short }
    }
}
