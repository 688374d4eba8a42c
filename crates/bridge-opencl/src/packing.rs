//! Packing on the device: elements with gaps into memory without.

use bridge_core::{Result, TensorSpec};

use crate::enqueue::{After, Bytes};
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
    let count = source.compact_bytes()?;
    let spec = TensorSpec::row_major(source.data_type, source.layout.shape())?;
    if source.layout.is_row_major() {
        let memory = Memory::allocate(source.device, &spec)?;
        let to = Bytes { mem: memory.raw(), offset: 0, count };
        // SAFETY: the region lies in its buffer, checked when it was made, and takes `count` bytes
        // without gaps; the new buffer has as many.
        let ready = unsafe { after.copy(source.bytes()?, to) }?;
        return Ok(Some(Filled { memory, ready: Some(ready) }));
    }
    let Some(item) = source.data_type.size_in_bytes() else {
        return Ok(None);
    };
    let unit = piece(item, source.layout.byte_offset(), source.data_type.alignment());
    let Some(nest) = Nest::new(source.layout, item, unit) else {
        return Ok(None);
    };
    let memory = Memory::allocate(source.device, &spec)?;
    let target = memory.raw();
    let ends = Ends { source: source.mem, target, nest: &nest, misfit: None, bytes: count };
    // SAFETY: the nest leads to the elements of the region, in its live buffer; the new memory has
    // room for all of them.
    let ready = unsafe { Kernels::of(source.device)?.run(Job::Copy { unit }, &ends, after) }?;
    Ok(ready.map(|ready| Filled { memory, ready: Some(ready) }))
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
