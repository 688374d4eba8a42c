//! The memory that rescaling takes.

use bridge_core::{
    DataType, Device, DeviceBytes, Layout, ManagedTensor, Options, Overflow, Registry, Result,
};

use super::rescale::{Rescale, Work};

/// What rescaling takes at most, but for what a pool reserves itself.
pub(super) struct Peaks {
    /// For its result.
    pub(super) kept: DeviceBytes,
    /// At any time beside that, on each device that it takes any on.
    pub(super) passing: Vec<DeviceBytes>,
}

impl Peaks {
    pub(super) fn of(
        registry: &Registry,
        tensor: &ManagedTensor,
        to: DataType,
        rescale: Rescale,
        options: &Options<'_>,
    ) -> Result<Self> {
        let (found, from) = (tensor.describe(), tensor.data_type());
        let row_major = Layout::row_major(found.layout.shape())?;
        let bytes_as =
            |data_type| -> Result<u64> { Ok(found.layout.compact_bytes(data_type)? as u64) };
        // What a kernel makes of this type.
        let taken_as = |data_type| match is_reserved(options, data_type) {
            true => Ok(0),
            false => bytes_as(data_type),
        };
        let (mut passing, mut on_host) = (Vec::new(), 0_u64);
        let mut read_from = &found.layout;
        if !found.device.kind().is_host_accessible() {
            let runtime = registry.runtime(found.device)?;
            passing = runtime.working_memory(&found, from, Device::CPU, Overflow::Refuse);
            on_host = match runtime.writes(from, found.device, Device::CPU) {
                true => taken_as(from)?,
                false => bytes_as(from)?,
            };
            read_from = &row_major;
        }
        let work = rescale.work(from, to);
        let mut buffers = 0;
        match work.reads_as(from) {
            None => buffers = bridge_host::working_memory((from, read_from), (to, &row_major)),
            Some(read_as) if bridge_host::is_read_in_place((from, read_from), read_as) => {}
            Some(read_as) => {
                on_host = on_host.saturating_add(taken_as(read_as)?);
                buffers = bridge_host::working_memory((from, read_from), (read_as, &row_major));
            }
        }
        let kept = taken_as(to)?;
        let (places, buffers) = match work {
            // The places in the range, before they are cast.
            Work::Spread { .. } if to.is_float() && to != DataType::F64 => {
                (taken_as(DataType::F64)?, buffers.saturating_sub(kept))
            }
            // The buffers are gone when the result is made.
            Work::Spread { .. } | Work::Stretch => (0, buffers.saturating_sub(kept)),
            Work::Cast(_) | Work::Saturate => (0, buffers),
        };
        on_host = on_host.saturating_add(places.max(buffers));
        match passing.iter_mut().find(|one| one.device == Device::CPU) {
            Some(host) => host.bytes = host.bytes.saturating_add(on_host),
            None => passing.push(DeviceBytes { device: Device::CPU, bytes: on_host }),
        }
        Ok(Self { kept: DeviceBytes { device: Device::CPU, bytes: kept }, passing })
    }
}

impl Work {
    /// The type that the elements are read as, row after row; a cast reads them as they are.
    fn reads_as(self, from: DataType) -> Option<DataType> {
        match self {
            Self::Cast(_) | Self::Saturate => None,
            Self::Stretch if from == DataType::F64 => Some(DataType::F64),
            Self::Stretch => Some(DataType::F32),
            Self::Spread { .. } if from == DataType::F32 => Some(DataType::F32),
            Self::Spread { .. } => Some(DataType::F64),
        }
    }
}

/// Whether the pool reserves itself what a kernel makes of this type.
fn is_reserved(options: &Options<'_>, data_type: DataType) -> bool {
    let alignment = data_type.alignment();
    options.memory_source().is_some_and(|pool| {
        pool.gives(Device::CPU, alignment) && pool.reserves(Device::CPU, alignment)
    })
}
