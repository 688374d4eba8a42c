//! Other views of the same memory: permuted, sliced, aliased, taken apart.

use std::ffi::c_void;

use super::owner::Kept;
use super::{Access, ManagedTensor, Owner, Parts, SharedTensor, start_at_lowest};
use crate::data_type::DataType;
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::layout::Layout;

impl ManagedTensor {
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
    pub fn into_read_only(mut self) -> Self {
        if self.parts.access != Access::ReadOnly {
            let parts = self.parts_mut();
            parts.access = Access::ReadOnly;
            parts.pristine = false;
        }
        self
    }

    /// The same tensor, writable although it was handed out as read-only: for targets that
    /// ignore the flag, when the caller has said by name that nobody will write.
    pub(crate) fn ignoring_read_only(mut self) -> Self {
        if self.parts.access == Access::ReadOnly {
            let parts = self.parts_mut();
            parts.access = Access::Shared;
            parts.read_only_ignored = true;
        }
        self
    }

    /// Whether the tensor was read-only, and is writable for the caller's word alone that nobody
    /// will write: [`Options::ignore_read_only`](crate::Options::ignore_read_only). A backend that
    /// gives such memory back gives it back read-only, since that word was about its own array.
    #[inline]
    pub fn has_read_only_ignored(&self) -> bool {
        self.parts.read_only_ignored
    }

    /// The tensor as it was before its being read-only was ignored.
    #[must_use]
    pub fn heeding_read_only(mut self) -> Self {
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
        let parts = room_for(count).and_then(|mut parts| {
            for index in 0..count {
                parts.push(Self::slice_of(&shared, axis, index)?);
            }
            Ok(parts)
        });
        parts.map_err(|error| match shared.try_unwrap() {
            Ok(whole) => Refused::new(whole, error),
            Err(shared) => Refused::new(Self::alias(&shared), error),
        })
    }

    /// The part of a shared tensor where index `index` of `axis` is fixed. It is as writable as
    /// the whole, so the whole must stay out of reach and no index be taken twice while a part
    /// of it lives.
    pub(crate) fn slice_of(shared: &SharedTensor, axis: usize, index: usize) -> Result<Self> {
        let mut layout = shared.parts.layout.selected(axis, index, shared.parts.data_type)?;
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
            stream: shared.parts.stream,
            layout,
            pristine: false,
            owner: Owner(Kept::Shared(shared.clone())),
        }
        .into()
    }
}

/// An empty vector with room for `count` parts: an empty tensor can have any number of them.
pub(crate) fn room_for<T>(count: usize) -> Result<Vec<T>> {
    let mut parts = Vec::new();
    parts.try_reserve_exact(count).map_err(|_| Error::OutOfMemory {
        device: Device::CPU,
        requested: (count as u64).saturating_mul(size_of::<T>() as u64),
    })?;
    Ok(parts)
}
