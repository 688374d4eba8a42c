//! The array type: memory of a device, the queue it is worked on, and the event it is ready on.

mod commands;
mod in_use;
mod views;

use std::fmt;

use bridge_core::{
    Access, DataType, Device, Element, Error, Layout, ManagedTensor, Owner, Refused, Result,
    Stream, TensorError, TensorSpec,
};
use opencl3::memory::{Buffer as ClBuffer, ClMem};
use opencl3::types::cl_mem;

use crate::buffer::Buffer;
use crate::compute;
use crate::device::ClDevice;
use crate::enqueue::{After, Bytes};
use crate::event::ClEvent;
use crate::memory::{Filled, Memory, bytes_of, is_hosts};
use crate::queue::ClQueue;
use crate::region::Region;
use crate::status::Doing;
use crate::streams::Announced;
use in_use::InUse;

/// An array in the memory of an OpenCL device: shape, strides, element type, buffer, and the queue
/// that its commands run on.
///
/// Commands are enqueued and return before they have run, unless they hand data to the host. Each
/// waits for the one before it on the same array, on whichever queue that was, so an array made on
/// one queue can be [used on another](Self::on_queue) at once. Work of your own on
/// [`raw`](Self::raw) must wait for [`ready`](Self::ready), and be made known with
/// [`ready_after`](Self::ready_after).
///
/// It is `Send` and `Sync`; calls from several threads are enqueued one after the other.
///
/// ```
/// use bridge_opencl::{ClArray, ClDevice};
///
/// let Ok([device, ..]) = ClDevice::all() else { return Ok(()) }; // no OpenCL here
/// let array = ClArray::from_slice(&device.queue()?, &[1_f32, 2.0, 3.0, 4.0], &[2, 2])?;
/// let column = array.permuted(&[1, 0])?.selected(0, 1)?;
/// assert_eq!(column.to_vec::<f32>()?, [2.0, 4.0]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct ClArray {
    memory: InUse,
    queue: ClQueue,
    /// Keeps the stream number of a tensor of the array valid.
    announced: Option<Announced>,
}

impl ClArray {
    /// An array of zeros, row-major.
    ///
    /// # Errors
    ///
    /// [`TensorError::TooLarge`], [`TensorError::OutOfMemory`], also above the device's limit for one buffer,
    /// or [`Error::Framework`].
    pub fn zeros(queue: &ClQueue, data_type: DataType, shape: &[usize]) -> Result<Self> {
        Self::zeros_of(queue, TensorSpec::row_major(data_type, shape)?)
    }

    pub(crate) fn zeros_of(queue: &ClQueue, spec: TensorSpec) -> Result<Self> {
        let count = bytes_of(&spec)?;
        if spec.layout.is_empty() {
            return Self::empty(queue, spec);
        }
        let device = queue.device();
        if is_hosts(device, &spec) {
            let memory = Memory::zeroed(device, &spec)?;
            return Self::over(queue, Some(Filled { memory, ready: None }), spec);
        }
        let memory = Memory::allocate(device, &spec)?;
        let bytes = Bytes { mem: memory.raw(), offset: 0, count };
        // SAFETY: the new memory has the bytes.
        let ready = unsafe { After { queue, events: &[] }.fill(bytes, &[0]) }?;
        Self::over(queue, Some(Filled { memory, ready: Some(ready) }), spec)
    }

    /// A copy of a slice, row-major.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidArgument`] where the shape has another number of elements, and as
    /// [`zeros`](Self::zeros).
    pub fn from_slice<T: Element>(
        queue: &ClQueue,
        elements: &[T],
        shape: &[usize],
    ) -> Result<Self> {
        let spec = TensorSpec::row_major(T::DATA_TYPE, shape)?;
        if spec.layout.element_count() != elements.len() {
            return Err(Error::Tensor(TensorError::InvalidArgument {
                what: "the number of elements",
                found: elements.len().to_string(),
                expected: format!("shape {shape:?} has {}", spec.layout.element_count()),
            }));
        }
        if elements.is_empty() {
            return Self::empty(queue, spec);
        }
        // SAFETY: the elements lie without gaps in host memory, which the tensor does not outlive;
        // nobody writes them while it is borrowed.
        let borrowed = unsafe {
            let first = elements.as_ptr().cast_mut().cast();
            let (access, nobody) = (Access::ReadOnly, Owner::nothing());
            ManagedTensor::from_parts(first, spec, Device::CPU, access, nobody)
        }?;
        Self::upload(queue, &borrowed)
    }

    /// A copy of a host tensor, row-major. The tensor is not read any more when the call returns;
    /// where it has gaps, the copy may still be on its way from a staging buffer.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the tensor is not in host memory, and as
    /// [`zeros`](Self::zeros).
    pub fn upload(queue: &ClQueue, source: &ManagedTensor) -> Result<Self> {
        let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
        Self::over(queue, compute::uploaded(source, After { queue, events: &[] })?, spec)
    }

    /// Takes over a buffer of opencl3's, made in the [context](ClDevice::context) of the queue's
    /// device, as a row-major array. Others may hold the buffer too, so the array is
    /// [`Access::Shared`].
    ///
    /// opencl3 never checks a buffer's size; this does.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidTensor`] where the buffer is shorter than the shape or of another context.
    /// The buffer comes back.
    ///
    /// # Safety
    ///
    /// - The buffer's handle is live, and every command that writes it has been enqueued on `queue`
    ///   or is done.
    /// - What it holds is valid for `T`.
    pub unsafe fn from_buffer<T: Element>(
        queue: &ClQueue,
        buffer: ClBuffer<T>,
        shape: &[usize],
    ) -> Result<Self, Refused<ClBuffer<T>>> {
        let spec = TensorSpec::row_major(T::DATA_TYPE, shape).map_err(Error::from);
        let made = spec.and_then(|spec| {
            // SAFETY: opencl3's buffer is live while it is borrowed. `From<Buffer> for cl_mem`
            // would give out a released handle; a reference of our own is added instead.
            let held = unsafe { Buffer::retain(queue.device(), buffer.get()) }?;
            let filled = Filled { memory: Memory::Drivers(held), ready: None };
            let array = Self::over(queue, Some(filled), spec)?;
            let array = Self::new(shared(array.into_parts().0)?, queue.clone(), None);
            Region::of(array.tensor())?;
            array.set_last(queue.marker()?);
            Ok(array)
        });
        made.map_err(|error| Refused::new(buffer, error))
    }

    /// An array of new memory that holds what `spec` says.
    pub(crate) fn over(queue: &ClQueue, filled: Option<Filled>, spec: TensorSpec) -> Result<Self> {
        let Some(Filled { memory, ready }) = filled else {
            return Self::empty(queue, spec);
        };
        let device = queue.device().device();
        // SAFETY:
        // - The memory holds the elements of `spec`, which a command behind `ready` writes; every
        //   use waits for it.
        // - The owner is `Send`, and the only holder of the memory.
        let tensor = unsafe {
            let (data, owner) = (memory.raw(), memory.into_owner());
            ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner)
        }?;
        Ok(Self::new(tensor, queue.clone(), ready))
    }

    fn empty(queue: &ClQueue, spec: TensorSpec) -> Result<Self> {
        let device = queue.device().device();
        let (nowhere, owner) = (std::ptr::null_mut(), Owner::nothing());
        // SAFETY: there is no element.
        let tensor =
            unsafe { ManagedTensor::from_parts(nowhere, spec, device, Access::Exclusive, owner) }?;
        Ok(Self::new(tensor, queue.clone(), None))
    }

    pub(crate) fn new(tensor: ManagedTensor, queue: ClQueue, last: Option<ClEvent>) -> Self {
        Self { memory: InUse::new(tensor, last), queue, announced: None }
    }

    /// The array, and a stream number by which others find its last command while it lives.
    pub(crate) fn announced(self, last: ClEvent) -> (Self, Option<Stream>) {
        let announced = Announced::new(self.queue.clone(), Some(last));
        let stream = announced.stream();
        (Self { announced: Some(announced), ..self }, Some(stream))
    }

    pub(crate) fn unannounced(self) -> Self {
        Self { announced: None, ..self }
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        self.tensor().shape()
    }

    /// Where the elements lie, in elements and bytes from the start of the buffer.
    pub fn layout(&self) -> &Layout {
        self.tensor().layout()
    }

    /// The element type.
    pub fn data_type(&self) -> DataType {
        self.tensor().data_type()
    }

    /// Who may write.
    pub fn access(&self) -> Access {
        self.tensor().access()
    }

    /// The device that the memory is on.
    pub fn device(&self) -> &'static ClDevice {
        self.queue.device()
    }

    /// The queue that its commands run on.
    pub fn queue(&self) -> &ClQueue {
        &self.queue
    }

    /// The buffer's handle, valid while the array lives; null where there is no element. The
    /// element whose indices are all zero is `layout().byte_offset()` bytes on.
    pub fn raw(&self) -> cl_mem {
        self.tensor().data()
    }

    /// The event of the last command on the array; `None` where it is ready.
    pub fn ready(&self) -> Option<ClEvent> {
        let mut last = self.memory.last();
        // A command that failed is kept, so that whoever reads the array gets its error.
        last.take_if(|event| event.is_done() && event.failure().is_none());
        last.clone()
    }

    /// Makes later commands wait for a command of yours on the array's buffer too. The last command
    /// on the array is waited for as before.
    ///
    /// # Errors
    ///
    /// What either command failed with, and [`Error::Framework`] where the event is of another
    /// context. Then the array waits for what it waited for before.
    pub fn ready_after(&mut self, event: ClEvent) -> Result<()> {
        let last = self.memory.last_mut();
        let both = match last {
            Some(pending) if !pending.is_done_well() => {
                let events = &[pending.clone(), event];
                After { queue: &self.queue, events }.marker()?
            }
            _ => event,
        };
        *last = Some(both);
        Ok(())
    }

    /// Waits until every command on the array is done.
    ///
    /// # Errors
    ///
    /// What a command failed with: [`TensorError::OutOfMemory`], also where the driver allocated only
    /// when the memory was first used, else [`Error::Framework`].
    pub fn wait(&self) -> Result<()> {
        let bytes = self.layout().compact_bytes(self.data_type())?;
        let doing = Doing::new("run a command", self.device().device(), bytes);
        self.ready().map_or(Ok(()), |event| event.wait_for(doing))
    }

    /// The same array, its commands enqueued on another queue from now on. Nothing is waited for
    /// here: the next command waits for those of the old queue, on the device.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidArgument`] where the queue is another device's; the array comes back.
    pub fn on_queue(self, queue: &ClQueue) -> Result<Self, Refused<Self>> {
        if !std::ptr::eq(self.device(), queue.device()) {
            let error = Error::Tensor(TensorError::InvalidArgument {
                what: "the command queue",
                found: format!("{queue:?}"),
                expected: format!("one of {}, where the array is", self.device().device()),
            });
            return Err(Refused::new(self, error));
        }
        Ok(Self { queue: queue.clone(), ..self })
    }

    /// Runs a command behind the last one on the array; its event becomes the last one.
    pub(crate) fn behind<T>(
        &self,
        command: impl FnOnce(After<'_>) -> Result<(T, Option<ClEvent>)>,
    ) -> Result<T> {
        let mut last = self.memory.last();
        let events = last.as_slice();
        let (done, event) = command(After { queue: &self.queue, events })?;
        if event.is_some() {
            *last = event;
        }
        Ok(done)
    }

    /// Makes `event` the last command. It comes after the one that was.
    pub(crate) fn set_last(&self, event: ClEvent) {
        *self.memory.last() = Some(event);
    }

    pub(crate) fn region(&self) -> Option<Region<'_>> {
        Region::of_array(self.tensor(), self.device())
    }

    pub(crate) fn tensor(&self) -> &ManagedTensor {
        self.memory.tensor()
    }

    pub(crate) fn into_parts(self) -> (ManagedTensor, ClQueue, Option<ClEvent>) {
        let (tensor, last) = self.memory.into_parts();
        (tensor, self.queue, last)
    }
}

/// The same memory, which others may hold too.
fn shared(tensor: ManagedTensor) -> Result<ManagedTensor> {
    let (data, spec, device) = (tensor.data(), tensor.spec(), tensor.device());
    let owner = Owner::keep(tensor);
    // SAFETY: the memory is the tensor's, which is kept; less is said of it than was true.
    unsafe { ManagedTensor::from_parts(data, spec, device, Access::Shared, owner) }
        .map_err(Error::from)
}

impl fmt::Debug for ClArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClArray")
            .field("data_type", &self.data_type())
            .field("layout", self.layout())
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
