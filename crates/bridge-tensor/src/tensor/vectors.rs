//! Tensors of vectors, and vectors of tensors.

use std::ops::Range;

use super::owner::Kept;
use super::{Access, ManagedTensor, Owner, Parts, TensorSpec};
use crate::device::Device;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::host_memory::HostMemory;
use crate::layout::Layout;
use crate::refused::Refused;

impl ManagedTensor {
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
        mut layout: Layout,
    ) -> Result<Self, Refused<Vec<T>>> {
        let span = match require_inside(&vec, &layout) {
            Ok(span) => span,
            Err(error) => return Err(Refused::new(vec, error)),
        };
        let memory = HostMemory::from_vec(vec);
        let lowest = layout.byte_offset().wrapping_add_signed(span.start);
        layout.set_byte_offset(span.start.unsigned_abs());
        Ok(Parts {
            data: memory.as_ptr().wrapping_add(lowest).cast(),
            data_type: T::DATA_TYPE,
            device: Device::CPU,
            access: Access::Exclusive,
            read_only_ignored: false,
            others_may_write: false,
            stream: None,
            layout,
            pristine: true,
            owner: memory.into(),
        }
        .into())
    }

    /// The tensor as the vector it lies in, with the layout of the elements in it: without gaps,
    /// from the first element on. Nothing is copied.
    ///
    /// # Errors
    ///
    /// [`Error::NotAVector`] where the memory is not a vector's, or is not filled from its first
    /// element on without gaps, [`Error::NotWritable`] where it is read-only, as a vector can be
    /// written, and as [`as_slice`](Self::as_slice). The tensor comes back.
    #[inline]
    pub fn into_vec<T: Element>(self) -> Result<(Vec<T>, Layout), Refused<Self>> {
        let count = self.parts.layout.element_count();
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
            .layout()
            .compact_bytes(self.parts.data_type)
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
        let checked = match &self.parts.owner.0 {
            _ if self.parts.access == Access::ReadOnly => Err(Error::NotWritable {
                what: "a vector of this tensor's memory",
                reason: "the tensor is read-only; copy it first",
            }),
            Kept::Host(memory)
                if self.parts.layout.is_dense()
                    && memory.is_vec_of(align_of::<T>(), size_of::<T>(), count)
                    && (count == 0 || self.parts.data.cast() == memory.as_ptr()) =>
            {
                // SAFETY: the elements lie without gaps from the lowest address on, in host memory.
                unsafe { T::check(self.parts.data.cast(), count) }
            }
            Kept::Host(_) => Err(Error::NotAVector {
                reason: "the elements do not fill the allocation from its start without gaps",
            }),
            _ => Err(Error::NotAVector { reason: "another owner keeps the memory" }),
        };
        if let Err(error) = checked {
            return Err(Refused::new(self, error));
        }
        let Parts { owner, layout, .. } = self.into_parts();
        // SAFETY: `count` elements lie without gaps from the memory's start on, initialized, and
        // `T::check` found them valid.
        match unsafe { owner.into_host_memory().into_vec::<T>(count) } {
            Ok(vec) => Ok((vec, layout)),
            Err(_) => unreachable!("is_vec_of was asked above"),
        }
    }

    /// Calls `f` with a tensor of borrowed elements, which is read-only and ends with the call:
    /// for handing a framework's memory to what reads a tensor. Nothing is copied.
    ///
    /// ```
    /// use bridge_tensor::{Layout, ManagedTensor};
    ///
    /// let elements = [1_f32, 2.0, 3.0, 4.0];
    /// let layout = Layout::column_major(&[2, 2])?;
    /// let strides = ManagedTensor::with_borrowed(&elements, layout, |tensor| {
    ///     tensor.layout().strides().to_vec()
    /// })?;
    /// assert_eq!(strides, [1, 2]);
    /// # Ok::<(), bridge_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_vec_with_layout`](Self::from_vec_with_layout).
    pub fn with_borrowed<T: Element, R>(
        elements: &[T],
        layout: Layout,
        f: impl FnOnce(&Self) -> R,
    ) -> Result<R> {
        require_inside(elements, &layout)?;
        let spec = TensorSpec { data_type: T::DATA_TYPE, layout };
        let data = elements.as_ptr().cast_mut().cast();
        // SAFETY:
        // - The layout stays within the elements, checked above; they are initialized values of
        //   `T`, and the borrow outlives the tensor, which does not leave this function.
        // - There is no owner to drop.
        // - Nobody writes while the elements are borrowed, so that read-only is true: an
        //   `Element` is `Copy`, so it has no interior mutability.
        let tensor = unsafe {
            Self::from_parts(data, spec, Device::CPU, Access::ReadOnly, Owner::nothing())
        };
        Ok(f(&tensor.map_err(Error::from)?))
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

    /// The tensor's allocation, when it is one of the global allocator that the tensor's elements
    /// start and that a `Vec` could own, and what lies in it.
    ///
    /// # Errors
    ///
    /// The tensor itself, where its memory is not so owned.
    pub fn into_host_memory(self) -> Result<(HostMemory, TensorSpec), Box<Self>> {
        match &self.parts.owner {
            Owner(Kept::Host(memory)) if self.fills_a_vec(memory) => {
                let Parts { data_type, layout, owner, .. } = self.into_parts();
                Ok((owner.into_host_memory(), TensorSpec { data_type, layout }))
            }
            _ => Err(Box::new(self)),
        }
    }

    #[inline]
    pub(super) fn fills_a_vec(&self, memory: &HostMemory) -> bool {
        let count = self.parts.layout.element_count();
        // Packed elements are kept in a vector of bytes.
        let (size, length) = match self.parts.data_type.size_in_bytes() {
            Some(size) => (size, Some(count)),
            None => (1, self.parts.data_type.bytes_for(count)),
        };
        length
            .is_some_and(|length| memory.is_vec_of(self.parts.data_type.alignment(), size, length))
            && (self.parts.layout.is_empty() || self.parts.data.cast() == memory.as_ptr())
    }
}

/// The span of a layout in bytes, where it stays within the elements.
#[inline]
fn require_inside<T: Element>(elements: &[T], layout: &Layout) -> Result<Range<isize>> {
    let span = layout.span(T::DATA_TYPE)?;
    if layout.is_empty() {
        return Ok(0..0);
    }
    let start = layout.byte_offset().checked_add_signed(span.start);
    let end = layout.byte_offset().checked_add_signed(span.end);
    let aligned = layout.byte_offset().is_multiple_of(size_of::<T>());
    match (start, end) {
        (Some(_), Some(end)) if aligned && end <= size_of_val(elements) => Ok(span),
        _ => Err(Error::InvalidLayout {
            reason: format!("{layout:?} reaches outside the {} elements", elements.len()),
        }),
    }
}
