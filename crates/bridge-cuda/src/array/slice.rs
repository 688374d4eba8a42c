//! Arrays from slices of cudarc, and back.

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bridge_core::{
    Access, Device, Element, Error, Layout, ManagedTensor, Owner, Refused, Result, Stream,
    TensorError, TensorSpec,
};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtrMut};

use super::CudaArray;
use crate::context::Current;
use crate::context::errors::{NAME, failed};
use crate::driver;
use crate::gpu::thread_streams::PER_THREAD;
use crate::memory::device_block::DeviceBlock;
use crate::streams::home::{number_of, wait_for};
use crate::transfer::transfer;

/// A slice of cudarc that owns an array's memory.
struct SliceOwner<T>(Option<CudaSlice<T>>);

impl<T> Drop for SliceOwner<T> {
    fn drop(&mut self) {
        // cudarc changes the current context.
        let _current = Current::restored_after();
        drop(self.0.take());
    }
}

impl CudaArray {
    /// Takes a slice over as an array of this shape, row-major, without copying.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidArgument`] where the slice does not have as many elements as the shape, or belongs
    /// to a context other than the primary one, and those that the device reports. The slice comes back.
    pub fn from_slice<T: Element>(
        mut slice: CudaSlice<T>,
        shape: &[usize],
    ) -> Result<Self, Refused<CudaSlice<T>>> {
        match parts(&mut slice, shape) {
            Ok((spec, device, data, ready)) => {
                let owner = Owner::keep(SliceOwner(Some(slice)));
                // SAFETY:
                // - The slice has this many elements on this device; what lies in it is initialized
                //   as far as cudarc's safe interface goes. It is kept by the owner.
                // - A slice may be dropped on any thread, and nobody else has it.
                let tensor = unsafe {
                    ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner)
                };
                match tensor {
                    // SAFETY: `parts` has made the slice's own stream wait for all its uses; the
                    // slice keeps the stream.
                    Ok(tensor) => Ok(Self::of(unsafe { tensor.ready_on(ready) })),
                    Err(refused) => {
                        Err(refused.map(|owner| match owner.into_kept::<SliceOwner<T>>() {
                            Ok(kept) => kept.into_slice(),
                            Err(_) => unreachable!("the owner was made of this slice"),
                        }))
                    }
                }
            }
            Err(error) => Err(Refused::new(slice, error)),
        }
    }

    /// The array as a slice of cudarc, without copying: its elements in row-major order.
    ///
    /// For `bool`, where bytes other than 0 and 1 are not values, all elements are copied to the host
    /// once and checked.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidTensor`] naming the first byte that is not a `bool`,
    /// [`Error::UnsupportedDataType`] where the elements are not `T`, [`Error::Unsupported`] where
    /// the memory is not a whole allocation made by this crate or cudarc, without gaps: copy it
    /// first, with [`to_device`](Self::to_device). The array comes back.
    pub fn into_slice<T: Element>(self) -> Result<CudaSlice<T>, Refused<Self>> {
        if self.data_type() != T::DATA_TYPE {
            let error = Error::UnsupportedDataType {
                target: type_name::<CudaSlice<T>>(),
                data_type: self.data_type(),
                supported: vec![T::DATA_TYPE],
                remedy: Some(T::DATA_TYPE),
            };
            return Err(Refused::new(self, error));
        }
        let prepared = driver::gpu(self.device()).and_then(|gpu| {
            let gpu = gpu.open()?;
            // cudarc changes the current context.
            Ok((gpu, Current::restored_after()?))
        });
        let (gpu, _current) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(Refused::new(self, error)),
        };
        let count = self.layout().element_count();
        let compact = self.layout().is_row_major() && self.tensor().access() == Access::Exclusive;
        let tensor = self.into_tensor();
        if !compact {
            return Err(not_a_slice(tensor));
        }
        if count == 0 {
            // cudarc has no slice without an address.
            return match gpu
                .streams
                .of_this_thread()
                .and_then(|home| DeviceBlock::allocate(gpu, &home, 1))
            {
                // SAFETY: the block is an allocation, and no element is asked for.
                Ok(block) => unsafe { of_block(block, 0) }
                    .map_err(|(_, error)| Refused::new(Self::of(tensor), error)),
                Err(error) => Err(Refused::new(Self::of(tensor), error)),
            };
        }
        let is_whole = tensor.is_kept_by::<SliceOwner<T>>() || tensor.is_kept_by::<DeviceBlock>();
        if is_whole && let Err(error) = check_values::<T>(&tensor) {
            return Err(Refused::new(Self::of(tensor), error));
        }
        let parts_before = ArrayParts::of(&tensor);
        let slice = match tensor.into_owner::<SliceOwner<T>>() {
            Ok(kept) => kept.into_slice(),
            Err(tensor) => match tensor.into_owner::<DeviceBlock>() {
                // SAFETY: the block was allocated for `count` elements of this size, which have been
                // initialized in the order of its home.
                Ok(block) => match unsafe { of_block(block, count) } {
                    Ok(slice) => slice,
                    Err((block, error)) => {
                        return Err(Refused::new(
                            parts_before.restored(Owner::keep(*block)),
                            error,
                        ));
                    }
                },
                Err(tensor) => return Err(not_a_slice(tensor)),
            },
        };
        settled(slice).map_err(|refused| {
            refused.map(|slice| parts_before.restored(Owner::keep(SliceOwner(Some(slice)))))
        })
    }
}

/// Checks that the elements are values of `T`, where some bytes are not: whoever copies a slice from the
/// device gets them as `T`, unchecked.
fn check_values<T: Element>(tensor: &ManagedTensor) -> Result<()> {
    if !T::NEEDS_CHECK {
        return Ok(());
    }
    let host = transfer(tensor, Device::CPU)?;
    match host.as_slice::<T>() {
        Ok(_) => Ok(()),
        Err(TensorError::InvalidTensor { reason }) => {
            Err(Error::Tensor(TensorError::InvalidTensor {
                reason: format!(
                    "{reason} (`cast` to it gives 1 for every byte but 0; `to_host` copies the bytes as \
                 they are)"
                ),
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// The slice that a block becomes; cudarc frees it, in the order of the block's home. The block comes
/// back where cudarc cannot make the events that a slice has.
///
/// cudarc panics there in two cases: the driver fails to make an event, or an object of cudarc's that another
/// thread dropped has left an error in the context. So two events are made and dropped just before, which
/// finds both. A race is left: the device is lost, or another thread leaves an error, between that and
/// cudarc's own two calls. That panic is caught; with `panic = "abort"` it ends the process.
///
/// # Safety
///
/// The block has room for `count` elements, which are initialized in the order of its home.
unsafe fn of_block<T>(
    mut block: DeviceBlock,
    count: usize,
) -> Result<CudaSlice<T>, (Box<DeviceBlock>, Error)> {
    let (address, home) = block.parts();
    if let Err(error) = probe(home.context()) {
        return Err((Box::new(block), error));
    }
    // SAFETY: the caller promises the elements; the allocation is of the kind that cudarc frees.
    let made =
        catch_unwind(AssertUnwindSafe(|| unsafe { home.upgrade_device_ptr::<T>(address, count) }));
    match made {
        Ok(slice) => {
            block.give_up();
            Ok(slice)
        }
        Err(_) => Err((Box::new(block), no_events())),
    }
}

fn no_events() -> Error {
    Error::Framework {
        backend: NAME,
        operation: "make a slice of cudarc",
        message: "the driver failed to make its events".to_owned(),
    }
}

/// The parts of an array, to make it again where the slice cannot be made.
struct ArrayParts {
    data: *mut std::ffi::c_void,
    spec: TensorSpec,
    device: Device,
    ready: Option<Stream>,
}

impl ArrayParts {
    fn of(tensor: &ManagedTensor) -> Self {
        let (data, spec) = (tensor.data(), tensor.spec());
        Self { data, spec, device: tensor.device(), ready: tensor.stream() }
    }

    /// The array, whose memory `owner` keeps now.
    fn restored(self, owner: Owner) -> CudaArray {
        let Self { data, spec, device, ready } = self;
        // SAFETY: the memory is that of the array before, which was exclusive; both callers' owners
        // have it, may be dropped on any thread, and keep the stream that it is ready in.
        let tensor = unsafe {
            ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner)
                .map(|tensor| tensor.ready_on(ready))
        };
        match tensor {
            Ok(tensor) => CudaArray::of(tensor),
            Err(_) => unreachable!("a tensor had these parts before"),
        }
    }
}

impl<T> SliceOwner<T> {
    fn into_slice(mut self) -> CudaSlice<T> {
        match self.0.take() {
            Some(slice) => slice,
            None => unreachable!("the slice is taken out once"),
        }
    }
}

fn not_a_slice(tensor: ManagedTensor) -> Refused<CudaArray> {
    let error = Error::Unsupported {
        what: format!(
            "a slice of cudarc over memory of {} that is shared, strided, or not a whole allocation made by \
             this crate or cudarc",
            tensor.device()
        ),
        remedy: "copy it first, with `to_device`".to_owned(),
    };
    Refused::new(CudaArray::of(tensor), error)
}

type Parts = (TensorSpec, Device, *mut std::ffi::c_void, Option<Stream>);

/// The parts of an array over the slice: element type and layout, device, address, and stream.
fn parts<T: Element>(slice: &mut CudaSlice<T>, shape: &[usize]) -> Result<Parts> {
    let layout = Layout::row_major(shape)?;
    layout.compact_bytes(T::DATA_TYPE)?;
    if layout.element_count() != slice.len() {
        return Err(Error::Tensor(TensorError::InvalidArgument {
            what: "the number of elements",
            found: slice.len().to_string(),
            expected: format!("shape {shape:?} has {}", layout.element_count()),
        }));
    }
    let device = Device::cuda(u32::try_from(slice.ordinal()).unwrap_or(u32::MAX));
    let gpu = driver::gpu(device)?.open()?;
    if slice.context().cu_ctx() != gpu.raw() {
        return Err(Error::Tensor(TensorError::InvalidArgument {
            what: "the slice",
            found: "memory of another context".to_owned(),
            expected: "memory of the device's primary context, the one of `CudaContext::new`"
                .to_owned(),
        }));
    }
    let home = Arc::clone(slice.stream());
    let address = ordered(slice, &home)?;
    let ready = match number_of(&home) {
        PER_THREAD => {
            // The handle means another stream on every thread.
            wait_for(gpu, &home)?;
            None
        }
        number => Some(Stream(number)),
    };
    let spec = TensorSpec { data_type: T::DATA_TYPE, layout };
    Ok((spec, device, address as *mut _, ready))
}

/// Makes the slice's own stream wait for every use that cudarc knows of, and notes that point as
/// its last use. Returns the address.
fn ordered<T>(slice: &mut CudaSlice<T>, home: &CudaStream) -> Result<u64> {
    let _current = Current::restored_after()?;
    let context = Arc::clone(slice.context());
    let (address, uses) = slice.device_ptr_mut(home);
    drop(uses);
    context.check_err().map_err(failed("order a slice's uses"))?;
    Ok(address)
}

/// The slice, in whose stream later uses by cudarc wait for all earlier ones.
fn settled<T>(mut slice: CudaSlice<T>) -> Result<CudaSlice<T>, Refused<CudaSlice<T>>> {
    let home = Arc::clone(slice.stream());
    match ordered(&mut slice, &home) {
        Ok(_) => Ok(slice),
        Err(error) => Err(Refused::new(slice, error)),
    }
}

/// Whether the two events of a slice can be made, by this context of cudarc's, which is the one that
/// keeps errors of drops.
fn probe(context: &Arc<CudaContext>) -> Result<()> {
    let event = || context.new_event(None).map_err(failed("make an event"));
    let both = (event()?, event()?);
    drop(both);
    Ok(())
}
