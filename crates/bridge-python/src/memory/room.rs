//! The budget and the pool of a conversion: named in its call, or by the `with` blocks that it is in.
//!
//! A block belongs to a context (`contextvars`): a task that is started in it is in it until the block ends, a thread only
//! where the interpreter has threads inherit contexts, as free-threaded ones do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bridge_core::{Admission, DeviceBytes, Options, Permit};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use super::budget::{PyBudget, PyConsumer};
use super::errors::raised;
use super::pool::PyPool;
use crate::options;
use crate::source::source_of;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyPermit>()?;
    module.add_function(wrap_pyfunction!(within, module)?)?;
    module.add_function(wrap_pyfunction!(admitted, module)?)?;
    module.add_function(wrap_pyfunction!(admitted_bytes, module)?)
}

/// Where the memory of a conversion is reserved, and where it comes from.
#[derive(Default)]
pub(crate) struct Room<'py> {
    account: Option<Account<'py>>,
    pool: Option<Bound<'py, PyPool>>,
}

/// A budget, or one who reserves of it by a name.
enum Account<'py> {
    Budget(Bound<'py, PyBudget>),
    Consumer(Bound<'py, PyConsumer>),
}

impl Account<'_> {
    fn admission(&self) -> &dyn Admission {
        match self {
            Self::Budget(budget) => &budget.get().0,
            Self::Consumer(consumer) => &consumer.get().0,
        }
    }
}

impl<'py> Room<'py> {
    /// What a call names.
    #[inline]
    pub(crate) fn named(
        budget: Option<&Bound<'py, PyAny>>,
        pool: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        match (budget, pool) {
            (None, None) => Ok(Self::default()),
            (budget, pool) => Ok(Self {
                account: budget.map(account_of).transpose()?,
                pool: pool.map(pool_of).transpose()?,
            }),
        }
    }

    /// What the call named, and what it did not as the innermost blocks say that it is in.
    #[inline]
    pub(crate) fn here(self, py: Python<'py>) -> PyResult<Self> {
        // A block that this context is in was counted before.
        if OPEN.load(Ordering::Relaxed) == 0 { Ok(self) } else { self.or_as_blocks_say(py) }
    }

    #[cold]
    fn or_as_blocks_say(mut self, py: Python<'py>) -> PyResult<Self> {
        let mut at = innermost(py)?;
        while let Some(block) = at {
            match &block.get().of {
                Named::Budget(budget) if self.account.is_none() => {
                    self.account = Some(Account::Budget(budget.bind(py).clone()));
                }
                Named::Consumer(consumer) if self.account.is_none() => {
                    self.account = Some(Account::Consumer(consumer.bind(py).clone()));
                }
                Named::Pool(pool) if self.pool.is_none() => {
                    self.pool = Some(pool.bind(py).clone());
                }
                _ => {}
            }
            at = block.get().outer(py);
        }
        Ok(self)
    }

    /// The options, with this budget and this pool.
    pub(crate) fn of<'a>(&'a self, options: Options<'a>) -> Options<'a> {
        let options = match &self.account {
            Some(account) => options.within(account.admission()),
            None => options,
        };
        match &self.pool {
            Some(pool) => options.pool(&pool.get().0),
            None => options,
        }
    }
}

fn account_of<'py>(named: &Bound<'py, PyAny>) -> PyResult<Account<'py>> {
    if let Ok(budget) = named.cast::<PyBudget>() {
        return Ok(Account::Budget(budget.clone()));
    }
    if let Ok(consumer) = named.cast::<PyConsumer>() {
        return Ok(Account::Consumer(consumer.clone()));
    }
    let kind = named.get_type().name()?;
    let text = format!(
        "budget is an object of {kind}: give a Budget of arraybridge.memory, or a consumer of one"
    );
    Err(PyTypeError::new_err(text))
}

fn pool_of<'py>(named: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyPool>> {
    if let Ok(own) = named.getattr(intern!(named.py(), "_pool"))
        && let Ok(pool) = own.cast::<PyPool>()
    {
        return Ok(pool.clone());
    }
    let kind = named.get_type().name()?;
    let text = format!("pool is an object of {kind}: give a Pool of arraybridge.memory");
    Err(PyTypeError::new_err(text))
}

/// How many blocks are open, in whichever context.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A `with` block of a budget, a consumer or a pool.
#[pyclass(name = "WithBlock", module = "arraybridge._native.memory", frozen)]
struct Block {
    of: Named,
    outer: Option<Py<Self>>,
    open: AtomicBool,
}

/// Whose block it is.
pub(super) enum Named {
    Budget(Py<PyBudget>),
    Consumer(Py<PyConsumer>),
    Pool(Py<PyPool>),
}

impl Named {
    fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        match self {
            Self::Budget(budget) => budget.bind(py),
            Self::Consumer(consumer) => consumer.bind(py),
            Self::Pool(pool) => pool.bind(py),
        }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Budget(budget) => Self::Budget(budget.clone_ref(py)),
            Self::Consumer(consumer) => Self::Consumer(consumer.clone_ref(py)),
            Self::Pool(pool) => Self::Pool(pool.clone_ref(py)),
        }
    }
}

impl Block {
    /// The innermost block around it that is open.
    fn outer<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Self>> {
        open_from(self.outer.as_ref().map(|outer| outer.bind(py).clone()))
    }

    fn close(&self) {
        if self.open.swap(false, Ordering::Relaxed) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.close(); // where its context went away before it ended
    }
}

/// The block, or the innermost one around it that is open: a task can be left with one that has ended.
fn open_from(block: Option<Bound<'_, Block>>) -> Option<Bound<'_, Block>> {
    let mut at = block?;
    while !at.get().open.load(Ordering::Relaxed) {
        let outer = at.get().outer.as_ref()?.bind(at.py()).clone();
        at = outer;
    }
    Some(at)
}

/// What keeps the innermost block of each context.
fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = VARIABLE.get_or_try_init(py, || {
        let class = py.import("contextvars")?.getattr("ContextVar")?;
        class.call1(("arraybridge.memory",)).map(Bound::unbind)
    });
    made.map(|variable| variable.bind(py))
}

/// The innermost open block that this context is in.
fn innermost(py: Python<'_>) -> PyResult<Option<Bound<'_, Block>>> {
    let found = variable(py)?.call_method1(intern!(py, "get"), (py.None(),))?;
    Ok(open_from(found.cast_into::<Block>().ok()))
}

/// Begins a block.
pub(super) fn enter(py: Python<'_>, of: Named) -> PyResult<()> {
    let outer = innermost(py)?.map(Bound::unbind);
    OPEN.fetch_add(1, Ordering::Relaxed);
    let block = Bound::new(py, Block { of, outer, open: AtomicBool::new(true) })?;
    variable(py)?.call_method1(intern!(py, "set"), (block,)).map(drop)
}

/// Ends the innermost block of `object` that this context is in.
pub(super) fn leave(object: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = object.py();
    let mut at = innermost(py)?;
    while let Some(block) = at {
        if block.get().of.object(py).is(object) {
            block.get().close();
            let left = innermost(py)?;
            return variable(py)?.call_method1(intern!(py, "set"), (left,)).map(drop);
        }
        at = block.get().outer(py);
    }
    let text = format!(
        "this context is in no block of {}: a block ends in the context (contextvars) that it was begun in",
        object.repr()?
    );
    Err(PyRuntimeError::new_err(text))
}

/// A block of a budget, a pool, or both, as a call names them: for functions that make several conversions.
#[pyfunction]
#[pyo3(signature = (budget, pool, /))]
fn within<'py>(
    budget: Option<&Bound<'py, PyAny>>,
    pool: Option<&Bound<'py, PyAny>>,
) -> PyResult<PyWithin> {
    let Room { account, pool } = Room::named(budget, pool)?;
    let account = account.map(|account| match account {
        Account::Budget(budget) => Named::Budget(budget.unbind()),
        Account::Consumer(consumer) => Named::Consumer(consumer.unbind()),
    });
    Ok(PyWithin([account, pool.map(|pool| Named::Pool(pool.unbind()))]))
}

/// What [`within`] gives.
#[pyclass(name = "Within", module = "arraybridge._native.memory", frozen)]
struct PyWithin([Option<Named>; 2]);

#[pymethods]
impl PyWithin {
    fn __enter__<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        slf.get().0.iter().flatten().try_for_each(|of| enter(py, of.clone_ref(py)))?;
        Ok(slf)
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.0.iter().flatten().rev().try_for_each(|of| leave(of.object(py)))
    }
}

/// Room in the budget of the `with` block that the caller is in for `count` arrays like `array`, which its framework
/// makes by itself: until the end of a block of its own. Where there is no budget, nothing is counted.
#[pyfunction]
#[pyo3(signature = (array, count, /))]
fn admitted(array: &Bound<'_, PyAny>, count: u64) -> PyResult<PyPermit> {
    let py = array.py();
    let room = Room::default().here(py)?;
    let Some(account) = &room.account else { return Ok(PyPermit(Mutex::new(None))) };
    let admission = account.admission();
    let admitted = source_of(array).and_then(|source| {
        let tensor = source.tensor;
        let bytes = tensor.layout().compact_bytes(tensor.data_type())? as u64;
        let peak = DeviceBytes { device: tensor.device(), bytes: bytes.saturating_mul(count) };
        py.detach(|| admission.admit(&[peak]))
    });
    let permit = admitted.map_err(|error| raised(py, &error))?;
    Ok(PyPermit(Mutex::new(Some(permit))))
}

/// As `admitted`, for so many bytes of a device, which a framework computes by itself.
#[pyfunction]
#[pyo3(signature = (bytes, device, /))]
fn admitted_bytes(py: Python<'_>, bytes: u64, device: &Bound<'_, PyAny>) -> PyResult<PyPermit> {
    let room = Room::default().here(py)?;
    let Some(account) = &room.account else { return Ok(PyPermit(Mutex::new(None))) };
    let (admission, device) = (account.admission(), options::device(device)?);
    let admitted = py.detach(|| admission.admit(&[DeviceBytes { device, bytes }]));
    let permit = admitted.map_err(|error| raised(py, &error))?;
    Ok(PyPermit(Mutex::new(Some(permit))))
}

/// Room that was admitted.
#[pyclass(name = "Permit", module = "arraybridge._native.memory", frozen)]
struct PyPermit(Mutex<Option<Permit>>);

#[pymethods]
impl PyPermit {
    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) {
        let permit = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(permit));
    }
}
