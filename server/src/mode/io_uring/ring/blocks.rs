//! The memory that is lent to the kernel to receive into.

use std::{
    ptr,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{IoUring, cqueue, types::BufRingEntry};

use crate::mode::io_uring::refusal::{Refusal, Step};

/// The size of a block. A message that does not fit in what is left of one is received in two parts, so a block is large
/// beside messages; and small beside the processor's cache.
const BLOCK_BYTES: usize = 128 * 1024;
/// How many blocks are lent to the kernel at first. Few, so that they stay in the processor's cache.
const BLOCKS_AT_FIRST: u16 = 2;
/// How many there are at most: what a connection can receive before it is known that its client does not read.
const BLOCKS_MAX: u16 = 16;
/// The group that the blocks form. It is the ring's only one.
pub(super) const GROUP: u16 = 0;
/// Of the register call (io_uring_register_buf_ring(3)): blocks are used up piece by piece. Since Linux 6.12.
const IOU_PBUF_RING_INC: u16 = 2;

/// A piece of a block, in which received bytes lie. It is valid until the blocks are taken back after the next wait.
#[derive(Debug)]
pub(in crate::mode::io_uring) struct Chunk {
    block: u16,
    start: usize,
    len: usize,
    round: u64,
}

/// The blocks, and the ring through which they are lent to the kernel.
pub(super) struct Blocks {
    lent: *mut BufRingEntry,
    /// Where the next block is lent.
    tail: u16,
    /// Each block's memory. It is never freed: the kernel may write to it for a moment after its ring is closed.
    memory: Vec<*mut u8>,
    /// How much of each lent block is used up.
    used: Vec<usize>,
    /// Blocks that are with the kernel and not used up.
    lent_count: u16,
    /// How many are to be.
    lent_target: u16,
    /// Blocks that are not used, the last one first: its bytes are most likely still in the cache.
    free: Vec<u16>,
    /// Blocks that were used up in this round.
    used_up: Vec<u16>,
    /// Blocks that were used up in the round before, until they are taken back.
    used_up_before: Vec<u16>,
    round: u64,
    /// The round of the oldest chunks that are valid.
    valid_from: u64,
}

// SAFETY: The pointers are to memory that only this value and the kernel know.
unsafe impl Send for Blocks {}

/// The memory of the ring, which the kernel wants to begin with a page.
#[repr(C, align(4096))]
struct LentRing([LentEntry; BLOCKS_MAX as usize]);

/// One `io_uring_buf`: an address, a length, an id, and, in the first one only, the ring's tail.
#[repr(C, align(16))]
struct LentEntry([u8; 16]);

impl Blocks {
    pub(super) fn new(ring: &IoUring) -> Result<Self, Refusal> {
        let entries = [const { LentEntry([0; 16]) }; BLOCKS_MAX as usize];
        let lent = Box::leak(Box::new(LentRing(entries)));
        let lent = ptr::from_mut(lent).cast::<BufRingEntry>();
        // SAFETY: The memory begins with a page, holds as many entries, and is never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(lent as u64, BLOCKS_MAX, GROUP, IOU_PBUF_RING_INC)
        }
        .map_err(|error| Refusal::new(Step::Blocks, &error))?;
        let mut blocks = Self {
            lent,
            tail: 0,
            memory: Vec::new(),
            used: Vec::new(),
            lent_count: 0,
            lent_target: BLOCKS_AT_FIRST,
            free: Vec::new(),
            used_up: Vec::new(),
            used_up_before: Vec::new(),
            round: 0,
            valid_from: 0,
        };
        blocks.lend();
        Ok(blocks)
    }

    /// Lends blocks until as many are lent as are to be.
    fn lend(&mut self) {
        while self.lent_count < self.lent_target {
            let block = match self.free.pop() {
                Some(block) => block,
                None if self.memory.len() < usize::from(BLOCKS_MAX) => {
                    self.memory.push(Box::leak(vec![0; BLOCK_BYTES].into_boxed_slice()).as_mut_ptr());
                    self.used.push(0);
                    (self.memory.len() - 1) as u16
                }
                // The others are used up: they come back with the next round.
                None => return,
            };
            self.lend_one(block);
        }
    }

    fn lend_one(&mut self, block: u16) {
        let at = usize::from(self.tail % BLOCKS_MAX);
        // SAFETY: The entry lies in the ring, of which the kernel reads only what lies before the tail; there are no
        // more blocks than entries, so it is done with this one. Only the fields are written: the tail shares the first
        // entry's memory.
        unsafe {
            let entry = &mut *self.lent.add(at);
            entry.set_addr(self.memory[usize::from(block)] as u64);
            entry.set_len(BLOCK_BYTES as u32);
            entry.set_bid(block);
        }
        self.used[usize::from(block)] = 0;
        self.tail = self.tail.wrapping_add(1);
        self.lent_count += 1;
        // SAFETY: The tail lies in the first entry, aligned to two bytes. The kernel reads it at any time, hence the
        // atomic; Release has it see the entry first.
        let tail = unsafe { &*BufRingEntry::tail(self.lent).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Notes what was received into a block. Without a block, nothing was.
    pub(super) fn received(&mut self, block: Option<u16>, len: usize, flags: u32) -> Chunk {
        let Some(block) = block.filter(|_| len > 0) else {
            return Chunk { block: 0, start: 0, len: 0, round: self.round };
        };
        let start = self.used[usize::from(block)];
        self.used[usize::from(block)] += len;
        if !cqueue::buffer_more(flags) {
            self.lent_count -= 1;
            self.used_up.push(block);
        }
        Chunk { block, start, len, round: self.round }
    }

    pub(super) fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        assert!(chunk.round >= self.valid_from, "the kernel may have the block again");
        assert!(chunk.start + chunk.len <= BLOCK_BYTES);
        // SAFETY: The range lies in the block, whose memory is never freed and was initialised. The kernel has written
        // it and writes to what lies behind it only, until the block is lent again, which by the first assertion it
        // has not been. The borrow of self keeps any other slice of it away.
        unsafe {
            let start = self.memory[usize::from(chunk.block)].add(chunk.start);
            std::slice::from_raw_parts_mut(start, chunk.len)
        }
    }

    /// A wait has begun the next round.
    pub(super) fn next_round(&mut self) {
        self.round += 1;
        self.used_up_before.append(&mut self.used_up);
    }

    /// The sends of the round before are over and looked after: what was used up in it is lent again.
    pub(super) fn take_back(&mut self) {
        self.valid_from = self.round;
        self.free.append(&mut self.used_up_before);
        self.lend();
    }

    /// Lends twice as many, up to a bound, where more connections than there are lent blocks had something.
    pub(super) fn lend_more(&mut self, connections: usize) {
        if connections <= usize::from(self.lent_target) {
            return;
        }
        self.lent_target = (2 * self.lent_target).min(BLOCKS_MAX);
        self.lend();
    }
}

impl Chunk {
    /// An empty chunk is the end of the stream.
    pub(in crate::mode::io_uring) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::mode::io_uring) fn len(&self) -> usize {
        self.len
    }

    /// The rest of it, after some bytes.
    pub(in crate::mode::io_uring) fn after(&self, count: usize) -> Self {
        let count = count.min(self.len);
        Self { start: self.start + count, len: self.len - count, ..*self }
    }

    /// Takes in the chunk that lies right behind this one. False if another one lies there.
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
    fn chunks_that_lie_side_by_side_become_one() {
        let chunk = |block, start, len| Chunk { block, start, len, round: 0 };
        let mut first = chunk(1, 0, 64);
        assert!(!first.extend(&chunk(2, 64, 64)) && !first.extend(&chunk(1, 65, 64)));
        assert!(first.extend(&chunk(1, 64, 36)));
        assert_eq!((first.len(), first.after(90).len(), first.after(200).len()), (100, 10, 0));
    }
}
