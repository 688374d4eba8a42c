//! The one door to DLPack's C structs: dlpark gives the structs and runs the deleters, the checks
//! are ours.

mod loan;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDevice};
use dlpark::metadata::Dynamic;
use dlpark::{DlpackFlags, Managed, ManagedTensorBase};

pub use dlpark::ffi::{
    DLDeviceType, DLManagedTensor, DLManagedTensorVersioned, DLPackExchangeAPI,
    DLPackExchangeAPIHeader, DLPackVersion, DLTensor,
};

use crate::data_type::DataType;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::layout::MAX_RANK;
use crate::tensor::{Access, ManagedTensor, Owner, TensorView};

/// The DLPack version that tensors are handed out in.
pub const VERSION: DLPackVersion = DLPackVersion::CURRENT;

/// From this version on, strides must be given.
const STRIDES_REQUIRED: DLPackVersion = DLPackVersion { major: 1, minor: 2 };

impl ManagedTensor {
    /// Takes over a versioned DLPack tensor, as `__dlpack__(max_version=(1, 3))` gives it.
    ///
    /// Ownership passes in every case: where the tensor is refused, its deleter has run.
    /// `READ_ONLY` becomes [`Access::ReadOnly`], `IS_COPIED` [`Access::Exclusive`], anything else
    /// [`Access::Shared`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTensor`] for a null pointer, another major version (nothing but the deleter
    /// is touched then), a missing shape, negative extents, a null data pointer with elements,
    /// missing strides from version 1.2 on, or padded sub-byte elements;
    /// [`Error::DataType`] and [`Error::Device`] for those that DLPack does not have,
    /// [`Error::TooLarge`] and [`Error::InvalidLayout`] for what those say.
    ///
    /// # Safety
    ///
    /// - `raw` is null or points to a DLPack tensor that the caller owns and hands over; its
    ///   `shape` and `strides`, where not null, lead to `ndim` values.
    /// - The data, where the tensor is valid, is memory that may be read (and written, without
    ///   `READ_ONLY`) until the deleter runs.
    /// - With `READ_ONLY` nobody writes to the memory until the deleter runs, with `IS_COPIED` nobody
    ///   else reads or writes it.
    /// - The deleter may run on any thread and does not unwind.
    pub unsafe fn from_dlpack(raw: *mut DLManagedTensorVersioned) -> Result<Self> {
        // SAFETY: the caller owns `raw`; dlpark checks null and the major version, and runs the
        // deleter when it refuses.
        let managed =
            unsafe { Managed::from_raw(raw) }.map_err(|error| invalid(error.to_string()))?;
        let version = managed.version();
        let flags = managed.flags();
        if flags.contains(DlpackFlags::IS_SUBBYTE_TYPE_PADDED) {
            return Err(invalid(
                "its sub-byte elements are padded to whole bytes; hand it over packed, or as uint8"
                    .to_owned(),
            ));
        }
        let access = if flags.contains(DlpackFlags::READ_ONLY) {
            Access::ReadOnly
        } else if flags.contains(DlpackFlags::IS_COPIED) {
            Access::Exclusive
        } else {
            Access::Shared
        };
        // SAFETY: as the caller promises for `raw`.
        unsafe { take_over(managed, !version.supports(STRIDES_REQUIRED), access) }
    }

    /// Takes over a legacy DLPack tensor, as `__dlpack__()` gives it. It carries no flags, so
    /// access is [`Access::Shared`].
    ///
    /// # Errors
    ///
    /// As [`from_dlpack`](Self::from_dlpack), but null strides always mean row-major ones.
    ///
    /// # Safety
    ///
    /// As [`from_dlpack`](Self::from_dlpack).
    pub unsafe fn from_dlpack_legacy(raw: *mut DLManagedTensor) -> Result<Self> {
        // SAFETY: the caller owns `raw`; dlpark checks null.
        let managed =
            unsafe { Managed::from_raw(raw) }.map_err(|error| invalid(error.to_string()))?;
        // SAFETY: as the caller promises for `raw`.
        unsafe { take_over(managed, true, Access::Shared) }
    }

    /// The tensor that a DLPack header without an owner describes, as a framework's C exchange interface
    /// writes it; `owner` keeps the memory alive, and the header is only read.
    ///
    /// # Errors
    ///
    /// As [`from_dlpack`](Self::from_dlpack); null strides mean row-major ones. The owner is dropped.
    ///
    /// # Safety
    ///
    /// - `header.shape` and `header.strides`, where not null, lead to `ndim` values.
    /// - The data, where the tensor is valid, is memory that `owner` keeps alive, and that may be used as
    ///   `access` says until the owner is dropped, which may be on any thread.
    pub unsafe fn from_dlpack_header(
        header: &DLTensor,
        access: Access,
        owner: Owner,
    ) -> Result<Self> {
        // SAFETY: as the caller promises.
        unsafe { checked(header, true, access, owner) }
    }

    /// Hands the tensor over as a versioned DLPack tensor. Whoever receives the pointer owns the
    /// tensor and must run its deleter once, on any thread.
    ///
    /// Strides are always given; an empty tensor has a null data pointer; on devices with
    /// addresses `byte_offset` is zero. [`Access::ReadOnly`] sets `READ_ONLY`,
    /// [`Access::Exclusive`] sets `IS_COPIED`. A stream is not part of the struct: order the
    /// consumer's stream behind [`stream`](Self::stream) first.
    pub fn into_dlpack(self) -> NonNull<DLManagedTensorVersioned> {
        let mut flags = DlpackFlags::empty();
        flags.set(DlpackFlags::READ_ONLY, self.access() == Access::ReadOnly);
        flags.set(DlpackFlags::IS_COPIED, self.access() == Access::Exclusive);
        self.hand_over::<DLManagedTensorVersioned>(flags)
    }

    /// Hands the tensor over as a legacy DLPack tensor.
    ///
    /// # Errors
    ///
    /// The tensor itself where it is read-only, which the legacy struct cannot say.
    pub fn into_dlpack_legacy(self) -> Result<NonNull<DLManagedTensor>, Box<Self>> {
        if self.access() == Access::ReadOnly {
            return Err(Box::new(self));
        }
        Ok(self.hand_over::<DLManagedTensor>(DlpackFlags::empty()))
    }

    fn hand_over<M: ManagedTensorBase>(self, flags: DlpackFlags) -> NonNull<M> {
        let (data, byte_offset) = match self.layout() {
            layout if layout.is_empty() => (std::ptr::null_mut(), 0),
            layout if self.device().kind().has_addresses() => {
                (self.data().wrapping_byte_add(layout.byte_offset()), 0)
            }
            layout => (self.data(), layout.byte_offset() as u64),
        };
        let data_type = self.data_type();
        let device = self.device();
        // Extents and strides of a checked layout fit DLPack's `i64`, and its rank an `i32`.
        let prepared = Dynamic::new(self.layout().shape(), self.layout().strides())
            .prepare_as::<M>()
            .expect("a checked layout fits DLPack's integers");
        let mut header = prepared.initialize(Box::new(Context(Some(self.into_owner_only()))));
        header
            .set_data(data)
            .set_byte_offset(byte_offset)
            .set_device(DLDevice {
                device_type: DLDeviceType(device.kind() as u32),
                device_id: device.ordinal().cast_signed(),
            })
            .set_dtype(DLDataType::new(
                DLDataTypeCode(data_type.code() as u8),
                data_type.bits(),
                data_type.lanes(),
            ));
        // SAFETY: `IS_COPIED` is set for exclusive access only, which says that nobody else holds
        // the memory; `READ_ONLY` is set whenever access is read-only.
        unsafe { header.set_flags_unchecked(flags) };
        // SAFETY: data, shape and strides stay valid until the deleter drops the context, which
        // holds the owner; the flags are true.
        let raw = unsafe { header.finish() }.into_raw();
        NonNull::new(raw).expect("dlpark's allocation is not null")
    }
}

impl TensorView<'_> {
    /// Reads the tensor that a DLPack header without an owner describes, as a framework's C exchange interface
    /// writes it. The header is not needed any more then.
    ///
    /// # Errors
    ///
    /// As [`ManagedTensor::from_dlpack`]; null strides mean row-major ones. The view has no elements then.
    ///
    /// # Safety
    ///
    /// - `header.shape` and `header.strides`, where not null, lead to `ndim` values.
    /// - The data, where the tensor is valid, is memory that may be used as `access` says as long as the view lives.
    #[inline]
    pub unsafe fn read_dlpack_header(&mut self, header: &DLTensor, access: Access) -> Result<()> {
        // SAFETY: as the caller promises.
        let done = unsafe { read(header, true, access, self) };
        if done.is_err() {
            *self = Self::nothing();
        }
        done
    }
}

/// What the header's deleter drops. A panic in an owner's `drop` must not cross into C.
struct Context(Option<Owner>);

impl Drop for Context {
    fn drop(&mut self) {
        let owner = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(owner)));
    }
}

/// Checks every field; dropping `managed` on the way out runs its deleter.
///
/// # Safety
///
/// As [`ManagedTensor::from_dlpack`].
unsafe fn take_over<M: ManagedTensorBase + 'static>(
    managed: Managed<M>,
    strides_optional: bool,
    access: Access,
) -> Result<ManagedTensor> {
    // SAFETY: the caller hands over a readable tensor that nobody else changes.
    let tensor = *unsafe { managed.tensor() };
    // SAFETY: what the header leads to lives until the deleter runs, which the owner does when it is dropped; the
    // deleter may run on any thread, and the flags are those that `access` was read from.
    unsafe { checked(&tensor, strides_optional, access, Owner::foreign(managed.into_deleter())) }
}

/// Checks every field; on the way out the owner is dropped.
///
/// # Safety
///
/// As [`ManagedTensor::from_dlpack_header`].
#[inline]
unsafe fn checked(
    tensor: &DLTensor,
    strides_optional: bool,
    access: Access,
    owner: Owner,
) -> Result<ManagedTensor> {
    let mut view = TensorView::nothing();
    // SAFETY: the caller promises valid, initialized memory until the deleter runs, and the flags that `access`
    // was read from.
    unsafe { read(tensor, strides_optional, access, &mut view) }?;
    // SAFETY: the owner keeps that memory, and may be dropped on any thread, as the caller promises.
    Ok(unsafe { view.kept_by(owner) })
}

/// Checks every field. Where one is wrong, nobody may look at the view.
///
/// # Safety
///
/// As [`TensorView::read_dlpack_header`].
#[inline]
unsafe fn read(
    tensor: &DLTensor,
    strides_optional: bool,
    access: Access,
    view: &mut TensorView<'_>,
) -> Result<()> {
    let data_type =
        DataType::from_dlpack(tensor.dtype.code.0, tensor.dtype.bits, tensor.dtype.lanes)?;
    let device = Device::from_dlpack(tensor.device.device_type.0, tensor.device.device_id)?;
    let rank = match usize::try_from(tensor.ndim) {
        Ok(rank) if rank <= MAX_RANK => rank,
        _ => return Err(invalid(format!("its rank is {}, not 0 to {MAX_RANK}", tensor.ndim))),
    };
    let Ok(byte_offset) = usize::try_from(tensor.byte_offset) else {
        return Err(Error::TooLarge { what: format!("the byte offset {}", tensor.byte_offset) });
    };
    let values = |values: *const i64| -> Option<&[i64]> {
        if rank == 0 {
            return Some(&[]);
        }
        // SAFETY: null or aligned as a C array of `int64_t` is, and the caller promises `ndim` values; they live as
        // long as the tensor that `tensor` is part of.
        (!values.is_null()).then(|| unsafe { std::slice::from_raw_parts(values, rank) })
    };
    let Some(shape) = values(tensor.shape) else {
        return Err(invalid(format!("its shape is null, but its rank is {rank}")));
    };
    let strides = values(tensor.strides);
    if strides.is_none() && !strides_optional {
        return Err(invalid(
            "its strides are null, which DLPack allows up to version 1.1 only".to_owned(),
        ));
    }
    // SAFETY: the caller promises the memory that the header describes.
    unsafe {
        view.read(tensor.data, data_type, device, access, |layout| {
            layout.read(shape, strides, byte_offset)
        })
    }
}

#[cold]
fn invalid(reason: String) -> Error {
    Error::InvalidTensor { reason }
}
