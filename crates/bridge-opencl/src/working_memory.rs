//! What copies and casts take beside their results.

use bridge_core::{DataType, Description, Device, DeviceBytes, Layout, Overflow};

use crate::capabilities::Capabilities;
use crate::device::ClDevice;
use crate::kernels::Nest;

/// What making a copy of `found` as `data_type` on `to` takes.
pub(crate) fn working_memory(
    found: &Description,
    data_type: DataType,
    to: Device,
    overflow: Overflow,
) -> Vec<DeviceBytes> {
    let worker = if is_on_host(found.device) { to } else { found.device };
    let Ok(bytes @ 1..) = found.layout.compact_bytes(found.data_type) else { return Vec::new() };
    let Ok(device) = ClDevice::of(worker) else { return Vec::new() };
    let work = Work { device: device.capabilities(), found, bytes: bytes as u64 };
    let taken = match found.data_type == data_type {
        false => work.cast(data_type, overflow),
        true => work.copy(is_on_host(to)),
    };
    [(Device::CPU, taken.on_host), (worker, taken.on_device)]
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(device, bytes)| DeviceBytes { device, bytes })
        .collect()
}

fn is_on_host(device: Device) -> bool {
    device.kind().is_host_accessible()
}

/// Bytes beside a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    on_host: u64,
    on_device: u64,
}

impl Taken {
    /// What is taken by one and then by the other.
    fn then(self, other: Self) -> Self {
        Self {
            on_host: self.on_host.max(other.on_host),
            on_device: self.on_device.max(other.on_device),
        }
    }

    /// The same, while so many bytes more are there on the host.
    fn beside(self, on_host: u64) -> Self {
        Self { on_host: self.on_host.saturating_add(on_host), ..self }
    }
}

/// What is copied or cast, on a device that can do this.
struct Work<'a> {
    device: &'a Capabilities,
    found: &'a Description,
    /// Those of the elements, without gaps.
    bytes: u64,
}

impl Work<'_> {
    /// A copy to the host, or to the device.
    fn copy(&self, to_host: bool) -> Taken {
        match (is_on_host(self.found.device), to_host) {
            (true, _) => self.upload(),
            (false, true) => self.download(),
            (false, false) if self.has_kernels(self.found.data_type) => Taken::default(),
            (false, false) => self.through_the_host(self.bytes),
        }
    }

    /// A cast on the device.
    fn cast(&self, to: DataType, overflow: Overflow) -> Taken {
        let from = self.found.data_type;
        let after = self.found.layout.compact_bytes(to).unwrap_or(0) as u64;
        let has_kernel = [from, to]
            .iter()
            .all(|&one| self.device.cannot_compute_with(one).is_none() && self.has_kernels(one));
        if !has_kernel {
            let both = self.bytes.saturating_add(after);
            return self.through_the_host(both.saturating_add(self.cast_on_the_host(to)));
        }
        let item = from.size_in_bytes().unwrap_or(1);
        // Elements that are not aligned for their type are moved first.
        let is_aligned = self.found.layout.byte_offset().is_multiple_of(item);
        let moved = if is_aligned { 0 } else { self.bytes };
        // Whether a value does not fit is told in a word.
        let word = if overflow == Overflow::Refuse { 4 } else { 0 };
        Taken { on_device: moved + word, ..Taken::default() }
    }

    /// Whether kernels copy these elements, whatever their layout.
    fn has_kernels(&self, data_type: DataType) -> bool {
        let item = data_type.size_in_bytes();
        let nest = item.and_then(|item| Nest::new(&self.found.layout, item, item));
        self.found.layout.is_row_major() || (self.device.compiles && nest.is_some())
    }

    /// Down, `bytes` of elements before and after on the host, and up again.
    fn through_the_host(&self, bytes: u64) -> Taken {
        let down = self.download().beside(self.bytes);
        down.then(Taken::default().beside(bytes))
    }

    /// What the host's kernels take to cast the elements, once they are in row-major order.
    fn cast_on_the_host(&self, to: DataType) -> u64 {
        Layout::row_major(self.found.layout.shape()).map_or(0, |layout| {
            bridge_host::working_memory((self.found.data_type, &layout), (to, &layout))
        })
    }

    /// From the host.
    fn upload(&self) -> Taken {
        let turned = self.turned_on_the_host();
        match self.found.layout.is_row_major() || self.device.shares_host_memory() {
            true => Taken::default().beside(turned),
            // Elements with gaps are packed first.
            false => Taken::default().beside(turned).beside(self.bytes),
        }
    }

    /// To the host.
    fn download(&self) -> Taken {
        if self.found.layout.is_row_major() {
            return Taken::default();
        }
        let turned = Taken::default().beside(self.turned_on_the_host());
        if self.device.shares_host_memory() {
            return turned;
        }
        if self.has_kernels(self.found.data_type) {
            return Taken { on_device: self.bytes, ..Taken::default() };
        }
        let span = self.found.layout.span(self.found.data_type);
        let whole = span.map_or(0, |span| span.end.abs_diff(span.start));
        turned.beside(whole as u64)
    }

    /// What the host's kernels take to bring the elements into row-major order.
    fn turned_on_the_host(&self) -> u64 {
        let Description { data_type, layout, .. } = self.found;
        Layout::row_major(layout.shape()).map_or(0, |row_major| {
            bridge_host::working_memory((*data_type, layout), (*data_type, &row_major))
        })
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::{DeviceKind, ManagedTensor};

    use super::*;

    const GPU: Device = Device::new(DeviceKind::OpenCl, 0);

    fn found(device: Device, has_gaps: bool) -> Description {
        let tensor = ManagedTensor::from_vec(vec![0_f32; 6], &[2, 3]).unwrap();
        let tensor = if has_gaps { tensor.permuted(&[1, 0]).unwrap() } else { tensor };
        Description { device, ..tensor.describe() }
    }

    #[test]
    fn elements_with_gaps_are_packed_and_casts_without_a_kernel_go_through_the_host() {
        let Ok([first, ..]) = ClDevice::all() else { return };
        let own = |compiles| Capabilities {
            is_cpu: false,
            unified_memory: false,
            svm_system: false,
            compiles,
            ..first.capabilities().clone()
        };
        let told = |device: &Capabilities, found: &Description, data_type, to: Device| {
            let bytes = found.layout.compact_bytes(found.data_type).unwrap() as u64;
            let work = Work { device, found, bytes };
            let taken = match found.data_type == data_type {
                true => work.copy(is_on_host(to)),
                false => work.cast(data_type, Overflow::Saturate),
            };
            match (taken.on_host, taken.on_device) {
                (0, 0) => None,
                (host, 0) => Some((Device::CPU, host)),
                (_, own) => Some((GPU, own)),
            }
        };
        let same = DataType::F32;
        for compiles in [true, false] {
            let device = own(compiles);
            assert_eq!(told(&device, &found(Device::CPU, false), same, GPU), None);
            assert_eq!(
                told(&device, &found(Device::CPU, true), same, GPU),
                Some((Device::CPU, 24))
            );
            let packs_on = if compiles { GPU } else { Device::CPU };
            assert_eq!(told(&device, &found(GPU, true), same, Device::CPU), Some((packs_on, 24)));
            let copy = told(&device, &found(GPU, true), same, GPU);
            assert_eq!(copy, (!compiles).then_some((Device::CPU, 48)));
            let cast = told(&device, &found(GPU, false), DataType::I32, GPU);
            assert_eq!(cast, (!compiles).then_some((Device::CPU, 48)));
        }
        let processor = Capabilities { is_cpu: true, ..own(true) };
        assert_eq!(told(&processor, &found(GPU, true), same, Device::CPU), None);
    }
}
