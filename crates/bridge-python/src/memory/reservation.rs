//! Reservations.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_memory::budget::Reservation;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::errors::{raised, short};
use super::size::Size;

/// Bytes of a budget that are its holder's until it is released: at the end of `with`, by `release`,
/// or when nothing refers to it any more.
#[pyclass(name = "Reservation", module = "arraybridge.memory", frozen)]
pub(super) struct PyReservation {
    consumer: String,
    slot: Mutex<Slot>,
}

enum Slot {
    Held(Reservation),
    /// A thread is changing it.
    Busy,
    /// It was released.
    Released,
}

impl PyReservation {
    pub(super) fn new(reservation: Reservation) -> Self {
        let consumer = reservation.consumer().to_owned();
        Self { consumer, slot: Mutex::new(Slot::Held(reservation)) }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it, without the lock of the slot: a budget may call Python for bytes meanwhile.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut Reservation) -> T + Send,
    ) -> PyResult<T> {
        let mut slot = self.slot();
        // What is there stays where it is no reservation, so that no thread ever sees anything else.
        let taken = match &*slot {
            Slot::Held(_) => mem::replace(&mut *slot, Slot::Busy),
            Slot::Busy => Slot::Busy,
            Slot::Released => Slot::Released,
        };
        drop(slot);
        match taken {
            Slot::Held(mut reservation) => {
                let (reservation, done) = py.detach(move || {
                    let done = change(&mut reservation);
                    (reservation, done)
                });
                *self.slot() = Slot::Held(reservation);
                Ok(done)
            }
            Slot::Busy => Err(PyRuntimeError::new_err(
                "another thread is changing this reservation: let one thread do it at a time",
            )),
            Slot::Released => {
                Err(PyValueError::new_err("the reservation was released: reserve anew"))
            }
        }
    }
}

#[pymethods]
impl PyReservation {
    /// How many bytes; 0 once it is released.
    #[getter]
    fn bytes(&self) -> PyResult<u64> {
        match &*self.slot() {
            Slot::Held(reservation) => Ok(reservation.bytes()),
            Slot::Released => Ok(0),
            Slot::Busy => {
                Err(PyRuntimeError::new_err("another thread is changing this reservation"))
            }
        }
    }

    /// For whom it counts.
    #[getter]
    fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Whether it was released.
    #[getter]
    fn released(&self) -> bool {
        matches!(&*self.slot(), Slot::Released)
    }

    /// Reserves `more` bytes beside what it has.
    fn grow(&self, py: Python<'_>, more: Size) -> PyResult<()> {
        self.change(py, |held| held.try_grow(more.0))?.map_err(|shortage| short(py, &shortage))
    }

    /// Gives `fewer` of its bytes back.
    fn shrink(&self, py: Python<'_>, fewer: Size) -> PyResult<()> {
        self.change(py, |held| held.shrink(fewer.0))?.map_err(|error| raised(py, &error))
    }

    /// Grows or shrinks to `bytes`.
    fn resize(&self, py: Python<'_>, bytes: Size) -> PyResult<()> {
        self.change(py, |held| held.resize(bytes.0))?.map_err(|shortage| short(py, &shortage))
    }

    /// Hands `part` of its bytes out as a reservation of its own.
    fn split(&self, py: Python<'_>, part: Size) -> PyResult<Self> {
        let part = self.change(py, |held| held.split(part.0))?;
        part.map(Self::new).map_err(|error| raised(py, &error))
    }

    /// Hands all its bytes out, and has none any more: to keep them beyond the end of a `with`.
    fn take(&self, py: Python<'_>) -> PyResult<Self> {
        self.change(py, Reservation::take).map(Self::new)
    }

    /// Gives all back. Once more does nothing.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let mut slot = self.slot();
        if matches!(&*slot, Slot::Busy) {
            return Err(PyRuntimeError::new_err("another thread is changing this reservation"));
        }
        let held = mem::replace(&mut *slot, Slot::Released);
        drop(slot);
        py.detach(|| drop(held));
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release(py)
    }

    fn __repr__(&self) -> String {
        match &*self.slot() {
            Slot::Held(held) => {
                format!("<Reservation of {} bytes for {:?}>", held.bytes(), self.consumer)
            }
            Slot::Busy => format!("<Reservation for {:?}, being changed>", self.consumer),
            Slot::Released => format!("<Reservation for {:?}, released>", self.consumer),
        }
    }
}
