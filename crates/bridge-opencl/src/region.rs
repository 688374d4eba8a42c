//! The memory of a tensor on an OpenCL device, its handle checked.

use bridge_core::{DataType, DeviceKind, Error, Layout, ManagedTensor, Result, TensorError};
use opencl3::types::cl_mem;

use crate::buffer::BufferInfo;
use crate::device::ClDevice;
use crate::enqueue::Bytes;

/// Elements in a buffer of a device, of which there is at least one.
#[derive(Clone, Copy)]
pub(crate) struct Region<'a> {
    pub(crate) mem: cl_mem,
    pub(crate) data_type: DataType,
    pub(crate) layout: &'a Layout,
    pub(crate) device: &'static ClDevice,
}

impl<'a> Region<'a> {
    /// The memory of a tensor; `None` where it has no element. Its handle is asked for its context
    /// and size: DLPack carries neither.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for memory of other kinds of device, [`Error::DeviceUnavailable`] for
    /// devices that are not there, and [`TensorError::InvalidTensor`] where the handle is no buffer,
    /// belongs to another context, or is shorter than the layout.
    pub(crate) fn of(tensor: &'a ManagedTensor) -> Result<Option<Self>> {
        let device = tensor.device();
        if device.kind() != DeviceKind::OpenCl {
            return Err(Error::Unsupported {
                what: format!("memory of {device} in OpenCL commands"),
                remedy: "move it to the host first, with Options::default().on(Device::CPU)"
                    .to_owned(),
            });
        }
        let device = ClDevice::of(device)?;
        if tensor.layout().is_empty() {
            return Ok(None);
        }
        let (mem, layout, data_type) = (tensor.data(), tensor.layout(), tensor.data_type());
        let region = Self { mem, data_type, layout, device };
        region.check()?;
        Ok(Some(region))
    }

    /// The memory of an array's tensor, which was checked, or allocated for it, when the array was made;
    /// `None` where it has no element.
    pub(crate) fn of_array(tensor: &'a ManagedTensor, device: &'static ClDevice) -> Option<Self> {
        let (mem, layout, data_type) = (tensor.data(), tensor.layout(), tensor.data_type());
        (!layout.is_empty()).then_some(Self { mem, data_type, layout, device })
    }

    fn check(&self) -> Result<()> {
        let invalid = |reason| Err(Error::Tensor(TensorError::InvalidTensor { reason }));
        // SAFETY: whoever made the tensor promised that its data is memory of an OpenCL device,
        // which is a live `cl_mem`; the tensor keeps it.
        let info = unsafe { BufferInfo::of(self.mem, self.device.device()) }?;
        if !info.is_buffer {
            return invalid("its handle is an image or a pipe, not a buffer".to_owned());
        }
        if info.context != self.device.raw_context()? {
            return invalid(format!(
                "its buffer belongs to another OpenCL context than the one arraybridge uses {} in; \
                 create it in ClDevice::context(), or copy it to the host with the context's own \
                 queue",
                self.device.device()
            ));
        }
        let span = self.layout.span(self.data_type)?;
        let offset = self.layout.byte_offset();
        let start = offset.checked_add_signed(span.start);
        let end = offset.checked_add_signed(span.end);
        match (start, end) {
            (Some(_), Some(end)) if end <= info.bytes => Ok(()),
            _ => invalid(format!(
                "{:?} of {} reaches outside its buffer of {} bytes",
                self.layout, self.data_type, info.bytes
            )),
        }
    }

    /// From the lowest byte of an element to the highest.
    pub(crate) fn bytes(&self) -> Result<Bytes> {
        let span = self.layout.span(self.data_type)?;
        Ok(Bytes {
            mem: self.mem,
            offset: self.layout.byte_offset().saturating_add_signed(span.start),
            count: span.end.abs_diff(span.start),
        })
    }

    /// Bytes of the elements without gaps.
    pub(crate) fn compact_bytes(&self) -> Result<usize> {
        Ok(self.layout.compact_bytes(self.data_type)?)
    }
}
