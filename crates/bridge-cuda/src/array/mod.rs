//! The array type.

mod check;
mod slice;

use bridge_core::{
    Access, ConsumerStream, DataType, Device, Error, Layout, ManagedTensor, Overflow, Refused,
    Result, Stream, TensorError, TensorSpec,
};

use crate::memory::allocate;
use crate::memory::pinned::pinned;
use crate::streams::home::{Home, raw};
use crate::streams::pending::Pending;
use crate::transfer::source::{on_gpu, settle};
use crate::transfer::{download, transfer, upload};
use crate::{cast, driver};

/// An array in memory of a GPU, or in pinned or managed host memory: of any element type, shape and
/// strides.
///
/// It knows the stream that its data is ready in, its home, and keeps the memory's owner: this crate, a
/// [`CudaSlice`](cudarc::driver::CudaSlice), or a DLPack producer. Work on it waits for that stream with
/// events; the host waits only where it reads.
///
/// ```no_run
/// use bridge_core::{DataType, Device, ManagedTensor, Overflow};
/// use bridge_cuda::CudaArray;
///
/// let host = ManagedTensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0], &[2, 2])?;
/// let array = CudaArray::from_host(&host, Device::cuda(0))?;
/// let halves = array.cast(DataType::F16, Overflow::Refuse)?;
/// assert_eq!(halves.to_host()?.data_type(), DataType::F16);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug)]
pub struct CudaArray(ManagedTensor);

impl CudaArray {
    /// Allocates an array of zeros on a device, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] without a driver, [`Error::DeviceUnavailable`],
    /// [`TensorError::OutOfMemory`], and as [`TensorSpec::row_major`].
    pub fn zeros(data_type: DataType, shape: &[usize], device: Device) -> Result<Self> {
        allocate::zeros(&TensorSpec::row_major(data_type, shape)?, device).map(Self)
    }

    /// Allocates a row-major array whose elements a kernel or another library writes.
    ///
    /// # Safety
    ///
    /// Elements are written before they are read, and the home of the array waits for the writes.
    ///
    /// # Errors
    ///
    /// As [`zeros`](Self::zeros).
    pub unsafe fn uninitialized(
        data_type: DataType,
        shape: &[usize],
        device: Device,
    ) -> Result<Self> {
        let spec = TensorSpec::row_major(data_type, shape)?;
        // SAFETY: the caller promises it.
        unsafe { allocate::uninitialized(&spec, device) }.map(Self)
    }

    /// Copies a tensor to a device, row-major. Pageable memory goes through pinned buffers. The source is
    /// no longer read when this returns.
    ///
    /// # Errors
    ///
    /// As [`zeros`](Self::zeros), and those that the device reports.
    pub fn from_host(source: &ManagedTensor, device: Device) -> Result<Self> {
        transfer(source, device).map(Self)
    }

    /// Takes a tensor over, without copying.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidTensor`] where the memory is not where the tensor says (but on another device, in
    /// another context, on the host, or freed) or not aligned, [`Error::UnsupportedDataType`] for unnamed
    /// element types, and [`Error::Unsupported`] for other kinds of device. The tensor comes back.
    pub fn from_tensor(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        match check::check(&tensor) {
            Ok(()) => Ok(Self(tensor)),
            Err(error) => Err(Refused::new(tensor, error)),
        }
    }

    /// Starts a copy of a pinned tensor to a device and returns at once.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the tensor is not pinned, has gaps, or is empty:
    /// [`from_host`](Self::from_host) copies those. Otherwise as [`from_host`](Self::from_host). The tensor
    /// comes back.
    pub fn upload(
        source: ManagedTensor,
        device: Device,
    ) -> Result<Pending<(Self, ManagedTensor)>, Refused<ManagedTensor>> {
        let started = driver::gpu(device).and_then(|gpu| {
            let gpu = gpu.open()?;
            settle(&source)?;
            let bytes = source.layout().compact_bytes(source.data_type())?;
            let on_host = source.device().kind().is_host_accessible();
            if bytes == 0 || !on_host || !upload::is_direct(&source, gpu, bytes)? {
                return Err(Error::Unsupported {
                    what: format!("an asynchronous copy from {}", source.device()),
                    remedy:
                        "allocate the tensor with `bridge_cuda::pinned` and leave no gaps, or use \
                             `CudaArray::from_host`, which waits"
                            .to_owned(),
                });
            }
            upload::upload_pinned(&source, gpu)
        });
        match started {
            Ok((tensor, done)) => Ok(Pending::new((Self(tensor), source), done)),
            Err(error) => Err(Refused::new(source, error)),
        }
    }

    /// Starts a row-major copy to new pinned host memory and returns at once.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`], [`Error::Unsupported`] for arrays in host memory, and those that the device
    /// reports. The array comes back.
    pub fn download(self) -> Result<Pending<(ManagedTensor, Self)>, Refused<Self>> {
        let started = on_gpu(&self.0).and_then(|gpu| {
            let Some(gpu) = gpu else {
                return Err(Error::Unsupported {
                    what: format!("downloading from {}", self.device()),
                    remedy: "it is host memory already: read it in place, see `tensor`".to_owned(),
                });
            };
            let spec = TensorSpec::row_major(self.data_type(), self.shape())?;
            let target = pinned(&spec)?;
            // SAFETY: the new memory is pinned, has room for the row-major elements, is nobody
            // else's, and is kept until the event.
            let done = unsafe { download::start_pinned(&self.0, gpu, target.first_element()) }?;
            Ok((target, done))
        });
        match started {
            Ok((target, done)) => Ok(Pending::new((target, self), done)),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// As [`download`](Self::download), into pinned memory that exists already: pinning takes longer than
    /// a copy.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidArgument`] where the target has another element type or shape, or is not pinned,
    /// row-major and exclusively owned. Array and target come back.
    #[expect(clippy::type_complexity, reason = "both sides of the copy come back")]
    pub fn download_to(
        self,
        target: ManagedTensor,
    ) -> Result<Pending<(ManagedTensor, Self)>, Refused<(Self, ManagedTensor)>> {
        let started = on_gpu(&self.0).and_then(|gpu| {
            let bytes = self.layout().compact_bytes(self.data_type())?;
            let gpu = gpu.filter(|_| bytes > 0 && self.fits(&target));
            match gpu {
                Some(gpu) if upload::is_direct(&target, gpu, bytes)? => {
                    settle(&target)?;
                    // SAFETY: the memory is pinned, has room for the row-major elements, is nobody
                    // else's, and is kept until the event.
                    unsafe { download::start_pinned(&self.0, gpu, target.first_element()) }
                }
                _ => Err(Error::Tensor(TensorError::InvalidArgument {
                    what: "the target",
                    found: format!("{} {:?} on {}", target.data_type(), target.shape(), target.device()),
                    expected: format!(
                        "{} {:?}, row-major, allocated with `bridge_cuda::pinned` and not shared, for \
                         an array with elements on a GPU",
                        self.data_type(),
                        self.shape()
                    ),
                })),
            }
        });
        match started {
            Ok(done) => Ok(Pending::new((target, self), done)),
            Err(error) => Err(Refused::new((self, target), error)),
        }
    }

    /// Whether the elements can be written to this host tensor.
    fn fits(&self, target: &ManagedTensor) -> bool {
        target.data_type() == self.data_type()
            && target.shape() == self.shape()
            && target.access() == Access::Exclusive
            && target.device().kind().is_host_accessible()
    }

    /// A row-major copy in ordinary host memory, complete when this returns.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`], and those that the device reports.
    pub fn to_host(&self) -> Result<ManagedTensor> {
        transfer(&self.0, Device::CPU)
    }

    /// A row-major copy on any device that CUDA has, the same one included.
    ///
    /// # Errors
    ///
    /// As [`zeros`](Self::zeros), and those that a device reports.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        transfer(&self.0, device).map(Self)
    }

    /// The elements as another type, row-major, in new memory of the same device. Rounding and
    /// `overflow` are those of the host's casts, bit for bit but for the payload of a NaN.
    ///
    /// # Errors
    ///
    /// [`Error::NoCast`], [`Error::ValueOutOfRange`], [`TensorError::OutOfMemory`], and those that the device
    /// reports.
    pub fn cast(&self, to: DataType, overflow: Overflow) -> Result<Self> {
        cast::cast(&self.0, to, overflow).map(Self)
    }

    /// Makes a consumer's stream wait until the data is ready, before the array is handed over with
    /// DLPack: a producer must do that with the argument `stream` of `__dlpack__`.
    ///
    /// # Errors
    ///
    /// Those that the device reports.
    ///
    /// # Safety
    ///
    /// A [`ConsumerStream::Handle`] is a stream of the primary context of the array's device.
    pub unsafe fn ready_for(&self, consumer: ConsumerStream) -> Result<()> {
        let (Some(number), Some(gpu)) = (consumer.number(), on_gpu(&self.0)?) else {
            return Ok(());
        };
        // SAFETY: the caller promises the stream.
        let stream = unsafe { gpu.cudarc().wrap_borrowed_stream(raw(number)) };
        Home::of(&self.0, gpu).before(gpu, &stream)
    }

    /// Waits on the calling thread until the data is ready.
    ///
    /// # Errors
    ///
    /// Those that the device reports.
    pub fn wait(&self) -> Result<()> {
        match on_gpu(&self.0)? {
            Some(gpu) => Home::of(&self.0, gpu).wait(),
            None => settle(&self.0),
        }
    }

    /// The array as a tensor.
    pub fn tensor(&self) -> &ManagedTensor {
        &self.0
    }

    /// The array as a tensor, which owns it.
    pub fn into_tensor(self) -> ManagedTensor {
        self.0
    }

    /// The element type.
    pub fn data_type(&self) -> DataType {
        self.0.data_type()
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// Shape, strides and byte offset.
    pub fn layout(&self) -> &Layout {
        self.0.layout()
    }

    /// Where the memory is.
    pub fn device(&self) -> Device {
        self.0.device()
    }

    /// The stream that the data is ready in; `None` where it is ready in every stream.
    pub fn stream(&self) -> Option<Stream> {
        self.0.stream()
    }

    fn of(tensor: ManagedTensor) -> Self {
        Self(tensor)
    }
}
