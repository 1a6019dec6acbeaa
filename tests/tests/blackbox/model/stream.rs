//! The bytes of a client, and the check of their echo: a pure function of the script, without a socket.

use super::program::{Script, Step};

/// An urgent byte. No other byte of a stream has this value.
pub(super) const URGENT: u8 = b'!';

/// What stands for [`URGENT`] in the random bytes.
const NOT_URGENT: u8 = b'#';

/// The bytes that a client sends. Each byte follows from its position and the number of the client, so a byte that is lost,
/// doubled, moved, or another client's is found.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    salt: u64,
    /// The positions of urgent bytes, in their order.
    urgent: Vec<Urgent>,
}

#[derive(Clone, Copy, Debug)]
struct Urgent {
    position: u64,
    /// Whether another urgent byte may arrive before the server has read past this one. Then this one becomes an ordinary
    /// byte (tcp(7), SO_OOBINLINE; RFC 6093, section 3.2).
    may_be_ordinary: bool,
}

/// The check of an echo, piece by piece.
#[derive(Clone, Debug)]
pub(super) struct EchoCheck {
    stream: Stream,
    /// The position of the next expected byte.
    position: u64,
    /// The number of urgent bytes before the position.
    urgent_passed: usize,
    expected: Vec<u8>,
}

impl Stream {
    /// The stream of a script. `salt` tells clients apart.
    pub(super) fn of(script: &Script, salt: u64) -> Self {
        let mut urgent: Vec<Urgent> = Vec::new();
        let (mut position, mut awaited) = (0, 0);
        for step in &script.steps {
            match step {
                Step::WriteUrgent => {
                    if let Some(before) = urgent.last_mut() {
                        // The echo of a later byte shows that the server has read past it.
                        before.may_be_ordinary = awaited <= before.position + 1;
                    }
                    urgent.push(Urgent { position, may_be_ordinary: false });
                }
                Step::AwaitEcho => awaited = position,
                _ => {}
            }
            position += step.bytes();
        }
        Self { salt, urgent }
    }

    /// Writes the bytes from `position` on, without those of urgent data in their place.
    pub(super) fn fill(&self, position: u64, bytes: &mut [u8]) {
        let (mut at, mut rest) = (position, bytes);
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
        Self { stream, position: 0, urgent_passed: 0, expected: Vec::new() }
    }

    /// Checks the next received bytes.
    ///
    /// # Errors
    /// When they are not the echo.
    pub(super) fn receive(&mut self, received: &[u8]) -> Result<(), String> {
        let mut rest = received;
        while !rest.is_empty() {
            let next = self.stream.urgent.get(self.urgent_passed).copied();
            if let Some(urgent) = next.filter(|urgent| urgent.position == self.position) {
                if rest[0] == URGENT {
                    if !urgent.may_be_ordinary {
                        return Err(format!("the urgent byte {} was echoed", self.position));
                    }
                    rest = &rest[1..];
                }
                self.position += 1;
                self.urgent_passed += 1;
                continue;
            }
            let until_urgent = next.map_or(u64::MAX, |urgent| urgent.position - self.position);
            let count = rest.len().min(usize::try_from(until_urgent).unwrap_or(usize::MAX));
            self.expected.resize(count, 0);
            self.stream.fill(self.position, &mut self.expected);
            self.expected.make_ascii_uppercase();
            if self.expected != rest[..count] {
                return Err(self.difference(&rest[..count]));
            }
            self.position += count as u64;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// The number of bytes, of `sent` ones, whose echo is complete. Urgent bytes have none.
    pub(super) fn echoed(&self, sent: u64) -> u64 {
        let passed = self.stream.urgent[self.urgent_passed..].iter();
        passed
            .take_while({
                let mut position = self.position;
                move |urgent| {
                    let is_next = urgent.position == position && position < sent;
                    position += 1;
                    is_next
                }
            })
            .fold(self.position, |position, _| position + 1)
    }

    fn difference(&self, received: &[u8]) -> String {
        let offset = received.iter().zip(&self.expected).take_while(|(got, expected)| got == expected).count();
        let around =
            |bytes: &[u8]| bytes[offset..bytes.len().min(offset + 16)].escape_ascii().to_string();
        format!(
            "the echo differs from byte {} on: '{}' instead of '{}'",
            self.position + offset as u64,
            around(received),
            around(&self.expected)
        )
    }
}
