//! A DLPack tensor as a C library would hand it over, written against the C header and not against
//! the crate that `bridge-core` reads it with.

use std::ffi::c_void;

use bridge_core::dlpack::DLManagedTensorVersioned;
use bridge_core::{Access, Layout, ManagedTensor, TypeCode};

use crate::counting::{DropCounter, DropToken};

/// `DLTensor` of dlpack.h.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensorVersioned` of dlpack.h.
#[repr(C)]
struct Managed {
    major: u32,
    minor: u32,
    manager_ctx: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
    flags: u64,
    tensor: Tensor,
}

const _: () = assert!(size_of::<Managed>() == size_of::<DLManagedTensorVersioned>());

const READ_ONLY: u64 = 1;
const IS_COPIED: u64 = 2;

/// What lives until the deleter runs.
struct Context {
    _memory: ManagedTensor,
    _token: DropToken,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

/// A DLPack tensor in the hands of its producer, whose deleter's calls are counted.
#[derive(Debug)]
pub struct ForeignTensor {
    raw: *mut Managed,
}

impl ForeignTensor {
    /// A tensor over the memory of `base`, from its lowest element on, with another layout. The
    /// deleter drops `base` and one token of `deletions`.
    ///
    /// The data pointer is that of `base` and the byte offset is passed on as such; an empty tensor
    /// has a null data pointer. What the caller says of layout and access must be true of `base`.
    pub(crate) fn over(
        base: ManagedTensor,
        layout: &Layout,
        access: Access,
        deletions: &DropCounter,
    ) -> Self {
        let data_type = base.data_type();
        let device = base.device();
        let data = if layout.is_empty() { std::ptr::null_mut() } else { base.data() };
        let as_i64 = |extent: &usize| i64::try_from(*extent).expect("samples are small");
        let mut context = Box::new(Context {
            shape: layout.shape().iter().map(as_i64).collect(),
            strides: layout.strides().iter().map(|&stride| stride as i64).collect(),
            _memory: base,
            _token: deletions.token(),
        });
        let tensor = Tensor {
            data,
            device_type: device.kind() as i32,
            device_id: device.ordinal().cast_signed(),
            ndim: i32::try_from(layout.rank()).expect("ranks are small"),
            code: data_type.code() as u8,
            bits: data_type.bits(),
            lanes: data_type.lanes(),
            shape: context.shape.as_mut_ptr(),
            strides: context.strides.as_mut_ptr(),
            byte_offset: layout.byte_offset() as u64,
        };
        let managed = Managed {
            major: 1,
            minor: 3,
            manager_ctx: Box::into_raw(context).cast(),
            deleter: Some(delete),
            flags: match access {
                Access::ReadOnly => READ_ONLY,
                Access::Shared => 0,
                Access::Exclusive => IS_COPIED,
            },
            tensor,
        };
        Self { raw: Box::into_raw(Box::new(managed)) }
    }

    /// A tensor over the same memory, with the same layout and access.
    pub fn of(tensor: ManagedTensor, deletions: &DropCounter) -> Self {
        let (layout, access) = (tensor.layout().clone(), tensor.access());
        Self::over(tensor, &layout, access, deletions)
    }

    /// Hands the tensor over: whoever gets the pointer owns it, and runs its deleter once.
    pub fn into_raw(self) -> *mut DLManagedTensorVersioned {
        self.raw.cast()
    }

    /// Hands the tensor over to `bridge-core`.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub fn into_managed(self) -> ManagedTensor {
        // SAFETY: the pointer leads to a tensor as the C header lays it out, whose shape and
        // strides have `ndim` values and whose memory lives until the deleter runs; the deleter
        // drops Rust values that are `Send`.
        unsafe { ManagedTensor::from_dlpack(self.into_raw()) }
            .unwrap_or_else(|error| panic!("a valid DLPack tensor was refused: {error}"))
    }
}

/// A bool tensor of these bytes, whatever they are, as a C library may hand one over: nothing in
/// DLPack keeps it from bytes other than 0 and 1.
///
/// # Panics
///
/// Where `shape` has not as many elements as there are bytes.
pub fn foreign_booleans(bytes: &[u8], shape: &[usize]) -> ManagedTensor {
    let memory = ManagedTensor::from_vec(bytes.to_vec(), shape)
        .unwrap_or_else(|error| panic!("{} bytes are not {shape:?}: {error}", bytes.len()));
    let raw = ForeignTensor::of(memory, &DropCounter::new()).raw.cast::<DLManagedTensorVersioned>();
    // SAFETY: the header is owned here and valid; other than in Rust, every byte is a boolean in
    // DLPack, of the same size as an unsigned integer of 8 bits.
    let tensor = unsafe {
        (*raw.cast::<Managed>()).tensor.code = TypeCode::Bool as u8;
        ManagedTensor::from_dlpack(raw)
    };
    tensor.unwrap_or_else(|error| panic!("a bool tensor was refused: {error}"))
}

/// Runs the deleter of a tensor that was handed out, as a C consumer would.
///
/// # Safety
///
/// `raw` is a DLPack tensor that the caller owns; it is gone afterwards.
pub unsafe fn run_deleter(raw: *mut DLManagedTensorVersioned) {
    let managed = raw.cast::<Managed>();
    // SAFETY: the caller owns the tensor, laid out as the C header says.
    if let Some(deleter) = unsafe { (*managed).deleter } {
        // SAFETY: called once, by its owner.
        unsafe { deleter(managed) };
    }
}

unsafe extern "C" fn delete(managed: *mut Managed) {
    // SAFETY: both were made by `Box::into_raw` in `over`, and the owner calls this once.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.manager_ctx.cast::<Context>()));
    }
}
