//! The currency: an owned, validated tensor on any device.

use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

use dlpark::AllocationDeleter;

use crate::data_type::DataType;
use crate::device::Device;
use crate::element::Element;
use crate::error::{Error, Refused, Result};
use crate::host_memory::HostMemory;
use crate::layout::Layout;
use crate::plan::{Description, Facts, Ownership};

/// Who may write to a tensor's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nobody may write through this tensor.
    ReadOnly,
    /// Writing is allowed, and others may hold the same memory: Rust gives out no `&mut`.
    Shared,
    /// Writing is allowed and nobody else holds the memory.
    Exclusive,
}

/// An element type and a layout: what memory must hold, before there is any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorSpec {
    /// The element type.
    pub data_type: DataType,
    /// Where the elements lie.
    pub layout: Layout,
}

impl TensorSpec {
    /// A compact row-major tensor of `shape`.
    ///
    /// # Errors
    ///
    /// As [`Layout::row_major`], and [`Error::TooLarge`] where the bytes exceed `isize::MAX`.
    pub fn row_major(data_type: DataType, shape: &[usize]) -> Result<Self> {
        let layout = Layout::row_major(shape)?;
        layout.compact_bytes(data_type)?;
        Ok(Self { data_type, layout })
    }
}

/// A queue of work on a device, by its DLPack number: for CUDA 1 is the legacy default stream,
/// 2 the per-thread one, and any other value a stream's pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream(pub u64);

/// What keeps a tensor's memory alive; dropping it frees the memory once.
#[derive(Debug, Default)]
pub struct Owner(Kept);

#[derive(Default)]
enum Kept {
    /// Memory that lives as long as the program, or none.
    #[default]
    Nothing,
    Host(HostMemory),
    Any(Box<dyn Any + Send>),
    Foreign(#[expect(dead_code, reason = "held for its drop")] AllocationDeleter),
    Shared(#[expect(dead_code, reason = "held for its drop")] Arc<ManagedTensor>),
}

impl Owner {
    /// No owner: the memory is static, or the tensor is empty.
    pub fn nothing() -> Self {
        Self(Kept::Nothing)
    }

    /// A Rust value that keeps the memory alive until it is dropped, on whichever thread.
    /// [`ManagedTensor::into_owner_if`] gives it back to who knows its type.
    pub fn keep<T: Any + Send>(value: T) -> Self {
        Self(Kept::Any(Box::new(value)))
    }

    /// The value that [`keep`](Self::keep) was given.
    ///
    /// # Errors
    ///
    /// The owner itself, where it is not a `T`.
    pub fn into_kept<T: Any>(self) -> Result<T, Self> {
        match self.0 {
            Kept::Any(value) => {
                value.downcast().map(|value| *value).map_err(|value| Self(Kept::Any(value)))
            }
            other => Err(Self(other)),
        }
    }

    pub(crate) fn foreign(deleter: AllocationDeleter) -> Self {
        Self(Kept::Foreign(deleter))
    }
}

impl From<HostMemory> for Owner {
    fn from(memory: HostMemory) -> Self {
        Self(Kept::Host(memory))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Host(_) => "host memory",
            Self::Any(_) => "a Rust value",
            Self::Foreign(_) => "a DLPack deleter",
            Self::Shared(_) => "a shared tensor",
        })
    }
}

/// An owned tensor on any device: a DLPack tensor whose every field has been checked.
///
/// It is safe to hold, to send to another thread and to drop; dropping it runs its owner's
/// deleter exactly once. It is not `Clone`: [`into_shared`](Self::into_shared) makes aliases, which
/// are read-only.
///
/// ```
/// use bridge_core::ManagedTensor;
///
/// let tensor = ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// let column = tensor.selected(1, 2)?;
/// assert_eq!(column.layout().strides(), [3]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct ManagedTensor {
    /// The lowest element's address on devices with addresses, else the device's handle.
    data: *mut c_void,
    data_type: DataType,
    device: Device,
    access: Access,
    stream: Option<Stream>,
    layout: Layout,
    owner: Owner,
}

// SAFETY: `from_parts` asks that the memory may be used and the owner dropped on any thread;
// `Owner::keep` asks its value to be `Send`.
unsafe impl Send for ManagedTensor {}
// SAFETY: through a shared reference the owner cannot be reached at all (`into_owner_if` consumes
// the tensor), and memory is only read.
unsafe impl Sync for ManagedTensor {}

impl ManagedTensor {
    /// Makes a tensor of its parts, after checking them.
    ///
    /// `data` is an address on devices that have addresses and may lie anywhere within the
    /// tensor's memory; elsewhere it is the device's handle (a `cl_mem`).
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] or [`Error::InvalidLayout`] as [`Layout::span`],
    /// [`Error::InvalidTensor`] where `data` is null although there are elements, or the device's
    /// ordinal is beyond DLPack's. The owner comes back.
    ///
    /// # Safety
    ///
    /// - Every element that `spec` describes lies in memory of `device` that stays valid until
    ///   `owner` is dropped, and is initialized.
    /// - `owner` may be dropped on any thread.
    /// - `access` is true: for [`Access::ReadOnly`] nobody writes, for [`Access::Exclusive`] nobody
    ///   else reads or writes, while the tensor lives. For [`Access::Shared`], nobody writes while
    ///   a Rust reference into the memory lives.
    pub unsafe fn from_parts(
        data: *mut c_void,
        spec: TensorSpec,
        device: Device,
        access: Access,
        owner: Owner,
    ) -> Result<Self, Refused<Owner>> {
        let TensorSpec { data_type, layout } = spec;
        let checked = layout.span(data_type).and_then(|span| {
            if data.is_null() && !layout.is_empty() {
                return Err(Error::InvalidTensor {
                    reason: format!("the data pointer is null, but {layout:?} has elements"),
                });
            }
            if i32::try_from(device.ordinal()).is_err() {
                return Err(Error::InvalidTensor {
                    reason: format!("DLPack has no ordinals above {}, here: {device}", i32::MAX),
                });
            }
            Ok(span)
        });
        let span = match checked {
            Ok(span) => span,
            Err(error) => return Err(Refused::new(owner, error)),
        };
        let (data, layout) = from_lowest(data, layout, span.start, device);
        Ok(Self { data, data_type, device, access, stream: None, layout, owner })
    }

    /// Makes a tensor of a vector, row-major, without copying.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where the vector's length is not that of `shape`, and as
    /// [`Layout::row_major`]. The vector comes back.
    pub fn from_vec<T: Element>(vec: Vec<T>, shape: &[usize]) -> Result<Self, Refused<Vec<T>>> {
        match Layout::row_major(shape) {
            Ok(layout) if layout.element_count() == vec.len() => {
                Self::from_vec_with_layout(vec, layout)
            }
            Ok(layout) => {
                let error = Error::InvalidArgument {
                    what: "the number of elements",
                    found: vec.len().to_string(),
                    expected: format!("shape {shape:?} has {}", layout.element_count()),
                };
                Err(Refused::new(vec, error))
            }
            Err(error) => Err(Refused::new(vec, error)),
        }
    }

    /// Makes a tensor of a vector with any layout that starts at the vector's first element,
    /// without copying.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLayout`] where the layout reaches outside the vector's elements, and as
    /// [`Layout::span`]. The vector comes back.
    #[inline]
    pub fn from_vec_with_layout<T: Element>(
        vec: Vec<T>,
        layout: Layout,
    ) -> Result<Self, Refused<Vec<T>>> {
        let inside = layout.span(T::DATA_TYPE).and_then(|span| {
            let end = layout.byte_offset().checked_add_signed(span.end);
            let starts_inside = layout.byte_offset().checked_add_signed(span.start).is_some();
            let aligned = layout.byte_offset().is_multiple_of(size_of::<T>());
            match end {
                Some(end) if starts_inside && aligned && end <= size_of_val(vec.as_slice()) => {
                    Ok(span)
                }
                _ if layout.is_empty() => Ok(0..0),
                _ => Err(Error::InvalidLayout {
                    reason: format!(
                        "{layout:?} reaches outside the vector's {} elements",
                        vec.len()
                    ),
                }),
            }
        });
        let span = match inside {
            Ok(span) => span,
            Err(error) => return Err(Refused::new(vec, error)),
        };
        let memory = HostMemory::from_vec(vec);
        let lowest = layout.byte_offset().wrapping_add_signed(span.start);
        Ok(Self {
            data: memory.as_ptr().wrapping_add(lowest).cast(),
            data_type: T::DATA_TYPE,
            device: Device::CPU,
            access: Access::Exclusive,
            stream: None,
            layout: layout.at_byte_offset(span.start.unsigned_abs()),
            owner: memory.into(),
        })
    }

    /// The tensor as the vector it lies in, with the layout of the elements in it: without gaps,
    /// from the first element on. Nothing is copied.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the memory is not a vector's, or is not filled from its first
    /// element on without gaps, [`Error::NotWritable`] where it is read-only, as a vector can be
    /// written, and as [`as_slice`](Self::as_slice). The tensor comes back.
    #[inline]
    pub fn into_vec<T: Element>(self) -> Result<(Vec<T>, Layout), Refused<Self>> {
        let count = self.layout.element_count();
        match self.typed_first::<T>() {
            // SAFETY: `typed_first` compared the element type.
            Ok(_) => unsafe { self.into_vec_of::<T>(count) },
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// As [`into_vec`](Self::into_vec), the elements as raw bytes: for frameworks that store
    /// packed or opaque elements so. Elements that take whole bytes must take one.
    ///
    /// # Errors
    ///
    /// As [`into_vec`](Self::into_vec), and [`Error::TooLarge`] where the bytes cannot be counted.
    pub fn into_byte_vec(self) -> Result<(Vec<u8>, Layout), Refused<Self>> {
        match self
            .layout
            .compact_bytes(self.data_type)
            .and_then(|n| self.require_host().map(|()| n))
        {
            // SAFETY: any initialized bytes are valid `u8`.
            Ok(bytes) => unsafe { self.into_vec_of::<u8>(bytes) },
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// # Safety
    ///
    /// The tensor, where its layout is dense, is `count` initialized elements of `T`.
    #[inline]
    unsafe fn into_vec_of<T: Element>(
        self,
        count: usize,
    ) -> Result<(Vec<T>, Layout), Refused<Self>> {
        let checked = match &self.owner.0 {
            _ if self.access == Access::ReadOnly => Err(Error::NotWritable {
                what: "a vector of this tensor's memory",
                reason: "the tensor is read-only; copy it first (Copy::Always)",
            }),
            Kept::Host(memory)
                if self.layout.is_dense()
                    && memory.is_vec_of(align_of::<T>(), size_of::<T>(), count)
                    && (count == 0 || self.data.cast() == memory.as_ptr()) =>
            {
                // SAFETY: the elements lie without gaps from the lowest address on, in host memory.
                unsafe { T::check(self.data.cast(), count) }
            }
            _ => Err(no_vector()),
        };
        if let Err(error) = checked {
            return Err(Refused::new(self, error));
        }
        // SAFETY: `count` elements lie without gaps from the memory's start on, initialized, and
        // `T::check` found them valid.
        match unsafe { self.owner.into_host_memory().into_vec::<T>(count) } {
            Ok(vec) => Ok((vec, self.layout)),
            Err(_) => unreachable!("is_vec_of was asked above"),
        }
    }

    /// Makes a tensor of host memory of the global allocator.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTensor`] where `spec` reaches outside the memory, and as
    /// [`from_parts`](Self::from_parts). The memory comes back.
    ///
    /// # Safety
    ///
    /// The elements that `spec` describes are initialized, or are written before they are read.
    pub unsafe fn from_host_memory(
        memory: HostMemory,
        spec: TensorSpec,
    ) -> Result<Self, Refused<HostMemory>> {
        let within = spec.layout.span(spec.data_type).and_then(|span| {
            let start = spec.layout.byte_offset().checked_add_signed(span.start);
            let end = spec.layout.byte_offset().checked_add_signed(span.end);
            match (start, end) {
                (Some(_), Some(end)) if spec.layout.is_empty() || end <= memory.size() => Ok(()),
                _ => Err(Error::InvalidTensor {
                    reason: format!(
                        "{:?} of {} reaches outside {} bytes",
                        spec.layout,
                        spec.data_type,
                        memory.size()
                    ),
                }),
            }
        });
        if let Err(error) = within {
            return Err(Refused::new(memory, error));
        }
        let data = memory.as_ptr().cast();
        // SAFETY:
        // - The elements lie within `memory`, compared above, which the owner keeps; the caller
        //   promises that they are initialized before they are read.
        // - `HostMemory` is `Send`.
        // - It is owned, so access is exclusive.
        unsafe { Self::from_parts(data, spec, Device::CPU, Access::Exclusive, memory.into()) }
            .map_err(|refused| refused.map(Owner::into_host_memory))
    }

    /// The element type.
    #[inline]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Where the memory is.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Who may write.
    #[inline]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Where the elements lie, relative to [`data`](Self::data).
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The stream on which the data is ready; `None` where it is ready for everybody.
    pub fn stream(&self) -> Option<Stream> {
        self.stream
    }

    /// The same tensor, its data ready on `stream`.
    #[must_use]
    pub fn ready_on(mut self, stream: Option<Stream>) -> Self {
        self.stream = stream;
        self
    }

    /// The lowest address of the memory, or the device's handle. The element whose indices are all
    /// zero is `layout().byte_offset()` bytes on.
    pub fn data(&self) -> *mut c_void {
        self.data
    }

    /// The address of the element whose indices are all zero. On devices that work with handles
    /// it means nothing.
    #[inline]
    pub fn first_element(&self) -> *mut u8 {
        self.data.cast::<u8>().wrapping_add(self.layout.byte_offset())
    }

    /// Element type and layout.
    pub fn spec(&self) -> TensorSpec {
        TensorSpec { data_type: self.data_type, layout: self.layout.clone() }
    }

    /// What a plan needs to know of the tensor.
    pub fn describe(&self) -> Description {
        let Facts { data_type, device, layout, access, ownership, alignment } = self.facts();
        let owner = match &self.owner.0 {
            Kept::Any(value) => Some(value.as_ref().type_id()),
            _ => None,
        };
        let layout = layout.clone();
        Description { data_type, device, layout, access, ownership, alignment, owner }
    }

    #[inline]
    pub(crate) fn facts(&self) -> Facts<'_> {
        let ownership = match &self.owner.0 {
            Kept::Host(memory) if self.fills_a_vec(memory) => Ownership::Movable,
            _ => Ownership::Kept,
        };
        Facts {
            data_type: self.data_type,
            device: self.device,
            layout: &self.layout,
            access: self.access,
            ownership,
            alignment: alignment_of(self.data),
        }
    }

    #[inline]
    fn fills_a_vec(&self, memory: &HostMemory) -> bool {
        let count = self.layout.element_count();
        // Packed elements are kept in a vector of bytes.
        let (size, length) = match self.data_type.size_in_bytes() {
            Some(size) => (size, Some(count)),
            None => (1, self.data_type.bytes_for(count)),
        };
        length.is_some_and(|length| memory.is_vec_of(self.data_type.alignment(), size, length))
            && (self.layout.is_empty() || self.data.cast() == memory.as_ptr())
    }

    /// The elements as a slice.
    ///
    /// # Errors
    ///
    /// Where the elements are not `T`, not in host memory, not row-major, not aligned for `T`, or
    /// not valid values of `T` (bool): the error says which.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let (first, count) = self.typed_row_major::<T>()?;
        // SAFETY: `slice::from_raw_parts` asks that
        // - the pointer is aligned and not null and leads to `count` elements of one allocation:
        //   `typed_row_major` checked alignment, type, device and layout, and `from_parts` that
        //   there is memory for them;
        // - they are initialized: a tensor's elements are; and valid: it ran `T::check`;
        // - nobody writes while the slice lives: `from_parts` has that promise for all accesses,
        //   and writing through this tensor takes it mutably;
        // - the size is at most `isize::MAX` bytes: `Layout::span` checked.
        Ok(unsafe { std::slice::from_raw_parts(first, count) })
    }

    /// The elements as a slice that can be written.
    ///
    /// # Errors
    ///
    /// As [`as_slice`](Self::as_slice), and [`Error::NotWritable`] without exclusive access.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        if self.access != Access::Exclusive {
            return Err(Error::NotWritable {
                what: "this tensor",
                reason: "it is read-only or others hold its memory; copy it first (Copy::Always)",
            });
        }
        let (first, count) = self.typed_row_major::<T>()?;
        // SAFETY: as in `as_slice`, and nobody else reads or writes: access is exclusive, and
        // `self` is borrowed mutably as long as the slice lives.
        Ok(unsafe { std::slice::from_raw_parts_mut(first, count) })
    }

    fn typed_row_major<T: Element>(&self) -> Result<(*mut T, usize)> {
        let count = self.layout.element_count();
        let first = self.typed_first::<T>()?;
        if !self.layout.is_row_major() {
            return Err(Error::InvalidLayout {
                reason: format!("{:?} is not row-major; copy it first (Copy::Always)", self.layout),
            });
        }
        // SAFETY: the elements lie without gaps from `first` on, in host memory, initialized.
        unsafe { T::check(first.cast(), count) }?;
        Ok((first, count))
    }

    /// The address of the element whose indices are all zero, for reading host memory as `T`.
    /// It is aligned and not null; where the tensor is empty it dangles.
    ///
    /// # Errors
    ///
    /// Where the elements are not `T`, not in host memory, or not aligned for `T`.
    #[inline]
    pub fn typed_first<T: Element>(&self) -> Result<*mut T> {
        if self.data_type != T::DATA_TYPE {
            return Err(Error::UnsupportedDataType {
                target: std::any::type_name::<T>(),
                data_type: self.data_type,
                supported: vec![T::DATA_TYPE],
                remedy: None,
            });
        }
        self.require_host()?;
        if self.layout.is_empty() {
            return Ok(std::ptr::NonNull::<T>::dangling().as_ptr());
        }
        let first = self.first_element();
        if !first.addr().is_multiple_of(align_of::<T>()) {
            return Err(Error::InvalidTensor {
                reason: format!(
                    "the data pointer {first:p} is not aligned to {} bytes for {}; copy it first \
                     (Copy::Always)",
                    align_of::<T>(),
                    self.data_type
                ),
            });
        }
        Ok(first.cast())
    }

    /// Succeeds where the CPU can read the memory through its address.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for memory of other devices.
    #[inline]
    pub fn require_host(&self) -> Result<()> {
        if self.device.kind().is_host_accessible() {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: format!("reading memory of {} on the CPU", self.device),
            remedy: "convert it with Options::default().on(Device::CPU) first".to_owned(),
        })
    }

    /// The same tensor with its axes in another order; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::permuted`]; the tensor comes back.
    pub fn permuted(self, axes: &[usize]) -> Result<Self, Refused<Self>> {
        self.map_layout(|layout, _| layout.permuted(axes))
    }

    /// Every `step`-th element of `axis`; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::sliced`]; the tensor comes back.
    pub fn sliced(
        self,
        axis: usize,
        start: usize,
        count: usize,
        step: isize,
    ) -> Result<Self, Refused<Self>> {
        self.map_layout(|layout, data_type| layout.sliced(axis, start, count, step, data_type))
    }

    /// The part where index `index` of `axis` is fixed; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::selected`]; the tensor comes back.
    pub fn selected(self, axis: usize, index: usize) -> Result<Self, Refused<Self>> {
        self.map_layout(|layout, data_type| layout.selected(axis, index, data_type))
    }

    /// The tensor repeated to `shape`; nothing moves, and it becomes read-only.
    ///
    /// # Errors
    ///
    /// As [`Layout::broadcast_to`]; the tensor comes back.
    pub fn broadcast_to(self, shape: &[usize]) -> Result<Self, Refused<Self>> {
        self.map_layout(|layout, _| layout.broadcast_to(shape)).map(Self::into_read_only)
    }

    /// The same elements in the same order under another shape; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::reshaped`]; the tensor comes back.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self, Refused<Self>> {
        self.map_layout(|layout, _| layout.reshaped(shape))
    }

    /// `change` must lead to a subset of the same elements.
    fn map_layout(
        mut self,
        change: impl FnOnce(&Layout, DataType) -> Result<Layout>,
    ) -> Result<Self, Refused<Self>> {
        let changed = change(&self.layout, self.data_type)
            .and_then(|layout| layout.span(self.data_type).map(|span| (layout, span.start)));
        match changed {
            Ok((layout, low)) => {
                (self.data, self.layout) = from_lowest(self.data, layout, low, self.device);
                Ok(self)
            }
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// The same tensor, which nobody may write through any more.
    #[must_use]
    pub fn into_read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }

    /// The same tensor, writable although it was handed out as read-only: for targets that
    /// ignore the flag, when the caller has said by name that nobody will write.
    pub(crate) fn ignoring_read_only(mut self) -> Self {
        if self.access == Access::ReadOnly {
            self.access = Access::Shared;
        }
        self
    }

    /// The tensor behind a counted reference, of which [`alias`](Self::alias) makes aliases.
    #[inline]
    pub fn into_shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// Another tensor over the same memory, which it keeps alive; read-only, since there are now
    /// several.
    pub fn alias(shared: &Arc<Self>) -> Self {
        Self::over(shared, shared.data, shared.layout.clone(), Access::ReadOnly)
    }

    /// The tensors along `axis`, one an index, each with one axis fewer. Nothing is copied. They
    /// are as writable as the tensor was, since no two of them meet in an element, unless it
    /// was broadcast.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where there is no such axis; the tensor comes back.
    pub fn unstack(self, axis: usize) -> Result<Vec<Self>, Refused<Self>> {
        let count = self.layout.shape().get(axis).copied().unwrap_or(1);
        let shared = self.into_shared();
        let parts: Result<_> =
            (0..count).map(|index| Self::slice_of(&shared, axis, index)).collect();
        parts.map_err(|error| match Arc::try_unwrap(shared) {
            Ok(whole) => Refused::new(whole, error),
            Err(shared) => Refused::new(Self::alias(&shared), error),
        })
    }

    /// The part of a shared tensor where index `index` of `axis` is fixed. It is as writable as
    /// the whole, so the whole must stay out of reach and no index be taken twice while a part
    /// of it lives.
    pub(crate) fn slice_of(shared: &Arc<Self>, axis: usize, index: usize) -> Result<Self> {
        let layout = shared.layout.selected(axis, index, shared.data_type)?;
        let low = layout.span(shared.data_type)?.start;
        let (data, layout) = from_lowest(shared.data, layout, low, shared.device);
        let access = if shared.layout.may_overlap() { Access::ReadOnly } else { shared.access };
        Ok(Self::over(shared, data, layout, access))
    }

    /// A tensor of part of a shared tensor's memory.
    fn over(shared: &Arc<Self>, data: *mut c_void, layout: Layout, access: Access) -> Self {
        Self {
            data,
            data_type: shared.data_type,
            device: shared.device,
            access,
            stream: shared.stream,
            layout,
            owner: Owner(Kept::Shared(Arc::clone(shared))),
        }
    }

    /// The tensor's allocation, when it is one of the global allocator that the tensor's elements
    /// start and that a `Vec` could own, and what lies in it.
    ///
    /// # Errors
    ///
    /// The tensor itself, where its memory is not so owned.
    pub fn into_host_memory(self) -> Result<(HostMemory, TensorSpec), Box<Self>> {
        match self.owner {
            Owner(Kept::Host(ref memory)) if self.fills_a_vec(memory) => {
                let spec = TensorSpec { data_type: self.data_type, layout: self.layout };
                Ok((self.owner.into_host_memory(), spec))
            }
            _ => Err(Box::new(self)),
        }
    }

    /// Whether [`Owner::keep`] was given a `T`.
    #[inline]
    pub fn is_kept_by<T: Any>(&self) -> bool {
        matches!(&self.owner.0, Kept::Any(value) if value.is::<T>())
    }

    /// The value that [`Owner::keep`] was given, where it is a `T` and the tensor still describes
    /// it: `unchanged` compares the two.
    ///
    /// # Errors
    ///
    /// The tensor itself, where its owner is not such a `T`.
    #[expect(clippy::result_large_err, reason = "the tensor comes back on the common way")]
    #[inline]
    pub fn into_owner_if<T: Any + Send>(
        mut self,
        unchanged: impl FnOnce(&T, &Self) -> bool,
    ) -> Result<T, Self> {
        let owner = match std::mem::take(&mut self.owner.0) {
            Kept::Any(value) => match value.downcast::<T>() {
                Ok(value) if unchanged(&value, &self) => return Ok(*value),
                Ok(value) => Kept::Any(value),
                Err(value) => Kept::Any(value),
            },
            other => other,
        };
        self.owner.0 = owner;
        Err(self)
    }

    /// Takes the owner out; the rest of the tensor must not outlive it.
    pub(crate) fn into_owner_only(self) -> Owner {
        self.owner
    }
}

impl Owner {
    fn into_host_memory(self) -> HostMemory {
        match self.0 {
            Kept::Host(memory) => memory,
            _ => unreachable!("every caller has seen host memory here"),
        }
    }
}

impl fmt::Debug for ManagedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedTensor")
            .field("data_type", &self.data_type)
            .field("device", &self.device)
            .field("layout", &self.layout)
            .field("access", &self.access)
            .field("owner", &self.owner.0)
            .finish_non_exhaustive()
    }
}

fn no_vector() -> Error {
    Error::Unsupported {
        what: "taking this tensor's memory over as a vector".to_owned(),
        remedy: "copy it first (Copy::Always)".to_owned(),
    }
}

/// Data pointer and layout such that the lowest element is at the data pointer, on devices with
/// addresses: no offset is ever negative there. `low` is the start of the layout's span.
#[inline]
fn from_lowest(
    data: *mut c_void,
    layout: Layout,
    low: isize,
    device: Device,
) -> (*mut c_void, Layout) {
    if !has_addresses(device) || layout.is_empty() {
        return (data, layout);
    }
    let lowest = data.wrapping_byte_add(layout.byte_offset()).wrapping_byte_offset(low);
    (lowest, layout.at_byte_offset(low.unsigned_abs()))
}

/// Whether data pointers on this device are addresses that offsets can be added to.
#[inline]
pub(crate) fn has_addresses(device: Device) -> bool {
    use crate::device::DeviceKind as Kind;
    !matches!(device.kind(), Kind::OpenCl | Kind::Vulkan | Kind::Metal | Kind::WebGpu)
}

/// The largest power of two that divides an address, up to a page.
#[inline]
fn alignment_of(data: *mut c_void) -> usize {
    1 << data.addr().trailing_zeros().min(12)
}
