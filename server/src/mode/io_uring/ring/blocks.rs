//! Memory that the ring lends to the kernel to receive into.

use std::{
    ptr,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{IoUring, cqueue, types::BufRingEntry};

use crate::mode::io_uring::unavailable::{Step, Unavailable};

/// The size of a block. A message that does not fit in the rest of a block is received in two parts, so a block is large
/// compared with messages, and small compared with the processor's cache.
const BLOCK_BYTES: usize = 128 * 1024;
/// How much of each block is lent at first. Pages that were never written take no memory.
const BLOCK_BYTES_AT_FIRST: usize = 32 * 1024;
/// The lent part of a block grows until it is this many times as large as a receive.
const RECEIVES_PER_BLOCK: usize = 64;
/// How many blocks are lent to the kernel at first. Few, so that they stay in the processor's cache.
const BLOCKS_AT_FIRST: u16 = 2;
/// How many blocks there are at most. A connection can receive this much before the mode notices that its client does not read.
const BLOCKS_MAX: u16 = 16;
/// The buffer group of the blocks. The ring has only this one.
pub(super) const GROUP: u16 = 0;
/// A flag of io_uring_register_buf_ring(3): a receive consumes only a part of a block. Since Linux 6.12.
const IOU_PBUF_RING_INC: u16 = 2;

/// The part of a block that holds the bytes of a receive. It is valid until [`Blocks::take_back`] after the next wait.
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
    /// The position of the next entry of the ring.
    tail: u16,
    /// The memory of each block. It is never freed: the kernel may still write to it just after its ring is closed.
    memory: Vec<*mut u8>,
    /// How many bytes of each lent block are used.
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

// SAFETY: The pointers are to memory that only this value and the kernel use.
unsafe impl Send for Blocks {}

/// The memory of the ring. The kernel requires it to begin at a page.
#[repr(C, align(4096))]
struct LentRing([LentEntry; BLOCKS_MAX as usize]);

/// One `io_uring_buf`: an address, a length and an id. The first one also holds the ring's tail.
#[repr(C, align(16))]
struct LentEntry([u8; 16]);

impl Blocks {
    pub(super) fn new(ring: &IoUring) -> Result<Self, Unavailable> {
        let entries = [const { LentEntry([0; 16]) }; BLOCKS_MAX as usize];
        let lent = Box::leak(Box::new(LentRing(entries)));
        let lent = ptr::from_mut(lent).cast::<BufRingEntry>();
        // SAFETY: The memory begins at a page, holds BLOCKS_MAX entries, and is never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(lent as u64, BLOCKS_MAX, GROUP, IOU_PBUF_RING_INC)
        }
        .map_err(|error| Unavailable::new(Step::Blocks, &error))?;
        let mut blocks = Self {
            lent,
            tail: 0,
            memory: Vec::new(),
            used: Vec::new(),
            lent_count: 0,
            lent_target: BLOCKS_AT_FIRST,
            lent_bytes: BLOCK_BYTES_AT_FIRST,
            free: Vec::new(),
            used_up: Vec::new(),
            used_up_before: Vec::new(),
            round: 0,
            valid_from: 0,
        };
        // One more than are lent, as a used-up block waits for its sends. If the ring's thread made it later, it would be on
        // that thread's heap, where glibc clears the memory and so touches every page.
        blocks.free = (0..=BLOCKS_AT_FIRST).map(|_| blocks.make()).collect();
        blocks.lend();
        Ok(blocks)
    }

    /// Makes a block.
    fn make(&mut self) -> u16 {
        self.memory.push(Box::leak(vec![0; BLOCK_BYTES].into_boxed_slice()).as_mut_ptr());
        self.used.push(0);
        (self.memory.len() - 1) as u16
    }

    /// Lends blocks until the kernel has [`Blocks::lent_target`] of them.
    fn lend(&mut self) {
        while self.lent_count < self.lent_target {
            let block = match self.free.pop() {
                Some(block) => block,
                None if self.memory.len() < usize::from(BLOCKS_MAX) => self.make(),
                // All other blocks are used up. The next round takes them back.
                None => return,
            };
            self.lend_one(block);
        }
    }

    fn lend_one(&mut self, block: u16) {
        let at = usize::from(self.tail % BLOCKS_MAX);
        // SAFETY: The entry lies in the ring. The kernel reads only entries before the tail. There are no more blocks than
        // entries, so it has finished with this one. Only the fields are written, because the tail shares the first entry's
        // memory.
        unsafe {
            let entry = &mut *self.lent.add(at);
            entry.set_addr(self.memory[usize::from(block)] as u64);
            entry.set_len(self.lent_bytes as u32);
            entry.set_bid(block);
        }
        self.used[usize::from(block)] = 0;
        self.tail = self.tail.wrapping_add(1);
        self.lent_count += 1;
        // SAFETY: The tail lies in the first entry, aligned to two bytes. The kernel may read it at any time, so it is
        // atomic. Release makes the entry visible before the tail.
        let tail = unsafe { &*BufRingEntry::tail(self.lent).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Notes a receive into a block. Without a block, nothing was received.
    pub(super) fn received(&mut self, block: Option<u16>, len: usize, flags: u32) -> Chunk {
        let Some(block) = block.filter(|_| len > 0) else {
            return Chunk { block: 0, start: 0, len: 0, round: self.round };
        };
        let start = self.used[usize::from(block)];
        self.used[usize::from(block)] += len;
        if !cqueue::buffer_more(flags) {
            self.lent_count -= 1;
            self.used_up.push(block);
            self.lent_bytes = bytes_to_lend(self.lent_bytes, len);
        }
        Chunk { block, start, len, round: self.round }
    }

    pub(super) fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        assert!(chunk.round >= self.valid_from, "the kernel may own the block again");
        assert!(chunk.start + chunk.len <= BLOCK_BYTES);
        // SAFETY: The range lies in the block, whose memory was initialised and is never freed. The kernel has written the
        // range, and writes only behind it until the block is lent again. By the first assertion, the block has not been
        // lent again. The borrow of self prevents any other slice of it.
        unsafe {
            let start = self.memory[usize::from(chunk.block)].add(chunk.start);
            std::slice::from_raw_parts_mut(start, chunk.len)
        }
    }

    /// Begins the next round, after a wait.
    pub(super) fn next_round(&mut self) {
        self.round += 1;
        self.used_up_before.append(&mut self.used_up);
    }

    /// Lends the blocks again that were used up in the previous round. Its sends must be complete and handled.
    pub(super) fn take_back(&mut self) {
        self.valid_from = self.round;
        self.free.append(&mut self.used_up_before);
        self.lend();
    }

    /// Lends twice as many blocks, up to a bound, if more connections had bytes than blocks are lent.
    pub(super) fn lend_more(&mut self, connections: usize) {
        if connections <= usize::from(self.lent_target) {
            return;
        }
        self.lent_bytes = BLOCK_BYTES;
        self.lent_target = (2 * self.lent_target).min(BLOCKS_MAX);
        self.lend();
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
