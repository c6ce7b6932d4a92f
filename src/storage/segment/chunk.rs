//! Chunks: the bytes of a segment that are in memory, appended once and sliced by any number of readers.
//!
//! A chunk covers a range of its segment's file. It starts at a multiple of [`ALIGNMENT`] and never reaches over a
//! multiple of [`CHUNK_BYTES`], so that it goes to disk in one aligned write. It starts small and grows, because most
//! partitions are quiet. The same memory waits for the disk, serves fetches, and is the batch cache afterwards.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::ALIGNMENT;

/// The largest chunk, and the file positions at which chunks end, in bytes.
pub const CHUNK_BYTES: usize = 1 << 20;
/// A chunk that outgrows its memory moves to this many times as much: few copies, little waste.
const GROWTH: usize = 4;

const _: () = assert!(CHUNK_BYTES.is_multiple_of(ALIGNMENT));

/// Memory that is written once, front to back, by the one [`Chunk`] that owns it.
struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: `Memory` is a plain allocation without thread affinity. Shared access is only through `Slice`s, which cover
// bytes that were written before the slice was made and are never written again; the chunk, which is the only writer,
// writes behind all of them. So no byte is ever written while another thread may read it.
unsafe impl Send for Memory {}
// SAFETY: see `Send`.
unsafe impl Sync for Memory {}

impl Memory {
    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, 64).expect("chunks are at most CHUNK_BYTES")
    }

    fn new(capacity: usize) -> Memory {
        assert!(capacity > 0);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc(Memory::layout(capacity)) };
        match NonNull::new(start) {
            Some(start) => Memory { start, capacity },
            None => handle_alloc_error(Memory::layout(capacity)),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, freed once.
        unsafe { dealloc(self.start.as_ptr(), Memory::layout(self.capacity)) }
    }
}

/// A reader's share of a chunk.
struct Slice {
    memory: Arc<Memory>,
    from: usize,
    len: usize,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Chunk::slice` made this from bytes below the chunk's length: initialised, inside the allocation that
        // `memory` keeps alive, and never written again.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr().add(self.from), self.len) }
    }
}

/// Consecutive bytes of a segment's file, in memory.
pub struct Chunk {
    memory: Arc<Memory>,
    start: u64,
    len: usize,
}

impl Chunk {
    /// An empty chunk for the file's bytes from `start`, a multiple of [`ALIGNMENT`], with memory for at least
    /// `expected` bytes or up to the chunk's end.
    pub fn new(start: u64, expected: usize) -> Chunk {
        assert!(start.is_multiple_of(ALIGNMENT as u64));
        Chunk { memory: Arc::new(Memory::new(Chunk::capacity_for(start, expected))), start, len: 0 }
    }

    fn capacity_for(start: u64, expected: usize) -> usize {
        let mut capacity = ALIGNMENT;
        while capacity < expected && capacity < CHUNK_BYTES {
            capacity *= GROWTH;
        }
        capacity.min(Chunk::span(start))
    }

    /// How many bytes a chunk that starts there can hold.
    fn span(start: u64) -> usize {
        CHUNK_BYTES - (start % CHUNK_BYTES as u64) as usize
    }

    /// The file position of the first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The file position behind the last byte.
    pub fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// Whether no byte can be added.
    pub fn is_full(&self) -> bool {
        self.len == Chunk::span(self.start)
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.memory.capacity
    }

    /// Adds as much of `bytes` as fits before the chunk's end, growing when it must; returns how much.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(Chunk::span(self.start) - self.len);
        if self.len + taken > self.memory.capacity {
            self.grow(self.len + taken);
        }
        // SAFETY: `[len, len + taken)` is inside the allocation, and no slice covers it: slices end at or below `len`.
        // `&mut self` and the chunk not being cloneable make this the only writer. The source cannot overlap: it is
        // borrowed shared, and all that is shared of this memory lies below `len`.
        unsafe {
            let target = self.memory.start.as_ptr().add(self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, taken);
        }
        self.len += taken;
        taken
    }

    /// Moves to larger memory. Slices of the old memory keep it alive.
    fn grow(&mut self, needed: usize) {
        let memory = Memory::new(Chunk::capacity_for(self.start, needed.max(self.memory.capacity * GROWTH)));
        // SAFETY: both allocations hold at least `len` bytes and are distinct.
        unsafe { std::ptr::copy_nonoverlapping(self.memory.start.as_ptr(), memory.start.as_ptr(), self.len) }
        self.memory = Arc::new(memory);
    }

    /// The bytes from file position `from` to `to`, both within the chunk, without copying them.
    pub fn slice(&self, from: u64, to: u64) -> Bytes {
        assert!(self.start <= from && from <= to && to <= self.end());
        let slice =
            Slice { memory: self.memory.clone(), from: (from - self.start) as usize, len: (to - from) as usize };
        Bytes::from_owner(slice)
    }

    /// The bytes from file position `from` to `to`, both within the chunk.
    pub fn bytes(&self, from: u64, to: u64) -> &[u8] {
        assert!(self.start <= from && from <= to && to <= self.end());
        // SAFETY: initialised, because it lies below `len`; not written while `self` is borrowed, and never again.
        unsafe {
            let start = self.memory.start.as_ptr().add((from - self.start) as usize);
            std::slice::from_raw_parts(start, (to - from) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slices_live_on_while_the_chunk_grows_and_goes() {
        let mut chunk = Chunk::new(8192, 1);
        assert_eq!(chunk.append(&[1; 100]), 100);
        let early = chunk.slice(8192, 8292);
        assert_eq!(chunk.append(&[2; 10_000]), 10_000);
        let late = chunk.slice(8250, 8300);
        drop(chunk);
        assert_eq!(&early[..], &[1; 100]);
        assert_eq!((&late[..42], &late[42..]), (&[1u8; 42][..], &[2u8; 8][..]));
    }

    #[test]
    fn a_chunk_ends_at_a_multiple_of_its_size() {
        let mut chunk = Chunk::new(CHUNK_BYTES as u64 - 4096, 1 << 30);
        assert_eq!(chunk.memory_bytes(), 4096);
        assert_eq!(chunk.append(&[3; 5000]), 4096);
        assert!(chunk.is_full());
        assert_eq!(chunk.append(&[3; 10]), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_chunk_holds_what_was_appended(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..20)) {
            let mut chunk = Chunk::new(0, 1);
            let mut model = Vec::new();
            let mut slices = Vec::new();
            for part in parts {
                prop_assert_eq!(chunk.append(&part), part.len());
                slices.push((chunk.slice(model.len() as u64, chunk.end()), part.clone()));
                model.extend_from_slice(&part);
            }
            prop_assert_eq!(chunk.bytes(0, chunk.end()), &model[..]);
            for (slice, part) in slices {
                prop_assert_eq!(&slice[..], &part[..]);
            }
        }
    }
}
