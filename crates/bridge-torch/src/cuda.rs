//! CUDA devices of libtorch: which there are, and their memory.

use std::sync::OnceLock;

use bridge_core::{
    Access, DataType, Device, DeviceKind, DeviceMemory, Error, HostMemory, Layout, ManagedTensor,
    NativeArray, Owner, Result, Stream, TensorError, TensorSpec, Unavailable,
};
use tch::Tensor;

use crate::data_types::scalar_type_of;
use crate::shim::{self, Work};

/// The CUDA devices of libtorch.
pub(crate) struct Found {
    pub(crate) devices: u32,
    /// Why there are none.
    pub(crate) reason: String,
}

/// Looks for devices at the first call; the answer stays.
pub(crate) fn found() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| {
        // SAFETY: the shim takes nothing, and catches what libtorch throws.
        let devices = unsafe { shim::bridge_torch_cuda_devices() };
        Found { devices: u32::try_from(devices).unwrap_or(0), reason: shim::message() }
    })
}

/// The devices that libtorch has: the CPU, and CUDA's.
pub(crate) fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let found = (0..found().devices).map(Device::cuda);
        std::iter::once(Device::CPU).chain(found).collect()
    })
}

/// The ordinal of a CUDA device that libtorch has, as it counts them.
///
/// # Errors
///
/// As [`unavailable`] for any other device.
pub(crate) fn ordinal(device: Device) -> Result<i32> {
    let there = device.kind() == DeviceKind::Cuda && device.ordinal() < found().devices;
    match i32::try_from(device.ordinal()) {
        Ok(ordinal) if there => Ok(ordinal),
        _ => Err(unavailable(device)),
    }
}

/// The error for a device that libtorch does not have: where it has no CUDA device at all, with the
/// reason that `arraybridge doctor` shows, as [`Error::Unavailable`]; else with those it has, as
/// [`Error::DeviceUnavailable`].
#[cold]
pub(crate) fn unavailable(asked: Device) -> Error {
    let backend = "torch";
    let found = found();
    if asked.kind() == DeviceKind::Cuda && found.devices == 0 {
        return Error::Unavailable {
            backend,
            why: Unavailable::new(
                format!("it has the CPU and no {asked} here: {}", found.reason),
                "stay on the CPU, or use a machine with an NVIDIA GPU and its driver, and a \
                 libtorch that is built with CUDA",
            ),
        };
    }
    Error::DeviceUnavailable { backend, asked, available: devices().to_vec() }
}

/// The stream that libtorch works on, where `device` is a CUDA device: what it has submitted there
/// is ready behind it.
#[inline]
pub(crate) fn current_stream(device: Device) -> Result<Option<Stream>> {
    if device.kind() != DeviceKind::Cuda {
        return Ok(None);
    }
    let ordinal = ordinal(device)?;
    let mut handle = 0;
    // SAFETY: the shim writes the handle.
    let status = unsafe { shim::bridge_torch_cuda_stream(ordinal, &raw mut handle) };
    work("find the current stream", device, 0).check(status)?;
    // CUDA's own null stream is DLPack's legacy default stream.
    Ok(Some(Stream(handle.max(1))))
}

/// Makes libtorch's current stream wait for the one that a tensor's data is ready on.
#[inline]
pub(crate) fn wait_for(device: Device, stream: Option<Stream>) -> Result<()> {
    let (DeviceKind::Cuda, Some(Stream(handle))) = (device.kind(), stream) else {
        return Ok(());
    };
    let ordinal = ordinal(device)?;
    // SAFETY: the handle is a stream's, as whoever said `ready_on` promises.
    let status = unsafe { shim::bridge_torch_cuda_wait(ordinal, handle) };
    work("wait for a stream", device, 0).check(status)
}

/// Zeroed memory for `bytes` bytes.
pub(crate) fn zeros(spec: TensorSpec, bytes: usize, device: Device) -> Result<ManagedTensor> {
    let ordinal = ordinal(device)?;
    let asked = i64::try_from(bytes).map_err(|_| {
        Error::Tensor(TensorError::TooLarge { what: format!("an allocation of {bytes} bytes") })
    })?;
    let mut made = std::ptr::null_mut();
    // SAFETY: the shim writes the handle where it succeeds.
    let status = unsafe { shim::bridge_torch_cuda_zeros(asked, ordinal, &raw mut made) };
    work("allocate memory", device, bytes as u64).check(status)?;
    // SAFETY: the shim has made it just now.
    let memory = unsafe { shim::tensor_of(made) };
    over(memory, spec, device)
}

/// A tensor over the bytes of a torch tensor that is ours alone.
fn over(memory: Tensor, spec: TensorSpec, device: Device) -> Result<ManagedTensor> {
    let data = memory.data_ptr();
    let owner = Owner::keep(Bytes(memory));
    // SAFETY: every caller has made memory that the spec fits, and written it; it is nobody
    // else's, and tch's tensors may be dropped on any thread.
    let tensor =
        unsafe { ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner) }?;
    let stream = current_stream(device)?;
    // SAFETY: libtorch has written the memory on its current stream.
    Ok(unsafe { tensor.ready_on(stream) })
}

/// Memory that is no tensor of its elements: `import` must not take it for one.
struct Bytes(#[expect(dead_code, reason = "held for its drop")] Tensor);

/// The elements of a tensor, compact and row-major, on another device or the same one.
pub(crate) fn copied(tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
    let from = tensor.device();
    let on_cuda = |device: Device| device.kind() == DeviceKind::Cuda;
    let side = |device: Device| if on_cuda(device) { ordinal(device) } else { Ok(-1) };
    let (source_side, target_side) = (side(from)?, side(to)?);
    if !on_cuda(from) {
        tensor.require_host()?;
    }
    if !on_cuda(to) && to != Device::CPU {
        return Err(unavailable(to));
    }
    wait_for(from, tensor.stream())?;

    let data_type = tensor.data_type();
    let spec = TensorSpec::row_major(data_type, tensor.shape())?;
    let bytes = spec.layout.compact_bytes(data_type)?;
    let target = if on_cuda(to) {
        zeros(spec, bytes, to)?
    } else {
        let memory = HostMemory::zeroed(bytes, data_type.alignment())?;
        // SAFETY: the memory is initialized.
        unsafe { ManagedTensor::from_host_memory(memory, spec) }?
    };
    if tensor.layout().is_empty() {
        return Ok(target);
    }
    let Moves { sizes, strides, reversed, size, start } = Moves::of(tensor)?;
    // SAFETY:
    // - The source's elements lie `sizes` and `strides` from the lowest address on, axes in
    //   `reversed` the other way round, in memory of its device; the target has `bytes` bytes of its
    //   own, and is nobody else's.
    // - The arrays have one value an axis, and the shim returns when the copy is done.
    let status = unsafe {
        shim::bridge_torch_cuda_copy(
            start,
            source_side,
            target.data(),
            target_side,
            sizes.as_ptr(),
            strides.as_ptr(),
            reversed.as_ptr(),
            sizes.len() as i64,
            size,
        )
    };
    work("copy between devices", to, bytes as u64).check(status)?;
    // SAFETY: the copy is done.
    Ok(unsafe { target.ready_on(None) })
}

/// The elements as a strided walk from the lowest address on.
struct Moves {
    sizes: Vec<i64>,
    strides: Vec<i64>,
    reversed: Vec<bool>,
    size: i32,
    start: *const std::ffi::c_void,
}

impl Moves {
    fn of(tensor: &ManagedTensor) -> Result<Self> {
        let (layout, data_type) = (tensor.layout(), tensor.data_type());
        let Some(size) = data_type.size_in_bytes() else {
            // Packed elements are row-major: their bytes are what is copied.
            let bytes = layout.compact_bytes(data_type)?;
            return Ok(Self {
                sizes: vec![bytes as i64],
                strides: vec![1],
                reversed: vec![false],
                size: 1,
                start: tensor.first_element().cast(),
            });
        };
        let low = layout.span(data_type)?.start;
        let moving = |axis: usize| layout.shape()[axis] > 1;
        let strides = layout.strides().iter().enumerate();
        Ok(Self {
            sizes: layout.shape().iter().map(|&extent| extent as i64).collect(),
            strides: strides
                .clone()
                .map(|(axis, stride)| if moving(axis) { stride.unsigned_abs() as i64 } else { 1 })
                .collect(),
            reversed: strides.map(|(axis, &stride)| moving(axis) && stride < 0).collect(),
            size: i32::try_from(size).unwrap_or(i32::MAX),
            start: tensor.first_element().wrapping_offset(low).cast(),
        })
    }
}

/// Whether elements are cast on their device: where the new type holds every value, so that all
/// rules of rounding and overflow agree.
pub(crate) fn casts(from: DataType, to: DataType) -> bool {
    from.fits_in(to) && scalar_type_of(from).is_some() && scalar_type_of(to).is_some()
}

/// Converts elements on their device, where the type that is asked for holds every value: then all
/// rules of rounding and overflow agree.
pub(crate) fn cast(tensor: &ManagedTensor, to: DataType) -> Result<ManagedTensor> {
    let from = tensor.data_type();
    let (Some(scalar_type), true) = (scalar_type_of(to), casts(from, to)) else {
        return Err(Error::Unsupported {
            what: format!("casting {from} to {to} on {} with torch", tensor.device()),
            remedy: "cast it on the CPU: convert it there first (Options::on(Device::CPU))"
                .to_owned(),
        });
    };
    let device = tensor.device();
    let compact = copied(tensor, device)?;
    let spec = TensorSpec { data_type: to, layout: Layout::row_major(tensor.shape())? };
    let bytes = spec.layout.compact_bytes(to)? as u64;
    let source = Tensor::import(compact).map_err(Error::from)?;
    let mut made = std::ptr::null_mut();
    let handle = shim::handle_of(&source);
    // SAFETY: the handle is alive as long as `source`; the shim writes `made` where it succeeds.
    let status = unsafe { shim::bridge_torch_cuda_cast(handle, scalar_type, &raw mut made) };
    work("cast elements", device, bytes).check(status)?;
    // SAFETY: the shim has made it just now.
    let cast = unsafe { shim::tensor_of(made) };
    synchronize(device)?;
    over(cast, spec, device)
}

/// Waits for what libtorch has submitted to a CUDA device.
pub(crate) fn synchronize(device: Device) -> Result<()> {
    if device == Device::CPU {
        return Ok(());
    }
    // SAFETY: the shim takes an ordinal and checks it.
    let status = unsafe { shim::bridge_torch_cuda_synchronize(ordinal(device)?) };
    work("synchronize a device", device, 0).check(status)
}

/// What libtorch's caching allocator holds of a CUDA device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedMemory {
    /// In use by tensors.
    pub allocated: u64,
    /// Taken from the device: in use, or kept for the next tensors.
    pub reserved: u64,
}

/// What libtorch's caching allocator holds of a CUDA device.
///
/// # Errors
///
/// [`Error::Unavailable`] with the reason where libtorch has no CUDA device,
/// [`Error::DeviceUnavailable`] where it has others, and [`Error::Unsupported`] for the CPU, whose
/// memory libtorch does not cache.
pub fn cached_memory(device: Device) -> Result<CachedMemory> {
    if device == Device::CPU {
        return Err(Error::Unsupported {
            what: "asking how much host memory libtorch caches".to_owned(),
            remedy: "ask for a CUDA device: on the CPU it caches nothing".to_owned(),
        });
    }
    figures(device).map(|[_, _, allocated, reserved]| CachedMemory { allocated, reserved })
}

pub(crate) fn memory(device: Device) -> Result<DeviceMemory> {
    if device == Device::CPU {
        return Err(Error::Unsupported {
            what: "measuring the host's memory with torch".to_owned(),
            remedy: "ask the operating system".to_owned(),
        });
    }
    figures(device).map(|[free, total, ..]| DeviceMemory { total, free })
}

/// Gives the unused memory of the caching allocator back to the device; how many bytes it was.
pub(crate) fn release_cached(device: Device) -> Result<u64> {
    if device == Device::CPU {
        return Ok(0);
    }
    let before = cached_memory(device)?.reserved;
    // SAFETY: the shim takes nothing.
    let status = unsafe { shim::bridge_torch_cuda_empty_cache() };
    work("empty the cache", device, 0).check(status)?;
    Ok(before.saturating_sub(cached_memory(device)?.reserved))
}

fn figures(device: Device) -> Result<[u64; 4]> {
    let ordinal = ordinal(device)?;
    let mut figures = [0; 4];
    // SAFETY: the shim writes four figures.
    let status = unsafe { shim::bridge_torch_cuda_memory(ordinal, figures.as_mut_ptr()) };
    work("measure memory", device, 0).check(status)?;
    Ok(figures)
}

fn work(operation: &'static str, device: Device, bytes: u64) -> Work {
    Work { operation, device, bytes }
}

#[cfg(test)]
mod tests {
    use bridge_core::Allocator;
    use bridge_core::Backend;
    use bridge_core::Runtime;

    use super::*;
    use crate::Torch;

    /// Asks everything of the first device that is not there: cuda:0 without a GPU.
    fn asked_of(device: Device) -> Vec<(&'static str, Error)> {
        let host = ManagedTensor::from_vec(vec![1_f32], &[1]).unwrap();
        let spec = host.spec();
        vec![
            ("ordinal", ordinal(device).unwrap_err()),
            ("current_stream", current_stream(device).unwrap_err()),
            ("wait_for", wait_for(device, Some(Stream(1))).unwrap_err()),
            ("allocate", Torch.allocate(&spec, device).unwrap_err()),
            ("transfer", Torch.transfer(&host, device).unwrap_err()),
            ("synchronize", Torch.synchronize(device).unwrap_err()),
            ("usage", Torch.usage(device).unwrap_err()),
            ("cached_memory", cached_memory(device).unwrap_err()),
            ("trim", Torch.trim(device).unwrap_err()),
            ("lacks", Torch.lacks(device)),
        ]
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_what_doctor_says_of_it() {
        let none = found().devices == 0;
        let told = Torch.details().into_iter().find(|detail| detail.name == "no CUDA");
        assert_eq!(told.is_some(), none);
        for (what, error) in asked_of(Device::cuda(found().devices)) {
            match (&error, &told) {
                (
                    Error::Unavailable { backend, why: Unavailable { reason, remedy } },
                    Some(told),
                ) => {
                    assert_eq!(*backend, "torch");
                    assert!(reason.contains("cuda:0") && reason.contains(&told.value), "{reason}");
                    assert!(!told.value.is_empty() && remedy.contains("CPU"), "{what}: {remedy}");
                }
                (Error::DeviceUnavailable { available, .. }, None) => {
                    assert!(available.contains(&Device::cuda(0)), "{what}: {error}");
                }
                _ => panic!("{what}: {error}"),
            }
        }
    }

    #[test]
    fn devices_of_other_kinds_are_refused_with_those_there_are() {
        let Error::DeviceUnavailable { asked, available, .. } = Torch.lacks(Device::opencl(0))
        else {
            panic!("torch knows no reason");
        };
        assert_eq!((asked, available[0]), (Device::opencl(0), Device::CPU));
    }

    #[test]
    fn the_cpu_has_no_streams_and_no_cache() {
        assert_eq!(current_stream(Device::CPU).unwrap(), None);
        assert!(wait_for(Device::CPU, Some(Stream(7))).is_ok());
        assert_eq!(Torch.trim(Device::CPU).unwrap(), 0);
        assert!(Torch.synchronize(Device::CPU).is_ok());
        for refused in [cached_memory(Device::CPU).map(drop), memory(Device::CPU).map(drop)] {
            assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        }
    }
}
