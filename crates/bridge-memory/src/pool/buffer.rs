//! Pooled memory in use.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use bridge_core::{
    Access, Device, Element, ManagedTensor, Owner, Refused, Result, TensorError, TensorSpec,
};

use super::host_pool::HostBlock;
use crate::arguments::invalid;

/// Memory of a [`Pool`](super::Pool) in use: a slice of elements, which goes back to the pool when it
/// is dropped, on whichever thread.
///
/// `PooledBuffer<T>` holds elements, `PooledBuffer<MaybeUninit<T>>` room for them, which becomes elements by
/// [`fill`](PooledBuffer::fill), [`write_with`](PooledBuffer::write_with) or
/// [`copy_of`](PooledBuffer::copy_of).
pub struct PooledBuffer<T = u8> {
    /// There until it is dropped; as large and aligned as `length` values of `T` need. It knows where it goes back to:
    /// to count the users of the pool once more for each buffer takes as long as to lock it.
    block: Option<Box<HostBlock>>,
    length: usize,
    elements: PhantomData<T>,
}

impl<T> PooledBuffer<T> {
    /// The memory, which is not dropped yet.
    #[inline]
    fn first(&self) -> *mut T {
        match &self.block {
            Some(block) => block.memory().as_ptr().cast(),
            None => unreachable!("the memory is there until the buffer is dropped"),
        }
    }
}

impl<T: Element> PooledBuffer<T> {
    /// A host tensor of the elements, row-major. The memory goes back to the pool when the tensor is
    /// dropped, in whichever framework it is then. Nothing is copied.
    ///
    /// # Errors
    ///
    /// Where the shape has another number of elements; the buffer comes back.
    pub fn into_tensor(self, shape: &[usize]) -> Result<ManagedTensor, Refused<Self>> {
        match TensorSpec::row_major(T::DATA_TYPE, shape) {
            Ok(spec) if spec.layout.element_count() == self.length => self.into_tensor_as(spec),
            Ok(spec) => {
                let expected = format!("shape {shape:?} has {}", spec.layout.element_count());
                let error = invalid("the number of elements", &self.length, &expected);
                Err(Refused::new(self, error))
            }
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// As [`into_tensor`](Self::into_tensor), the bytes taken as any element type in any layout
    /// that stays within them.
    ///
    /// # Errors
    ///
    /// Where `spec` reaches outside the buffer; the buffer comes back.
    pub fn into_tensor_as(self, spec: TensorSpec) -> Result<ManagedTensor, Refused<Self>> {
        // SAFETY: an `Element` has no padding, so that its bytes are initialized.
        unsafe { self.kept_by_tensor(spec) }
    }
}

impl<T: Send + 'static> PooledBuffer<T> {
    /// A tensor of the bytes, as any element type in any layout that stays within them.
    ///
    /// # Errors
    ///
    /// Where `spec` reaches outside the buffer; the buffer comes back.
    ///
    /// # Safety
    ///
    /// The bytes are initialized, or every element of the tensor is written before it is read.
    pub(super) unsafe fn kept_by_tensor(
        self,
        spec: TensorSpec,
    ) -> Result<ManagedTensor, Refused<Self>> {
        let bytes = self.length * size_of::<T>();
        if let Err(error) = require_within(&spec, bytes) {
            return Err(Refused::new(self, error));
        }
        let data = self.first().cast();
        let owner = Owner::keep(KeptByTensor(self));
        // SAFETY:
        // - `spec` stays within the buffer's `bytes`, checked above, which the owner keeps; the caller
        //   promises that they are initialized before they are read, and what is a value of a type
        //   is checked when the tensor is read as Rust values.
        // - The owner is `Send`.
        // - The buffer was owned and is in the owner, whose type nobody else can name: access is
        //   exclusive.
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, owner) }
            .map_err(|refused| {
                let (owner, error) = refused.into_parts();
                let Ok(KeptByTensor(buffer)) = owner.into_kept() else {
                    unreachable!("the owner comes back as it was")
                };
                Refused::new(buffer, error)
            })
    }
}

/// A buffer that a tensor keeps. It is not taken out again: the tensor may have been written to as
/// other values than `T`'s.
struct KeptByTensor<T>(PooledBuffer<T>);

/// Fails where a layout leaves so many bytes.
pub(super) fn require_within(spec: &TensorSpec, bytes: usize) -> Result<()> {
    let span = spec.layout.span(spec.data_type)?;
    let start = spec.layout.byte_offset().checked_add_signed(span.start);
    let end = spec.layout.byte_offset().checked_add_signed(span.end);
    match (start, end) {
        (Some(_), Some(end)) if spec.layout.is_empty() || end <= bytes => Ok(()),
        _ => Err(TensorError::InvalidLayout {
            reason: format!(
                "{:?} of {} reaches outside the {bytes} bytes of the buffer",
                spec.layout, spec.data_type
            ),
        }
        .into()),
    }
}

impl<T: Element> PooledBuffer<MaybeUninit<T>> {
    /// Room for elements in this memory, which must be large enough.
    #[inline]
    pub(super) fn uninit(block: Box<HostBlock>, length: usize) -> Self {
        let bytes = length.checked_mul(size_of::<T>());
        assert!(
            bytes.is_some_and(|bytes| bytes <= block.memory().size()),
            "the memory is too small"
        );
        assert!(align_of::<T>() <= block.memory().alignment(), "the memory is not aligned");
        Self { block: Some(block), length, elements: PhantomData }
    }

    /// Makes every byte zero, which is a value of every element type.
    #[inline]
    pub(super) fn zeroed(mut self) -> PooledBuffer<T> {
        let (first, length) = (self.as_mut_ptr(), self.length);
        // SAFETY: the pointer is that of a mutable slice of so many elements.
        unsafe { first.write_bytes(0, length) };
        // SAFETY: zeros were written to every element, and are a value of its type.
        unsafe { self.assume_init() }
    }

    /// The elements, which have all been written.
    ///
    /// # Safety
    ///
    /// Every element has been written.
    #[inline]
    pub unsafe fn assume_init(mut self) -> PooledBuffer<T> {
        PooledBuffer { block: self.block.take(), length: self.length, elements: PhantomData }
    }

    /// Makes every element `value`.
    pub fn fill(self, value: T) -> PooledBuffer<T> {
        self.write_with(|_| value)
    }

    /// Makes every element what `value` gives for its index.
    pub fn write_with(mut self, mut value: impl FnMut(usize) -> T) -> PooledBuffer<T> {
        for (index, room) in self.iter_mut().enumerate() {
            room.write(value(index));
        }
        // SAFETY: the loop has written every element.
        unsafe { self.assume_init() }
    }

    /// Copies elements into the buffer, which must be as many.
    ///
    /// # Errors
    ///
    /// Where they are not; the buffer comes back.
    pub fn copy_of(mut self, elements: &[T]) -> Result<PooledBuffer<T>, Refused<Self>> {
        if elements.len() != self.length {
            let expected = format!("the buffer has {}", self.length);
            let error = invalid("the number of elements", &elements.len(), &expected);
            return Err(Refused::new(self, error));
        }
        for (room, element) in self.iter_mut().zip(elements) {
            room.write(*element);
        }
        // SAFETY: there are as many elements as room, so the loop has written every one.
        Ok(unsafe { self.assume_init() })
    }
}

impl<T> Deref for PooledBuffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `slice::from_raw_parts` asks that
        // - the pointer is aligned, not null, and leads to room for `length` values of one
        //   allocation: `uninit` checked size and alignment;
        // - they are initialized: `T` is a `MaybeUninit`, or `assume_init` was promised it;
        // - nobody writes while the slice lives: the memory is owned, out of the pool, and `self`
        //   borrowed;
        // - the size is at most `isize::MAX` bytes: the allocation's is.
        unsafe { std::slice::from_raw_parts(self.first(), self.length) }
    }
}

impl<T> DerefMut for PooledBuffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.first(), self.length) }
    }
}

impl<T> Drop for PooledBuffer<T> {
    #[inline]
    fn drop(&mut self) {
        // `assume_init` has taken it out.
        if let Some(block) = self.block.take() {
            block.give_back();
        }
    }
}

impl<T> fmt::Debug for PooledBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pooled elements at {:p}", self.length, self.first())
    }
}
