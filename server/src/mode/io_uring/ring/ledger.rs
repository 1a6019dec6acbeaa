//! The books on the blocks: which of them the kernel has, and until when received bytes are valid. No memory is touched
//! here.

/// The size of a block. A message that does not fit in the rest of a block is received in two parts, so a block is large
/// compared with messages, and small compared with the processor's cache.
pub(super) const BLOCK_BYTES: usize = 128 * 1024;
/// How much of each block is lent at first. Pages that were never written take no memory.
const BLOCK_BYTES_AT_FIRST: usize = 32 * 1024;
/// The lent part of a block grows until it is this many times as large as a receive.
const RECEIVES_PER_BLOCK: usize = 64;
/// How many blocks are lent to the kernel at first. Few, so that they stay in the processor's cache.
const BLOCKS_AT_FIRST: u16 = 2;
/// How many blocks there are at most. A connection can receive this much before the mode notices that its client does not read.
pub(super) const BLOCKS_MAX: u16 = 16;

/// The part of a block that holds the bytes of a receive. It is valid until [`Ledger::take_back`] after the next wait.
#[derive(Debug)]
pub(in crate::mode::io_uring) struct Chunk {
    block: u16,
    start: usize,
    len: usize,
    round: u64,
}

/// A block to lend to the kernel now: its number, and how many of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loan {
    pub(super) block: u16,
    pub(super) bytes: usize,
}

/// Where each block is.
#[derive(Debug)]
pub(super) struct Ledger {
    /// How many bytes of each block were received since it was lent.
    used: Vec<usize>,
    /// How many blocks the kernel has that are not used up.
    lent_count: u16,
    /// How many blocks the kernel should have.
    lent_target: u16,
    /// How many bytes of each block to lend from now on.
    lent_bytes: usize,
    /// Unused blocks. The last one is lent first, as its bytes are most likely still in the cache.
    free: Vec<u16>,
    /// Blocks that were used up in this round.
    used_up: Vec<u16>,
    /// Blocks that were used up in the previous round and are not taken back yet.
    used_up_before: Vec<u16>,
    round: u64,
    /// The round of the oldest valid chunks.
    valid_from: u64,
}

impl Ledger {
    /// Free blocks, one more than are lent at first, as a used-up block waits for its sends.
    pub(super) fn new() -> Self {
        let free: Vec<_> = (0..=BLOCKS_AT_FIRST).collect();
        Self {
            used: vec![0; free.len()],
            lent_count: 0,
            lent_target: BLOCKS_AT_FIRST,
            lent_bytes: BLOCK_BYTES_AT_FIRST,
            free,
            used_up: Vec::new(),
            used_up_before: Vec::new(),
            round: 0,
            valid_from: 0,
        }
    }

    /// How many blocks there are.
    pub(super) fn count(&self) -> usize {
        self.used.len()
    }

    /// The next block to lend, until the kernel has [`Ledger::lent_target`] of them. It may be a new one.
    pub(super) fn next_loan(&mut self) -> Option<Loan> {
        if self.lent_count >= self.lent_target {
            return None;
        }
        let block = match self.free.pop() {
            Some(block) => block,
            None if self.count() < usize::from(BLOCKS_MAX) => {
                self.used.push(0);
                (self.used.len() - 1) as u16
            }
            // All other blocks are used up. The next round takes them back.
            None => return None,
        };
        self.used[usize::from(block)] = 0;
        self.lent_count += 1;
        Some(Loan { block, bytes: self.lent_bytes })
    }

    /// Notes a receive into a block, which the kernel still has if it has `more` room. Without a block, nothing was received.
    pub(super) fn received(&mut self, block: Option<u16>, len: usize, more: bool) -> Chunk {
        let Some(block) = block.filter(|_| len > 0) else {
            return Chunk { block: 0, start: 0, len: 0, round: self.round };
        };
        let start = self.used[usize::from(block)];
        self.used[usize::from(block)] += len;
        if !more {
            self.lent_count -= 1;
            self.used_up.push(block);
            self.lent_bytes = bytes_to_lend(self.lent_bytes, len);
        }
        Chunk { block, start, len, round: self.round }
    }

    /// The block of a chunk and the range in it. The kernel does not write to that range before the block is lent again.
    ///
    /// # Panics
    /// If the block may have been lent again since.
    pub(super) fn locate(&self, chunk: &Chunk) -> (usize, usize, usize) {
        assert!(chunk.round >= self.valid_from, "the kernel may own the block again");
        let end = chunk.start + chunk.len;
        assert!(end <= self.used[usize::from(chunk.block)].min(BLOCK_BYTES), "the kernel has not written it");
        (usize::from(chunk.block), chunk.start, chunk.len)
    }

    /// Begins the next round, after a wait.
    pub(super) fn next_round(&mut self) {
        self.round += 1;
        self.used_up_before.append(&mut self.used_up);
    }

    /// Frees the blocks that were used up in the previous round. Its sends must be complete and handled. Lend blocks next.
    pub(super) fn take_back(&mut self) {
        self.valid_from = self.round;
        self.free.append(&mut self.used_up_before);
    }

    /// Wants twice as many blocks lent, up to a bound, if more connections had bytes than blocks are lent. Returns whether to
    /// lend.
    pub(super) fn grow(&mut self, connections: usize) -> bool {
        let grows = connections > usize::from(self.lent_target);
        if grows {
            self.lent_bytes = BLOCK_BYTES;
            self.lent_target = (2 * self.lent_target).min(BLOCKS_MAX);
        }
        grows
    }

    /// Checks that each block is lent, free, or used up in this round or the previous one, and returns how many are lent.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        let mut owners = vec![0_u32; self.count()];
        let not_lent = self.free.iter().chain(&self.used_up).chain(&self.used_up_before);
        not_lent.for_each(|block| owners[usize::from(*block)] += 1);
        assert!(owners.iter().all(|owners| *owners <= 1), "a block is in two places: {self:?}");
        let lent = owners.iter().filter(|owners| **owners == 0).count();
        assert_eq!(lent, usize::from(self.lent_count), "a block is lost: {self:?}");
        assert!(self.count() <= usize::from(BLOCKS_MAX) && self.lent_count <= self.lent_target, "{self:?}");
        assert!(
            self.used.iter().all(|used| *used <= BLOCK_BYTES) && self.lent_bytes <= BLOCK_BYTES,
            "{self:?}"
        );
        lent
    }
}

/// How many bytes of a block to lend, after the last receive into a block with `lent` bytes had `received` bytes: twice as
/// many, up to the whole block, if that receive was large compared with the block.
fn bytes_to_lend(lent: usize, received: usize) -> usize {
    if received > lent / RECEIVES_PER_BLOCK { (2 * lent).min(BLOCK_BYTES) } else { lent }
}

impl Chunk {
    /// Whether it is empty, which means the end of the stream.
    pub(in crate::mode::io_uring) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::mode::io_uring) fn len(&self) -> usize {
        self.len
    }

    /// The rest of it, without its first `count` bytes.
    pub(in crate::mode::io_uring) fn after(&self, count: usize) -> Self {
        let count = count.min(self.len);
        Self { start: self.start + count, len: self.len - count, ..*self }
    }

    /// Adds the next chunk, if it lies right behind this one. Otherwise returns false.
    pub(in crate::mode::io_uring) fn extend(&mut self, next: &Self) -> bool {
        let is_next = (next.block, next.start) == (self.block, self.start + self.len);
        if is_next {
            self.len += next.len;
        }
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_messages_up_to_a_bound() {
        const KIB: usize = 1024;
        for (lent_kib, received, expected_kib) in [
            (32, 64, 32),
            (32, 512, 32),
            (32, 513, 64),
            (64, 1_024, 64),
            (64, 1_500, 128),
            (64, 16 * KIB, 128),
            (128, 128 * KIB, 128),
        ] {
            assert_eq!(
                bytes_to_lend(lent_kib * KIB, received),
                expected_kib * KIB,
                "{lent_kib} KiB, {received}"
            );
        }
    }

    #[test]
    fn adjacent_chunks_become_one() {
        let chunk = |block, start, len| Chunk { block, start, len, round: 0 };
        let mut first = chunk(1, 0, 64);
        assert!(!first.extend(&chunk(2, 64, 64)) && !first.extend(&chunk(1, 65, 64)));
        assert!(first.extend(&chunk(1, 64, 36)));
        assert_eq!((first.len(), first.after(90).len(), first.after(200).len()), (100, 10, 0));
    }
}
