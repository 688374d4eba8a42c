//! Writing to memory that is given: the host's, or a device's.

use bridge_core::{
    Access, Device, DeviceKind, ManagedTensor, NativeArray, Result, TensorError, TensorSpec,
};

use crate::array::ClArray;
use crate::backend::exported;
use crate::compute::copied_to;
use crate::enqueue::{After, Bytes};
use crate::event::ClEvent;
use crate::region::Region;
use crate::streams;
use crate::transfer::{download, download_to, upload_to};

/// Whether [`write`] goes from the one device to the other.
pub(crate) fn writes(from: Device, to: Device) -> bool {
    let is_ours = |device: Device| device.kind() == DeviceKind::OpenCl;
    match is_ours(to) {
        true => is_ours(from) || from.kind().is_host_accessible(),
        false => is_ours(from) && to == Device::CPU,
    }
}

/// Copies a tensor to memory that is there: row-major, nobody else's and not read before.
pub(crate) fn write(tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
    let alike = (tensor.data_type(), tensor.shape()) == (target.data_type(), target.shape());
    let is_whole = target.layout().is_row_major() && target.access() == Access::Exclusive;
    if !alike || !is_whole {
        let reason = format!("OpenCL cannot write {tensor:?} to {target:?}");
        return Err(TensorError::InvalidTensor { reason }.into());
    }
    match target.device().kind() {
        DeviceKind::OpenCl => write_to_device(tensor, target),
        _ => write_to_host(tensor, target),
    }
}

fn write_to_host(tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
    target.require_host()?;
    let Some(region) = Region::of(tensor)? else { return Ok(target) };
    let (queue, last) = streams::ready(tensor.stream(), region.device)?;
    let after = After { queue: &queue, events: last.as_slice() };
    // SAFETY: the target is the host's, row-major, of the same shape and element type, and nobody else's:
    // its access is exclusive, and it has been handed over.
    unsafe { download_to(&region, after, target) }?.released(&region)
}

fn write_to_device(tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
    let array = ClArray::import(target)?;
    let Some(there) = array.region() else { return exported(array) };
    let bytes: Bytes = there.bytes()?;
    if tensor.device().kind() != DeviceKind::OpenCl {
        tensor.require_host()?;
        // SAFETY: the source is the host's; the bytes are those of the target, which has its shape and
        // element type, lies in its live buffer, and is nobody else's: its access is exclusive.
        array.behind(|after| Ok(((), unsafe { upload_to(tensor, bytes, after) }?)))?;
        return exported(array);
    }
    if tensor.device() != array.device().device() {
        // Two devices have two contexts, between which OpenCL moves nothing.
        let host = downloaded(tensor)?;
        // SAFETY: as above.
        array.behind(|after| Ok(((), unsafe { upload_to(&host, bytes, after) }?)))?;
        return exported(array);
    }
    let Some(here) = Region::of(tensor)? else { return exported(array) };
    let (_, ready) = streams::ready(tensor.stream(), here.device)?;
    array.behind(|after| {
        let events: Vec<ClEvent> = after.events.iter().cloned().chain(ready).collect();
        // SAFETY: as above, and both are memory of one device.
        Ok(((), unsafe { copied_to(&here, bytes, After { events: &events, ..after }) }?))
    })?;
    // The source is given back when the call returns, and may then be written or freed.
    array.wait()?;
    exported(array)
}

/// The elements of a borrowed tensor on the host.
pub(crate) fn downloaded(tensor: &ManagedTensor) -> Result<ManagedTensor> {
    match Region::of(tensor)? {
        Some(region) => {
            let (queue, last) = streams::ready(tensor.stream(), region.device)?;
            let after = After { queue: &queue, events: last.as_slice() };
            download(&region, after)?.released(&region)
        }
        None => {
            let spec = TensorSpec::row_major(tensor.data_type(), tensor.shape())?;
            bridge_host::zeroed(&spec, spec.data_type.alignment())
        }
    }
}
