//! The kernel's side of the lent memory: it takes blocks from the ring of entries, fills them, and remembers whose bytes lie
//! where.

use std::sync::atomic::{AtomicU16, Ordering::Acquire};

use io_uring::types::BufRingEntry;

use crate::mode::io_uring::ring::Registration;

/// What a lent block holds until bytes are received into it. No client sends this byte.
const SCRIBBLE: u8 = 0xEE;

/// The lent memory.
pub(super) struct LentMemory {
    ring: Registration,
    /// The position of the entry that is consumed next, and the first position that has not been seen.
    head: u16,
    seen: u16,
    blocks: Vec<Option<LentBlock>>,
}

/// A block that was lent at least once.
struct LentBlock {
    address: u64,
    lent: usize,
    used: usize,
    /// Whether it can still be received into.
    is_lent: bool,
    /// The end of each receive since the block was lent, and its socket.
    receives: Vec<(usize, u64)>,
}

/// Where a receive went.
pub(super) struct Placed {
    pub(super) block: u16,
    /// Whether the block has room left.
    pub(super) more: bool,
}

impl LentMemory {
    pub(super) fn new(ring: Registration) -> Self {
        Self { ring, head: 0, seen: 0, blocks: Vec::new() }
    }

    fn entries(&self) -> *mut BufRingEntry {
        self.ring.address() as *mut BufRingEntry
    }

    /// Takes the entries that were added since. As a kernel may write to lent memory at any time, it writes at once.
    pub(super) fn take_new_entries(&mut self) {
        // SAFETY: The ring is registered and is freed only after this kernel. Its first entry holds the tail.
        let tail = unsafe { &*BufRingEntry::tail(self.entries()).cast::<AtomicU16>() }.load(Acquire);
        while self.seen != tail {
            // SAFETY: As above; the position is taken modulo the number of entries, and the entry lies before the tail.
            let entry = unsafe { &*self.entries().add(usize::from(self.seen % self.ring.entries())) };
            let (address, lent, id) = (entry.addr(), entry.len() as usize, entry.bid());
            self.seen = self.seen.wrapping_add(1);
            self.take(address, lent, id);
        }
        assert!(self.seen.wrapping_sub(self.head) <= self.ring.entries(), "more lent blocks than entries");
    }

    fn take(&mut self, address: u64, lent: usize, id: u16) {
        assert!(address != 0 && lent > 0, "an entry was read before it was written");
        if self.blocks.len() <= usize::from(id) {
            self.blocks.resize_with(usize::from(id) + 1, || None);
        }
        let before = self.blocks[usize::from(id)].replace(LentBlock {
            address,
            lent,
            used: 0,
            is_lent: true,
            receives: Vec::new(),
        });
        if let Some(before) = before {
            assert!(!before.is_lent, "block {id} was lent twice");
            assert_eq!(before.address, address, "block {id} has moved");
        }
        let others = self.blocks.iter().flatten().filter(|other| other.address == address).count();
        assert_eq!(others, 1, "two blocks at one address");
        access::allow(address, lent);
        // SAFETY: The mode has lent this memory, and does not touch it before bytes are received into it.
        unsafe { std::ptr::write_bytes(address as *mut u8, SCRIBBLE, lent) };
        access::forbid(address, lent);
    }

    /// How many bytes the next receive can have; `None` without a lent block.
    pub(super) fn room(&mut self) -> Option<usize> {
        self.take_new_entries();
        let entry = self.next_entry()?;
        // SAFETY: `next_entry` returns an entry before the tail, which only this kernel writes to.
        Some(unsafe { (*entry).len() } as usize)
    }

    fn next_entry(&self) -> Option<*mut BufRingEntry> {
        // SAFETY: The position is taken modulo the number of entries.
        (self.head != self.seen)
            .then(|| unsafe { self.entries().add(usize::from(self.head % self.ring.entries())) })
    }

    /// Receives bytes of a socket, which are not more than there is room for. The entry's block moves on (IOU_PBUF_RING_INC).
    pub(super) fn place(&mut self, bytes: &[u8], socket: u64) -> Placed {
        let entry = self.next_entry().expect("the caller has asked for room");
        // SAFETY: The entry lies before the tail and is not used up, so only this kernel writes to it.
        let entry = unsafe { &mut *entry };
        let id = entry.bid();
        let block = self.blocks[usize::from(id)].as_mut().expect("it was taken");
        assert_eq!(entry.addr(), block.address + block.used as u64, "a lent entry was changed");
        assert_eq!(entry.len() as usize, block.lent - block.used, "a lent entry was changed");
        assert!(bytes.len() <= entry.len() as usize);
        access::allow(entry.addr(), bytes.len());
        // SAFETY: The range lies in the lent memory and was not received into since the block was lent.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), entry.addr() as *mut u8, bytes.len()) };
        block.used += bytes.len();
        block.receives.push((block.used, socket));
        let more = block.used < block.lent;
        entry.set_addr(entry.addr() + bytes.len() as u64);
        entry.set_len((block.lent - block.used) as u32);
        if !more {
            block.is_lent = false;
            self.head = self.head.wrapping_add(1);
        }
        Placed { block: id, more }
    }

    /// The bytes of a send, which must all have been received from the same socket, in a block that was not lent again.
    pub(super) fn read_sent(&mut self, address: u64, len: usize, socket: u64) -> Vec<u8> {
        self.take_new_entries();
        assert!(len > 0, "an empty send");
        let end = address + len as u64;
        let block = self
            .blocks
            .iter()
            .flatten()
            .find(|block| block.address <= address && end <= block.address + block.used as u64)
            .expect("a send of bytes that were not received since their block was lent");
        let mut start = block.address;
        for (receive_end, owner) in &block.receives {
            let receive_end = block.address + *receive_end as u64;
            assert!(
                *owner == socket || receive_end <= address || end <= start,
                "a send of bytes of another connection"
            );
            start = receive_end;
        }
        // SAFETY: The range lies in a block, behind which the kernel may write, but not in it.
        unsafe { std::slice::from_raw_parts(address as *const u8, len) }.to_vec()
    }

    /// How many blocks can still be received into.
    pub(super) fn lent_count(&mut self) -> usize {
        self.take_new_entries();
        self.blocks.iter().flatten().filter(|block| block.is_lent).count()
    }
}

/// Under AddressSanitizer (`--cfg asan`, see tests/sanitizers), an access to lent memory that nothing was received into yet ends
/// the program.
mod access {
    #[cfg(asan)]
    pub(super) fn allow(address: u64, len: usize) {
        // SAFETY: This only changes AddressSanitizer's records of the range.
        unsafe { __asan_unpoison_memory_region(address as *const u8, len) }
    }

    #[cfg(asan)]
    pub(super) fn forbid(address: u64, len: usize) {
        // SAFETY: As above.
        unsafe { __asan_poison_memory_region(address as *const u8, len) }
    }

    #[cfg(asan)]
    unsafe extern "C" {
        fn __asan_poison_memory_region(address: *const u8, len: usize);
        fn __asan_unpoison_memory_region(address: *const u8, len: usize);
    }

    #[cfg(not(asan))]
    pub(super) fn allow(_: u64, _: usize) {}

    #[cfg(not(asan))]
    pub(super) fn forbid(_: u64, _: usize) {}
}
