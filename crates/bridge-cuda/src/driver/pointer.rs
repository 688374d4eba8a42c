//! What the driver knows about an address, and whether a tensor's memory is where the tensor says.

use std::ffi::c_void;

use bridge_core::{Device, Error, ManagedTensor, Result, TensorError};
use cudarc::driver::sys::{self, CUpointer_attribute};

use crate::context::errors::failed;
use crate::driver;
use crate::gpu::Opened;

/// `CU_MEMORYTYPE_HOST` and `CU_MEMORYTYPE_DEVICE`.
const HOST: u32 = 1;
const DEVICE: u32 = 2;

/// What the driver knows about an address.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pointer {
    memory_type: u32,
    ordinal: i32,
    managed: u32,
    context: usize,
}

impl Pointer {
    /// Asks the driver. An address it does not know has no memory type.
    pub(crate) fn inspect(gpu: &Opened, address: u64) -> Result<Self> {
        let _current = gpu.enter()?;
        Self::ask(address)
    }

    /// As [`inspect`](Self::inspect), in any context, or in none: every address means the same in all of them.
    fn ask(address: u64) -> Result<Self> {
        use CUpointer_attribute as A;
        let mut this = Self { ordinal: -1, ..Self::default() };
        let mut asked = [
            A::CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
            A::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
            A::CU_POINTER_ATTRIBUTE_IS_MANAGED,
            A::CU_POINTER_ATTRIBUTE_CONTEXT,
        ];
        let mut answers: [*mut c_void; 4] = [
            (&raw mut this.memory_type).cast(),
            (&raw mut this.ordinal).cast(),
            (&raw mut this.managed).cast(),
            (&raw mut this.context).cast(),
        ];
        // SAFETY: the driver is loaded, and four attributes are asked for; each answer has the type that it
        // writes: an unsigned int, an int, a bool as an unsigned int, and a pointer. It does not go to the
        // address, which may be any.
        unsafe {
            sys::cuPointerGetAttributes(4, asked.as_mut_ptr(), answers.as_mut_ptr(), address)
        }
        .result()
        .map_err(failed("ask for the attributes of a pointer"))?;
        Ok(this)
    }

    /// Whether devices copy to and from this host memory directly.
    pub(crate) fn is_pinned(self) -> bool {
        self.memory_type == HOST && self.managed == 0
    }
}

/// The GPU whose memory lies at an address: for memory that others describe by a pointer alone. `None` where the
/// driver knows no memory, as in the plain memory of the host; pinned memory is that of the GPU it was made for.
///
/// # Errors
///
/// [`Error::Unavailable`] where there is no driver that works, and the driver's own.
pub fn device_at(address: usize) -> Result<Option<Device>> {
    driver::require()?;
    let found = Pointer::ask(address as u64)?;
    let known = (found.memory_type != 0).then_some(found.ordinal);
    Ok(known.and_then(|ordinal| u32::try_from(ordinal).ok()).map(Device::cuda))
}

/// Checks that the first and the last byte of a tensor's memory are on `gpu`.
///
/// # Errors
///
/// [`TensorError::InvalidTensor`], saying what the memory is instead.
pub(crate) fn check(gpu: &Opened, tensor: &ManagedTensor) -> Result<()> {
    if tensor.layout().is_empty() {
        return Ok(());
    }
    let span = tensor.layout().span(tensor.data_type())?;
    let first = tensor.first_element().addr().wrapping_add_signed(span.start) as u64;
    let last = tensor.first_element().addr().wrapping_add_signed(span.end - 1) as u64;
    for address in [first, last] {
        let found = Pointer::inspect(gpu, address)?;
        if let Some(wrong) = wrong(gpu, found) {
            let device = tensor.device();
            let reason =
                format!("its memory at {address:#x} is said to be on {device}, but {wrong}");
            return Err(Error::Tensor(TensorError::InvalidTensor { reason }));
        }
    }
    Ok(())
}

/// What is wrong with memory that is said to be the GPU's; `None` where nothing is.
fn wrong(gpu: &Opened, found: Pointer) -> Option<String> {
    let ordinal = gpu.device().ordinal().cast_signed();
    match found.memory_type {
        // Pinned and managed memory is used by the GPUs at the same address.
        _ if found.managed != 0 => None,
        HOST => None,
        DEVICE if found.ordinal != ordinal => Some(format!(
            "it is on cuda:{}; take the ordinal from the pointer's attributes",
            found.ordinal
        )),
        // Memory of pools, and what is mapped, is of no context.
        DEVICE if found.context != 0 && found.context != gpu.raw().addr() => Some(
            "it belongs to a context other than the primary one; allocate it in the primary \
             context, or copy it there first"
                .to_owned(),
        ),
        DEVICE => None,
        _ => Some(
            "the driver knows no memory there: it is the host's, or was freed; hand host memory \
             over as cpu, and keep the owner of device memory until the deleter is called"
                .to_owned(),
        ),
    }
}
