//! Why connections are turned away: a counter and a bounded log for each reason.

use std::{
    array,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use crate::admission::log_limit::LogLimit;

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The limit on all connections is reached.
    Full,
    /// The system has no thread left.
    NoThread,
    /// The client's address is not permitted.
    Denied,
    /// The client has as many connections as one client may have.
    PerIp,
    /// The connection did not begin with a PROXY header, or not in time.
    ProxyHeader,
}

/// The connections that were turned away.
#[derive(Debug)]
pub(crate) struct Refusals {
    counts: [AtomicU64; Refusal::ALL.len()],
    // One for each reason: a flood of one kind must not hide another kind.
    log_limits: [LogLimit; Refusal::ALL.len()],
}

impl Refusal {
    /// All reasons, in the order of their discriminants.
    pub(crate) const ALL: [Self; 5] =
        [Self::Full, Self::NoThread, Self::Denied, Self::PerIp, Self::ProxyHeader];

    /// Its name in the log and in the metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoThread => "no_thread",
            Self::Denied => "denied",
            Self::PerIp => "per_ip",
            Self::ProxyHeader => "proxy_header",
        }
    }
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self { counts: Default::default(), log_limits: array::from_fn(|_| LogLimit::new(1)) }
    }

    /// Counts a connection that is turned away, and logs it at a bounded rate.
    pub(crate) fn add(&self, refusal: Refusal, client: Option<IpAddr>) {
        self.counts[refusal as usize].fetch_add(1, Relaxed);
        if let Some(not_logged) = self.log_limits[refusal as usize].check(Instant::now()) {
            let client = client.map(tracing::field::display);
            tracing::warn!(reason = refusal.name(), client, not_logged, "turned away");
        }
    }

    /// How many were turned away for this reason.
    pub(crate) fn count(&self, refusal: Refusal) -> u64 {
        self.counts[refusal as usize].load(Relaxed)
    }

    /// How many were turned away.
    pub(crate) fn total(&self) -> u64 {
        Refusal::ALL.iter().map(|refusal| self.count(*refusal)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter() {
        let refusals = Refusals::new();
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
            (0..=index).for_each(|_| refusals.add(refusal, None));
        }
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusals.count(refusal), index as u64 + 1);
        }
        let count = Refusal::ALL.len() as u64;
        assert_eq!(refusals.total(), count * (count + 1) / 2);
    }
}
