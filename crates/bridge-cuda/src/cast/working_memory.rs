//! What copies and casts take beside their results.

use bridge_core::{DataType, Description, Device, DeviceBytes, DeviceKind, Overflow};

use super::looks_for_misfits;
use crate::transfer::staging::size_for;
use crate::transfer::working_memory::{self as copies, pinned};

/// Bytes of the cell in which a cast tells a value that does not fit.
pub(super) const MISFIT: usize = 8;

/// What making a copy of `found` as `data_type` on `to` takes. A cast on a GPU that has to look for values that do not
/// fit takes a cell of its memory, and a staging buffer to read it.
pub(crate) fn working_memory(
    found: &Description,
    data_type: DataType,
    to: Device,
    overflow: Overflow,
) -> Vec<DeviceBytes> {
    let (from, device) = (found.data_type, found.device);
    let Ok(bytes @ 1..) = found.layout.compact_bytes(from) else { return Vec::new() };
    if from == data_type || device.kind() != DeviceKind::Cuda {
        return copies::working_memory(found, to);
    }
    let on_gpu = |bytes: usize| DeviceBytes { device, bytes: bytes as u64 };
    // Elements that are not aligned for their type are moved first.
    let is_aligned = found.alignment.is_multiple_of(from.alignment());
    let moved = (!is_aligned).then(|| on_gpu(bytes));
    let looks = looks_for_misfits(from, data_type, overflow);
    let told = looks.then(|| [on_gpu(MISFIT), pinned(size_for(MISFIT))]);
    moved.into_iter().chain(told.into_iter().flatten()).collect()
}
