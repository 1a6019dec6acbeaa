//! The bytes of a connection that the client has not taken yet.

/// Bytes to send. An empty outbox has no buffer and takes one word.
#[derive(Default)]
pub(super) struct Outbox {
    unsent: Option<Box<Unsent>>,
}

/// Bytes of which some have been sent. Never empty.
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Whether every byte has been sent.
    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_none()
    }

    /// The bytes to send next.
    pub(super) fn unsent(&self) -> Option<&[u8]> {
        self.unsent.as_ref().map(|unsent| &unsent.bytes[unsent.sent..])
    }

    /// Removes bytes that have been sent.
    pub(super) fn note_sent(&mut self, count: usize) {
        if let Some(unsent) = &mut self.unsent {
            unsent.sent += count;
            if unsent.sent == unsent.bytes.len() {
                self.unsent = None;
            }
        }
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        debug_assert!(!bytes.is_empty());
        match &mut self.unsent {
            Some(unsent) => unsent.bytes.extend_from_slice(bytes),
            None => self.unsent = Some(Box::new(Unsent { bytes: bytes.to_vec(), sent: 0 })),
        }
    }

    /// Adds bytes at the front.
    pub(super) fn push_front(&mut self, bytes: &[u8]) {
        let after = std::mem::take(self);
        self.push(bytes);
        if let Some(after) = after.unsent() {
            self.push(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_in_order_and_an_empty_outbox_takes_one_word() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty() && outbox.unsent().is_none());
        outbox.push(b"cd");
        outbox.push(b"ef");
        outbox.note_sent(1);
        outbox.push_front(b"ab");
        assert_eq!(outbox.unsent(), Some(&b"abdef"[..]));
        outbox.note_sent(5);
        assert!(outbox.is_empty());
        assert_eq!(size_of::<Outbox>(), size_of::<usize>());
    }
}
