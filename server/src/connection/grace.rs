//! The grace period of the drain: when the server half-closes a connection.
//!
//! A stream of bytes has no messages, so the server cannot know whether a request is complete or on its way. But a client
//! that waits for its reply sends nothing meanwhile. So each connection gets the reply to its next request, and the
//! half-close together with it: a client that reads both sends no request that the server would discard.

use std::time::{Duration, Instant};

/// A shorter read ends a message. A longer one may be a piece of a message, since it can fill a segment.
const PIECE_BYTES_MIN: usize = 1400;

/// A message in pieces has ended if no piece has arrived for this long.
const PIECES_END_AFTER: Duration = Duration::from_millis(200);

/// What a connection has received since the drain began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grace {
    /// Nothing.
    Waiting,
    /// A piece of a message.
    InPieces,
    /// A whole message.
    Answered,
}

impl Grace {
    /// A read has brought `count` bytes.
    pub(crate) fn received(count: usize) -> Self {
        if count < PIECE_BYTES_MIN { Self::Answered } else { Self::InPieces }
    }

    /// When to half-close the connection if nothing more arrives; `None` means at once. `last_bytes` is the moment at which bytes
    /// were received or echoed for the last time.
    pub(crate) fn ends_at(self, grace_end: Instant, last_bytes: Instant) -> Option<Instant> {
        match self {
            Self::Waiting => Some(grace_end),
            Self::InPieces => Some(grace_end.min(last_bytes + PIECES_END_AFTER)),
            Self::Answered => None,
        }
    }

    /// Whether it is over at `now`.
    pub(crate) fn is_over(self, now: Instant, grace_end: Instant, last_bytes: Instant) -> bool {
        self.ends_at(grace_end, last_bytes).is_none_or(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_half_closed_after_a_message_or_at_the_end_of_the_period() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let is_over = |grace: Grace, now| grace.is_over(at(now), at(1_000), at(100));
        assert!(!is_over(Grace::Waiting, 999) && is_over(Grace::Waiting, 1_000));
        assert_eq!(Grace::received(64), Grace::Answered);
        assert!(is_over(Grace::Answered, 0));
        assert_eq!(Grace::received(64 * 1024), Grace::InPieces);
        assert!(!is_over(Grace::InPieces, 299) && is_over(Grace::InPieces, 300));
        // Pieces do not extend the period.
        assert!(Grace::InPieces.is_over(at(1_000), at(1_000), at(999)));
    }
}
