//! Memory that the ring lends to the kernel to receive into.

use std::{
    ptr,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::types::BufRingEntry;

use super::ledger::{BLOCK_BYTES, BLOCKS_MAX, Chunk, Ledger};

/// The blocks, and the ring through which they are lent to the kernel.
pub(super) struct Blocks {
    ledger: Ledger,
    lent: *mut BufRingEntry,
    /// The position of the next entry of the ring.
    tail: u16,
    /// The memory of each block. It is never freed: the kernel may still write to it just after its ring is closed.
    memory: Vec<*mut u8>,
}

// SAFETY: The pointers are to memory that only this value and the kernel use.
unsafe impl Send for Blocks {}

/// The ring of lent blocks, to register with a kernel. Its memory begins at a page and is never freed. Only [`Blocks`] makes
/// one.
#[derive(Clone, Copy)]
pub(in crate::mode::io_uring) struct Registration(*mut BufRingEntry);

/// The memory of the ring. The kernel requires it to begin at a page.
#[repr(C, align(4096))]
struct LentRing([LentEntry; BLOCKS_MAX as usize]);

/// One `io_uring_buf`: an address, a length and an id. The first one also holds the ring's tail.
#[repr(C, align(16))]
struct LentEntry([u8; 16]);

impl Blocks {
    /// Makes blocks. Lends some of them; the kernel sees them once the [`Blocks::registration`] is registered.
    pub(super) fn new() -> Self {
        let entries = [const { LentEntry([0; 16]) }; BLOCKS_MAX as usize];
        let lent = Box::leak(Box::new(LentRing(entries)));
        let lent = ptr::from_mut(lent).cast::<BufRingEntry>();
        let mut blocks = Self { ledger: Ledger::new(), lent, tail: 0, memory: Vec::new() };
        // If the ring's thread made a block later, it would be on that thread's heap, where glibc clears the memory and so
        // touches every page.
        (0..blocks.ledger.count()).for_each(|_| blocks.make());
        blocks.lend();
        blocks
    }

    /// What the kernel needs to find the lent blocks.
    pub(super) fn registration(&self) -> Registration {
        Registration(self.lent)
    }

    /// Makes the memory of a block.
    fn make(&mut self) {
        self.memory.push(Box::leak(vec![0; BLOCK_BYTES].into_boxed_slice()).as_mut_ptr());
    }

    /// Lends as many blocks as the kernel should have.
    fn lend(&mut self) {
        while let Some(loan) = self.ledger.next_loan() {
            let block = usize::from(loan.block);
            if block == self.memory.len() {
                self.make();
            }
            let at = usize::from(self.tail % BLOCKS_MAX);
            // SAFETY: The entry lies in the ring. The kernel reads only entries before the tail. There are no more blocks
            // than entries, so it has finished with this one. Only the fields are written, because the tail shares the first
            // entry's memory.
            unsafe {
                let entry = &mut *self.lent.add(at);
                entry.set_addr(self.memory[block] as u64);
                entry.set_len(loan.bytes as u32);
                entry.set_bid(loan.block);
            }
            self.tail = self.tail.wrapping_add(1);
            // SAFETY: The tail lies in the first entry, aligned to two bytes. The kernel may read it at any time, so it is
            // atomic. Release makes the entry visible before the tail.
            let tail = unsafe { &*BufRingEntry::tail(self.lent).cast::<AtomicU16>() };
            tail.store(self.tail, Ordering::Release);
        }
    }

    /// [`Ledger::received`].
    pub(super) fn received(&mut self, block: Option<u16>, len: usize, more: bool) -> Chunk {
        self.ledger.received(block, len, more)
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        let (block, start, len) = self.ledger.locate(chunk);
        // SAFETY: The range lies in the block, whose memory was initialised and is never freed. The kernel has written the
        // range, and writes only behind it until the block is lent again. By `locate`, the block has not been lent again.
        // The borrow of self prevents any other slice of it.
        unsafe { std::slice::from_raw_parts_mut(self.memory[block].add(start), len) }
    }

    /// Begins the next round, after a wait.
    pub(super) fn next_round(&mut self) {
        self.ledger.next_round();
    }

    /// Lends the blocks again that were used up in the previous round. Its sends must be complete and handled.
    pub(super) fn take_back(&mut self) {
        self.ledger.take_back();
        self.lend();
    }

    /// Lends twice as many blocks, up to a bound, if more connections had bytes than blocks are lent.
    pub(super) fn lend_more(&mut self, connections: usize) {
        if self.ledger.grow(connections) {
            self.lend();
        }
    }

    /// [`Ledger::check`].
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        assert_eq!(self.memory.len(), self.ledger.count(), "a block without memory");
        self.ledger.check()
    }

    /// Frees the memory.
    ///
    /// # Safety
    /// No kernel may use it any more.
    #[cfg(test)]
    pub(super) unsafe fn free(self) {
        for block in &self.memory {
            // SAFETY: `make` has leaked this box, and self is its only owner.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(*block, BLOCK_BYTES)) });
        }
        // SAFETY: `new` has leaked this box, and self is its only owner.
        drop(unsafe { Box::from_raw(self.lent.cast::<LentRing>()) });
    }
}

impl Registration {
    /// The address of the first entry.
    pub(in crate::mode::io_uring) fn address(self) -> u64 {
        self.0 as u64
    }

    /// How many entries the ring has.
    pub(in crate::mode::io_uring) fn entries(self) -> u16 {
        BLOCKS_MAX
    }
}
