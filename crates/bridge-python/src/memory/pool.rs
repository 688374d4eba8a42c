//! Memory of a pool, for NumPy arrays.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, Ordering};

use bridge_memory::pool::{Exact, Pool, PoolOptions, PooledBuffer};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::budget::PyBudget;
use super::errors::raised;
use super::plain::plain;
use super::room::{Named, enter, leave};
use super::size::Size;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyPool>()?;
    module.add_class::<PyBlock>()
}

/// Host memory that is used again.
#[pyclass(name = "Pool", module = "arraybridge._native.memory", frozen)]
pub(super) struct PyPool(pub(super) Pool);

/// Memory of a pool in use. It goes back when nothing refers to it any more, no view of an array that
/// lies in it included.
#[pyclass(name = "Block", module = "arraybridge._native.memory", frozen)]
struct PyBlock {
    first: AtomicPtr<u8>,
    length: isize,
    /// Kept for its memory only.
    _memory: Mutex<Memory>,
}

enum Memory {
    Zeroed { _buffer: PooledBuffer<u8> },
    Uninit { _buffer: PooledBuffer<MaybeUninit<u8>> },
}

/// From so many bytes on, memory is taken and cleared without the interpreter's lock.
const LARGE: u64 = 1 << 16;

#[pymethods]
impl PyPool {
    #[new]
    #[pyo3(signature = (max_bytes, max_buffers, within, name, exact))]
    fn new(
        max_bytes: Size,
        max_buffers: usize,
        within: Option<&Bound<'_, PyBudget>>,
        name: &str,
        exact: bool,
    ) -> Self {
        let mut options = PoolOptions::new().max_bytes(max_bytes.0).max_buffers(max_buffers);
        if let Some(budget) = within {
            options = options.within(&budget.get().0, name);
        }
        if exact {
            options = options.size_classes(Exact);
        }
        Self(options.build())
    }

    /// Memory for so many bytes.
    fn block(&self, py: Python<'_>, bytes: Size, zero: bool) -> PyResult<PyBlock> {
        let length = usize::try_from(bytes.0)
            .map_err(|_| PyValueError::new_err(format!("{} bytes are too many", bytes.0)))?;
        let make = || PyBlock::new(&self.0, length, zero);
        let made = if bytes.0 < LARGE { make() } else { py.detach(make) };
        made.map_err(|error| raised(py, &error))
    }

    /// Frees what came back first until at most `bytes` are kept; returns how many were freed.
    fn trim(&self, py: Python<'_>, bytes: Size) -> u64 {
        py.detach(|| self.0.trim_to(bytes.0)).bytes
    }

    /// Frees what came back first until at most so many buffers are kept.
    fn keep(&self, py: Python<'_>, buffers: usize) -> u64 {
        py.detach(|| self.0.keep(buffers)).bytes
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.0.stats())
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        enter(slf.py(), Named::Pool(slf.clone().unbind())).map(|()| slf)
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(slf: &Bound<'_, Self>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        leave(slf)
    }
}

impl PyBlock {
    fn new(pool: &Pool, length: usize, zero: bool) -> bridge_core::Result<Self> {
        let (first, memory) = if zero {
            let mut buffer = pool.zeroed::<u8>(length)?;
            (buffer.as_mut_ptr(), Memory::Zeroed { _buffer: buffer })
        } else {
            let mut buffer = pool.uninit::<u8>(length)?;
            (buffer.as_mut_ptr().cast(), Memory::Uninit { _buffer: buffer })
        };
        // An allocation is never larger than that.
        let length = isize::try_from(length).unwrap_or(isize::MAX);
        Ok(Self { first: AtomicPtr::new(first), length, _memory: Mutex::new(memory) })
    }
}

#[pymethods]
impl PyBlock {
    /// # Safety
    ///
    /// Python calls it, with a view to be filled.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let block = slf.get();
        let first = block.first.load(Ordering::Relaxed).cast();
        // SAFETY:
        // - Python gave `view` to be filled.
        // - The view keeps a reference to the block, which keeps its memory, `length` bytes at `first`,
        //   until it is dropped; nothing else refers to that memory.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), first, block.length, 0, flags) };
        if filled < 0 { Err(PyErr::fetch(slf.py())) } else { Ok(()) }
    }

    fn __len__(&self) -> usize {
        self.length.unsigned_abs()
    }
}
