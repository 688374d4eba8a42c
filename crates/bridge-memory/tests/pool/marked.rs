//! Buffers whose bytes are all the same, of pools of the host and of devices.

use std::ops::Range;

use bridge_memory::pool::{DeviceBuffer, DevicePool, Pool, PoolStats, PooledBuffer};
use bridge_testkit::fake_accelerator::DEVICES;

/// A pool, of which buffers are written whole and looked at.
pub(crate) trait Marking: Sync {
    type Buffer;

    /// A buffer whose bytes are all `mark`.
    fn marked(&self, bytes: usize, mark: u8) -> Self::Buffer;

    /// Whether they still are.
    fn is_marked(buffer: &Self::Buffer, mark: u8) -> bool;

    /// The addresses of the bytes that were asked for.
    fn place(buffer: &Self::Buffer) -> Range<usize>;

    fn trim(&self, bytes: u64);

    fn counted(&self) -> PoolStats;
}

impl Marking for Pool {
    type Buffer = PooledBuffer;

    fn marked(&self, bytes: usize, mark: u8) -> PooledBuffer {
        let mut buffer = self.zeroed::<u8>(bytes).unwrap();
        buffer.fill(mark);
        buffer
    }

    fn is_marked(buffer: &PooledBuffer, mark: u8) -> bool {
        are_all(buffer, mark)
    }

    fn place(buffer: &PooledBuffer) -> Range<usize> {
        let first = buffer.as_ptr().addr();
        first..first + buffer.len()
    }

    fn trim(&self, bytes: u64) {
        self.trim_to(bytes);
    }

    fn counted(&self) -> PoolStats {
        self.stats()
    }
}

/// Of the fake accelerator, whose memory is the host's. It is reached directly, as the copies of the fake
/// accelerator take long where nothing is optimised.
impl Marking for DevicePool {
    type Buffer = DeviceBuffer;

    fn marked(&self, bytes: usize, mark: u8) -> DeviceBuffer {
        let buffer = self.acquire(bytes).unwrap();
        assert!(DEVICES.contains(&self.device()), "the fake accelerator's");
        // SAFETY: the buffer has so many bytes, in memory that is the host's, and nobody else reaches them.
        unsafe { buffer.tensor().first_element().write_bytes(mark, bytes) };
        buffer
    }

    fn is_marked(buffer: &DeviceBuffer, mark: u8) -> bool {
        let first = buffer.tensor().first_element();
        // SAFETY: the buffer has so many bytes, which `marked` has written, in memory that is the host's;
        // while it is borrowed nobody writes them.
        are_all(unsafe { std::slice::from_raw_parts(first, buffer.bytes()) }, mark)
    }

    fn place(buffer: &DeviceBuffer) -> Range<usize> {
        let first = buffer.tensor().first_element().addr();
        first..first + buffer.bytes()
    }

    fn trim(&self, bytes: u64) {
        self.trim_to(bytes);
    }

    fn counted(&self) -> PoolStats {
        self.stats()
    }
}

/// Compared in parts, since one by one takes long where nothing is optimised.
fn are_all(bytes: &[u8], mark: u8) -> bool {
    let marks = [mark; 4096];
    bytes.chunks(marks.len()).all(|part| *part == marks[..part.len()])
}
