//! Bytes of the host: taken, and summed to notice a change.

use super::mapping::address;
use super::work::{Extent, Place};

/// The bytes of a box in the caller's memory, packed.
pub(super) fn packed(place: Place, extent: Extent) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(extent.bytes().unwrap_or(0) as usize);
    for offset in place.rows(extent) {
        let row = address(place.start + offset);
        // SAFETY: the caller of the copy promised that the source is there during the call.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(row, extent.width as usize) });
    }
    bytes
}

/// A number that changes with the bytes of a box of host memory.
pub(super) fn check_sum(place: Place, extent: Extent) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for (start, bytes) in place.ranges(extent) {
        // SAFETY: the range is in a pinned block that is alive, or the caller's own for the call.
        let bytes = unsafe { std::slice::from_raw_parts(address(start), bytes as usize) };
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let word = chunk.try_into().map_or(0, u64::from_ne_bytes);
            sum = (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        for byte in chunks.remainder() {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    sum
}
