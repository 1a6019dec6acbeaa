//! Log lines at a bounded rate.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets a burst of events through in each second and counts the others, so that a flood of events makes no flood
/// of log lines.
#[derive(Debug)]
pub(crate) struct Throttle {
    burst: u32,
    window: Mutex<Option<Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    let_through: u32,
    held_back: u64,
}

impl Throttle {
    const WINDOW: Duration = Duration::from_secs(1);

    /// At most `burst` events in each second.
    pub(crate) const fn new(burst: u32) -> Self {
        Self { burst, window: Mutex::new(None) }
    }

    /// Whether this event may be logged: `Some` with the number of events that were held back before it.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        match window.as_mut() {
            Some(current) if now.saturating_duration_since(current.start) < Self::WINDOW => {
                if current.let_through == self.burst {
                    current.held_back += 1;
                    return None;
                }
                current.let_through += 1;
                Some(0)
            }
            earlier => {
                let held_back = earlier.map_or(0, |window| window.held_back);
                *window = Some(Window { start: now, let_through: 1, held_back: 0 });
                Some(held_back)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_the_rest_is_counted_and_the_next_second_says_so() {
        let throttle = Throttle::new(2);
        let start = Instant::now();
        let passed: Vec<_> = (0..5).map(|_| throttle.pass(start)).collect();
        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        assert_eq!(throttle.pass(start + Duration::from_secs(1)), Some(3));
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), Some(0));
    }
}
