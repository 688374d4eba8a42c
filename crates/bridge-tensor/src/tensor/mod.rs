//! The currency: an owned, validated tensor on any device.

mod consumer_stream;
mod description;
mod owner;
mod shared;
mod slices;
mod spec;
mod vectors;
mod view;
mod views;

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

pub use consumer_stream::ConsumerStream;
pub use description::{Description, Facts, Ownership};
pub use owner::Owner;
pub use shared::SharedTensor;
pub use spec::{Access, Stream, TensorSpec};
pub use view::TensorView;
pub use views::vec_with_room;

use self::owner::Kept;
use crate::data_type::DataType;
use crate::device::Device;
use crate::error::Result;
use crate::layout::Layout;
use crate::refused::Refused;

/// An owned tensor on any device: a DLPack tensor whose every field has been checked.
///
/// It is safe to hold, to send to another thread and to drop; dropping it runs its owner's
/// deleter exactly once. It is not `Clone`: [`into_shared`](Self::into_shared) makes aliases, which
/// are read-only.
///
/// ```
/// use bridge_tensor::ManagedTensor;
///
/// let tensor = ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// let column = tensor.selected(1, 2)?;
/// assert_eq!(column.layout().strides(), [3]);
/// # Ok::<(), bridge_tensor::Error>(())
/// ```
pub struct ManagedTensor {
    /// Nobody else holds the parts, but for [`SharedTensor`], which never gives a tensor out that
    /// is not the only one. One allocation, so that a tensor on its way is a pointer, and becomes
    /// a shared one as it is.
    parts: Arc<Parts>,
}

/// What a tensor consists of.
struct Parts {
    /// The lowest element's address on devices with addresses, else the device's handle.
    data: *mut c_void,
    data_type: DataType,
    device: Device,
    access: Access,
    /// Whether it was read-only, and is not for the caller's word alone that nobody will write.
    read_only_ignored: bool,
    /// Whether somebody else may write to the memory, whatever may be done through this tensor.
    others_may_write: bool,
    stream: Option<Stream>,
    layout: Layout,
    /// Whether the tensor is as it was exported, so that its owner may be taken for it.
    pristine: bool,
    owner: Owner,
}

// SAFETY: `from_parts` asks that the memory may be used and the owner dropped on any thread;
// `Owner::keep` asks its value to be `Send`.
unsafe impl Send for Parts {}
// SAFETY: through a shared reference the owner cannot be reached at all (`into_owner` consumes
// the tensor), and memory is only read.
unsafe impl Sync for Parts {}

impl ManagedTensor {
    /// Makes a tensor of its parts, after checking them.
    ///
    /// `data` is an address on devices that have addresses and may lie anywhere within the
    /// tensor's memory; elsewhere it is the device's handle (a `cl_mem`).
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`](crate::Error::TooLarge) or [`Error::InvalidLayout`](crate::Error::InvalidLayout) as [`Layout::span`],
    /// [`Error::InvalidTensor`](crate::Error::InvalidTensor) where `data` is null although there are elements, or the device's
    /// ordinal is beyond DLPack's. The owner comes back.
    ///
    /// # Safety
    ///
    /// - Every element that `spec` describes lies in memory of `device` that stays valid until
    ///   `owner` is dropped, and is initialized.
    /// - `owner` may be dropped on any thread.
    /// - `access` is true: for [`Access::ReadOnly`] nobody writes, for [`Access::Exclusive`] nobody
    ///   else reads or writes, while the tensor lives. For [`Access::Shared`] others may write: safe
    ///   code gets no reference into the memory.
    #[inline]
    pub unsafe fn from_parts(
        data: *mut c_void,
        spec: TensorSpec,
        device: Device,
        access: Access,
        owner: Owner,
    ) -> Result<Self, Refused<Owner>> {
        // SAFETY: the caller promises the memory, which the owner keeps.
        match unsafe { TensorView::from_parts(data, spec, device, access) } {
            // SAFETY: as above; the owner may be dropped on any thread, as the caller promises.
            Ok(view) => Ok(unsafe { view.kept_by(owner) }),
            Err(error) => Err(Refused::new(owner, error)),
        }
    }

    /// The element type.
    #[inline]
    pub fn data_type(&self) -> DataType {
        self.parts.data_type
    }

    /// Where the memory is.
    pub fn device(&self) -> Device {
        self.parts.device
    }

    /// Who may write.
    #[inline]
    pub fn access(&self) -> Access {
        self.parts.access
    }

    /// Whether somebody else may write to the memory while this tensor lives. Access may be read-only
    /// all the same: an alias of memory that a framework writes to is.
    #[inline]
    pub fn others_may_write(&self) -> bool {
        self.parts.others_may_write
    }

    /// Where the elements lie, relative to [`data`](Self::data).
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.parts.layout
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        self.parts.layout.shape()
    }

    /// The stream on which the data is ready; `None` where it is ready for everybody.
    pub fn stream(&self) -> Option<Stream> {
        self.parts.stream
    }

    /// The same tensor, its data ready on `stream`; `None` where it is ready for everybody.
    ///
    /// # Safety
    ///
    /// The data is ready there, and the stream exists on the tensor's device until the owner is
    /// dropped: backends hand its number to the driver, for which it is a pointer.
    #[must_use]
    pub unsafe fn ready_on(mut self, stream: Option<Stream>) -> Self {
        // Most data is ready for everybody, and stays so.
        if self.parts.stream != stream {
            self.parts_mut().stream = stream;
        }
        self
    }

    /// The lowest address of the memory, or the device's handle. The element whose indices are all
    /// zero is `layout().byte_offset()` bytes on.
    pub fn data(&self) -> *mut c_void {
        self.parts.data
    }

    /// The address of the element whose indices are all zero. On devices that work with handles
    /// it means nothing.
    #[inline]
    pub fn first_element(&self) -> *mut u8 {
        self.parts.data.cast::<u8>().wrapping_add(self.parts.layout.byte_offset())
    }

    /// Element type and layout.
    pub fn spec(&self) -> TensorSpec {
        TensorSpec { data_type: self.parts.data_type, layout: self.parts.layout.clone() }
    }

    /// What a plan needs to know of the tensor.
    pub fn describe(&self) -> Description {
        let Facts { data_type, device, layout, access, ownership, alignment } = self.facts();
        let owner = self.taken_back_by().filter(|_| self.parts.pristine);
        let layout = layout.clone();
        Description { data_type, device, layout, access, ownership, alignment, owner }
    }

    /// The tensor as one pointer, for a C interface to keep as the context of a deleter. Nothing is
    /// allocated, and nothing dropped until [`from_raw`](Self::from_raw) has it back.
    #[inline]
    pub fn into_raw(self) -> NonNull<c_void> {
        let raw = Arc::into_raw(self.parts);
        NonNull::new(raw.cast_mut().cast()).unwrap_or_else(|| unreachable!("an Arc is not null"))
    }

    /// The tensor that [`into_raw`](Self::into_raw) gave out.
    ///
    /// # Safety
    ///
    /// `raw` is such a pointer, and no tensor is made of it twice, unless the others are only
    /// looked at and never dropped (`ManuallyDrop`).
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
        // SAFETY: the pointer is that of `Arc::into_raw`, of the same type, and the caller promises
        // that its count is given up once.
        Self { parts: unsafe { Arc::from_raw(raw.as_ptr().cast_const().cast()) } }
    }

    fn parts_mut(&mut self) -> &mut Parts {
        Arc::get_mut(&mut self.parts).unwrap_or_else(|| unreachable!("a tensor is held once"))
    }

    #[inline]
    fn into_parts(self) -> Parts {
        Arc::into_inner(self.parts).unwrap_or_else(|| unreachable!("a tensor is held once"))
    }

    /// As [`describe`](Self::describe), borrowed and without the owner's type.
    #[inline]
    pub fn facts(&self) -> Facts<'_> {
        let ownership = match &self.parts.owner.0 {
            Kept::Host(memory) if self.fills_a_vec(memory) => Ownership::Movable,
            Kept::Vector(_) if self.parts.pristine => Ownership::Movable,
            _ => Ownership::Kept,
        };
        Facts {
            data_type: self.parts.data_type,
            device: self.parts.device,
            layout: &self.parts.layout,
            access: self.parts.access,
            ownership,
            alignment: alignment_of(self.parts.data),
        }
    }
}

impl From<Parts> for ManagedTensor {
    #[inline]
    fn from(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }
}

impl fmt::Debug for ManagedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedTensor")
            .field("data_type", &self.parts.data_type)
            .field("device", &self.parts.device)
            .field("layout", &self.parts.layout)
            .field("access", &self.parts.access)
            .field("owner", &self.parts.owner.0)
            .finish_non_exhaustive()
    }
}

/// The data pointer for which the lowest element is at the data pointer, and its layout, on devices
/// with addresses: no offset is ever negative there. `low` is the start of the layout's span.
#[inline]
fn start_at_lowest(
    data: *mut c_void,
    layout: &mut Layout,
    low: isize,
    device: Device,
) -> *mut c_void {
    if !device.kind().has_addresses() || layout.is_empty() {
        return data;
    }
    let lowest = data.wrapping_byte_add(layout.byte_offset()).wrapping_byte_offset(low);
    layout.set_byte_offset(low.unsigned_abs());
    lowest
}

/// The largest power of two that divides an address, up to a page.
#[inline]
pub fn alignment_of<T>(data: *const T) -> usize {
    1 << data.addr().trailing_zeros().min(12)
}
