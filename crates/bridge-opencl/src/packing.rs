//! Packing on the device: elements with gaps into memory without.

use bridge_core::{Result, TensorSpec};

use crate::enqueue::{After, Bytes};
use crate::event::ClEvent;
use crate::kernels::{Ends, Job, Kernels, Nest};
use crate::memory::{Filled, Memory};
use crate::region::Region;

/// The elements of a region in new memory of the device, row-major without gaps. `None` where the device
/// has no kernel for it.
///
/// # Errors
///
/// As the driver says.
pub(crate) fn packed(source: &Region<'_>, after: After<'_>) -> Result<Option<Filled>> {
    let Some(way) = Way::of(source) else { return Ok(None) };
    let count = source.compact_bytes()?;
    let spec = TensorSpec::row_major(source.data_type, source.layout.shape())?;
    let memory = Memory::allocate(source.device, &spec)?;
    let bytes = Bytes { mem: memory.raw(), offset: 0, count };
    // SAFETY: the new memory has room for the elements.
    let ready = unsafe { way.pack(source, bytes, after) }?;
    Ok(ready.map(|ready| Filled { memory, ready: Some(ready) }))
}

/// As [`packed`], to memory that is there; gives the event with which it is filled. `None` where the device has
/// no kernel for it: nothing was done.
///
/// # Errors
///
/// As the driver says.
///
/// # Safety
///
/// The bytes are as many as the elements take without gaps, in a live buffer of the region's device, and
/// nobody else's.
pub(crate) unsafe fn packed_to(
    source: &Region<'_>,
    bytes: Bytes,
    after: After<'_>,
) -> Result<Option<ClEvent>> {
    match Way::of(source) {
        // A kernel begins at the start of a buffer.
        Some(Way::Kernel { .. }) if bytes.offset != 0 => {
            let Some(Filled { memory, ready }) = packed(source, after)? else { return Ok(None) };
            let events: Vec<ClEvent> = ready.into_iter().collect();
            let from = Bytes { mem: memory.raw(), offset: 0, ..bytes };
            // SAFETY: the packed memory has as many bytes, and the driver keeps it until the command is
            // done; the caller promises the others.
            unsafe { After { events: &events, ..after }.copy(from, bytes) }.map(Some)
        }
        // SAFETY: the caller promises the same.
        Some(way) => unsafe { way.pack(source, bytes, after) },
        None => Ok(None),
    }
}

/// How a device packs elements.
enum Way {
    /// They have no gaps.
    Copy,
    /// Piece by piece.
    Kernel { unit: usize, nest: Nest },
}

impl Way {
    /// `None` where no kernel takes such elements.
    fn of(source: &Region<'_>) -> Option<Self> {
        if source.layout.is_row_major() {
            return Some(Self::Copy);
        }
        let item = source.data_type.size_in_bytes()?;
        let unit = piece(item, source.layout.byte_offset(), source.data_type.alignment());
        Nest::new(source.layout, item, unit).map(|nest| Self::Kernel { unit, nest })
    }

    /// Packs a region, of which this was made. `None` where the device's compiler refuses the kernel.
    ///
    /// # Errors
    ///
    /// As the driver says.
    ///
    /// # Safety
    ///
    /// As [`packed_to`]; for a kernel the bytes begin at the start of their buffer.
    unsafe fn pack(
        &self,
        source: &Region<'_>,
        bytes: Bytes,
        after: After<'_>,
    ) -> Result<Option<ClEvent>> {
        match self {
            // SAFETY: the region lies in its buffer, checked when it was made, and has no gaps; the caller
            // promises as many bytes.
            Self::Copy => unsafe { after.copy(source.bytes()?, bytes) }.map(Some),
            Self::Kernel { unit, nest } => {
                let (target, count) = (bytes.mem, bytes.count);
                let ends = Ends { source: source.mem, target, nest, misfit: None, bytes: count };
                let kernels = Kernels::of(source.device)?;
                // SAFETY: the nest leads to the elements of the region, in its live buffer; the caller
                // promises room for all of them from the start of the target on.
                unsafe { kernels.run(Job::Copy { unit: *unit }, &ends, after) }
            }
        }
    }
}

/// The largest piece, up to 16 bytes, that elements and their offset are made of and that the
/// memory is aligned to.
fn piece(item: usize, byte_offset: usize, alignment: usize) -> usize {
    let trailing = (item | byte_offset | alignment | 16).trailing_zeros();
    1 << trailing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_divide_item_offset_and_alignment() {
        assert_eq!(piece(16, 32, 16), 16);
        assert_eq!(piece(16, 32, 8), 8);
        assert_eq!(piece(12, 0, 4), 4);
        assert_eq!(piece(8, 1, 8), 1);
        assert_eq!(piece(64, 0, 64), 16);
    }
}
