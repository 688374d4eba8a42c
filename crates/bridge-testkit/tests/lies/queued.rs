//! A device that works later: what it makes is there once it was waited for. Its memory is the
//! host's, so that who reads too early sees it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bridge_core::{
    Accepts, Access, Availability, Backend, DataType, Description, Device, DeviceKind, Error,
    ManagedTensor, Mapping, Overflow, Owner, Ownership, Refused, Result, Runtime, Stream,
    TensorSpec,
};
use bridge_testkit::bytes_of;

use crate::mistakes::{self, Mistake, TYPES};

const DEVICE: Device = Device::new(DeviceKind::RocmHost, 0);

/// Memory that the device will have written: the elements come when the work is done.
type Memory = Mutex<ManagedTensor>;

/// Work that was submitted and is not done: where to, and the elements.
pub(crate) struct Queue(Mutex<Vec<(Weak<Memory>, Vec<u8>)>>);

impl Queue {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Does all that was submitted.
    fn finish(&self) {
        let mut work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (memory, bytes) in work.drain(..) {
            let Some(memory) = memory.upgrade() else { continue };
            let tensor = memory.lock().unwrap();
            // SAFETY: the block has as many bytes as its row-major elements, and nobody reads them
            // before the device was waited for.
            unsafe { tensor.first_element().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
    }

    /// The tensor on the device, with elements that are zero until the work is done.
    fn submit(&self, made: ManagedTensor, stream: Option<Stream>) -> Result<ManagedTensor> {
        let bytes = bytes_of(&made);
        // SAFETY: as in `finish`; the tensor is new.
        unsafe { made.first_element().write_bytes(0, bytes.len()) };
        let (data, spec) = (made.data(), made.spec());
        let memory = Arc::new(Mutex::new(made));
        let work = (Arc::downgrade(&memory), bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(work);
        // SAFETY: the owner keeps the memory, which is nobody else's once the stream is waited for.
        let tensor = unsafe {
            ManagedTensor::from_parts(data, spec, DEVICE, Access::Exclusive, Owner::keep(memory))
        };
        // SAFETY: the number stands for this queue; a backend that lies about it is what is tested.
        Ok(unsafe { tensor?.ready_on(stream) })
    }
}

/// How a backend of such a device waits.
pub(crate) trait Waits: Mistake {
    const SYNCHRONIZES: bool = true;
    const TELLS_ITS_STREAM: bool = true;
    const WAITS_TO_MAP: bool = true;

    fn queue() -> &'static Queue;
}

macro_rules! waits {
    ($($(#[$doc:meta])* $name:ident { $($told:tt)* })*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl Mistake for $name {
                const NAME: &'static str = "queued";
                const ACCEPTS: Accepts =
                    Accepts::on(&[DeviceKind::Cpu, DeviceKind::RocmHost], TYPES);

                fn availability() -> Availability {
                    Availability::Ready { devices: Cow::Borrowed(&[DEVICE]) }
                }
            }

            impl Waits for $name {
                $($told)*

                fn queue() -> &'static Queue {
                    static QUEUE: Queue = Queue::new();
                    &QUEUE
                }
            }
        )*
    };
}

waits! {
    /// No mistake.
    Waiting {}
    NeverSynchronizes { const SYNCHRONIZES: bool = false; }
    HidesItsStream { const TELLS_ITS_STREAM: bool = false; }
    MapsAtOnce { const WAITS_TO_MAP: bool = false; }
}

/// The elements, once the device has done its work.
fn host_copy(tensor: &ManagedTensor) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(tensor.data_type(), tensor.shape())?;
    let copy = bridge_host::zeroed(&spec, spec.data_type.alignment())?;
    let bytes = bytes_of(tensor);
    // SAFETY: the new memory has as many bytes as the row-major elements.
    unsafe { copy.first_element().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(copy)
}

/// What the device uses in place.
struct Mapped(ManagedTensor);

impl<M: Waits> mistakes::Backend<M> {
    fn submitted(made: ManagedTensor) -> Result<ManagedTensor> {
        M::queue().submit(made, M::TELLS_ITS_STREAM.then_some(Stream(7)))
    }
}

// SAFETY: no work is ever pending when `synchronize` returns, or what it works on is a test's own.
unsafe impl<M: Waits> Runtime for mistakes::Backend<M> {
    fn backend(&self) -> &'static dyn Backend {
        const { &Self::new() }
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::RocmHost]
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        M::queue().finish();
        let copy = host_copy(tensor)?;
        match to {
            DEVICE => Self::submitted(copy),
            Device::CPU => Ok(copy),
            _ => Err(self.backend().lacks(to)),
        }
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        self.transfer(tensor, DEVICE)
    }

    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor> {
        M::queue().finish();
        Self::submitted(bridge_host::to_data_type(&host_copy(tensor)?, to, overflow)?)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        if device != DEVICE {
            return Err(self.backend().lacks(device));
        }
        if M::SYNCHRONIZES {
            M::queue().finish();
        }
        Ok(())
    }

    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        match (found.device, to) {
            (Device::CPU, DEVICE) | (DEVICE, Device::CPU) => Mapping::Possible,
            _ => Mapping::Never,
        }
    }

    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        if self.mapping(&tensor.describe(), to) != Mapping::Possible {
            let (what, remedy) = (format!("{to} in place"), "copy it".to_owned());
            return Err(Refused::new(tensor, Error::Unsupported { what, remedy }));
        }
        if M::WAITS_TO_MAP {
            M::queue().finish();
        }
        let tensor = match tensor.into_owner::<Mapped>() {
            Ok(Mapped(original)) => return Ok(original),
            Err(tensor) => tensor,
        };
        let (data, spec, access) = (tensor.data(), tensor.spec(), tensor.access());
        let owner = match tensor.describe().ownership {
            Ownership::Movable => Owner::keep_vector(Mapped(tensor)),
            Ownership::Kept => Owner::keep(Mapped(tensor)),
        };
        // SAFETY: the memory is that of the tensor, which is kept, with its layout and access.
        let mapped = unsafe { ManagedTensor::from_parts(data, spec, to, access, owner) };
        Ok(mapped.unwrap())
    }
}
