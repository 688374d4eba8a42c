//! Where conversions take the memory from that they write to.

use bridge_tensor::{Access, Device, Error as TensorError, ManagedTensor, TensorSpec};

use crate::error::Result;

/// Gives the memory that conversions write to, in place of new memory: a pool.
///
/// A caller names one with [`Options::pool`](crate::Options::pool). Whatever keeps the memory of a tensor that
/// it gave has it back when the tensor is dropped, in whichever framework it is then. Several are one as an
/// array: `[&host as &dyn MemorySource, &pinned]`, of which the first is asked that gives such memory.
pub trait MemorySource: Send + Sync {
    /// Whether it gives memory of `device` whose first byte is aligned to `alignment` bytes. The answer
    /// for one device and alignment never changes: plans rely on it.
    fn gives(&self, device: Device, alignment: usize) -> bool;

    /// Whether it reserves itself, in a budget, what it gives of this device and alignment: a conversion
    /// does not reserve it a second time then.
    fn reserves(&self, device: Device, alignment: usize) -> bool;

    /// A tensor of the device that nobody else reaches, in this very layout but for where in its memory
    /// it begins. The elements need not be initialized. It is asked only for what it [gives](Self::gives).
    ///
    /// # Errors
    ///
    /// Out of memory, where a budget of its own has no room, or what the device reports.
    ///
    /// # Safety
    ///
    /// Every element is written before anything reads it; a tensor that safe code can reach has all of
    /// them written.
    unsafe fn take(
        &self,
        spec: &TensorSpec,
        device: Device,
        alignment: usize,
    ) -> Result<ManagedTensor>;
}

impl dyn MemorySource + '_ {
    /// As [`take`](MemorySource::take), and looks at what was given.
    ///
    /// # Errors
    ///
    /// As [`take`](MemorySource::take), and [`TensorError::InvalidTensor`] where the tensor is not what was asked for.
    ///
    /// # Safety
    ///
    /// As [`take`](MemorySource::take).
    pub unsafe fn take_checked(
        &self,
        spec: &TensorSpec,
        device: Device,
        alignment: usize,
    ) -> Result<ManagedTensor> {
        // SAFETY: the caller promises the same.
        let tensor = unsafe { self.take(spec, device, alignment) }?;
        let found = tensor.facts();
        let (given, asked) = (found.layout, &spec.layout);
        let is_aligned = !device.kind().has_addresses() || found.alignment >= alignment;
        if found.data_type == spec.data_type
            && (given.shape(), given.strides()) == (asked.shape(), asked.strides())
            && found.device == device
            && found.access == Access::Exclusive
            && (is_aligned || given.is_empty())
        {
            return Ok(tensor);
        }
        let asked = format!("{spec:?} on {device}, aligned to {alignment} bytes");
        let reason = format!("a memory source was asked for {asked} and gave {tensor:?}");
        Err(TensorError::InvalidTensor { reason }.into())
    }
}

impl<S: MemorySource + ?Sized> MemorySource for &S {
    fn gives(&self, device: Device, alignment: usize) -> bool {
        (**self).gives(device, alignment)
    }

    fn reserves(&self, device: Device, alignment: usize) -> bool {
        (**self).reserves(device, alignment)
    }

    unsafe fn take(
        &self,
        spec: &TensorSpec,
        device: Device,
        alignment: usize,
    ) -> Result<ManagedTensor> {
        // SAFETY: the caller promises the same.
        unsafe { (**self).take(spec, device, alignment) }
    }
}

impl<S: MemorySource, const N: usize> MemorySource for [S; N] {
    fn gives(&self, device: Device, alignment: usize) -> bool {
        self.iter().any(|one| one.gives(device, alignment))
    }

    fn reserves(&self, device: Device, alignment: usize) -> bool {
        let first = self.iter().find(|one| one.gives(device, alignment));
        first.is_some_and(|one| one.reserves(device, alignment))
    }

    unsafe fn take(
        &self,
        spec: &TensorSpec,
        device: Device,
        alignment: usize,
    ) -> Result<ManagedTensor> {
        let first = self.iter().find(|one| one.gives(device, alignment));
        let nobody = || TensorError::InvalidArgument {
            what: "the device of memory that is taken from several sources",
            found: format!("{device}, aligned to {alignment} bytes"),
            expected: "one of them must give it".to_owned(),
        };
        // SAFETY: the caller promises the same.
        unsafe { first.ok_or_else(nobody)?.take(spec, device, alignment) }
    }
}

#[cfg(test)]
mod tests {
    use bridge_tensor::{DataType, DeviceKind, HostMemory};

    use super::*;

    /// Gives new memory of one device, for so many elements of what was asked for.
    struct Giving(Device, usize);

    impl MemorySource for Giving {
        fn gives(&self, device: Device, alignment: usize) -> bool {
            device == self.0 && alignment <= 64
        }

        fn reserves(&self, _: Device, _: usize) -> bool {
            self.1 == 4
        }

        unsafe fn take(&self, spec: &TensorSpec, _: Device, _: usize) -> Result<ManagedTensor> {
            let spec = TensorSpec::row_major(spec.data_type, &[self.1])?;
            let memory = HostMemory::zeroed(spec.layout.compact_bytes(spec.data_type)?, 64)?;
            // SAFETY: the memory is zeroed.
            Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?)
        }
    }

    #[test]
    fn what_is_not_what_was_asked_for_is_an_error() {
        let four = TensorSpec::row_major(DataType::F32, &[4]).unwrap();
        let pinned = Device::new(DeviceKind::CudaHost, 0);
        // SAFETY: the sources here give zeros.
        let take = |source: &dyn MemorySource, device, alignment| unsafe {
            source.take_checked(&four, device, alignment)
        };
        assert_eq!(take(&Giving(Device::CPU, 4), Device::CPU, 64).unwrap().shape(), [4]);
        for (source, device) in [(Giving(Device::CPU, 3), Device::CPU), (Giving(pinned, 4), pinned)]
        {
            let error = take(&source, device, 4).unwrap_err().to_string();
            assert!(error.contains("was asked for") && error.contains("and gave"), "{error}");
        }
        assert!(take(&Giving(Device::CPU, 4), Device::CPU, 1 << 30).is_err(), "not so aligned");
    }

    #[test]
    fn of_several_the_first_is_asked_that_gives_such_memory() {
        let pinned = Device::new(DeviceKind::CudaHost, 0);
        let all = [Giving(pinned, 4), Giving(Device::CPU, 3), Giving(Device::CPU, 4)];
        let all = &all as &dyn MemorySource;
        assert!(all.gives(Device::CPU, 64) && all.gives(pinned, 1) && !all.gives(pinned, 128));
        assert!(all.reserves(pinned, 1) && !all.reserves(Device::CPU, 1));
        assert!(!all.reserves(Device::cuda(0), 1));
        let spec = TensorSpec::row_major(DataType::U8, &[9]).unwrap();
        // SAFETY: the sources here give zeros.
        let take = |device| unsafe { all.take(&spec, device, 1) };
        assert_eq!(take(Device::CPU).unwrap().shape(), [3]);
        let error = take(Device::cuda(0)).unwrap_err().to_string();
        assert!(error.contains("one of them must give it"), "{error}");
    }
}
