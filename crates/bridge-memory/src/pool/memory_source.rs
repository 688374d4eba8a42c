//! Pools that conversions take their memory from.

use bridge_core::{Device, ManagedTensor, MemorySource, Refused, Result, TensorError, TensorSpec};

use super::device_pool::DevicePool;
use super::host_pool::{ALIGNMENT, Pool};

/// Ordinary memory of the host, aligned to up to 64 bytes.
///
/// ```
/// use bridge_convert::Convert;
/// use bridge_core::{DataType, ManagedTensor, Options};
/// # use bridge_host as _;
/// use bridge_memory::pool::Pool;
///
/// let pool = Pool::new();
/// let options = Options::default().cast(DataType::F32).pool(&pool);
/// for _ in 0..3 {
///     let bytes = ManagedTensor::from_vec(vec![1_u8; 1000], &[1000])?;
///     let wide: ManagedTensor = bytes.convert_to(options)?;
///     assert_eq!(wide.as_slice::<f32>()?, [1.0; 1000]);
/// }
/// assert_eq!((pool.stats().misses, pool.stats().hits), (1, 2));
/// # Ok::<(), bridge_core::Error>(())
/// ```
impl MemorySource for Pool {
    fn gives(&self, device: Device, alignment: usize) -> bool {
        device == Device::CPU && alignment <= ALIGNMENT
    }

    fn reserves(&self, _: Device, _: usize) -> bool {
        self.is_budgeted()
    }

    unsafe fn take(&self, spec: &TensorSpec, _: Device, _: usize) -> Result<ManagedTensor> {
        let buffer = self.uninit::<u8>(bytes_of(spec)?)?;
        // SAFETY: the caller promises that every element is written before it is read.
        let tensor = unsafe { buffer.kept_by_tensor(spec.clone()) };
        tensor.map_err(Refused::into_error)
    }
}

/// Memory of the pool's device, aligned to up to 64 bytes. Where the device's allocator keeps freed memory
/// itself, the pool gives none: new memory is as good.
impl MemorySource for DevicePool {
    fn gives(&self, device: Device, alignment: usize) -> bool {
        device == self.device() && alignment <= ALIGNMENT && !self.allocator().caches(device)
    }

    fn reserves(&self, _: Device, _: usize) -> bool {
        self.is_budgeted()
    }

    unsafe fn take(&self, spec: &TensorSpec, _: Device, _: usize) -> Result<ManagedTensor> {
        let buffer = self.acquire(bytes_of(spec)?)?;
        buffer.into_tensor(spec.clone()).map_err(Refused::into_error)
    }
}

/// Bytes from the start of the memory to the end of the elements.
fn bytes_of(spec: &TensorSpec) -> Result<usize> {
    let span = spec.layout.span(spec.data_type)?;
    let end = spec.layout.byte_offset().checked_add_signed(span.end);
    let outside = || TensorError::InvalidLayout {
        reason: format!("{:?} begins before its memory", spec.layout),
    };
    Ok(end.ok_or_else(outside)?)
}
