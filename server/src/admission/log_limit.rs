//! Log lines at a bounded rate.

use std::time::{Duration, Instant};

use crate::sync::{Mutex, PoisonError};

/// Lets the first events of each second be logged, and counts the others. So clients cannot flood the log.
#[derive(Debug)]
pub(crate) struct LogLimit {
    per_second: u32,
    window: Mutex<Option<Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    logged: u32,
    suppressed: u64,
}

impl LogLimit {
    const WINDOW: Duration = Duration::from_secs(1);

    /// Allows `per_second` log lines in each second.
    pub(crate) const fn new(per_second: u32) -> Self {
        Self { per_second, window: Mutex::new(None) }
    }

    /// `Some` if this event may be logged, with the number of events suppressed since the last logged one.
    pub(crate) fn check(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        match window.as_mut() {
            Some(current) if now.saturating_duration_since(current.start) < Self::WINDOW => {
                if current.logged == self.per_second {
                    current.suppressed += 1;
                    return None;
                }
                current.logged += 1;
                Some(0)
            }
            earlier => {
                let suppressed = earlier.map_or(0, |window| window.suppressed);
                *window = Some(Window { start: now, logged: 1, suppressed: 0 });
                Some(suppressed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_second_reports_how_many_events_were_suppressed() {
        let limit = LogLimit::new(2);
        let start = Instant::now();
        let logged: Vec<_> = (0..5).map(|_| limit.check(start)).collect();
        assert_eq!(logged, [Some(0), Some(0), None, None, None]);
        assert_eq!(limit.check(start + Duration::from_secs(1)), Some(3));
        assert_eq!(limit.check(start + Duration::from_secs(9)), Some(0));
    }
}
