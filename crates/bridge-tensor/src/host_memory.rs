//! Host memory of Rust's global allocator, with its element type erased.

use std::alloc::{self, Layout as AllocLayout};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::device::Device;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::{kept_pages, large_pages};

/// An owned block of the global allocator: what a `Vec` holds, without its type.
///
/// A `Vec<T>` becomes one and back without copying, which is how arrays move between frameworks
/// that can only own Rust vectors. Allocation is fallible and never aborts.
pub struct HostMemory {
    first: NonNull<u8>,
    block: AllocLayout,
}

// SAFETY: the block is owned, plain bytes; nothing in it depends on the thread.
unsafe impl Send for HostMemory {}
// SAFETY: shared access gives out a pointer and sizes only, and reads nothing.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// Allocates `size` bytes, not initialized, aligned to `alignment` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where `size` is above `isize::MAX` or `alignment` is no power of two,
    /// [`Error::OutOfMemory`] where the allocator has none.
    pub fn allocate(size: usize, alignment: usize) -> Result<Self> {
        Self::allocate_with(size, alignment, alloc::alloc)
    }

    /// Allocates `size` bytes of zeros, aligned to `alignment` bytes.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    pub fn zeroed(size: usize, alignment: usize) -> Result<Self> {
        Self::allocate_with(size, alignment, alloc::alloc_zeroed)
    }

    /// Whether a block of `size` bytes that is allocated gets pages of its own from the system, which clears each at its
    /// first touch, rather than those of one that was freed; as the C library of Linux does from 64 MiB on.
    pub fn has_new_pages(size: usize) -> bool {
        size >= 2 * large_pages::ALWAYS_FROM
    }

    /// Asks the system to put large pages under the block, where it does so on request only, as Linux mostly
    /// does: for a block of 4 MiB and more that is kept and used again. Its bytes stay.
    pub fn prefer_large_pages(&self) {
        large_pages::ask_for(self.first, self.block.size());
    }

    /// Has the system replace small pages under the block by large ones, where Linux has them on request: for a block
    /// of 4 MiB and more that is used again and again. It takes about as long as copying the block, once. Its bytes
    /// stay, and pages that were never written are there afterwards.
    pub fn make_pages_large(&self) {
        large_pages::make(self.first, self.block.size());
    }

    fn allocate_with(
        size: usize,
        alignment: usize,
        allocator: unsafe fn(AllocLayout) -> *mut u8,
    ) -> Result<Self> {
        let block = AllocLayout::from_size_align(size, alignment).map_err(|_| Error::TooLarge {
            what: format!("{size} bytes aligned to {alignment}"),
        })?;
        let first = if size == 0 {
            dangling(alignment)
        } else {
            kept_pages::settle(size);
            // SAFETY: `block` has a size above zero, which is all `alloc` and `alloc_zeroed` ask.
            let first = NonNull::new(unsafe { allocator(block) })
                .ok_or(Error::OutOfMemory { device: Device::CPU, requested: size as u64 })?;
            if size >= large_pages::ALWAYS_FROM {
                large_pages::ask_for(first, size);
            }
            first
        };
        Ok(Self { first, block })
    }

    /// Takes over a vector's allocation, capacity included. Nothing is copied.
    #[inline]
    pub fn from_vec<T: Element>(vec: Vec<T>) -> Self {
        let mut vec = ManuallyDrop::new(vec);
        let size = vec.capacity() * size_of::<T>();
        // The vector's own pointer reaches its whole capacity, a slice's only its length.
        let first = NonNull::new(vec.as_mut_ptr().cast()).unwrap_or(NonNull::dangling());
        // SAFETY: a vector's allocation has this size and alignment, so they form a valid layout:
        // the alignment is that of a type, and the size was accepted by the allocator.
        let block = unsafe { AllocLayout::from_size_align_unchecked(size, align_of::<T>()) };
        Self { first, block }
    }

    /// Makes the block a vector of its first `length` elements. Nothing is copied.
    ///
    /// Gives the block back where it is not what a `Vec<T>` allocates: another alignment than
    /// `T`'s, a size that is no multiple of `T`'s, or fewer than `length` elements.
    ///
    /// # Errors
    ///
    /// The block itself, unharmed.
    ///
    /// # Safety
    ///
    /// The first `length` elements must be initialized and valid values of `T`.
    #[inline]
    pub unsafe fn into_vec<T: Element>(self, length: usize) -> Result<Vec<T>, Self> {
        if !self.is_vec_of(align_of::<T>(), size_of::<T>(), length) {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        let capacity = this.block.size() / size_of::<T>();
        // SAFETY: `Vec::from_raw_parts` asks that
        // - the pointer came from the global allocator with the alignment of `T`, or the capacity
        //   is zero: every constructor here allocates so, and the alignment was compared above;
        // - the size in bytes is `capacity * size_of::<T>()`: it is a multiple, compared above;
        // - `length <= capacity`: compared above;
        // - the first `length` values are initialized: the caller promises it;
        // - nobody else owns the allocation: `self` did, and is not dropped.
        Ok(unsafe { Vec::from_raw_parts(this.first.as_ptr().cast::<T>(), length, capacity) })
    }

    /// Whether the block is what a vector of `length` elements of this alignment and size in
    /// bytes allocates.
    #[inline]
    pub fn is_vec_of(&self, alignment: usize, size: usize, length: usize) -> bool {
        self.block.align() == alignment
            && size > 0
            && self.block.size().is_multiple_of(size)
            && length <= self.block.size() / size
    }

    /// The first byte; dangling where the size is zero.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.first.as_ptr()
    }

    /// Bytes of the block.
    #[inline]
    pub fn size(&self) -> usize {
        self.block.size()
    }

    /// The alignment the block was allocated with.
    pub fn alignment(&self) -> usize {
        self.block.align()
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if self.block.size() > 0 {
            // SAFETY: the block came from the global allocator with exactly this layout, is owned
            // by `self`, and is not used after.
            unsafe { alloc::dealloc(self.first.as_ptr(), self.block) };
        }
    }
}

impl std::fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at {:p}", self.size(), self.first)
    }
}

fn dangling(alignment: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::without_provenance_mut(alignment)).unwrap_or(NonNull::dangling())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_goes_in_and_out_at_the_same_address() {
        let mut vec = Vec::with_capacity(10);
        vec.extend([1_u32, 2, 3]);
        let address = vec.as_ptr();
        let memory = HostMemory::from_vec(vec);
        assert_eq!(memory.size(), 40);
        // SAFETY: three `u32` were written, and their bytes are valid `u16`.
        let memory = unsafe { memory.into_vec::<u16>(3) }.expect_err("another alignment");
        // SAFETY: as above, and any bytes are a valid `f32`.
        let memory = unsafe { memory.into_vec::<f32>(11) }.expect_err("too short");
        // SAFETY: three `u32` were written.
        let vec = unsafe { memory.into_vec::<u32>(3) }.unwrap();
        assert_eq!((vec.as_slice(), vec.as_ptr(), vec.capacity()), (&[1, 2, 3][..], address, 10));
    }

    #[test]
    fn a_block_is_as_large_and_as_aligned_as_it_was_asked_to_be() {
        // Below and above the sizes from which the C library maps blocks and asks for large pages.
        for size in [1, 100, 200 << 10, 33 << 20].into_iter().filter(|n| !cfg!(miri) || *n < 1000) {
            let memory = HostMemory::zeroed(size, 64).unwrap();
            assert_eq!((memory.size(), memory.alignment()), (size, 64));
            assert!(memory.as_ptr().addr().is_multiple_of(64));
            // SAFETY: the block has so many bytes, which are initialized.
            let bytes = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), size) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(1);
            assert_eq!(format!("{memory:?}"), format!("{size} bytes at {:p}", memory.as_ptr()));
        }
        let memory = HostMemory::zeroed(12, 4).unwrap();
        assert!(memory.is_vec_of(4, 4, 3) && memory.is_vec_of(4, 12, 1));
        assert!(!memory.is_vec_of(4, 4, 4) && !memory.is_vec_of(4, 8, 1));
        assert!(!memory.is_vec_of(2, 4, 3) && !memory.is_vec_of(8, 4, 3));
        // A vector of elements without size allocates nothing.
        let nothing = HostMemory::zeroed(0, 1).unwrap();
        assert!(!nothing.is_vec_of(1, 0, 0) && nothing.is_vec_of(1, 1, 0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no allocator that fails")]
    fn impossible_sizes_are_errors_not_aborts() {
        assert!(matches!(HostMemory::allocate(usize::MAX, 64), Err(Error::TooLarge { .. })));
        assert!(matches!(HostMemory::allocate(8, 3), Err(Error::TooLarge { .. })));
        let petabyte = HostMemory::allocate(1 << 50, 64);
        assert!(
            matches!(petabyte, Err(Error::OutOfMemory { requested, .. }) if requested == 1 << 50)
        );
        assert_eq!(HostMemory::zeroed(0, 64).unwrap().size(), 0);
    }
}
