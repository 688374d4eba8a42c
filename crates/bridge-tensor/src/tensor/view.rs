//! A tensor that its user does not own.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::null_mut;

use super::{Access, ManagedTensor, Owner, Parts, Stream, TensorSpec, start_at_lowest};
use crate::data_type::DataType;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::layout::Layout;

/// A tensor of memory that somebody else keeps for `'a`, every field of which has been checked: for a function that
/// looks at its arguments and returns. Up to rank 4 nothing is allocated.
///
/// It stays on its thread. [`kept_by`](Self::kept_by) makes an owned tensor of it, without another check.
///
/// ```
/// use bridge_tensor::ManagedTensor;
///
/// let tensor = ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// let view = tensor.view();
/// assert_eq!((view.layout().shape(), view.data()), (&[2, 3][..], tensor.data()));
/// # Ok::<(), bridge_tensor::Error>(())
/// ```
#[derive(Debug)]
pub struct TensorView<'a> {
    data: *mut c_void,
    data_type: DataType,
    device: Device,
    access: Access,
    stream: Option<Stream>,
    layout: Layout,
    memory: PhantomData<&'a [u8]>,
}

impl TensorView<'_> {
    /// Makes a view of its parts, after checking them as [`ManagedTensor::from_parts`] does.
    ///
    /// # Errors
    ///
    /// As [`ManagedTensor::from_parts`].
    ///
    /// # Safety
    ///
    /// - Every element that `spec` describes lies in memory of `device` that stays valid as long as the view lives,
    ///   and is initialized.
    /// - `access` is true meanwhile, as [`ManagedTensor::from_parts`] says.
    #[inline]
    pub unsafe fn from_parts(
        data: *mut c_void,
        spec: TensorSpec,
        device: Device,
        access: Access,
    ) -> Result<Self> {
        let TensorSpec { data_type, layout } = spec;
        let mut view = Self { layout, ..Self::nothing() };
        // SAFETY: as the caller promises.
        unsafe { view.read(data, data_type, device, access, |_| Ok(())) }?;
        Ok(view)
    }

    /// A view of nothing: what it is before it is read.
    #[inline]
    pub fn nothing() -> Self {
        Self {
            data: null_mut(),
            data_type: DataType::U8,
            device: Device::CPU,
            access: Access::ReadOnly,
            stream: None,
            layout: Layout::nothing(),
            memory: PhantomData,
        }
    }

    /// Takes over these parts, after checking them; `read` changes the layout first. In place, as a view is large to
    /// move. Where it fails, the view has no elements.
    ///
    /// # Safety
    ///
    /// As [`from_parts`](Self::from_parts), with the layout that `read` makes.
    #[inline]
    pub(crate) unsafe fn read(
        &mut self,
        data: *mut c_void,
        data_type: DataType,
        device: Device,
        access: Access,
        read: impl FnOnce(&mut Layout) -> Result<()>,
    ) -> Result<()> {
        let checked = read(&mut self.layout).and_then(|()| {
            let span = self.layout.span(data_type)?;
            if data.is_null() && !self.layout.is_empty() {
                return Err(nowhere(&self.layout));
            }
            if i32::try_from(device.ordinal()).is_err() {
                return Err(unnameable(device));
            }
            Ok(span.start)
        });
        match checked {
            Ok(low) => {
                self.data = start_at_lowest(data, &mut self.layout, low, device);
                (self.data_type, self.device, self.access) = (data_type, device, access);
                self.stream = None;
                Ok(())
            }
            Err(error) => {
                *self = Self::nothing();
                Err(error)
            }
        }
    }

    /// The element type.
    #[inline]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Where the memory is.
    #[inline]
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

    /// As [`ManagedTensor::data`].
    #[inline]
    pub fn data(&self) -> *mut c_void {
        self.data
    }

    /// The stream on which the data is ready; `None` where it is ready for everybody.
    #[inline]
    pub fn stream(&self) -> Option<Stream> {
        self.stream
    }

    /// Says on which stream the data is ready; `None` where it is ready for everybody.
    ///
    /// # Safety
    ///
    /// As [`ManagedTensor::ready_on`].
    #[inline]
    pub unsafe fn set_stream(&mut self, stream: Option<Stream>) {
        self.stream = stream;
    }

    /// An owned tensor of the same memory, which `owner` keeps.
    ///
    /// # Safety
    ///
    /// What [`from_parts`](Self::from_parts) asks is true until `owner` is dropped, which may be on any thread; so
    /// is the stream's number.
    #[inline]
    pub unsafe fn kept_by(self, owner: Owner) -> ManagedTensor {
        let Self { data, data_type, device, access, stream, layout, memory: _ } = self;
        let parts = Parts {
            data,
            data_type,
            device,
            access,
            read_only_ignored: false,
            others_may_write: access == Access::Shared,
            stream,
            layout,
            pristine: true,
            owner,
        };
        parts.into()
    }
}

impl ManagedTensor {
    /// The tensor as a view, for a function that only looks at it. There may be several, so that none has the memory
    /// to itself.
    pub fn view(&self) -> TensorView<'_> {
        let most = if self.is_read_only_ignored() { Access::ReadOnly } else { Access::Shared };
        TensorView {
            data: self.data(),
            data_type: self.data_type(),
            device: self.device(),
            access: self.access().min(most),
            stream: self.stream(),
            layout: self.layout().clone(),
            memory: PhantomData,
        }
    }
}

#[cold]
fn nowhere(layout: &Layout) -> Error {
    Error::InvalidTensor {
        reason: format!("the data pointer is null, but {layout:?} has elements"),
    }
}

#[cold]
fn unnameable(device: Device) -> Error {
    let reason = format!("DLPack has no ordinals above {}, here: {device}", i32::MAX);
    Error::InvalidTensor { reason }
}
