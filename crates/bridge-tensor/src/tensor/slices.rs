//! The elements of host tensors as Rust slices.

use super::{Access, ManagedTensor};
use crate::element::Element;
use crate::error::{Error, Result};

impl ManagedTensor {
    /// The elements as a slice.
    ///
    /// # Errors
    ///
    /// Where the elements are not `T`, not in host memory, not row-major, not aligned for `T`, not
    /// valid values of `T` (bool), or in memory that [others may write](Self::others_may_write): the
    /// error says which.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        if self.others_may_write() {
            return Err(Error::NotReadable {
                what: "memory that others may write".to_owned(),
                remedy: "copy it first, or promise that nobody writes meanwhile with the unsafe \
                         as_shared_slice()",
            });
        }
        // SAFETY: nobody else writes, and writing through this tensor takes it mutably.
        unsafe { self.as_shared_slice() }
    }

    /// As [`as_slice`](Self::as_slice), of memory that others may write too.
    ///
    /// # Errors
    ///
    /// As [`as_slice`](Self::as_slice), but for the others.
    ///
    /// # Safety
    ///
    /// Nobody writes to the memory while the slice lives.
    pub unsafe fn as_shared_slice<T: Element>(&self) -> Result<&[T]> {
        let (first, count) = self.typed_row_major::<T>()?;
        // SAFETY: `slice::from_raw_parts` asks that
        // - the pointer is aligned and not null and leads to `count` elements of one allocation:
        //   `typed_row_major` checked alignment, type, device and layout, and `from_parts` that
        //   there is memory for them;
        // - they are initialized: a tensor's elements are; and valid: it ran `T::check`;
        // - nobody writes while the slice lives: the caller promises it;
        // - the size is at most `isize::MAX` bytes: `Layout::span` checked.
        Ok(unsafe { std::slice::from_raw_parts(first, count) })
    }

    /// The elements as a slice that can be written.
    ///
    /// # Errors
    ///
    /// As [`as_slice`](Self::as_slice), and [`Error::NotWritable`] without exclusive access.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        if self.parts.access != Access::Exclusive {
            return Err(Error::NotWritable {
                what: "this tensor",
                reason: "it is read-only or others hold its memory; copy it first",
            });
        }
        let (first, count) = self.typed_row_major::<T>()?;
        // SAFETY: as in `as_slice`, and nobody else reads or writes: access is exclusive, and
        // `self` is borrowed mutably as long as the slice lives.
        Ok(unsafe { std::slice::from_raw_parts_mut(first, count) })
    }

    fn typed_row_major<T: Element>(&self) -> Result<(*mut T, usize)> {
        let count = self.parts.layout.element_count();
        let first = self.typed_first::<T>()?;
        if !self.parts.layout.is_row_major() {
            return Err(Error::InvalidLayout {
                reason: format!("{:?} is not row-major; copy it first", self.parts.layout),
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
        self.require_type::<T>()?;
        self.require_host()?;
        if self.parts.layout.is_empty() {
            return Ok(std::ptr::NonNull::<T>::dangling().as_ptr());
        }
        let first = self.first_element();
        if !first.addr().is_multiple_of(align_of::<T>()) {
            return Err(Error::InvalidTensor {
                reason: format!(
                    "the data pointer {first:p} is not aligned to {} bytes for {}; copy it first \
                    ",
                    align_of::<T>(),
                    self.parts.data_type
                ),
            });
        }
        Ok(first.cast())
    }

    /// Succeeds where the elements are `T`, wherever they lie.
    ///
    /// # Errors
    ///
    /// [`Error::WrongElementType`].
    #[inline]
    pub fn require_type<T: Element>(&self) -> Result<()> {
        if self.parts.data_type == T::DATA_TYPE {
            return Ok(());
        }
        Err(Error::WrongElementType {
            asked: std::any::type_name::<T>(),
            found: self.parts.data_type,
        })
    }

    /// Succeeds where the CPU can read the memory through its address, now.
    ///
    /// # Errors
    ///
    /// [`Error::NotReadable`] for memory of other devices, and while a stream is still to be waited
    /// for.
    #[inline]
    pub fn require_host(&self) -> Result<()> {
        if let (true, Some(stream)) =
            (self.parts.device.kind().is_host_accessible(), self.parts.stream)
        {
            return Err(Error::NotReadable {
                what: format!("memory that is ready on {stream:?} only"),
                remedy: "synchronize the stream, then say so with ready_on(None)",
            });
        }
        if self.parts.device.kind().is_host_accessible() {
            return Ok(());
        }
        Err(Error::NotReadable {
            what: format!("memory of {}", self.parts.device),
            remedy: "copy it to the host first, as a conversion with \
                     Options::default().on(Device::CPU) does",
        })
    }
}
