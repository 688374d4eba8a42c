//! A tensor that belongs to no framework, and that every framework takes.

use std::ffi::c_int;
use std::sync::OnceLock;

use bridge_convert::Convert;
use bridge_core::{
    Access, CopyPolicy, DeviceKind, Error, ManagedTensor, Options, Owner, SharedTensor,
};
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::memory::Room;
use crate::options::Asked;
use crate::{buffer_view, capsule, convert, errors, exchange_table, frameworks, streams};

/// A tensor that arraybridge holds: memory of any device, kept alive by whoever made it.
///
/// Every framework that knows DLPack takes it (`torch.from_dlpack(tensor)`), and on the host whatever
/// knows the buffer protocol: `memoryview(tensor)`, `bytes(tensor)`, `numpy.asarray(tensor)`. Memory that is read-only,
/// or has a negative stride, is copied for `__dlpack__`, unless the consumer says `copy=False`. It is made by
/// `arraybridge.convert(array, "tensor")`, and by conversions to backends that are written in Rust.
#[pyclass(frozen, weakref, name = "Tensor", module = "arraybridge")]
pub(crate) struct Tensor {
    shared: SharedTensor,
    backend: &'static str,
    /// The strides in bytes, from the first view of the buffer protocol on.
    byte_strides: OnceLock<Box<[isize]>>,
}

/// A function, and the arguments that it makes the object of again.
type Remade = (Py<PyAny>, (Py<PyAny>, &'static str));

impl Tensor {
    pub(crate) fn new(tensor: ManagedTensor, backend: &'static str) -> Self {
        Self { shared: tensor.into_shared(), backend, byte_strides: OnceLock::new() }
    }

    /// Another tensor over the memory, which it keeps alive.
    pub(crate) fn view(&self) -> ManagedTensor {
        let shared = &self.shared;
        let owner = Owner::keep(shared.clone());
        let access = shared.access().min(Access::Shared);
        let (data, spec, device) = (shared.data(), shared.spec(), shared.device());
        // SAFETY: all is as the shared tensor says, which the owner keeps; there may be several such tensors, each of
        // which says so.
        let tensor = unsafe { ManagedTensor::from_parts(data, spec, device, access, owner) }
            .unwrap_or_else(|error| unreachable!("the parts of a tensor make one: {error:?}"));
        // SAFETY: it is ready when the shared one is.
        unsafe { tensor.ready_on(shared.stream()) }
    }

    /// As [`view`](Self::view), for a library that may go on working with the memory after it has let go of it.
    pub(crate) fn handed_out(&self) -> ManagedTensor {
        match streams::is_of_a_library(&self.shared) {
            true => self.view(),
            false => streams::fenced(self.view()),
        }
    }

    /// Whether an axis that has more than one index has a negative stride.
    fn runs_backward(&self) -> bool {
        let layout = self.shared.layout();
        let axes = layout.shape().iter().zip(layout.strides());
        !layout.is_empty() && axes.into_iter().any(|(&extent, &stride)| extent > 1 && stride < 0)
    }

    fn copied(&self, py: Python<'_>) -> PyResult<ManagedTensor> {
        let view = self.view();
        let room = Room::default().here(py)?;
        let options = room.of(Options::default()).copy(CopyPolicy::Always);
        let options = options.interrupted_by(&errors::Signals);
        let copied = py.detach(|| view.convert_to::<ManagedTensor>(options));
        copied.map_err(|refused| errors::raised(py, "tensor", "tensor", refused.error()))
    }
}

#[pymethods]
impl Tensor {
    /// The extents.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.shared.shape())
    }

    /// The strides, in elements.
    #[getter]
    fn strides<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.shared.layout().strides())
    }

    /// The element type, by its name.
    #[getter]
    fn dtype(&self) -> String {
        self.shared.data_type().to_string()
    }

    /// The device, by its name.
    #[getter]
    fn device(&self) -> String {
        self.shared.device().to_string()
    }

    /// The number of axes.
    #[getter]
    fn ndim(&self) -> usize {
        self.shared.shape().len()
    }

    /// The bytes of its elements.
    #[getter]
    fn nbytes(&self) -> PyResult<usize> {
        let bytes = self.shared.layout().compact_bytes(self.shared.data_type());
        bytes.map_err(|error| pyo3::exceptions::PyOverflowError::new_err(error.to_string()))
    }

    /// The backend that made it: "tensor" where it is nobody's.
    #[getter]
    fn backend(&self) -> &'static str {
        self.backend
    }

    /// Whether nobody may write to it.
    #[getter]
    fn readonly(&self) -> bool {
        self.shared.access() == Access::ReadOnly
    }

    /// DLPack's C exchange interface: a capsule of its table.
    #[classattr]
    fn __dlpack_c_exchange_api__(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        exchange_table::capsule(py)
    }

    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<i64>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(u32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let device = self.shared.device();
        if let Some((kind, ordinal)) = dl_device
            && (kind, ordinal) != (device.kind() as u32, device.ordinal().cast_signed())
        {
            return Err(PyBufferError::new_err(format!(
                "this tensor is on {device}, and does not move by itself: \
                 arraybridge.convert(tensor, ..., device=...) moves it"
            )));
        }
        if device.kind() == DeviceKind::Cpu && stream.is_some() {
            return Err(PyTypeError::new_err("stream means nothing on the host: leave it out"));
        }
        if device.kind() == DeviceKind::Extension {
            return Err(PyBufferError::new_err(
                "this tensor is pyclesperanto's own: arraybridge.convert(tensor, \"numpy\") reads it",
            ));
        }
        // Consumers there are that would write to it all the same, and some that end the process where strides are
        // negative: only who forbids a copy gets such memory.
        let guarded = copy.is_none() && (self.readonly() || self.runs_backward());
        let tensor = match copy == Some(true) || guarded {
            true => streams::fenced(self.copied(py)?),
            false => self.handed_out(),
        };
        let tensor = streams::ready_for(tensor, stream)
            .map_err(|refused| PyBufferError::new_err(refused.error().to_string()))?;
        match max_version {
            Some((major, _)) if major >= 1 => capsule::versioned(py, tensor),
            _ => capsule::legacy(py, tensor),
        }
    }

    fn __dlpack_device__(&self) -> (u32, u32) {
        let device = self.shared.device();
        (device.kind() as u32, device.ordinal())
    }

    /// A NumPy array of its memory, or a copy where `copy` is true or `dtype` another; `ValueError` where
    /// `copy` is false and there has to be one.
    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__(
        &self,
        py: Python<'_>,
        dtype: Option<&Bound<'_, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Py<PyAny>> {
        let asked = Asked { dtype, copy, ..Asked::default() };
        let room = Room::default().here(py)?;
        let options = room.of(asked.options()?);
        match convert::to::<frameworks::Numpy>(py, self.view(), options, false) {
            Ok((array, _)) => Ok(array),
            // What NumPy's protocol has for it.
            Err(error @ Error::WouldCopy { .. }) => Err(PyValueError::new_err(error.to_string())),
            Err(error) => Err(errors::raised(py, "tensor", "numpy", &error)),
        }
    }

    fn __copy__(&self) -> Self {
        Self::new(self.view(), self.backend)
    }

    #[pyo3(signature = (_memo, /))]
    fn __deepcopy__(&self, py: Python<'_>, _memo: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self::new(self.copied(py)?, self.backend))
    }

    /// Pickled as an array of NumPy, and made a tensor of its own again.
    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<Remade> {
        let (py, this) = (slf.py(), slf.get());
        if !this.shared.device().kind().is_host_accessible() {
            return Err(PyTypeError::new_err(format!(
                "a tensor on {} cannot be pickled: pickle arraybridge.convert(tensor, \"numpy\")",
                this.shared.device()
            )));
        }
        let array = this.__array__(py, None, None)?;
        let convert = py.import("arraybridge")?.getattr("convert")?;
        Ok((convert.unbind(), (array, "tensor")))
    }

    /// A view by the buffer protocol, which keeps the tensor.
    ///
    /// # Safety
    ///
    /// `view` is null or leads to memory for a view, as the interpreter says.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let (this, owner) = (slf.get(), slf.clone().into_any());
        let strides = this.byte_strides.get_or_init(|| buffer_view::byte_strides(&this.shared));
        // SAFETY:
        // - The interpreter gives memory for a view, which is its caller's alone.
        // - The owner is this object, which holds the tensor and the strides until it is dropped, and gives
        //   neither of them out to be changed.
        unsafe { buffer_view::fill(view, flags, &this.shared, strides, owner) }
    }

    fn __repr__(&self) -> String {
        let (dtype, device) = (self.dtype(), self.device());
        format!("<arraybridge.Tensor {dtype} {:?} on {device}>", self.shared.shape())
    }
}
