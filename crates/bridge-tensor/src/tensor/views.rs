//! Other views of the same memory: permuted, sliced, aliased, taken apart.

use std::ffi::c_void;
use std::ops::Range;

use super::owner::Kept;
use super::{Access, ManagedTensor, Owner, Parts, SharedTensor, start_at_lowest};
use crate::data_type::DataType;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::refused::Refused;

impl ManagedTensor {
    /// The same tensor with its axes in another order; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::permuted`]; the tensor comes back.
    pub fn permuted(self, axes: &[usize]) -> Result<Self, Refused<Self>> {
        // SAFETY: the same elements, each at its place.
        unsafe { self.map_layout(|layout, _| layout.permuted(axes)) }
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
        // SAFETY: `Layout::sliced` checks that every index is one of the axis.
        unsafe {
            self.map_layout(|layout, data_type| layout.sliced(axis, start, count, step, data_type))
        }
    }

    /// The part where index `index` of `axis` is fixed; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::selected`]; the tensor comes back.
    pub fn selected(self, axis: usize, index: usize) -> Result<Self, Refused<Self>> {
        // SAFETY: `Layout::selected` checks that the index is one of the axis.
        unsafe { self.map_layout(|layout, data_type| layout.selected(axis, index, data_type)) }
    }

    /// The tensor repeated to `shape`; nothing moves, and it becomes read-only.
    ///
    /// # Errors
    ///
    /// As [`Layout::broadcast_to`]; the tensor comes back.
    pub fn broadcast_to(self, shape: &[usize]) -> Result<Self, Refused<Self>> {
        // SAFETY: each index leads to an element of the tensor.
        unsafe { self.map_layout(|layout, _| layout.broadcast_to(shape)) }.map(Self::into_read_only)
    }

    /// The same elements in the same order under another shape; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::reshaped`]; the tensor comes back.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self, Refused<Self>> {
        // SAFETY: the same elements, each at its place.
        unsafe { self.map_layout(|layout, _| layout.reshaped(shape)) }
    }

    /// # Safety
    ///
    /// Every element of the layout that `change` makes is an element of the tensor, at its place.
    unsafe fn map_layout(
        mut self,
        change: impl FnOnce(&Layout, DataType) -> Result<Layout>,
    ) -> Result<Self, Refused<Self>> {
        let changed = change(&self.parts.layout, self.parts.data_type)
            .and_then(|layout| layout.span(self.parts.data_type).map(|span| (layout, span.start)));
        match changed {
            Ok((layout, low)) => {
                let parts = self.parts_mut();
                parts.layout = layout;
                parts.data = start_at_lowest(parts.data, &mut parts.layout, low, parts.device);
                parts.pristine = false;
                Ok(self)
            }
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// The same tensor, which nobody may write through any more.
    #[must_use]
    pub fn into_read_only(self) -> Self {
        self.limited_to(Access::ReadOnly)
    }

    /// The same tensor, as writable as `most` allows and no more: for what an implementation gave
    /// out and may have called more writable than what it was given.
    #[must_use]
    #[inline]
    pub fn limited_to(mut self, most: Access) -> Self {
        if self.parts.access > most {
            let parts = self.parts_mut();
            parts.access = most;
            parts.pristine = false;
        }
        self
    }

    /// The same tensor, writable although it was handed out as read-only: for targets that have no
    /// read-only arrays. [`is_read_only_ignored`](Self::is_read_only_ignored) remembers it.
    ///
    /// # Safety
    ///
    /// Nobody writes to the memory through this tensor or what is made of it.
    #[must_use]
    pub unsafe fn ignore_read_only(mut self) -> Self {
        if self.parts.access == Access::ReadOnly {
            let parts = self.parts_mut();
            parts.access = Access::Shared;
            parts.read_only_ignored = true;
        }
        self
    }

    /// Whether the tensor was read-only, and is writable only because the caller has promised that
    /// nobody will write: [`ignore_read_only`](Self::ignore_read_only). A backend that gives such
    /// memory back gives it back read-only, since the promise was about its own array.
    #[inline]
    pub fn is_read_only_ignored(&self) -> bool {
        self.parts.read_only_ignored
    }

    /// The tensor as it was before its read-only flag was ignored.
    #[must_use]
    pub fn restore_read_only(mut self) -> Self {
        if self.parts.read_only_ignored {
            let parts = self.parts_mut();
            parts.access = Access::ReadOnly;
            parts.read_only_ignored = false;
        }
        self
    }

    /// The tensor behind a counted reference, of which [`alias`](Self::alias) makes aliases.
    #[inline]
    pub fn into_shared(self) -> SharedTensor {
        SharedTensor::of(self)
    }

    /// Another tensor over the same memory, which it keeps alive; read-only, since there are now
    /// several.
    pub fn alias(shared: &SharedTensor) -> Self {
        Self::over(shared, shared.parts.data, shared.parts.layout.clone(), Access::ReadOnly)
    }

    /// The tensors along `axis`, one an index, each with one axis fewer. Nothing is copied. They
    /// are as writable as the tensor was, since no two of them meet in an element, unless it
    /// was broadcast.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where there is no such axis; the tensor comes back.
    pub fn unstack(self, axis: usize) -> Result<Vec<Self>, Refused<Self>> {
        let count = self.parts.layout.shape().get(axis).copied().unwrap_or(1);
        let shared = self.into_shared();
        let parts = vec_with_room(count, PARTS_BYTES).and_then(|mut parts| {
            for index in 0..count {
                // SAFETY: each index is taken once, and the whole is not given out unless no part
                // of it lives.
                parts.push(unsafe { Self::slice_of(&shared, axis, index) }?);
            }
            Ok(parts)
        });
        parts.map_err(|error| match shared.try_unwrap() {
            Ok(whole) => Refused::new(whole, error),
            Err(_) => unreachable!("every part was dropped when one of them failed"),
        })
    }

    /// The part of a shared tensor where index `index` of `axis` is fixed, as writable as the whole
    /// unless elements of the whole may overlap: then it is read-only.
    ///
    /// # Errors
    ///
    /// As [`Layout::selected`].
    ///
    /// # Safety
    ///
    /// While the part lives, the memory is reached through no other tensor that contains index
    /// `index` of `axis`: neither through the whole nor through a second part of that index.
    pub unsafe fn slice_of(shared: &SharedTensor, axis: usize, index: usize) -> Result<Self> {
        let layout = shared.parts.layout.selected(axis, index, shared.parts.data_type)?;
        Self::part_of(shared, layout)
    }

    /// The part of a shared tensor from index `start` of `axis` on, as writable as
    /// [`slice_of`](Self::slice_of) makes it.
    ///
    /// # Errors
    ///
    /// As [`Layout::sliced`].
    ///
    /// # Safety
    ///
    /// As [`slice_of`](Self::slice_of), for all indices from `start` on.
    pub unsafe fn rest_of(shared: &SharedTensor, axis: usize, start: usize) -> Result<Self> {
        let extent = shared.parts.layout.shape().get(axis).copied().unwrap_or_default();
        // SAFETY: these are the indices from `start` on.
        unsafe { Self::range_of(shared, axis, start..extent) }
    }

    /// The part of a shared tensor whose indices of `axis` are in `range`, as writable as
    /// [`slice_of`](Self::slice_of) makes it. A range that ends before it starts is empty.
    ///
    /// # Errors
    ///
    /// As [`Layout::sliced`].
    ///
    /// # Safety
    ///
    /// As [`slice_of`](Self::slice_of), for all indices of the range.
    pub unsafe fn range_of(
        shared: &SharedTensor,
        axis: usize,
        range: Range<usize>,
    ) -> Result<Self> {
        let whole = &shared.parts.layout;
        let layout = whole.sliced(axis, range.start, range.len(), 1, shared.parts.data_type)?;
        Self::part_of(shared, layout)
    }

    /// Calls `f` with the part whose indices of `axis` are in `range`, which is read-only. A range that ends before
    /// it starts is empty.
    ///
    /// ```
    /// use bridge_tensor::ManagedTensor;
    ///
    /// let tensor = ManagedTensor::from_vec(vec![1_u8, 2, 3, 4, 5, 6], &[3, 2])?;
    /// let rows = tensor.with_range(0, 1..3, |rows| rows.as_slice::<u8>().map(<[u8]>::to_vec))??;
    /// assert_eq!(rows, [3, 4, 5, 6]);
    /// # Ok::<(), bridge_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Layout::sliced`]; `f` is not called then.
    pub fn with_range<R>(
        &self,
        axis: usize,
        range: Range<usize>,
        f: impl FnOnce(&Self) -> R,
    ) -> Result<R> {
        let parts = &self.parts;
        let mut layout = parts.layout.sliced(axis, range.start, range.len(), 1, parts.data_type)?;
        let low = layout.span(parts.data_type)?.start;
        let data = start_at_lowest(parts.data, &mut layout, low, parts.device);
        // It ends with this call, before `self` does, and `f` cannot keep it.
        let part: Self = Parts {
            data,
            data_type: parts.data_type,
            device: parts.device,
            access: Access::ReadOnly,
            read_only_ignored: false,
            others_may_write: parts.others_may_write,
            stream: parts.stream,
            layout,
            pristine: false,
            owner: Owner::nothing(),
        }
        .into();
        Ok(f(&part))
    }

    /// A tensor of some of a shared tensor's elements.
    fn part_of(shared: &SharedTensor, mut layout: Layout) -> Result<Self> {
        let low = layout.span(shared.parts.data_type)?.start;
        let data = start_at_lowest(shared.parts.data, &mut layout, low, shared.parts.device);
        let access =
            if shared.parts.layout.may_overlap() { Access::ReadOnly } else { shared.parts.access };
        Ok(Self::over(shared, data, layout, access))
    }

    /// A tensor of part of a shared tensor's memory.
    fn over(shared: &SharedTensor, data: *mut c_void, layout: Layout, access: Access) -> Self {
        Parts {
            data,
            data_type: shared.parts.data_type,
            device: shared.parts.device,
            access,
            read_only_ignored: shared.parts.read_only_ignored && access != Access::ReadOnly,
            others_may_write: shared.parts.others_may_write,
            stream: shared.parts.stream,
            layout,
            pristine: false,
            owner: Owner(Kept::Shared(shared.clone())),
        }
        .into()
    }
}

/// An empty vector with room for `count` items, each of which will allocate about `each` bytes of
/// its own. That much memory is asked for and given back before the first is made, as what cannot
/// be had then ends in an error, while a small allocation that fails ends the program.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn vec_with_room<T>(count: usize, each: usize) -> Result<Vec<T>> {
    let requested =
        (count as u64).saturating_mul((size_of::<T>() as u64).saturating_add(each as u64));
    let out_of_memory = |_| Error::OutOfMemory { device: Device::CPU, requested };
    let mut items = Vec::new();
    items.try_reserve_exact(count).map_err(out_of_memory)?;
    let mut probe = Vec::<u8>::new();
    let bytes = count.saturating_mul(each);
    probe.try_reserve_exact(bytes).map_err(out_of_memory)?;
    // What is allocated and not looked at, a compiler may leave out.
    std::hint::black_box(&mut probe);
    Ok(items)
}

/// What the parts of a tensor allocate, at most, where its rank is small.
const PARTS_BYTES: usize = size_of::<(Parts, [usize; 2])>();
