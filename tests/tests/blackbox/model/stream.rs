//! The bytes of a client, and the check of their echo: a pure function of the script, without a socket.

use super::program::{Script, Step};

/// An urgent byte. No other byte of a stream has this value, so an urgent byte at another place is found.
pub(super) const URGENT: u8 = b'!';

/// What stands for [`URGENT`] in the random bytes.
const NOT_URGENT: u8 = b'#';

/// The bytes that a client sends. Each byte follows from its position and the number of the client, so a byte that is lost,
/// doubled, moved, or another client's is found.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    salt: u64,
    /// The positions of urgent bytes, in their order.
    urgent: Vec<u64>,
}

/// The check of an echo, piece by piece.
#[derive(Clone, Debug)]
pub(super) struct EchoCheck {
    stream: Stream,
    /// The number of bytes that have come back.
    echoed: u64,
    expected: Vec<u8>,
}

impl Stream {
    /// The stream of a script. `salt` tells clients apart.
    pub(super) fn of(script: &Script, salt: u64) -> Self {
        let mut position = 0;
        let mut urgent = Vec::new();
        for step in &script.steps {
            if *step == Step::WriteUrgent {
                urgent.push(position);
            }
            position += step.bytes();
        }
        Self { salt: mix(salt), urgent }
    }

    /// Writes the bytes from `position` on.
    pub(super) fn fill(&self, position: u64, bytes: &mut [u8]) {
        let end = position + bytes.len() as u64;
        let mut rest = &mut *bytes;
        let mut at = position;
        while !rest.is_empty() {
            let word = mix(self.salt ^ (at / 8)).to_le_bytes();
            let from = (at % 8) as usize;
            let count = rest.len().min(8 - from);
            for (byte, value) in rest[..count].iter_mut().zip(&word[from..]) {
                *byte = if *value == URGENT { NOT_URGENT } else { *value };
            }
            rest = &mut rest[count..];
            at += count as u64;
        }
        for urgent in self.urgent.iter().filter(|urgent| (position..end).contains(urgent)) {
            bytes[(urgent - position) as usize] = URGENT;
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood: Fast splittable pseudorandom number generators).
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl EchoCheck {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, echoed: 0, expected: Vec::new() }
    }

    /// The number of bytes that have come back.
    pub(super) fn echoed(&self) -> u64 {
        self.echoed
    }

    /// Checks the next received bytes, after `sent` bytes were sent.
    ///
    /// # Errors
    /// When they are not the echo.
    pub(super) fn receive(&mut self, received: &[u8], sent: u64) -> Result<(), String> {
        self.expected.resize(received.len(), 0);
        self.stream.fill(self.echoed, &mut self.expected);
        self.expected.make_ascii_uppercase();
        if self.expected != received {
            return Err(self.difference(received));
        }
        self.echoed += received.len() as u64;
        if self.echoed > sent {
            return Err(format!("{} bytes came back, but only {sent} were sent", self.echoed));
        }
        Ok(())
    }

    fn difference(&self, received: &[u8]) -> String {
        let same = received.iter().zip(&self.expected).take_while(|(got, expected)| got == expected).count();
        let around = |bytes: &[u8]| bytes[same..bytes.len().min(same + 16)].escape_ascii().to_string();
        let position = self.echoed + same as u64;
        let (got, expected) = (around(received), around(&self.expected));
        format!("the echo differs from byte {position} on: '{got}' instead of '{expected}'")
    }
}
